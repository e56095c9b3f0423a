"""Public names and signatures against the committed snapshot."""

from __future__ import annotations

from pathlib import Path

import public_api

SNAPSHOT = Path(__file__).with_name("public_api.txt")


def test_public_names_and_signatures_are_those_of_the_snapshot():
    """A change is one for users: say so in CHANGELOG.md, and write the snapshot again."""
    assert public_api.snapshot() == SNAPSHOT.read_text(encoding="utf-8"), (
        "after a wanted change: python tests/support/public_api.py > tests/public_api.txt"
    )
