"""
Opening a connection: TCP, a quiet TLS handshake, and what its failures are called in our own tree.

TCP that ends in the middle of the TLS handshake is an ordinary failure, and `Connection.open`
raises it. aiofastnet 1.2 also gives it to the loop's exception handler, and gives the class instead
of an error, over which asyncio fails in turn: forty lines on stderr for every attempt.
`quiet_handshake` keeps that one report out.
"""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from picows import WSHandshakeError, WSInvalidURL

from ..errors import (
    CertificateRefused,
    ConnectFailed,
    ConnectTimeout,
    HandshakeRefused,
    NotAWebSocket,
    UsageError,
)

__all__ = ["connect_tcp", "map_connect_error", "quiet_handshake"]

# A Retry-After beyond two days is no instruction (and "inf" would be one to wait for ever).
_MAX_RETRY_AFTER_S = 172_800.0

_Handler = Callable[[asyncio.AbstractEventLoop, dict[str, Any]], object]


class _Filter:
    """An exception handler that passes on all but that report; several connects share it."""

    def __init__(self, behind: _Handler | None) -> None:
        self.behind = behind
        self.users = 0

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if context.get("exception") is ConnectionResetError:  # the class itself, never an error
            return
        if self.behind is None:
            loop.default_exception_handler(context)
        else:
            self.behind(loop, context)


@contextmanager
def quiet_handshake() -> Iterator[None]:
    """
    Filter the running loop's exception handler for as long as the `with` block runs.

    Afterwards the handler is the one of before, unless somebody has set another meanwhile.
    """
    loop = asyncio.get_running_loop()
    current = loop.get_exception_handler()
    ours = current if isinstance(current, _Filter) else _Filter(current)
    if ours is not current:
        loop.set_exception_handler(ours)
    ours.users += 1
    try:
        yield
    finally:
        ours.users -= 1
        if not ours.users and loop.get_exception_handler() is ours:
            loop.set_exception_handler(ours.behind)


async def connect_tcp(host: str, port: int) -> socket.socket:
    """Connect to the first address of `host` that answers."""
    loop = asyncio.get_running_loop()
    addresses = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    failure: OSError | None = None
    for family, kind, protocol, _name, address in addresses:
        sock = socket.socket(family, kind, protocol)
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await loop.sock_connect(sock, address)
        except OSError as error:
            sock.close()
            failure = error
        except BaseException:
            sock.close()
            raise
        else:
            return sock
    raise failure or OSError(f"no address for {host}")


def map_connect_error(error: BaseException, where: str, timeout_s: float) -> Exception | None:
    """The error of our own tree for what connecting raised; None: pass it on as it is."""
    if isinstance(error, (asyncio.TimeoutError, TimeoutError)):
        return ConnectTimeout(
            f"no websocket to {where} within {timeout_s:g} s", timeout_s=timeout_s
        )
    if isinstance(error, WSHandshakeError):
        return _map_handshake(error, where)
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


def _map_handshake(error: WSHandshakeError, where: str) -> ConnectFailed:
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
