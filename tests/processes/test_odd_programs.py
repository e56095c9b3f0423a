"""`fastgw run` with programs that make it hard: what they say, start and leave behind."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import sys
import threading
from dataclasses import replace
from types import SimpleNamespace

import pytest
from deadline import scaled, until
from fleet_command import PATIENCE_S, SUPPORT, is_alive, kill

from fastgw.errors import AuthenticationFailed, WorkerFailed
from fastgw.processes import child, restarts, supervisor, worker
from fastgw.processes.settings import ProcessOptions
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
def run_program(fake, run_fleet, tmp_path):
    """Start `fastgw run program:gateway` with this text as the program."""

    async def run(text, *arguments, **environment):
        (tmp_path / "program.py").write_text(text)
        environment["PYTHONPATH"] = f"{tmp_path}{os.pathsep}{SUPPORT}"
        return await run_fleet(fake, *arguments, target="program:gateway", **environment)

    return run


async def test_an_error_of_any_length_is_told(run_program):
    """Its beginning; the line to the supervisor takes no more."""
    fleet = await run_program("raise ValueError('\\U0001f916' * 200_000)")
    assert await fleet.wait_ended() == 1
    last = fleet.errors.splitlines()[-1]
    assert last.startswith("fastgw: worker 0 failed at import: ValueError: \U0001f916")
    assert len(last) < 5_000


async def test_a_token_of_another_bot_is_refused(run_program):
    """The command's own says where to connect, what the store is called and who may identify."""
    fleet = await run_program(
        "import fastgw\n"
        "gateway = fastgw.Gateway('OTg3NjU0MzIxMDk4NzY1NDMy.x.y', intents=fastgw.Intents.all())",
        DISCORD_TOKEN="MTIzNDU2Nzg5MDEyMzQ1Njc4.x.y",
    )
    assert await fleet.wait_ended() == 1
    last = fleet.errors.splitlines()[-1]
    assert last.startswith("fastgw: worker 0 failed at start: the gateway has the token of")
    assert "987654321098765432, and who started it runs bot 123456789012345678" in last
    assert "started again" not in fleet.errors


async def test_a_thread_that_goes_on_does_not_hold_the_end(run_program):
    """A module that fails at import after it has started one that is no daemon."""
    fleet = await run_program(
        "import os, threading, time\n"
        "threading.Thread(target=time.sleep, args=(600,)).start()\n"
        "from fastgw.processes.target import TargetError\n"
        "raise TargetError('final')"
    )
    assert await fleet.wait_ended() == 1
    assert fleet.errors.splitlines()[-1] == "fastgw: worker 0 failed at import: final"


async def test_what_a_worker_forked_does_not_hold_its_place(run_program, tmp_path):
    """A process that outlives the worker has its descriptors: a new worker starts even so."""
    fleet = await run_program(
        "import os, time\n"
        "from fleet_bot import gateway\n"
        "if (pid := os.fork()) == 0:\n"
        "    time.sleep(600)\n"
        "    os._exit(0)\n"
        f"with open({str(tmp_path / 'forked')!r}, 'a') as file:\n"
        "    print(pid, file=file)"
    )
    try:
        await fleet.wait_ready(1)
        (first,) = fleet.pids
        kill(first)
        await until(lambda: fleet.pids != {first} and fleet.is_ready(1), PATIENCE_S)
    finally:
        for pid in (tmp_path / "forked").read_text().split():
            kill(int(pid))


async def test_a_successor_that_hangs_replaces_nobody(fake, tmp_path, monkeypatch, caplog):
    """It is killed after a while, the old worker goes on, and the next SIGHUP is heard again."""
    monkeypatch.setenv("DISCORD_TOKEN", "not.a.token")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    program = tmp_path / "hanging.py"
    text = "import fastgw\ngateway = fastgw.Gateway(intents=fastgw.Intents.GUILDS)\n"
    program.write_text(text)
    options = ProcessOptions(
        target="hanging:gateway", store=tmp_path / "fastgw.sqlite", api_url=fake.api_url
    )
    fleet = supervisor.Supervisor(options)
    running = asyncio.create_task(fleet.run())
    try:
        await until(lambda: fleet.status().workers and fleet.status().is_ready, PATIENCE_S)
        before = fleet.status().workers[0].pid
        program.write_text(f"import time\ntime.sleep(600)\n{text}")
        # Now: a worker that does not hang may need longer, where the cores are busy.
        fleet._options = replace(options, start_timeout_s=1.0)
        fleet.replace_workers()
        await until(lambda: not fleet.status().is_rolling, PATIENCE_S)
        assert "worker 0 is not replaced" in caplog.text
        assert "was not prepared after 1 s" in caplog.text
        assert fleet.status().workers[0].pid == before
        assert fleet.status().is_ready
    finally:
        fleet.close()
        await running


@pytest.mark.parametrize(
    ("text", "after_s", "said"),
    [
        ("import time\ntime.sleep(600)\n", 1.0, "at import: it hangs: the module was not imported"),
        (
            "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
            "while True: time.sleep(600)\n",
            1.0,
            "at import: it hangs: the module was not imported",
        ),
        (
            "import asyncio, fastgw\nclass Store(fastgw.MemorySessionStore):\n"
            "    async def open(self, bot_id):\n        await asyncio.sleep(600)\n"
            "gateway = fastgw.Gateway(intents=0, store=Store())\n",
            6.0,
            "at start: it hangs: it could take no shards",
        ),
    ],
    ids=["import", "deaf", "start"],
)
async def test_a_worker_that_hangs_has_failed(fake, tmp_path, monkeypatch, text, after_s, said):
    """It is told to end, then killed; the command ends with the reason, as after any failures."""
    monkeypatch.setattr(child, "ENDING_S", 0.2)
    monkeypatch.setattr(restarts, "FAILED_STARTS", 1)
    monkeypatch.setenv("DISCORD_TOKEN", "not.a.token")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (tmp_path / "hanging.py").write_text(text)
    options = ProcessOptions(
        target="hanging:gateway", store=tmp_path / "fastgw.sqlite", api_url=fake.api_url,
        start_timeout_s=scaled(after_s),
    )  # fmt: skip
    with pytest.raises(WorkerFailed, match=said):
        await asyncio.wait_for(supervisor.Supervisor(options).run(), PATIENCE_S)


@pytest.fixture
def plain_fleet(fake, tmp_path, monkeypatch):
    """Make a supervisor of one worker, in this process."""
    monkeypatch.setenv("DISCORD_TOKEN", "not.a.token")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (tmp_path / "plain.py").write_text("import fastgw\ngateway = fastgw.Gateway(intents=0)\n")
    options = ProcessOptions(
        target="plain:gateway", store=tmp_path / "fastgw.sqlite", api_url=fake.api_url
    )
    return supervisor.Supervisor(options)


async def test_more_processes_than_shards_are_told(fake, plain_fleet, caplog):
    """With the number that starts."""
    plain_fleet._options = replace(plain_fleet._options, processes=2)
    plain_fleet._token = "not.a.token"
    assert await plain_fleet._ask()
    assert "2 processes are more than 1 shard can use: starting 1 process" in caplog.text


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (AuthenticationFailed("copy a fresh bot token"), "copy a fresh bot token"),
        (ValueError("bad token"), "ValueError: bad <token>"),
    ],
)
def test_a_worker_hides_the_token_in_what_the_program_said(monkeypatch, error, said):
    """Not in a sentence of ours, where a test's token is a word like any other."""
    monkeypatch.setenv("DISCORD_TOKEN", "token")
    told = []
    line = SimpleNamespace(say_last=lambda kind, **facts: told.append(facts))
    worker._failed(line, "run", error)
    assert told[0]["error"] == said
    assert "bad token" not in told[0]["details"]


def is_up(fleet):
    """Tell whether a supervisor's workers are there, with all of their shards."""
    return fleet.status().workers and fleet.status().is_ready


async def test_a_system_without_a_process_to_give_is_asked_again(plain_fleet, monkeypatch, caplog):
    """One worker of many that cannot be started again is no end of the others."""
    monkeypatch.setattr(restarts, "FIRST_S", 0.01)
    start, asked = child.Child.start, []

    async def start_later(*args, **options):
        asked.append(args)
        if len(asked) < 5:
            raise BlockingIOError(errno.EAGAIN, "no process to give")
        return await start(*args, **options)

    monkeypatch.setattr(child.Child, "start", start_later)
    running = asyncio.create_task(plain_fleet.run())
    try:
        await until(lambda: running.done() or is_up(plain_fleet), PATIENCE_S)
        assert len(asked) == 5
        assert "no process can be started for worker 0 ([Errno 11] no process to give)" in (
            caplog.text
        )
        assert plain_fleet.status().workers[0].restarts == 0  # nothing died
    finally:
        plain_fleet.close()
        await running


@pytest.mark.one_loop
@pytest.mark.skipif(sys.version_info >= (3, 12), reason="no thread waits for the process")
async def test_a_system_without_a_thread_to_give_is_asked_again(plain_fleet, monkeypatch, caplog):
    """Up to Python 3.11 a thread waits for each process, and counts against the same limit."""
    monkeypatch.setattr(restarts, "FIRST_S", 0.01)
    start, asked = threading.Thread.start, []

    def start_later(thread):
        if "waitpid-" in thread.name:
            asked.append(thread)
            if len(asked) < 3:
                raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_later)
    running = asyncio.create_task(plain_fleet.run())
    try:
        await until(lambda: running.done() or is_up(plain_fleet), PATIENCE_S)
        assert len(asked) == 3
        assert "no process can be started for worker 0 ([Errno 11] can't start new thread)" in (
            caplog.text
        )
    finally:
        plain_fleet.close()
        await running


async def test_a_rolling_restart_that_breaks_off_says_why(plain_fleet, monkeypatch, caplog):
    """A token that was refused meanwhile, say: it looked as if nobody had asked."""

    async def refused(*_args):
        raise AuthenticationFailed("the token was refused")

    monkeypatch.setattr(supervisor, "ask_again", refused)
    running = asyncio.create_task(plain_fleet.run())
    try:
        await until(lambda: running.done() or is_up(plain_fleet), PATIENCE_S)
        plain_fleet.replace_workers()
        await until(lambda: not plain_fleet.status().is_rolling, PATIENCE_S)
        await until(lambda: "workers are not replaced: the token was refused" in caplog.text)
        assert plain_fleet.status().is_ready
    finally:
        plain_fleet.close()
        await running


async def test_a_successor_that_dies_while_the_old_one_drains(fake, run_program, tmp_path):
    """It is started again at once; its shards do not wait for the handlers of the old one."""
    fleet = await run_program(
        "import asyncio\n"
        "from fleet_bot import gateway\n"
        "@gateway.on('TYPING_START')\n"
        "async def drains(event):\n"
        "    await asyncio.sleep(600)\n",
        "--stop-timeout", "300",
    )  # fmt: skip
    await fleet.wait_ready(1)
    (first,) = fleet.pids
    fake.dispatch("TYPING_START", {})
    await until(lambda: fleet.lines("begin"), PATIENCE_S)
    fleet.signal(signal.SIGHUP)
    await until(lambda: fleet.workers[0]["pid"] != first and fleet.is_ready(1), PATIENCE_S)
    second = fleet.workers[0]["pid"]
    os.kill(first, signal.SIGSTOP)  # it drains as long as the test needs
    try:
        kill(second)
        await until(
            lambda: fleet.workers[0]["pid"] not in (None, second) and fleet.is_ready(1), PATIENCE_S
        )
        assert is_alive(first)
    finally:
        kill(first)


async def test_closed_standard_streams(fake, tmp_path):
    """What prints writes into nothing, and into no socket that took the number of a stream."""
    (tmp_path / "program.py").write_text(
        "import os, sys\n"
        "os.write(1, b'to standard output')\n"
        "os.write(2, b'to standard error')\n"
        "print('and again', file=sys.stderr, flush=True)\n"
        "from fleet_bot import gateway\n"
    )
    process = await asyncio.create_subprocess_exec(
        "sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh",
        sys.executable, "-m", "fastgw.cli", "run", "program:gateway", "--api-url", fake.api_url,
        env=os.environ | {
            "DISCORD_TOKEN": "not.a.token",
            "FLEET_BOT_LOG": str(tmp_path / "events.txt"),
            "PYTHONPATH": f"{tmp_path}{os.pathsep}{SUPPORT}",
            "STATE_DIRECTORY": str(tmp_path),
        },
    )  # fmt: skip
    try:
        await until(lambda: fake.identifies or process.returncode is not None, PATIENCE_S)
        assert process.returncode is None
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), PATIENCE_S) == 0
        assert len(fake.identifies) == 1
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
