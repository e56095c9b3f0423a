"""What a session's sequence says about dispatches: in order, late, twice, or never."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference_decoder import ReferenceSequence

from fastgw._decode import Decoder, Interests, Sequence


def counts(sequence):
    return (sequence.gaps, sequence.missing)


class Feed:
    """A decoder of its own for one sequence."""

    def __init__(self):
        self.sequence = Sequence()
        interests = Interests()
        interests.want_everything()
        self.decoder = Decoder(interests=interests, sequence=self.sequence)

    def __call__(self, *numbers):
        """Let these sequences arrive; return those that were passed on."""
        passed = []
        for number in numbers:
            message = b'{"t":"TYPING_START","s":%d,"op":0,"d":{}}' % number
            if self.decoder.feed(message, 1, True) is not None:
                passed.append(number)
        return passed


@pytest.fixture
def feed():
    return Feed()


def test_what_is_left_out_is_missing(feed):
    """Contiguity is not promised, so it is counted and nothing else happens."""
    feed(1, 2, 5, 9)
    assert counts(feed.sequence) == (2, 5)


def test_what_comes_late_is_missing_no_more(feed):
    """Out of order is late, not lost."""
    feed(1, 4, 2)
    assert counts(feed.sequence) == (1, 1)
    feed(3)
    assert counts(feed.sequence) == (0, 0)
    assert feed.sequence.last == 4


def test_what_comes_late_twice_fills_one_place(feed):
    """The second is a repetition."""
    assert feed(1, 4, 2, 2, 1) == [1, 4, 2, 2, 1]
    assert counts(feed.sequence) == (1, 1)


def test_a_place_filled_in_the_middle_leaves_two_runs(feed):
    """gaps counts runs of what has not come."""
    feed(1, 7, 4)
    assert counts(feed.sequence) == (2, 4)
    feed(2, 3, 5, 6)
    assert counts(feed.sequence) == (0, 0)


def test_what_was_missing_is_no_duplicate_in_a_replay(feed):
    """It lies below what RESUME named, and yet nobody has seen it."""
    feed(1, 5)
    feed.sequence.start_replay()
    assert feed(1, 3, 5, 6) == [3, 6]
    assert feed.sequence.duplicates == 2
    assert counts(feed.sequence) == (2, 2)


def test_what_an_old_session_left_out_stays_missing(feed):
    """The next session counts from the start, and its numbers are others."""
    feed(1, 5)
    feed.sequence.clear()
    feed(2, 3, 4)
    assert counts(feed.sequence) == (1, 3)


def test_a_restored_session_remembers_no_gaps(feed):
    """What is stored is the last sequence alone."""
    feed(1, 5)
    feed.sequence.restore(10)
    feed(3)
    assert counts(feed.sequence) == (1, 3)


def test_only_the_newest_gaps_can_be_filled(feed):
    """Nothing a peer sends may grow a list for ever."""
    feed(*range(1, 400, 2))
    assert counts(feed.sequence) == (199, 199)
    feed(*range(2, 400, 2))
    assert counts(feed.sequence) == (199 - 16, 199 - 16)


@given(st.lists(st.integers(0, 60) | st.sampled_from(["replay", "end", "clear"]), max_size=80))
def test_it_counts_as_the_reference_does(steps):
    """Whatever order sequences come in."""
    feed, reference = Feed(), ReferenceSequence()
    for step in steps:
        if step == "replay":
            feed.sequence.start_replay()
            reference.start_replay()
        elif step == "end":
            feed.sequence.end_replay()
            reference.end_replay()
        elif step == "clear":
            feed.sequence.clear()
            reference.clear()
        else:
            assert bool(feed(step)) == reference.accept(step)
    assert counts(feed.sequence) == counts(reference)
    assert feed.sequence.last == reference.last
    assert feed.sequence.duplicates == reference.duplicates
    assert feed.sequence.missing >= feed.sequence.gaps >= 0
