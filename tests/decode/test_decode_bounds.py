"""What a hostile or broken peer may cost: each bound, at its edge, and that nothing vanishes."""

from __future__ import annotations

import contextlib
import random
import sys
import zlib
from itertools import pairwise

import pytest

from fastgw._decode import Decoder, Interests
from fastgw.errors import DecodeError, MessageTooBig

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

pytestmark = pytest.mark.usefixtures("each_zstd")

TEXT, BINARY = 1, 2
MAX_FRAMES = 128
WINDOW_LOG_MAX = 23
MAX_OTHER_BYTES = 1 << 20


def dispatch(name="X", sequence=1, data="{}"):
    return f'{{"t":"{name}","s":{sequence},"op":0,"d":{data}}}'.encode()


# ------------------------------------------------------------------------------- two in one message


PADDINGS = (*range(40), 63, 64, 65, 100, 127, 128, 129, 200, 1_000, 5_000)


@pytest.mark.parametrize("between", ["", " ", "\n", "\r\n", "\t", "  \n "])
@pytest.mark.parametrize("interests", [None, ["X"], ["Y"], []])
def test_the_second_of_two_texts_does_not_vanish(between, interests):
    """One message is one JSON text: two are an error, wanted or not, wherever the second begins."""
    for padding in PADDINGS:
        first = dispatch(data=f'{{"a":"{"x" * padding}"}}')
        for second in (dispatch("Y", 2), b'{"op":11}', b'{"d":null,"op":1,"s":3,"t":"READY"}'):
            decoder = Decoder(interests=interests)
            with pytest.raises(DecodeError):
                decoder.feed(first + between.encode() + second, TEXT)
            assert decoder.dispatches == 0


@pytest.mark.parametrize(
    "data",
    [
        '{"a":"}{"}',
        '{"a":"} {"}',
        '{"a":"é{"}',
        '{"a": {"b":1}}',
        '[1, {"b":[{}]}]',
        '"{{}{"',
        '"~{"',
    ],
)
def test_braces_in_a_text_are_not_a_second_message(data):
    """What looks like the seam between two messages is looked at closer, and is none."""
    for padding in PADDINGS:
        padded = f'{{"filler":"{"x" * padding}","it":{data}}}'
        event = Decoder().feed(dispatch(data=padded), TEXT)
        assert event.raw == padded.encode()
        assert Decoder(interests=()).feed(dispatch(data=padded), TEXT) is None


def test_two_messages_in_one_piece_of_zlib():
    """Two flushes that arrive in one websocket message are two texts in one message as well."""
    stream = zlib.compressobj()
    pieces = [
        stream.compress(dispatch(sequence=i)) + stream.flush(zlib.Z_SYNC_FLUSH) for i in (1, 2)
    ]
    with pytest.raises(DecodeError):
        Decoder(compression="zlib-stream").feed(b"".join(pieces), BINARY)


def test_two_messages_in_two_frames_of_zstd():
    """Whole frames with a message each do not become one message with its tail ignored."""
    pieces = [zstd.compress(dispatch(sequence=i)) for i in (1, 2)]
    with pytest.raises(DecodeError):
        Decoder(compression="zstd-stream").feed(b"".join(pieces), BINARY)


def test_a_zlib_blob_has_nothing_behind_its_end():
    """With Identify's `compress` a second blob, or anything else, is not dropped unseen."""
    blob = zlib.compress(dispatch())
    for tail in (blob, b"\x00", b"\x00\x00\xff\xff"):
        with pytest.raises(DecodeError):
            Decoder(compression="payload").feed(blob + tail, BINARY)


def test_a_zlib_stream_has_nothing_behind_its_end():
    """The stream may end with a message; what follows it is not dropped unseen."""
    stream = zlib.compressobj()
    ended = stream.compress(dispatch()) + stream.flush(zlib.Z_FINISH)
    flush = b"\x00\x00\xff\xff"
    assert Decoder(compression="zlib-stream").feed(ended + flush, BINARY).sequence == 1
    with pytest.raises(DecodeError):
        Decoder(compression="zlib-stream").feed(ended + ended + flush, BINARY)


# --------------------------------------------------------------------------------------------- zstd


def test_many_zstd_frames_in_one_message():
    """Frames cost a context each for as little as nine bytes: 128 are read, one more is refused."""
    text = dispatch(data=f'"{"x" * 1_000}"')
    cuts = [len(text) * i // MAX_FRAMES for i in range(MAX_FRAMES + 1)]
    frames = [zstd.compress(text[a:b]) for a, b in pairwise(cuts)]
    decoder = Decoder(compression="zstd-stream")
    assert decoder.feed(b"".join(frames), BINARY).data == "x" * 1_000
    assert decoder.feed(b"".join(frames), BINARY).data == "x" * 1_000
    with pytest.raises(MessageTooBig) as caught:
        decoder.feed(b"".join(frames) + zstd.compress(b""), BINARY)
    error = caught.value
    assert (error.unit, error.size, error.limit) == ("zstd frames", MAX_FRAMES + 1, MAX_FRAMES)


def test_frames_of_nothing_count():
    """Empty and skippable frames produce nothing and are frames all the same."""
    skippable = b"\x50\x2a\x4d\x18\x03\x00\x00\x00abc"
    text = zstd.compress(dispatch())
    for empty in (zstd.compress(b""), skippable):
        decoder = Decoder(compression="zstd-stream")
        assert decoder.feed(empty * (MAX_FRAMES - 1) + text, BINARY).sequence == 1
        assert decoder.feed(empty * MAX_FRAMES, BINARY) is None
        with pytest.raises(MessageTooBig):
            decoder.feed(empty * MAX_FRAMES + text, BINARY)


def test_frames_may_end_anywhere_in_a_stream():
    """Any mix of ended and endless frames over any messages gives the texts in order."""
    rng = random.Random(8)
    for _ in range(300):
        texts = [dispatch(sequence=i, data=f'"{"y" * rng.randrange(300)}"') for i in range(1, 5)]
        decoder, compressor, got = Decoder(compression="zstd-stream"), zstd.ZstdCompressor(1), []
        for text in texts:
            cuts = sorted(rng.randrange(len(text) + 1) for _ in range(rng.randrange(4)))
            piece = b""
            for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True):
                mode = rng.choice((compressor.FLUSH_FRAME, compressor.FLUSH_BLOCK))
                piece += compressor.compress(text[a:b], mode)
            got.append(decoder.feed(piece, BINARY).raw)
        assert got == [text[text.index(b'"d":') + 4 : -1] for text in texts]


def windowed(log, text):
    """A piece of an endless frame that asks for a window of 2^log bytes."""
    options = {zstd.CompressionParameter.window_log: log}
    compressor = zstd.ZstdCompressor(options=options)
    return compressor.compress(text, zstd.ZstdCompressor.FLUSH_BLOCK)


def test_zstd_window_is_bounded():
    """8 MiB are served, as RFC 8878 recommends; more would be allocated for each connection."""
    decoder = Decoder(compression="zstd-stream")
    assert decoder.feed(windowed(WINDOW_LOG_MAX, dispatch()), BINARY).sequence == 1
    for log in (WINDOW_LOG_MAX + 1, 27):
        with pytest.raises(DecodeError, match="zstd"):
            Decoder(compression="zstd-stream").feed(windowed(log, dispatch()), BINARY)


def test_an_error_of_zstd_leaves_a_decoder_that_can_begin_anew():
    """After `reset` nothing of the broken stream is left."""
    decoder = Decoder(compression="zstd-stream")
    for bad in (b"\x00" * 20, zstd.compress(b"x" * 100)[:-2] + b"\xff\xff\xff", b"(\xb5/\xfd"):
        piece = windowed(18, dispatch())
        assert decoder.feed(piece, BINARY).sequence == 1
        with contextlib.suppress(DecodeError):
            decoder.feed(bad, BINARY)
        decoder.reset()


# -------------------------------------------------------------------------------------------- names


def colliding(count):
    """Names that the table's hash cannot tell apart: it looks at both ends and the length."""
    return [f"COLLIDES{i:08d}COLLIDES" for i in range(count)]


def test_names_chosen_to_collide_do_not_fill_the_table():
    """Names of one hash stop being entered where a search for them would get long."""
    decoder = Decoder()
    for sequence, name in enumerate(colliding(2_048), 1):
        assert decoder.feed(dispatch(name, sequence), TEXT).name == name
    assert len(decoder.interests.counters()) <= 32
    decoder.feed(dispatch("OTHER", 3_000), TEXT)
    assert decoder.interests.counters()["OTHER"][0] == 1


def test_wanted_names_may_collide():
    """What users want is found, however many of the names share a hash, and whenever they come."""
    names = colliding(400)
    interests = Interests(names[:200])
    decoder = Decoder(interests=interests)
    for sequence, name in enumerate(names, 1):
        event = decoder.feed(dispatch(name, sequence), TEXT)
        assert (event is not None) == (sequence <= 200)
    for name in names[200:]:
        interests.want(name)
    for sequence, name in enumerate(names, 1):
        assert decoder.feed(dispatch(name, sequence), TEXT).name == name
    assert [interests.is_wanted(name) for name in (*names, "OTHER")] == [True] * 400 + [False]


def test_a_name_of_any_length_does_not_fill_a_log():
    """`repr` and errors show the beginning of a name; the attributes hold all of it."""
    event = Decoder().feed(dispatch("N" * 1_000_000, data="{bad}"), TEXT)
    assert len(event.name) == 1_000_000
    assert len(repr(event)) < 300
    with pytest.raises(DecodeError) as caught:
        _ = event.data
    assert len(str(caught.value)) < 300
    assert caught.value.name == event.name


# ---------------------------------------------------------------------------------- other messages


def test_messages_that_are_no_dispatch_are_small():
    """They are parsed at once, whoever sends them: 1 MiB of `d`, and no more."""
    fits = '"' + "x" * (MAX_OTHER_BYTES - 2) + '"'
    assert len(Decoder().feed(f'{{"op":10,"d":{fits}}}'.encode(), TEXT).data) == len(fits) - 2
    with pytest.raises(MessageTooBig) as caught:
        Decoder().feed(f'{{"op":10,"d":{fits[:-1]}x"}}'.encode(), TEXT)
    assert (caught.value.size, caught.value.limit) == (MAX_OTHER_BYTES + 1, MAX_OTHER_BYTES)


@pytest.mark.parametrize("key", ["t", "s"])
def test_an_envelope_with_a_container_is_not_built(key):
    """A container as name or sequence is neither, and is not looked into."""
    members = {"op": "0", "d": "{}", "t": '"X"', "s": "7", key: "[{},{},tru]"}
    text = ",".join(f'"{k}":{v}' for k, v in members.items())
    decoder = Decoder()
    event = decoder.feed(f"{{{text}}}".encode(), TEXT)
    assert (event and event.sequence) == (None if key == "t" else -1)
    assert decoder.dispatches == 1


@pytest.mark.parametrize("opening", ["[", '{"a":'])
def test_deep_nesting(opening):
    """Any depth is stepped over; parsing it is an error, not a crash."""
    closing = "]" if opening == "[" else "}"
    data = opening * 500_000 + "1" + closing * 500_000
    event = Decoder().feed(dispatch(data=f'{{"deep":{data},"guild_id":"5"}}'), TEXT)
    assert event.guild_id == 5
    assert event.raw.endswith(b'"guild_id":"5"}')
    with pytest.raises(DecodeError):
        _ = event.data
    with pytest.raises(DecodeError):
        Decoder().feed(f'{{"op":10,"d":{data[-1000:]}}}'.encode(), TEXT)


def test_huge_numbers():
    """A million digits are no sequence (orjson refuses them as infinite) and no id."""
    digits = "9" * 1_000_000
    with pytest.raises(DecodeError):
        Decoder().feed(f'{{"op":0,"t":"X","s":{digits},"d":0}}'.encode(), TEXT)
    assert Decoder().feed(dispatch(data=f'{{"guild_id":{digits}}}'), TEXT).guild_id is None
