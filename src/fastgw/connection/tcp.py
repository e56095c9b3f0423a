"""
TCP to one of a host's addresses, over sockets that leave nothing behind in the event loop.

Addresses are raced as RFC 8305 has it: the two families alternate, the next one is tried 250 ms
after the one before, or as soon as that has failed, and the first that answers wins. An address
that swallows packets costs a quarter of a second, not the attempt.
"""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from contextlib import suppress
from itertools import chain, zip_longest

from .lookup import Address

__all__ = ["OwnSocket", "connect_first", "in_turns"]

# RFC 8305 5, "Connection Attempt Delay".
ATTEMPT_DELAY_S = 0.25


class OwnSocket(socket.socket):
    """
    A socket that takes itself out of the event loop before its descriptor is closed.

    aiofastnet 1.2 registers a plain socket for reading after `connection_made`, whatever happened
    in between; one that was reset meanwhile is closed while the loop still watches its number. The
    next socket gets that number: it fails on asyncio, and uvloop aborts the process. Whoever closes
    it, and whatever he forgot, `close` is the one place that all ways lead through.
    """

    def close(self) -> None:
        """Forget the descriptor in the running loop, then close it; more than once is fine."""
        descriptor = self.fileno()
        if descriptor >= 0:
            # No loop runs any more, one without descriptors (Windows), or a transport of the loop's
            # own has it: that one removes what it registers.
            with suppress(RuntimeError, NotImplementedError):
                loop = asyncio.get_running_loop()
                loop.remove_reader(descriptor)
                loop.remove_writer(descriptor)
        super().close()


def in_turns(addresses: list[Address]) -> list[Address]:
    """Sort them so that the families alternate, the first one's first (RFC 8305 4)."""
    families: dict[int, list[Address]] = {}
    for address in addresses:
        families.setdefault(address.family, []).append(address)
    turns = chain.from_iterable(zip_longest(*families.values()))
    return [address for address in turns if address is not None]


async def connect_first(addresses: list[Address]) -> OwnSocket:
    """
    Connect to the first of `addresses` that answers.

    Those that failed, and the one whose socket is returned, are taken out of the list: what is left
    may be tried again when the connection turns out to be no good.

    Raises:
        OSError: no address is left.
    When it raises, also because it was cancelled, no socket stays open.
    """
    waiting = deque(addresses)
    racing: dict[asyncio.Task[OwnSocket], Address] = {}
    failures: list[tuple[Address, Exception]] = []
    try:
        while waiting or racing:
            if waiting:
                address = waiting.popleft()
                racing[asyncio.ensure_future(_connect(address))] = address
            done, _ = await asyncio.wait(
                racing,
                timeout=ATTEMPT_DELAY_S if waiting else None,
                return_when=asyncio.FIRST_COMPLETED,
            )
            for task in done:
                error = task.exception()
                if error is not None and not isinstance(error, Exception):
                    raise error
                addresses.remove(racing[task])
                if error is None:
                    del racing[task]
                    return task.result()
                failures.append((racing.pop(task), error))
    finally:
        for task in racing:
            task.cancel()
            task.add_done_callback(_close_result)
    raise _joined(failures)


async def _connect(address: Address) -> OwnSocket:
    sock = OwnSocket(address.family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await asyncio.get_running_loop().sock_connect(sock, address.sockaddr)
    except BaseException:
        sock.close()
        raise
    return sock


def _close_result(task: asyncio.Task[OwnSocket]) -> None:
    """Close the socket of an attempt that came second."""
    if not task.cancelled() and task.exception() is None:
        task.result().close()


def _joined(failures: list[tuple[Address, Exception]]) -> Exception:
    """Return one error for all addresses; the error itself where there was one only."""
    if not failures:
        return OSError("no address is left")
    first = failures[0][1]
    if all(type(error) is type(first) and str(error) == str(first) for _, error in failures):
        return first
    if all(isinstance(error, ConnectionRefusedError) for _, error in failures):
        return first
    return OSError("; ".join(f"{address.sockaddr[0]}: {error}" for address, error in failures))
