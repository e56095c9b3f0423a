"""The transition table."""

from __future__ import annotations

from fastgw.protocol.states import CONNECTED, TRANSITIONS, State, Trigger


def test_every_state_can_be_left_for_stopped():
    """case 48: a stop is a move from every state but STOPPED: directly, or by way of CLOSING."""
    for state in set(State) - {State.STOPPED}:
        assert TRANSITIONS[state, Trigger.STOP] is State.STOPPED


def test_every_connected_state_can_close_and_be_lost():
    """There is one way down, and it is open from every state that has a connection."""
    for state in CONNECTED:
        assert TRANSITIONS[state, Trigger.CLOSE] is State.CLOSING
        assert TRANSITIONS[state, Trigger.END] is State.DISCONNECTED


def test_the_way_up_is_one_way():
    """READY is reached by READY after IDENTIFY or by RESUMED after RESUME, and by nothing else."""
    ways = {key for key, new in TRANSITIONS.items() if new is State.READY}
    assert ways == {(State.IDENTIFYING, Trigger.READY), (State.RESUMING, Trigger.RESUMED)}
