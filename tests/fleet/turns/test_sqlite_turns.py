"""The table of identify turns in SQLite: what could not be written, and who holds."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing, suppress

import pytest
from deadline import until

from fastgw import IdentifyBudgetSpent, SessionStartLimit
from fastgw.fleet.stores import sqlite_file
from fastgw.fleet.stores.boot_clock import BootClock
from fastgw.fleet.stores.file_locks import ByteLocks
from fastgw.fleet.turns.sqlite_queue import SQLiteIdentifyQueue

FAST = {"max_concurrency": 2, "interval_s": 0.05, "padding_s": (0.0, 0.0), "reserve": 0}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "identify.sqlite"


def rows(path, what):
    with closing(sqlite3.connect(path)) as reader:
        return reader.execute(f"SELECT {what} FROM identifies ORDER BY number").fetchall()


def descriptors(path):
    """Count those that are open for a file."""
    count = 0
    for number in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):  # that of the listing itself
            count += os.readlink(f"/proc/self/fd/{number}") == str(path)
    return count


async def test_what_could_not_be_written_is_written_later(path, monkeypatch, caplog):
    """In its order: a turn that was written and released while another program held the file."""
    monkeypatch.setattr(sqlite_file, "BUSY_S", 0.05)
    queue = SQLiteIdentifyQueue(path, **FAST)
    held = await queue.acquire(1)  # the file stays open
    turn = await queue.acquire(0)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        turn.written()
        turn.release()
        await until(lambda: caplog.text.count("could not be written") >= 2)
        assert rows(path, "is_written") == [(0,), (0,)]
    (await queue.acquire(2)).release()
    assert rows(path, "shard_id, is_written, holder IS NULL")[:2] == [(1, 0, 0), (0, 1, 1)]
    held.release()


async def test_a_holder_takes_no_number_that_is_taken(path):
    """Its file was put aside by somebody, and the count of holders with it."""
    first = SQLiteIdentifyQueue(path, **FAST)
    held = await first.acquire(0)
    ((taken,),) = rows(path, "holder")
    for name in (path, path.with_name(path.name + "-wal"), path.with_name(path.name + "-shm")):
        name.unlink(missing_ok=True)
    second = SQLiteIdentifyQueue(path, **FAST)
    turn = await second.acquire(0)
    ((holder,),) = rows(path, "holder")
    assert holder > taken
    turn.release()
    held.release()


async def test_a_lock_that_cannot_be_had_is_told_and_tried_again(path, monkeypatch):
    """A file server without locks (ENOLCK): whoever asks hears of it, and nothing stays open."""
    real, can_lock = ByteLocks.take, False

    def take(self, number):
        if not can_lock:
            raise OSError(37, "No locks available")
        return real(self, number)

    monkeypatch.setattr(ByteLocks, "take", take)
    queue = SQLiteIdentifyQueue(path, **FAST)
    held = None
    with queue._lines.at_desk():  # the file stays open
        with pytest.raises(OSError, match="No locks available"):
            await queue.acquire(0)
        await until(lambda: descriptors(sqlite_file.lock_path(path)) == 0)
        can_lock = True
        held = await queue.acquire(0)
    assert descriptors(sqlite_file.lock_path(path)) == 1
    held.release()


async def test_an_answer_that_took_long_counts_from_when_it_was_asked_for(path):
    """The reset comes that much earlier."""
    clock = BootClock("boot", boot=lambda: 50_000.0, monotonic=lambda: 7_000.0)
    queue = SQLiteIdentifyQueue(path, clock=clock, **FAST)
    limit = SessionStartLimit(1_000, 0, 1_000.0, 1)
    await queue.learn(limit, asked_at=6_900.0, is_fresh=True)
    with pytest.raises(IdentifyBudgetSpent) as spent:
        await queue.acquire(0)
    assert spent.value.free_at == pytest.approx(7_900.0)


async def test_without_an_answer_the_first_is_free_a_day_after_the_oldest(path):
    """Nobody knows the service's own reset, so each of our identifies counts for 24 hours."""
    now = 50_000.0
    clock = BootClock("boot", boot=lambda: now, monotonic=lambda: now - 43_000.0)
    queue = SQLiteIdentifyQueue(path, clock=clock, **{**FAST, "reserve": 998})
    for _ in range(2):
        turn = await queue.acquire(0)
        turn.written()
        turn.release()
        await until(lambda: rows(path, "holder")[-1] == (None,))
        now += 600.0
    with pytest.raises(IdentifyBudgetSpent) as spent:
        await queue.acquire(0)
    assert spent.value.free_at == pytest.approx(7_000.0 + 86_400.0)
