"""What a worker says last, as its supervisor hears it: broken off, and of any length."""

from __future__ import annotations

import asyncio
import os
import socket
import sys

import pytest
from deadline import scaled

from fastgw.processes.child import Child
from fastgw.processes.line import Line, decode, encode

pytestmark = pytest.mark.skipif(os.name != "posix", reason="workers need a POSIX system")


async def worker_that_says(data: bytes) -> Child:
    """Start a process that says this and is killed."""
    ours, theirs = socket.socketpair()
    with theirs:
        program = (
            f"import os, signal, socket\n"
            f"socket.socket(fileno={theirs.fileno()}).sendall({data!r})\n"
            f"os.kill(os.getpid(), signal.SIGKILL)"
        )
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", program, pass_fds=(theirs.fileno(),)
        )
    return Child(process, ours)


async def test_a_message_that_breaks_off_is_not_taken():
    """A worker that is killed while it reports is one that died, and its supervisor lives on."""
    whole = encode("released")
    child = await worker_that_says(whole + b'{"is": "status", "ready": 1, "docu')
    code = await asyncio.wait_for(child.ended, scaled(20.0))
    assert code == -9
    assert child.released.is_set()
    assert child.ready == 0


async def test_the_last_word_comes_behind_what_was_not_sent_yet():
    """Figures larger than the kernel's buffer are on their way when a worker ends."""
    ours, theirs = socket.socketpair()
    figures = "x" * 2_000_000

    def end() -> None:
        with theirs:
            line = Line(theirs)
            line.say("status", may_drop=True, document=figures)
            line.say_last("ended", code=3)

    ended = asyncio.create_task(asyncio.to_thread(end))
    reader, writer = await asyncio.open_connection(sock=ours, limit=1 << 23)
    heard = await asyncio.wait_for(reader.read(), scaled(20.0))
    await ended
    writer.close()
    first, last = (decode(line) for line in heard.splitlines())
    assert first == {"is": "status", "document": figures}
    assert last == {"is": "ended", "code": 3}


def test_nobody_to_hear_the_last_word():
    """A worker whose supervisor is gone ends without waiting."""
    ours, theirs = socket.socketpair()
    ours.close()
    with theirs:
        line = Line(theirs)
        line.say_last("ended", code=0)
        assert line._unsent
