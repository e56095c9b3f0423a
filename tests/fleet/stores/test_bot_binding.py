"""Whose sessions a store holds."""

from __future__ import annotations

import pytest

from fastgw import UsageError
from fastgw.fleet.stores.bot_binding import BotBinding


@pytest.fixture
def binding():
    return BotBinding(lambda bound, bot_id: f"of {bound}, not of {bot_id}")


@pytest.mark.parametrize(
    ("bound", "bot_id", "is_ours"),
    [(None, None, True), (None, 1, True), (1, 1, True), (1, None, False)],
)
def test_what_is_stored_is_ours_unless_nobody_can_tell(binding, bound, bot_id, is_ours):
    """A token that says nothing may be that of another bot."""
    binding.opened(bound, bot_id)
    assert (binding.bot_id, binding.is_ours) == (bound, is_ours)


def test_the_store_of_another_bot_is_refused(binding):
    """When it is opened, if the token says whose it is; else when READY does."""
    with pytest.raises(UsageError, match="of 1, not of 2"):
        binding.opened(1, 2)
    assert (binding.bot_id, binding.is_ours) == (None, False)
    binding.opened(1, None)
    with pytest.raises(UsageError, match="of 1, not of 2"):
        binding.ready(2)
    assert (binding.bot_id, binding.is_ours) == (1, False)


def test_ready_makes_it_sure(binding):
    """One that does not say whose it is changes nothing."""
    binding.opened(1, None)
    binding.ready(None)
    assert not binding.is_ours
    binding.ready(1)
    assert binding.is_ours


def test_a_store_of_nobody_becomes_the_bots(binding):
    """From READY on, which is the first to be sure."""
    binding.opened(None, 1)
    assert binding.bot_id is None
    binding.ready(1)
    assert binding.bot_id == 1
    with pytest.raises(UsageError):
        binding.ready(2)
