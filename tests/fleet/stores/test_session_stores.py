"""The stores of sessions, under the suite that every store must pass."""

from __future__ import annotations

import inspect
import sys

import pytest

from fastgw.fleet.stores.sessions import MemorySessionStore
from fastgw.fleet.stores.sqlite_store import SQLiteSessionStore
from fastgw.testing.conformance.stores import SessionStoreSuite


class TestMemorySessionStore(SessionStoreSuite):
    """In one process, one object is all there is."""

    @pytest.fixture(autouse=True)
    def _one_store(self):
        self.store = MemorySessionStore()

    def make_store(self):
        return self.store

    def test_threads_that_take_turns_every_few_lines(self):
        """What one looks through changes under the hands of the others."""
        before = sys.getswitchinterval()
        sys.setswitchinterval(1e-6)
        try:
            for _ in range(5):
                self.store = MemorySessionStore()
                self.test_several_threads_share_a_store()
        finally:
            sys.setswitchinterval(before)


class TestSQLiteSessionStore(SessionStoreSuite):
    """Each call makes an object of its own, as each process would."""

    @pytest.fixture(autouse=True)
    def _one_file(self, tmp_path):
        self.path = tmp_path / "sessions.sqlite"

    def make_store(self):
        return SQLiteSessionStore(self.path)


class TestSQLiteSessionStoreOnUvloop(TestSQLiteSessionStore):
    """The same on the other loop."""

    def new_loop(self):
        return pytest.importorskip("uvloop").new_event_loop()


def test_the_suite_notices_a_store_that_forgets():
    """A test of the tests: a store without memory fails it."""

    class Forgetful(SessionStoreSuite):
        def make_store(self):
            return MemorySessionStore()

    with pytest.raises(AssertionError):
        Forgetful().test_a_session_is_found_by_the_next_start()
    assert inspect.iscoroutinefunction(MemorySessionStore.open)
