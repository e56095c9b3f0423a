"""`fastgw top`: a table of the endpoint's document, once or until Ctrl-C."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import sys
from contextlib import asynccontextmanager

import pytest
from command import fastgw, finished, next_line, started

from fastgw import Gateway, Intents
from fastgw.cli import _terminal, top
from fastgw.cli.top import Rates, render
from fastgw.testing import FakeGateway

pytestmark = pytest.mark.one_loop  # the command runs in a process of its own


def rates_of(*documents):
    """Return the rates that these documents make, one after the other."""
    rates = Rates()
    for one in documents:
        rates.take(one)
    return rates


def document(shards=2, ready=None, at=100.0, dispatches=0):
    """Return what `/stats.json` serves, of so many shards."""
    ready = shards if ready is None else ready
    counts = {
        "dispatches": dispatches, "delivered": dispatches // 10, "bytes_received": 0,
        "bytes_decoded": 0, "sessions_lost": 1, "reconnects": {"close": 2, "reset": 1},
    }  # fmt: skip
    return {
        "version": 1,
        "at": at,
        "processes": [
            {
                "index": 0, "told_at": at, "loop_lag_s": 0.002, "loop_lag_worst_s": 0.04,
                "unhandled": 3, "restarts": 1,
            }
        ],
        "shards": [
            {
                "shard_id": number, "process": 0, "latency_s": 0.0454, "last_ack_age_s": 12.0,
                "status": "ready" if number < ready else "connecting", "is_ready": number < ready,
                "ready_for_s": 7_500.0 if number < ready else None,
                "away_for_s": None if number < ready else 5.0,
            }
            for number in range(shards)
        ],
        "identify_budget": {"total": 1_000, "remaining": 987, "reserve": 50},
        "counts": {"total": counts, "shards": {str(number): counts for number in range(shards)}},
    }  # fmt: skip


@asynccontextmanager
async def endpoint(*documents):
    """Serve one document after the other, the last one for ever; yields the address."""
    left = list(documents)

    async def answer(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        body = left.pop(0) if len(left) > 1 else left[0]
        body = json.dumps(body).encode() if isinstance(body, dict) else body
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        host, port = server.sockets[0].getsockname()
        yield f"{host}:{port}"
    finally:
        server.close()


def test_a_stand_by_has_no_shards_yet():
    """It waits for those of another machine; "0 of 0" would look like a failure."""
    lines = render(document(shards=0), rates_of(document(shards=0)))
    assert lines[0].startswith("no shards yet in 1 process, ")


async def test_once_is_one_table():
    """Two answers make the rates; all are READY: exit code 0."""
    async with endpoint(document(), document(at=102.0, dispatches=5_000)) as address:
        done = await fastgw("top", address, "--once", "--interval", "0.1")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0] == "2 of 2 shards READY in 1 process, 1 restart, identifies 987 of 1000"
    assert lines[1].startswith("5,000 events/s, 500 delivered")
    assert lines[-1].split() == [
        "1", "0", "ready", "2,500", "45", "ms", "12", "s", "2", "h", "05", "min", "3", "1",
    ]  # fmt: skip
    assert max(map(len, lines)) < 80
    assert "\x1b" not in done.stdout


async def test_a_bot_with_an_endpoint_is_shown():
    """What a running gateway serves is what the table reads."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    async with FakeGateway(recommended_shards=2, max_concurrency=2) as fake:
        gateway = Gateway(
            "test-token", intents=Intents.all(), api_url=fake.api_url, metrics=address
        )
        async with gateway:
            done = await fastgw("top", address, "--once", "--interval", "0.1")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0].startswith("2 of 2 shards READY in 1 process, 0 restarts, identifies 998 of")
    *shards, unmeasured = lines[5:]
    assert [line.split()[:3] for line in shards] == [["0", "0", "ready"], ["1", "0", "ready"]]
    assert unmeasured.startswith("latency: with the first heartbeat")


async def test_who_is_away_comes_first():
    """And makes the exit code of --once 1."""
    async with endpoint(document(shards=3, ready=2)) as address:
        done = await fastgw("top", address, "--once", "--interval", "0.1")
    assert done.returncode == 1
    assert done.stdout.splitlines()[5].split()[:3] == ["2", "0", "connecting"]
    assert "away 5 s" in done.stdout


async def test_without_a_terminal_it_writes_a_line_each_time_until_ctrl_c():
    """Exit code 130."""
    async with (
        endpoint(document()) as address,
        started("top", address, "--interval", "0.1") as process,
    ):
        first, second = [await next_line(process.stdout) for _ in range(2)]
        done = await finished(process, interrupt=True)
    assert first.startswith("2 of 2 shards READY")
    assert second.startswith("2 of 2 shards READY")
    assert (done.returncode, done.stderr) == (130, "")


@pytest.mark.parametrize("body", [b"hello", b"[]", b'{"version": 2}'])
async def test_another_service_is_no_bot(body):
    """Exit code 2, one line."""
    async with endpoint(body) as address:
        done = await fastgw("top", address)
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        f"fastgw: what answers at http://{address} is no bot of this version of fastgw"
    ]


@pytest.mark.parametrize(
    ("address", "says"),
    [("127.0.0.1:1", "start the bot with fastgw run --metrics"), ("a b:c", "is no address")],
)
async def test_nobody_there_is_told(address, says):
    """Exit code 2, one line that says what to do."""
    done = await fastgw("top", address)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert says in line


def test_a_small_screen_shows_what_there_is_room_for():
    """A thousand shards on 24 lines: those that are away, and how many more there are."""
    lines = render(document(shards=1_000, ready=990), Rates(), 24)
    assert len(lines) == 24
    assert [line.split()[2] for line in lines[5:15]] == ["connecting"] * 10
    assert lines[-1] == "... 982 more, 982 of them READY"


def test_rates_are_those_of_what_a_process_told():
    """Answers between two tellings hold the same counts: the rate stays, and does not jump."""
    told = document(dispatches=0), document(at=105.0, dispatches=1_000)
    rates = rates_of(told[0], told[0])
    assert (rates.are_known, rates.of("dispatches", 1)) == (False, None)
    assert render(told[0], rates)[1].startswith("events a second are known once")
    rates.take(told[1])
    assert (rates.are_known, rates.of("dispatches", 1)) == (True, 200.0)
    rates.take(told[1])
    assert (rates.of("dispatches", 1), rates.total("dispatches")) == (200.0, 400.0)


def test_a_process_that_has_told_nothing_has_no_rates():
    """As of a worker that is starting; the others' are known all the same."""
    silent = document()
    silent["processes"][0]["told_at"] = None
    rates = rates_of(document(), document(at=101.0, dispatches=10), silent)
    assert (rates.are_known, rates.total("dispatches")) == (True, 0.0)


@pytest.mark.parametrize("rows", [24, 9, 6])
@pytest.mark.parametrize("is_drawn_by_rich", [False, True])
@pytest.mark.parametrize("trouble", ["", "nothing answers"])
def test_the_cursor_stands_on_a_line_of_its_own(
    monkeypatch, capsys, rows, is_drawn_by_rich, trouble
):
    """Below the table, for ^C and the shell's prompt; no screen is so small that it scrolls."""
    monkeypatch.setattr(
        _terminal.shutil, "get_terminal_size", lambda *_: os.terminal_size((80, rows))
    )
    monkeypatch.setattr(top, "is_rich", lambda: is_drawn_by_rich)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    top._painter()(document(), Rates(), trouble)
    drawn = capsys.readouterr().out
    assert drawn.endswith("\n")
    assert 1 <= drawn.count("\n") < rows


async def test_ctrl_c_leaves_nothing_on_the_screen_but_the_table():
    """The terminal shows ^C where the cursor stands; the shell's prompt takes its place."""
    ours, theirs = os.openpty()
    async with (
        endpoint(document()) as address,
        started("top", address, "--interval", "0.1", stdout=theirs, TERM="xterm") as process,
    ):
        os.close(theirs)
        await asyncio.to_thread(os.read, ours, 4096)
        done = await finished(process, interrupt=True)
    drawn = b""
    with contextlib.suppress(OSError):  # EIO: nobody has the other end any more
        while more := os.read(ours, 1 << 16):
            drawn += more
    os.close(ours)
    assert (done.returncode, done.stderr) == (130, "")
    assert drawn.endswith(b"\r\x1b[K")


def test_a_latency_that_is_not_known_yet_is_explained():
    """Until the first heartbeat is answered; who is away has none in any case."""
    new = document(shards=3, ready=2)
    for shard in new["shards"]:
        shard["latency_s"] = None
    lines = render(new, Rates(), 24)
    assert lines[-1].startswith("latency: with the first heartbeat")
    assert max(map(len, lines)) < 80
    assert len(render(document(shards=100), Rates(), 20)) == 20
    for shard in new["shards"]:
        shard["latency_s"] = 0.1 if shard["is_ready"] else None
    assert render(new, Rates(), 24)[-1].split()[0] == "1"
