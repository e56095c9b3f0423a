"""Plans: one walk for all subscriptions of a name; forms, order, failures."""

from __future__ import annotations

import gc
import sys

import pytest
from plans import Reports, Wanting, deliver, message, planned
from zstd_kinds import KINDS

from fastgw._decode import Decoder, Event, Fields, Interests, Plan, Reading, use_zstd
from fastgw.delivery.filters import field as member
from fastgw.errors import DecodeError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

TEXT, BINARY = 1, 2


# ------------------------------------------------------------------------------------------- forms


def test_a_handler_is_called_with_the_values():
    """Values of the fields, one by one; no Event is made."""
    wanting = Wanting(form=Fields("id", "author.id", "nothing"))
    decoder, reports = planned(wanting)
    deliver(decoder, message({"id": "1", "author": {"id": "2"}}))
    deliver(decoder, message({"author": 5, "id": None}))
    assert wanting.called == [("1", "2", None), (None, None, None)]
    assert not reports.failures
    assert decoder.delivered == 2


def test_a_target_of_ours_gets_a_reading():
    """What starts a task or keeps an event takes one thing that knows where it came from."""
    wanting = Wanting(form=Fields("id", "x"), is_ours=True)
    decoder, _ = planned(wanting)
    decoder.received_at = 2.5
    text = message({"id": "1"})
    deliver(decoder, text)
    ((reading,),) = wanting.called
    assert type(reading) is Reading
    assert (reading.name, reading.sequence, reading.shard_id) == ("MESSAGE_CREATE", 7, 3)
    assert (reading.received_at, reading.message_bytes) == (2.5, len(text))
    assert (reading.fields, reading.values) == (Fields("id", "x"), ("1", None))
    assert "1" not in repr(reading).replace("shard_id=3", "")


def test_several_forms_share_one_event():
    """Those that want the Event get the same one; in the order of the plan."""
    order = []
    first, second, third = Wanting(), Wanting(form=Fields("id")), Wanting(is_ours=True)
    for wanting in (first, second, third):
        wanting.called = order
    decoder, _ = planned(first, second, third)
    deliver(decoder, message({"id": "1"}))
    (event,), values, (other,) = order
    assert type(event) is Event
    assert event is other
    assert values == ("1",)
    assert event.data == {"id": "1"}


def test_paths_of_all_forms_share_one_walk():
    """The same path in several forms and filters, and beginnings of each other."""
    wantings = [
        Wanting(form=Fields("a.b", "c")),
        Wanting(form=Fields("a"), where=member("a.b").equals(1)),
        Wanting(form=Fields("c", "a.b"), where=member("c").exists()),
    ]
    decoder, _ = planned(*wantings)
    deliver(decoder, message({"a": {"b": 1}, "c": 2}))
    assert [w.called for w in wantings] == [[(1, 2)], [({"b": 1},)], [(2, 1)]]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [10, 100_000, 3_000_000])
def test_values_outlive_the_buffer(kind, size):
    """They are made before the buffer that all messages share is given back."""
    before = use_zstd(kind)
    try:
        compress = zstd.ZstdCompressor()
        wanting, undecided = Wanting(form=Fields("x", "list")), Wanting()
        reports = Reports()
        interests = Interests()
        interests.want("X", Plan([wanting, undecided], reports))
        decoder = Decoder(interests=interests, compression="zstd-stream")
        pending = []
        for i in range(5):
            data = {"x": str(i) * size, "list": [str(i)]}
            text = message(data, "X", i)
            pending.append(
                decoder.feed(compress.compress(text, zstd.ZstdCompressor.FLUSH_BLOCK), BINARY)
            )
        for calls in pending:
            calls.make()
    finally:
        use_zstd(before)
    assert wanting.called == [(str(i) * size, [str(i)]) for i in range(5)]
    assert [event.data["list"] for (event,) in undecided.called] == [[str(i)] for i in range(5)]
    assert undecided.called[4][0].data["x"] == "4" * size


# ---------------------------------------------------------------------------------- how they fared


def test_one_failure_does_not_stop_the_next():
    """It is reported with the handler, and with what it was called with."""
    error = RuntimeError("boom")
    failing = Wanting(fails=error)
    reading = Wanting(fails=error, form=Fields("id"))
    last = Wanting()
    decoder, reports = planned(failing, reading, last)
    deliver(decoder, message({"id": "1"}))
    (event, handler, first), (what, other, second) = reports.failures
    assert (type(event), handler, first) == (Event, failing.handler, error)
    assert (type(what), what.values, what.name) == (Reading, ("1",), "MESSAGE_CREATE")
    assert (other, second) == (reading.handler, error)
    assert len(last.called) == 1


def test_interrupts_are_reported_too():
    """Whoever ends the gateway hears of them; the other handlers are called first."""
    failing, last = Wanting(fails=KeyboardInterrupt()), Wanting()
    decoder, reports = planned(failing, last)
    deliver(decoder, message({}))
    assert [type(error) for _, _, error in reports.failures] == [KeyboardInterrupt]
    assert last.called


def test_what_is_given_back_is_reported():
    """A coroutine, say; None is not."""
    giving, silent = Wanting(gives="this", form=Fields("id")), Wanting()
    decoder, reports = planned(giving, silent)
    deliver(decoder, message({"id": 5}))
    ((what, handler, result),) = reports.results
    assert (what.values, handler, result) == ((5,), giving.handler, "this")


def test_once_is_spent_by_the_first_that_passes():
    """A filter that rejects spends nothing."""
    wanting = Wanting(once=True, where=member("id").equals("2"))
    decoder, reports = planned(wanting)
    for value in "12222":
        deliver(decoder, message({"id": value}))
    assert len(wanting.called) == 1
    assert reports.spent == [wanting]


def fared(data):
    """How three of a plan fare with a text: one reads, one filters, one takes the event."""
    reading = Wanting(form=Fields("id", "z"))
    filtered = Wanting(where=member("z").exists())
    plain = Wanting()
    decoder, reports = planned(reading, filtered, plain)
    deliver(decoder, message(data))
    ((event,),) = plain.called
    failed = {handler: (what, str(error)) for what, handler, error in reports.failures}
    return reading, filtered, event, failed


@pytest.mark.parametrize("data", [b'{"id":tru}', b'{"id":"\xff","x":1}', b'{"id":"\\x"}'])
def test_a_value_that_cannot_be_read_is_a_failure(data):
    """Of the handler that reads it, with the error of event.data; the others do not mind."""
    reading, filtered, event, failed = fared(data)
    assert not reading.called
    with pytest.raises(DecodeError) as caught:
        _ = event.data
    assert failed == {reading.handler: (event, str(caught.value))}
    assert not filtered.called


@pytest.mark.parametrize("data", [b'{"id":"1","x"}', b'{"id":"1" "z":5}', b'{"id":1,}'])
def test_a_text_that_is_not_json_is_a_failure(data):
    """Of all that need to look into it; who takes the event gets it."""
    reading, filtered, event, failed = fared(data)
    with pytest.raises(DecodeError) as caught:
        _ = event.data
    said = event, str(caught.value)
    assert failed == {reading.handler: said, filtered.handler: said}
    assert not reading.called
    assert not filtered.called


@pytest.mark.parametrize("data", [b"[1", b"tru", b"null", b"[]"])
def test_what_is_no_object_has_no_members(data):
    """Whether it is JSON is not looked at: nothing of it is read."""
    reading, filtered, _, failed = fared(data)
    assert (reading.called, filtered.called, failed) == ([(None, None)], [], {})


def test_events_the_library_needs_are_returned_all_the_same():
    """A filter of users does not keep READY from the protocol."""
    wanting = Wanting(where=member("x").exists())
    decoder, _ = planned(wanting, name="READY", internal=["READY"])
    event = deliver(decoder, message({"session_id": "1"}, "READY"))
    assert type(event) is Event
    assert event.data == {"session_id": "1"}
    assert not wanting.called


def test_a_plan_replaced_while_it_reads_is_kept_so_long():
    """Making values may collect garbage, and a finalizer may register what it likes."""
    interests, reports = Interests(), Reports()
    paths = [f"k{n}" for n in range(40)]  # a tuple so long that its memory is always new
    wanting, other = Wanting(form=Fields(*paths)), Wanting()
    decoder = Decoder(interests=interests)
    interests.want("X", Plan([wanting], reports))
    text = message(dict.fromkeys(paths, 1), "X")

    class Replaces:
        def __init__(self):
            self.itself = self

        def __del__(self):
            interests.want("X", Plan([other], reports))

    threshold = gc.get_threshold()
    gc.collect()
    Replaces()
    gc.set_threshold(1)
    try:
        calls = decoder.feed(text, TEXT)
    finally:
        gc.set_threshold(*threshold)
    calls.make()
    gc.collect()
    deliver(decoder, text)
    assert wanting.called == [(1,) * 40]
    assert len(other.called) == 1


def test_a_plan_can_be_put_in_another_s_place():
    """Targets and plans follow each other as users register."""
    interests, reports = Interests(), Reports()
    first, second = Wanting(form=Fields("id")), Wanting()
    decoder = Decoder(interests=interests)
    interests.want("X", Plan([first], reports))
    deliver(decoder, message({"id": 1}, "X"))
    interests.want("X", second.handler)
    assert type(decoder.feed(message({"id": 2}, "X"), TEXT)) is Event
    interests.want("X", Plan([first, second], reports))
    deliver(decoder, message({"id": 3}, "X"))
    interests.forget("X")
    assert decoder.feed(message({"id": 4}, "X"), TEXT) is None
    assert (first.called, len(second.called)) == ([(1,), (3,)], 1)
