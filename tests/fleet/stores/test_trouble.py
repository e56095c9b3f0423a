"""Something that goes on failing is told once, and its end."""

from __future__ import annotations

import logging

from fastgw.fleet.stores.trouble import Trouble


def trouble():
    return Trouble(logging.getLogger("trouble"), lambda error: f"bad ({error})", "good again")


def told(caplog):
    return [(r.levelname, r.getMessage()) for r in caplog.records if r.name == "trouble"]


def test_it_is_told_once_with_its_first_error(caplog):
    """Whatever else goes wrong until it is over."""
    one = trouble()
    one.failed(OSError("full"))
    one.failed(OSError("gone"))
    assert one.is_on
    assert told(caplog) == [("ERROR", "bad (full)")]


def test_its_end_is_told_once_and_the_next_one_again(caplog):
    """What never failed has no end."""
    one = trouble()
    one.ended()
    for text in ("full", "gone"):
        one.failed(OSError(text))
        one.ended()
        one.ended()
    assert not one.is_on
    assert told(caplog) == [
        ("ERROR", "bad (full)"), ("WARNING", "good again"),
        ("ERROR", "bad (gone)"), ("WARNING", "good again"),
    ]  # fmt: skip
