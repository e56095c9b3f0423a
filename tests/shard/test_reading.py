"""Whether a shard reads: each reason by itself, and what becomes of it with the session."""

from __future__ import annotations

import pytest

from fastgw.shard.reading import Reading, Reason


class Side:
    """A connection that can be paused, and the protocol that is told; `told` has both."""

    def __init__(self):
        self.is_open = True
        self.is_reading_paused = False
        self.told = []

    def pause_reading(self):
        self.is_reading_paused = True

    def resume_reading(self):
        self.is_reading_paused = False

    def reading_paused(self):
        self.told.append("paused")

    def reading_resumed(self):
        self.told.append("resumed")


@pytest.fixture
def side():
    return Side()


@pytest.fixture
def reading(side):
    return Reading(side)


def test_each_reason_holds_by_itself(reading, side):
    """Whoever has nothing against reading any more does not undo the pause of another."""
    reading.session_is_up(side)
    reading.pause(Reason.PROGRAM)
    reading.hold(True)
    reading.resume(Reason.PROGRAM)
    assert side.is_reading_paused
    assert reading.paused_by == ("too much is not handled yet",)
    reading.hold(False)
    assert not side.is_reading_paused
    assert side.told == ["paused", "resumed"]


def test_reasons_are_told_in_one_order(reading):
    """Whichever came first."""
    reading.pause(Reason.PRESSURE)
    reading.pause(Reason.PROGRAM)
    assert reading.paused_by == (Reason.PROGRAM.value, Reason.PRESSURE.value)


@pytest.mark.parametrize("reason", [Reason.PROGRAM, Reason.PRESSURE])
def test_before_the_session_is_up_it_reads(reading, side, reason):
    """What waits for READY could never end; from then on the reason counts."""
    reading.pause(reason)
    assert not side.is_reading_paused
    reading.session_is_up(side)
    assert side.is_reading_paused
    assert side.told == ["paused"]


def test_a_session_that_nobody_holds_up_is_not_touched(reading, side):
    """There is nothing to tell."""
    reading.session_is_up(side)
    assert side.told == []


@pytest.mark.parametrize(("reason", "lasts"), [(Reason.PROGRAM, False), (Reason.PRESSURE, True)])
def test_what_the_program_asked_for_ends_with_its_connection(reading, side, reason, lasts):
    """What the marks ask for holds for the next one as well."""
    reading.session_is_up(side)
    reading.pause(reason)
    reading.session_is_down()
    following = Side()
    reading.session_is_up(following)
    assert following.is_reading_paused is lasts


def test_a_connection_on_its_way_out_is_left_alone(reading, side):
    """Its session is not up any more."""
    reading.session_is_up(side)
    reading.session_is_down()
    reading.hold(True)
    assert not side.is_reading_paused


def test_a_closed_connection_is_not_paused(reading, side):
    """Nor is the protocol told of it."""
    reading.session_is_up(side)
    side.is_open = False
    reading.pause(Reason.PROGRAM)
    assert (side.is_reading_paused, side.told) == (False, [])


def test_frames_for_the_next_turn_stop_it_in_any_state(reading, side):
    """For as long as that takes, and for that reason alone."""
    reading.pause(Reason.PRESSURE)
    reading.behind(side, True)
    assert side.is_reading_paused
    reading.behind(side, False)
    assert not side.is_reading_paused
    assert side.told == ["paused", "resumed"]


def test_frames_of_a_session_that_is_up_are_one_reason_among_others(reading, side):
    """Caught up, it still waits for the marks."""
    reading.session_is_up(side)
    reading.behind(side, True)
    reading.hold(True)
    reading.behind(side, False)
    assert side.is_reading_paused
    reading.hold(False)
    assert not side.is_reading_paused


def test_a_connection_that_caught_up_is_left_alone_on_its_way_out(reading, side):
    """What becomes of the reasons is the next one's."""
    reading.session_is_up(side)
    reading.behind(side, True)
    reading.behind(side, False)
    reading.hold(True)
    reading.session_is_down()
    reading.pause(Reason.PROGRAM)
    assert side.is_reading_paused
    assert side.told == ["paused", "resumed", "paused"]


def test_an_old_connection_that_catches_up_resumes_nobody_else(reading, side):
    """Only the one that is behind may say that it is not."""
    reading.behind(side, True)
    reading.behind(Side(), False)
    assert side.is_reading_paused
    assert reading.paused_by == (Reason.TURN.value,)
