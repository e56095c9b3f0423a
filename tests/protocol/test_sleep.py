"""A machine that was suspended, noticed by its clocks."""

from __future__ import annotations

import pytest

from fastgw.protocol.sleep import SLEEP_GAP_S, SleepWatch


@pytest.mark.parametrize(
    ("passed_s", "wall_s", "slept"),
    [
        (1.0, 1.0, False),
        (600.0, 600.0, False),  # looked at rarely, and both clocks ran
        (1.0, 1.0 + SLEEP_GAP_S, False),  # NTP may set a clock by so much
        (1.0, 1.1 + SLEEP_GAP_S, True),
        (1.0, 3_600.0, True),
        (1.0, -3_600.0, False),
    ],
)
def test_one_clock_stands_still_while_the_other_runs(passed_s, wall_s, slept):
    """What counts is how far they drift apart between two looks."""
    watch = SleepWatch()
    assert not watch.has_slept(100.0, 50_000.0)
    assert watch.has_slept(100.0 + passed_s, 50_000.0 + wall_s) is slept


def test_each_sleep_is_told_once():
    """The next look begins where this one ended."""
    watch = SleepWatch()
    watch.has_slept(0.0, 0.0)
    assert watch.has_slept(1.0, 500.0)
    assert not watch.has_slept(2.0, 501.0)
