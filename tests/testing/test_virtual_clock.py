"""Time for machines without IO."""

import pytest

from fastgw.errors import UsageError
from fastgw.testing import FakeService, VirtualClock


class Ticker:
    """A machine that wants to be told every `step` seconds, and keeps when it was."""

    def __init__(self, at, step, log):
        self.at, self.step, self.log = at, step, log

    def timer_at(self):
        return self.at

    def timer(self, now):
        self.log.append((now, self.step))
        self.at = now + self.step


def test_time_passes_when_a_test_says_so():
    """From any moment; the clock is what tells it."""
    clock = VirtualClock(5.0)
    clock.advance(2.5)
    assert (clock(), clock.now, repr(clock)) == (7.5, 7.5, "<VirtualClock 7.5>")


@pytest.mark.parametrize("seconds", [-1, float("inf"), float("nan")])
def test_time_does_not_go_back(seconds):
    """Nor to the end of it."""
    with pytest.raises(UsageError, match="cannot advance"):
        VirtualClock().advance(seconds)


def test_timers_come_at_their_moments_in_order():
    """Of all machines; what is due later waits for the next advance."""
    log, clock = [], VirtualClock(0.0)
    for step in (3.0, 2.0):
        clock.drive(Ticker(step, step, log))
    clock.advance(6.5)
    assert log == [(2.0, 2.0), (3.0, 3.0), (4.0, 2.0), (6.0, 3.0), (6.0, 2.0)]
    assert clock.now == 6.5


def test_a_timer_that_is_overdue_comes_now():
    """Time does not go back for it."""
    log, clock = [], VirtualClock(10.0)
    clock.drive(Ticker(1.0, 100.0, log))
    clock.advance(0)
    assert log == [(10.0, 100.0)]


def test_a_timer_that_never_moves_is_told():
    """It would hold the clock for ever."""
    clock = VirtualClock(0.0)
    clock.drive(Ticker(1.0, 0.0, []))
    with pytest.raises(UsageError, match="leaves its timer"):
        clock.advance(2)


def test_a_peer_in_virtual_time():
    """Closed with 4009 at the very moment when its patience ends."""
    clock = VirtualClock()
    peer = FakeService(heartbeat_interval_ms=1_000, heartbeat_patience=2.0).connect(now=clock())
    clock.drive(peer)
    peer.messages_to_send()
    clock.advance(1.9)
    assert peer.close_to_send() is None
    clock.advance(0.1)
    assert peer.close_to_send() == (4009, "Session timed out.")
