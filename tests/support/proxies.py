"""Small proxies on loopback: HTTP CONNECT and SOCKS5, as real ones speak them."""

from __future__ import annotations

import asyncio
import base64
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress


class TestProxy:
    """
    What a proxy was asked, and what it does.

    Attributes:
        url: of the proxy, with the user name and password that it wants.
        asked: each `(host, port)` that it was to connect to.
        heads: the requests of CONNECT, whole.
        passed: what went through, both ways.
    """

    __test__ = False

    def __init__(self, kind: str, username: str | None, password: str | None) -> None:
        self.kind = kind
        self.username, self.password = username, password
        self.url = ""
        self.asked: list[tuple[str, int]] = []
        self.heads: list[bytes] = []
        self.passed = b""
        self.status = 200
        self.extra = b""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            serve = self._serve_connect if self.kind == "http" else self._serve_socks
            target = await serve(reader, writer)
            if target is not None:
                await self._forward(reader, writer, *target)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _serve_connect(self, reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        self.heads.append(head)
        method, target, _ = head.split(b"\r\n")[0].decode().split(" ")
        assert method == "CONNECT"
        host, _, port = target.rpartition(":")
        if self.username is not None:
            pair = f"{self.username}:{self.password}".encode()
            wanted = b"Proxy-Authorization: Basic " + base64.b64encode(pair)
            if wanted not in head:
                writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
                return None
        self.asked.append((host.strip("[]"), int(port)))
        writer.write(b"HTTP/1.1 %d Whatever\r\nVia: test\r\n\r\n" % self.status + self.extra)
        return self.asked[-1] if self.status == 200 else None

    async def _serve_socks(self, reader, writer):
        version, count = await reader.readexactly(2)
        assert version == 5
        methods = await reader.readexactly(count)
        if self.username is None:
            writer.write(b"\5\0")
        elif 2 not in methods:
            writer.write(b"\5\xff")  # no method is acceptable
            return None
        else:
            writer.write(b"\5\2")
            (length,) = (await reader.readexactly(2))[1:]
            username = await reader.readexactly(length)
            (length,) = await reader.readexactly(1)
            password = await reader.readexactly(length)
            good = (username.decode(), password.decode()) == (self.username, self.password)
            writer.write(b"\1\0" if good else b"\1\1")
            if not good:
                return None
        _, command, _, kind = await reader.readexactly(4)
        assert command == 1
        if kind == 1:
            host = socket.inet_ntop(socket.AF_INET, await reader.readexactly(4))
        elif kind == 4:
            host = socket.inet_ntop(socket.AF_INET6, await reader.readexactly(16))
        else:
            host = (await reader.readexactly((await reader.readexactly(1))[0])).decode()
        (port,) = struct.unpack("!H", await reader.readexactly(2))
        self.asked.append((host, port))
        code = 0 if self.status == 200 else 2  # "not allowed by ruleset"
        writer.write(bytes([5, code, 0, 1, 0, 0, 0, 0, 0, 0]))
        return (host, port) if self.status == 200 else None

    async def _forward(self, reader, writer, host: str, port: int) -> None:
        # Names are the proxy's to resolve: this one knows one that nobody else does.
        host = "127.0.0.1" if host == "gateway.test" else host
        other_reader, other_writer = await asyncio.open_connection(host, port)

        async def copy(source, target):
            with suppress(OSError):
                while data := await source.read(65536):
                    self.passed += data
                    target.write(data)
                    await target.drain()
            target.close()

        try:
            await asyncio.gather(copy(reader, other_writer), copy(other_reader, writer))
        finally:
            other_writer.transport.abort()
            writer.transport.abort()


@asynccontextmanager
async def proxy_server(
    kind: str = "http", username: str | None = None, password: str | None = None
) -> AsyncIterator[TestProxy]:
    """Serve a proxy; what it carries has ended when this does."""
    proxy = TestProxy(kind, username, password)
    tasks: set[asyncio.Task[None]] = set()

    def accept(reader, writer):
        task = asyncio.ensure_future(proxy.serve(reader, writer))
        tasks.add(task)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    login = "" if username is None else f"{username}:{password}@"
    proxy.url = f"{kind}://{login}127.0.0.1:{port}"
    try:
        yield proxy
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)  # transports report their end in a later turn
