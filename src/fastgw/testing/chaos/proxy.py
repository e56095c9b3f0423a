"""
`ChaosProxy`: a TCP proxy on loopback that breaks connections, by command or by a seeded plan.

    async with FakeGateway(tls=True) as fake, ChaosProxy(fake, seed=7) as proxy:
        async with Gateway("token", intents=..., info=proxy.info) as bot:
            await proxy.run(ChaosPlan(), faults=200)

It stands in front of a `FakeGateway` and works on the bytes of TCP, below TLS. The order of faults,
their targets' choice and their sizes follow from the seed; what they hit depends on timing. While
it runs, the gateway tells clients to resume through the proxy.

Over plain ws a flipped bit may go unnoticed, for neither TCP nor websocket frames have a checksum
that would still see it; corrupt only what runs over TLS. Where it makes a TLS record longer, which
one flip in thirty of a small record does, that is noticed when so much more has come (16 KiB at the
most): until then the connection is silent, as one that is half open.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from contextlib import suppress
from dataclasses import replace

from ...errors import UsageError
from ...fleet.http.gateway_info import GatewayInfo
from ..server.gateway import FakeGateway
from .faults import KINDS, ChaosPlan, Fault
from .relay import Relay

__all__ = ["ChaosProxy"]


class ChaosProxy:
    """
    A proxy in front of a running FakeGateway. Use it as `async with`, inside that of the gateway.

    Args:
        gateway: what it forwards to; its `service.resume_url` points here while the proxy runs.
        seed: decides what `run()` does.
    Attributes:
        relays: the connections that are up, oldest first.
        relays_total: how many there were.
        faults: how many of each kind were inflicted.
    """

    def __init__(self, gateway: FakeGateway, *, seed: int = 0) -> None:
        self.relays: list[Relay] = []
        self.relays_total = 0
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
            UsageError: the gateway does not run, or the proxy does already.
        """
        if self._server is not None:
            raise UsageError("this ChaosProxy is running already")
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
        for relay in list(self.relays):
            relay.end(reset=True)
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

    def cut(self, relay: Relay | None = None) -> None:
        """End a connection with FIN, at both ends. Without `relay`, here and below: the newest."""
        self._hit(Fault.CUT, relay).end(reset=False)

    def reset(self, relay: Relay | None = None) -> None:
        """End a connection with RST, at both ends."""
        self._hit(Fault.RESET, relay).end(reset=True)

    def half_open(self, relay: Relay | None = None) -> None:
        """Let nothing pass any more and tell nobody: both ends believe that they are connected."""
        self._hit(Fault.HALF_OPEN, relay).half_open()

    def stall(self, lasting_s: float | None = None, relay: Relay | None = None) -> None:
        """Hold everything back, both ways, for so long (None: until the relay's `release()`)."""
        self._hit(Fault.STALL, relay).stall(lasting_s)

    def slice(self, count: int, relay: Relay | None = None) -> None:
        """Send the next `count` bytes one by one."""
        self._hit(Fault.SLICE, relay).slice(count)

    def delay(self, delay_s: float, lasting_s: float, relay: Relay | None = None) -> None:
        """Hold what arrives back for `delay_s`, one read after the other, for `lasting_s`."""
        self._hit(Fault.DELAY, relay).delay(delay_s, lasting_s)

    def corrupt(self, relay: Relay | None = None) -> None:
        """Flip one bit of what passes next, either way; what follows may be needed to notice it."""
        self._hit(Fault.CORRUPT, relay).corrupt()

    def throttle(self, bytes_per_s: float, lasting_s: float, relay: Relay | None = None) -> None:
        """Limit the bandwidth of each way to `bytes_per_s`, above 0, for `lasting_s`."""
        if not bytes_per_s > 0:
            raise UsageError(f"throttle(bytes_per_s={bytes_per_s!r}) is not above 0; see stall()")
        self._hit(Fault.THROTTLE, relay).throttle(bytes_per_s, lasting_s)

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
        kind = draw.choices(list(plan.weights), weights=list(plan.weights.values()))[0]
        relay = draw.choice([relay for relay in self.relays if relay.is_open])
        # Its sizes have a chance of their own: the next fault does not depend on this one's kind.
        stroke = KINDS[kind].draw(random.Random(draw.getrandbits(64)), plan)
        stroke.strike(self._hit(kind, relay))

    # --- inside ----------------------------------------------------------------------------------

    async def _wait_open(self, timeout_s: float | None) -> bool:
        """Wait for a connection that is open; False when there was none in time."""
        with suppress(asyncio.TimeoutError):
            while not any(relay.is_open for relay in self.relays):
                self._opened.clear()
                await asyncio.wait_for(self._opened.wait(), timeout_s)
            return True
        return False

    def _hit(self, fault: Fault, relay: Relay | None) -> Relay:
        if relay is None:
            relay = next((relay for relay in reversed(self.relays) if relay.is_open), None)
        if relay is None or not relay.is_open:
            raise UsageError(f"no open connection to {fault.value}")
        self.faults[fault] += 1
        return relay

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.relays_total += 1
        seed = self._seed * 1_000_003 + self.relays_total
        relay = Relay(self.relays_total, seed, reader, writer)
        self.relays.append(relay)
        self._opened.set()
        task = asyncio.ensure_future(self._serve(relay))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, relay: Relay) -> None:
        try:
            await relay.run(self._gateway.host, self._gateway.port)
        finally:
            self.relays.remove(relay)
