"""
`ChaosProxy`: a TCP proxy on loopback that breaks connections, by command or by a seeded plan.

    async with FakeGateway(tls=True) as fake, ChaosProxy(fake, seed=7) as proxy:
        async with Gateway("token", intents=..., info=proxy.info) as bot:
            await proxy.run(ChaosPlan(), faults=200)

It stands in front of a `FakeGateway` and works on the bytes of TCP, below TLS. The order of faults,
their targets' choice and their sizes follow from the seed; what they hit depends on timing. While
it runs, the gateway tells clients to resume through the proxy.

Over plain ws a flipped bit may go unnoticed, for neither TCP nor websocket frames have a checksum
that would still see it; corrupt only what runs over TLS.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from enum import Enum

from ...errors import UsageError
from ...protocol.wire import GatewayInfo
from ..server.gateway import FakeGateway
from .link import Link

__all__ = ["ChaosPlan", "ChaosProxy", "Fault", "Link"]


class Fault(Enum):
    """What the proxy does to a connection."""

    CUT = "cut"  # FIN to both ends (RST to one whose bytes were not yet read)
    RESET = "reset"  # RST to both ends, bytes on their way are lost
    HALF_OPEN = "half-open"  # both ends stay up, nothing passes any more
    STALL = "stall"  # nothing passes for a while, then everything
    SLICE = "slice"  # the next bytes go one by one
    DELAY = "delay"  # bytes are held back for some milliseconds, for a while
    CORRUPT = "corrupt"  # one bit of the next bytes is flipped
    THROTTLE = "throttle"  # little bandwidth for a while


@dataclass(frozen=True, slots=True, kw_only=True)
class ChaosPlan:
    """
    How a seeded run chooses its faults; ranges are least and most, drawn uniformly.

    Attributes:
        weights: how often each kind comes, relative to the others.
        every_s: seconds between two faults.
        lasting_s: how long STALL, DELAY and THROTTLE last.
        delay_s: how long DELAY holds bytes back.
        slice_bytes: how many bytes SLICE sends one by one.
        bytes_per_s: the bandwidth that THROTTLE leaves, each way.
    """

    weights: Mapping[Fault, float] = field(default_factory=lambda: dict.fromkeys(Fault, 1.0))
    every_s: tuple[float, float] = (0.05, 0.5)
    lasting_s: tuple[float, float] = (0.05, 0.5)
    delay_s: tuple[float, float] = (0.005, 0.05)
    slice_bytes: tuple[int, int] = (50, 2_000)
    bytes_per_s: tuple[float, float] = (20_000.0, 200_000.0)

    def without(self, *faults: Fault) -> ChaosPlan:
        """Return the same plan without these kinds."""
        return replace(self, weights={f: w for f, w in self.weights.items() if f not in faults})


class ChaosProxy:
    """
    A proxy in front of a running FakeGateway. Use it as `async with`, inside that of the gateway.

    Args:
        gateway: what it forwards to; its `service.resume_url` points here while the proxy runs.
        seed: decides what `run()` does.
    Attributes:
        links: the connections that are up, oldest first.
        links_total: how many there were.
        faults: how many of each kind were inflicted.
    """

    def __init__(self, gateway: FakeGateway, *, seed: int = 0) -> None:
        self.links: list[Link] = []
        self.links_total = 0
        self.faults: Counter[Fault] = Counter()
        self._gateway = gateway
        self._seed = seed
        self._random = random.Random(seed)
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._opened = asyncio.Event()
        self._old_resume_url: str | None = None
        self._host = "127.0.0.1"
        self._port = 0

    # --- start and stop --------------------------------------------------------------------------

    async def start(self) -> None:
        """
        Listen.

        Raises:
            UsageError: the gateway does not run.
        """
        if not self._gateway.port:
            raise UsageError("start the FakeGateway before the ChaosProxy in front of it")
        self._server = await asyncio.start_server(self._accept, self._host, 0)
        self._port = self._server.sockets[0].getsockname()[1]
        self._old_resume_url = self._gateway.service.resume_url
        self._gateway.service.resume_url = self.url

    async def stop(self) -> None:
        """Reset all connections and stop listening."""
        if self._server is None:
            return
        self._gateway.service.resume_url = self._old_resume_url
        self._server.close()
        self._server = None
        for link in list(self.links):
            link.end(reset=True)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def __aenter__(self) -> ChaosProxy:
        await self.start()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.stop()

    @property
    def url(self) -> str:
        """The websocket URL through the proxy, without query."""
        scheme = self._gateway.url.partition("://")[0]
        return f"{scheme}://{self._host}:{self._port}"

    @property
    def info(self) -> GatewayInfo:
        """The gateway's `info` with the proxy's URL, for `Gateway(info=...)`."""
        return replace(self._gateway.info, url=self.url)

    # --- faults by command -----------------------------------------------------------------------

    def cut(self, link: Link | None = None) -> None:
        """End a connection with FIN, at both ends. Without `link`, here and below: the newest."""
        self._hit(Fault.CUT, link).end(reset=False)

    def reset(self, link: Link | None = None) -> None:
        """End a connection with RST, at both ends."""
        self._hit(Fault.RESET, link).end(reset=True)

    def half_open(self, link: Link | None = None) -> None:
        """Let nothing pass any more and tell nobody: both ends believe that they are connected."""
        hit = self._hit(Fault.HALF_OPEN, link)
        hit.is_half_open = True
        hit.is_open = False

    def stall(self, lasting_s: float | None = None, link: Link | None = None) -> None:
        """Hold everything back, both ways, for so long (None: until the link's `release()`)."""
        self._hit(Fault.STALL, link).stall(lasting_s)

    def slice(self, count: int, link: Link | None = None) -> None:
        """Send the next `count` bytes one by one."""
        self._hit(Fault.SLICE, link).slices_left += count

    def delay(self, delay_s: float, lasting_s: float, link: Link | None = None) -> None:
        """Hold what arrives back for `delay_s`, one read after the other, for `lasting_s`."""
        hit = self._hit(Fault.DELAY, link)
        hit.delay_s = delay_s
        hit.delayed_until = time.monotonic() + lasting_s

    def corrupt(self, link: Link | None = None) -> None:
        """Flip one bit of what passes next, either way."""
        self._hit(Fault.CORRUPT, link).flips_left += 1

    def throttle(self, bytes_per_s: float, lasting_s: float, link: Link | None = None) -> None:
        """Limit the bandwidth of each way to `bytes_per_s`, for `lasting_s`."""
        hit = self._hit(Fault.THROTTLE, link)
        hit.bytes_per_s = bytes_per_s
        hit.throttled_until = time.monotonic() + lasting_s

    # --- faults by plan --------------------------------------------------------------------------

    async def run(
        self, plan: ChaosPlan | None = None, *, faults: int | None = None,
        lasting_s: float | None = None,
    ) -> None:  # fmt: skip
        """
        Inflict faults as the plan and the seed say, each on a random open connection.

        Ends after `faults` faults or `lasting_s` seconds, whichever comes first; when neither is
        given, only by cancelling. While no connection is open it waits for one.
        """
        plan = ChaosPlan() if plan is None else plan
        until = None if lasting_s is None else time.monotonic() + lasting_s
        done = 0
        while faults is None or done < faults:
            pause = self._random.uniform(*plan.every_s)
            rest = None if until is None else until - time.monotonic()
            if rest is not None and rest <= pause:
                await asyncio.sleep(max(0.0, rest))
                return
            await asyncio.sleep(pause)
            if not await self._wait_open(None if until is None else until - time.monotonic()):
                return
            self._inflict(plan)
            done += 1

    def _inflict(self, plan: ChaosPlan) -> None:
        draw = self._random
        fault = draw.choices(list(plan.weights), weights=list(plan.weights.values()))[0]
        link = draw.choice([link for link in self.links if link.is_open])
        # All are drawn every time, so that the next fault does not depend on this one's kind.
        lasting_s = draw.uniform(*plan.lasting_s)
        delay_s = draw.uniform(*plan.delay_s)
        slice_bytes = draw.randint(*plan.slice_bytes)
        bytes_per_s = draw.uniform(*plan.bytes_per_s)
        if fault is Fault.CUT:
            self.cut(link)
        elif fault is Fault.RESET:
            self.reset(link)
        elif fault is Fault.HALF_OPEN:
            self.half_open(link)
        elif fault is Fault.STALL:
            self.stall(lasting_s, link)
        elif fault is Fault.SLICE:
            self.slice(slice_bytes, link)
        elif fault is Fault.DELAY:
            self.delay(delay_s, lasting_s, link)
        elif fault is Fault.CORRUPT:
            self.corrupt(link)
        else:
            self.throttle(bytes_per_s, lasting_s, link)

    # --- inside ----------------------------------------------------------------------------------

    async def _wait_open(self, timeout_s: float | None) -> bool:
        """Wait for a connection that is open; False when there was none in time."""
        with suppress(asyncio.TimeoutError):
            while not any(link.is_open for link in self.links):
                self._opened.clear()
                await asyncio.wait_for(self._opened.wait(), timeout_s)
            return True
        return False

    def _hit(self, fault: Fault, link: Link | None) -> Link:
        if link is None:
            link = next((link for link in reversed(self.links) if link.is_open), None)
        if link is None or not link.is_open:
            raise UsageError(f"no open connection to {fault.value}")
        self.faults[fault] += 1
        return link

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.links_total += 1
        seed = self._seed * 1_000_003 + self.links_total
        link = Link(self.links_total, seed, reader, writer)
        self.links.append(link)
        self._opened.set()
        task = asyncio.ensure_future(self._serve(link))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, link: Link) -> None:
        try:
            await link.run(self._host, self._gateway.port)
        finally:
            self.links.remove(link)
