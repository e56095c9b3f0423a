"""Filters: decided over the text as the parsed value would have it, before anything is made."""

from __future__ import annotations

import json
import random
import sys

import orjson
import pytest
from effort import rounds
from filter_oracle import Agreement, random_filter
from hypothesis import given, settings
from hypothesis import strategies as st
from payloads import PATHS, random_data
from plans import Wanting, deliver, message, planned
from reference_fields import holds
from strategies import damage, generate_message, json_values

from fastgw._decode import Fields, ValueSet
from fastgw.delivery.filters import field as member
from fastgw.delivery.filters import in_guilds
from fastgw.errors import UsageError

TEXT = 1


# ------------------------------------------------------------------------------------------ filters

CASES = [
    ('"a"', member("x").equals("a"), True),
    ('"b"', member("x").equals("a"), False),
    ('"\\u0061"', member("x").equals("a"), True),
    ('"a\\nb"', member("x").equals("a\nb"), True),
    ('"a\\nb"', member("x").equals("a\\nb"), False),
    ('"a\\\\nb"', member("x").equals("a\\nb"), True),
    ('"é"', member("x").equals("é"), True),
    ('"\\u00e9"', member("x").equals("é"), True),
    ('""', member("x").equals(""), True),
    ("5", member("x").equals("5"), False),
    ("5", member("x").equals(5), True),
    ('"5"', member("x").equals(5), True),
    ('"05"', member("x").equals(5), False),
    ('"\\u0035"', member("x").equals(5), True),
    ("5.0", member("x").equals(5), False),
    ("-0", member("x").equals(0), True),
    ("-5", member("x").equals(-5), True),
    ('"-5"', member("x").equals(-5), True),
    ('"175928847299117063"', member("x").equals(175928847299117063), True),
    ("1", member("x").equals(True), False),
    ("true", member("x").equals(1), False),
    ("true", member("x").equals(True), True),
    ("false", member("x").equals(False), True),
    ("0", member("x").equals(False), False),
    ("true", member("x").is_true(), True),
    ("false", member("x").is_true(), False),
    ('"true"', member("x").is_true(), False),
    ("1", member("x").is_true(), False),
    ("null", member("x").exists(), False),
    ("false", member("x").exists(), True),
    ("[]", member("x").exists(), True),
    ('""', member("x").exists(), True),
    ('"abc"', member("x").startswith("ab"), True),
    ('"abc"', member("x").startswith("abc"), True),
    ('"abc"', member("x").startswith("abcd"), False),
    ('"abc"', member("x").startswith(""), True),
    ('"abc"', member("x").startswith(("x", "a")), True),
    ('"abc"', member("x").startswith(()), False),
    ('"ab\\n"', member("x").startswith("ab"), True),
    ('"a\\u0062c"', member("x").startswith("ab"), True),
    ('"\\"abc"', member("x").startswith('"a'), True),
    ('"b\\u0062"', member("x").startswith("ab"), False),
    ("[1]", member("x").startswith(""), False),
    ('["1","2"]', member("x").contains_id(2), True),
    ('["1","2"]', member("x").contains_id("2"), True),
    ('["1","\\u0032"]', member("x").contains_id("2"), True),
    ("[1, 2]", member("x").contains_id(2), True),
    ("[-0]", member("x").contains_id(0), True),
    ("[[2],{}]", member("x").contains_id(2), False),
    ("[]", member("x").contains_id(2), False),
    ('"2"', member("x").contains_id(2), False),
    ('{"2":2}', member("x").contains_id(2), False),
    ('"7"', member("x").is_in([5, 6, 7]), True),
    ('"7"', member("x").is_in(["7"]), True),
    ("7", member("x").is_in(["7"]), False),
    ("7", member("x").is_in([7]), True),
    ("7.0", member("x").is_in([7]), False),
    ('"\\u0037"', member("x").is_in([7]), True),
    ('"a"', member("x").is_in(["b", "a"]), True),
    ('"a\\n"', member("x").is_in(["a\n"]), True),
    ('"c"', member("x").is_in(["b", "a"]), False),
    ('"c"', member("x").is_in([]), False),
    ("null", ~member("x").equals("a"), True),
    ("5", ~member("x").equals("a"), True),
    ('"a"', ~member("x").equals("a"), False),
    ('"a"', member("x").equals("a") & member("x").startswith("b"), False),
    ('"a"', member("x").equals("a") | member("x").startswith("b"), True),
    ('"a"', ~(member("x").equals("b") | ~member("x").exists()) & member("x").is_in(["a"]), True),
]  # fmt: skip


def passes(filter_, data, name="X"):
    """Whether an event whose d is the text `data` passes a filter, by the compiled plan."""
    wanting = Wanting(where=filter_)
    decoder, reports = planned(wanting, name=name)
    deliver(decoder, message(data if isinstance(data, bytes) else data.encode(), name))
    for _, _, error in reports.failures:
        raise error
    return bool(wanting.called)


@pytest.mark.parametrize(("value", "filter_", "expected"), CASES)
def test_filters(value, filter_, expected):
    """Each test at a member, a nested one, and behind others; the oracle and a repr agree."""
    assert passes(filter_, f'{{"x":{value}}}') is expected
    assert passes(filter_, f'{{"a":[{{"x":0}}],"x": {value} ,"b":1}}') is expected
    # An escaped key lets d be parsed: the same filter, on the value.
    assert passes(filter_, f'{{"\\u0061":1,"x":{value}}}') is expected
    assert holds(filter_.spec, orjson.loads(f'{{"x":{value}}}')) is expected
    assert repr(filter_).startswith("<Filter ")


@pytest.mark.parametrize("data", ["{}", '{"x":null}', "[]", "null", '{"y":"a"}', '"x"', "5"])
def test_what_is_missing_is_in_no_filter(data):
    """Each test of a member that is missing or null is false, and its opposite true."""
    for filter_ in (
        member("x").equals("a"), member("x").is_true(), member("x").exists(),
        member("x").is_in([1]), member("x").startswith(""), member("x").contains_id(1),
        member("x.y").exists(), in_guilds([5]),
    ):  # fmt: skip
        assert not passes(filter_, data)
        assert passes(~filter_, data)


def test_rejected_events_make_no_object():
    """100,000 events that filters reject move the number of allocated blocks by less than ten."""
    where = ~member("author.bot").is_true() & member("content").startswith("!")
    wanting = Wanting(where=where, form=Fields("content"))
    other = Wanting(where=in_guilds(range(1000)))
    decoder, _ = planned(wanting, other)
    bot = message({"author": {"bot": True, "id": "5"}, "content": "!ping", "guild_id": "77777"})
    talk = message({"author": {"id": "5"}, "content": "hello", "guild_id": None})
    feed = decoder.feed
    for _ in range(100):
        feed(bot, TEXT, True)
        feed(talk, TEXT, True)
    before = sys.getallocatedblocks()
    for _ in range(50_000):
        feed(bot, TEXT, True)
        feed(talk, TEXT, True)
    assert abs(sys.getallocatedblocks() - before) < 10
    assert not wanting.called
    assert decoder.interests.filtered() == {"MESSAGE_CREATE": 100_200}
    assert (decoder.dispatches, decoder.delivered) == (100_200, 0)


@pytest.mark.parametrize(
    "filter_",
    [
        member("x").equals(2),
        ~member("x").equals(1),
        member("y").exists() & member("x").equals(2),
        member("y").exists() & (member("z").exists() & ~member("x").exists()),
        member("y").exists() & (member("x").equals(2) | member("x").equals(3)),
    ],
)
def test_one_value_can_be_enough_to_reject(filter_):
    """Of conditions that must all hold the first that fails ends the walk: the rest is not seen."""
    decoder, reports = planned(wanting := Wanting(where=filter_))
    deliver(decoder, message(b'{"x":1,"y":tru'))
    assert not wanting.called
    assert not reports.failures
    assert decoder.interests.filtered() == {"MESSAGE_CREATE": 1}


@pytest.mark.parametrize(
    "filter_",
    [
        member("x").equals(2) | member("y").exists(),
        ~(member("x").equals(1) & member("y").is_true()),
        member("x").equals(1) & member("y").exists(),
        member("x").contains_id(2) & member("y").exists(),
    ],
)
def test_other_filters_need_the_whole_walk(filter_):
    """Where one value is not enough, or it does not fail, what is wrong behind it is reported."""
    decoder, reports = planned(wanting := Wanting(where=filter_))
    deliver(decoder, message(b'{"x":1,"y"'))
    assert not wanting.called
    assert len(reports.failures) == 1


def test_a_value_with_escapes_ends_no_walk():
    """It has to be parsed, which is done behind the walk; then it holds or does not."""
    wanting = Wanting(where=member("x").equals("a") & member("y").exists())
    decoder, reports = planned(wanting)
    deliver(decoder, message(b'{"x":"\\u0061","y":1}'))
    deliver(decoder, message(b'{"x":"\\u0062","y":1}'))
    assert len(wanting.called) == 1
    assert not reports.failures
    assert decoder.interests.filtered() == {"MESSAGE_CREATE": 1}


def test_what_one_of_two_handlers_rejects_the_other_gets():
    """A value ends the walk only where there is nobody else to be asked."""
    first, second = Wanting(where=member("x").equals(2)), Wanting(form=Fields("y"))
    decoder, _ = planned(first, second)
    deliver(decoder, message({"x": 1, "y": 3}))
    assert (first.called, second.called) == ([], [(3,)])


def test_rejected_events_move_the_sequence():
    """As every dispatch does; and what a replay repeats never reaches a filter."""
    wanting = Wanting(where=member("id").exists())
    decoder, _ = planned(wanting)
    deliver(decoder, message({}, sequence=4))
    assert decoder.sequence.last == 4
    decoder.sequence.start_replay()
    deliver(decoder, message({"id": 1}, sequence=4))
    assert not wanting.called
    assert decoder.interests.filtered() == {"MESSAGE_CREATE": 1}


@pytest.mark.parametrize("name", ["GUILD_CREATE", "GUILD_UPDATE", "GUILD_DELETE", "MESSAGE_CREATE"])
@pytest.mark.parametrize("everything", [False, True])
def test_guilds(name, everything):
    """The guild of an event is d.guild_id, or d.id where d is the guild, as of event.guild_id."""
    wanting = Wanting(where=in_guilds({5, "6"}))
    decoder, _ = planned(wanting, name="*" if everything else name)
    key = "id" if name.startswith("GUILD") else "guild_id"
    for value in ("5", "6", 5, 7, "7", None, "05"):
        deliver(decoder, message({"x": 1, key: value}, name))
    deliver(decoder, message({"guild_id" if key == "id" else "id": "5"}, name))
    assert [event.data[key] for (event,) in wanting.called] == ["5", "6", 5]


def test_a_set_may_change_at_any_time():
    """The next event sees what it holds then."""
    blocked = ValueSet(["5"])
    wanting = Wanting(where=~member("author.id").is_in(blocked), form=Fields("author.id"))
    decoder, _ = planned(wanting)

    def send(author):
        deliver(decoder, message({"author": {"id": author}}))

    send("5")
    send("6")
    blocked.add(6)
    send("6")
    blocked.discard("5")
    send("5")
    blocked.clear()
    send("6")
    assert wanting.called == [("6",), ("5",), ("6",)]


# -------------------------------------------------------------------------------- said, and refused


def test_filters_are_neither_true_nor_false():
    """`and`, `or`, `not` would silently take one side: they raise, and say what to write."""
    a, b = member("a").exists(), member("b").exists()
    for mistake in (lambda: a and b, lambda: a or b, lambda: not a, lambda: bool(a)):
        with pytest.raises(UsageError, match=r"& \| ~"):
            mistake()
    for mistake in (
        lambda: member("a") & b, lambda: a & member("b"), lambda: ~member("a"),
        lambda: member("a") or b, lambda: a & True, lambda: a | None, lambda: member("a") | a,
    ):  # fmt: skip
        with pytest.raises(UsageError):
            mistake()


def test_fields_are_not_compared_with_operators():
    """`==` would compare the field objects."""
    for mistake in (lambda: member("a") == "x", lambda: member("a") != "x"):
        with pytest.raises(UsageError, match="equals"):
            mistake()


@pytest.mark.parametrize(
    "mistake",
    [
        lambda: member(""), lambda: member("a..b"), lambda: member(5),
        lambda: member("a").equals(None), lambda: member("a").equals(1.5),
        lambda: member("a").equals(1 << 63), lambda: member("a").equals("\ud800"),
        lambda: member("a").is_in("abc"), lambda: member("a").is_in([None]),
        lambda: member("a").is_in([True]), lambda: member("a").is_in([1 << 64]),
        lambda: member("a").startswith(5), lambda: member("a").startswith(("a", 5)),
        lambda: member("a").contains_id("x"), lambda: member("a").contains_id(-1),
        lambda: member("a").contains_id(True), lambda: member("a").contains_id(1 << 63),
        lambda: in_guilds("123"), lambda: in_guilds([1.5]), lambda: ValueSet("abc"),
    ],
)  # fmt: skip
def test_what_can_never_hold_is_refused(mistake):
    """When the filter is written, with a UsageError."""
    with pytest.raises(UsageError):
        mistake()


def repeated(nest):
    for i in range(48):
        nest = ~(nest & member("x").equals(str(i)))


def test_long_chains_and_deep_nests():
    """A chain of thousands is flat; what would recurse too deep is refused as it is written."""
    chain = member("x").equals("0")
    for i in range(1, 3_000):
        chain = chain | member("x").equals(str(i))
    assert passes(chain, '{"x":"2999"}')
    assert not passes(chain, '{"x":"3000"}')
    nest = member("x").equals("0")
    for i in range(48):
        nest = ~(nest & member("x").equals(str(i)))
    assert passes(nest, '{"x":"no"}')
    with pytest.raises(UsageError, match="deep"):
        repeated(nest)


def test_value_sets_are_sets():
    """Against a set of Python's over thousands of changes; ints and texts are told apart."""
    rng, ours, theirs = random.Random(3), ValueSet(), set()
    for _ in range(rounds(30_000)):
        value = rng.choice(
            (rng.randrange(-500, 500), str(rng.randrange(500)), rng.randrange(1 << 62))
        )
        if rng.random() < 0.6:
            ours.add(value)
            theirs.add(value)
        else:
            ours.discard(value)
            theirs.discard(value)
    assert len(ours) == len(theirs)
    assert set(ours) == theirs
    assert all(value in ours for value in theirs)
    assert not any(value in ours for value in (501, "501", "x", -1000))
    ours.clear()
    assert (len(ours), list(ours)) == (0, [])


def test_value_sets_give_their_memory_back():
    """Texts that left a set, and sets that are gone, hold nothing."""
    before = sys.getallocatedblocks()
    for _ in range(20):
        values = ValueSet(str(i) for i in range(2_000))
        for i in range(0, 2_000, 2):
            values.discard(str(i))
        assert len(values) == 1_000
    del values
    assert abs(sys.getallocatedblocks() - before) < 50


# ---------------------------------------------------------------------------------- against oracles


def test_random_filters_over_random_data():
    """Thousands of filters over thousands of payloads: text and parsed value agree."""
    rng = random.Random(77)
    for _ in range(rounds(4_000)):
        text = json.dumps(
            random_data(rng), ensure_ascii=rng.random() < 0.5,
            separators=rng.choice(((",", ":"), (", ", ": "))),
        ).encode()  # fmt: skip
        filters = [random_filter(rng) for _ in range(3)]
        name = rng.choice(("X", "GUILD_CREATE"))
        assert Agreement(filters, Fields(*rng.sample(PATHS, 3)), name).check(text)


def test_random_filters_over_damaged_data():
    """With one thing wrong: what still is JSON without repeats agrees; nothing else escapes."""
    rng, agreed, count = random.Random(78), 0, rounds(4_000)
    for seed in range(count):
        if seed % 2:
            text = json.dumps(random_data(rng), separators=(",", ":")).encode()
        else:
            whole = generate_message(random.Random(seed), 1)
            text = whole[whole.find(b'"d":') + 4 : -1] or b"0"
        text = damage(rng, text)
        filters = [random_filter(rng) for _ in range(2)]
        agreed += Agreement(filters, Fields("id", "author.id")).check(text)
    assert agreed > count // 8


@settings(max_examples=3 * settings().max_examples)
@given(
    st.dictionaries(st.sampled_from(("id", "author", "content", "guild_id", "list")), json_values),
    st.integers(0, 2**32),
)
def test_any_filter_over_any_value(data, seed):
    """The same, found and shrunk by hypothesis."""
    text = json.dumps(data, separators=(",", ":")).encode()
    filters = [random_filter(random.Random(seed)) for _ in range(2)]
    assert Agreement(filters, Fields("id", "author.id")).check(text)
