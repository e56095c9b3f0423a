"""
Gateway streams for the decoder's tests: what a service may send, and what it should not.

Two sources share one vocabulary. `generate_stream(seed)` is a fast seeded generator for bulk runs;
a run of a million streams names its failures by seed. The hypothesis strategies are slower,
and shrink what they find.

A `Stream` is a list of websocket frames with everything a decoder must be told to read them. The
plain messages inside are kept beside the frames, so that a test can ask `orjson.loads` what they
meant; `damaged` says that the frames no longer carry them faithfully.
"""

from __future__ import annotations

import json
import random
import sys
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from hypothesis import strategies as st

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

COMPRESSIONS = ("none", "zlib-stream", "zstd-stream", "payload")
TEXT, BINARY, CONTINUATION = 1, 2, 0

WANTED = ("MESSAGE_CREATE", "GUILD_CREATE", "INTERACTION_CREATE", "READY", "X", "GUILD_UPDATE")
UNWANTED = (
    "PRESENCE_UPDATE",
    "TYPING_START",
    "GUILD_DELETE",
    "MESSAGE_CREATED",
    "GUILD_CREAT",
    "Y",
)
ODD_NAMES = (
    "",
    "B\\\\S",
    "é",
    "A" * 300,
    'Q"T',
    "B\\S",
    "MESSAGE_\nCREATE",
    "\U0001f600",
    "a\x00b",
    "READY ",
)
TEXTS = (
    "hello",
    "",
    "ünïcödé 漢字 \U0001f600",
    '","guild_id":"5"}}',
    '{"t":"READY","s":9,"op":0,"d":{}}',
    "}}}]]]",
    "back\\slash\\",
    '"quoted"',
    "tab\tnewline\n\x00\x1f",
    "x" * 70,
    "y" * 15 + '"' + "z" * 16 + "\\",
)


@dataclass(slots=True)
class Stream:
    """One connection's worth of frames: `(payload, opcode, fin)` in order."""

    compression: str
    frames: list[tuple[bytes, int, bool]]
    messages: list[bytes]
    interests: tuple[str, ...] | None = WANTED
    damaged: bool = False
    max_message_bytes: int = 1 << 20
    seed: int | None = None
    resume_from: int | None = None
    replay: bool = False
    notes: list[str] = field(default_factory=list)


# ---------------------------------------------------------------------------------- plain messages


def _value(rng: random.Random, depth: int = 0) -> object:
    roll = rng.random()
    if depth > 3 or roll < 0.45:
        return rng.choice(
            (None, True, False, 0, -1, 1.5, 1e300, 2**53, 2**63, 2**70, rng.randrange(10**9),
             str(rng.randrange(10**19)), rng.choice(TEXTS), rng.choice(TEXTS))
        )  # fmt: skip
    if roll < 0.6:
        return [_value(rng, depth + 1) for _ in range(rng.randrange(4))]
    return {_key(rng): _value(rng, depth + 1) for _ in range(rng.randrange(5))}


def _key(rng: random.Random) -> str:
    if rng.random() < 0.4:
        return rng.choice(("guild_id", "id", "t", "s", "op", "d", "guild", "identity_guild_id"))
    return rng.choice(("content", "author", "é", "", 'a"b', "k\\", "channel_id", "member"))


def _guild_id(rng: random.Random) -> object:
    snowflake = rng.randrange(1 << 62)
    return rng.choice(
        (str(snowflake), str(snowflake), str(snowflake), snowflake, None, "", "12a", "-5", "0", -7,
         1.0, True, "0012", "1" * 19, "9" * 19, "1" * 25, " 5", "٣", [str(snowflake)], 2**63,
         2**63 - 1, 2**64, 2**70, "\u0035")
    )  # fmt: skip


def _data(rng: random.Random) -> object:
    if rng.random() < 0.15:
        return _value(rng)
    data = {_key(rng): _value(rng, 1) for _ in range(rng.randrange(6))}
    if rng.random() < 0.6:
        data.pop("guild_id", None)
        data["guild_id"] = _guild_id(rng)  # at the very end, as many dispatches have it
        if rng.random() < 0.3:
            data["zz"] = _value(rng, 1)
    if rng.random() < 0.3:
        data["id"] = _guild_id(rng)
    return data


def _text(rng: random.Random, value: object) -> str:
    """Write JSON as the service does, or as another honest serialiser might."""
    ascii_only = rng.random() < 0.3
    if rng.random() < 0.7:
        return json.dumps(value, separators=(",", ":"), ensure_ascii=ascii_only)
    separators = rng.choice(((", ", ": "), (" ,", " :"), ("\n,\t", "\r:  ")))
    if isinstance(value, dict) and rng.random() < 0.3:
        write = _escape_some
        parts = (
            f"{write(rng, k)}: {write(rng, v) if isinstance(v, str) else _text(rng, v)}"
            for k, v in value.items()
        )
        return f"{{{', '.join(parts)}}}"
    indent = rng.choice((None, None, 1))
    return json.dumps(value, separators=separators, ensure_ascii=ascii_only, indent=indent)


def _escape_some(rng: random.Random, text: str) -> str:
    """Write a string with needless escapes, which a reader must see through."""
    return '"' + "".join(
        f"\\u{ord(c):04x}" if ord(c) < 0x10000 and rng.random() < 0.3 else json.dumps(c)[1:-1]
        for c in text
    ) + '"'  # fmt: skip


def _name(rng: random.Random) -> object:
    roll = rng.random()
    if roll < 0.55:
        return rng.choice(WANTED)
    if roll < 0.85:
        return rng.choice(UNWANTED)
    return rng.choice(ODD_NAMES) if roll < 0.95 else rng.choice((None, 5, [], {"t": "X"}, True))


def _sequence(rng: random.Random, counter: int) -> object:
    if rng.random() < 0.85:
        return counter
    return rng.choice(
        (0, None, -1, 1.0, "7", True, 2**31, 2**32 + 5, 2**53, 10**17, 10**18 - 1, 10**18,
         2**63 - 1, 2**63, 2**64, 2**70, [], counter - 1, counter + 3)
    )  # fmt: skip


def _op(rng: random.Random) -> object:
    roll = rng.random()
    if roll < 0.8:
        return 0
    if roll < 0.93:
        return rng.choice((1, 7, 9, 10, 11))
    return rng.choice(
        (255, -1, 2**31 - 1, 2**31, 2**40, 2**64, None, True, False, "0", 0.0, 1.5, [0])
    )


def generate_message(rng: random.Random, counter: int) -> bytes:
    """Make one valid JSON text that is a gateway message, or nearly one."""
    roll = rng.random()
    if roll < 0.02:
        return _text(rng, _value(rng)).encode("utf-8", "surrogatepass")
    name, sequence, op, data = _name(rng), _sequence(rng, counter), _op(rng), _data(rng)
    if op != 0 and rng.random() < 0.8:
        name = sequence = None
    if roll < 0.6:  # the template, byte for byte
        pieces = [
            '{"t":', json.dumps(name, ensure_ascii=False), ',"s":', json.dumps(sequence),
            ',"op":', json.dumps(op), ',"d":',
            json.dumps(data, separators=(",", ":"), ensure_ascii=rng.random() < 0.3), "}",
        ]  # fmt: skip
        if rng.random() < 0.1:  # nearly the template
            pieces.insert(rng.randrange(len(pieces) + 1), rng.choice((" ", "\n", "\t \r")))
        if rng.random() < 0.05:
            pieces.insert(-1, f',"{rng.choice(("x", "dd", "op", "T"))}":{_text(rng, _value(rng))}')
        return "".join(pieces).encode()
    members = [("t", name), ("s", sequence), ("op", op), ("d", data)]
    if rng.random() < 0.6:
        rng.shuffle(members)
    if rng.random() < 0.15:
        del members[rng.randrange(len(members))]
    for _ in range(rng.choice((0, 0, 0, 1, 2))):
        extra = rng.choice(
            (("t", _name(rng)), ("s", _sequence(rng, counter)), ("op", _op(rng)), ("d", _data(rng)),
             ("x", _value(rng)), ("", 1), ("tt", "X"))
        )  # fmt: skip
        members.insert(rng.randrange(len(members) + 1), extra)
    space = rng.choice(("", "", " ", "\n  ", "\t\r\n"))
    parts = []
    for key, value in members:
        key_text = _escape_some(rng, key) if rng.random() < 0.05 else json.dumps(key)
        if isinstance(value, str) and rng.random() < 0.1:
            value_text = _escape_some(rng, value)
        else:
            value_text = _text(rng, value)
        parts.append(f"{space}{key_text}{space}:{space}{value_text}{space}")
    return f"{space}{{{','.join(parts)}}}{space}".encode()


# ------------------------------------------------------------------------------------------ damage


def _flip(rng: random.Random, data: bytes) -> bytes:
    at = rng.randrange(len(data))
    return data[:at] + bytes((rng.randrange(256),)) + data[at + 1 :]


def _cut_off(rng: random.Random, data: bytes) -> bytes:
    return data[: rng.randrange(len(data))]


JUNK = (
    b'"', b"\\", b"{", b"}", b"]", b",", b":", b"\xff", b"\x00", b"\xc3", b" ", b"0",
    b"\xed\xa0\x80", b"\\ud800", b'"guild_id":"1",', b',"op":0', b"NaN",
)  # fmt: skip


def _insert(rng: random.Random, data: bytes) -> bytes:
    at = rng.randrange(len(data) + 1)
    return data[:at] + rng.choice(JUNK) + data[at:]


def _delete(rng: random.Random, data: bytes) -> bytes:
    at = rng.randrange(len(data))
    return data[:at] + data[at + 1 + rng.randrange(4) :]


def _append(rng: random.Random, data: bytes) -> bytes:
    return data + rng.choice((b"}", b" ", b"\x00", b"x", b"{}", b",", b"\xff"))


DAMAGES: tuple[Callable[[random.Random, bytes], bytes], ...] = (
    _flip, _flip, _cut_off, _insert, _insert, _delete, _append,
)  # fmt: skip


def damage(rng: random.Random, data: bytes) -> bytes:
    """Return `data` with one thing wrong; now and then it is still right."""
    return rng.choice(DAMAGES)(rng, data) if data else b"\x00"


# -------------------------------------------------------------------------- compression and framing


def compress(
    messages: Sequence[bytes], compression: str, rng: random.Random
) -> list[tuple[bytes, int]]:
    """Turn plain messages into whole websocket messages, `(payload, opcode)`."""
    if compression == "none":
        return [(m, TEXT if rng.random() < 0.9 else BINARY) for m in messages]
    if compression == "payload":
        return [
            (zlib.compress(m, rng.randrange(10)), BINARY) if rng.random() < 0.6 else (m, TEXT)
            for m in messages
        ]
    if compression == "zlib-stream":
        deflate = zlib.compressobj(rng.randrange(10))
        pieces = [deflate.compress(m) + deflate.flush(zlib.Z_SYNC_FLUSH) for m in messages]
        return [(part, BINARY) for piece in pieces for part in _split_some(rng, piece)]
    return [(piece, BINARY) for piece in _zstd_pieces(messages, rng)]


def _split_some(rng: random.Random, piece: bytes) -> list[bytes]:
    """Spread a zlib piece over several websocket messages, the suffix too."""
    if rng.random() < 0.7:
        return [piece]
    cuts = sorted(rng.randrange(len(piece) + 1) for _ in range(rng.randrange(1, 4)))
    if rng.random() < 0.5:
        cuts[-1] = len(piece) - rng.randrange(1, 5)
        cuts.sort()
    return _cut(piece, cuts)


def _cut(data: bytes, cuts: Sequence[int]) -> list[bytes]:
    bounds = [0, *cuts, len(data)]
    return [data[a:b] for a, b in pairwise(bounds)]


def _zstd_pieces(messages: Sequence[bytes], rng: random.Random) -> list[bytes]:
    """One endless frame; or a whole frame each; or ends here and there, also inside a message."""
    style = rng.choice(("endless", "endless", "whole", "mixed"))
    level = rng.randrange(1, 4)
    if style == "whole":
        return [zstd.compress(m, level) for m in messages]
    pieces = []
    compressor = zstd.ZstdCompressor(level)
    for message in messages:
        if style == "mixed" and rng.random() < 0.4:
            at = rng.randrange(len(message) + 1)
            head = compressor.compress(message[:at], zstd.ZstdCompressor.FLUSH_FRAME)
            compressor = zstd.ZstdCompressor(level)
            tail = compressor.compress(message[at:], zstd.ZstdCompressor.FLUSH_BLOCK)
            pieces.append(head + tail)
        else:
            pieces.append(compressor.compress(message, zstd.ZstdCompressor.FLUSH_BLOCK))
    return pieces


def fragment(
    messages: Sequence[tuple[bytes, int]], rng: random.Random, style: str
) -> list[tuple[bytes, int, bool]]:
    """Cut websocket messages into frames: "whole", "bytes" (one each) or "random"."""
    frames: list[tuple[bytes, int, bool]] = []
    for payload, opcode in messages:
        if style == "whole" or (style == "random" and rng.random() < 0.5):
            frames.append((payload, opcode, True))
            continue
        if style == "bytes":
            cuts: list[int] = list(range(1, len(payload)))
        else:
            cuts = sorted(rng.randrange(len(payload) + 1) for _ in range(rng.randrange(1, 5)))
        pieces = _cut(payload, cuts)
        if rng.random() < 0.3:
            pieces.append(b"")  # some servers end a message with an empty frame
        last = len(pieces) - 1
        frames += [(p, CONTINUATION if i else opcode, i == last) for i, p in enumerate(pieces)]
    return frames


def generate_stream(seed: int) -> Stream:
    """Make stream number `seed`; the same seed always gives the same stream."""
    rng = random.Random(seed)
    compression = rng.choice(COMPRESSIONS)
    counter = rng.randrange(1, 50)
    messages = [generate_message(rng, counter + i) for i in range(rng.randrange(1, 5))]
    stream = Stream(compression, [], messages, seed=seed)
    if rng.random() < 0.2:
        stream.interests = rng.choice((None, None, (), WANTED + ODD_NAMES, WANTED + ODD_NAMES))
    if rng.random() < 0.15:
        stream.resume_from = max(0, counter + rng.randrange(-2, 4))
        stream.replay = rng.random() < 0.7
    if rng.random() < 0.3:
        stream.notes.append("json")
        at = rng.randrange(len(messages))
        messages[at] = damage(rng, messages[at])
    whole = compress(messages, compression, rng)
    if rng.random() < 0.08:
        stream.notes.append("stream")
        stream.damaged = True
        at = rng.randrange(len(whole))
        whole[at] = damage(rng, whole[at][0]), whole[at][1]
    style = rng.choice(("whole", "random", "random", "bytes"))
    if style == "bytes" and sum(len(p) for p, _ in whole) > 600:
        style = "whole"
    stream.frames = fragment(whole, rng, style)
    if rng.random() < 0.06:
        stream.notes.append("frames")
        stream.damaged = True
        at = rng.randrange(len(stream.frames))
        payload, opcode, fin = stream.frames[at]
        stream.frames[at] = rng.choice(
            ((payload, rng.choice((0, 1, 2)), fin), (payload, opcode, not fin),
             (payload, rng.randrange(3, 8), fin))
        )  # fmt: skip
    if rng.random() < 0.05:
        stream.notes.append("limit")
        stream.damaged = True
        stream.max_message_bytes = rng.randrange(1, max(map(len, messages)) * 2 + 2)
    return stream


# ------------------------------------------------------------------------------------- hypothesis

texts = st.text(st.characters(codec="utf-8"), max_size=20)
keys = st.sampled_from(("guild_id", "id", "t", "op", "s", "d")) | texts
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    texts,
    st.sampled_from(TEXTS),
)
json_values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=8,
)
snowflakes = st.integers(0, 2**63 - 1).map(str)
names = st.sampled_from(WANTED + UNWANTED + ODD_NAMES) | texts


@st.composite
def messages(draw: st.DrawFn) -> bytes:
    """A valid gateway message in any key order and spacing."""
    data = draw(json_values)
    if isinstance(data, dict) and draw(st.booleans()):
        data["guild_id"] = draw(snowflakes | json_values)
    members = [
        ("t", draw(names)),
        ("s", draw(st.integers(0, 2**63 - 1) | json_values)),
        ("op", draw(st.sampled_from((0, 0, 0, 1, 7, 9, 10, 11)))),
        ("d", data),
    ]
    members = draw(st.just(members) | st.permutations(members))
    separators = draw(st.sampled_from(((",", ":"), (",", ":"), (", ", ": "), (" ,\n", "\t: "))))
    text = json.dumps(dict(members), separators=separators, ensure_ascii=draw(st.booleans()))
    return text.encode()


@st.composite
def streams(draw: st.DrawFn) -> Stream:
    """A faithful stream of valid messages, any compression, any cuts."""
    plain = draw(st.lists(messages(), min_size=1, max_size=4))
    compression = draw(st.sampled_from(COMPRESSIONS))
    rng = random.Random(draw(st.integers(0, 2**32)))
    style = draw(st.sampled_from(("whole", "random", "bytes")))
    frames = fragment(compress(plain, compression, rng), rng, style)
    interests = draw(st.sampled_from((None, WANTED, ())))
    return Stream(compression, frames, plain, interests=interests)
