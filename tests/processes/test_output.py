"""What `fastgw run` writes where: status, logs, and what the bots print."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import signal

import pytest
from deadline import until
from fleet_command import PATIENCE_S, kill

from fastgw.testing import FakeGateway

pytestmark = pytest.mark.skipif(
    not os.path.exists("/proc/self/stat"), reason="processes are looked at in /proc"
)


@pytest.fixture
async def fake():
    """Serve one shard."""
    async with FakeGateway() as fake:
        yield fake


@pytest.fixture
def full_pipe():
    """Return both ends of a pipe into which nothing goes any more, and what fills it."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    filling = b"." * 4_095 + b"\n"
    filled = 0
    try:
        while True:
            filled += os.write(writer, filling[filled % len(filling) :])
    except BlockingIOError:
        os.set_blocking(writer, True)
    yield reader, writer, filled
    os.close(reader)


async def test_what_a_bot_prints_is_not_between_the_statuses(fake, run_fleet):
    """With --json all of standard output is JSON, the supervisor's; prints go to standard error."""
    fleet = await run_fleet(fake, target="printing_bot:gateway")
    await fleet.wait_ready(1)
    fake.dispatch("MESSAGE_CREATE", {"content": "at work"})
    await until(lambda: "printed at work\n" in fleet.errors, PATIENCE_S)
    fleet.signal(signal.SIGTERM)
    assert await fleet.wait_ended() == 0  # each line was parsed
    assert "printed at import\n" in fleet.errors
    assert fleet.statuses[-1]["workers"][0]["phase"] == "ended"
    assert fleet.statuses[-1]["lines_lost"] == 0


async def test_what_a_bot_prints_stands_above_the_live_view(fake, run_fleet):
    """Line by line, where the view was: it is taken away before, and drawn anew below."""
    pytest.importorskip("rich")
    ours, theirs = os.openpty()
    fleet = await run_fleet(
        fake, form="--processes=1", target="printing_bot:gateway", stdout=theirs, stderr=theirs,
        TERM="xterm-256color", COLUMNS="80",
    )  # fmt: skip
    os.close(theirs)
    screen = bytearray()
    reading = asyncio.create_task(asyncio.to_thread(_read_terminal, ours, screen))
    await until(lambda: b"1/1" in screen, PATIENCE_S)
    fake.dispatch("MESSAGE_CREATE", {"content": "at work"})
    await until(lambda: b"printed at work" in screen, PATIENCE_S)
    fleet.signal(signal.SIGTERM)
    assert await fleet.wait_ended() == 0
    await reading
    os.close(ours)
    for said in (b"printed at import", b"logged at import", b"printed at work", b"SIGTERM: work"):
        before, _, _ = screen.partition(said)
        assert before.rpartition(b"\n")[2].rpartition(b"\x1b[2K")[1], said
    assert screen.rstrip().endswith(b"\x1b[?25h")  # the cursor is back


def _read_terminal(descriptor, screen):
    """Take what is drawn, until nobody has the terminal any more."""
    with contextlib.suppress(OSError):
        while said := os.read(descriptor, 1 << 16):
            screen += said


async def test_a_reader_that_stops_holds_up_nothing(fake, run_fleet, full_pipe):
    """A dead worker comes back while nobody reads; who reads again gets the lines since then."""
    reader, writer, filled = full_pipe
    fleet = await run_fleet(fake, stdout=writer)
    os.close(writer)
    await until(lambda: fake.identifies, PATIENCE_S)
    (pid,) = {int(words[0]) for words in fleet.lines("import")}
    kill(pid)
    await until(lambda: len(fake.identifies) + len(fake.resumes) == 2, PATIENCE_S)
    said = await asyncio.to_thread(_read, reader, filled + 1)
    fleet.signal(signal.SIGTERM)
    while part := await asyncio.to_thread(os.read, reader, 1 << 20):
        said += part
    assert await fleet.wait_ended() == 0
    statuses = [json.loads(line) for line in said[filled:].splitlines()]
    assert statuses[0]["workers"][0]["phase"] == "starting"
    assert statuses[-1]["workers"][0]["restarts"] == 1
    assert statuses[-1]["lines_lost"] == 0


def _read(descriptor, size):
    """Read at least so many bytes."""
    said = b""
    while len(said) < size:
        said += os.read(descriptor, 1 << 20)
    return said


async def test_it_ends_while_nobody_reads(fake, run_fleet, full_pipe):
    """SIGTERM ends it cleanly, though its last lines go nowhere."""
    _, writer, _ = full_pipe
    fleet = await run_fleet(fake, stdout=writer, stderr=writer)
    os.close(writer)
    await until(lambda: fake.identifies, PATIENCE_S)
    fleet.signal(signal.SIGTERM)
    assert await fleet.wait_ended() == 0


async def test_a_pipe_that_somebody_made_non_blocking_is_waited_for(fake, run_fleet):
    """Who shares it with the command may do that; then a full pipe is an error, not the end."""
    reader, writer = os.pipe()
    fcntl.fcntl(writer, getattr(fcntl, "F_SETPIPE_SZ", 1031), 4_096)
    os.set_blocking(writer, False)
    os.write(writer, b"." * 4_095 + b"\n")
    fleet = await run_fleet(fake, stdout=writer)
    os.close(writer)
    await until(lambda: fake.identifies, PATIENCE_S)
    said = await asyncio.to_thread(_read, reader, 4_097)
    fleet.signal(signal.SIGTERM)
    while part := await asyncio.to_thread(os.read, reader, 1 << 20):
        said += part
    os.close(reader)
    assert await fleet.wait_ended() == 0
    assert [json.loads(line)["shard_count"] for line in said[4_096:].splitlines()][-1] == 1


async def test_each_line_of_a_json_log_is_an_object(fake, run_fleet):
    """Of the supervisor, of workers, of the program: with shard, cause and attempt where known."""
    fleet = await run_fleet(fake, "--log", "json", target="printing_bot:gateway")
    await fleet.wait_ready(1)
    fake.dispatch("TYPING_START", {})
    await until(lambda: "a handler that fails" in fleet.errors, PATIENCE_S)
    fake.cut()
    await until(lambda: fake.resumes, PATIENCE_S)
    fleet.signal(signal.SIGTERM)
    assert await fleet.wait_ended() == 0
    lines = fleet.errors.splitlines()
    lines.remove("printed at import")  # --json sends it there; no log writes it
    records = [json.loads(line) for line in lines]
    assert {"at", "level", "logger", "message"} <= set.intersection(*map(set, records))
    said = {(record["logger"], record["message"]) for record in records}
    assert ("bot", "logged at import") in said
    assert ("fastgw.processes", "SIGTERM: workers are ended") in said
    assert any(name == "py.warnings" and "old ways" in text for name, text in said)
    shard = [record for record in records if record["logger"] == "fastgw.shard"]
    assert {(record["worker"], record["shard_id"]) for record in shard} == {(0, 0)}
    assert "connection lost" in {record.get("cause") for record in shard}
    assert 1 in {record.get("attempt") for record in shard}
    (failed,) = (record for record in records if record["logger"] == "fastgw.handlers")
    assert failed["error"].endswith("ValueError: a handler that fails")


async def test_the_end_of_a_json_log_says_why(fake, run_fleet):
    """What ends the command is a record as well, with the traceback of the worker."""
    fleet = await run_fleet(fake, "--log", "json", FLEET_BOT_FAILS="import")
    assert await fleet.wait_ended() == 1
    records = [json.loads(line) for line in fleet.errors.splitlines()]
    last = records[-1]
    assert (last["level"], last["logger"]) == ("CRITICAL", "fastgw.processes")
    assert last["message"].startswith("worker 0 failed at import: RuntimeError")
    assert "this module is broken" in last["error"]
