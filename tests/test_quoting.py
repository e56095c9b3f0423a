"""Values of the other side in texts."""

from __future__ import annotations

import pytest

from fastgw.quoting import MAX_QUOTED, counted, cut, quote, without_credentials


def test_what_is_short_is_quoted_whole():
    """As repr shows it, and a text as it is."""
    assert quote("soon") == "'soon'"
    assert quote({"a": [1, None]}) == "{'a': [1, None]}"
    assert cut("as it is") == "as it is"


@pytest.mark.parametrize(
    "value",
    ["x" * 20_000_000, b"x" * 1_000_000, ["y" * 1_000] * 1_000,
     {str(n): "z" * 99 for n in range(99)}, 10**1_000, [[[[[["deep"] * 9] * 9] * 9] * 9] * 9]],
)  # fmt: skip
def test_what_is_long_is_cut(value):
    """Whatever it is made of."""
    assert len(quote(value)) <= MAX_QUOTED


def test_a_text_that_was_cut_says_so():
    """And how long it was."""
    text = cut("x" * 5_000)
    assert len(text) <= MAX_QUOTED
    assert text.endswith("... (5000 characters)")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("wss://gateway.discord.gg/?v=10", "wss://gateway.discord.gg/?v=10"),
        ("wss://me:secret@h/path", "wss://h/path"),
        ("wss://me:se/cr@et@h", "wss://h"),
        ("me:secret@h", "h"),
        ("//me:secret\n@h", "h"),
    ],
)
def test_a_url_without_credentials(url, shown):
    """Rather too much is left out than a password shown."""
    assert without_credentials(url) == shown


@pytest.mark.parametrize(
    ("count", "words", "said"),
    [
        (1, ("handler",), "1 handler"),
        (0, ("handler",), "0 handlers"),
        (1_024, ("shard",), "1,024 shards"),
        (1, ("identify", "identifies"), "1 identify"),
        (2, ("identify", "identifies"), "2 identifies"),
    ],
)
def test_what_is_counted_has_its_plural(count, words, said):
    """With commas, as everything that many is read by people."""
    assert counted(count, *words) == said
