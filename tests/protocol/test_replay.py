"""One replay after RESUME: what it brought, and which RESUMED ends it."""

from __future__ import annotations

import pytest

from fastgw._decode import Decoder, Interests, Sequence
from fastgw.protocol.replay import Replay, ReplayCounts


class Replayed:
    """A session that has come to sequence 5, and replays of it."""

    def __init__(self):
        self.sequence = Sequence(5)
        self.counts = ReplayCounts(self.sequence)
        interests = Interests()
        interests.want_everything()
        self.decoder = Decoder(interests=interests, sequence=self.sequence)

    def start(self) -> Replay:
        self.sequence.start_replay()
        return Replay(self.counts, resumed_from=self.sequence.last)

    def feed(self, *sequences, name="TYPING_START"):
        for sequence in sequences:
            message = b'{"t":"%s","s":%d,"op":0,"d":{}}' % (name.encode(), sequence)
            self.decoder.feed(message, 1, True)

    def end(self, replay, sequence):
        self.feed(sequence, name="RESUMED")
        self.sequence.end_replay()
        return replay.end(sequence)


@pytest.fixture
def session():
    return Replayed()


def test_each_replay_counts_from_its_own_beginning(session):
    """What earlier ones brought is not counted again."""
    replay = session.start()
    session.feed(4, 5, 6, 7)
    assert session.end(replay, 8) == (2, 2)
    replay = session.start()
    session.feed(8, 9)
    assert session.end(replay, 10) == (1, 1)
    assert (session.counts.replayed, session.counts.duplicates) == (3, 3)


def test_only_what_is_new_is_news(session):
    """Repetitions are none, however many there were before."""
    session.end(session.start(), 6)
    replay = session.start()
    session.feed(3, 4, 5, 6)
    assert not replay.has_news()
    session.feed(7)
    assert replay.has_news()
    replay = session.start()
    assert not replay.has_news()
    session.feed(8)
    assert replay.has_news()


def test_it_moves_with_whatever_comes(session):
    """New or repeated, each look sees only what came since the last."""
    replay = session.start()
    assert not replay.has_moved()
    session.feed(5)
    assert replay.has_moved()
    assert not replay.has_moved()
    session.feed(6)
    assert replay.has_moved()


@pytest.mark.parametrize(
    ("sequence", "ends"), [(None, True), (0, True), (1, False), (4, False), (5, True), (6, True)]
)
def test_which_resumed_ends_it(session, sequence, ends):
    """One that is older than what RESUME named belongs to an earlier resume."""
    assert session.start().ends_with(sequence) is ends
