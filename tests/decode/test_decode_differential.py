"""
The compiled decoder against the reference in Python, and both against `orjson.loads`.

A bounded number of generated streams runs always. The `fuzz` mark selects the long run, whose size
comes from FASTGW_FUZZ_STREAMS (streams, default 100,000), first seed from FASTGW_FUZZ_SEED:

    FASTGW_FUZZ_STREAMS=1000000 pytest tests/decode/test_decode_differential.py -m fuzz -s
"""

from __future__ import annotations

import os
import random
import time
from array import array
from collections.abc import Callable, Iterator
from typing import Any

import orjson
import pytest
from effort import rounds
from hypothesis import given, settings
from reference_decoder import (
    TEMPLATE,
    ReferenceDecoder,
    ReferenceEvent,
    ReferenceMessage,
    ReferenceSequence,
    members,
)
from strategies import TEXT, Stream, fragment, generate_message, generate_stream, streams
from zstd_kinds import KINDS

from fastgw._decode import (
    Decoder,
    Event,
    Message,
    Sequence,
    use_zstd,
    zstd_library,
    zstd_package,
)
from fastgw.errors import DecodeError, MessageTooBig, ProtocolError

BOUNDED_STREAMS = 1_500  # of those that `.ci/run fuzz` plays


def exact(data: bytes) -> Any:
    """Memory of just this size: bytes have a NUL behind them that hides an overread of one."""
    return array("B", list(data))


PAYLOAD_TYPES: tuple[Callable[[bytes], Any], ...] = (bytes, bytearray, memoryview, exact)


def look(result: Any) -> tuple[Any, ...] | None:
    """Everything a caller can see of what `feed` returned, in one order of asking."""
    if result is None:
        return None
    if isinstance(result, (Message, ReferenceMessage)):
        return "message", result.op, result.data, result.sequence, result.name
    assert isinstance(result, (Event, ReferenceEvent))
    guild_id = result.guild_id
    try:
        data: Any = ("data", result.data)
    except DecodeError as error:
        data = ("bad", error.offset, error.name, error.sequence)
    return (
        "event", result.name, result.sequence, result.shard_id, guild_id, data, result.raw,
        result.guild_id,
    )  # fmt: skip


def play(decoder: Any, stream: Stream, wrap: Callable[[bytes], Any]) -> Iterator[Any]:
    """Feed the stream; yield what each frame gave. The first error ends it, as on a connection."""
    for payload, opcode, fin in stream.frames:
        try:
            yield look(decoder.feed(wrap(payload), opcode, fin))
        except MessageTooBig as error:  # noqa: PERF203
            yield "too big", error.close_code, error.limit, error.unit
            return
        except ProtocolError as error:
            yield type(error).__name__, error.close_code
            return


def final_state(decoder: Any, sequence: Any) -> tuple[Any, ...]:
    return (
        sequence.last, sequence.duplicates, sequence.gaps, sequence.missing, sequence.replayed,
        decoder.messages, decoder.dispatches, decoder.delivered, decoder.dropped,
        decoder.bytes_received, decoder.bytes_decoded,
    )  # fmt: skip


# The reference decodes with the package, and the linked library may be another version.
OTHER_VERSION = (zstd_library() or zstd_package())[1] != zstd_package()[1]


def is_error(outcome: Any) -> bool:
    """Tell whether this is how a stream ended, and not what a frame gave."""
    return outcome is not None and outcome[0] not in ("event", "message")


def compare(stream: Stream) -> int:
    """Play one stream to both decoders; return how many frames were compared."""
    wrap = exact if stream.seed is None else PAYLOAD_TYPES[stream.seed % 4]
    options: dict[str, Any] = {
        "compression": stream.compression,
        "interests": stream.interests,
        "shard_id": 3,
        "max_message_bytes": stream.max_message_bytes,
    }
    ours, theirs = Sequence(stream.resume_from), ReferenceSequence(stream.resume_from)
    if stream.replay:
        ours.start_replay()
        theirs.start_replay()
    number = len(stream.frames) if stream.seed is None else stream.seed
    kind = KINDS[number % len(KINDS)]
    use_zstd(kind)
    decoder = Decoder(sequence=ours, **options)
    use_zstd(KINDS[0])
    reference = ReferenceDecoder(sequence=theirs, **options)
    got = list(play(decoder, stream, wrap))
    expected = list(play(reference, stream, bytes))
    assert got == expected, f"seed {stream.seed}: {stream}"
    states = final_state(decoder, ours), final_state(reference, theirs)
    differs = kind == "library" and OTHER_VERSION and stream.compression == "zstd-stream"
    if differs and got and is_error(got[-1]):
        # Where in a damaged block the damage is noticed differs between versions of libzstd, and
        # with it the bytes before; nothing else may.
        states = states[0][:-1], states[1][:-1]
    assert states[0] == states[1], f"seed {stream.seed}"
    assert decoder.interests.counters() == reference.counters, f"seed {stream.seed}"
    return len(got)


def expected_by_orjson(message: bytes) -> tuple[Any, ...] | None:
    """What a message means to somebody who parses it whole; None if there is no saying."""
    try:
        envelope = orjson.loads(message)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(envelope, dict) or type(envelope.get("op")) is not int:
        return None
    sequence = envelope.get("s")
    if type(sequence) is not int or not 0 <= sequence < 2**63:
        sequence = None
    return envelope["op"], envelope.get("t"), sequence, envelope.get("d")


def guild_by_orjson(name: str, data: Any) -> int | None:
    key = "id" if name in ("GUILD_CREATE", "GUILD_UPDATE", "GUILD_DELETE") else "guild_id"
    value = data.get(key) if isinstance(data, dict) else None
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 19:
        value = int(value)
    return value if type(value) is int and 0 <= value < 2**63 else None


def has_repeats(message: bytes) -> bool:
    """Members after d in a template, or names said twice: parsing whole is not the measure."""
    keys = [key for key, _ in members(message, whole=True)]
    if len(keys) != len(set(keys)):
        return True
    if (fits := TEMPLATE.fullmatch(message)) and len(keys) > 4:
        return bool(fits)
    data = next((value for key, value in members(message) if key == "d"), b"")
    inner = [key for key, _ in members(data)] if data.startswith(b"{") else []
    return len(inner) != len(set(inner))


def check_against_orjson(message: bytes) -> bool:
    """Feed one plain message to a decoder that wants everything; compare with parsing it whole."""
    meaning = expected_by_orjson(message)
    if meaning is None or has_repeats(message):
        return False
    op, name, sequence, data = meaning
    decoder = Decoder()
    if not 0 <= op < 2**31:
        with pytest.raises(DecodeError):
            decoder.feed(message, TEXT)
        return True
    result = decoder.feed(message, TEXT)
    if op == 0 and not isinstance(name, str):
        assert result is None
    elif op == 0:
        assert (result.name, result.data) == (name, data), message
        assert orjson.loads(result.raw) == data, message
        assert result.sequence == (-1 if sequence is None else sequence), message
        if b"-0" not in message:  # orjson reads -0 as 0; to us it is no snowflake
            assert result.guild_id == guild_by_orjson(name, data), message
    else:
        assert (result.op, result.data, result.sequence) == (op, data, sequence), message
        assert result.name == (name if isinstance(name, str) else None), message
    if op == 0:
        assert decoder.sequence.last == sequence
    return True


def test_seeded_streams():
    """Compiled and reference agree on every generated stream, damaged ones included."""
    for seed in range(rounds(BOUNDED_STREAMS)):
        compare(generate_stream(seed))


def test_seeded_messages_against_orjson():
    """Name, sequence, data and guild id are what parsing the whole message gives."""
    checked, count = 0, rounds(BOUNDED_STREAMS)
    for seed in range(count):
        checked += check_against_orjson(generate_message(random.Random(seed), 1 + seed % 99))
    assert checked > count // 2


@settings(max_examples=2 * settings().max_examples)
@given(streams())
def test_faithful_streams(stream):
    """Streams made by hypothesis agree, and deliver what orjson finds in the plain messages."""
    compare(stream)
    for message in stream.messages:
        check_against_orjson(message)


@pytest.mark.parametrize("style", ["whole", "bytes", "random"])
def test_every_cut_gives_the_same(style):
    """How a message is cut into frames changes nothing."""
    rng = random.Random(style)
    for seed in range(rounds(300)):
        message = generate_message(random.Random(seed), 5)
        expected = list(play(Decoder(), Stream("none", [(message, TEXT, True)], []), bytes))
        frames = fragment([(message, TEXT)], rng, style)
        got = list(play(Decoder(), Stream("none", frames, []), bytes))
        assert got[-1] == expected[-1]
        assert not any(got[:-1])


def test_every_truncation_of_a_template():
    """Each prefix of a message is an error or an event whose data says so; nothing else escapes."""
    message = (
        '{"t":"MESSAGE_CREATE","s":12,"op":0,"d":{"content":"é\\"}","guild_id":"175"}}'.encode()
    )
    for end in range(len(message)):
        compare(Stream("none", [(message[:end], TEXT, True)], []))


def test_every_single_byte_change_of_a_message():
    """Each byte replaced by each of the bytes JSON cares about: both decoders still agree."""
    for message in (
        b'{"t":"READY","s":1,"op":0,"d":{"a":"\\\\","guild_id":"17534","id":"1"}}',
        b' {"op" : 0, "d":[1,{"x":"y"}], "s":null, "t":"GUILD_CREATE" } ',
    ):
        for at in range(len(message)):
            for byte in b'"\\{}[],: 0aA\x00\xff\n':
                changed = message[:at] + bytes((byte,)) + message[at + 1 :]
                compare(Stream("none", [(changed, TEXT, True)], []))


@pytest.mark.fuzz
@pytest.mark.timeout(0)
def test_many_seeded_streams():
    """The long run; prints how many streams and frames were compared."""
    count = int(os.environ.get("FASTGW_FUZZ_STREAMS", "100000"))
    first = int(os.environ.get("FASTGW_FUZZ_SEED", str(BOUNDED_STREAMS)))
    frames = checked = 0
    started = time.monotonic()
    for seed in range(first, first + count):
        stream = generate_stream(seed)
        frames += compare(stream)
        if stream.compression == "none":
            checked += sum(map(check_against_orjson, stream.messages))
    print(
        f"\n{count} streams (seeds {first}..{first + count - 1}), {frames} frames compared, "
        f"{checked} messages checked against orjson, {time.monotonic() - started:.0f} s"
    )
