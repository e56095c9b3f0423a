"""
Reaching one of a host's addresses: the socket, the transport over it, and what to do about each
address that fails.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable
from contextlib import nullcontext, suppress
from time import monotonic
from typing import Any, TypeVar

import aiofastnet

from .lookup import resolve
from .tcp import OwnSocket, connect_first, in_turns
from .time_limit import time_limit
from .tls import quiet_handshake

__all__ = ["abandon_socket", "reach", "transport_over"]

Result = TypeVar("Result")

# When the loop is done with an abandoned socket.
_ABANDONED_S = 2.0


async def reach(
    host: str,
    port: int,
    limit_s: float,
    attempt: Callable[[OwnSocket, float], Awaitable[Result]],
    *,
    is_final: Callable[[Exception], bool] = lambda error: False,
) -> Result:
    """
    Connect to `host` and do `attempt(sock, share_s)`, with one address after the other.

    An error of one address, however far it got, leads to the next, unless `is_final` says that it
    was no fault of the address. `attempt` owns the socket that it is given.

    Args:
        limit_s: seconds for everything.
        attempt: takes a connected socket, and the seconds it may take.
        is_final: whether this error ends it.
    Raises:
        OSError: no address could be connected to, or there is none.
        asyncio.TimeoutError: not within `limit_s`.
        Whatever `attempt` raised for the address that got furthest.
    """
    deadline_at = monotonic() + limit_s
    failure: Exception | None = None
    with time_limit(limit_s):
        addresses = in_turns(await resolve(host, port))
        while True:
            try:
                sock = await connect_first(addresses)
            except OSError as error:
                raise failure or error from None  # what got further says more
            # An address that answers TCP and then nothing leaves half of the time to the others.
            share_s = (deadline_at - monotonic()) * (0.5 if addresses else 1.0)
            try:
                with time_limit(share_s) if addresses else nullcontext():
                    return await attempt(sock, share_s)
            except Exception as error:
                if not addresses or is_final(error) or monotonic() >= deadline_at:
                    raise
                failure = error


async def transport_over(
    sock: OwnSocket,
    protocol: asyncio.BaseProtocol,
    *,
    ssl_context: ssl.SSLContext | None,
    server_hostname: str,
    limit_s: float,
    shutdown_s: float,
) -> None:
    """
    Make a transport over a connected socket; `protocol.connection_made` has it.

    Args:
        ssl_context: for TLS; None for plain TCP.
        server_hostname: whom the certificate must name.
        limit_s: how long the TLS handshake may take at the most; the caller's own limit is shorter.
        shutdown_s: how long the end of TLS may take.
    When it raises, the socket is for `abandon_socket`.
    """
    tls: dict[str, Any] = {}
    if ssl_context is not None:
        tls = {
            "ssl": ssl_context,
            "server_hostname": server_hostname,
            # aiofastnet keeps a transport whose handshake failed until its own deadline: 60 s.
            "ssl_handshake_timeout": limit_s + 1,
            "ssl_shutdown_timeout": shutdown_s,
        }
    loop = asyncio.get_running_loop()
    with quiet_handshake() if tls else nullcontext():
        await aiofastnet.create_connection(loop, lambda: protocol, sock=sock, **tls)


def abandon_socket(sock: OwnSocket, transport: asyncio.Transport | None) -> None:
    """Leave nothing of a socket that a transport was made over, or was going to be."""
    if transport is not None:
        transport.abort()
    elif sock.fileno() >= 0:
        # aiofastnet is in the TLS handshake: shut it down, and its transport sees the end.
        with suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)
        # Where making the transport failed, nobody else closes it. Not at once: a transport on its
        # way out still reads and writes the descriptor by its number.
        asyncio.get_running_loop().call_later(_ABANDONED_S, sock.close)
