"""The decoder's first half: frames to messages, decompression, limits, counters, memory."""

import contextlib
import random
import sys
import zlib

import pytest

from fastgw._decode import Assembler, Decoder, Event, Interests, Message, Sequence
from fastgw.errors import DecodeError, MessageTooBig, ProtocolError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

pytestmark = pytest.mark.usefixtures("each_zstd")

CONTINUATION, TEXT, BINARY = 0, 1, 2
HELLO = b'{"t":null,"s":null,"op":10,"d":{"heartbeat_interval":41250}}'


def dispatch(name="MESSAGE_CREATE", sequence=1, data=b'{"id":"1"}'):
    return b'{"t":"%s","s":%d,"op":0,"d":%s}' % (name.encode(), sequence, data)


def deflated(*messages):
    """One sync-flushed piece per message, of one zlib stream."""
    stream = zlib.compressobj()
    return [stream.compress(m) + stream.flush(zlib.Z_SYNC_FLUSH) for m in messages]


def endless(*messages):
    """One flushed piece per message, of one zstd frame without end."""
    stream = zstd.ZstdCompressor()
    return [stream.compress(m, zstd.ZstdCompressor.FLUSH_BLOCK) for m in messages]


# ------------------------------------------------------------------------------------- fragments


def test_one_frame_is_one_message():
    """A text frame with FIN gives its message at once."""
    message = Decoder().feed(HELLO, TEXT, True)
    assert (message.op, message.data) == (10, {"heartbeat_interval": 41250})


def test_fragments_join():
    """case 16: a message cut into frames is read when the last has come."""
    decoder = Decoder()
    assert decoder.feed(HELLO[:9], TEXT, False) is None
    assert decoder.feed(HELLO[9:30], CONTINUATION, False) is None
    assert decoder.feed(HELLO[30:], CONTINUATION, True).op == 10


def test_byte_by_byte():
    """Any cut is the same, down to single bytes."""
    decoder = Decoder()
    for i in range(len(HELLO) - 1):
        assert decoder.feed(HELLO[i : i + 1], CONTINUATION if i else TEXT, False) is None
    assert decoder.feed(HELLO[-1:], CONTINUATION, True).op == 10


def test_empty_frames_may_stand_anywhere():
    """Empty fragments, first and last included, add nothing."""
    decoder = Decoder()
    assert decoder.feed(b"", TEXT, False) is None
    assert decoder.feed(HELLO, CONTINUATION, False) is None
    assert decoder.feed(b"", CONTINUATION, True).op == 10


def test_continuation_without_a_start_is_refused():
    """RFC 6455 5.4: opcode 0 needs a message to continue."""
    with pytest.raises(ProtocolError) as caught:
        Decoder().feed(HELLO, CONTINUATION, True)
    assert caught.value.close_code == 1002


@pytest.mark.parametrize("fin", [True, False])
def test_new_message_inside_another_is_refused(fin):
    """RFC 6455 5.4: fragments of two messages are not mixed."""
    decoder = Decoder()
    decoder.feed(b"{", TEXT, False)
    with pytest.raises(ProtocolError) as caught:
        decoder.feed(HELLO, TEXT, fin)
    assert caught.value.close_code == 1002


@pytest.mark.parametrize("opcode", [3, 7, 8, 9, 10, 15, -1, 256])
def test_other_opcodes_are_refused(opcode):
    """Only data frames are the decoder's business."""
    with pytest.raises(ProtocolError) as caught:
        Decoder().feed(b"", opcode, True)
    assert caught.value.close_code == 1002


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_any_bytes_like_object(kind):
    """feed takes every contiguous buffer."""
    assert Decoder().feed(kind(HELLO), TEXT).op == 10


def test_payload_is_copied():
    """The payload may be overwritten after feed has returned."""
    payload = bytearray(dispatch())
    event = Decoder().feed(payload, TEXT)
    payload[:] = b"x" * len(payload)
    assert event.raw == b'{"id":"1"}'


def test_too_many_fragments():
    """Endless fragmentation is stopped by number as well, with 1009."""
    decoder = Decoder(max_fragments=3)
    decoder.feed(b"", TEXT, False)
    decoder.feed(b"", CONTINUATION, False)
    decoder.feed(b"", CONTINUATION, False)
    with pytest.raises(MessageTooBig) as caught:
        decoder.feed(b"", CONTINUATION, True)
    assert (caught.value.close_code, caught.value.unit, caught.value.limit) == (
        1009,
        "fragments",
        3,
    )


def test_too_big_in_one_frame():
    """A message above the limit is refused; one that fills it exactly is not."""
    assert Decoder(max_message_bytes=len(HELLO)).feed(HELLO, TEXT).op == 10
    with pytest.raises(MessageTooBig) as caught:
        Decoder(max_message_bytes=len(HELLO) - 1).feed(HELLO, TEXT)
    assert (caught.value.size, caught.value.limit) == (len(HELLO), len(HELLO) - 1)


def test_too_big_in_fragments():
    """The limit strikes at the fragment that crosses it, before the message is complete."""
    decoder = Decoder(max_message_bytes=10)
    decoder.feed(b"x" * 10, TEXT, False)
    with pytest.raises(MessageTooBig):
        decoder.feed(b"x", CONTINUATION, False)


def test_buffer_falls_back_after_a_large_message():
    """Large, then small: the assembly buffer is given back."""
    decoder = Decoder()
    big = dispatch(data=b'"' + b"x" * 1_000_000 + b'"')
    decoder.feed(big[:500_000], TEXT, False)
    decoder.feed(big[500_000:], CONTINUATION, True)
    decoder.feed(HELLO[:5], TEXT, False)
    decoder.feed(HELLO[5:], CONTINUATION, True)
    assert decoder.buffer_capacity <= 16_384


def test_buffer_grows_geometrically():
    """A message in n small pieces is not copied n times: the capacity takes few values."""
    decoder = Decoder()
    decoder.feed(b"[", TEXT, False)
    capacities = set()
    for _ in range(20_000):
        decoder.feed(b"x" * 10, CONTINUATION, False)
        capacities.add(decoder.buffer_capacity)
    assert len(capacities) < 12


def test_buffer_is_kept_between_small_messages():
    """Small fragmented messages reuse one buffer."""
    decoder = Decoder()
    decoder.feed(HELLO[:5], TEXT, False)
    before = decoder.buffer_capacity
    decoder.feed(HELLO[5:], CONTINUATION, True)
    assert decoder.buffer_capacity == before > 0


@pytest.mark.parametrize("compression", ["none", "zlib-stream", "zstd-stream", "payload"])
def test_reset_begins_anew(compression):
    """case 15: after an error and `reset` the decoder serves a fresh connection."""
    pieces = {
        "none": [HELLO], "payload": [zlib.compress(HELLO)],
        "zlib-stream": deflated(HELLO), "zstd-stream": endless(HELLO),
    }[compression]  # fmt: skip
    opcode = TEXT if compression == "none" else BINARY
    decoder = Decoder(compression=compression)
    decoder.feed(pieces[0], opcode)
    decoder.feed(b"half", opcode, False)
    with pytest.raises(ProtocolError):
        decoder.feed(b"other", opcode, False)
    decoder.reset()
    assert decoder.feed(pieces[0], opcode).op == 10


def test_strict_validates_text():
    """In strict mode text that is not UTF-8 is refused with 1007 and its byte offset."""
    with pytest.raises(DecodeError) as caught:
        Decoder(strict=True).feed(dispatch(data=b'"\xff"'), TEXT)
    assert (caught.value.close_code, caught.value.offset) == (1007, len(dispatch(data=b'"')) - 1)


def test_strict_sees_code_points_across_fragments():
    """A code point split between fragments is whole again before it is validated."""
    text = dispatch(data='"é"'.encode())
    cut = text.index(b"\xc3") + 1
    decoder = Decoder(strict=True)
    decoder.feed(text[:cut], TEXT, False)
    assert decoder.feed(text[cut:], CONTINUATION, True).data == "é"


def test_assembler_alone():
    """The frame layer by itself gives opcode and payload, text validated when strict."""
    assembler = Assembler(strict=True)
    assembler.feed(b"\xf0\x9f", TEXT, False)
    assert assembler.feed(b"\x98\x80", CONTINUATION, True) == (TEXT, "\U0001f600".encode())
    assert assembler.feed(b"\xff", BINARY) == (BINARY, b"\xff")
    with pytest.raises(DecodeError):
        assembler.feed(b"\xed\xa0\x80", TEXT)


# ----------------------------------------------------------------------------------- compression


def test_text_and_binary_without_compression():
    """Some servers send JSON in binary frames; both are read."""
    assert Decoder().feed(HELLO, BINARY).op == Decoder().feed(HELLO, TEXT).op == 10


@pytest.mark.parametrize("compression", ["zlib-stream", "zstd-stream"])
def test_text_on_a_compressed_stream_is_an_error(compression):
    """The service sends binary only once it compresses."""
    with pytest.raises(DecodeError):
        Decoder(compression=compression).feed(HELLO, TEXT)


def test_zlib_stream_shares_one_context():
    """The second piece is only readable with the first's window."""
    decoder = Decoder(compression="zlib-stream")
    for sequence, piece in enumerate(deflated(dispatch(sequence=1), dispatch(sequence=2)), start=1):
        assert decoder.feed(piece, BINARY).sequence == sequence


def test_zlib_message_over_several_websocket_messages():
    """case 16: a gateway message ends where the gathered data ends with 00 00 FF FF."""
    piece = deflated(HELLO)[0]
    decoder = Decoder(compression="zlib-stream")
    assert decoder.feed(piece[:10], BINARY) is None
    assert decoder.feed(b"", BINARY) is None
    assert decoder.feed(piece[10:], BINARY).op == 10


@pytest.mark.parametrize("tail", [1, 2, 3, 4])
def test_zlib_suffix_may_be_split(tail):
    """The suffix is looked for in what has been gathered, not in the last message."""
    first, second = deflated(HELLO, dispatch())
    decoder = Decoder(compression="zlib-stream")
    assert decoder.feed(first[:-tail], BINARY) is None
    assert decoder.feed(first[-tail:], BINARY).op == 10
    assert decoder.feed(second, BINARY).name == "MESSAGE_CREATE"


def test_zlib_fragments_and_messages_mix():
    """case 16: websocket fragments inside a gateway message that spans websocket messages."""
    piece = deflated(HELLO)[0]
    decoder = Decoder(compression="zlib-stream")
    assert decoder.feed(piece[:5], BINARY, False) is None
    assert decoder.feed(piece[5:9], CONTINUATION, False) is None
    assert decoder.feed(b"", CONTINUATION, True) is None
    assert decoder.feed(piece[9:-1], BINARY, False) is None
    assert decoder.feed(piece[-1:], CONTINUATION, False) is None
    assert decoder.feed(b"", CONTINUATION, True).op == 10


def test_zlib_gathering_is_limited():
    """What never ends with the suffix does not gather for ever."""
    decoder = Decoder(compression="zlib-stream", max_message_bytes=1000)
    for _ in range(50):
        decoder.feed(b"x" * 20, BINARY)
    with pytest.raises(MessageTooBig):
        decoder.feed(b"x", BINARY)


def test_zlib_gathering_gives_its_buffer_back():
    """A large message in parts leaves no large buffer behind."""
    noise = random.Random(1).randbytes(300_000).hex().encode()
    big, small = deflated(dispatch(data=b'"%s"' % noise), HELLO)
    decoder = Decoder(compression="zlib-stream")
    decoder.feed(big[:100_000], BINARY)
    decoder.feed(big[100_000:], BINARY)
    decoder.feed(small[:4], BINARY)
    assert decoder.feed(small[4:], BINARY).op == 10
    assert decoder.buffer_capacity <= 16_384


def test_corrupt_zlib_closes_resumably():
    """A broken stream is a DecodeError whose close code keeps the session."""
    with pytest.raises(DecodeError) as caught:
        Decoder(compression="zlib-stream").feed(b"not zlib\x00\x00\xff\xff", BINARY)
    assert caught.value.close_code not in (1000, 1001)


def test_zlib_stream_that_ended():
    """After the end of the stream there is nothing to read: an error, not silence."""
    stream = zlib.compressobj()
    last = stream.compress(HELLO) + stream.flush(zlib.Z_FINISH)
    decoder = Decoder(compression="zlib-stream")
    decoder.feed(last + b"\x00\x00\xff\xff", BINARY)
    with pytest.raises(DecodeError):
        decoder.feed(deflated(HELLO)[0], BINARY)


def test_zstd_endless_frame():
    """Discord's way: one frame for the connection, one flush per message."""
    decoder = Decoder(compression="zstd-stream")
    for sequence, piece in enumerate(endless(*(dispatch(sequence=i) for i in (1, 2, 3))), start=1):
        assert decoder.feed(piece, BINARY).sequence == sequence


@pytest.mark.parametrize("size", [2**exponent for exponent in range(14, 21)])
@pytest.mark.parametrize("pack", [endless, deflated])
def test_output_that_exactly_fills_a_buffer(pack, size):
    """case 17: no tail is left for the next message, whatever blocks the output comes in."""
    compression = "zstd-stream" if pack is endless else "zlib-stream"
    around = len(dispatch(data=b'""'))
    for filled in (size - 1, size, size + 1):
        data = b'"%s"' % random.Random(filled).randbytes(filled).hex()[: filled - around].encode()
        texts = [dispatch(), dispatch(data=data), dispatch(data=b'"next"')]
        assert len(texts[1]) == filled
        decoder = Decoder(compression=compression)
        events = [decoder.feed(piece, BINARY) for piece in pack(*texts)]
        assert [event.raw for event in events] == [b'{"id":"1"}', data, b'"next"']


def test_zstd_whole_frame_per_message():
    """Other servers end a frame with each message; a new decompressor takes the next."""
    decoder = Decoder(compression="zstd-stream")
    for sequence in (1, 2, 3):
        event = decoder.feed(zstd.compress(dispatch(sequence=sequence)), BINARY)
        assert event.sequence == sequence


def test_zstd_message_of_several_frames():
    """Unused data after the end of a frame feeds the next decompressor first."""
    text = dispatch(data=b'"a and b"')
    pieces = [zstd.compress(text[a:b]) for a, b in ((0, 10), (10, 11), (11, len(text)))]
    assert Decoder(compression="zstd-stream").feed(b"".join(pieces), BINARY).data == "a and b"


def test_zstd_frame_ends_inside_a_message():
    """An endless frame may begin in the message in which its predecessor ended."""
    text = dispatch()
    head = zstd.compress(text[:20])
    second = zstd.ZstdCompressor()
    tail = second.compress(text[20:], zstd.ZstdCompressor.FLUSH_BLOCK)
    decoder = Decoder(compression="zstd-stream")
    assert decoder.feed(head + tail, BINARY).sequence == 1
    piece = second.compress(dispatch(sequence=2), zstd.ZstdCompressor.FLUSH_BLOCK)
    assert decoder.feed(piece, BINARY).sequence == 2


def test_corrupt_zstd():
    """Garbage is a DecodeError."""
    with pytest.raises(DecodeError):
        Decoder(compression="zstd-stream").feed(b"\x00" * 20, BINARY)


def test_payload_compression_message_by_message():
    """Identify's `compress`: binary is one zlib blob, text is plain, in any order."""
    decoder = Decoder(compression="payload")
    assert decoder.feed(HELLO, TEXT).op == 10
    assert decoder.feed(zlib.compress(dispatch(sequence=1)), BINARY).sequence == 1
    assert decoder.feed(dispatch(sequence=2), TEXT).sequence == 2
    assert decoder.feed(zlib.compress(dispatch(sequence=3)), BINARY).sequence == 3


def test_payload_that_breaks_off():
    """A blob without its end is an error."""
    with pytest.raises(DecodeError):
        Decoder(compression="payload").feed(zlib.compress(HELLO)[:-3], BINARY)


def packed(compression, text):
    if compression == "zstd-stream":
        return endless(text)[0]
    return zlib.compress(text) if compression == "payload" else deflated(text)[0]


@pytest.mark.parametrize("compression", ["zlib-stream", "zstd-stream", "payload"])
def test_output_that_exactly_fills_the_limit(compression):
    """case 17: the limit itself is allowed, one byte more is not."""
    text = dispatch(data=b'"' + b"x" * 500_000 + b'"')
    piece = packed(compression, text)
    decoder = Decoder(compression=compression, max_message_bytes=len(text))
    assert len(decoder.feed(piece, BINARY).data) == 500_000
    decoder = Decoder(compression=compression, max_message_bytes=len(text) - 1)
    with pytest.raises(MessageTooBig) as caught:
        decoder.feed(piece, BINARY)
    assert caught.value.close_code == 1009


@pytest.mark.parametrize("compression", ["zlib-stream", "zstd-stream", "payload"])
def test_bomb_is_stopped_while_it_unpacks(compression):
    """The size reported shows that nothing beyond the limit was produced."""
    bomb = packed(compression, b" " * 50_000_000)
    decoder = Decoder(compression=compression, max_message_bytes=100_000)
    with pytest.raises(MessageTooBig) as caught:
        decoder.feed(bomb, BINARY)
    assert caught.value.size == 100_001


def test_bomb_of_many_small_frames():
    """The limit counts over all zstd frames of a message."""
    bomb = zstd.compress(b" " * 1000) * 200
    decoder = Decoder(compression="zstd-stream", max_message_bytes=100_000)
    with pytest.raises(MessageTooBig) as caught:
        decoder.feed(bomb, BINARY)
    assert caught.value.size == 100_001


@pytest.mark.parametrize("compression", ["zlib-stream", "zstd-stream", "payload"])
def test_limit_as_large_as_the_machine(compression):
    """sys.maxsize as "no limit" works."""
    decoder = Decoder(compression=compression, max_message_bytes=sys.maxsize)
    assert decoder.feed(packed(compression, HELLO), BINARY).op == 10


def test_unknown_compression():
    """A compression we do not speak is refused at once."""
    with pytest.raises(ValueError, match="etf"):
        Decoder(compression="etf")


@pytest.mark.parametrize("option", ["max_message_bytes", "max_fragments"])
def test_limits_below_one(option):
    """A limit that allows nothing is a mistake."""
    with pytest.raises(ValueError, match=option):
        Decoder(**{option: 0})


# -------------------------------------------------------------------------------------- counters


def test_counters():
    """messages, dispatches, delivered, dropped and bytes tell what passed."""
    first, second, third = deflated(dispatch(sequence=1), dispatch("TYPING_START", 2), HELLO)
    decoder = Decoder(compression="zlib-stream", interests=["MESSAGE_CREATE"])
    for piece in (first[:3], first[3:], second, third):
        decoder.feed(piece, BINARY)
    assert decoder.messages == 4
    assert (decoder.dispatches, decoder.delivered, decoder.dropped) == (2, 1, 1)
    assert decoder.bytes_received == len(first) + len(second) + len(third)
    plain = [dispatch(sequence=1), dispatch("TYPING_START", 2), HELLO]
    assert decoder.bytes_decoded == sum(map(len, plain))


def test_dropping_allocates_nothing():
    """100,000 dropped events move the number of allocated blocks by less than ten."""
    decoder = Decoder(interests=["INTERACTION_CREATE"])
    dropped = [dispatch("PRESENCE_UPDATE", i, b'{"user":{"id":"1"}}') for i in range(1000)]
    feed = decoder.feed
    for payload in dropped:
        feed(payload, TEXT, True)
    before = sys.getallocatedblocks()
    for _ in range(100):
        for payload in dropped:
            feed(payload, TEXT, True)
    moved = sys.getallocatedblocks() - before
    assert decoder.dropped == 101_000
    assert abs(moved) < 10


def test_events_are_freed():
    """Delivered events leave nothing behind either, once they are let go."""
    decoder = Decoder()
    payload = dispatch()
    for _ in range(100):
        decoder.feed(payload, TEXT, True)
    before = sys.getallocatedblocks()
    for _ in range(20_000):
        event = decoder.feed(payload, TEXT, True)
        assert event.data
    del event
    assert abs(sys.getallocatedblocks() - before) < 10


@pytest.mark.parametrize("kind", [Event, Message, Interests, Sequence, Decoder])
def test_objects_made_past_their_constructor_are_harmless(kind):
    """`__new__` without `__init__` may raise, but never reads what is not there."""
    try:
        made = kind.__new__(kind)
    except TypeError:
        return
    for name in ("__repr__", "__reduce__", *(n for n in dir(made) if not n.startswith("__"))):
        with contextlib.suppress(TypeError):
            value = getattr(made, name)
            if name.startswith("__"):
                value()
