"""A websocket server without rules: it does byte for byte what a test tells it to."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import struct
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from ssl import SSLContext
from typing import Any

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 1.3
SWITCH = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: ACCEPT\r\n\r\n"
)


def frame(
    opcode: int, payload: bytes = b"", *, fin: bool = True, rsv: int = 0, masked: bool = False
) -> bytes:
    """Encode one frame as a server sends it; `masked` as it must not."""
    head = bytes([fin << 7 | rsv << 4 | opcode])
    mark = masked << 7
    size = len(payload)
    if size < 126:
        head += bytes([mark | size])
    elif size < 1 << 16:
        head += bytes([mark | 126]) + struct.pack(">H", size)
    else:
        head += bytes([mark | 127]) + struct.pack(">Q", size)
    return head + (b"\0\0\0\0" if masked else b"") + payload


def close_frame(code: int | None = None, reason: bytes = b"") -> bytes:
    """Encode a CLOSE frame."""
    return frame(8, b"" if code is None else struct.pack(">H", code) + reason)


def _unmask(payload: bytes, mask: bytes) -> bytes:
    """XOR with the mask, as one number: byte by byte 16 MiB take seconds."""
    key = (mask * (len(payload) // 4 + 1))[: len(payload)]
    number = int.from_bytes(payload, "little") ^ int.from_bytes(key, "little")
    return number.to_bytes(len(payload), "little")


class RawPeer:
    """The server's end of one connection, after or before the upgrade."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.request = b""

    async def read_request(self) -> None:
        """Read the HTTP upgrade request."""
        self.request = await self.reader.readuntil(b"\r\n\r\n")

    async def upgrade(self, extra: bytes = b"", *, head: bytes = SWITCH) -> None:
        """
        Read the request and answer 101; `extra` bytes go out in the same segment.

        Another `head` may have ACCEPT where the right answer to the key belongs.
        """
        await self.read_request()
        key = next(
            line.split(b":", 1)[1].strip()
            for line in self.request.split(b"\r\n")
            if line.lower().startswith(b"sec-websocket-key")
        )
        accept = base64.b64encode(hashlib.sha1(key + _GUID).digest())
        self.send(head.replace(b"ACCEPT", accept) + extra)

    def send(self, data: bytes) -> None:
        """Write raw bytes; nothing once the client is gone, which uvloop would raise for."""
        if not self.writer.transport.is_closing():
            self.writer.write(data)

    async def receive(self) -> tuple[int, bytes]:
        """Read one client frame; returns (opcode, unmasked payload)."""
        first, second = await self.reader.readexactly(2)
        assert second & 0x80, "client frames are masked (RFC 6455 5.3)"
        size = second & 0x7F
        if size == 126:
            (size,) = struct.unpack(">H", await self.reader.readexactly(2))
        elif size == 127:
            (size,) = struct.unpack(">Q", await self.reader.readexactly(8))
        mask = await self.reader.readexactly(4)
        payload = await self.reader.readexactly(size)
        return first & 0x0F, _unmask(payload, mask)

    async def at_end(self) -> bytes:
        """Read what is left until the client has closed TCP."""
        with suppress(ConnectionError):
            return await self.reader.read()
        return b""


@asynccontextmanager
async def raw_server(
    script: Callable[[RawPeer], Awaitable[Any]], ssl: SSLContext | None = None
) -> Any:
    """
    Serve `script` on a loopback port; yields the URL.

    A script's failure (other than the client going away) is raised at the end.
    """
    failures: list[BaseException] = []
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await script(RawPeer(reader, writer))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        except asyncio.CancelledError:
            pass
        except BaseException as error:
            failures.append(error)
        finally:
            tasks.discard(task)
            writer.close()
            with suppress(Exception):
                await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=ssl)
    port = server.sockets[0].getsockname()[1]
    try:
        yield f"{'wss' if ssl else 'ws'}://localhost:{port}/"
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        if tasks:
            await asyncio.wait(set(tasks))
        await server.wait_closed()
    if failures:
        raise failures[0]
