"""The bounds of which connections are replaced, and when; tests/gateway has whole ones."""

from __future__ import annotations

import pytest

from fastgw.fleet.relief import LOOK_S, QUIET_BYTES, Relief

ABOVE = 100_000


class Driver:
    """A shard with a read buffer, and bytes that have come."""

    def __init__(self, buffer_bytes, received=0):
        self.buffer_bytes = buffer_bytes
        self.received = received
        self.reconnects = 0

    def load(self):
        return self.buffer_bytes, self.received

    def reconnect(self):
        self.reconnects += 1


def looked_at(*drivers, looks=2, above_bytes=ABOVE):
    """Look so often at these; return how often each was replaced, and how many in all."""
    relief = Relief(above_bytes)
    for look in range(looks):
        relief.tick(1_000.0 + look * LOOK_S, dict(enumerate(drivers)))
    return [driver.reconnects for driver in drivers], relief.count


@pytest.mark.parametrize(
    ("buffer_bytes", "above_bytes", "replaced"),
    [(ABOVE, ABOVE, 0), (ABOVE + 1, ABOVE, 1), (1, 0, 1)],
)
def test_a_buffer_above_the_bound_is_worth_a_resume(buffer_bytes, above_bytes, replaced):
    """One of just that size is not."""
    assert looked_at(Driver(buffer_bytes), above_bytes=above_bytes) == ([replaced], replaced)


def test_the_first_look_only_learns_what_has_come():
    """How quiet it is shows at the second."""
    assert looked_at(Driver(2 * ABOVE), looks=1) == ([0], 0)


@pytest.mark.parametrize(
    ("came", "replaced"), [(0, 1), (QUIET_BYTES - 1, 1), (QUIET_BYTES, 0), (-1, 0)]
)
def test_only_a_quiet_connection_is_replaced(came, replaced):
    """What comes meanwhile has to be replayed; fewer bytes than before are another connection's."""
    relief, driver = Relief(ABOVE), Driver(2 * ABOVE, received=1_000_000)
    relief.tick(1_000.0, {0: driver})
    driver.received += came
    relief.tick(1_000.0 + LOOK_S, {0: driver})
    assert driver.reconnects == replaced


def test_between_two_looks_nothing_is_looked_at():
    """Though it is called once a second."""
    relief, driver = Relief(ABOVE), Driver(2 * ABOVE)
    for second in range(10):
        relief.tick(1_000.0 + second, {0: driver})
    assert driver.reconnects == 0
    relief.tick(1_000.0 + LOOK_S, {0: driver})
    assert driver.reconnects == 1


def test_a_connection_that_was_replaced_is_learnt_anew():
    """Its bytes begin at nothing, which is not quiet but new."""
    assert looked_at(Driver(2 * ABOVE), looks=3) == ([1], 1)
    assert looked_at(Driver(2 * ABOVE), looks=4) == ([2], 2)
