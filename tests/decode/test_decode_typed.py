"""`event.decode(T)`: objects of the user's own types, errors that name the place, lenient text."""

from __future__ import annotations

import dataclasses
import gc
import subprocess
import sys
import typing

import msgspec
import pytest
from test_decode_event import event_of

from fastgw import Event, types
from fastgw._decode import Decoder, check_type
from fastgw.errors import DecodeError, UsageError
from fastgw.testing import Traffic

MESSAGE = '{"id":"1","author":{"id":"2","bot":true},"mentions":[{"id":"3"}],"content":"hé"}'


class Author(msgspec.Struct):
    id: int
    bot: bool = False


class Message(msgspec.Struct):
    id: str
    author: dict[str, typing.Any]
    content: str


@dataclasses.dataclass
class MessageData:
    id: str
    content: str
    missing: str = "default"


class MessageDict(typing.TypedDict):
    id: str
    content: str


class Mentions(typing.TypedDict):
    mentions: list[Author]


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (Message, Message("1", {"id": "2", "bot": True}, "hé")),
        (MessageData, MessageData("1", "hé")),
        (MessageDict, {"id": "1", "content": "hé"}),
        (typing.Any, msgspec.json.decode(MESSAGE)),
        (None, msgspec.json.decode(MESSAGE)),
    ],
)
def test_struct_dataclass_and_typed_dict(kind, expected):
    """Members that the type does not have are skipped."""
    assert event_of(MESSAGE).decode(kind) == expected


def test_each_call_makes_a_new_object():
    """Unlike `data`, which all handlers share."""
    event = event_of(MESSAGE)
    assert event.decode(Message) is not event.decode(Message)
    assert event.decode() is not event.data
    assert event.decode() == event.data


def test_an_event_whose_data_was_changed_decodes_what_came():
    """It reads the text, not the object that others may have changed."""
    event = event_of(MESSAGE)
    event.data["content"] = "other"
    assert event.decode(Message).content == "hé"


def test_large_data_is_read_without_a_copy():
    """Beyond the size at which a view is parsed; what keeps a part of it keeps the message."""

    class Large(msgspec.Struct):
        filler: msgspec.Raw

    event = event_of('{"filler":["' + "x" * 100_000 + '"]}')
    large = event.decode(Large)
    del event
    gc.collect()
    assert msgspec.json.decode(large.filler) == ["x" * 100_000]


@pytest.mark.parametrize(
    ("data", "path", "text"),
    [
        ('{"id":1,"author":{},"content":""}', "id", "Message at id: Expected `str`, got `int`"),
        ('{"id":"1","author":{}}', "", "Message: Object missing required field `content`"),
        ("[]", "", "Message: Expected `object`, got `array`"),
    ],
)
def test_what_does_not_fit_is_named(data, path, text):
    """With event, sequence, type and path."""
    with pytest.raises(DecodeError) as caught:
        event_of(data).decode(Message)
    assert str(caught.value) == f"data of MESSAGE_CREATE (sequence 7) is no {text}"
    assert (caught.value.name, caught.value.sequence) == ("MESSAGE_CREATE", 7)
    assert caught.value.path == path
    assert isinstance(caught.value.__cause__, msgspec.ValidationError)


def test_the_path_leads_through_lists():
    """As in the type: an index, then a key."""
    with pytest.raises(DecodeError) as caught:
        event_of(MESSAGE).decode(Mentions)
    assert caught.value.path == "mentions[0].id"


@pytest.mark.parametrize("kind", [None, Message, typing.Any])
@pytest.mark.parametrize("data", ['{"id":"1","author":{,"content":""}', '{"id":"1'])
def test_what_is_not_json_is_said_as_for_data(kind, data):
    """The same error, with the byte."""
    with pytest.raises(DecodeError) as expected:
        _ = event_of(data).data
    with pytest.raises(DecodeError) as caught:
        event_of(data).decode(kind)
    assert str(caught.value) == str(expected.value)
    assert caught.value.offset == expected.value.offset
    assert caught.value.path is None


@pytest.mark.parametrize("kind", [None, MessageDict])
def test_a_message_that_goes_on_behind_d(kind):
    """The template took what follows for data: the end is found before anything is wrong."""
    text = b'{"t":"X","s":7,"op":0,"d":{"id":"1","content":""},"more":{}}'
    event = Decoder().feed(text, 1)
    assert event.decode(kind) == {"id": "1", "content": ""}


@pytest.mark.parametrize("kind", ["Message", {}, dict | MessageDict | Message, 5])
def test_what_is_no_type_is_refused(kind):
    """With what was given; also when it is registered."""
    with pytest.raises(UsageError, match="is not a type to decode into"):
        event_of(MESSAGE).decode(kind)
    with pytest.raises(UsageError, match="is not a type to decode into"):
        check_type(kind)


def test_an_error_of_the_types_own_code_is_passed_on():
    """Only those of the data are ours to say."""

    class Broken(msgspec.Struct):
        id: str

        def __post_init__(self):
            raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        event_of(MESSAGE).decode(Broken)


def test_without_msgspec_it_says_what_to_install():
    """It is an extra; without a type nothing is needed."""
    code = """
import sys
class NotThere:
    def find_spec(self, name, path=None, target=None):
        if name == "msgspec":
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, NotThere())
from fastgw._decode import Decoder
event = Decoder().feed(b'{"t":"X","s":9,"op":0,"d":[1]}', 1)
assert event.decode(lenient=True) == [1]
event.decode(list)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    last = done.stderr.strip().splitlines()[-1]
    assert last.endswith(
        "UsageError: decoding into a type needs msgspec: pip install 'fastgw[msgspec]'"
    )


# ---------------------------------------------------------------------------- lenient

LONE = [
    (r'"a\ud800b"', "a\ufffdb"),
    (r'"a\uDC00b"', "a\ufffdb"),
    (r'"\ud83d\ude00"', "\U0001f600"),
    (r'"\ud83d\ud83d\ude00"', "\ufffd\U0001f600"),
    (r'"\\ud800"', r"\ud800"),
    (r'"\\\ud800"', "\\\ufffd"),
    (r'"\n\"\u00e9\/"', '\n"é/'),
    (b'"a\xed\xa0\x80b"', "a\ufffd\ufffd\ufffdb"),
    (b'"\xff"', "\ufffd"),
    ('"\U0001f600"', "\U0001f600"),
]


@pytest.mark.parametrize(("data", "expected"), LONE)
@pytest.mark.parametrize("kind", [None, str])
def test_lenient_text(data, expected, kind):
    """What is alone, or no UTF-8, becomes U+FFFD; all else stays."""
    assert event_of(data).decode(kind, lenient=True) == expected


@pytest.mark.parametrize("data", [r'"a\ud800b"', b'"a\xed\xa0\x80b"'])
def test_strict_text_names_the_way_out(data):
    """`data` refuses it, and says what reads it."""
    for read in (lambda event: event.data, lambda event: event.decode(str)):
        with pytest.raises(DecodeError, match=r"surrogate.*; decode\(lenient=True\) reads it"):
            read(event_of(data))


def test_lenient_does_not_mend_json():
    """What is no JSON for another reason is still refused."""
    with pytest.raises(DecodeError, match=r"MESSAGE_CREATE \(sequence 7\) is not JSON"):
        event_of(r'["\ud800",').decode(lenient=True)


# ---------------------------------------------------------------------------- types


def test_an_event_of_a_type_is_an_annotation():
    """`Event[types.MessageCreate]` may stand in what runs."""
    assert typing.get_args(Event[types.MessageCreate]) == (types.MessageCreate,)
    assert typing.get_origin(Event[types.MessageCreate]) is Event


@pytest.mark.parametrize("name", ["MESSAGE_CREATE", "GUILD_CREATE", "INTERACTION_CREATE"])
def test_our_own_types_are_decoded_into(name):
    """As dicts, without what they do not have."""
    dispatch = Traffic(seed=3, guilds=5).dispatch(name)
    event = event_of(dispatch.data, name)
    decoded = event.decode(types.PAYLOADS[name])
    assert decoded["id"] == event.data["id"]
    assert decoded.keys() <= event.data.keys()
