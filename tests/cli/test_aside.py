"""Output from a thread of its own: order, what is lost, its end."""

from __future__ import annotations

import logging
import os
import threading

import pytest
from deadline import scaled

from fastgw.cli._aside import Aside, AsideHandler, Prints

PATIENCE_S = scaled(20)


class Reader:
    """Somebody who reads what is shown when the test says so."""

    def __init__(self):
        self.shown = []
        self.may_go_on = threading.Event()
        self.has_begun = threading.Event()

    def show(self, *said):
        """Take something, once the test lets it."""
        self.has_begun.set()
        assert self.may_go_on.wait(PATIENCE_S)
        self.shown.append(said)


def test_the_oldest_that_wait_are_lost_and_counted():
    """The one that is being shown is not; each that is shown comes with the count before it."""
    reader = Reader()
    aside = Aside(reader.show, most=2)
    aside.put(0)
    assert reader.has_begun.wait(PATIENCE_S)
    for thing in (1, 2, 3, 4):
        aside.put(thing)
    reader.may_go_on.set()
    aside.close(PATIENCE_S)
    assert reader.shown == [(0, 0), (3, 2), (4, 2)]


def test_the_end_comes_last_and_once():
    """In the thread, after what waited; later things are not shown."""
    said = []
    aside = Aside(lambda thing, _lost: said.append(thing), most=2, end=lambda: said.append("end"))
    aside.put("first")
    aside.close(PATIENCE_S)
    aside.put("late")
    aside.close(PATIENCE_S)
    assert said == ["first", "end"]


@pytest.mark.parametrize("error", [BrokenPipeError, ValueError])
def test_an_error_of_who_shows_does_not_end_the_showing(error):
    """The next ones are tried, such as of `fastgw run | head`, whose reader has gone."""
    tried = []

    def show(thing, _lost):
        tried.append(thing)
        raise error

    aside = Aside(show, most=2)
    for thing in (1, 2):
        aside.put(thing)
    aside.close(PATIENCE_S)
    assert tried == [1, 2]


def test_a_log_tells_how_many_records_nobody_read(monkeypatch):
    """In a record of its own, in the same form, before the next one."""
    monkeypatch.setattr("fastgw.cli._aside.MOST_RECORDS", 1)
    reader = Reader()
    handler = AsideHandler(reader.show)
    handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
    for number in range(4):
        handler.handle(logging.LogRecord("x", logging.INFO, "", 0, "%d", (number,), None))
        assert reader.has_begun.wait(PATIENCE_S)
    reader.may_go_on.set()
    handler.close()
    handler._aside.close(PATIENCE_S)
    assert [text for (text,) in reader.shown] == [
        "INFO 0\n", "WARNING 2 records were not written: nobody read them\n", "INFO 3\n",
    ]  # fmt: skip


def test_what_cannot_be_shown_holds_up_nobody_who_prints():
    """A terminal that is gone, or an error of ours: the next lines are taken all the same."""
    shown = []

    def show(line):
        shown.append(line)
        raise OSError

    prints = Prints(show)
    for line in (b"first\n", b"second\n"):
        os.write(prints.descriptor, line)
    prints.close()
    assert shown == ["first", "second"]
