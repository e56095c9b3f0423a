"""Loggers whose sinks are broken, or are none."""

import logging

import pytest

from fastgw.log import careful_logger, say


class Broken(logging.Handler):
    """A handler that says what it has seen by raising it."""

    def handle(self, record):
        raise RuntimeError(f"no room for {record.getMessage()!r}")


def broken_filter(record):
    raise RuntimeError("the filter is broken")


@pytest.fixture
def log():
    log = careful_logger("fastgw.test")
    yield log
    log.handlers.clear()
    log.filters.clear()


def test_a_filter_that_raises_is_printed(log, capsys):
    """The program goes on; stderr has the error and the line of the program that logged."""
    log.addFilter(broken_filter)
    log.error("something %s", "said")
    said = capsys.readouterr().err
    assert "the filter is broken" in said
    assert "test_log.py" in said


def test_a_handler_that_raises_is_printed(log, capsys):
    """So is one that does more than emit()."""
    log.addHandler(Broken())
    log.error("something %s", "said")
    assert "no room for 'something said'" in capsys.readouterr().err


def test_a_handler_may_end_the_program(log):
    """An interrupt is not an error."""

    def interrupt(record):
        raise KeyboardInterrupt

    log.addFilter(interrupt)
    with pytest.raises(KeyboardInterrupt):
        log.error("something")


def test_records_tell_where_they_come_from(log, caplog):
    """The line is the caller's, not one of ours."""
    log.error("something")
    (record,) = caplog.records
    assert record.filename == "test_log.py"


def test_every_record_has_the_three_facts(log, caplog):
    """A format may name them: what is not said is None."""
    log.warning("of a shard", extra={"shard_id": 3, "cause": "zombied", "attempt": 2})
    log.warning("of none")
    facts = [(record.shard_id, record.cause, record.attempt) for record in caplog.records]
    assert facts == [(3, "zombied", 2), (None, None, None)]


@pytest.fixture
def bare():
    """A logger as in a program that has set up nothing: here pytest has."""
    log = logging.Logger("fastgw.bare")
    log.manager = logging.Manager(log)
    log.parent = logging.RootLogger(logging.WARNING)
    return log


def test_what_is_to_be_seen_is_seen_without_logging(bare, capsys):
    """Where Python shows warnings then: the text alone, once."""
    say(bare, "it is up, 100 %")
    assert capsys.readouterr().err == "it is up, 100 %\n"


def test_it_is_one_record_where_logging_is_set_up(log, caplog, capsys):
    """From where it was said, and nothing beside it."""
    with caplog.at_level(logging.INFO):
        say(log, "it is up, 100 %")
    (record,) = caplog.records
    assert (record.levelno, record.getMessage()) == (logging.INFO, "it is up, 100 %")
    assert record.filename == "test_log.py"
    assert capsys.readouterr().err == ""


def no_handler_of_last_resort(bare, monkeypatch):
    monkeypatch.setattr(logging, "lastResort", None)


@pytest.mark.parametrize("silence", [
    lambda bare, _: bare.setLevel(logging.ERROR),
    lambda bare, _: bare.parent.setLevel(logging.ERROR),
    lambda bare, _: bare.addHandler(logging.NullHandler()),
    lambda bare, _: setattr(bare.manager, "disable", logging.WARNING),
    no_handler_of_last_resort,
], ids=["level", "root", "null", "disable", "last resort"])  # fmt: skip
def test_who_wants_silence_has_it(bare, monkeypatch, capsys, silence):
    """By any of the ways that there are."""
    silence(bare, monkeypatch)
    say(bare, "it is up")
    assert capsys.readouterr().err == ""
