"""
The decoder in plain Python: the oracle for `fastgw._decode`, not a fallback.

It says the same as the compiled module as simply as Python can: regular expressions, the standard
library's zlib, zstd and orjson. What it settles, where RFC 6455, RFC 8259 and Discord's
documentation leave room:

Frames. Opcode 0 without a message to continue, 1 or 2 inside an unfinished message, and any other
opcode are ProtocolError 1002. Control frames never come here. Empty frames count as fragments.

Compression. "none": text or binary, both plain. "payload": text is plain, binary one zlib blob,
whose end must be there, and nothing behind it. "zlib-stream": binary only; a gateway message is
complete when the data gathered since the last one ends with 00 00 FF FF; nothing else may follow
the stream's own end. "zstd-stream": binary only; one websocket message is one gateway message, a
finished zstd frame is followed by a new one, in the same message (128 at most) or the next; windows
have 8 MiB at most. Output of nothing is no message. The output limit strikes at the first byte
above it (MessageTooBig, 1009), and so does the limit on gathered input.

Envelope. Two readings. The *template* is `{"t":"NAME","s":N,"op":0,"d":D}` byte for byte, NAME of
A-Z 0-9 _, N of at most 18 digits, D anything that does not begin with white space and in which no
opening brace stands behind a byte up to 0x20 or from 0x7D on: then no second object can follow the
first (one message is one JSON text). It routes without another look into D. Everything else is
*walked*: members of the outermost object in any order,
strings and nesting understood, brackets of both kinds counted as one, other values taken up to the
next delimiter. Of repeated members the last counts. Values of members that do not matter are not
validated. What cannot be walked is a DecodeError.
  op: an integer from 0 to 2^31 - 1, else DecodeError. s: an integer from 0 to 2^63 - 1, else none.
  t: must be valid JSON; a dispatch whose t is no string advances the sequence and is dropped.
  s and t are not looked into where they are containers.
  d: absent is null. For op 0 it is not looked at until somebody asks; for others it must be JSON of
  at most 1 MiB (MessageTooBig).

Events. `raw` is D up to where its value ends, if members follow it. `data` is orjson's reading of
`raw`. `guild_id` is `d.guild_id` (`d.id` for GUILD_CREATE, GUILD_UPDATE, GUILD_DELETE) when it is
decimal digits below 2^63, as a string or bare, else None; of repeated members the first counts,
except one that closes d, which counts before all others.

The one assumption: when a message fits the template and yet has members after d, and the last of
those ends in `,"guild_id":"<digits>"}`, that id is taken for d's. Discord has sent d last since
2018.
"""

from __future__ import annotations

import re
import sys
import zlib
from collections.abc import Iterable
from typing import Any

import orjson

from fastgw.errors import DecodeError, MessageTooBig, NotCompressed, ProtocolError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

SYNC_FLUSH = b"\x00\x00\xff\xff"
MAX_NAME_BYTES = 128  # of names that no one wants, to be counted
SHORT_DATA_BYTES = 34  # up to here d is walked; the same result for what is JSON
SESSION_EVENTS = {"READY", "RESUMED"}
MAX_FRAMES = 128
MAX_OTHER_BYTES = 1 << 20
ZSTD_OPTIONS = {zstd.DecompressionParameter.window_log_max: 23}
GUILD_OBJECT_EVENTS = {"GUILD_CREATE", "GUILD_UPDATE", "GUILD_DELETE"}

TEMPLATE = re.compile(
    rb'\{"t":"(?P<t>[A-Z0-9_]*)","s":(?P<s>0|[1-9][0-9]{0,17}),"op":0,"d":(?P<d>[^ \t\r\n].*)\}',
    re.DOTALL,
)
SECOND_OBJECT = re.compile(rb"[\x00-\x20\x7d-\xff]\{")
SPACE = re.compile(rb"[ \t\r\n]*")
STRING = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
SCALAR = re.compile(rb'[^,}\]{\[": \t\r\n]+')
# Outside of strings a backslash is no JSON; it takes a quote its meaning even there.
BRACKET = re.compile(rb'\\["\\]|["{}\[\]]')
MAX_GAPS = 16
INTEGER = re.compile(rb"-?(0|[1-9][0-9]{0,17})")
DIGITS = re.compile(r"[0-9]{1,19}")
CLOSING_GUILD = re.compile(rb',"guild_id":"([0-9]{1,19})"\}\Z')


class NotWalkableError(Exception):
    """The text breaks off or is no object."""


class ReferenceSequence:
    def __init__(self, last: int | None = None) -> None:
        self.last = last
        self.floor = -1
        self.replaying = False
        self.duplicates = self.gaps = self.missing = self.replayed = 0
        self.open: list[range] = []  # the newest gaps, oldest first

    def start_replay(self) -> None:
        self.replaying, self.floor = True, -1 if self.last is None else self.last

    def end_replay(self) -> None:
        self.replaying, self.floor = False, -1

    def accept(self, sequence: int) -> bool:
        came_late = self.fill(sequence)
        if self.replaying and sequence <= self.floor and not came_late:
            self.duplicates += 1
            return False
        if self.last is None or sequence > self.last:
            if self.last is not None:
                self.leave_out(range(self.last + 1, sequence))
            self.last = sequence
        if self.replaying:
            self.replayed += 1
        return True

    def clear(self) -> None:
        self.last, self.open = None, []
        self.end_replay()

    def leave_out(self, gap: range) -> None:
        if gap:
            self.gaps += 1
            self.missing += gap.stop - gap.start
            self.open = [*self.open, gap][-MAX_GAPS:]

    def fill(self, sequence: int) -> bool:
        for gap in self.open:
            if sequence in gap:
                self.open.remove(gap)
                self.gaps -= 1
                self.missing -= gap.stop - gap.start
                self.leave_out(range(gap.start, sequence))
                self.leave_out(range(sequence + 1, gap.stop))
                return True
        return False


class ReferenceEvent:
    def __init__(self, name: str, sequence: int, shard_id: int, span: bytes, certain: bool) -> None:
        self.name, self.sequence, self.shard_id = name, sequence, shard_id
        self._span, self._certain = span, certain

    @property
    def raw(self) -> bytes:
        if self._certain:
            return self._span
        try:
            end = skip_value(self._span, 0)
        except NotWalkableError:
            return self._span
        return self._span if skip_space(self._span, end) == len(self._span) else self._span[:end]

    @property
    def data(self) -> Any:
        try:
            return orjson.loads(self._span)
        except orjson.JSONDecodeError:
            return parse(self.raw, name=self.name, sequence=self.sequence)

    @property
    def guild_id(self) -> int | None:
        wanted = "id" if self.name in GUILD_OBJECT_EVENTS else "guild_id"
        if wanted == "guild_id" and len(self._span) > SHORT_DATA_BYTES:
            found = CLOSING_GUILD.search(self._span)
            if found and int(found[1]) < 1 << 63:
                return int(found[1])
        if not self._span.startswith(b"{"):
            return None
        try:
            for key, value in members(self._span):
                if key == wanted:
                    return snowflake(value)
        except (NotWalkableError, DecodeError):
            pass
        return None


class ReferenceMessage:
    def __init__(self, op: int, data: Any, sequence: int | None, name: str | None) -> None:
        self.op, self.data, self.sequence, self.name = op, data, sequence, name


class ReferenceDecoder:
    """See `fastgw._decode.Decoder`: the same arguments, the same answers."""

    def __init__(
        self,
        *,
        compression: str = "none",
        interests: Iterable[str] | None = None,
        sequence: ReferenceSequence | None = None,
        shard_id: int = 0,
        max_message_bytes: int = 64 * 1024 * 1024,
        max_fragments: int = 65_536,
        strict: bool = False,
    ) -> None:
        self.compression = compression
        self.interests = None if interests is None else set(interests)
        self.sequence = ReferenceSequence() if sequence is None else sequence
        self.shard_id = shard_id
        self.max_message_bytes, self.max_fragments, self.strict = (
            max_message_bytes, max_fragments, strict,
        )  # fmt: skip
        self.messages = self.dispatches = self.delivered = 0
        self.bytes_received = self.bytes_decoded = 0
        self.counters: dict[str, tuple[int, int, int]] = {}
        self.reset()

    @property
    def dropped(self) -> int:
        return self.dispatches - self.delivered

    def reset(self) -> None:
        self._opcode: int | None = None  # of the unfinished websocket message
        self._fragments: list[bytes] = []
        self._gathered = b""  # zlib-stream: complete websocket messages without a flush yet
        self._zlib = zlib.decompressobj()
        self._zstd = zstd.ZstdDecompressor(options=ZSTD_OPTIONS)

    # -- frames

    def feed(
        self, payload: bytes, opcode: int, fin: bool = True
    ) -> ReferenceEvent | ReferenceMessage | None:
        payload = bytes(payload)
        self.bytes_received += len(payload)
        if opcode not in (0, 1, 2) or (opcode == 0) != (self._opcode is not None):
            raise ProtocolError("frame out of order", close_code=1002)
        if opcode and fin:
            self._check_size(len(payload))
            self.messages += 1
            return self._complete(payload, opcode)
        if opcode:
            self._opcode, self._fragments = opcode, []
        self._fragments.append(payload)
        if len(self._fragments) > self.max_fragments:
            raise MessageTooBig(len(self._fragments), self.max_fragments, "fragments")
        self._check_size(len(self._gathered) + sum(map(len, self._fragments)))
        if not fin:
            return None
        message, opcode = b"".join(self._fragments), self._opcode or 0
        self._opcode = None
        self.messages += 1
        return self._complete(message, opcode)

    def _check_size(self, size: int) -> None:
        if size > self.max_message_bytes:
            raise MessageTooBig(size, self.max_message_bytes)

    # -- compression

    def _complete(self, message: bytes, opcode: int) -> ReferenceEvent | ReferenceMessage | None:
        is_text = opcode == 1
        if self.compression == "none" or (self.compression == "payload" and is_text):
            if self.strict and is_text:
                check_utf8(message)
            return self._route(message)
        if is_text:
            raise NotCompressed(self.compression)
        inflate = {
            "payload": self._inflate_blob,
            "zlib-stream": self._inflate_stream,
            "zstd-stream": self._inflate_zstd,
        }[self.compression]
        try:
            text = inflate(message)
        except (zlib.error, zstd.ZstdError) as error:
            raise DecodeError(str(error)) from error
        return None if text is None else self._route(text)

    def _inflate_blob(self, message: bytes) -> bytes:
        blob = zlib.decompressobj()
        text = blob.decompress(message, self.max_message_bytes + 1)
        self._check_size(len(text))
        if not blob.eof:
            raise DecodeError("zlib message breaks off")
        if blob.unused_data:
            raise DecodeError("zlib message goes on behind its end")
        return text

    def _inflate_stream(self, message: bytes) -> bytes | None:
        self._gathered += message
        self._check_size(len(self._gathered))
        if not self._gathered.endswith(SYNC_FLUSH):
            return None
        gathered, self._gathered = self._gathered, b""
        text = self._zlib.decompress(gathered, self.max_message_bytes + 1)
        self._check_size(len(text))
        if self._zlib.eof and (not text or self._zlib.unused_data not in (b"", SYNC_FLUSH)):
            raise DecodeError("zlib stream has ended")
        return text or None

    def _inflate_zstd(self, message: bytes) -> bytes | None:
        text, rest, frames = b"", message, 1
        while True:
            if self._zstd.eof:
                self._zstd = zstd.ZstdDecompressor(options=ZSTD_OPTIONS)
            text += self._zstd.decompress(rest, self.max_message_bytes + 1 - len(text))
            self._check_size(len(text))
            rest = self._zstd.unused_data if self._zstd.eof else b""
            if not rest:
                return text or None
            frames += 1
            if frames > MAX_FRAMES:
                raise MessageTooBig(frames, MAX_FRAMES, "zstd frames")

    # -- the envelope

    def _route(self, text: bytes) -> ReferenceEvent | ReferenceMessage | None:
        self.bytes_decoded += len(text)
        fits = TEMPLATE.fullmatch(text)
        if fits and SECOND_OBJECT.search(fits["d"]):
            fits = None
        if fits:
            return self._dispatch(fits["t"].decode(), int(fits["s"]), fits["d"], len(text), False)
        op, sequence, name, data = -1, None, None, b"null"
        try:
            for key, value in members(text, whole=True):
                if key == "op":
                    op = int(value) if INTEGER.fullmatch(value) else -1
                elif key == "s":
                    sequence = parse_scalar(value)
                elif key == "t":
                    name = parse_scalar(value)
                elif key == "d":
                    data = value
        except NotWalkableError:
            raise DecodeError("message is not a JSON object") from None
        if not 0 <= op < 1 << 31:
            raise DecodeError("message has no op")
        if type(sequence) is not int or not 0 <= sequence < 1 << 63:
            sequence = None
        if not isinstance(name, str):
            name = None
        if op != 0:
            if len(data) > MAX_OTHER_BYTES:
                raise MessageTooBig(len(data), MAX_OTHER_BYTES)
            return ReferenceMessage(op, parse(data), sequence, name)
        return self._dispatch(name, sequence, data, len(text), True)

    def _dispatch(
        self, name: str | None, sequence: int | None, data: bytes, size: int, certain: bool
    ) -> ReferenceEvent | None:
        self.dispatches += 1
        accepted = sequence is None or self.sequence.accept(sequence)
        if name is None:
            return None
        deliver = (self.interests is None or name in self.interests) and (
            accepted or name in SESSION_EVENTS
        )
        if len(name.encode()) <= MAX_NAME_BYTES or name in (self.interests or ()):
            seen, delivered, total = self.counters.get(name, (0, 0, 0))
            self.counters[name] = seen + 1, delivered + deliver, total + size
        if not deliver:
            return None
        self.delivered += 1
        return ReferenceEvent(
            name, -1 if sequence is None else sequence, self.shard_id, data, certain
        )


# -- walking JSON


def skip_space(text: bytes, at: int) -> int:
    found = SPACE.match(text, at)
    assert found
    return found.end()


def skip_string(text: bytes, at: int) -> int:
    found = STRING.match(text, at)
    if not found:
        raise NotWalkableError
    return found.end()


def skip_value(text: bytes, at: int) -> int:
    if text[at : at + 1] == b'"':
        return skip_string(text, at)
    if text[at : at + 1] not in (b"{", b"["):
        found = SCALAR.match(text, at)
        if not found:
            raise NotWalkableError
        return found.end()
    depth = 0
    while found := BRACKET.search(text, at):
        if found[0] == b'"':
            at = skip_string(text, found.start())
            continue
        at = found.end()
        if found[0].startswith(b"\\"):
            continue
        depth += 1 if found[0] in b"{[" else -1
        if depth == 0:
            return at
    raise NotWalkableError


def members(text: bytes, whole: bool = False) -> Iterable[tuple[str, bytes]]:
    """Yield key and value text of each member; `whole`: nothing but space may follow the object."""
    at = skip_space(text, 0)
    if text[at : at + 1] != b"{":
        raise NotWalkableError
    at += 1
    first = True
    while True:
        at = skip_space(text, at)
        if text[at : at + 1] == b"}":
            break
        if not first:
            if text[at : at + 1] != b",":
                raise NotWalkableError
            at = skip_space(text, at + 1)
        first = False
        end = skip_string(text, at)
        key = text[at:end]
        at = skip_space(text, end)
        if text[at : at + 1] != b":":
            raise NotWalkableError
        at = skip_space(text, at + 1)
        end = skip_value(text, at)
        # A key without escapes is compared byte by byte, valid or not: latin-1 keeps all bytes.
        yield parse(key) if b"\\" in key else key[1:-1].decode("latin-1"), text[at:end]
        at = end
    if whole and skip_space(text, at + 1) != len(text):
        raise NotWalkableError


def snowflake(value: bytes) -> int | None:
    text = value.decode("latin-1")
    if value.startswith(b'"'):
        try:
            text = orjson.loads(value)
        except orjson.JSONDecodeError:
            return None
    return int(text) if DIGITS.fullmatch(text) and int(text) < 1 << 63 else None


def check_utf8(message: bytes) -> None:
    try:
        message.decode()
    except UnicodeDecodeError as error:
        raise DecodeError("not UTF-8", close_code=1007, offset=error.start) from None


def parse_scalar(text: bytes) -> Any:
    return None if text[:1] in (b"{", b"[") else parse(text)


def parse(text: bytes, *, name: str | None = None, sequence: int | None = None) -> Any:
    """Let orjson read `text`; say at which byte it gave up (it counts characters)."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        try:
            offset = len(text.decode()[: error.pos].encode())
        except UnicodeDecodeError as bad:
            offset = bad.start
        raise DecodeError(
            f"not JSON at byte {offset}", offset=offset, name=name, sequence=sequence
        ) from error
