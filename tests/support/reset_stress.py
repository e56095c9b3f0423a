"""
Connect again and again to a peer that resets, beside connections of other kinds that must not care.

    python tests/support/reset_stress.py uvloop 10

Prints how many attempts were made, and how many exchanges of each other kind; fails with the first
of these that is hurt. A program of its own, because uvloop aborts the process when it finds a
descriptor in its table that is closed.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import sys
import threading
import time
from collections import Counter

from fastgw._decode import Decoder
from fastgw.connection.dial import Dial
from fastgw.errors import ConnectFailed

PATIENCE_S = 20.0  # a loaded machine is slow; a descriptor that nobody watches is silent for ever


class Deaf:
    """A receiver that must hear nothing."""

    def __getattr__(self, name):
        raise AssertionError(name)


def reset_all(listening: socket.socket) -> None:
    """Accept, and reset at once or a little later."""
    linger = struct.pack("ii", 1, 0)
    for number in range(sys.maxsize):
        try:
            accepted, _ = listening.accept()
        except OSError:
            return  # closed: the run is over
        accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        time.sleep((0.0, 0.0, 0.0002, 0.0005)[number % 4])
        accepted.close()


async def dial(url: str, done: Counter[str], until: float) -> None:
    """Be reset, at once again and again."""
    while time.monotonic() < until:
        with contextlib.suppress(ConnectFailed):
            await Dial(Decoder(), Deaf(), close_timeout_s=0.1).open(url, open_timeout_s=PATIENCE_S)
        done["dials"] += 1


async def stream(port: int, done: Counter[str], until: float) -> None:
    """Short connections of the loop's own kind."""
    while time.monotonic() < until:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"ping")
        assert await asyncio.wait_for(reader.readexactly(4), PATIENCE_S) == b"ping"
        writer.close()
        await writer.wait_closed()
        done["streams"] += 1


async def watch(done: Counter[str], until: float) -> None:
    """Descriptors that are watched for reading, as a library might."""
    loop = asyncio.get_running_loop()
    while time.monotonic() < until:
        ours, theirs = socket.socketpair()
        ready = asyncio.Event()
        loop.add_reader(ours.fileno(), ready.set)
        theirs.send(b"x")
        await asyncio.wait_for(ready.wait(), PATIENCE_S)
        loop.remove_reader(ours.fileno())
        ours.close()
        theirs.close()
        done["watched"] += 1


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer once."""
    with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
        writer.write(await reader.readexactly(4))
        await reader.read()
    writer.close()


async def stress(seconds: float) -> Counter[str]:
    """Run everything at once; return what was done."""
    done: Counter[str] = Counter()
    until = time.monotonic() + seconds
    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listening:
        threading.Thread(target=reset_all, args=(listening,), daemon=True).start()
        url = f"ws://127.0.0.1:{listening.getsockname()[1]}/"
        port = server.sockets[0].getsockname()[1]
        async with server:
            await asyncio.gather(
                *(dial(url, done, until) for _ in range(4)),
                *(stream(port, done, until) for _ in range(2)),
                watch(done, until),
            )
        listening.shutdown(socket.SHUT_RDWR)
    return done


def main() -> None:
    """Run on the loop and for the seconds that the command line names."""
    loop, seconds = sys.argv[1], float(sys.argv[2])
    if loop == "uvloop":
        import uvloop

        print(dict(uvloop.run(stress(seconds))))
    else:
        print(dict(asyncio.run(stress(seconds))))


if __name__ == "__main__":
    main()
