"""The profiles by which generated input is made fewer or more."""

from __future__ import annotations

import pytest
from effort import rounds
from hypothesis import settings


@pytest.mark.parametrize(
    ("profile", "count", "expected"),
    [
        ("quick", 1_500, 1_500), ("few", 1_500, 150), ("thorough", 1_500, 7_500),
        ("few", 7, 1), ("quick", 1, 1),
    ],
)  # fmt: skip
def test_seeds_follow_the_profile(profile, count, expected):
    """As many more or fewer as examples of hypothesis, and never none."""
    assert rounds(count, settings.get_profile(profile)) == expected


def test_without_a_profile_the_loaded_one_counts():
    """The one of the command line; conftest's without it."""
    assert rounds(1_500) == rounds(1_500, settings())
