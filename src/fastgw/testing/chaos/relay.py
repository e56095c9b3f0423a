"""One connection through the chaos proxy: two pumps, and what holds them up at the moment."""

from __future__ import annotations

import asyncio
import random
import socket
import struct
import time
from contextlib import suppress

__all__ = ["Relay"]

_CHUNK_BYTES = 64 * 1024
_THROTTLED_CHUNK_BYTES = 2 * 1024
# SO_LINGER on with 0 seconds: closing sends RST and drops what is buffered.
_RESET = struct.pack("ii", 1, 0)


class Relay:
    """
    One client's connection through the proxy.

    Attributes:
        number: counts the connections of the proxy from 1.
        is_open: it still passes bytes, or will; False once cut, reset, half-open or ended.
        bytes_up, bytes_down: passed from the client and to it.
        slices_left: bytes that will still go one by one.
    """

    def __init__(
        self, number: int, seed: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.number = number
        self.is_open = True
        self.bytes_up = 0
        self.bytes_down = 0
        self.slices_left = 0
        self._is_half_open = False
        self._flips_left = 0
        self._delay_s = 0.0
        self._delayed_until = 0.0
        self._bytes_per_s = 0.0
        self._throttled_until = 0.0
        self._random = random.Random(seed)
        self._gate = asyncio.Event()
        self._gate.set()
        self._gate_timer: asyncio.TimerHandle | None = None
        self._reader = reader
        self._writers = [writer]
        self._pumps: list[asyncio.Task[None]] = []

    def __repr__(self) -> str:
        return f"<Relay {self.number} {'open' if self.is_open else 'not open'}>"

    async def run(self, host: str, port: int) -> None:
        """Connect to the gateway and pass bytes until both ends are done."""
        try:
            upstream, to_gateway = await asyncio.open_connection(host, port)
            self._writers.append(to_gateway)
            if not (self.is_open or self._is_half_open):
                self.end(reset=True)  # a fault struck meanwhile
                return
            self._pumps = [
                asyncio.ensure_future(self._pump(self._reader, to_gateway, up=True)),
                asyncio.ensure_future(self._pump(upstream, self._writers[0], up=False)),
            ]
            await asyncio.wait(self._pumps)
        except OSError:
            self.end(reset=True)  # the gateway is gone
        finally:
            await self._tidy()

    def end(self, *, reset: bool) -> None:
        """End both connections: with RST at once, or with FIN behind what is buffered."""
        self.is_open = False
        for writer in self._writers:
            if not reset:
                writer.close()
                continue
            sock = writer.get_extra_info("socket")
            if sock is not None:
                with suppress(OSError, ValueError):  # closed already: asyncio, uvloop
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            writer.transport.abort()
        for pump in self._pumps:
            pump.cancel()
        self.release()

    def stall(self, lasting_s: float | None) -> None:
        """Hold everything back, for so long or until `release()`."""
        self._gate.clear()
        if self._gate_timer is not None:
            self._gate_timer.cancel()
            self._gate_timer = None
        if lasting_s is not None:
            self._gate_timer = asyncio.get_running_loop().call_later(lasting_s, self._gate.set)

    def half_open(self) -> None:
        """Let nothing pass any more, and tell nobody: both ends believe that they are connected."""
        self._is_half_open = True
        self.is_open = False
        self.release()  # what was held up is dropped, and each end's own end is seen

    def slice(self, count: int) -> None:
        """Send the next `count` bytes one by one."""
        self.slices_left += count

    def delay(self, delay_s: float, lasting_s: float) -> None:
        """Hold what arrives back for `delay_s`, one read after the other, for `lasting_s`."""
        self._delay_s = delay_s
        self._delayed_until = time.monotonic() + lasting_s

    def corrupt(self) -> None:
        """Flip one bit of what passes next, either way."""
        self._flips_left += 1

    def throttle(self, bytes_per_s: float, lasting_s: float) -> None:
        """Limit the bandwidth of each way for `lasting_s`."""
        self._bytes_per_s = bytes_per_s
        self._throttled_until = time.monotonic() + lasting_s

    def release(self) -> None:
        """End what lasts: a stall, a delay, a limit, slices, flips that are still to come."""
        self._delayed_until = self._throttled_until = 0.0
        self.slices_left = self._flips_left = 0
        if self._gate_timer is not None:
            self._gate_timer.cancel()
            self._gate_timer = None
        self._gate.set()

    async def _tidy(self) -> None:
        for pump in self._pumps:
            pump.cancel()
        await asyncio.gather(*self._pumps, return_exceptions=True)
        for writer in self._writers:
            writer.close()
        with suppress(asyncio.CancelledError):  # stop() has aborted them
            closing = (writer.wait_closed() for writer in self._writers)
            await asyncio.gather(*closing, return_exceptions=True)
        self.release()

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, up: bool
    ) -> None:
        """Pass bytes one way, as the faults of the moment allow; end as the sender ends."""
        was_reset = False
        try:
            while data := await reader.read(self._chunk_bytes()):
                if not self._is_half_open:
                    await self._pass(data, writer, up)
            await self._gate.wait()  # nor does an end pass a stall
        except (OSError, RuntimeError):  # uvloop's of a transport that has ended
            was_reset = True
        if not self._is_half_open:
            self.end(reset=was_reset)

    async def _pass(self, data: bytes, writer: asyncio.StreamWriter, up: bool) -> None:
        now = time.monotonic
        await self._gate.wait()
        if self._delayed_until > now():
            await asyncio.sleep(self._delay_s)
        if self._is_half_open:
            return
        if self._flips_left:
            data = self._flip(data)
        if up:
            self.bytes_up += len(data)
        else:
            self.bytes_down += len(data)
        sliced = min(self.slices_left, len(data))
        self.slices_left -= sliced
        for index in range(sliced):
            writer.write(data[index : index + 1])  # asyncio sets TCP_NODELAY: a segment each
            await asyncio.sleep(0)
        writer.write(data[sliced:])
        await writer.drain()
        if self._throttled_until > now():
            await asyncio.sleep(len(data) / self._bytes_per_s)

    def _chunk_bytes(self) -> int:
        is_throttled = self._throttled_until > time.monotonic()
        return _THROTTLED_CHUNK_BYTES if is_throttled else _CHUNK_BYTES

    def _flip(self, data: bytes) -> bytes:
        self._flips_left -= 1
        flipped = bytearray(data)
        flipped[self._random.randrange(len(data))] ^= 1 << self._random.randrange(8)
        return bytes(flipped)
