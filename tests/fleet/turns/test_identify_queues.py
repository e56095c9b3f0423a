"""The identify queues, under the suite that every queue must pass."""

from __future__ import annotations

import random

import pytest

from fastgw.fleet.stores.boot_clock import BootClock, system_boot_clock
from fastgw.fleet.turns.identify import LocalIdentifyQueue
from fastgw.fleet.turns.sqlite_queue import SQLiteIdentifyQueue
from fastgw.testing.conformance.queues import IdentifyQueueSuite


class TestLocalIdentifyQueue(IdentifyQueueSuite):
    """In one process, one object is all there is."""

    queue = None

    def make_queue(self, **options):
        if self.queue is None:
            self.queue = LocalIdentifyQueue(interval_s=self.interval_s, **fill(options))
        return self.queue


class TestLocalIdentifyQueueOnUvloop(TestLocalIdentifyQueue):
    """The same on the other loop."""

    def new_loop(self):
        return pytest.importorskip("uvloop").new_event_loop()


class TestSQLiteIdentifyQueue(IdentifyQueueSuite):
    """Each call makes an object of its own, as each process would."""

    clock = None

    @pytest.fixture(autouse=True)
    def _one_file(self, tmp_path):
        self.path = tmp_path / "identify.sqlite"

    def make_queue(self, **options):
        return SQLiteIdentifyQueue(
            self.path, interval_s=self.interval_s, clock=self.clock, **fill(options)
        )


class TestSQLiteIdentifyQueueOnUvloop(TestSQLiteIdentifyQueue):
    """The same on the other loop."""

    def new_loop(self):
        return pytest.importorskip("uvloop").new_event_loop()


class TestSQLiteIdentifyQueueWhileTheWallClockJumps(TestSQLiteIdentifyQueue):
    """Each look at the time of day says something else, hours apart: nothing changes."""

    @pytest.fixture(autouse=True)
    def _jumping(self):
        chance, real = random.Random(1), system_boot_clock()
        self.clock = BootClock(
            real.boot_id, real.boot, wall=lambda: 1.8e9 + chance.uniform(-36_000, 36_000)
        )


def fill(options):
    """Add what the suite left to us."""
    return {"padding_s": (0.0, 0.0), "reserve": 0, **options}


def test_the_suite_notices_a_queue_that_gives_turns_away():
    """A test of the tests: a queue without memory fails it."""

    class Generous(IdentifyQueueSuite):
        def make_queue(self, **options):
            return LocalIdentifyQueue(interval_s=self.interval_s, **fill(options))

    with pytest.raises(AssertionError):
        Generous().test_a_turn_is_held_until_it_is_released()
    with pytest.raises(AssertionError):
        Generous().test_nothing_identifies_below_the_reserve()
