"""The identify queue in SQLite: processes that race and die, clocks, boots, and bad files."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections import defaultdict
from contextlib import closing, suppress
from pathlib import Path

import pytest
from deadline import scaled, until
from inside import pragma

from fastgw import IdentifyBudgetSpent, SessionStartLimit, UsageError
from fastgw.fleet.stores import sqlite_file
from fastgw.fleet.stores.boot_clock import BootClock, system_boot_clock
from fastgw.fleet.turns.sqlite_queue import SQLiteIdentifyQueue
from fastgw.fleet.turns.sqlite_turns import MAX_HOLD_S

CHILD = Path(__file__).parents[2] / "support" / "queue_child.py"
FAST = {"interval_s": 0.05, "padding_s": (0.0, 0.0), "reserve": 0}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "identify.sqlite"


def limit(remaining=1_000, *, total=1_000, reset_after_s=3_600.0, max_concurrency=1):
    return SessionStartLimit(total, remaining, reset_after_s, max_concurrency)


async def identify(queue, shard_id=0):
    turn = await queue.acquire(shard_id)
    turn.written()
    turn.release()


def rows(path, what="*"):
    with closing(sqlite3.connect(path)) as reader:
        return reader.execute(f"SELECT {what} FROM identifies ORDER BY number").fetchall()


# ---------------------------------------------------------------------------- processes that race


class Race:
    """Processes whose shards identify as fast as they may, and what each of them wrote down."""

    def __init__(self, directory, *, keys, interval_s, shards, seed):
        self.queue, self.log = directory / "identify.sqlite", directory / "log"
        self.log.touch()  # a busy machine may see nobody begin for a while
        self.keys, self.interval_s, self.shards = keys, interval_s, shards
        self.chance = random.Random(seed)
        self.children, self.killed = [], {}

    def start(self, count):
        for _ in range(count):
            first = len(self.children) + len(self.killed)
            ids = [first % 4 + 4 * number for number in range(self.shards)]
            arguments = [self.queue, self.log, self.keys, self.interval_s, self.chance.random()]
            arguments[4] = self.chance.randrange(1 << 30)
            self.children.append(
                subprocess.Popen([sys.executable, str(CHILD), *map(str, arguments + ids)])
            )

    def kill(self, child):
        """SIGKILL; it may have died at any time from now on."""
        self.killed[child.pid] = system_boot_clock().boot()
        child.send_signal(signal.SIGKILL)
        assert child.wait() == -signal.SIGKILL, "the child ended by itself"
        self.children.remove(child)

    def run(self, seconds, *, kill_every_s):
        """Let them race; kill one now and then, and start another in its place."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            time.sleep(kill_every_s * (0.5 + self.chance.random()))
            self.kill(self.chance.choice(self.children))
            self.start(1)

    def stop(self):
        for child in list(self.children):
            self.kill(child)

    def events(self):
        """Yield (pid, what, key, at) in the order in which they were written down, key by key."""
        by_key = defaultdict(list)
        for line in self.log.read_text().splitlines():
            pid, what, key, at = line.split()
            by_key[int(key)].append((int(pid), what, float(at)))
        return by_key

    def check(self):
        """Never two holders of a key, never two writes of a key within the interval."""
        writes = 0
        for events in self.events().values():
            holder, last_write = None, float("-inf")
            for pid, what, at in events:
                if what == "acquired":
                    died = holder is not None and self.killed.get(holder, float("inf")) <= at
                    assert holder is None or died, f"{pid} and {holder} hold one key"
                    holder = pid
                elif what == "written":
                    assert at - last_write >= self.interval_s
                    last_write = at
                    writes += 1
                elif holder == pid:
                    holder = None
        return writes

    def check_budget(self, writes):
        """No write is forgotten, and a kill costs at most what its process held."""

        async def left():
            queue = SQLiteIdentifyQueue(self.queue, max_concurrency=self.keys, **FAST)
            for key in range(self.keys):  # buries what the dead held
                (await queue.acquire(key)).release()
            return queue.budget().remaining

        counted = 1_000_000 - asyncio.run(left())
        assert writes <= counted <= writes + len(self.killed) * self.keys + 1


def race(directory, *, processes, keys, shards, interval_s, seconds, kill_every_s, seed):
    queue = SQLiteIdentifyQueue(directory / "identify.sqlite", reserve=0)
    plenty = limit(1_000_000, total=1_000_000, reset_after_s=80_000.0, max_concurrency=keys)
    asyncio.run(queue.learn(plenty, asked_at=time.monotonic(), is_fresh=True))
    field = Race(directory, keys=keys, interval_s=interval_s, shards=shards, seed=seed)
    try:
        field.start(processes)
        field.run(seconds, kill_every_s=kill_every_s)
        least = keys * 2
        end = time.monotonic() + scaled(30.0)
        while field.log.read_text().count(" written ") < least:
            assert time.monotonic() < end, "nobody gets a turn"
            time.sleep(0.1)
    finally:
        field.stop()
    writes = field.check()
    field.check_budget(writes)
    return writes


def test_processes_that_race_and_die_never_collide(tmp_path):
    """case 39: four processes, some killed with a turn in hand: 0 violations."""
    race(
        tmp_path, processes=4, keys=4, shards=8, interval_s=0.1, seconds=4.0, kill_every_s=0.7,
        seed=1,
    )  # fmt: skip


@pytest.mark.many
@pytest.mark.timeout(900)
def test_four_processes_of_64_shards_race_for_a_minute(tmp_path):
    """case 39: a kill every second; FASTGW_SOAK_SECONDS makes it longer."""
    seconds = float(os.environ.get("FASTGW_SOAK_SECONDS", "60"))
    seed = int(os.environ.get("FASTGW_SOAK_SEED", "1"))
    writes = race(
        tmp_path, processes=4, keys=16, shards=64, interval_s=0.25, seconds=seconds,
        kill_every_s=1.0, seed=seed,
    )  # fmt: skip
    print(f"{writes} identifies written in {seconds:g} s, 0 violations")


HOLD = """
import asyncio, sys
from fastgw.fleet.turns.sqlite_queue import SQLiteIdentifyQueue
async def main():
    queue = SQLiteIdentifyQueue(
        sys.argv[1], max_concurrency=2, interval_s=0.3, padding_s=(0.0, 0.0), reserve=0
    )
    (await queue.acquire(0)).written()
    await queue.acquire(1)
    print("held", flush=True)
    await asyncio.sleep(600)
asyncio.run(main())
"""


def start_holder(path):
    """Start a process that holds two turns and has told the write of one."""
    return subprocess.Popen([sys.executable, "-c", HOLD, path], stdout=subprocess.PIPE)


@pytest.mark.one_loop
async def test_a_holder_that_is_killed_frees_its_keys_after_an_interval(path):
    """Nobody knows whether it wrote: the next comes an interval later; not never, not at once."""
    child = start_holder(path)
    try:
        assert child.stdout.readline() == b"held\n"
        queue = SQLiteIdentifyQueue(path, max_concurrency=2, **{**FAST, "interval_s": 0.3})
        waiting = [asyncio.create_task(queue.acquire(key)) for key in (0, 1)]
        assert not (await asyncio.wait(waiting, timeout=0.5))[0]
        killed_at = time.monotonic()
    finally:
        child.kill()
        child.wait()
        child.stdout.close()
    for turn in await asyncio.wait_for(asyncio.gather(*waiting), scaled(10.0)):
        assert time.monotonic() - killed_at >= 0.3
        turn.release()
    assert rows(path, "holder, is_written")[:2] == [(None, 1), (None, 1)]


# ---------------------------------------------------------------------------- clocks and boots


class Clocks:
    """Clocks of a machine that a test may set."""

    def __init__(self):
        self.boot_id, self.boot_s, self.wall_s = "boot-1", 50_000.0, 1_790_000_000.0

    def clock(self):
        return BootClock(
            self.boot_id,
            boot=lambda: self.boot_s, wall=lambda: self.wall_s, monotonic=lambda: self.boot_s,
        )  # fmt: skip

    def pass_by(self, seconds):
        self.boot_s += seconds
        self.wall_s += seconds

    def reboot(self, *, off_s=60.0, wall_error_s=0.0):
        self.boot_id, self.boot_s = self.boot_id + "'", 30.0
        self.wall_s += off_s + wall_error_s


async def left(path, clocks, **options):
    """Return the budget as the next process sees it, taking no identify; time passes if it must."""
    queue = SQLiteIdentifyQueue(path, clock=clocks.clock(), **{**FAST, **options})
    asking = asyncio.create_task(queue.acquire(0))
    while not (await asyncio.wait((asking,), timeout=0.2))[0]:
        clocks.pass_by(0.1)
    with suppress(IdentifyBudgetSpent):
        asking.result().release()
    return queue.budget()


@pytest.mark.parametrize("jump_s", [3_600.0, -3_600.0, 400 * 86_400.0, -400 * 86_400.0])
async def test_a_clock_that_jumps_changes_nothing(path, jump_s):
    """Neither when the next identify may go, nor what is left of the day, nor the reset."""
    clocks = Clocks()
    queue = SQLiteIdentifyQueue(path, clock=clocks.clock(), interval_s=5.0, padding_s=(0, 0))
    await queue.learn(limit(60), asked_at=clocks.boot_s, is_fresh=True)
    await identify(queue)
    clocks.wall_s += jump_s
    waiting = asyncio.create_task(queue.acquire(1))
    await asyncio.sleep(0.1)
    assert not waiting.done()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    clocks.pass_by(5.0)
    budget = await left(path, clocks)
    assert budget.remaining in (58, 59)
    spent = await left(path, clocks, reserve=59)
    assert spent.free_at == pytest.approx(50_000.0 + 3_600.0)


async def test_sleep_of_the_machine_counts(path):
    """The boot clock goes on: after an hour of sleep the key has long been free."""
    clocks = Clocks()
    queue = SQLiteIdentifyQueue(path, clock=clocks.clock(), interval_s=3_000.0, padding_s=(0, 0))
    await identify(queue)
    clocks.pass_by(3_600.0)
    (await asyncio.wait_for(queue.acquire(1), scaled(5.0))).release()


async def test_the_days_count_outlives_a_boot(path):
    """What was written an hour before it is still of this day; the reset is when it was."""
    clocks = Clocks()
    queue = SQLiteIdentifyQueue(path, clock=clocks.clock(), **FAST)
    await queue.learn(limit(500, reset_after_s=7_200.0), asked_at=clocks.boot_s, is_fresh=True)
    await identify(queue)
    await until(lambda: rows(path, "holder") == [(None,)])
    clocks.pass_by(1_000.0)
    clocks.reboot(off_s=200.0)
    budget = await left(path, clocks, reserve=500)
    assert budget.remaining == 499
    assert budget.free_at == pytest.approx(30.0 + 7_200.0 - 1_200.0)


async def test_a_boot_with_a_clock_that_went_back_counts_all(path):
    """A machine without a battery wakes in 1970: nothing is older than it was."""
    clocks = Clocks()
    queue = SQLiteIdentifyQueue(path, clock=clocks.clock(), **FAST)
    await queue.learn(limit(500), asked_at=clocks.boot_s, is_fresh=True)
    for _ in range(2):
        await identify(queue)
        clocks.pass_by(1.0)
    await until(lambda: rows(path, "holder") == [(None,)] * 2)
    clocks.pass_by(1_000.0)
    clocks.reboot(wall_error_s=-1.7e9)
    budget = await left(path, clocks, reserve=500)
    assert budget.remaining == 498
    assert budget.free_at == pytest.approx(30.0 + 3_600.0, abs=1.0)


async def test_a_turn_held_when_the_machine_went_down_counts_as_written(path):
    """Nobody holds it any more."""
    clocks = Clocks()
    queue = SQLiteIdentifyQueue(path, clock=clocks.clock(), **FAST)
    await queue.learn(limit(500), asked_at=clocks.boot_s, is_fresh=True)
    held = await queue.acquire(0)
    clocks.reboot()
    assert (await left(path, clocks)).remaining in (498, 499)
    try:
        assert rows(path, "holder, is_written")[0] == (None, 1)
    finally:
        held.release()


async def test_a_process_that_stands_still_does_not_hold_a_key_for_ever(path):
    """Stopped in a debugger, its turn is over after five minutes; what comes later is harmless."""
    clocks = Clocks()
    first = SQLiteIdentifyQueue(path, clock=clocks.clock(), **FAST)
    second = SQLiteIdentifyQueue(path, clock=clocks.clock(), **FAST)
    held = await first.acquire(0)
    waiting = asyncio.create_task(second.acquire(1))
    clocks.pass_by(MAX_HOLD_S - 1.0)
    await asyncio.sleep(0.1)
    assert not waiting.done()
    clocks.pass_by(2.0)
    await until(lambda: rows(path, "holder, is_written")[0] == (None, 1))
    clocks.pass_by(1.0)  # the interval from when it was taken as written
    turn = await asyncio.wait_for(waiting, scaled(5.0))
    held.written()
    held.release()
    await asyncio.sleep(0.1)
    assert rows(path, "count(*)") == [(2,)]
    turn.release()


async def test_a_write_after_the_release_costs_nobody_time(path):
    """The turn is over: the key's interval counts from the write that was told before."""
    clocks = Clocks()
    queue = SQLiteIdentifyQueue(path, clock=clocks.clock(), max_concurrency=2, **FAST)
    other = await queue.acquire(1)  # the file stays open
    turn = await queue.acquire(0)
    turn.written()
    turn.release()
    clocks.pass_by(10.0)
    turn.written()
    next_turn = await asyncio.wait_for(queue.acquire(2), scaled(5.0))
    next_turn.release()
    other.release()


# ---------------------------------------------------------------------------- the file


async def test_the_file_is_open_only_while_it_is_needed(path):
    """No thread and no descriptor stays behind a queue that nobody waits at."""
    queue = SQLiteIdentifyQueue(path, **FAST)

    def is_open():
        for number in os.listdir("/proc/self/fd"):
            with suppress(FileNotFoundError):  # the descriptor of the listing itself
                if os.readlink(f"/proc/self/fd/{number}").startswith(str(path)):
                    return True
        return False

    turn = await queue.acquire(0)
    assert is_open()
    turn.release()
    await until(lambda: not is_open())
    await identify(queue)
    await until(lambda: not is_open())


async def test_old_identifies_are_forgotten(path):
    """Of two days only the last one is kept."""
    clocks = Clocks()
    queue = SQLiteIdentifyQueue(path, clock=clocks.clock(), **FAST)
    for _ in range(10):
        await identify(queue)
        clocks.pass_by(6 * 3_600.0)
    assert len(rows(path)) <= 5


async def test_a_file_of_another_bot_is_refused(path):
    """Two bots have two budgets."""
    queue = SQLiteIdentifyQueue(path, **FAST)
    await queue.learn(limit(), asked_at=time.monotonic(), is_fresh=True, bot_id=111)
    await queue.learn(limit(), asked_at=time.monotonic(), is_fresh=True)
    with pytest.raises(UsageError, match=r"identify turns of bot 111, and this is bot 222"):
        await queue.learn(limit(), asked_at=time.monotonic(), is_fresh=True, bot_id=222)


async def test_a_path_that_cannot_be_written(path):
    """Told at the first use, with what to do; it is not waited for."""
    queue = SQLiteIdentifyQueue(path.parent / "missing" / "x", **FAST)
    with pytest.raises(UsageError, match="cannot be written"):
        await queue.acquire(0)


async def test_a_file_that_another_program_holds_says_so(path, monkeypatch):
    """The answer of the API cannot be written down: which file, and what to do."""
    await SQLiteIdentifyQueue(path, **FAST).learn(limit(), asked_at=time.monotonic(), is_fresh=True)
    monkeypatch.setattr(sqlite_file, "BUSY_S", 0.05)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        queue = SQLiteIdentifyQueue(path, **FAST)
        with pytest.raises(UsageError, match=r"identify\.sqlite cannot be used .*locked"):
            await queue.learn(limit(), asked_at=time.monotonic(), is_fresh=True)
    await queue.learn(limit(), asked_at=time.monotonic(), is_fresh=True)


async def test_a_network_file_system_is_told_once(path, monkeypatch, caplog):
    """However often the file is opened."""
    monkeypatch.setattr(sqlite_file, "mounted_type", lambda mounts, directory: "nfs4")
    queue = SQLiteIdentifyQueue(path, **FAST)
    for _ in range(3):
        await identify(queue)
    assert caplog.text.count("is on a network file system (nfs4)") == 1


async def test_a_full_disk_lets_nobody_identify_uncounted(path):
    """It raises, and the shard asks again; sessions that can be resumed need no turn."""
    queue = SQLiteIdentifyQueue(path, max_concurrency=2, **FAST)
    held = await queue.acquire(1)  # the file stays open
    (pages,) = await pragma(queue._lines.desk, "page_count")
    await pragma(queue._lines.desk, f"max_page_count={pages}")

    # The last page has room for a hundred rows.
    async def identify_often():
        for _ in range(2_000):
            await identify(queue)

    with pytest.raises(sqlite3.OperationalError, match="full"):
        await identify_often()
    await pragma(queue._lines.desk, "max_page_count=100000")
    await identify(queue)
    held.release()


async def test_a_damaged_file_is_set_aside(path, caplog):
    """The turns of a moment are lost, the day's count is the API's again."""
    queue = SQLiteIdentifyQueue(path, **FAST)
    await identify(queue)
    await until(lambda: not path.with_name(path.name + "-wal").exists())
    damaged = bytearray(path.read_bytes())
    damaged[4096:] = random.Random(1).randbytes(len(damaged) - 4096)
    path.write_bytes(damaged)
    await identify(queue)
    assert "is damaged; it is identify.sqlite.damaged-1 now" in caplog.text


@pytest.mark.parametrize("bad", [0, -1])
def test_max_concurrency_must_be_at_least_one(path, bad):
    """Zero keys are a usage error."""
    with pytest.raises(UsageError, match="max_concurrency"):
        SQLiteIdentifyQueue(path, max_concurrency=bad)


async def test_a_turn_is_over_before_the_next_is_asked_for(path):
    """However slow the file is: what was released is not counted as held by who comes next."""
    queue = SQLiteIdentifyQueue(path, reserve=10)
    await queue.learn(limit(11, max_concurrency=4), asked_at=time.monotonic(), is_fresh=True)
    for shard_id in range(4):
        turn = await queue.acquire(shard_id)
        thread = queue._lines.desk._thread
        thread.post(lambda: time.sleep(0.2), failed=print)
        turn.release()
