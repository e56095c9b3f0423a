"""Event: lazy data, certain guild id, errors that name the place, pickling, lifetime."""

import copy
import gc
import json
import pickle
import weakref

import pytest

from fastgw._decode import Decoder, Event
from fastgw.errors import DecodeError

TEXT = 1


def event_of(data, name="MESSAGE_CREATE", sequence=7, **options):
    """An event whose d is `data`, by the template."""
    data = data if isinstance(data, bytes) else data.encode()
    text = b'{"t":"%s","s":%d,"op":0,"d":%s}' % (name.encode(), sequence, data)
    return Decoder(**options).feed(text, TEXT)


def walked(data, name="MESSAGE_CREATE"):
    """The same by the walk."""
    data = data if isinstance(data, bytes) else data.encode()
    return Decoder().feed(b'{"op":0,"d":%s,"s":7,"t":"%s"}' % (data, name.encode()), TEXT)


def test_attributes():
    """Name, sequence, shard and time of receipt."""
    decoder = Decoder(shard_id=5)
    decoder.received_at = 12.5
    event = decoder.feed(b'{"t":"X","s":9,"op":0,"d":{}}', TEXT)
    assert (event.name, event.sequence, event.shard_id, event.received_at) == ("X", 9, 5, 12.5)


def test_data_is_cached():
    """All handlers see one object."""
    event = event_of('{"a":[1]}')
    assert event.data is event.data
    event.data["a"].append(2)
    assert event.data == {"a": [1, 2]}


def test_data_may_be_null():
    """None is a value like others, parsed once."""
    assert event_of("null").data is None


def test_large_data():
    """Beyond the size at which orjson reads through a view."""
    value = {"k": ["ü" * 10, 1.5] * 20_000}
    assert event_of(json.dumps(value)).data == value


def test_raw_is_the_text_of_d():
    """Bytes of d alone, equal at each call."""
    event = event_of('{"a": "ü"}')
    assert event.raw == event.raw == '{"a": "ü"}'.encode()
    assert type(event.raw) is bytes


def test_data_outlives_its_decoder():
    """An event owns what it needs."""
    decoder = Decoder()
    event = decoder.feed(b'{"t":"X","s":9,"op":0,"d":{"a":1}}', TEXT)
    decoder.feed(b'{"t":"Y","s":10,"op":0,"d":{"b":22}}', TEXT)
    del decoder
    assert (event.data, event.name) == ({"a": 1}, "X")


@pytest.mark.parametrize("name", ["name", "sequence", "shard_id", "guild_id", "raw", "data",
                                  "received_at"])  # fmt: skip
def test_read_only(name):
    """Attributes are neither set nor deleted, and no new ones made."""
    event = event_of("{}")
    with pytest.raises(AttributeError):
        setattr(event, name, 1)
    with pytest.raises(AttributeError):
        delattr(event, name)
    with pytest.raises(AttributeError):
        event.other = 1


def test_not_constructible():
    """Events come from a decoder, and the class is final."""
    with pytest.raises(TypeError):
        Event()
    with pytest.raises(TypeError):
        type("Mine", (Event,), {})


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickle(protocol):
    """An event crosses process boundaries with everything but the parsed object's identity."""
    event = event_of('{"a":1,"guild_id":"55"}', shard_id=3)
    assert event.data
    other = pickle.loads(pickle.dumps(event, protocol))
    assert type(other) is Event
    for name in ("name", "sequence", "shard_id", "guild_id", "raw", "data", "received_at"):
        assert getattr(other, name) == getattr(event, name)


def test_pickle_of_what_does_not_parse():
    """Pickling does not look into d."""
    other = pickle.loads(pickle.dumps(event_of("{bad}")))
    with pytest.raises(DecodeError):
        _ = other.data


def test_copy():
    """copy makes an event of its own."""
    event = event_of('{"a":1}')
    assert copy.copy(event).data == copy.deepcopy(event).data == {"a": 1}


def test_repr_shows_no_payload():
    """Logs get the name and numbers, not what users wrote."""
    event = event_of('{"content":"secret"}', shard_id=2)
    assert repr(event) == "<Event MESSAGE_CREATE sequence=7 shard_id=2>"
    assert event.data
    assert "secret" not in repr(event)


# -------------------------------------------------------------------------------------- guild id

GUILD = 175928847299117063


@pytest.mark.parametrize(
    ("data", "guild_id"),
    [
        (f'{{"content":"hello world, long enough","guild_id":"{GUILD}"}}', GUILD),
        (f'{{"guild_id":"{GUILD}"}}', GUILD),
        (f'{{"guild_id":"{GUILD}","content":"x"}}', GUILD),
        (f'{{"guild_id":{GUILD}}}', GUILD),
        (f'{{"a":1,"gu\\u0069ld_id":"{GUILD}","b":2}}', GUILD),
        ('{"guild_id":"\\u0031\\u0032","b":2}', 12),
        (f'{{ "a" : [ ] , "guild_id" : "{GUILD}" }}', GUILD),
        ('{"guild_id":"0"}', 0),
        (f'{{"guild_id":"{2**63 - 1}"}}', 2**63 - 1),
        (f'{{"guild_id":"{2**63}"}}', None),
        ('{"guild_id":"99999999999999999999999999"}', None),
        ('{"guild_id":null}', None),
        ('{"guild_id":""}', None),
        ('{"guild_id":"12a"}', None),
        ('{"guild_id":"-5"}', None),
        ('{"guild_id":1.0}', None),
        ('{"guild_id":true}', None),
        ('{"guild_id":["5"]}', None),
        ('{"guild_id":"\\ud800"}', None),
        ('{"content":"no guild here at all, but long"}', None),
        ('{"\\ud800":1,"guild_id":"5"}', None),
        ("[]", None),
        ("null", None),
        (f'[{{"guild_id":"{GUILD}"}}]', None),
        ("{", None),
        ('{"guild_id":', None),
    ],
)
@pytest.mark.parametrize("make", [event_of, walked])
def test_guild_id(make, data, guild_id):
    """d.guild_id as a number where it is one; otherwise None, never an error."""
    if make is walked and data in ("{", '{"guild_id":'):
        with pytest.raises(DecodeError):
            make(data)
        return
    assert make(data).guild_id == guild_id


@pytest.mark.parametrize(
    "data",
    [
        f'{{"message_reference":{{"channel_id":"1","guild_id":"{GUILD}"}}}}',
        f'{{"message_reference":{{"guild_id":"{GUILD}"}},"content":"x"}}',
        f'{{"identity_guild_id":"{GUILD}"}}',
        f'{{"content":"a long text, then this \\",\\"guild_id\\":\\"{GUILD}\\"}}"}}',
        f'{{"list":[{{"channel_id":"1","guild_id":"{GUILD}"}}]}}',
        f'{{"content":"text that ends in a backslash \\\\","x":",guild_id:{GUILD}"}}',
    ],
)
@pytest.mark.parametrize("make", [event_of, walked])
def test_guild_id_of_something_else(make, data):
    """An id inside a nested object or a text is not the event's."""
    assert make(data).guild_id is None


@pytest.mark.parametrize("name", ["GUILD_CREATE", "GUILD_UPDATE", "GUILD_DELETE"])
@pytest.mark.parametrize("make", [event_of, walked])
def test_guild_id_of_a_guild(make, name):
    """Where d is the guild, its id is the guild id."""
    assert make(f'{{"roles":[{{"id":"1"}}],"id":"{GUILD}","x":1}}', name=name).guild_id == GUILD
    assert make(f'{{"guild_id":"{GUILD}"}}', name=name).guild_id is None


def test_other_events_do_not_take_the_id():
    """d.id of a message is the message's."""
    assert event_of(f'{{"id":"{GUILD}"}}', name="GUILD_ROLE_CREATE").guild_id is None


def test_guild_id_needs_no_parsing():
    """It is known for an event whose d does not parse, too."""
    event = event_of(f'{{"broken":tru,"filler":"xxxxxxxxxxxx","guild_id":"{GUILD}"}}')
    assert event.guild_id == GUILD
    with pytest.raises(DecodeError):
        _ = event.data


# ---------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("data", "offset"),
    [
        (b'{"a":tru}', 5),
        ('{"é":"\U0001f600","b":tru}'.encode(), len('{"é":"\U0001f600","b":'.encode())),
        (b'{"a":"\xff"}', 6),
        (b'{"a":"ok","b":"\xc3"}', 15),
        (b'{"a":"\xed\xa0\x80"}', 6),
        ('{"é":"'.encode() + b'\xf0\x9f"}', len('{"é":"'.encode())),
        (b'{"a":1]', 6),
    ],
)
@pytest.mark.parametrize("make", [event_of, walked])
def test_bad_data_says_where(make, data, offset):
    """The error names event, sequence and byte offset in d (orjson counts characters)."""
    event = make(data)
    with pytest.raises(DecodeError) as caught:
        _ = event.data
    error = caught.value
    # orjson points at the first or a later letter of a bad literal; both are in it
    assert offset <= error.offset <= offset + 3
    assert (error.name, error.sequence) == ("MESSAGE_CREATE", 7)
    assert "MESSAGE_CREATE" in str(error)
    assert str(error.offset) in str(error)
    assert isinstance(error.__cause__, ValueError)


def test_bad_utf8_offset_is_exact():
    """orjson says 0 for bad UTF-8; the byte is found all the same."""
    with pytest.raises(DecodeError) as caught:
        _ = event_of('{"ü":"'.encode() + b'abc\xfe"}').data
    assert caught.value.offset == 10


def test_bad_data_raises_each_time():
    """A failure is not remembered as a value."""
    event = event_of("{bad}")
    for _ in range(2):
        with pytest.raises(DecodeError):
            _ = event.data


def test_bad_data_does_not_disturb_the_connection():
    """case 45: the decoder goes on, the sequence has moved, the raw text is there to look at."""
    decoder = Decoder()
    event = decoder.feed(b'{"t":"X","s":1,"op":0,"d":{"a":"\\ud800"}}', TEXT)
    with pytest.raises(DecodeError):
        _ = event.data
    assert event.raw == b'{"a":"\\ud800"}'
    assert decoder.feed(b'{"t":"X","s":2,"op":0,"d":{}}', TEXT).data == {}
    assert decoder.sequence.last == 2


# -------------------------------------------------------------------------------------- lifetime


def test_free_list_gives_clean_events():
    """A recycled event shows nothing of its predecessor."""
    decoder = Decoder()
    first = decoder.feed(b'{"t":"X","s":1,"op":0,"d":{"guild_id":"5","a":1}}', TEXT)
    assert (first.data["a"], first.guild_id) == (1, 5)
    del first
    second = decoder.feed(b'{"t":"Y","s":2,"op":0,"d":[]}', TEXT)
    assert (second.name, second.guild_id, second.data, second.raw) == ("Y", None, [], b"[]")


def test_event_lets_go_of_its_data():
    """What was parsed dies with the event."""

    class Kept(list):
        pass

    event = event_of('{"a":[]}')
    kept = Kept()
    event.data["a"] = kept
    watch = weakref.ref(kept)
    del event, kept
    assert watch() is None


def test_events_are_not_tracked_by_the_collector():
    """Hundreds of thousands of events cost the garbage collector nothing."""
    assert not gc.is_tracked(event_of("{}"))
