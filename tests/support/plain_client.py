"""
A gateway client for tests of the fake gateway: asyncio streams, the standard library's inflate.

It shares no code with fastgw, so that a mistake made twice does not cancel out.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import socket
import ssl
import struct
import sys
import zlib
from typing import Any
from urllib.parse import urlsplit

from deadline import scaled

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

DEADLINE_S = scaled(10.0)


class PlainClient:
    """
    One websocket to a fake gateway.

    Attributes:
        frames: `(opcode, fin, payload)` of every frame that came, in order.
        close_code: of the CLOSE that came; -1 when TCP ended without one, None before the end.
    """

    def __init__(self) -> None:
        self.frames: list[tuple[int, bool, bytes]] = []
        self.close_code: int | None = None
        self.status = 0
        self._zlib = zlib.decompressobj()
        self._zstd = zstd.ZstdDecompressor()
        self._pending = b""
        self._message = b""

    @classmethod
    async def open(
        cls,
        url: str,
        *,
        compress: str | None = None,
        ssl_context: ssl.SSLContext | None = None,
        query: str = "v=10&encoding=json",
        limit: int = 1 << 20,
    ) -> PlainClient:
        """Connect and upgrade; `status` is what the server answered (0: it hung up)."""
        self = cls()
        parts = urlsplit(url)
        self._compress = compress
        self._reader, self._writer = await asyncio.wait_for(
            asyncio.open_connection(parts.hostname, parts.port, ssl=ssl_context, limit=limit),
            DEADLINE_S,
        )
        query += f"&compress={compress}" if compress else ""
        key = base64.b64encode(bytes(16)).decode()
        self._writer.write(
            f"GET /?{query} HTTP/1.1\r\nHost: {parts.netloc}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Key: {key}\r\n\r\n".encode()
        )
        return self

    async def upgraded(self) -> PlainClient:
        """Read the answer to the upgrade."""
        try:
            head = await asyncio.wait_for(self._reader.readuntil(b"\r\n\r\n"), DEADLINE_S)
        except asyncio.IncompleteReadError as error:
            head = error.partial
        self.head = head
        self.status = int(head.split(b" ", 2)[1]) if head.startswith(b"HTTP/") else 0
        return self

    async def next(self) -> dict[str, Any]:
        """Read the next gateway message. Raises EOFError at the end of the connection."""
        while True:
            opcode, fin, payload = await self._frame()
            if opcode == 9:
                self._send(10, payload)
                continue
            if opcode == 8:
                self.close_code = struct.unpack(">H", payload[:2])[0] if payload else 1005
                raise EOFError(f"closed with {self.close_code}")
            if opcode in (1, 2):
                self._is_binary = opcode == 2
            self._message += payload
            if fin:
                message, self._message = self._message, b""
                text = self._inflate(message)
                if text is not None:
                    return json.loads(text)

    async def until(self, name: str) -> list[dict[str, Any]]:
        """Read up to and including the event of that name."""
        messages = [await self.next()]
        while messages[-1]["t"] != name:
            messages.append(await self.next())
        return messages

    async def ended(self) -> int | None:
        """Read to the end; return the close code (-1: none)."""
        try:
            while True:
                await self.next()
        except EOFError:
            return self.close_code

    def shut_down(self) -> None:
        """Neither send nor take anything any more: what comes is answered by a reset of TCP."""
        descriptor = self._writer.transport.get_extra_info("socket").fileno()
        with socket.socket(fileno=os.dup(descriptor)) as sock:
            sock.shutdown(socket.SHUT_RDWR)

    def send(self, command: dict[str, Any] | bytes) -> None:
        """Send a command as a text frame."""
        self._send(1, command if isinstance(command, bytes) else json.dumps(command).encode())

    def identify(self, token: str = "t", shard: tuple[int, int] = (0, 1), **more: Any) -> None:
        """Send IDENTIFY with all intents that need no permission."""
        data = {"token": token, "intents": 53575421, "properties": {}, "shard": shard, **more}
        self.send({"op": 2, "d": data})

    def resume(self, ready: dict[str, Any], sequence: int, token: str = "t") -> None:
        """Send RESUME for the session of that READY."""
        session_id = ready["d"]["session_id"]
        data = {"token": token, "session_id": session_id, "seq": sequence}
        self.send({"op": 6, "d": data})

    def close(self, close_code: int) -> None:
        """Send CLOSE."""
        self._send(8, struct.pack(">H", close_code))

    async def aclose(self) -> None:
        """Drop TCP."""
        self._writer.transport.abort()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()

    def _inflate(self, message: bytes) -> bytes | None:
        if self._compress == "zlib-stream":
            self._pending += message
            if not self._pending.endswith(b"\x00\x00\xff\xff"):
                return None
            message, self._pending = self._pending, b""
            return self._zlib.decompress(message)
        if self._compress == "zstd-stream":
            if self._zstd.eof:
                self._zstd = zstd.ZstdDecompressor()
            return self._zstd.decompress(message)
        return zlib.decompress(message) if self._is_binary else message

    async def _frame(self) -> tuple[int, bool, bytes]:
        try:
            first, second = await self._exactly(2)
            size = second & 127
            if size == 126:
                (size,) = struct.unpack(">H", await self._exactly(2))
            elif size == 127:
                (size,) = struct.unpack(">Q", await self._exactly(8))
            payload = await self._exactly(size)
        except asyncio.TimeoutError:  # an OSError from Python 3.11 on, and no end of TCP
            raise TimeoutError(f"no whole frame came within {DEADLINE_S} s") from None
        except (asyncio.IncompleteReadError, OSError) as error:
            self.close_code = -1
            raise EOFError("TCP ended") from error
        assert not second & 128, "a server must not mask"
        entry = (first & 15, bool(first & 128), payload)
        self.frames.append(entry)
        return entry

    async def _exactly(self, size: int) -> bytes:
        return await asyncio.wait_for(self._reader.readexactly(size), DEADLINE_S)

    def _send(self, opcode: int, payload: bytes) -> None:
        mask = os.urandom(4)
        size = len(payload)
        head = bytes([128 | opcode])
        if size < 126:
            head += bytes([128 | size])
        else:
            head += bytes([128 | 126]) + struct.pack(">H", size)
        masked = bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))
        self._writer.write(head + mask + masked)
