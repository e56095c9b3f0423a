"""A way to a unix socket that can be cut: what is sent then goes nowhere, and nobody is told."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path


class Partition:
    """
    A TCP port of loopback before a unix socket; `port` is known after `start()`.

    While it is cut bytes wait, and new connections get no answer, as behind a firewall that drops.
    """

    def __init__(self, target: Path) -> None:
        self.port = 0
        self._target = target
        self._is_open = asyncio.Event()
        self._is_open.set()
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    @property
    def is_used(self) -> bool:
        """Whether anybody is connected."""
        return bool(self._writers)

    async def start(self) -> None:
        """Listen."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    def cut(self) -> None:
        """Let nothing through."""
        self._is_open.clear()

    def mend(self) -> None:
        """Let everything through, what waited first."""
        self._is_open.set()

    async def stop(self) -> None:
        """Close all of it."""
        assert self._server is not None
        self._server.close()
        self._is_open.set()
        for writer in list(self._writers):
            writer.close()
        await asyncio.sleep(0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            await self._is_open.wait()
            with suppress(OSError):
                back, forth = await asyncio.open_unix_connection(str(self._target))
                self._writers.add(forth)
                ways = [
                    asyncio.ensure_future(self._copy(reader, forth)),
                    asyncio.ensure_future(self._copy(back, writer)),
                ]
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
                for way in ways:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)
                self._writers.discard(forth)
                forth.close()
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(1 << 16):
                await self._is_open.wait()
                writer.write(data)
                await writer.drain()
