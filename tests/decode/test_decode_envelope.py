"""The envelope scanner: never a wrong route; the sequence always advances; who wants what."""

import json

import pytest

from fastgw._decode import Decoder, Event, Interests, Message, Sequence
from fastgw.errors import DecodeError

TEXT = 1


def feed(text, **options):
    return Decoder(**options).feed(text if isinstance(text, bytes) else text.encode(), TEXT)


def dispatch(name="X", sequence=1):
    return b'{"t":"%s","s":%d,"op":0,"d":{}}' % (name.encode(), sequence)


# --------------------------------------------------------------------------------------- reading


def test_template():
    """What Discord sends, byte for byte."""
    event = feed('{"t":"MESSAGE_CREATE","s":42,"op":0,"d":{"id":"7"}}')
    assert (event.name, event.sequence, event.raw) == ("MESSAGE_CREATE", 42, b'{"id":"7"}')


@pytest.mark.parametrize("name", ["X", ""])
def test_shortest_template(name):
    """One character each for sequence and data, one or none for the name."""
    event = feed(f'{{"t":"{name}","s":5,"op":0,"d":7}}')
    assert (event.name, event.sequence, event.data) == (name, 5, 7)


@pytest.mark.parametrize("name", ["", "X", "MESSAGE_CREATE"])
def test_template_without_data_is_an_error(name):
    """`"d":}` is not JSON, however well the rest fits."""
    with pytest.raises(DecodeError):
        feed(f'{{"t":"{name}","s":1,"op":0,"d":}}')


def test_template_ends_where_the_message_ends():
    """Bytes behind the message that would complete it are not looked at."""
    whole = b'{"t":"MESSAGE_CREATE","s":12,"op":0,"d":{"guild_id":"175"}}'
    for end in range(len(whole) - 1):
        with pytest.raises(DecodeError):
            Decoder().feed(memoryview(whole)[:end], TEXT)
    with pytest.raises(DecodeError):
        _ = Decoder().feed(memoryview(whole)[:-1], TEXT).data
    assert Decoder().feed(memoryview(whole + b"}")[:-1], TEXT).guild_id == 175


@pytest.mark.parametrize("order", ["tsopd", "dopst", "opdts", "stdop"])
@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": "), ("\n,\t", " :\r")])
def test_any_key_order_and_spacing(order, separators):
    """Mocks and proxies write other orders; the event is the same."""
    values = {"t": "X", "s": 5, "op": 0, "d": {"t": "READY", "op": 7, "d": [{"s": 9}]}}
    members = dict(sorted(values.items(), key=lambda item: order.index(item[0])))
    event = feed(json.dumps(members, separators=separators))
    assert (event.name, event.sequence, event.data) == ("X", 5, values["d"])


@pytest.mark.parametrize("space", [b" ", b"\n", b"\t", b"\r\n  "])
@pytest.mark.parametrize("place", range(11))
def test_white_space_anywhere_in_the_template(place, space):
    """White space between any two tokens changes nothing."""
    pieces = [b"{", b'"t":', b'"X"', b",", b'"s":5', b',"op":', b"0", b',"d":', b'{"guild_id":"8"}',
              b"}", b""]  # fmt: skip
    pieces.insert(place, space)
    event = feed(b"".join(pieces))
    assert (event.name, event.sequence, event.guild_id) == ("X", 5, 8)
    assert (event.data, event.raw.strip()) == ({"guild_id": "8"}, b'{"guild_id":"8"}')


def test_nested_envelope_does_not_route():
    """A `t` inside d, or inside a string, is not the message's."""
    text = '{"d":{"t":"READY","op":10,"x":"\\",\\"t\\":\\"READY\\""},"op":0,"s":3,"t":"X"}'
    assert feed(text).name == "X"


def test_nested_envelope_in_a_template_does_not_route():
    """Nor when the message fits the template."""
    text = '{"t":"X","s":3,"op":0,"d":{"t":"READY","s":9,"op":0,"d":{}}}'
    assert (feed(text).name, feed(text).sequence) == ("X", 3)


@pytest.mark.parametrize(
    "data", ["{}", "[]", "[1,[2]]", "true", "false", "null", "0", "-1.5e3", '"text"', '"a\\"}b"']
)
@pytest.mark.parametrize("form", ['{"t":"X","s":1,"op":0,"d":%s}', '{"d":%s,"op":0,"s":1,"t":"X"}'])
def test_data_of_any_type(form, data):
    """case 44: d may be any JSON value."""
    event = feed(form % data)
    assert (event.raw, event.data) == (data.encode(), json.loads(data))


@pytest.mark.parametrize(
    ("text", "sequence"),
    [
        ("0", 0),
        ("1", 1),
        (str(2**32 + 7), 2**32 + 7),
        (str(10**17), 10**17),
        (str(10**18), 10**18),
        (str(2**63 - 1), 2**63 - 1),
        (str(2**63), None),
        (str(2**64), None),
        ("1" + "0" * 300, None),
        ("null", None),
        ("-1", None),
        ("1.0", None),
        ("1e3", None),
        ('"7"', None),
        ("true", None),
        ("[1]", None),
    ],
)
@pytest.mark.parametrize("form", ['{"t":"X","s":%s,"op":0,"d":0}', '{"op":0,"s":%s,"d":0,"t":"X"}'])
def test_sequences(form, text, sequence):
    """Integers from 0 to 2^63 - 1 are sequences; anything else is none, and moves nothing."""
    decoder = Decoder()
    event = decoder.feed((form % text).encode(), TEXT)
    assert event.sequence == (-1 if sequence is None else sequence)
    assert decoder.sequence.last == sequence


def test_leading_zero_is_not_a_sequence():
    """007 is not JSON: a damaged envelope is an error, not a guess."""
    with pytest.raises(DecodeError):
        feed('{"t":"X","s":007,"op":0,"d":0}')


def test_escapes_in_keys_and_name():
    """Escaped characters mean what they mean."""
    text = '{"\\u0074":"\\u0058","\\u0073":1,"o\\u0070":0,"\\u0064":{}}'
    event = feed(text, interests=["X"])
    assert (event.name, event.sequence, event.raw) == ("X", 1, b"{}")


def test_escaped_name_is_not_routed_by_its_spelling():
    """`"A\\\\B"` on the wire is the name A\\B, not a name with two backslashes."""
    text = r'{"t":"A\\B","s":1,"op":0,"d":{}}'
    assert feed(text, interests=[r"A\\B"]) is None
    assert feed(text, interests=[r"A\B"]).name == r"A\B"


def test_unicode_name():
    """Names are compared as text, whatever their spelling."""
    assert feed('{"t":"Ä","s":1,"op":0,"d":{}}', interests=["Ä"]).name == "Ä"
    assert feed('{"t":"\\u00c4","s":1,"op":0,"d":{}}', interests=["Ä"]).name == "Ä"


def test_repeated_members():
    """The last of repeated members counts, as everywhere in Python."""
    text = '{"t":"A","op":10,"s":1,"d":1,"t":"B","op":0,"s":2,"d":2}'
    event = feed(text)
    assert (event.name, event.sequence, event.data) == ("B", 2, 2)


def test_members_nobody_asked_for():
    """case 45: further members are stepped over, before, between and behind ours."""
    text = '{"a":{"op":9},"t":"X","b":["t"],"s":1,"op":0,"c":"d","d":{"x":1},"e":{"d":5}}'
    event = feed(text)
    assert (event.name, event.raw) == ("X", b'{"x":1}')


def test_member_behind_a_template():
    """A message that fits the template and goes on: d ends where its value ends."""
    text = b'{"t":"X","s":1,"op":0,"d":{"x":1},"e":{"y":2}}'
    assert feed(text).data == {"x": 1}
    assert feed(text).raw == b'{"x":1}'


@pytest.mark.parametrize("missing", ["t", "s", "d"])
def test_missing_members(missing):
    """t, s and d may be absent: no name, no sequence, null."""
    members = {"t": "X", "s": 1, "op": 0, "d": {}}
    del members[missing]
    decoder = Decoder()
    event = decoder.feed(json.dumps(members).encode(), TEXT)
    if missing == "t":
        assert event is None
    elif missing == "d":
        assert (event.data, event.raw) == (None, b"null")
    assert decoder.sequence.last == (None if missing == "s" else 1)


@pytest.mark.parametrize(
    "op", [None, "missing", True, "0", 0.0, 1.5, -1, 2**31, 2**64, [], {}], ids=repr
)
def test_op_must_be_an_opcode(op):
    """Without an integer op there is no telling what a message is."""
    members = {"op": op, "d": {}} if op != "missing" else {"d": {}}
    with pytest.raises(DecodeError):
        feed(json.dumps(members))


@pytest.mark.parametrize(
    "text",
    ["", " ", "{", "{}", "[]", "null", "0", '"op"', '{"op":10', '{"op":10}}', '{"op":10}{', "\x00",
     '{"op":10,}', '{,"op":10}', '{"op" 10}', '{"op":}', '{"op"}', '{op:10}', '\ufeff{"op":10}',
     '{"op":10 "d":1}', '{"op":10,"d":{]', '{"op":10,"d":"', '{"op":10,"d":"\\'],
)  # fmt: skip
def test_what_is_no_message(text):
    """Anything but one JSON object with an op is a DecodeError."""
    with pytest.raises(DecodeError):
        feed(text)


def test_other_ops_are_messages():
    """Not dispatches: op, parsed d; s and t where there are any."""
    message = feed('{"t":null,"s":null,"op":9,"d":false}')
    assert isinstance(message, Message)
    assert (message.op, message.data, message.sequence, message.name) == (9, False, None, None)
    assert repr(message) == "<Message op=9>"


def test_bad_data_of_another_op():
    """d of a message that is no dispatch is parsed at once, so it is an error at once."""
    with pytest.raises(DecodeError):
        feed('{"t":null,"s":null,"op":10,"d":{"heartbeat_interval":tru}}')


def test_bad_data_of_an_unwanted_dispatch_is_not_looked_at():
    """Dropping means not reading."""
    decoder = Decoder(interests=["Y"])
    assert decoder.feed(b'{"t":"X","s":4,"op":0,"d":{"a":tru}}', TEXT) is None
    assert decoder.sequence.last == 4


def test_very_deep_nesting():
    """Depth costs no stack: the walk counts brackets."""
    deep = "[" * 100_000 + "]" * 100_000
    event = feed(f'{{"d":{deep},"op":0,"s":1,"t":"X"}}')
    assert event.raw == deep.encode()
    with pytest.raises(DecodeError):
        _ = event.data


# -------------------------------------------------------------------------------------- sequence


def test_sequence_advances_on_dropped_dispatches():
    """case 45: wanted or not, each dispatch moves the sequence."""
    sequence = Sequence()
    decoder = Decoder(interests=[], sequence=sequence)
    for s in (1, 2, 3):
        assert decoder.feed(dispatch("X", s), TEXT) is None
    assert (sequence.last, sequence.gaps) == (3, 0)
    assert decoder.sequence is sequence


def test_sequence_never_goes_back():
    """case 34: an older sequence is delivered and leaves `last` alone."""
    decoder = Decoder()
    decoder.feed(dispatch("X", 10), TEXT)
    assert decoder.feed(dispatch("X", 4), TEXT).sequence == 4
    assert decoder.sequence.last == 10


def test_gaps_are_counted():
    """How often the sequence jumped, and by how much in all."""
    decoder = Decoder()
    for s in (5, 6, 9, 10, 20):
        decoder.feed(dispatch("X", s), TEXT)
    assert (decoder.sequence.gaps, decoder.sequence.missing) == (2, 2 + 9)


def test_other_ops_do_not_move_the_sequence():
    """Only dispatches carry the session's sequence."""
    decoder = Decoder()
    decoder.feed(b'{"op":11,"s":99,"d":null,"t":null}', TEXT)
    assert decoder.sequence.last is None


def test_replay_drops_what_was_received():
    """case 34: in a replay, dispatches up to `last` are duplicates, later ones replayed."""
    sequence = Sequence(10)
    sequence.start_replay()
    decoder = Decoder(sequence=sequence)
    delivered = [s for s in (9, 10, 11, 12) if decoder.feed(dispatch("X", s), TEXT)]
    assert delivered == [11, 12]
    assert (sequence.duplicates, sequence.replayed, sequence.last) == (2, 2, 12)
    sequence.end_replay()
    assert decoder.feed(dispatch("X", 3), TEXT) is not None
    assert (sequence.duplicates, sequence.replayed) == (2, 2)


@pytest.mark.parametrize("name", ["READY", "RESUMED"])
def test_session_events_are_never_duplicates(name):
    """What ends a replay is delivered whatever its sequence."""
    sequence = Sequence(10)
    sequence.start_replay()
    assert Decoder(sequence=sequence).feed(dispatch(name, 1), TEXT).name == name


def test_clear_and_restore():
    """A new session begins at nothing, a stored one where it was; counters stay."""
    sequence = Sequence(3)
    decoder = Decoder(sequence=sequence)
    decoder.feed(dispatch("X", 5), TEXT)
    sequence.start_replay()
    sequence.clear()
    assert (sequence.last, sequence.replaying, sequence.gaps) == (None, False, 1)
    sequence.restore(70)
    decoder.feed(dispatch("X", 71), TEXT)
    assert (sequence.last, sequence.gaps) == (71, 1)


# ------------------------------------------------------------------------------------- interests


def test_interests_change_while_connected():
    """The next message sees the change."""
    interests = Interests()
    decoder = Decoder(interests=interests)
    assert decoder.feed(dispatch("X"), TEXT) is None
    interests.want("X")
    assert isinstance(decoder.feed(dispatch("X"), TEXT), Event)
    interests.forget("X")
    assert decoder.feed(dispatch("X"), TEXT) is None
    interests.want_everything()
    assert isinstance(decoder.feed(dispatch("Y"), TEXT), Event)
    assert isinstance(decoder.feed(dispatch("X"), TEXT), Event)
    interests.forget_everything()
    assert decoder.feed(dispatch("Y"), TEXT) is None


def test_internal_interests_stay():
    """What the library needs is not forgotten with what users want."""
    interests = Interests(internal=["READY"])
    interests.want("READY")
    interests.forget("READY")
    interests.want_everything()
    interests.forget_everything()
    assert interests.is_wanted("READY")


def test_similar_names_are_told_apart():
    """Names that share head, tail and length."""
    names = [
        "MESSAGE_CREATE", "MESSAGE_UPDATE", "MESSAGE_CREATE2", "MESSAGE_CREAT", "X", "", "XY",
        "GUILD_MEMBER_ADD", "GUILD_MEMBERS_ADD", "A" * 8, "A" * 9, "A" * 16, "A" * 17,
        "AAAAAAAABAAAAAAAA", "AAAAAAAACAAAAAAAA", "A" * 128, "A" * 300,
    ]  # fmt: skip
    for wanted in names:
        decoder = Decoder(interests=[wanted])
        assert [n for n in names if decoder.feed(dispatch(n), TEXT)] == [wanted]


def test_one_table_serves_many_decoders():
    """Counters add up over decoders; bytes are of whole messages, dropped ones included."""
    interests = Interests(["X"])
    for shard_id in (0, 1):
        decoder = Decoder(interests=interests, shard_id=shard_id)
        assert decoder.feed(dispatch("X"), TEXT).shard_id == shard_id
        decoder.feed(dispatch("Y"), TEXT)
    size = len(dispatch("X"))
    assert interests.counters() == {"X": (2, 2, 2 * size), "Y": (2, 0, 2 * size)}


def test_peer_cannot_grow_the_table_for_ever():
    """At most 2048 names from the wire are remembered; what users want always is."""
    interests = Interests()
    interests.want_everything()
    decoder = Decoder(interests=interests)
    for i in range(3000):
        assert decoder.feed(dispatch(f"N{i}"), TEXT).name == f"N{i}"
    assert len(interests.counters()) == 2048
    interests.forget_everything()
    interests.want("LATE")
    interests.want("L" * 500)
    assert decoder.feed(dispatch("LATE"), TEXT).name == "LATE"
    assert decoder.feed(dispatch("L" * 500), TEXT) is not None
    assert decoder.feed(dispatch("N2999"), TEXT) is None


def test_many_wanted_names():
    """The table grows with what is wanted."""
    interests = Interests(f"N{i}" for i in range(5000))
    decoder = Decoder(interests=interests)
    assert all(decoder.feed(dispatch(f"N{i}"), TEXT) for i in range(5000))
    assert decoder.feed(dispatch("N5000"), TEXT) is None


def test_a_string_is_not_a_collection_of_names():
    """The letters of "READY" are not what anybody means."""
    with pytest.raises(TypeError):
        Decoder(interests="READY")
