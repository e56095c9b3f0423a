"""
Whole gateway sessions, encoded once: what the server sends, and what a client must have seen.

A session is three runs of websocket frames, all through one compression context as on the wire:

    hello     HELLO; sent when the upgrade is done
    prelude   READY, a GUILD_CREATE for each guild, some mixed events; sent after IDENTIFY
    measured  sent when the client says that it has settled

Prelude and measured part both end with an INTERACTION_CREATE. Every entrant wants that event,
whatever else it wants, so each of them notices the end without looking at what it drops.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path

import orjson

from fastgw import Intents
from fastgw.testing.service.identify import ready_data
from fastgw.testing.service.session import FakeSession
from fastgw.testing.traffic.traffic import Dispatch, Traffic, encode

try:
    from compression import zstd
except ImportError:
    from backports import zstd

from zlib_ng import zlib_ng

LAST = "INTERACTION_CREATE"
COMPRESSIONS = ("none", "zlib", "zstd")

_TEXT, _BINARY = 1, 2
# Longer than any run: a heartbeat or its ACK would be an event that the prepared stream lacks.
_HEARTBEAT_INTERVAL_MS = 3_600_000
# Seen in a captured HELLO (256 KiB window); level 6 and a flush per message for zlib are assumed.
_ZSTD_OPTIONS = {
    zstd.CompressionParameter.compression_level: 3,
    zstd.CompressionParameter.window_log: 18,
}


@dataclass(frozen=True)
class Workload:
    """
    What the server sends.

    Attributes:
        name: of the workload, and of its files.
        events: how many are measured, the last INTERACTION_CREATE included.
        guilds: how many the bot is in.
        burst: measured is the start-up burst of that many guilds instead of the usual mix.
        per_second: send one event at a time, this often; 0 keeps the socket full.
        seed: of the traffic.
    """

    name: str
    events: int
    guilds: int = 200
    burst: bool = False
    per_second: int = 0
    seed: int = 20_250_101

    def dispatches(self) -> tuple[list[Dispatch], list[Dispatch], list[int]]:
        """Make prelude, measured part, and the ids of all guilds."""
        guilds = self.events - 1 if self.burst else self.guilds
        traffic = Traffic(self.seed, guilds=guilds)
        ids = traffic.guild_ids
        # The burst itself brings the guilds; a few before it warm the client up.
        known = ids[:10] if self.burst else ids
        prelude = [*traffic.startup(known), *traffic.dispatches(300), traffic.dispatch(LAST)]
        body = traffic.startup() if self.burst else traffic.dispatches(self.events - 1)
        return prelude, [*body, traffic.dispatch(LAST)], ids


@dataclass(frozen=True)
class Expected:
    """
    What a client that wants certain names must have counted at the end of a part.

    Attributes:
        events: how many of them there are.
        guild_ids: the sum of their guild ids.
        sequences: the sum of their sequences.
        contents: the length of `content` of all of them.
    """

    events: int
    guild_ids: int
    sequences: int
    contents: int


@dataclass
class Session:
    """
    One workload in one compression, written to a file that the server reads.

    Attributes:
        workload, compression: what it is.
        path: the file; see `load`.
        messages: number of gateway messages up to the end of the prelude, and measured.
        plain_bytes: of the measured part, decompressed.
        wire_bytes: of the measured part, in frames.
    """

    workload: Workload
    compression: str
    path: Path
    prelude: list[Dispatch] = field(repr=False)
    measured: list[Dispatch] = field(repr=False)
    messages: tuple[int, int]
    plain_bytes: int
    wire_bytes: int

    def names(self) -> list[str]:
        """Every event name that occurs, sorted."""
        return sorted({d.name for part in (self.prelude, self.measured) for d in part})

    def expect(self, names: Iterable[str]) -> tuple[Expected, Expected]:
        """Return what there is to count of these names: in the prelude, in the measured part."""
        wanted = frozenset(names)
        first = 2  # READY has sequence 1
        return (
            _expect(self.prelude, wanted, first),
            _expect(self.measured, wanted, first + len(self.prelude)),
        )


def _expect(part: list[Dispatch], wanted: frozenset[str], first_sequence: int) -> Expected:
    seen = [(s, d) for s, d in enumerate(part, first_sequence) if d.name in wanted]
    return Expected(
        events=len(seen),
        guild_ids=sum(d.guild_id or 0 for _, d in seen),
        sequences=sum(s for s, _ in seen),
        contents=sum(len(orjson.loads(d.data).get("content") or "") for _, d in seen),
    )


def build(workload: Workload, compression: str, directory: Path) -> Session:
    """Make a session's dispatches, compress and frame them, and write them for the server."""
    prelude, measured, guild_ids = workload.dispatches()
    ready = _ready(guild_ids)
    sequenced = [Dispatch("READY", ready, None), *prelude, *measured]
    plain = [_hello()] + [encode(d.name, s, d.data) for s, d in enumerate(sequenced, 1)]
    opcode = _TEXT if compression == "none" else _BINARY
    compress = compressor(compression)
    frames = [_frame(compress(message), opcode) for message in plain]
    before = 2 + len(prelude)
    parts = (frames[:1], frames[1:before], frames[before:])
    path = directory / f"{workload.name}-{compression}.session"
    _write(path, parts)
    return Session(
        workload=workload,
        compression=compression,
        path=path,
        prelude=prelude,
        measured=measured,
        messages=(before, len(measured)),
        plain_bytes=sum(map(len, plain[before:])),
        wire_bytes=sum(map(len, parts[2])),
    )


def compressor(compression: str) -> Callable[[bytes], bytes]:
    """Return a function that compresses one message after the other in one context."""
    if compression == "none":
        return bytes
    if compression == "zlib":
        deflate = zlib_ng.compressobj(6)
        return lambda m: deflate.compress(m) + deflate.flush(zlib_ng.Z_SYNC_FLUSH)
    context = zstd.ZstdCompressor(options=_ZSTD_OPTIONS)
    return lambda m: context.compress(m, context.FLUSH_BLOCK)


def _hello() -> bytes:
    body = '{"t":null,"s":null,"op":10,"d":{"heartbeat_interval":%d,"_trace":["[]"]}}'
    return (body % _HEARTBEAT_INTERVAL_MS).encode()


def _ready(guild_ids: list[int]) -> bytes:
    """READY's `d`, as the fake gateway says it."""
    session = FakeSession("0" * 32, shard_id=0, shard_count=1, intents=0, sequence=1)
    guilds = [Dispatch("GUILD_CREATE", b"", guild_id) for guild_id in guild_ids]
    # Nobody reconnects in a benchmark: a client that tries must fail.
    return orjson.dumps(ready_data(session, guilds, "ws://127.0.0.1:9", Intents.all()))


def _frame(payload: bytes, opcode: int) -> bytes:
    """One unmasked websocket frame with FIN set (RFC 6455 5.2)."""
    size = len(payload)
    if size < 126:
        return struct.pack("!BB", 0x80 | opcode, size) + payload
    if size < 65_536:
        return struct.pack("!BBH", 0x80 | opcode, 126, size) + payload
    return struct.pack("!BBQ", 0x80 | opcode, 127, size) + payload


def _write(path: Path, parts: tuple[list[bytes], ...]) -> None:
    """A line of JSON with the lengths of the parts' frames, then all frames."""
    with path.open("wb") as file:
        lengths = [[len(frame) for frame in part] for part in parts]
        file.write(json.dumps(lengths, separators=(",", ":")).encode() + b"\n")
        for part in parts:
            file.writelines(part)


@dataclass(frozen=True)
class Frames:
    """A part of a session as the server sends it: all bytes, and where each frame ends."""

    data: memoryview
    ends: list[int]


def load(path: str) -> tuple[Frames, Frames, Frames]:
    """Read what `build` wrote: hello, prelude, measured."""
    header, _, body = Path(path).read_bytes().partition(b"\n")
    view, start, parts = memoryview(body), 0, []
    for lengths in json.loads(header):
        ends = list(accumulate(lengths))
        size = ends[-1] if ends else 0
        parts.append(Frames(view[start : start + size], ends))
        start += size
    hello, prelude, measured = parts
    return hello, prelude, measured
