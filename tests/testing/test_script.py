"""`Script`: the next n times this, then that, then what is ordinary."""

from __future__ import annotations

import pytest

from fastgw.errors import UsageError
from fastgw.testing.service.script import Script


def test_instructions_queue_up_and_run_out():
    """Each holds as often as it was asked for; then nothing is left to do."""
    script = Script()
    script.add("twice", 2)
    script.add("once", 1)
    assert [script.take() for _ in range(4)] == ["twice", "twice", "once", None]


def test_an_instruction_without_number_holds_for_ever():
    """What stands behind it is never reached, until all is cleared."""
    script = Script()
    script.add("always", None)
    script.add("never", 1)
    assert [script.take() for _ in range(3)] == ["always"] * 3
    script.clear()
    assert script.take() is None


@pytest.mark.parametrize("times", [0, -1])
def test_an_instruction_for_no_time_is_refused(times):
    """It would have held once; now it is told."""
    with pytest.raises(UsageError, match=f"times={times}"):
        Script().add("never", times)
