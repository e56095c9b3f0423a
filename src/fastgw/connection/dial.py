"""
Opening a connection: name, TCP, TLS and the websocket upgrade, within one deadline.

States: connecting (the socket is ours), upgrading (the event loop's transport has it), upgraded (a
`Connection` has it), abandoned. The socket is made here rather than by picows, because a cancelled
`ws_connect` would leave it open, and because its kernel counters tell life from silence while a
large frame still arrives.

HELLO may come in the same read as the upgrade, so the `Connection` is made inside the listener's
callback, before `open` returns.
"""

from __future__ import annotations

import asyncio
import logging
import re
import socket
import ssl
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from enum import Enum
from typing import Any, Protocol
from urllib.parse import urlsplit

from picows import WSHandshakeError, WSInvalidURL, WSTransport, ws_connect

from .._decode import Assembler, Event
from ..errors import (
    CertificateRefused,
    ConnectFailed,
    ConnectTimeout,
    HandshakeRefused,
    NotAWebSocket,
    UsageError,
)
from . import gate
from .tcp import connect_tcp
from .tls import quiet_handshake
from .websocket import Connection, Receiver

gate.open_gate()
from .listener import Listener  # noqa: E402  (the gate must come first)

__all__ = ["Delivery", "Dial"]

# picows writes socket details at INFO for every connection and repeats errors that we raise.
_picows_log = logging.getLogger("fastgw.connection.picows")
_picows_log.setLevel(logging.CRITICAL)

# When the loop and picows, whose own deadline is 1 s later, are done with a socket given up.
_ORPHANED_S = 2.0
# A Retry-After beyond two days is no instruction (and "inf" would be one to wait for ever).
_MAX_RETRY_AFTER_S = 172_800.0


class DialState(Enum):
    """Who has the socket."""

    CONNECTING = "connecting"
    UPGRADING = "upgrading"
    UPGRADED = "upgraded"
    ABANDONED = "abandoned"


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


class Dial:
    """
    One attempt to open a websocket client connection.

    Args:
        assembler: its decoder, fresh; a bare Assembler gives `(opcode, bytes)` messages.
        receiver: hears of everything that happens from the upgrade on.
        delivery: hears how the targets of events fared; without it the loop's exception handler
            does.
        close_timeout_s: how long a closing handshake may take before TCP is dropped.

    Attributes:
        state: who has the socket.
        connection: what came of it; None before the upgrade.
    """

    def __init__(
        self,
        assembler: Assembler,
        receiver: Receiver,
        *,
        delivery: Delivery | None = None,
        close_timeout_s: float = 3.0,
    ) -> None:
        self.state = DialState.CONNECTING
        self.connection: Connection | None = None
        self._assembler = assembler
        self._receiver = receiver
        self._delivery: Delivery = delivery or _NoDelivery()
        self._close_timeout_s = close_timeout_s
        self._listener: Listener | None = None  # made for the upgrade
        self._socket: socket.socket | None = None

    async def open(
        self,
        url: str,
        *,
        ssl_context: ssl.SSLContext | None = None,
        headers: Mapping[str, str] | None = None,
        open_timeout_s: float = 20.0,
    ) -> Connection:
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
            return await asyncio.wait_for(
                self._open(url, parts.hostname, parts.port, ssl_context, headers, open_timeout_s),
                open_timeout_s,
            )
        except BaseException as error:
            if self.connection is not None and not isinstance(error, asyncio.CancelledError):
                return self.connection  # the deadline struck just after the upgrade
            self.abandon()
            # Before 3.12 wait_for leaves a circle of task, error and frame, and all of this in it.
            traceback.clear_frames(error.__traceback__)
            mapped = _failure(error, where, open_timeout_s)
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
    ) -> Connection:
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
            await ws_connect(
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
        if self.connection is None:  # picows returns a transport that is closed already
            raise ConnectFailed(
                f"{urlsplit(url).hostname} closed the connection before it answered the upgrade"
            )
        return self.connection

    def _hand_over_socket(self, _url: object) -> socket.socket | None:
        if self._socket is not None:
            self._socket.getpeername()  # or picows leaves a socket open that was reset meanwhile
        self.state = DialState.UPGRADING
        return self._socket

    def _make_listener(self, *_ignored: object) -> Listener:
        # picows calls a factory that raises TypeError twice, hence the catch-all signature.
        if self._listener is None:
            self._listener = Listener(self._assembler, self._receiver, self, self._delivery)
        return self._listener

    def upgraded(self, transport: WSTransport) -> Connection | None:
        """Make the connection, in the listener's callback; None: nobody wants it any more."""
        listener, sock = self._listener, self._socket
        if self.state is not DialState.UPGRADING or listener is None or sock is None:
            return None
        self.state = DialState.UPGRADED
        self.connection = Connection(
            transport,
            listener,
            self._receiver,
            sock,
            assembler=self._assembler,
            close_timeout_s=self._close_timeout_s,
        )
        return self.connection

    def abandon(self) -> None:
        """Give it up: no socket stays open, and what still comes reaches nobody."""
        if self.connection is not None:
            self.connection.drop()
            return
        before, self.state = self.state, DialState.ABANDONED
        if self._listener is not None:
            self._listener.let_go()
        if self._socket is None:
            return
        if before is DialState.CONNECTING:
            self._socket.close()
        elif self._socket.fileno() >= 0:
            # The event loop owns the descriptor: shut it down, and the loop sees the end.
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)
            # Except one that was reset while aiofastnet made its transport: nobody closes that.
            asyncio.get_running_loop().call_later(
                _ORPHANED_S + self._close_timeout_s, self._socket.close
            )


# What failures are called in our own tree.


def _failure(error: BaseException, where: str, timeout_s: float) -> Exception | None:
    """The error of our own tree for what connecting raised; None: pass it on as it is."""
    if isinstance(error, (asyncio.TimeoutError, TimeoutError)):
        return ConnectTimeout(
            f"no websocket to {where} within {timeout_s:g} s", timeout_s=timeout_s
        )
    if isinstance(error, WSHandshakeError):
        return _handshake_failure(error, where)
    if isinstance(error, WSInvalidURL):
        return UsageError(f"{where} is not a websocket URL: {error}")
    if isinstance(error, ssl.SSLCertVerificationError):
        return CertificateRefused(
            f"the TLS certificate of {where} was refused: {error.verify_message or error}; "
            f"pass an ssl_context that trusts it if it is yours"
        )
    if isinstance(error, ssl.SSLError):
        return ConnectFailed(f"TLS handshake with {where} failed: {error}")
    if isinstance(error, socket.gaierror):
        return ConnectFailed(f"cannot resolve {where}: {error.strerror}")
    if isinstance(error, ConnectionRefusedError):
        return ConnectFailed(f"{where} refused the connection")
    if isinstance(error, ConnectionResetError) and error.errno is None:  # aiofastnet's, on EOF
        return ConnectFailed(f"{where} closed the connection in the TLS handshake")
    if isinstance(error, OSError):
        return ConnectFailed(f"cannot connect to {where}: {error}")
    return None


def _handshake_failure(error: WSHandshakeError, where: str) -> ConnectFailed:
    status: int | None = None
    retry_after_s: float | None = None
    if error.response is not None:
        status = int(error.response.status)
        with suppress(TypeError, ValueError):
            asked_s = float(error.response.headers.get("Retry-After", ""))
            if asked_s >= 0:  # not for NaN either
                retry_after_s = min(asked_s, _MAX_RETRY_AFTER_S)
    elif error.raw_header:
        # Statuses that http.HTTPStatus does not know, such as Cloudflare's 520, fail to parse.
        head = bytes(error.raw_header)
        match = re.match(rb"HTTP/1\.[01] (\d{3})", head)
        if match:
            status = int(match[1])
            wait = re.search(rb"\r\nretry-after: *(\d+)", head, re.IGNORECASE)
            retry_after_s = min(float(wait[1]), _MAX_RETRY_AFTER_S) if wait else None
    if status is not None and status != 101:
        return HandshakeRefused(
            f"{where} answered the websocket upgrade with HTTP {status}",
            status=status,
            retry_after_s=retry_after_s,
        )
    return NotAWebSocket(f"{where} does not speak websocket: {error}")
