"""How many generated inputs a test plays that makes them by itself, from seeds."""

from __future__ import annotations

from hypothesis import settings

QUICK = 40  # examples of the profile `quick`, for which the counts in the tests are


def rounds(count: int, profile: settings | None = None) -> int:
    """
    Return how many inputs to play where `quick` plays `count`; one at least.

    So `--hypothesis-profile few` shortens these tests, too.

    Args:
        profile: None for the one that is loaded.
    """
    examples = (settings() if profile is None else profile).max_examples
    return max(1, count * examples // QUICK)
