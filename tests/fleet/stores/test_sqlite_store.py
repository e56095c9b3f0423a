"""The SQLite store of sessions: other processes, kills, and all that can be wrong with a file."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import select
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import time
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from deadline import scaled, until
from inside import pragma

from fastgw import UsageError
from fastgw.fleet.stores import sqlite_file
from fastgw.fleet.stores.boot_clock import BootClock
from fastgw.fleet.stores.sqlite_store import SQLiteSessionStore
from fastgw.testing.conformance.stores import BOT, session_of

CHILD = Path(__file__).parents[2] / "support" / "store_child.py"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "sessions.sqlite"


async def stored(path, *shard_ids, shard_count=4):
    """Open the file as the next process would; return its sessions by shard."""
    store = await SQLiteSessionStore(path).open(BOT)
    try:
        found = await store.take(shard_ids, shard_count)
    finally:
        await store.close()
    return {shard_id: one.session.sequence for shard_id, one in found.items()}


async def store_with(path, *shard_ids):
    """Open a store that runs these shards and has a session of each."""
    store = await SQLiteSessionStore(path).open(BOT)
    await store.take(shard_ids, 4)
    for shard_id in shard_ids:
        store.save(session_of(shard_id))
    return store


async def written(store):
    """Wait until all that was noted is in the file, as far as it can be."""
    await store._rows.flush()


# ---------------------------------------------------------------------------- the file


async def test_the_row_is_there_at_once(path):
    """READY is in the file without close and without the look of each second."""
    store = await store_with(path, 0)

    def rows():
        with closing(sqlite3.connect(path)) as reader:
            return reader.execute("SELECT session_id, sequence FROM sessions").fetchall()

    await until(lambda: rows() == [("session-of-0", 7)])
    await store.close()


async def test_nobody_else_may_read_it(path):
    """Session ids are in it."""
    store = await store_with(path, 0)
    await written(store)
    for file in path.parent.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file
    await store.close()


async def test_no_token_is_in_it(path):
    """Nor anything made of one: columns are these and no others."""
    await (await store_with(path, 0)).close()
    reader = sqlite3.connect(path)
    columns = [row[1] for row in reader.execute("PRAGMA table_info(sessions)")]
    reader.close()
    assert columns == [
        "shard_id", "shard_count", "session_id", "sequence", "resume_url", "terms",
        "boot_id", "boot_s", "wall_s",
    ]  # fmt: skip


async def test_it_is_small_while_it_is_written(path):
    """The log of what changed is folded back: hours of sequences leave no hours of log."""
    store = await store_with(path, 0, 1, 2, 3)
    for step in range(3_000):
        store.save_sequences(dict.fromkeys(range(4), 100 + step))
        await written(store)
    size = sum(file.stat().st_size for file in path.parent.iterdir())
    await store.close()
    assert size < 3 * sqlite_file.WAL_BYTES


async def test_it_is_closed_when_close_returns(path):
    """The last who closes it folds its log back; once more, and a late release, do no harm."""
    store = await store_with(path, 0)
    await store.close()
    assert not path.with_name(path.name + "-wal").exists()
    await store.release([0])
    await store.close()
    with pytest.raises(UsageError, match=r"sessions.sqlite is closed"):
        await store.take([0], 4)


async def test_who_takes_shards_while_it_is_closed_has_none(path):
    """Its locks are gone, so another may run them by now."""
    store = await SQLiteSessionStore(path).open(BOT)
    taking = asyncio.create_task(store.take([0], 4))
    await asyncio.sleep(0)
    await store.close()
    with pytest.raises(UsageError, match="was closed meanwhile"):
        await taking
    assert await stored(path, 0) == {}


async def test_what_was_taken_is_not_written_again(path):
    """A thousand shards come up and one moves: that one is written."""
    await (await store_with(path, 0, 1)).close()
    store = await SQLiteSessionStore(path).open(BOT)
    await store.take([0, 1], 4)
    changes = await store._do(lambda connection: connection.total_changes)
    store.save_sequences({0: 8})
    await written(store)
    assert await store._do(lambda connection: connection.total_changes) == changes + 1
    await store.close()
    assert await stored(path, 0, 1) == {0: 8, 1: 7}


async def test_a_session_that_may_be_another_bots_stays_as_it_is(path):
    """The token does not tell, and the service refused to resume it: nothing more is noted."""
    await (await store_with(path, 0)).close()
    store = await SQLiteSessionStore(path).open(None)
    await store.take([0], 4)
    store.forget(0)
    store.save_sequences({0: 99})
    await store.close()
    assert await stored(path, 0) == {0: 7}


async def test_two_bots_that_begin_one_file_at_once(path, caplog):
    """The first READY binds it; of the other bot nothing is stored, and that is told."""
    first, second = [await SQLiteSessionStore(path).open(None) for _ in range(2)]
    await first.take([0], 4)
    await second.take([1], 4)
    first.save(session_of(0))
    await written(first)
    second.save(replace(session_of(1), bot_id=BOT + 1))
    await written(second)
    assert (first.is_durable, second.is_durable) == (True, False)
    assert f"holds the sessions of bot {BOT}, and this is bot {BOT + 1}" in caplog.text
    await second.close()
    await first.close()
    assert await stored(path, 0, 1) == {0: 7}


# ---------------------------------------------------------------------------- age


def clock_at(boot_id="boot-1", *, boot_s, wall_s):
    return BootClock(boot_id, boot=lambda: boot_s, wall=lambda: wall_s)


@pytest.mark.parametrize(
    ("now", "age_s"),
    [
        (clock_at(boot_s=1_040.0, wall_s=10_040.0), 40.0),
        (clock_at(boot_s=1_040.0, wall_s=10_040.0 + 3_600.0), 40.0),  # the clock was put on
        (clock_at(boot_s=1_040.0, wall_s=10_040.0 - 3_600.0), 40.0),  # the clock was put back
        (clock_at("boot-2", boot_s=20.0, wall_s=10_090.0), 90.0),
        (clock_at("boot-2", boot_s=20.0, wall_s=9_000.0), None),  # nobody can tell
        (clock_at(boot_s=20.0, wall_s=10_090.0), 90.0),  # boots without names
    ],
)
async def test_age_is_of_the_boot_clock_and_across_boots_of_wall_time(path, now, age_s):
    """A clock that is put on or back by an hour changes nothing while the machine runs."""
    store = await SQLiteSessionStore(path, clock=clock_at(boot_s=1_000.0, wall_s=10_000.0)).open(
        BOT
    )
    await store.take([0], 4)
    store.save(session_of(0))
    await store.close()
    store = await SQLiteSessionStore(path, clock=now).open(BOT)
    assert (await store.take([0], 4))[0].age_s == age_s
    await store.close()


# ---------------------------------------------------------------------------- bad input


@pytest.mark.parametrize("bad", [None, "", ":memory:", 5, b""])
def test_a_path_is_asked_for(bad):
    """What cannot be one is told when it is passed."""
    with pytest.raises(UsageError, match="path of a file"):
        SQLiteSessionStore(bad)


async def test_a_directory_that_is_not_there(path):
    """Said with the path and what to do."""
    with pytest.raises(UsageError, match=r"missing/x cannot be written .*: choose a path"):
        await SQLiteSessionStore(path.parent / "missing" / "x").open(BOT)


async def test_a_path_that_is_a_directory(path):
    """The same."""
    with pytest.raises(UsageError, match="cannot be written"):
        await SQLiteSessionStore(path.parent).open(BOT)


async def test_the_database_of_another_program(path):
    """It is not touched."""
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE recipes (name TEXT)")
    other.close()
    before = path.read_bytes()
    with pytest.raises(UsageError, match="database of another program"):
        await SQLiteSessionStore(path).open(BOT)
    assert path.read_bytes() == before


async def test_a_file_that_is_not_a_database(path):
    """A path mistyped: nothing is written to it, nothing renamed."""
    path.write_text("intents = 513\n" * 100)
    with pytest.raises(UsageError, match="is not a SQLite database"):
        await SQLiteSessionStore(path).open(BOT)
    assert path.read_text() == "intents = 513\n" * 100
    assert [file.name for file in path.parent.iterdir()] == [path.name]


async def test_a_newer_schema(path):
    """After a downgrade: the newer program's sessions are left alone."""
    await (await store_with(path, 0)).close()
    newer = sqlite3.connect(path)
    newer.execute("PRAGMA user_version=2")
    newer.close()
    with pytest.raises(UsageError, match=r"newer fastgw \(schema 2, this one knows 1\)"):
        await SQLiteSessionStore(path).open(BOT)


async def test_sessions_of_another_shard_count_are_told(path, caplog):
    """They begin anew, and that costs identifies."""
    await (await store_with(path, 0, 1)).close()
    assert await stored(path, 0, 1) == {0: 7, 1: 7}
    assert caplog.records == []
    assert await stored(path, 0, 1, shard_count=8) == {}
    assert "holds sessions of 4 shards; there are 8 now" in caplog.text


@pytest.mark.parametrize("when", ["open", "take"])
async def test_a_file_that_another_holds_costs_no_start(path, monkeypatch, caplog, when):
    """It is told at once that nothing is stored, and when it is again."""
    monkeypatch.setattr(sqlite_file, "BUSY_S", 0.05)
    if when == "take":
        store = await SQLiteSessionStore(path).open(BOT)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        if when == "open":
            other.execute(f"PRAGMA application_id={sqlite_file.APPLICATION_ID}")
            other.execute("BEGIN EXCLUSIVE")
            store = await SQLiteSessionStore(path).open(BOT)
            assert not store.is_durable
        else:
            other.execute("BEGIN IMMEDIATE")
        assert await store.take([0], 4) == {}
        assert not store.is_durable
        assert "cannot be used (database is locked)" in caplog.text
        other.rollback()
    store.save(session_of(0))
    await written(store)
    assert store.is_durable
    await store.close()
    assert await stored(path, 0) == {0: 7}


def damage(path):
    """Write garbage over all but the first page; return what it is now."""
    damaged = bytearray(path.read_bytes())
    damaged[4096:] = random.Random(1).randbytes(len(damaged) - 4096)
    path.write_bytes(damaged)
    return damaged


async def test_a_damaged_file_is_set_aside(path, caplog):
    """Loudly; the bot runs on, and what it stores from now on is kept."""
    store = await store_with(path, *range(4))
    for number in range(200):  # several pages
        store.save(session_of(number))
    await store.close()
    for name in ("sessions.sqlite.damaged-1", "sessions.sqlite.damaged-2"):
        damaged = damage(path)
        assert await stored(path, 0) == {}
        assert f"sessions.sqlite is damaged; it is {name} now" in caplog.text
        assert (path.parent / name).read_bytes() == damaged
        await (await store_with(path, 2)).close()
        assert await stored(path, 2) == {2: 7}


async def test_a_damaged_file_is_set_aside_by_one_process(path, caplog):
    """While another does it, this one does nothing to it."""
    await (await store_with(path, *range(4))).close()
    damaged = damage(path)
    other = sqlite_file.open_locks(path)
    assert other.take(sqlite_file._MENDING)
    store = await SQLiteSessionStore(path).open(BOT)
    assert not store.is_durable
    assert path.read_bytes() == damaged
    assert [file.name for file in path.parent.glob("*damaged*")] == []
    other.close()
    await store.take([0], 4)
    store.save(session_of(0))
    await written(store)
    assert store.is_durable
    await store.close()


async def test_a_file_that_is_removed_is_made_again(path, caplog):
    """Somebody tidied up: all sessions are in the new one."""
    store = await store_with(path, 0, 1)
    await written(store)
    for file in path.parent.glob("sessions.sqlite*"):
        if not file.name.endswith("-locks"):
            file.unlink()
    store.save_sequences({0: 8})
    await written(store)
    changes = await store._do(lambda connection: connection.total_changes)
    store.save_sequences({0: 9})
    await written(store)  # the new one has all rows: what moves is written, and no more
    assert await store._do(lambda connection: connection.total_changes) == changes + 1
    await store.close()
    assert await stored(path, 0, 1) == {0: 9, 1: 7}


async def test_a_full_disk_is_told_once_and_outlasted(path, caplog):
    """Sessions stay in memory meanwhile, and are all stored when there is room again."""
    store = await store_with(path, 0)
    await written(store)
    (pages,) = await pragma(store, "page_count")
    await pragma(store, f"max_page_count={pages}")
    long = "x" * 200_000
    for step in range(5):
        store.save(replace(session_of(0, sequence=100 + step), terms=long))
        await written(store)
    assert not store.is_durable
    told = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert len(told) == 1
    assert "cannot be used (database or disk is full)" in told[0].getMessage()
    await pragma(store, "max_page_count=1000000")
    store.save_sequences({})
    await written(store)
    assert store.is_durable
    assert "can be written again" in caplog.text
    await store.close()
    assert await stored(path, 0) == {0: 104}


async def test_a_shard_that_is_given_up_while_the_file_cannot_be_written_keeps_its_session(
    path, monkeypatch
):
    """What could not be written of it is not taken for its end: another process may have it."""
    monkeypatch.setattr(sqlite_file, "BUSY_S", 0.05)
    store = await store_with(path, 0, 1)
    await written(store)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        store.save_sequences({0: 99})
        await store.release([0])
    store.save_sequences({1: 8})
    await store.close()
    assert await stored(path, 0, 1) == {0: 7, 1: 8}


async def test_what_could_not_be_written_is_tried_once_more_at_the_end(path, monkeypatch):
    """The other process may have let go of the file meanwhile."""
    monkeypatch.setattr(sqlite_file, "BUSY_S", 0.05)
    store = await store_with(path, 0)
    await written(store)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        store.save_sequences({0: 99})
        await written(store)
        assert not store.is_durable
    monkeypatch.setattr(sqlite_file, "BUSY_S", 5.0)
    await store.close()
    assert await stored(path, 0) == {0: 99}


@contextmanager
def small_disk(directory, options):
    """Mount a small file system there; skips where that is not allowed."""
    mount = shutil.which("mount")
    done = mount and subprocess.run(
        [mount, "-t", "tmpfs", "-o", options, "tmpfs", str(directory)], capture_output=True
    )
    if not done or done.returncode:
        pytest.skip("mounting needs root")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(directory)], check=True)


@pytest.mark.kernel
async def test_a_disk_that_is_full_from_the_start(tmp_path, caplog):
    """A bot comes up all the same; what it cannot store is told."""
    with small_disk(tmp_path, "size=16k"):
        (tmp_path / "filler").write_bytes(b"x" * 16_384)
        store = await SQLiteSessionStore(tmp_path / "s").open(BOT)
        assert await store.take([0], 4) == {}
        store.save(session_of(0))
        await written(store)
        assert not store.is_durable
        assert "cannot be used" in caplog.text
        await store.close()


@pytest.mark.kernel
async def test_a_read_only_disk(tmp_path):
    """Refused at the start, with the reason: nothing could ever be stored."""
    with (
        small_disk(tmp_path, "size=1m,ro"),
        pytest.raises(UsageError, match=r"Read-only file system.*: choose a path"),
    ):
        await SQLiteSessionStore(tmp_path / "s").open(BOT)


async def test_a_network_file_system_is_told(path, monkeypatch, caplog):
    """One WARNING; WAL, which cannot work there, is not used."""
    monkeypatch.setattr(sqlite_file, "mounted_type", lambda mounts, directory: "nfs4")
    store = await store_with(path, 0)
    await written(store)
    assert not path.with_name(path.name + "-wal").exists()
    await store.close()
    assert caplog.text.count("is on a network file system (nfs4)") == 1
    assert await stored(path, 0) == {0: 7}


# ---------------------------------------------------------------------------- other processes


class Child:
    """A process that stores sessions, and what it promised until it was killed."""

    def __init__(self, path, shards=4):
        self.noted = self.stored = 0
        self._process = subprocess.Popen(
            [sys.executable, str(CHILD), str(path), str(shards)], stdout=subprocess.PIPE
        )

    def read_for(self, seconds):
        """Read promises for so long, and until there is one."""
        out = self._process.stdout
        assert out is not None
        end = time.monotonic() + seconds
        while time.monotonic() < end or not self.noted:
            ready, _, _ = select.select([out], [], [], 0.05)
            if ready and not self._take(out.readline()):
                pytest.fail("the child ended by itself")

    def kill(self):
        """SIGKILL; then read what it had promised."""
        self._process.send_signal(signal.SIGKILL)
        assert self._process.wait() == -signal.SIGKILL
        while self._take(self._process.stdout.readline()):
            pass
        self._process.stdout.close()

    def _take(self, line):
        word, _, number = line.decode().partition(" ")
        if number.endswith("\n"):
            setattr(self, word, int(number))
        return bool(line)


def check_after_kill(path, child, shards=4):
    """The file is whole, and holds what was promised and nothing else."""

    async def look():
        store = await SQLiteSessionStore(path).open(1)
        found = await store.take(range(shards), shards)
        await store.close()
        return found

    found = asyncio.run(look())
    if child.stored:
        assert len(found) == shards
    for one in found.values():
        session = one.session
        assert child.stored <= session.sequence <= child.noted
        begun = int(session.session_id.removeprefix("s-"))
        assert session.resume_url == f"wss://{begun}"
        assert begun <= session.sequence < begun + 5
    sequences = {one.session.sequence for one in found.values()}
    assert len(sequences) <= 1  # one transaction holds all shards, or none


def kill_again_and_again(path, times, seed):
    chance = random.Random(seed)
    for _ in range(times):
        child = Child(path)
        try:
            child.read_for(chance.random() * 0.15)
        finally:
            child.kill()
        check_after_kill(path, child)
    assert not list(path.parent.glob("*.damaged*"))


def test_it_survives_sigkill(path):
    """At any instant: the file is whole, and what was stored is there."""
    kill_again_and_again(path, 6, seed=1)


@pytest.mark.many
@pytest.mark.timeout(900)
def test_it_survives_two_hundred_sigkills(path):
    """The same, 200 times; FASTGW_SOAK_SEED repeats the moments drawn."""
    kill_again_and_again(path, 200, seed=int(os.environ.get("FASTGW_SOAK_SEED", "1")))


def test_two_processes_do_not_run_one_shard(path):
    """The second is told who does; when that one is killed, it may at once."""
    child = Child(path)
    try:
        while not child.stored:
            child.read_for(0.01)

        async def attempt():
            store = await SQLiteSessionStore(path).open(1)
            try:
                return await store.take([3], 4)
            finally:
                await store.close()

        def refused():  # between its rounds the child lets go for a moment
            try:
                asyncio.run(attempt())
            except UsageError as error:
                return str(error)
            return None

        end = time.monotonic() + scaled(10.0)
        while (said := refused()) is None:
            assert time.monotonic() < end
        assert f"shard 3 is run from {path} by process {child._process.pid} on " in said
    finally:
        child.kill()
    assert list(asyncio.run(attempt())) == [3]
