"""What one connection knows: its bytes, its deadline, for how long it is READY."""

from __future__ import annotations

import pytest

from fastgw.protocol.attempt import Attempt
from fastgw.protocol.session import Plan


@pytest.fixture
def attempt():
    return Attempt(Plan("wss://gateway.example", False, False))


@pytest.mark.parametrize(
    ("looks", "last_byte_at"),
    [
        ([(0, 10.0)], None),  # nothing has come yet
        ([(1, 10.0)], 10.0),
        ([(1, 10.0), (1, 20.0)], 10.0),
        ([(1, 10.0), (2, 20.0)], 20.0),
        ([(1, 10.0), (2, 20.0), (2, 30.0)], 20.0),
    ],
)
def test_a_byte_count_that_moved_is_a_byte_that_came(attempt, looks, last_byte_at):
    """Nobody tells of dispatches: their bytes are seen from look to look."""
    for bytes_received, now in looks:
        attempt.note_bytes(bytes_received, now)
    assert attempt.last_byte_at == last_byte_at


def test_how_long_it_is_ready_is_known_while_it_is(attempt):
    """None before."""
    assert attempt.ready_for_s(20.0) is None
    attempt.ready_at = 12.5
    assert attempt.ready_for_s(20.0) == 7.5
