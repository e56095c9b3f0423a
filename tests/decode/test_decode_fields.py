"""Fields: values out of d without parsing it, and never another value than parsing gives."""

from __future__ import annotations

import contextlib
import enum
import json
import random
import sys

import orjson
import pytest
from effort import rounds
from hypothesis import given, settings
from hypothesis import strategies as st
from reference_fields import read_fields
from strategies import JUNK, damage, generate_message, json_values

from fastgw._decode import Decoder, Fields
from fastgw.errors import DecodeError, UsageError

TEXT = 1


def event_of(data, name="MESSAGE_CREATE"):
    """An event whose d is `data`, by the template."""
    data = data if isinstance(data, bytes) else data.encode()
    return Decoder().feed(b'{"t":"%s","s":7,"op":0,"d":%s}' % (name.encode(), data), TEXT)


def holding(data):
    """An event whose d is any text at all: one that was pickled."""
    restore, arguments = event_of("{}").__reduce__()
    return restore(*arguments[:-1], data)


def walked(data):
    """The same by the walk."""
    data = data if isinstance(data, bytes) else data.encode()
    return Decoder().feed(b'{"op":0,"d":%s,"s":7,"t":"X"}' % data, TEXT)


MESSAGE = (
    '{"type":0,"pinned":false,"mentions":[],"member":{"roles":["1","2"],"nick":null},'
    '"id":"11","content":"héllo \\"you\\"","channel_id":"22","author":{"username":"ü","id":"33",'
    '"bot":true},"nonce":12345678901234567890123,"n":-5,"f":1.5,"guild_id":"44"}'
)


@pytest.mark.parametrize("make", [event_of, walked])
@pytest.mark.parametrize(
    ("paths", "values"),
    [
        (("channel_id", "author.id", "content"), ("22", "33", 'héllo "you"')),
        (("content", "channel_id"), ('héllo "you"', "22")),
        (("type", "pinned", "author.bot", "member.nick"), (0, False, True, None)),
        (("n", "f", "nonce"), (-5, 1.5, 12345678901234567890123.0)),
        (("mentions", "member.roles"), ([], ["1", "2"])),
        (("author",), ({"username": "ü", "id": "33", "bot": True},)),
        (("author", "author.id", "author"), ({"username": "ü", "id": "33", "bot": True}, "33") * 2),
        (("author.username",), ("ü",)),
        (("nothing", "author.nothing", "member.nick.x", "type.x", "mentions.x"), (None,) * 5),
        (("guild_id", "nothing", "id"), ("44", None, "11")),
    ],
)
def test_read(make, paths, values):
    """Values are those of the data, in the order of the paths."""
    read = make(MESSAGE).read(Fields(*paths))
    assert read == values[: len(paths)]
    assert list(map(type, read)) == list(map(type, values[: len(paths)]))


def test_reading_parses_nothing():
    """What is wrong in members that nobody reads is not seen; behind the last one nothing is."""
    event = event_of('{"bad":tru,"id":"1","worse":[}],"x":')
    assert event.read(Fields("id")) == ("1",)
    with pytest.raises(DecodeError):
        _ = event.data


def test_get_reads_one():
    """The same for one path, compiled at its first use."""
    event = event_of(MESSAGE)
    assert (event.get("author.id"), event.get("nothing"), event.get("n")) == ("33", None, -5)
    assert event.get("nothing", missing=0) == event.get("nothing", 0) == 0


class Path(str, enum.Enum):
    """Paths as a program may keep them."""

    AUTHOR = "author.id"


def test_get_takes_a_member_of_an_enum_of_strings():
    """As Fields and field() do; anything else is told as a mistake."""
    event = event_of(MESSAGE)
    assert event.get(Path.AUTHOR) == event.get("author.id") == "33"
    for path in (None, 5, ["a"]):
        with pytest.raises(UsageError, match="a path is a str such as"):
            event.get(path)


def test_many_paths_of_get_do_not_stay():
    """A program that makes paths up does not fill the memory with them."""
    event = event_of('{"id":"1"}')
    for i in range(3_000):
        assert event.get(f"key{i}") is None
    assert event.get("id") == "1"


@pytest.mark.parametrize("decoded", [False, True])
def test_missing_is_told_from_null(decoded):
    """A member that is not there, or below what is no object; null is None in any case."""
    event = event_of('{"a":null,"b":{"c":null},"d":[1],"e":5}')
    if decoded:
        assert event.data
    fields = Fields("a", "b.c", "x", "b.x", "a.x", "d.0", "e.x")
    assert event.read(fields, missing="-") == (None, None, "-", "-", "-", "-", "-")
    assert event.read(fields) == (None,) * 7


@pytest.mark.parametrize("data", ["[]", "null", "5", '"id"', "true"])
def test_data_that_is_no_object_has_no_fields(data):
    """Any JSON is data; only an object has members."""
    assert event_of(data).read(Fields("id"), missing=1) == (1,)


@pytest.mark.parametrize("make", [event_of, walked])
def test_members_behind_d_are_not_read(make):
    """The walk ends with d, also where the template cannot promise that d is the last member."""
    assert event_of('{"a":1},"id":"9","x":{"b":2}').read(Fields("id", "b", "a")) == (None, None, 1)
    assert event_of('[1],"id":"9"').read(Fields("id")) == (None,)


def test_first_of_repeated_members():
    """If the walk ends before it sees the second, the first counts; else the last, as in data."""
    text = '{"id":1,"x":2,"id":3}'
    assert event_of(text).read(Fields("id")) == (1,)
    assert event_of(text).read(Fields("id", "x")) == (1, 2)
    assert event_of(text).read(Fields("id", "y")) == (3, None)
    nested = '{"a":{"id":1,"id":2},"b":3,"a":{"id":4}}'
    assert event_of(nested).read(Fields("a.id")) == (1,)
    assert event_of(nested).read(Fields("a.id", "b")) == (1, 3)
    assert event_of(nested).read(Fields("a.id", "z")) == (4, None)
    assert event_of(nested).read(Fields("a", "a.id")) == ({"id": 2}, 1)


def test_escaped_keys_are_parsed():
    """A key on the path may be spelt with escapes; then d is parsed."""
    assert event_of('{"\\u0069d":"1","x":2}').read(Fields("id")) == ("1",)
    assert event_of('{"a":{"\\u0069d":"1"},"id":3}').read(Fields("a.id", "id")) == ("1", 3)
    # In an object that no path leads into, keys do not matter.
    assert event_of('{"a":{"\\ud800":1},"id":3}').read(Fields("id")) == (3,)
    assert event_of('{"a\\"b":1}').read(Fields('a"b')) == (1,)


def test_keys_of_any_script():
    """Keys are compared as UTF-8."""
    assert event_of('{"ключ":{"鍵":1}}').read(Fields("ключ.鍵")) == (1,)


BAD = [
    b'{"id":tru}',
    b'{"id":"\xff"}',
    b'{"id":"\xed\xa0\x80"}',
    b'{"id":"a\nb"}',
    b'{"id":007}',
    b'{"id":[1,}',
    b'{"id":"\\x"}',
    b'{"id" 5}',
    b'{"id',
    b'{"id":',
    b'{"x":[}],"id":5',
    b'{"x":1 "id":5}',
    b"{,",
    b"",
    b" ",
]


@pytest.mark.parametrize("data", BAD)
@pytest.mark.parametrize("is_nested", [False, True])
def test_errors_are_those_of_data(data, is_nested):
    """What is wrong in or before the members read raises the DecodeError that event.data raises."""
    path = "a.id" if is_nested else "id"
    data = b'{"a":' + data + b"}" if is_nested else data
    errors = []
    for ask in (lambda e: e.read(Fields(path, "z")), lambda e: e.get(path), lambda e: e.data):
        with pytest.raises(DecodeError) as caught:
            ask(holding(data))
        errors.append((str(caught.value), caught.value.offset, caught.value.name))
    assert errors[0] == errors[1] == errors[2]


@pytest.mark.parametrize("value", ["5", "-", "tru", '"a', "[1", "null"])
def test_a_value_that_the_text_breaks_off_in_is_none(value):
    """Nobody knows what would have followed, so 5 is not read where 51 may have stood."""
    with pytest.raises(DecodeError):
        holding(f'{{"id":{value}'.encode()).get("id")


def test_data_that_was_parsed_is_indexed():
    """Who changed the data reads what it was changed to."""
    event = event_of('{"id":1,"a":{"b":2}}')
    event.data["id"] = 5
    event.data["a"]["b"] = "six"
    assert event.read(Fields("id", "a.b")) == (5, "six")


def test_strings_of_any_length_and_script():
    """Plain, non-ASCII and escaped strings at every length around the blocks of the scan."""
    for size in (*range(70), 127, 128, 1_000):
        for letter in ("a", "é", "漢", "😀", "\n", '"', "\\", "\x7f"):
            value = "x" * (size // 2) + letter * min(size, 3) + "y" * (size // 3)
            for ascii_only in (False, True):
                data = json.dumps({"a": value, "b": value[:5]}, ensure_ascii=ascii_only)
                assert event_of(data).read(Fields("b", "a")) == (value[:5], value)


NUMBERS = ["0", "-0", "7", "-7", "1e3", "1.0", "-1.5E-7"]
NUMBERS += [
    str(n)
    for n in (
        10**17,
        10**18 - 1,
        10**18,
        2**63 - 1,
        2**63,
        2**64 - 1,
        2**64,
        -(2**63),
        -(2**63) - 1,
    )
]


@pytest.mark.parametrize("number", NUMBERS)
def test_numbers(number):
    """Numbers are those of orjson, in value and type."""
    expected = orjson.loads(number)
    for data in (f'{{"n":{number},"x":1}}', f'{{"x":1,"n": {number} }}'):
        (value,) = event_of(data).read(Fields("n"))
        assert (value, type(value)) == (expected, type(expected))


def test_many_fields():
    """More paths than have room on the C stack, deep ones and shared beginnings among them."""
    data = {f"k{i}": {"a": i, "b": {"c": -i}} for i in range(200)}
    paths = [f"k{i}.{rest}" for i in range(200) for rest in ("a", "b.c", "b", "x")]
    random.Random(4).shuffle(paths)
    expected = read_fields(json.dumps(data).encode(), paths)
    assert event_of(json.dumps(data)).read(Fields(*paths)) == expected


def test_fields_are_values():
    """They compare and hash by their paths, and show them."""
    assert Fields("a", "b") == Fields("a", "b") != Fields("b", "a")
    assert len({Fields("a"), Fields("a"), Fields("b")}) == 2
    assert Fields("a") != "a"
    assert (repr(Fields("a", "b.c")), len(Fields("a", "b.c"))) == ("Fields('a', 'b.c')", 2)
    assert Fields("a", "b.c").paths == ("a", "b.c")


@pytest.mark.parametrize(
    "paths",
    [(), ("",), (".",), ("a.",), (".a",), ("a..b",), (5,), (None,), (("a", "b"),), ("\ud800",),
     (".".join("a" * 33),)],
)  # fmt: skip
def test_what_is_no_path(paths):
    """Refused when it is compiled, with a word on what a path looks like."""
    with pytest.raises(UsageError):
        Fields(*paths)


def test_read_takes_compiled_fields():
    """A str would be a path of letters."""
    with pytest.raises(TypeError):
        event_of("{}").read("id")


def test_reading_leaves_nothing_behind():
    """Blocks of memory before and after many reads of all kinds."""
    texts = [MESSAGE, '{"id":tru}', '{"\\u0069d":1,"author":{"id":[1,2]}}', "[]", '{"id":1,"id":2}']
    fields = Fields("channel_id", "author.id", "author", "id", "content")

    def read_all():
        for text in texts:
            with contextlib.suppress(DecodeError):
                event_of(text).read(fields)

    for _ in range(50):
        read_all()
    before = sys.getallocatedblocks()
    for _ in range(2_000):
        read_all()
    assert abs(sys.getallocatedblocks() - before) < 50


# ---------------------------------------------------------------------------------- against oracles

PATHS = ("id", "guild_id", "author", "author.id", "member.id", "t", "content", "é", "d.op", "s.s.s")


def outcome(ask):
    try:
        return ask()
    except (DecodeError, orjson.JSONDecodeError):
        return "error"


def check(data: bytes, paths, missing=None):
    """The compiled reading of a text is that of the reference, errors included."""
    event = holding(data)
    expected = outcome(lambda: read_fields(data, paths, missing))
    got = outcome(lambda: event.read(Fields(*paths), missing=missing))
    assert got == expected, (data, paths)
    assert repr(got) == repr(expected), (data, paths)  # 1 and True, 1 and 1.0 are equal


def data_of(message: bytes) -> bytes:
    """The text of d of a generated message."""
    event = Decoder().feed(message, TEXT)
    return event.raw if hasattr(event, "raw") else b"{}"


def test_generated_and_damaged_texts():
    """The same as the reference for thousands of texts, whole and damaged."""
    rng = random.Random(10)
    for seed in range(rounds(6_000)):
        try:
            data = data_of(generate_message(random.Random(seed), 1))
        except DecodeError:
            continue
        paths = rng.sample(PATHS, rng.randrange(1, 5))
        check(data, paths)
        check(damage(rng, data) or b"0", paths, missing="?")


def test_every_single_byte_change():
    """Each byte of a text replaced by each of those that JSON cares about."""
    data = b'{"a":[1,{"id":2}],"id":"x\\n","author":{"id":-5,"x":"\xc3\xa9"},"t":true}'
    for at in range(len(data)):
        for byte in b'"\\{}[],: 0a\x00\xff\n-.':
            changed = data[:at] + bytes((byte,)) + data[at + 1 :]
            check(changed, ("id", "author.id", "t"))
            check(changed, ("author", "author.x", "nothing"))


def test_every_truncation():
    """Each beginning of a text, in memory that ends there."""
    data = MESSAGE.encode()
    for end in range(1, len(data)):
        check(data[:end], ("author.id", "guild_id"))


@settings(max_examples=3 * settings().max_examples)
@given(
    st.dictionaries(
        st.sampled_from(
            ("id", "guild_id", "author", "member", "t", "d", "s", "op", "é", "content")
        ),
        json_values,
    ),
    st.lists(st.sampled_from(PATHS), min_size=1, max_size=5),
    st.booleans(),
)
def test_any_value(data, paths, ascii_only):
    """For valid JSON, reading is parsing and indexing."""
    text = json.dumps(data, ensure_ascii=ascii_only, separators=(",", ":")).encode()
    parsed = orjson.loads(text)
    event = event_of(text)
    expected = []
    for path in paths:
        value = parsed
        for key in path.split("."):
            value = value.get(key) if isinstance(value, dict) else None
        expected.append(value)
    assert event.read(Fields(*paths)) == tuple(expected)


def test_junk_inserted_anywhere():
    """Pieces that break JSON at every place of a text."""
    data = b'{"guild_id":"1","author":{"id":"2","y":[{}]},"id":3}'
    for junk in JUNK:
        for at in range(len(data)):
            check(data[:at] + junk + data[at:], ("id", "author.id", "guild_id"))
