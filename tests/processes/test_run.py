"""`fastgw run` with real workers: shared out, killed, replaced, ended."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket

import pytest
from deadline import until
from fleet_command import PATIENCE_S, is_alive, kill
from proxies import proxy_server

from fastgw.testing import FakeGateway

pytestmark = pytest.mark.skipif(
    not os.path.exists("/proc/self/stat"), reason="processes are looked at in /proc"
)
SHARDS = 4


@pytest.fixture
async def fake():
    """Serve four shards, each with a key of its own."""
    async with FakeGateway(recommended_shards=SHARDS, max_concurrency=SHARDS) as fake:
        yield fake


def contents(fleet):
    """Return what MESSAGE_CREATE the bots saw, in the order of their writes."""
    return [words[4] for words in fleet.lines("event")]


def send(fake, text):
    """Send a message to each shard."""
    for shard_id in range(SHARDS):
        fake.dispatch("MESSAGE_CREATE", {"content": f"{text}-{shard_id}"}, shard_id=shard_id)


def sent(*texts):
    return {f"{text}-{shard_id}" for text in texts for shard_id in range(SHARDS)}


# ---------------------------------------------------------------------------- sharing out


async def test_workers_share_the_shards(fake, run_fleet):
    """The API is asked once, each shard identifies once, and each worker runs its own."""
    fleet = await run_fleet(fake, "--processes", "2")
    await fleet.wait_ready(SHARDS)
    assert fake.api_requests == 1
    assert sorted(tuple(d["shard"]) for d in fake.identifies) == [(i, 4) for i in range(4)]
    assert [worker["shard_ids"] for worker in fleet.workers] == [[0, 1], [2, 3]]
    send(fake, "hello")
    await until(lambda: set(contents(fleet)) == sent("hello"), PATIENCE_S)
    runs = {(words[0], int(words[1]) // 2) for words in fleet.lines("event")}
    assert len(runs) == 2
    assert fleet.path.exists()


async def test_a_part_of_a_bot(fake, run_fleet):
    """`--shards` of one machine, `--shard-count` of all."""
    fleet = await run_fleet(fake, "--processes", "2", "--shards", "1-3", "--shard-count", "8")
    await fleet.wait_ready(3)
    assert sorted(tuple(d["shard"]) for d in fake.identifies) == [(1, 8), (2, 8), (3, 8)]


async def test_a_part_of_nobody_knows_how_much_is_refused(fake, run_fleet):
    """By the names that the command has for them, before anything is asked."""
    fleet = await run_fleet(fake, "--shards", "0-3")
    assert await fleet.wait_ended() == 2
    assert fleet.errors == (
        "fastgw: --shards 0-3 says nothing without --shard-count, the number of all shards of the "
        "bot\n"
    )
    assert fake.api_requests == 0


async def test_the_api_is_asked_through_the_proxy(fake, run_fleet):
    """`--proxy` is the supervisor's: workers go by what the program's Gateway says."""
    async with proxy_server() as proxy:
        fleet = await run_fleet(fake, "--proxy", proxy.url)
        await fleet.wait_ready(SHARDS)
        assert len(proxy.asked) == 1


@pytest.mark.parametrize("where", ["file", "credential"])
async def test_the_token_of_a_file(run_fleet, tmp_path, where):
    """DISCORD_TOKEN_FILE, or the credential that systemd hands over."""
    (tmp_path / "DISCORD_TOKEN").write_text("Bot the.true.token\n")
    given = {
        "file": {"DISCORD_TOKEN_FILE": str(tmp_path / "DISCORD_TOKEN")},
        "credential": {"CREDENTIALS_DIRECTORY": str(tmp_path)},
    }[where]
    async with FakeGateway(token="the.true.token") as fake:
        fleet = await run_fleet(fake, DISCORD_TOKEN=None, **given)
        await fleet.wait_ready(1)


# ---------------------------------------------------------------------------- deaths


async def test_a_killed_worker_comes_back_by_resume(fake, run_fleet):
    """What came meanwhile comes afterwards, and nobody identifies again."""
    fleet = await run_fleet(fake, "--processes", "2")
    await fleet.wait_stored(SHARDS)
    before = fleet.workers[0]["pid"]
    kill(before)
    send(fake, "meanwhile")
    await until(lambda: fleet.workers[0]["pid"] not in (None, before), PATIENCE_S)
    await until(lambda: set(contents(fleet)) >= sent("meanwhile"), PATIENCE_S)
    assert len(fake.identifies) == SHARDS
    assert len(fake.resumes) == 2
    assert "died: killed by SIGKILL" in fleet.errors


async def test_what_was_counted_never_falls(fake, run_fleet):
    """Neither when a worker dies nor when it is replaced: the supervisor keeps what it told."""
    fleet = await run_fleet(fake, "--processes", "2")
    await fleet.wait_stored(SHARDS)
    before = fleet.workers[0]["pid"]
    kill(before)
    await until(lambda: fleet.workers[0]["pid"] not in (None, before), PATIENCE_S)
    await fleet.wait_ready(SHARDS)
    fleet.signal(signal.SIGHUP)
    await until(lambda: "all workers are replaced" in fleet.errors, PATIENCE_S)
    await fleet.wait_ready(SHARDS)

    def told(name):
        return [sum(worker[name] for worker in s["workers"]) for s in fleet.statuses]

    # A status with all shards ready may be one before the resumes that made them so.
    await until(lambda: told("resumes")[-1] >= SHARDS + 2, PATIENCE_S)
    for name, least in (("identifies", SHARDS), ("resumes", SHARDS + 2), ("events", SHARDS)):
        assert told(name) == sorted(told(name)), name
        assert told(name)[-1] >= least, name
    assert sum(worker["identifies"] for worker in fleet.workers) == len(fake.identifies) == SHARDS


async def test_kills_while_a_worker_starts_end_nothing(fake, run_fleet):
    """They say nothing about the program, however many there are."""
    fleet = await run_fleet(fake)
    await fleet.wait_stored(SHARDS)
    killed = set()
    while len(killed) < 4:  # one more than failures that would
        await until(lambda: fleet.workers[0]["pid"] not in {None, *killed}, PATIENCE_S)
        pid = fleet.workers[0]["pid"]
        kill(pid)
        killed.add(pid)
    await until(lambda: fleet.workers[0]["pid"] not in {None, *killed}, PATIENCE_S)
    await fleet.wait_ready(SHARDS)
    assert len(fake.identifies) == SHARDS


async def test_no_worker_outlives_the_supervisor(fake, run_fleet):
    """SIGKILL leaves it no time to say anything."""
    fleet = await run_fleet(fake, "--processes", "2")
    await fleet.wait_ready(SHARDS)
    fleet.signal(signal.SIGKILL)
    await fleet.wait_ended()
    await fleet.wait_workers_gone()
    assert len(fake.service.sessions) == SHARDS


async def test_the_next_command_resumes(fake, run_fleet):
    """After a kill of all of it, too."""
    fleet = await run_fleet(fake, "--processes", "2")
    await fleet.wait_stored(SHARDS)
    await fleet.kill()
    send(fake, "between")
    fleet = await run_fleet(fake, "--processes", "3")
    await fleet.wait_ready(SHARDS)
    await until(lambda: set(contents(fleet)) == sent("between"), PATIENCE_S)
    assert len(fake.identifies) == SHARDS


# ---------------------------------------------------------------------------- replacing


async def test_a_rolling_restart_costs_no_identify(fake, run_fleet):
    """SIGHUP replaces every worker, one after another, and nothing is lost."""
    fleet = await run_fleet(fake, "--processes", "2")
    await fleet.wait_ready(SHARDS)
    before = {worker["pid"] for worker in fleet.workers}
    fleet.signal(signal.SIGHUP)
    count = 0
    while "all workers are replaced" not in fleet.errors:
        send(fake, f"m{count}")
        count += 1
        await asyncio.sleep(0.02)
        assert not fleet.has_ended
    await fleet.wait_ready(SHARDS)
    await until(lambda: len(contents(fleet)) >= count * SHARDS, PATIENCE_S)
    assert sorted(contents(fleet)) == sorted(sent(*(f"m{n}" for n in range(count))))
    assert len(fake.identifies) == SHARDS
    assert len(fake.resumes) == SHARDS
    await until(lambda: not any(map(is_alive, before)), PATIENCE_S)
    await until(lambda: not before & {worker["pid"] for worker in fleet.workers}, PATIENCE_S)


async def test_a_successor_that_fails_replaces_nobody(fake, run_fleet, tmp_path):
    """A deploy that does not import leaves what runs alone."""
    fleet = await run_fleet(fake, "--processes", "2", FLEET_BOT_FAILS=str(tmp_path / "broken"))
    await fleet.wait_ready(SHARDS)
    before = [worker["pid"] for worker in fleet.workers]
    (tmp_path / "broken").touch()
    fleet.signal(signal.SIGHUP)
    await until(lambda: "is not replaced" in fleet.errors, PATIENCE_S)
    assert "RuntimeError: this module is broken" in fleet.errors
    send(fake, "still")
    await until(lambda: set(contents(fleet)) == sent("still"), PATIENCE_S)
    assert [worker["pid"] for worker in fleet.workers] == before
    assert fake.resumes == []


async def test_workers_that_are_starting_are_replaced_as_well(fake, run_fleet, tmp_path):
    """They may have imported what was there before the deploy."""
    fleet = await run_fleet(fake, "--processes", "2", FLEET_BOT_WAITS=str(tmp_path / "go"))
    await until(lambda: len(fleet.lines("waits")) == 2, PATIENCE_S)
    before = {int(pid) for (pid,) in fleet.lines("waits")}
    fleet.signal(signal.SIGHUP)
    await until(lambda: "workers are replaced one after another" in fleet.errors, PATIENCE_S)
    (tmp_path / "go").touch()
    await until(lambda: "all workers are replaced" in fleet.errors, PATIENCE_S)
    await fleet.wait_ready(SHARDS)
    await until(lambda: not before & {worker["pid"] for worker in fleet.workers}, PATIENCE_S)
    await until(lambda: not any(map(is_alive, before)), PATIENCE_S)
    assert len(fake.identifies) == SHARDS


# ---------------------------------------------------------------------------- ends


async def test_sigterm_drains(fake, run_fleet):
    """Handlers that run may end, sessions stay, and the exit code is 0."""
    fleet = await run_fleet(fake, "--processes", "2")
    await fleet.wait_ready(SHARDS)
    fake.dispatch("TYPING_START", {}, shard_id=0)
    await until(lambda: fleet.lines("begin"), PATIENCE_S)
    fleet.signal(signal.SIGTERM)
    assert await fleet.wait_ended() == 0
    assert "restarting" not in {worker["phase"] for worker in fleet.workers}
    assert len(fleet.lines("end")) == 1
    assert len(fake.service.sessions) == SHARDS


async def test_ctrl_c_reaches_a_worker_once(fake, run_fleet):
    """A second SIGINT would end the handler that runs: a terminal sends it to all its processes."""
    ours, theirs = os.openpty()
    with contextlib.closing(os.fdopen(ours, "wb", buffering=0)) as terminal:
        fleet = await run_fleet(fake, "--processes", "2", stdin=theirs)
        os.close(theirs)
        await fleet.wait_ready(SHARDS)
        fake.dispatch("TYPING_START", {}, shard_id=0)
        await until(lambda: fleet.lines("begin"), PATIENCE_S)
        terminal.write(b"\x03")
        assert await fleet.wait_ended() == 0
    assert len(fleet.lines("end")) == 1
    assert "KeyboardInterrupt" not in fleet.errors


async def test_a_terminal_that_goes_away_is_the_end(fake, run_fleet):
    """SIGHUP of a lost connection is none of an operator's."""
    ours, theirs = os.openpty()
    fleet = await run_fleet(fake, stdin=theirs)
    os.close(theirs)
    await fleet.wait_ready(SHARDS)
    os.close(ours)
    assert await fleet.wait_ended() == 0
    assert "replaced" not in fleet.errors


@pytest.mark.parametrize(
    ("target", "says", "tries"),
    [
        ("fleet_bot.main:gateway", "there is no module 'fleet_bot.main'", 1),
        ("fleet_bot:gatway", "there is no 'gatway'; its gateways: gateway", 1),
        ("fleet_bot:number", "fleet_bot:number is an int", 1),
        ("fleet_bot:make_none", "fleet_bot:make_none() returned None, and not a Gateway", 1),
        ("fleet_bot:make_later", "is a coroutine function", 1),
        ("fleet_bot:raises", "LookupError: no such bot", 3),
    ],
)
async def test_what_cannot_be_run_ends_the_command(fake, run_fleet, target, says, tries):
    """With one clear error; what might pass is tried three times, else nothing is restarted."""
    fleet = await run_fleet(fake, target=target)
    assert await fleet.wait_ended() == 1
    assert [worker["restarts"] for worker in fleet.workers] == [tries - 1]
    last = fleet.errors.splitlines()[-1]
    assert last.startswith("fastgw: worker 0 failed at import: ")
    assert says in last
    assert len(fleet.lines("import")) == tries
    assert fake.identifies == []


async def test_a_module_that_is_not_there_is_told_before_anything_is_asked(fake, run_fleet):
    """Neither the token, which is none, nor the API comes first, and no worker is started."""
    fleet = await run_fleet(fake, target="no_such_module:gateway", DISCORD_TOKEN="")
    assert await fleet.wait_ended() == 2
    (line,) = fleet.errors.splitlines()
    assert line.startswith("fastgw: there is no module 'no_such_module' in ")
    assert fake.api_requests == 0


async def test_another_bots_store_ends_the_command(fake, run_fleet):
    """The worker says it, the command repeats it."""
    token = "MTIzNDU2Nzg5MDEyMzQ1Njc4.x.y"  # 123456789012345678
    fleet = await run_fleet(fake, DISCORD_TOKEN=token)
    await fleet.wait_ready(SHARDS)
    fleet.signal(signal.SIGTERM)
    assert await fleet.wait_ended() == 0
    other = "OTg3NjU0MzIxMDk4NzY1NDMy.x.y"
    fleet = await run_fleet(fake, DISCORD_TOKEN=other)
    assert await fleet.wait_ended() == 1
    assert "bot 123456789012345678, and this is bot 987654321098765432" in fleet.errors
    assert len(fleet.lines("import")) == 2  # one each: it would be the same the next time


async def test_a_refused_token_is_told_at_once(run_fleet):
    """No worker is started."""
    async with FakeGateway(token="another.token") as fake:
        fleet = await run_fleet(fake)
        assert await fleet.wait_ended() == 2
    assert "fastgw: the token was refused (HTTP 401)" in fleet.errors
    assert fleet.lines("import") == []


# ---------------------------------------------------------------------------- systemd


async def test_systemd_is_told(fake, run_fleet, tmp_path):
    """READY=1 once all shards are, WATCHDOG=1 as often as it wants, STOPPING=1; by one process."""
    heard = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.setblocking(False)
        asyncio.get_running_loop().add_reader(
            manager, lambda: heard.append(manager.recv(4096).decode().splitlines())
        )
        fleet = await run_fleet(
            fake, NOTIFY_SOCKET=str(tmp_path / "notify"), WATCHDOG_USEC="500000"
        )

        def times(word):
            return sum(word in message for message in heard)

        await until(lambda: times("READY=1") == 1, PATIENCE_S)
        assert len(fake.identifies) == SHARDS
        seen = times("WATCHDOG=1")
        await until(lambda: times("WATCHDOG=1") >= seen + 2, PATIENCE_S)
        fleet.signal(signal.SIGHUP)
        await until(lambda: times("RELOADING=1") == 1 and times("READY=1") == 2, PATIENCE_S)
        fleet.signal(signal.SIGTERM)
        await fleet.wait_ended()
        await until(lambda: times("STOPPING=1") == 1, PATIENCE_S)
        asyncio.get_running_loop().remove_reader(manager)
    assert any(line.startswith("STATUS=4 of 4 shards READY") for m in heard for line in m)
