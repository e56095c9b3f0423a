"""
One open websocket connection over picows: send, close, and every picows trap hidden.

States: `ConnectionState`. What ends a connection is reported once, by `Receiver.connection_ended`:
at once when the peer's CLOSE or our own refusal has decided it, else when TCP is gone. After the
report nothing is delivered, and the socket is gone `close_timeout_s` later at the latest.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import sys
from contextlib import suppress
from enum import Enum
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from picows import WSCloseCode, WSMsgType, WSProtocolError, WSTransport

from ..errors import ConnectionClosed, FastgwError, ProtocolError
from ..log import careful_logger
from ..words import Action, Initiator

if TYPE_CHECKING:
    from .._decode import Assembler, Event, Message
    from .listener import Listener

__all__ = ["CloseInfo", "Connection", "ConnectionState", "Receiver"]

log = careful_logger("fastgw.connection")

_TEXT = WSMsgType.TEXT
# Closing with what is ours to answer for; a session outlives any code but 1000 and 1001.
_OWN_FAULT = 4000
# RFC 6455 5.5: a control frame holds at most 125 bytes, two of them the code.
_MAX_REASON_BYTES = 123
# How long a socket with an error may still be read.
_LAST_READ_S = 0.1
# struct tcp_info, linux/tcp.h: tcpi_state comes first, tcpi_bytes_received (since 4.1) stands 128
# bytes in.
_TCP, _TCP_INFO = socket.IPPROTO_TCP, getattr(socket, "TCP_INFO", 0)
_TCP_INFO_RECEIVED = 128
_TCP_INFO_BYTES = _TCP_INFO_RECEIVED + 8
_RECEIVED = struct.Struct("=Q")
# net/tcp_states.h: that of a socket with an error, such as a reset.
_TCP_CLOSE = 7


class CloseInfo(NamedTuple):
    """
    How a connection ended.

    Attributes:
        close_code: the code of the CLOSE frame that decided it, None when there was none.
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

    def connection_ended(self, info: CloseInfo) -> None:
        """The connection has ended; called once, after everything else, if it was made."""


class ConnectionState(Enum):
    """Where a connection is; it only ever moves down this list."""

    OPEN = "open"  # a send reaches the peer as far as we know
    CLOSING = "closing"  # we sent CLOSE, or aborted, and wait for what comes of it
    ENDED = "ended"  # reported to the receiver; TCP is on its way out
    SETTLED = "settled"  # so is TCP


class Connection:
    """
    One open websocket client connection; made by `Dial` when the upgrade is done.

    Args:
        transport: picows' side of it.
        listener: what hears its frames; the same that `transport` delivers to.
        receiver: hears of everything that happens.
        sock: its socket, owned by the transport; asked for its counters and errors only.
        assembler: what the listener feeds.
        close_timeout_s: how long a closing handshake may take before TCP is aborted.

    Attributes:
        state: where it is.
        buffer_bytes: `read_buffer_bytes` as `look` found it, for other threads.
        settled: the task that waits for the end of TCP; cancelling it leaves a socket.

    Sending and closing are synchronous and never block.
    """

    def __init__(
        self,
        transport: WSTransport,
        listener: Listener,
        receiver: Receiver,
        sock: socket.socket,
        *,
        assembler: Assembler,
        close_timeout_s: float,
    ) -> None:
        self.state = ConnectionState.OPEN
        self._transport = transport
        self._listener = listener
        self._receiver = receiver
        self._socket = sock
        self._assembler = assembler
        self._close_timeout_s = close_timeout_s
        self._sent_code: int | None = None
        self._info: CloseInfo | None = None  # how it ended
        self._is_paused = False  # as it is asked for
        self._has_stopped = False  # as it is: over TLS a pause begins when the read is over
        extra = transport.underlying_transport.get_extra_info
        self._is_tls = extra("sslcontext") is not None
        self._kernel_bytes = 0  # as `bytes_received` was told last
        self._tcp_state = _TCP_CLOSE  # the same; where it is not told, the error is asked for
        self.buffer_bytes = 0
        self._deadline: asyncio.TimerHandle | None = None  # TCP is aborted then
        self.settled = asyncio.get_running_loop().create_task(self._watch())

    # What the listener reports.

    def peer_closed(self, code: int | None, reason: str) -> None:
        """The peer's CLOSE came; the listener takes nothing after it."""
        # A code other than ours crossed our CLOSE: it is no answer, and may say more, such as 4004.
        is_answer = self.state is ConnectionState.CLOSING and code in (None, self._sent_code)
        if self.state is ConnectionState.OPEN:
            self._answer_close(code)
        if is_answer:
            self._end(CloseInfo(self._sent_code, reason, Initiator.CLIENT))
        else:
            self._end(CloseInfo(code, reason, Initiator.SERVICE))
        self._abort_later(self._close_timeout_s)

    def _answer_close(self, code: int | None) -> None:
        # RFC 6455 5.5.1 lets us echo the code. 1000 and 1001 from us end the session, so these two
        # are answered without one.
        if code is None or code in (1000, 1001):
            self._transport.send(WSMsgType.CLOSE, b"")
        else:
            self._transport.send_close(code)  # type: ignore[arg-type]

    def refused(self, error: ProtocolError) -> None:
        """The peer broke a rule: close with the error's code and report it at once."""
        if self.state is ConnectionState.OPEN:
            self._transport.send_close(error.close_code, _reason(str(error)))  # type: ignore[arg-type]
        self._end(CloseInfo(error.close_code, str(error), Initiator.CLIENT, error))
        self._abort_later(self._close_timeout_s)

    def failed(self, error: Exception) -> None:
        """What takes the frames failed, by no fault of the peer: close, and report it as ours."""
        log.error("a connection is closed because of an error in fastgw itself", exc_info=error)
        if self.state is ConnectionState.OPEN:
            self._transport.send_close(_OWN_FAULT)  # type: ignore[arg-type]
        ours = FastgwError(f"an error in fastgw itself: {error!r}")
        ours.__cause__ = error
        self._end(CloseInfo(_OWN_FAULT, "", Initiator.CLIENT, ours))
        self._abort_later(self._close_timeout_s)

    def frame_refused(self, error: WSProtocolError) -> None:
        """
        The peer broke a rule of framing: picows sends CLOSE now, and aborts TCP a moment later.

        It would go on delivering until then, and the peer's answer to that CLOSE would look like
        one of the peer's own. When what it refuses is the reason of a CLOSE, which is no UTF-8, the
        code stands: a service that cuts a long reason inside a character still says 4004.
        """
        self._listener.stop()
        protocol: Any = self._transport.underlying_transport.get_protocol()
        refused = protocol.refused_close() if error.code == WSCloseCode.INVALID_TEXT else None
        if refused is None:
            self._end(_refusal(error))
        else:
            code, reason = refused
            self._end(CloseInfo(code, reason, Initiator.SERVICE))

    async def _watch(self) -> None:
        """Wait for the end of TCP; report what picows says if nothing else has ended it."""
        info = CloseInfo(None, "", Initiator.TRANSPORT)
        try:
            await self._transport.wait_disconnected()
        except WSProtocolError as error:
            info = _refusal(error)
        except Exception as error:
            info = CloseInfo(_OWN_FAULT, "", Initiator.CLIENT, error)
            if self._info is None:
                log.error("picows closed a connection by an error of its own", exc_info=error)
        if self._deadline is not None:
            self._deadline.cancel()
        if self.state is ConnectionState.CLOSING and info.error is None:
            info = CloseInfo(self._sent_code, "", Initiator.CLIENT)
        self._end(info)
        self.state = ConnectionState.SETTLED
        # Nor may the two hold each other: the decoder would wait with megabytes for the garbage
        # collector, which counts objects.
        self._listener.settle()

    def _end(self, info: CloseInfo) -> None:
        """Report the end, once."""
        if self._info is None:
            self._info = info
            self.state = ConnectionState.ENDED
            self._receiver.connection_ended(info)

    def _abort_later(self, delay_s: float) -> None:
        if self._deadline is None:
            self._deadline = asyncio.get_running_loop().call_later(
                delay_s, self._transport.disconnect, False
            )

    # What the owner does.

    @property
    def is_open(self) -> bool:
        """Whether a send would reach the peer as far as we know."""
        return self.state is ConnectionState.OPEN

    def send(self, payload: bytes, opcode: int = 1) -> None:
        """
        Send one whole message; by default as text.

        Raises:
            ConnectionClosed: the connection is not open (picows would drop it silently).
        """
        if self.state is not ConnectionState.OPEN:
            info = self._info or CloseInfo(self._sent_code, "", Initiator.CLIENT)
            raise ConnectionClosed(
                "the connection is not open",
                close_code=info.close_code,
                reason=info.reason,
                initiator=info.initiator,
                outcome=Action.RESUME,
            )
        self._transport.send(_TEXT if opcode == 1 else WSMsgType(opcode), payload)

    def close(self, close_code: int, reason: str = "") -> None:
        """
        Send CLOSE; the report comes with the peer's answer or after `close_timeout_s`.

        Does nothing when the connection is closing already.
        """
        if self.state is not ConnectionState.OPEN:
            return
        self.state = ConnectionState.CLOSING
        self._sent_code = close_code
        self._listener.closing()
        self.resume_reading()  # or the peer's answer is never seen
        self._transport.send_close(close_code, _reason(reason))  # type: ignore[arg-type]
        self._abort_later(self._close_timeout_s)

    def abort(self) -> None:
        """End TCP now, without CLOSE: for a peer that no longer answers. The report follows."""
        self._listener.stop()
        if self.state is ConnectionState.OPEN:
            self.state = ConnectionState.CLOSING
        self._transport.disconnect(False)

    def deafen(self) -> None:
        """Hand out nothing any more; the connection stays as it is."""
        self._listener.stop()

    def abandon(self) -> None:
        """Report nothing any more; abort TCP now, unless a closing handshake is under way."""
        was_open = self.state is ConnectionState.OPEN
        self._listener.stop()
        if self._info is None:
            self._info = CloseInfo(self._sent_code, "", Initiator.CLIENT)
            self.state = ConnectionState.ENDED
        if was_open:
            self._transport.disconnect(False)

    def look(self) -> int:
        """
        Return `bytes_received()`; end the connection if its socket has an error that nobody has
        read. Call once a second.

        uvloop stops watching a socket that has an error after one more read callback, and that
        callback stops at a short read (aiofastnet): data and a reset that arrive together are read
        as data alone, and the reset would never be seen.
        """
        received = self.bytes_received()
        if self.state is ConnectionState.OPEN:
            self.buffer_bytes = self.read_buffer_bytes
        is_settled = self._deadline is not None or self.state is ConnectionState.SETTLED
        if self._tcp_state == _TCP_CLOSE and not is_settled:
            with suppress(OSError):
                if self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                    # Not at once: a loop that still reads delivers what came before the reset.
                    self._abort_later(_LAST_READ_S)
        return received

    @property
    def is_reading_paused(self) -> bool:
        """Whether `pause_reading` is in force."""
        return self._is_paused

    def pause_reading(self) -> None:
        """Stop reading; what was read already is still delivered, over TLS all of this read."""
        if self.state is not ConnectionState.OPEN or self._is_paused:
            return
        self._is_paused = True
        if self._is_tls:
            # Not in the middle of a read: what TLS holds of it would wait until the peer sends
            # more, however early we read again (aiofastnet 1.2, docs/known-issues.md). Such a read
            # is bounded, by half a MiB of ciphertext.
            asyncio.get_running_loop().call_soon(self._stop_reading)
        else:
            self._stop_reading()

    def _stop_reading(self) -> None:
        if self._is_paused and not self._has_stopped and self.state is ConnectionState.OPEN:
            self._has_stopped = True
            self._transport.underlying_transport.pause_reading()

    def resume_reading(self) -> None:
        """Read again."""
        self._is_paused = False
        if self._has_stopped:
            self._has_stopped = False
            self._transport.underlying_transport.resume_reading()

    @property
    def read_buffer_bytes(self) -> int:
        """What picows' read buffer has grown to: enough for the largest frame there was."""
        protocol: Any = self._transport.underlying_transport.get_protocol()
        return int(protocol.buffer_bytes)

    def bytes_received(self) -> int:
        """
        Count bytes that arrived, frames still incomplete included where the system tells.

        On Linux the kernel is asked (TCP_INFO), so it counts bytes below TLS that we have not read
        yet; elsewhere it counts the bytes of frames. Only differences mean anything.
        """
        if sys.platform == "linux":
            try:
                info = self._socket.getsockopt(_TCP, _TCP_INFO, _TCP_INFO_BYTES)
                self._tcp_state = info[0]
                (self._kernel_bytes,) = _RECEIVED.unpack_from(info, _TCP_INFO_RECEIVED)
            except (OSError, LookupError, struct.error):
                pass  # a closed socket, an old kernel: the last answer stands
        return self._kernel_bytes or self._assembler.bytes_received


def _refusal(error: WSProtocolError) -> CloseInfo:
    """Return how a connection ended that picows closed with this error."""
    code = int(error.code)
    violation = ProtocolError(str(error), close_code=code)
    return CloseInfo(code, str(error), Initiator.CLIENT, violation)


def _reason(text: str) -> bytes:
    """Cut a reason to what a CLOSE frame holds, at a character."""
    return text.encode()[:_MAX_REASON_BYTES].decode(errors="ignore").encode()
