"""
From gateway messages to websocket frames: compression and framing as a server does them.

One `Encoder` a connection: the compression context is that of the connection. Frames are built
here and not by picows, because the tests need what a well-behaved sender never does: splits,
fragments, empty final frames, pings in between.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from zlib_ng import zlib_ng

from ...errors import UsageError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

__all__ = ["COMPRESSIONS", "Encoder", "Framing", "close_frame", "frame"]

TEXT, BINARY, CONTINUATION, CLOSE, PING, PONG = 1, 2, 0, 8, 9, 10
# What `compress=` may say in the query of the URL.
COMPRESSIONS = ("zlib-stream", "zstd-stream")
# Seen in a captured HELLO: the service's zstd frames have a window of 256 KiB.
_WINDOW_LOG = 18
# With payload compression small messages stay text; the service decides message by message.
_PAYLOAD_MIN_BYTES = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Framing:
    """
    How messages become frames; the default is one whole frame a message.

    Attributes:
        split_bytes: zlib-stream only: spread a message over several websocket messages of at most
            this size, as the service may.
        fragment_bytes: cut each websocket message into frames of at most this size.
        empty_final_frame: end each websocket message with an empty final frame.
        ping_between: put a PING after each frame that is not final (RFC 6455 5.4 allows it).
        zstd_frame_per_message: zstd-stream: end the zstd frame with each message (independent
            servers do so; the service never ends it).
        level: compression level, None for the library's default.
    """

    split_bytes: int | None = None
    fragment_bytes: int | None = None
    empty_final_frame: bool = False
    ping_between: bool = False
    zstd_frame_per_message: bool = False
    level: int | None = None

    def __post_init__(self) -> None:
        for size in (self.split_bytes, self.fragment_bytes):
            if size is not None and size < 1:
                raise UsageError(f"a piece of a message has at least one byte, not {size}")

    @property
    def is_plain(self) -> bool:
        """Whether every websocket message is exactly one frame."""
        return self.fragment_bytes is None and not self.empty_final_frame


class _Compressor(Protocol):
    def compress(self, message: bytes) -> bytes: ...


class _Zlib:
    """One zlib stream a connection; each message ends with 00 00 FF FF (Z_SYNC_FLUSH)."""

    def __init__(self, level: int | None) -> None:
        self._stream = zlib_ng.compressobj(-1 if level is None else level)

    def compress(self, message: bytes) -> bytes:
        compressed: bytes = self._stream.compress(message)
        rest: bytes = self._stream.flush(zlib_ng.Z_SYNC_FLUSH)
        return compressed + rest


class _Zstd:
    """One zstd frame a connection, or one a message."""

    def __init__(self, level: int | None, frame_per_message: bool) -> None:
        parameter = zstd.CompressionParameter
        options: dict[int, int] = {parameter.window_log: _WINDOW_LOG, parameter.checksum_flag: 0}
        if level is not None:
            options[parameter.compression_level] = level
        self._stream = zstd.ZstdCompressor(options=options)
        frame, block = zstd.ZstdCompressor.FLUSH_FRAME, zstd.ZstdCompressor.FLUSH_BLOCK
        self._mode = frame if frame_per_message else block

    def compress(self, message: bytes) -> bytes:
        compressed: bytes = self._stream.compress(message, self._mode)
        return compressed


class Encoder:
    """
    Turn messages into the bytes of frames, for one connection.

    Args:
        compression: "zlib-stream", "zstd-stream" or None (text frames).
    Attributes:
        payload_compression: IDENTIFY asked for it: larger messages go as one zlib blob each.
            No effect with a transport compression, as on the real service.
    """

    def __init__(self, compression: str | None, framing: Framing) -> None:
        self.payload_compression = False
        self._framing = framing
        self._compressor: _Compressor | None = None
        if compression == "zlib-stream":
            self._compressor = _Zlib(framing.level)
        elif compression == "zstd-stream":
            self._compressor = _Zstd(framing.level, framing.zstd_frame_per_message)
        elif compression is not None:
            raise UsageError(f"unknown compression {compression!r}")
        self._split = framing.split_bytes if compression == "zlib-stream" else None

    def encode(self, message: bytes) -> bytes:
        """Return the frames of one gateway message."""
        if self._compressor is not None:
            opcode, payload = BINARY, self._compressor.compress(message)
        elif self.payload_compression and len(message) >= _PAYLOAD_MIN_BYTES:
            opcode, payload = BINARY, zlib_ng.compress(message)
        else:
            opcode, payload = TEXT, message
        if self._split is None and self._framing.is_plain:
            return frame(opcode, payload)
        return b"".join(
            piece for part in _pieces(payload, self._split) for piece in self._frames(opcode, part)
        )

    def _frames(self, opcode: int, payload: bytes) -> Iterator[bytes]:
        """Fragment one websocket message."""
        framing = self._framing
        pieces = list(_pieces(payload, framing.fragment_bytes))
        if framing.empty_final_frame:
            pieces.append(b"")
        for index, piece in enumerate(pieces):
            is_final = index == len(pieces) - 1
            yield frame(CONTINUATION if index else opcode, piece, fin=is_final)
            if framing.ping_between and not is_final:
                yield frame(PING, b"between")


def _pieces(payload: bytes, size: int | None) -> Iterator[bytes]:
    if size is None or not payload:
        yield payload
        return
    for start in range(0, len(payload), size):
        yield payload[start : start + size]


def frame(opcode: int, payload: bytes, *, fin: bool = True, reserved: int = 0) -> bytes:
    """
    Build one unmasked frame (RFC 6455 5.2).

    Args:
        reserved: the three reserved bits, RSV1 highest.
    """
    first = fin << 7 | reserved << 4 | opcode
    size = len(payload)
    if size < 126:
        return bytes((first, size)) + payload
    if size < 1 << 16:
        return struct.pack(">BBH", first, 126, size) + payload
    return struct.pack(">BBQ", first, 127, size) + payload


def close_frame(close_code: int | None, reason: str = "") -> bytes:
    """Build a CLOSE frame; without a code its payload is empty (RFC 6455 5.5.1)."""
    if close_code is None:
        return frame(CLOSE, b"")
    return frame(CLOSE, struct.pack(">H", close_code) + reason.encode())
