"""What a fleet needs of others: the small rules that stand beside the protocols."""

from __future__ import annotations

import pytest

from fastgw import UsageError
from fastgw.fleet.ports import StoredSession, at_sequence, check_acknowledge
from fastgw.protocol.session import Session


@pytest.mark.parametrize(("sequence", "kept"), [(4, 5), (5, 5), (6, 6)])
def test_a_sequence_only_grows(sequence, kept):
    """The rest of a stored session stays."""
    stored = StoredSession(session=Session("s", 5, "wss://r", 0, 8), terms="{}", bot_id=7)
    moved = at_sequence(stored, sequence)
    assert moved == StoredSession(session=Session("s", kept, "wss://r", 0, 8), terms="{}", bot_id=7)


def test_an_event_is_acknowledged_when_it_came_or_was_handled():
    """There is no third moment."""
    assert [check_acknowledge(word) for word in ("received", "handled")] == ["received", "handled"]
    with pytest.raises(UsageError, match="acknowledge='sent' is not 'received' or 'handled'"):
        check_acknowledge("sent")
