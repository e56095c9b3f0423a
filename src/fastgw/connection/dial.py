"""
Opening a connection: name, TCP, TLS and the websocket upgrade, within one deadline.

States: connecting (the socket is ours), upgrading (the event loop's transport has it), upgraded (a
`Connection` has it), abandoned. A host may have several addresses; while others are left, one that
fails leads back to connecting, however far it got. The socket is our own (`tcp` makes it), because
its kernel counters tell life from silence while a large frame still arrives.

HELLO may come in the same read as the upgrade, so the `Connection` is made inside the listener's
callback, before `open` returns.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import sys
import traceback
import weakref
from collections.abc import Callable, Mapping
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, Protocol
from urllib.parse import urlsplit

from picows import WSAutoPingStrategy, WSHandshakeError, WSProtocolError, WSTransport
from picows.picows import WSProtocol  # type: ignore[attr-defined]  # not in its stub

from .._decode import Assembler, Event
from ..errors import (
    CertificateRefused,
    ConnectFailed,
    ConnectTimeout,
    HandshakeRefused,
    NotAWebSocket,
    UsageError,
)
from ..quoting import without_credentials
from . import gate
from .proxy import Proxies, reach_through
from .reach import abandon_socket, transport_over
from .tcp import OwnSocket
from .tls import default_context, is_not_yet_valid
from .upgrade import Upgrade
from .websocket import Connection, Receiver

gate.open_gate()
from .listener import Listener, Tap, Turns  # noqa: E402  (the gate must come first)

if TYPE_CHECKING:
    from .tunnel import Proxy

__all__ = ["Delivery", "Dial", "DialState", "Paced", "Turns"]

# picows' own default; it doubles when a frame does not fit, and never shrinks.
_READ_BUFFER_BYTES = 16 * 1024


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


class Paced(Protocol):
    """What stops reading while frames are kept for the next turn of the loop."""

    def behind(self, connection: Connection, is_behind: bool) -> None:
        """Frames of this connection are kept; or none are any more."""


class _NoDelivery:
    def failed(self, event: Event, target: Callable[[Event], object], error: BaseException) -> None:
        context = {"message": f"{target!r} failed on {event!r}", "exception": error}
        asyncio.get_running_loop().call_exception_handler(context)

    def returned(self, event: Event, target: Callable[[Event], object], result: object) -> None:
        context = {"message": f"{target!r} returned {result!r} for {event!r}, which does not run"}
        asyncio.get_running_loop().call_exception_handler(context)


class _PicowsLog:
    """
    What picows takes for its logger.

    It writes socket details at INFO for every connection and repeats what we raise; neither is
    wanted. But this is also where it says at once that it refuses a frame, 10 ms before anything
    else tells.
    """

    def __init__(self) -> None:
        self._refused: weakref.WeakMethod[Callable[[WSProtocolError], None]] | None = None

    def attach(self, connection: Connection) -> None:
        """Tell this connection; held weakly, as it holds what holds the log."""
        self._refused = weakref.WeakMethod(connection.frame_refused)

    def isEnabledFor(self, _level: int) -> bool:  # noqa: N802  (the name that loggers have)
        """Nothing is formatted."""
        return False

    def error(self, *_details: object) -> None:
        """A frame breaks a rule, and this runs where that is raised."""
        error = sys.exc_info()[1]
        refused = None if self._refused is None else self._refused()
        if isinstance(error, WSProtocolError) and refused is not None:
            refused(error)

    def _ignore(self, *_details: object, **_more: object) -> None:
        pass

    debug = info = warning = exception = log = _ignore


class _Target(NamedTuple):
    """A websocket URL, taken apart."""

    host: str
    port: int
    is_secure: bool
    authority: str  # for Host, and for errors
    resource: str

    def proxy(self, proxies: Proxies | None) -> Proxy | None:
        """Return the proxy that leads there."""
        if proxies is None:
            return None
        return proxies.proxy_for(self.host, self.port, is_secure=self.is_secure)

    @classmethod
    def parse(cls, url: str) -> _Target:
        shown = repr(without_credentials(url))
        try:
            parts = urlsplit(url)
            port = parts.port
            url.encode("ascii")
        except ValueError as error:
            raise UsageError(f"{shown} is not a websocket URL: {error}") from None
        if parts.scheme not in ("ws", "wss") or not parts.hostname or " " in url:
            raise UsageError(f"{shown} is not a websocket URL: it must begin with wss:// or ws://")
        is_secure = parts.scheme == "wss"
        return cls(
            parts.hostname,
            port or (443 if is_secure else 80),
            is_secure,
            parts.netloc.rpartition("@")[2],
            (parts.path or "/") + (f"?{parts.query}" if parts.query else ""),
        )


class Dial:
    """
    One attempt to open a websocket client connection.

    Args:
        assembler: its decoder, fresh; a bare Assembler gives `(opcode, bytes)` messages.
        receiver: hears of everything that happens from the upgrade on.
        delivery: hears how the targets of events fared; without it the loop's exception handler
            does.
        close_timeout_s: how long a closing handshake may take before TCP is aborted.
        turns: bounds the work of a turn of the loop, together with `reading`.
        reading: is told when frames are kept for the next turn, and stops reading.

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
        turns: Turns | None = None,
        reading: Paced | None = None,
    ) -> None:
        self.state = DialState.CONNECTING
        self.connection: Connection | None = None
        self._assembler = assembler
        self._receiver = receiver
        self._delivery: Delivery = delivery or _NoDelivery()
        self._close_timeout_s = close_timeout_s
        self._turns = turns
        self._reading = reading
        self._listener: Listener | None = None  # made for the upgrade
        self._socket: OwnSocket | None = None
        self._upgrade: Upgrade | None = None  # under way over that socket
        self._log = _PicowsLog()  # of the protocol in that upgrade

    async def open(
        self,
        url: str,
        *,
        ssl_context: ssl.SSLContext | None = None,
        headers: Mapping[str, str] | None = None,
        proxies: Proxies | None = None,
        open_timeout_s: float = 20.0,
    ) -> Connection:
        """
        Resolve, connect, handshake TLS and upgrade, all within `open_timeout_s`.

        Args:
            proxies: which proxy leads there; None connects directly.

        When it raises, also because it was cancelled, no socket stays open.

        Raises:
            ConnectFailed: of which CertificateRefused, HandshakeRefused (HTTP status),
                NotAWebSocket, ConnectTimeout, ProxyRefused.
            UsageError: the URL is not one of a websocket.
        """
        target = _Target.parse(url)
        tls = (ssl_context or default_context()) if target.is_secure else None
        try:
            return await reach_through(
                target.proxy(proxies),
                target.host,
                target.port,
                open_timeout_s,
                partial(self._shake_hands, target=target, ssl_context=tls, headers=headers or {}),
                # Only the service itself can say no for all of its addresses.
                is_final=lambda error: (
                    self.connection is not None or isinstance(error, HandshakeRefused)
                ),
            )
        except BaseException as error:
            if self.connection is not None and not isinstance(error, asyncio.CancelledError):
                return self.connection  # the deadline struck just after the upgrade
            self.abandon()
            # The errors of single addresses and their frames hold each other, and all of this.
            traceback.clear_frames(error.__traceback__)
            mapped = _failure(error, target.authority, open_timeout_s)
            if mapped is None:
                raise
            try:
                raise mapped from error
            finally:
                del mapped  # its traceback holds this frame

    async def _shake_hands(
        self,
        sock: OwnSocket,
        share_s: float,
        *,
        target: _Target,
        ssl_context: ssl.SSLContext | None,
        headers: Mapping[str, str],
    ) -> Connection:
        """Handshake TLS and upgrade, over a socket that is connected."""
        self._socket = sock
        if self.state is DialState.ABANDONED:
            sock.close()
            raise ConnectFailed(f"connecting to {target.authority} was abandoned")
        log = self._log = _PicowsLog()
        protocol = WSProtocol(
            target.authority,
            target.resource,
            True,  # is the client
            self._make_listener,
            log,
            True,  # disconnects on exceptions
            None,  # has no deadline: ours is enough
            *(False, 0, 0, WSAutoPingStrategy.PING_WHEN_IDLE),  # sends no PING
            False,  # nor PONG: the listener does
            # A frame larger than a message may be is refused by the assembler, with our error.
            self._assembler.max_message_bytes + 1,
            dict(headers),
            _READ_BUFFER_BYTES,
        )
        offered = frozenset(map(str.lower, headers))
        upgrade = self._upgrade = Upgrade(
            protocol, Tap(protocol), offered=offered, where=target.authority
        )
        self.state = DialState.UPGRADING
        try:
            await transport_over(
                sock,
                upgrade,
                ssl_context=ssl_context,
                server_hostname=target.host,
                limit_s=share_s,
                shutdown_s=self._close_timeout_s,
            )
            if (error := await upgrade.answered) is not None:
                raise error
            await protocol.wait_until_handshake_complete()
        except Exception:
            self._abandon_socket()
            raise
        if self.connection is None:
            raise ConnectFailed(f"the upgrade to {target.authority} was abandoned")
        return self.connection

    def _make_listener(self, *_ignored: object) -> Listener:
        # picows calls a factory that raises TypeError twice, hence the catch-all signature.
        if self._listener is None:
            self._listener = Listener(
                self._assembler, self._receiver, self, self._delivery, self._turns, self._reading
            )
        return self._listener

    def upgraded(self, transport: WSTransport) -> Connection | None:
        """Make the connection, in the listener's callback; None: nobody wants it any more."""
        listener, sock = self._listener, self._socket
        if self.state is not DialState.UPGRADING or listener is None or sock is None:
            return None
        self.state = DialState.UPGRADED
        self._upgrade = None  # it has done its work, and holds 16 KiB for an answer
        self.connection = Connection(
            transport,
            listener,
            self._receiver,
            sock,
            assembler=self._assembler,
            close_timeout_s=self._close_timeout_s,
        )
        self._log.attach(self.connection)
        return self.connection

    def abandon(self) -> None:
        """Want it no more: no socket stays open, and what still comes reaches nobody."""
        if self.connection is not None:
            self.connection.abandon()
            return
        if self._listener is not None:
            self._listener.settle()
        self._abandon_socket()
        self.state = DialState.ABANDONED

    def _abandon_socket(self) -> None:
        """Back to connecting, without a socket."""
        sock, upgrade = self._socket, self._upgrade
        self._socket = self._upgrade = None
        if sock is not None and self.state is DialState.UPGRADING:
            abandon_socket(sock, None if upgrade is None else upgrade.transport)
            self.state = DialState.CONNECTING


def _failure(error: BaseException, where: str, timeout_s: float) -> Exception | None:
    """The error of our own tree for what connecting raised; None: pass it on as it is."""
    if isinstance(error, (asyncio.TimeoutError, TimeoutError)):
        return ConnectTimeout(
            f"no websocket to {where} within {timeout_s:g} s", timeout_s=timeout_s
        )
    if isinstance(error, WSHandshakeError):
        return NotAWebSocket(f"{where} does not speak websocket: {error}")
    if isinstance(error, ssl.SSLCertVerificationError):
        why = error.verify_message or str(error)
        if is_not_yet_valid(error):
            return ConnectFailed(
                f"the TLS certificate of {where} was refused: {why}; is the clock of this machine "
                f"right?"
            )
        return CertificateRefused(
            f"the TLS certificate of {where} was refused: {why}; "
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
