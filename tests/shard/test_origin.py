"""Where a session comes from, and how much of it a store is told."""

from __future__ import annotations

import pytest

from fastgw.protocol.session import Session
from fastgw.protocol.states import State
from fastgw.shard.origin import SessionOrigin

STORED = Session("stored", 7, "wss://gateway.example")


def test_only_the_first_ready_with_a_stored_session_is_cold():
    """Later ones follow what this process has seen itself."""
    origin = SessionOrigin(STORED)
    assert [origin.is_cold_resume() for _ in range(2)] == [True, False]


def test_a_session_of_this_process_is_never_cold():
    """Neither one that began here nor one that took the place of the stored one."""
    assert not SessionOrigin(None).is_cold_resume()
    origin = SessionOrigin(STORED)
    origin.ended()
    assert not origin.is_cold
    assert not origin.is_cold_resume()


def test_a_session_that_was_never_ready_here_is_no_loss_of_ours():
    """A stored one that is refused; the next one was READY, and so is one that was resumed."""
    origin = SessionOrigin(STORED)
    assert not origin.ended()
    origin.is_cold_resume()
    assert origin.ended()


@pytest.mark.parametrize(
    ("looks", "told"),
    [
        ([(None, State.READY)], [None]),  # there is no session
        ([(7, State.READY), (7, State.READY)], [7, 7]),  # it lives: its age begins anew
        ([(7, State.RESUMING)], [7]),
        ([(7, State.READY), (7, State.RESUMING)], [7, None]),  # nothing shows that it lives
        ([(7, State.READY), (8, State.RESUMING)], [7, 8]),  # a replay brought something
        ([(7, State.READY), (7, State.DISCONNECTED), (7, State.READY)], [7, None, 7]),
    ],
)
def test_the_store_is_told_of_a_session_that_shows_life(looks, told):
    """READY, or a sequence that moved."""
    origin = SessionOrigin(STORED)
    assert [origin.sequence(reached, state) for reached, state in looks] == told
