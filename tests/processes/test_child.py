"""What a worker says last, as its supervisor hears it: broken off, and of any length."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import threading

import pytest
from deadline import scaled

from fastgw.processes.child import Child
from fastgw.processes.line import Line, decode, encode

pytestmark = pytest.mark.skipif(os.name != "posix", reason="workers need a POSIX system")


async def worker_that_says(
    data: bytes, then: str = "os.kill(os.getpid(), signal.SIGKILL)"
) -> Child:
    """Start a process that says this and is killed, or does something else then."""
    ours, theirs = socket.socketpair()
    with theirs:
        program = (
            f"import os, signal, socket, time\n"
            f"line = socket.socket(fileno={theirs.fileno()})\n"
            f"line.sendall({data!r})\n"
            f"{then}"
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


def test_brackets_without_end_are_no_message():
    """What json raises of them is no ValueError."""
    with pytest.raises(ValueError, match="too deep"):
        decode(b"[" * 200_000)


@pytest.mark.parametrize(
    "said",
    [
        b"Traceback (most recent call last):\n",
        b"\xff\xfe\n",
        b"[1]\n",
        b'{"ready": 1}\n',
        b'{"is": "status"}\n',
        b'{"is": "status", "ready": "' + b"x" * 2_000 + b'"}\n',
        b"x" * 20_000,
    ],
    ids=["text", "bytes", "no object", "no kind", "half of it", "too long", "no end"],
)
async def test_a_worker_whose_word_is_no_message_is_ended(said, monkeypatch):
    """Nothing that it says can be trusted any more; its supervisor lives on, and says why."""
    monkeypatch.setattr("fastgw.processes.child.MAX_LINE", 1_000)
    child = await worker_that_says(encode("prepared", durable=True) + said, "time.sleep(3600)")
    assert await asyncio.wait_for(child.ended, scaled(20.0)) == -9
    assert child.failure is not None
    assert "what it said is no message" in child.failure.error
    assert not child.failure.is_final


async def test_what_a_worker_leaves_behind_holds_nobody(monkeypatch):
    """A process that it forked has the line, too: the end of the worker is its end all the same."""
    monkeypatch.setattr("fastgw.processes.child.LAST_WORDS_S", 0.1)
    fork = "if os.fork():\n    os._exit(3)\nline.recv(1)"  # until nobody is at the other end
    child = await worker_that_says(encode("ended", code=3), fork)
    assert await asyncio.wait_for(child.ended, scaled(20.0)) == 3
    assert child.clean_code == 3


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


def test_a_supervisor_that_reads_later_has_all_but_what_may_be_dropped():
    """It was stopped: what came meanwhile is whole and in order, and the newest figures are not."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        line, told = Line(theirs), 0
        while not line._unsent:
            line.say("status", may_drop=True, told=told, document="x" * 10_000)
            told += 1
        line.say("prepared", durable=True)
        line.say("status", may_drop=True, told="dropped")
        line.say("released")
        ours.settimeout(scaled(5.0))
        heard = b""
        while heard.count(b"\n") < told + 2:
            heard += ours.recv(1 << 16)
            line.say("status", may_drop=True, told="later")  # as it does every second
    messages = [decode(each) for each in heard.splitlines(keepends=True)[: told + 2]]
    assert [message.get("told") for message in messages[:-2]] == list(range(told))
    assert [message["is"] for message in messages[-2:]] == ["prepared", "released"]


def test_a_supervisor_that_does_not_read_holds_no_worker(monkeypatch):
    """The last word is given up after a while."""
    monkeypatch.setattr("fastgw.processes.line.LAST_S", 0.05)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        line = Line(theirs)
        line.say_last("failed", details="x" * 2_000_000)
        assert line._unsent


def test_a_supervisor_that_dies_in_the_middle_of_a_word_is_lost():
    """Half a word is no word; whoever hears it ends, as after the end between two words."""
    ours, theirs = socket.socketpair()
    lost, heard = threading.Event(), []
    with theirs:
        line = Line(theirs, supervisor_lost=lost.set)
        ours.sendall(encode("work", index=0) + encode("go") + b'{"is": "rele')
        assert line.first() == {"is": "work", "index": 0}
        line.hear(heard.append)
        ours.close()
        assert lost.wait(scaled(10.0))
    assert heard == ["go"]


def test_a_supervisor_that_dies_in_the_middle_of_the_first_word():
    """There is nothing to do for this worker."""
    ours, theirs = socket.socketpair()
    with theirs:
        line = Line(theirs, supervisor_lost=lambda: sys.exit("lost"))
        ours.sendall(encode("work", index=0)[:-5])
        ours.close()
        with pytest.raises(SystemExit, match="lost"):
            line.first()
