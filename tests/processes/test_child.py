"""What a worker says last, as its supervisor hears it: broken off, and of any length."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import threading

import pytest
from deadline import scaled, until

from fastgw.processes.child import Child
from fastgw.processes.line import Line, Words, decode, encode

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
            line.say_state(document=figures)
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


def test_a_supervisor_that_reads_later_hears_each_word_and_the_latest_state():
    """It was stopped: of how its worker was meanwhile it hears once, and of its words all."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        line, told = Line(theirs), 0
        while not line._unsent:
            line.say_state(told=told, document="x" * 10_000)
            told += 1
        line.say_state(told="older", ready=1, figures="of then")
        line.say_state(told="before the word", ready=2)
        line.say("prepared", durable=True)
        line.say("released")
        for number in range(100):
            line.say_state(told=number)
            line.say_state(told="latest", ready=number)
        ours.settimeout(scaled(5.0))
        heard = b""
        while heard.count(b"\n") < told + 4:
            heard += ours.recv(1 << 16)
            line.say_state()  # as it does every second
    messages = [decode(each) for each in heard.splitlines(keepends=True)]
    assert [message["told"] for message in messages[:told]] == list(range(told))
    assert messages[told:] == [
        {"is": "status", "told": "before the word", "ready": 2, "figures": "of then"},
        {"is": "prepared", "durable": True},
        {"is": "released"},
        {"is": "status", "told": "latest", "ready": 99},
    ]


async def test_what_a_worker_is_told_waits_until_it_reads():
    """However long it is, nothing is lost or torn, and its supervisor does not stand still."""
    ours, theirs = socket.socketpair()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4_096)
    words = Words(ours)
    words.say("work", shard_ids=list(range(100_000)))
    words.say("go")
    assert words._unsent
    reader, writer = await asyncio.open_connection(sock=theirs, limit=1 << 23)
    first = decode(await asyncio.wait_for(reader.readline(), scaled(10.0)))
    second = decode(await asyncio.wait_for(reader.readline(), scaled(10.0)))
    words.say("release")
    third = decode(await asyncio.wait_for(reader.readline(), scaled(10.0)))
    assert first == {"is": "work", "shard_ids": list(range(100_000))}
    assert [second["is"], third["is"]] == ["go", "release"]
    words.close()
    ours.close()
    assert await asyncio.wait_for(reader.read(), scaled(10.0)) == b""
    writer.close()


async def test_what_is_told_to_a_worker_that_has_ended_is_dropped():
    """Also what waits for room; and after the end of the words, too."""
    ours, theirs = socket.socketpair()
    words = Words(ours)
    words.say("work", text="x" * 2_000_000)
    assert words._unsent
    theirs.close()
    await until(lambda: not words._unsent)
    words.say("go")
    assert not words._unsent
    words.close()
    words.say("release")
    assert not words._unsent
    ours.close()


async def test_a_child_is_told_all_though_it_does_not_read_for_a_while():
    """It imports a large program: its work and the words behind it wait for it."""
    read_all = (
        "import json\n"
        "lines = line.makefile('rb')\n"
        "said = [json.loads(lines.readline()) for _ in range(3)]\n"
        "kinds = [one['is'] for one in said]\n"
        "ok = kinds == ['work', 'go', 'release'] and len(said[0]['text']) == 2_000_000\n"
        "os._exit(0 if ok else 1)"
    )
    child = await worker_that_says(encode("prepared", durable=True), read_all)
    child._words.say("work", text="x" * 2_000_000)
    child.go()
    child.release()
    assert await asyncio.wait_for(child.ended, scaled(20.0)) == 0


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
