"""Loggers whose sinks are broken."""

import logging

import pytest

from fastgw.log import careful_logger


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
