r"""
The file of a recording: what a gateway received, with times, compressed by zstd.

Decompressed (`zstdcat FILE`) it is one line of JSON, which says what was recorded and what it still
holds, and then for each message a line and the message:

    <microseconds since the first> <shard id> <bytes of the message>\n
    {"t":"MESSAGE_CREATE","s":7,"op":0,"d":{...}}\n

A message is a dispatch; `d` is byte by byte what came, but for the substitutes of `redact`.
Heartbeats and the like belong to a connection, and are not recorded. Blocks are written out about
once a second: a recording that was killed can be read up to there.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import sys
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

from ...errors import UsageError
from ..traffic.traffic import Dispatch, encode
from .redact import Redactor

if TYPE_CHECKING:
    from typing_extensions import Self

    from ..._decode import Event

    zstd: Any
elif sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

__all__ = ["Recorded", "Recording", "RecordingWriter"]

FORMAT = "fastgw recording"
VERSION = 1
MODE = 0o600
LEVEL = 3
FLUSH_S = 1.0
CHUNK_BYTES = 64 * 1024
# Far more than a gateway message can be; a longer length is a broken file.
MAX_MESSAGE_BYTES = 1 << 30
REPLACED = "members token, session_id, resume_gateway_url, _trace"
HOLDS = "ids, names, invite codes, URLs and everything else of what the bot received"
HOLDS_CONTENT = "what people wrote and sent, "


@dataclass(frozen=True, slots=True)
class Recorded:
    """
    One message of a recording.

    Attributes:
        at_s: seconds since the first one.
        shard_id: the shard that received it.
        message: the dispatch, with its envelope.
    """

    at_s: float
    shard_id: int
    message: bytes

    @property
    def dispatch(self) -> Dispatch:
        """The same as `Traffic` makes them; its guild is not looked up."""
        # As `encode` wrote it: neither the name nor the sequence holds what ends it.
        head, _, data = self.message.partition(b',"op":0,"d":')
        return Dispatch(head[6 : head.index(b'"', 6)].decode(), data[:-1], None)


class RecordingWriter:
    """
    Writes a recording: `gateway.on("*")(writer.write)`, with `with` around it.

    The file is for its owner only (mode 0600). It is used in one thread at a time.

    Args:
        path: of the file, which must not be there.
        shard_ids, shard_count: which shards are recorded, of how many.
        intents: those of the session.
        redact_content: replace what people wrote, too.
    Attributes:
        messages, size_bytes: what was written, and how long it is before compression.
    Raises:
        UsageError: the file is there, or cannot be made.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        shard_ids: tuple[int, ...] = (0,),
        shard_count: int = 1,
        intents: int = 0,
        redact_content: bool = False,
    ) -> None:
        self.messages = 0
        self.size_bytes = 0
        self._redactor = Redactor(secrets.token_bytes(32), is_content_replaced=redact_content)
        self._compressor = zstd.ZstdCompressor(level=LEVEL)
        self._first_at: float | None = None
        self._flushed_at = time.monotonic()
        try:
            number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, MODE)
        except FileExistsError:
            raise UsageError(f"{os.fspath(path)} is there already: name another file") from None
        except OSError as error:
            raise UsageError(
                f"{os.fspath(path)} cannot be written ({error.strerror}): name another file"
            ) from error
        self._file: IO[bytes] = os.fdopen(number, "wb")
        facts = {
            "format": FORMAT,
            "version": VERSION,
            "recorded_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "shard_ids": list(shard_ids),
            "shard_count": shard_count,
            "intents": int(intents),
            "replaced": REPLACED + (", and what people wrote" if redact_content else ""),
            "holds": ("" if redact_content else HOLDS_CONTENT) + HOLDS,
        }
        self._put(json.dumps(facts).encode() + b"\n")
        self.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def write(self, event: Event) -> None:
        """Write one event."""
        message = encode(event.name, event.sequence, event.raw)
        self.write_message(event.received_at, event.shard_id, message)

    def write_message(self, at: float, shard_id: int, message: bytes) -> None:
        """Write one dispatch; `at` are seconds of any clock that runs on."""
        if self._first_at is None:
            self._first_at = at
        message = self._redactor.redact(message)
        passed_us = max(0, round((at - self._first_at) * 1e6))
        self._put(b"%d %d %d\n%b\n" % (passed_us, shard_id, len(message), message))
        self.messages += 1
        self.size_bytes += len(message)
        if time.monotonic() - self._flushed_at >= FLUSH_S:
            self.flush()

    def flush(self) -> None:
        """Write out what was compressed: after this a reader gets all of it."""
        self._flushed_at = time.monotonic()
        self._file.write(self._compressor.flush(self._compressor.FLUSH_BLOCK))
        self._file.flush()

    def close(self) -> None:
        """End the file. More than once is fine."""
        if not self._file.closed:
            with contextlib.closing(self._file):
                self._file.write(self._compressor.flush(self._compressor.FLUSH_FRAME))

    def _put(self, data: bytes) -> None:
        self._file.write(self._compressor.compress(data))


class Recording:
    """
    A recording to read: iterate over it, more than once if you like.

    Args:
        path: of the file.
    Attributes:
        facts: its first line, as a dict.
        shard_ids, shard_count: which shards were recorded, of how many.
        is_whole: whether the last iteration found the end; a recording that was killed has none.
        share_read: how much of the file the iteration has read, from 0 to 1.
    Raises:
        UsageError: it cannot be read, or is no recording; iterating may raise it, too.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = os.fspath(path)
        self.is_whole = False
        self.share_read = 0.0
        lines = self._lines()
        facts: Any = None
        try:
            facts = json.loads(next(lines)[0])
        except (StopIteration, ValueError):
            pass
        finally:
            lines.close()
        if not isinstance(facts, dict) or facts.get("format") != FORMAT:
            raise UsageError(f"{self._path} is no recording of fastgw")
        if facts.get("version") != VERSION:
            raise UsageError(
                f"{self._path} has version {facts.get('version')!r} of the format, and this fastgw "
                f"reads {VERSION}"
            )
        self.facts: dict[str, Any] = facts
        self.shard_ids = tuple(facts["shard_ids"])
        self.shard_count = int(facts["shard_count"])

    def __iter__(self) -> Iterator[Recorded]:
        self.is_whole = False
        lines = self._lines()
        next(lines)
        for head, message in lines:
            passed_us, shard_id, _ = map(int, head.split())
            yield Recorded(passed_us / 1e6, shard_id, message)

    def _lines(self) -> Generator[tuple[bytes, bytes], None, None]:
        """Yield the first line, then each record as its line and its message."""
        pieces = self._pieces()
        buffer = bytearray()
        has_first = False
        while True:
            end = buffer.find(b"\n")
            length = 0 if not has_first or end < 0 else self._length(bytes(buffer[:end]))
            if end < 0 or (has_first and len(buffer) < end + length + 2):
                piece = next(pieces, None)
                if piece is None:
                    self.is_whole = self.is_whole and not buffer
                    return
                buffer += piece
                continue
            head = bytes(buffer[:end])
            message = bytes(buffer[end + 1 : end + 1 + length])
            del buffer[: end + 1 + (length + 1) * has_first]
            has_first = True
            yield head, message

    def _length(self, head: bytes) -> int:
        words = head.split()
        if len(words) != 3 or not all(word.isdigit() for word in words):
            raise UsageError(f"{self._path} is broken: a record begins with {head[:40]!r}")
        length = int(words[2])
        if length > MAX_MESSAGE_BYTES:
            raise UsageError(f"{self._path} is broken: a message of {length} bytes")
        return length

    def _pieces(self) -> Iterator[bytes]:
        """Yield what the file holds, decompressed, as far as it goes."""
        decompressor = zstd.ZstdDecompressor()
        try:
            size = max(1, os.path.getsize(self._path))
            with open(self._path, "rb") as file:
                while chunk := file.read(CHUNK_BYTES):
                    yield decompressor.decompress(chunk)
                    self.share_read = file.tell() / size
                    if decompressor.eof:
                        break
        except OSError as error:
            raise UsageError(f"{self._path} cannot be read ({error.strerror})") from error
        except zstd.ZstdError as error:
            raise UsageError(f"{self._path} is no recording of fastgw ({error})") from error
        self.is_whole = decompressor.eof
