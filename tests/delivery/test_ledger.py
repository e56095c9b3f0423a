"""The ledger: what is not finished, in bytes and in sequences."""

import types

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastgw.delivery.ledger import OVERHEAD_BYTES, Delivery, Ledgers


def origin(sequence, message_bytes=100, shard_id=0):
    return types.SimpleNamespace(
        name="A", sequence=sequence, shard_id=shard_id, received_at=0.0, message_bytes=message_bytes
    )


@pytest.fixture
def ledgers():
    return Ledgers()


@pytest.fixture
def opened(ledgers):
    """Open a delivery of an event with this sequence."""

    def opened(sequence, **rest):
        event = origin(sequence, **rest)
        delivery = Delivery("somebody", event, (event,), ledgers[event.shard_id])
        delivery.open()
        return delivery

    return opened


def test_bytes_are_counted_by_shard_and_in_all(ledgers, opened):
    """The message's and what a delivery costs beside it; all of it comes back."""
    first, second = opened(1), opened(1, shard_id=1, message_bytes=1_000)
    assert ledgers[0].bytes == 100 + OVERHEAD_BYTES
    assert ledgers.bytes == 1_100 + 2 * OVERHEAD_BYTES
    first.done()
    second.done()
    assert ledgers.bytes == ledgers[0].bytes == ledgers[1].bytes == 0
    assert not ledgers[0].deliveries


def test_with_nothing_open_all_that_was_received_is_handled(ledgers):
    """Sync handlers and dropped events never stand in the ledger."""
    assert ledgers[0].handled(7) == 7
    assert ledgers[0].handled(None) is None


def test_the_lowest_open_event_holds_the_mark(ledgers, opened):
    """However many above it are done: after a crash the service replays from there."""
    first, second, third = opened(3), opened(4), opened(9)
    second.done()
    assert ledgers[0].handled(12) == 2
    first.done()
    assert ledgers[0].handled(12) == 8
    third.done()
    assert ledgers[0].handled(12) == 12


def test_another_shard_does_not_hold_the_mark(ledgers, opened):
    """Sequences are a session's own."""
    opened(3, shard_id=1)
    assert ledgers[0].handled(5) == 5


def test_an_event_of_an_older_session_does_not_hold_the_mark(ledgers, opened):
    """Its bytes still count: they are in memory."""
    old = opened(400)
    ledgers[0].session_began()
    assert ledgers[0].handled(2) == 2
    new = opened(2)
    assert ledgers[0].handled(2) == 1
    new.done()
    old.done()
    assert ledgers.bytes == 0


def test_an_event_without_a_sequence_holds_nothing(ledgers, opened):
    """The service sent none, so it cannot replay it."""
    opened(-1)
    assert ledgers[0].handled(5) == 5


def test_what_is_given_up_frees_its_bytes_and_holds_the_mark(ledgers, opened):
    """The close cut it short: it was not handled, and the next process should get it again."""
    delivery = opened(3)
    delivery.abandon()
    assert ledgers.bytes == 0
    assert ledgers[0].handled(5) == 2
    assert delivery.arguments == ()


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(1, 30), st.booleans()), max_size=60))
def test_the_mark_is_what_its_definition_says(moves):
    """Open and close in any order, repeated sequences included."""
    ledgers = Ledgers()
    ledger, open_now = ledgers[0], []
    for sequence, opens in moves:
        if opens or not open_now:
            event = origin(sequence)
            delivery = Delivery("somebody", event, (event,), ledger)
            delivery.open()
            open_now.append(delivery)
        else:
            open_now.pop(sequence % len(open_now)).done()
        handled = ledger.handled(30)
        assert all(delivery.sequence > handled for delivery in open_now)
        assert handled == 30 or any(delivery.sequence == handled + 1 for delivery in open_now)
