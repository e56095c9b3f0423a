"""
One websocket connection over picows: connect, send, close, and every picows trap hidden.

States: opening, open, closing (we sent CLOSE, or the peer did), gone. What ends a connection is
reported once, by `Receiver.connection_lost`: at once when the peer's CLOSE or our own refusal has
settled it, else when TCP is gone. After the report nothing is delivered, and the socket is gone
`close_timeout_s` later at the latest.

The socket is made here rather than by picows, because a cancelled `ws_connect` would leave it
open, and because its kernel counters tell life from silence while a large frame still arrives.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import struct
import sys
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlsplit

from picows import (
    WSMsgType,
    WSProtocolError,
    WSTransport,
    ws_connect,
)

from .._decode import Assembler, Event, Message
from ..errors import (
    ConnectFailed,
    ConnectionClosed,
    ProtocolError,
    UsageError,
)
from ..protocol.wire import Action, Initiator
from . import gate
from .handshake import connect_tcp, map_connect_error, quiet_handshake

gate.open_gate()
from .listener import Listener  # noqa: E402  (the gate must come first)

__all__ = ["CloseInfo", "Connection", "Delivery", "Receiver"]

# picows writes socket details at INFO for every connection and repeats errors that we raise.
_picows_log = logging.getLogger("fastgw.connection.picows")
_picows_log.setLevel(logging.CRITICAL)

_TEXT = WSMsgType.TEXT
# RFC 6455 5.5: a control frame holds at most 125 bytes, two of them the code.
_MAX_REASON_BYTES = 123
# When the loop and picows, whose own deadline is 1 s later, are done with a socket given up.
_ORPHANED_S = 2.0
# How long a socket with an error may still be read.
_LAST_READ_S = 0.1
# struct tcp_info, linux/tcp.h: tcpi_bytes_received (since 4.1) stands 128 bytes in.
_TCP_INFO_RECEIVED = 128


@dataclass(frozen=True, slots=True)
class CloseInfo:
    """
    How a connection ended.

    Attributes:
        close_code: the code of the CLOSE frame that settled it, None when there was none.
        reason: its text.
        initiator: who began: the service, we (client), or nobody in particular (transport).
        error: why we closed it, when it was the peer's fault.
    """

    close_code: int | None
    reason: str
    initiator: Initiator
    error: Exception | None = None


class Receiver(Protocol):
    """What a connection reports to; all calls come from the event loop's thread."""

    def connection_made(self, connection: Connection) -> None:
        """The upgrade succeeded; comes before any message, also before `open` returns."""

    def message_received(self, message: Message | Event) -> None:
        """A message that is no dispatch came, or a dispatch that the library itself needs."""

    def connection_lost(self, info: CloseInfo) -> None:
        """The connection has ended; called once, after everything else, if it was made."""


class Delivery(Protocol):
    """What the listener tells of the targets that it calls; told by nobody else."""

    def failed(
        self, event: Event, target: Callable[[Event], object], error: BaseException
    ) -> object:
        """The target of an event raised."""

    def returned(self, event: Event, target: Callable[[Event], object], result: object) -> object:
        """The target of an event gave back what may run: an awaitable or a generator."""


class _NoDelivery:
    def failed(self, event: Event, target: Callable[[Event], object], error: BaseException) -> None:
        context = {"message": f"{target!r} failed on {event!r}", "exception": error}
        asyncio.get_running_loop().call_exception_handler(context)

    def returned(self, event: Event, target: Callable[[Event], object], result: object) -> None:
        context = {"message": f"{target!r} returned {result!r} for {event!r}, which does not run"}
        asyncio.get_running_loop().call_exception_handler(context)


class Connection:
    """
    One websocket client connection.

    Args:
        assembler: its decoder, fresh; a bare Assembler gives `(opcode, bytes)` messages.
        receiver: hears of everything that happens.
        delivery: hears how the targets of events fared; without it the loop's exception handler
            does.
        close_timeout_s: how long a closing handshake may take before TCP is dropped.

    A connection opens once. Sending and closing are synchronous and never block.
    """

    def __init__(
        self,
        assembler: Assembler,
        receiver: Receiver,
        *,
        delivery: Delivery | None = None,
        close_timeout_s: float = 3.0,
    ) -> None:
        self._assembler = assembler
        self._receiver: Receiver | None = receiver
        self._delivery: Delivery = delivery or _NoDelivery()
        self._close_timeout_s = close_timeout_s
        self._listener: Listener | None = None  # made for the upgrade
        self._socket: socket.socket | None = None
        self._transport: WSTransport | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._sent_code: int | None = None
        self._handed_over = False
        self._closing = False
        self._info: CloseInfo | None = None
        self._paused = False

    async def open(
        self,
        url: str,
        *,
        ssl_context: ssl.SSLContext | None = None,
        headers: Mapping[str, str] | None = None,
        open_timeout_s: float = 20.0,
    ) -> None:
        """
        Resolve, connect, handshake TLS and upgrade, all within `open_timeout_s`.

        When it raises, also because it was cancelled, no socket stays open.

        Raises:
            ConnectFailed: of which CertificateRefused, HandshakeRefused (HTTP status),
                NotAWebSocket, ConnectTimeout.
            UsageError: the URL is not one of a websocket.
        """
        parts = urlsplit(url)
        if parts.scheme not in ("ws", "wss") or not parts.hostname:
            raise UsageError(f"{url!r} is not a websocket URL: it must begin with wss:// or ws://")
        where = parts.netloc.rpartition("@")[2]
        try:
            await asyncio.wait_for(
                self._open(url, parts.hostname, parts.port, ssl_context, headers, open_timeout_s),
                open_timeout_s,
            )
        except BaseException as error:
            self._abandon()
            # Before 3.12 wait_for leaves a circle of task, error and frame, and all of this in it.
            traceback.clear_frames(error.__traceback__)
            mapped = map_connect_error(error, where, open_timeout_s)
            if mapped is None:
                raise
            try:
                raise mapped from error
            finally:
                del mapped  # its traceback holds this frame

    async def _open(
        self,
        url: str,
        host: str,
        port: int | None,
        ssl_context: ssl.SSLContext | None,
        headers: Mapping[str, str] | None,
        open_timeout_s: float,
    ) -> None:
        secure = url.startswith("wss:")
        self._socket = await connect_tcp(host, port or (443 if secure else 80))
        tls: dict[str, Any] = {}
        if secure:
            # aiofastnet keeps a transport whose handshake failed until its own deadline: 60 s.
            tls = {
                "ssl_handshake_timeout": open_timeout_s + 1,
                "ssl_shutdown_timeout": self._close_timeout_s,
            }
        with quiet_handshake():
            _, listener = await ws_connect(
                self._make_listener,
                url,
                ssl_context=ssl_context,
                socket_factory=self._hand_over_socket,
                # Our own deadline is shorter: this one is for a connect that was cancelled.
                websocket_handshake_timeout=open_timeout_s + 1,
                logger_name=_picows_log,
                enable_auto_pong=False,
                # A frame larger than a message may be is refused by the assembler, with our error.
                max_frame_size=self._assembler.max_message_bytes + 1,
                extra_headers=dict(headers or {}),
                max_redirects=0,
                **tls,
            )
        if listener is None:
            raise ConnectFailed(
                f"{urlsplit(url).hostname} closed the connection before it answered the upgrade"
            )

    def _make_listener(self, *_ignored: object) -> Listener:
        # picows calls a factory that raises TypeError twice, hence the catch-all signature.
        if self._listener is None:
            self._listener = Listener(self._assembler, self._receiver, self, self._delivery)
        return self._listener

    def _hand_over_socket(self, _url: object) -> socket.socket | None:
        if self._socket is not None:
            self._socket.getpeername()  # or picows leaves a socket open that was reset meanwhile
        self._handed_over = True
        return self._socket

    def _abandon(self) -> None:
        """Leave nothing behind of an `open` that failed or was cancelled."""
        if self._listener is not None:
            self._listener.stop()
        if self._transport is not None:
            self._transport.disconnect(False)  # and _watch sees the end
            return
        self._let_go()
        if self._socket is not None and not self._handed_over:
            self._socket.close()
        elif self._socket is not None and self._socket.fileno() >= 0:
            # The event loop owns the descriptor: shut it down, and the loop sees the end.
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)
            # Except one that was reset while aiofastnet made its transport: nobody closes that.
            asyncio.get_running_loop().call_later(
                _ORPHANED_S + self._close_timeout_s, self._socket.close
            )

    # What the listener reports.

    def _opened(self, transport: WSTransport) -> None:
        if self._receiver is None:  # abandoned: what follows in this segment is not for us
            assert self._listener is not None
            self._listener.stop()
            transport.disconnect(False)
            self._let_go()
            return
        self._transport = transport
        self._watcher = asyncio.get_running_loop().create_task(self._watch(transport))
        self._receiver.connection_made(self)

    def _peer_closed(self, code: int | None, reason: str) -> None:
        if not self._closing:
            self._answer_close(code)
            self._settle(CloseInfo(code, reason, Initiator.SERVICE))
        elif code is None or code == self._sent_code:
            self._settle(CloseInfo(self._sent_code, reason, Initiator.CLIENT))
        else:
            # Theirs crossed ours: it is no answer, and may say more, such as 4004.
            self._settle(CloseInfo(code, reason, Initiator.SERVICE))
        self._closing = True
        self._abort_later()

    def _answer_close(self, code: int | None) -> None:
        assert self._transport is not None
        # RFC 6455 5.5.1 lets us echo the code. 1000 and 1001 from us end the session, so these two
        # are answered without one.
        if code is None or code in (1000, 1001):
            self._transport.send(WSMsgType.CLOSE, b"")
        else:
            self._transport.send_close(code)  # type: ignore[arg-type]

    def _refused(self, error: ProtocolError) -> None:
        """The peer broke a rule: close with the error's code and settle at once."""
        assert self._transport is not None
        if not self._closing:
            self._transport.send_close(error.close_code, _reason(str(error)))  # type: ignore[arg-type]
            self._closing = True
        self._settle(CloseInfo(error.close_code, str(error), Initiator.CLIENT, error))
        self._abort_later()

    async def _watch(self, transport: WSTransport) -> None:
        """Wait for the end of TCP; settle with what picows says if nothing else has."""
        info = CloseInfo(None, "", Initiator.TRANSPORT)
        try:
            await transport.wait_disconnected()
        except WSProtocolError as error:
            code = int(error.code)
            broken = ProtocolError(str(error), close_code=code)
            info = CloseInfo(code, str(error), Initiator.CLIENT, broken)
        except Exception as error:
            info = CloseInfo(1011, "", Initiator.CLIENT, error)
        if self._deadline is not None:
            self._deadline.cancel()
        if self._closing and info.error is None:
            info = CloseInfo(self._sent_code, "", Initiator.CLIENT)
        self._settle(info)
        self._let_go()

    def _let_go(self) -> None:
        """
        Break the circles of references that this ended connection stands in.

        Its decoder would wait with megabytes for the garbage collector, which counts objects.
        """
        self._receiver = self._listener = self._transport = None

    def _settle(self, info: CloseInfo) -> None:
        if self._info is None:
            self._info = info
            if self._receiver is not None:
                self._receiver.connection_lost(info)

    def _abort_later(self) -> None:
        assert self._transport is not None
        if self._deadline is None:
            self._deadline = asyncio.get_running_loop().call_later(
                self._close_timeout_s, self._transport.disconnect, False
            )

    # What the owner does.

    @property
    def is_open(self) -> bool:
        """Whether a send would reach the peer as far as we know."""
        return self._transport is not None and not self._closing and self._info is None

    def send(self, payload: bytes, opcode: int = 1) -> None:
        """
        Send one whole message; by default as text.

        Raises:
            ConnectionClosed: the connection is not open (picows would drop it silently).
        """
        if not self.is_open:
            info = self._info or CloseInfo(self._sent_code, "", Initiator.CLIENT)
            raise ConnectionClosed(
                "the connection is not open",
                close_code=info.close_code,
                reason=info.reason,
                initiator=info.initiator,
                outcome=Action.RESUME,
            )
        assert self._transport is not None
        self._transport.send(_TEXT if opcode == 1 else WSMsgType(opcode), payload)

    def close(self, close_code: int, reason: str = "") -> None:
        """
        Send CLOSE; the report comes with the peer's answer or after `close_timeout_s`.

        Does nothing when the connection is closing already.
        """
        if not self.is_open:
            return
        assert self._transport is not None
        assert self._listener is not None
        self._closing = True
        self._sent_code = close_code
        self._listener.closing()
        if self._paused:
            self.resume_reading()  # or the peer's answer is never seen
        self._transport.send_close(close_code, _reason(reason))  # type: ignore[arg-type]
        self._abort_later()

    def abort(self) -> None:
        """Drop TCP now, without CLOSE: for a peer that no longer answers."""
        if self._transport is not None:
            if self._listener is not None:
                self._listener.stop()
            self._closing = True
            self._transport.disconnect(False)
        elif self._watcher is None:
            self._abandon()

    def notice_reset(self) -> None:
        """
        End the connection if its socket has an error that nobody has read; call once a second.

        uvloop stops watching a socket that has an error after one more read callback, and that
        callback stops at a short read (aiofastnet): data and a reset that arrive together are read
        as data alone, and the reset would never be seen.
        """
        if self._transport is None or self._socket is None or self._deadline is not None:
            return
        with suppress(OSError):
            if self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                # Not at once: a loop that still reads delivers what came before the reset.
                self._deadline = asyncio.get_running_loop().call_later(
                    _LAST_READ_S, self._transport.disconnect, False
                )

    async def wait_closed(self) -> CloseInfo | None:
        """Wait until TCP is gone; None when the connection was never made."""
        if self._watcher is not None:
            await asyncio.shield(self._watcher)
        return self._info

    @property
    def is_reading_paused(self) -> bool:
        """Whether `pause_reading` is in force."""
        return self._paused

    def pause_reading(self) -> None:
        """Stop reading from the socket; what picows has buffered is still delivered."""
        if self._transport is not None and not self._paused and self.is_open:
            self._paused = True
            self._transport.underlying_transport.pause_reading()

    def resume_reading(self) -> None:
        """Read again."""
        if self._transport is not None and self._paused:
            self._paused = False
            self._transport.underlying_transport.resume_reading()

    def bytes_received(self) -> int:
        """
        Count bytes that arrived, frames still incomplete included where the system tells.

        On Linux the kernel is asked (TCP_INFO), so it counts bytes below TLS that we have not read
        yet; elsewhere it counts the bytes of frames. Only differences mean anything.
        """
        if sys.platform == "linux" and self._socket is not None:
            with suppress(OSError, struct.error):
                info = self._socket.getsockopt(
                    socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_RECEIVED + 8
                )
                return int(struct.unpack_from("=Q", info, _TCP_INFO_RECEIVED)[0])
        return self._assembler.bytes_received


def _reason(text: str) -> bytes:
    """Cut a reason to what a CLOSE frame holds, at a character."""
    return text.encode()[:_MAX_REASON_BYTES].decode(errors="ignore").encode()
