"""What an identify queue may be told."""

from __future__ import annotations

import math

import pytest

from fastgw.errors import UsageError
from fastgw.fleet.turns.queue_options import check_functions, check_rules

GOOD = {
    "max_concurrency": None, "interval_s": 5.0, "padding_s": (0.25, 1.5), "reserve": None,
    "random": lambda: 0.5,
}  # fmt: skip


@pytest.mark.parametrize(
    "told",
    [
        {}, {"max_concurrency": 1}, {"max_concurrency": 16}, {"interval_s": 0}, {"interval_s": 0.5},
        {"padding_s": (0, 0)}, {"padding_s": [0.5, 0.5]}, {"reserve": 0},
    ],
)  # fmt: skip
def test_what_can_be_is_taken(told):
    """Nothing is changed on the way."""
    rules = check_rules(**GOOD | told)
    assert all(getattr(rules, name) == value for name, value in (GOOD | told).items())


@pytest.mark.parametrize(
    ("name", "bad"),
    [
        ("max_concurrency", 0), ("max_concurrency", -1), ("max_concurrency", True),
        ("max_concurrency", 1.0), ("max_concurrency", "1"),
        ("interval_s", -0.1), ("interval_s", math.inf), ("interval_s", math.nan),
        ("interval_s", True), ("interval_s", "5"), ("interval_s", None),
        ("padding_s", 1.0), ("padding_s", (1.0,)), ("padding_s", (0, 1, 2)), ("padding_s", "01"),
        ("padding_s", (1.5, 0.25)), ("padding_s", (-1, 0)), ("padding_s", (0, math.inf)),
        ("padding_s", (True, 2)), ("padding_s", (0, None)), ("padding_s", None),
        ("reserve", -1), ("random", 0.5),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_by_name(name, bad):
    """Where it is said."""
    with pytest.raises(UsageError, match=name):
        check_rules(**GOOD | {name: bad})


@pytest.mark.parametrize(("roll", "spacing_s"), [(0.0, 5.25), (0.5, 5.875), (1.0, 6.5)])
def test_the_padding_is_drawn_between_its_bounds(roll, spacing_s):
    """On top of the interval."""
    rules = check_rules(**GOOD | {"random": lambda: roll})
    assert rules.spacing_s() == pytest.approx(spacing_s)


def test_a_turn_of_another_process_is_looked_at_many_times_an_interval():
    """Fifty, so that it costs little of it."""
    assert check_rules(**GOOD).look_s == pytest.approx(0.1)


def test_the_first_that_is_no_function_is_told():
    """By its name."""
    check_functions(clock=len, sleep=print)
    with pytest.raises(UsageError, match="sleep=5 is not a function"):
        check_functions(clock=len, sleep=5)
