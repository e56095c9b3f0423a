"""Rows on their way into a store: nothing is lost, whatever fails and whatever comes between."""

from __future__ import annotations

import asyncio
import logging
import random
import threading

import pytest
from deadline import scaled, until

from fastgw.fleet.stores.job_thread import JobThread
from fastgw.fleet.stores.trouble import Trouble
from fastgw.fleet.stores.write_behind import WriteBehind


class Store:
    """A store of texts; it fails while `error` is set, and calls `before` in each write."""

    def __init__(self):
        self.texts: dict[int, str] = {}
        self.writes: list[tuple[dict, set, set]] = []
        self.error: Exception | None = None
        self.before = lambda: None
        self.thread = JobThread("rows")
        self.trouble = Trouble(logging.getLogger("rows"), lambda error: f"bad: {error}", "good")
        self.rows: WriteBehind[str] = WriteBehind(self.thread, self._write, self.trouble)

    def _write(self, changes):
        self.writes.append((dict(changes.rows), set(changes.new), set(changes.removed)))
        self.before()
        if self.error is not None:
            raise self.error
        self.texts.update(changes.rows)
        for shard_id in changes.removed:
            self.texts.pop(shard_id, None)

    def once(self, work):
        """Do it in the middle of the next write."""

        def before():
            self.before = lambda: None
            work()

        self.before = before


@pytest.fixture
def store():
    store = Store()
    yield store
    store.thread.stop()
    assert store.thread.join(scaled(20))


async def test_a_row_is_written_without_anybody_waiting(store):
    """In the thread, at once."""
    store.rows.put({0: "a"}, are_new=True)
    await until(lambda: store.texts == {0: "a"})


async def test_what_is_noted_while_the_thread_is_busy_is_one_write(store):
    """Of each row the last state alone."""
    may_go = threading.Event()
    store.thread.post(may_go.wait, print)
    store.rows.put({0: "a"}, are_new=True)
    store.rows.put({0: "b", 1: "c"})
    store.rows.put({2: "d"}, are_new=True)
    store.rows.drop(1)
    may_go.set()
    await store.rows.flush()
    assert store.writes == [({0: "b", 2: "d"}, {0, 2}, {1})]


async def test_what_could_not_be_written_is_written_the_next_time(store):
    """Also when nothing else is to be written."""
    store.error = OSError("full")
    store.rows.put({0: "a"}, are_new=True)
    await store.rows.flush()
    assert not store.rows.is_written
    store.error = None
    store.rows.put({})
    await store.rows.flush()
    assert store.writes[-1] == ({0: "a"}, {0}, set())
    assert store.rows.is_written


async def test_nothing_is_lost_that_comes_in_the_middle_of_a_write(store):
    """Neither when that write works, nor when it fails."""
    store.once(lambda: store.rows.put({0: "b"}))
    store.rows.put({0: "a"}, are_new=True)
    await until(lambda: store.texts == {0: "b"})
    store.error = OSError("full")

    def meanwhile():
        store.rows.put({0: "d"})
        store.error = None
        raise OSError("full")

    store.once(meanwhile)
    store.rows.put({0: "c", 1: "e"})
    await until(lambda: store.texts == {0: "d", 1: "e"})


async def test_a_new_row_stays_new_until_it_is_written(store):
    """However often it moved meanwhile."""
    store.error = OSError("away")
    store.rows.put({0: "a"}, are_new=True)
    await store.rows.flush()
    store.rows.put({0: "b"})
    await store.rows.flush()
    store.error = None
    await store.rows.flush()
    store.rows.put({0: "c"})
    await store.rows.flush()
    assert store.writes[-2:] == [({0: "b"}, {0}, set()), ({0: "c"}, set(), set())]


async def test_a_row_that_is_left_is_neither_written_nor_removed(store):
    """Another process may have it by now."""
    store.rows.keep({0: "a", 1: "b"})
    store.error = OSError("away")
    store.rows.put({0: "c", 1: "d"})
    await store.rows.flush()
    store.rows.leave([0])
    store.error = None
    await store.rows.flush()
    assert store.writes[-1] == ({1: "d"}, set(), set())
    assert store.rows.get(0) is None


async def test_what_is_left_in_the_middle_of_a_write_does_not_come_back(store):
    """When that write fails."""

    def meanwhile():
        store.rows.leave([0], keeps_rows=True)
        raise OSError("away")

    store.once(meanwhile)
    store.rows.put({0: "a"}, are_new=True)
    await store.thread.call(lambda: None)
    assert store.rows.is_written
    assert store.rows.get(0) == "a"  # it may be taken again


async def test_what_is_in_hand_is_waited_for(store):
    """It is not written before the write has come back."""
    has_begun, may_go = threading.Event(), threading.Event()
    store.once(lambda: (has_begun.set(), may_go.wait(scaled(20))))
    store.rows.put({0: "a"}, are_new=True)
    await until(has_begun.is_set)
    flushing = asyncio.ensure_future(store.rows.flush())
    for _ in range(5):
        await asyncio.sleep(0)
    assert not flushing.done()
    may_go.set()
    await flushing
    assert store.texts == {0: "a"}


async def test_a_thread_that_hangs_is_asked_once(store, monkeypatch):
    """However much is noted meanwhile: what waits for it does not grow."""
    posted = []
    monkeypatch.setattr(store.thread, "post", lambda *what: posted.append(what))
    for step in range(100):
        store.rows.put({step % 3: "a"})
    assert len(posted) == 1


async def test_a_write_may_be_of_nothing(store):
    """For what a store does besides, such as renewing leases."""
    await store.thread.call(store.rows.attempt)
    assert store.writes == [({}, set(), set())]


async def test_a_row_that_was_never_there_is_not_removed(store):
    """There is nothing to write."""
    store.rows.drop(0)
    await store.rows.flush()
    assert store.writes == []


async def test_a_store_that_forgot_gets_all_of_it_again(store):
    """What the write itself finds out."""
    store.rows.keep({0: "a", 1: "b"})
    store.once(lambda: store.rows.renew([0, 7]))
    store.rows.put({1: "c"})
    await until(lambda: len(store.writes) == 2)
    assert store.writes == [({1: "c"}, set(), set()), ({0: "a"}, {0}, set())]
    assert store.rows.all_rows() == {0: "a", 1: "c"}


async def test_trouble_is_told_once_and_its_end(store, caplog):
    """However often it is tried."""
    store.error = OSError("full")
    for text in "abc":
        store.rows.put({0: text})
        await store.rows.flush()
    assert store.trouble.is_on
    store.error = None
    await store.rows.flush()
    assert not store.trouble.is_on
    assert [(r.levelname, r.getMessage()) for r in caplog.records if r.name == "rows"] == [
        ("ERROR", "bad: full"),
        ("WARNING", "good"),
    ]


@pytest.mark.parametrize("seed", range(5))
async def test_whatever_fails_the_store_ends_as_the_rows_stand(store, seed):
    """A thousand steps by chance, a third of the writes failing, with others on their heels."""
    chance = random.Random(seed)
    expected: dict[int, str] = {}

    def fail_often():
        if chance.random() < 0.3:
            raise OSError("full")

    store.before = fail_often
    for step in range(1_000):
        shard_id = chance.randrange(8)
        if chance.random() < 0.2:
            store.rows.drop(shard_id)
            expected.pop(shard_id, None)
        else:
            expected[shard_id] = str(step)
            store.rows.put({shard_id: str(step)}, are_new=chance.random() < 0.1)
        if chance.random() < 0.05:
            await store.rows.flush()
    store.before = lambda: None
    await store.rows.flush()
    assert store.texts == expected
