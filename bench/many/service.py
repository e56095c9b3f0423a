"""
The service of many shards, in a process of its own: `python -m bench.many.service JOB`.

It says where it is and then does what it is told on standard input, a line of JSON each, and
answers with a line of JSON.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import sys
import time
from typing import Any

from fastgw.testing import FakeGateway, FakeService, Traffic

from .child import loop_run

# Far above what any run needs, and within what a laptop has.
REPLAY_LIMIT = 200_000
# So many sessions in a row get events of their own; it is the mix that all of them get.
MIXED = 50


class Service:
    """
    A fake gateway for a fleet.

    Args:
        max_concurrency, identify_interval_s: the limits it enforces.
        tls: over TLS.
        replay_limit: events that it keeps of a session.
        options: of the service.
    """

    def __init__(
        self, max_concurrency: int, identify_interval_s: float, tls: bool = True,
        replay_limit: int = REPLAY_LIMIT, **options: Any,
    ) -> None:  # fmt: skip
        self.service = FakeService(
            max_concurrency=max_concurrency,
            identify_interval_s=identify_interval_s,
            identifies_total=100_000,
            session_ttl_s=600.0,
            replay_limit=replay_limit,
            **options,
        )
        self.fake = FakeGateway(tls=tls, service=self.service)
        self.traffic = Traffic(20_250_101, guilds=500)

    async def run(self) -> None:
        """Serve until standard input ends."""
        await self.fake.start()
        context = self.fake.client_ssl_context
        authorities = (
            ""
            if context is None
            else "".join(map(ssl.DER_cert_to_PEM_cert, context.get_ca_certs(binary_form=True)))
        )
        say(url=self.fake.url, authorities=authorities)
        while line := await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline):
            told: dict[str, Any] = json.loads(line)
            deed = getattr(self, told.pop("do"))
            say(**(await deed(**told) or {}))
        await self.fake.stop()

    async def stats(self) -> dict[str, Any]:
        """Count what came."""
        return {
            "connections": len(self.fake.connections),
            "identifies": len(self.service.identifies),
            "refused": self.service.identifies_refused,
            "resumes": len(self.service.resumes),
        }

    async def cut(self) -> None:
        """Reset every connection."""
        self.fake.cut()

    async def outage(self, seconds: float, kind: str) -> dict[str, Any]:
        """Reset every connection, and let nobody in for a while: "tcp" or "503"; then go on."""
        if kind == "tcp":
            await self.fake.stop()
            await asyncio.sleep(seconds)
            await self.fake.start()
        else:
            self.fake.refuse_upgrade(503, times=None)
            self.fake.cut()
            await asyncio.sleep(seconds)
            self.fake.forget_instructions()
        return {"back_at": time.monotonic()}

    async def queue(self, plain_bytes: int) -> dict[str, Any]:
        """Put traffic into every session that is not written before `flush`."""
        sent = events = 0
        while sent < plain_bytes:
            some = list(self.traffic.dispatches(256))
            sent += sum(len(d.data) for d in some)
            events += self.service.dispatch_many(some)
        return {"events": events}

    async def flush(self) -> None:
        """Write what is queued."""
        await self.fake.wait_sent(timeout_s=300.0)

    async def burst(self, plain_bytes: int) -> dict[str, Any]:
        """Send every session guilds and then the usual mix, all of it the same for all."""
        large = b'{"id":"1","members":[%s]}' % b",".join(b'{"id":"%d"}' % n for n in range(90_000))
        some = [*self.traffic.startup(), *self.traffic.dispatches(2_000)]
        kept, size = [("GUILD_CREATE", large)], len(large)
        for dispatch in some:
            if size < plain_bytes:
                kept.append((dispatch.name, dispatch.data))
                size += len(dispatch.data)
        for connection in list(self.fake.connections):
            session = connection.peer.session
            assert session is not None
            for name, data in kept:
                self.service.append(session, name, data)
            connection.flush()
            await self.fake.wait_sent(timeout_s=300.0)
        return {"events": len(kept)}

    async def pace(self, events: int, at_a_time: int) -> dict[str, Any]:
        """Send every session events, so many before the next session's turn."""
        sessions, sent = list(self.service.sessions.values()), 0
        for _ in range(events // at_a_time):
            some = list(self.traffic.dispatches(at_a_time * MIXED))
            for number, session in enumerate(sessions):
                first = number % MIXED * at_a_time
                for dispatch in some[first : first + at_a_time]:
                    self.service.append(session, dispatch.name, dispatch.data)
                sent += at_a_time
            await self.fake.wait_sent(timeout_s=300.0)
            await asyncio.sleep(0.05)  # each has woken up
        return {"events": sent}

    async def send(self, plain_bytes: int, burst: bool) -> dict[str, Any]:
        """Send every session some traffic, its guilds first where a burst is asked for."""
        sent = events = 0
        burst_of = iter(self.traffic.startup() if burst else ())
        while sent < plain_bytes:
            some = [d for _, d in zip(range(4), burst_of, strict=False)]
            some = some or list(self.traffic.dispatches(32))
            sent += sum(len(d.data) for d in some)
            events += len(some)
            self.fake.dispatch_many(some)
            await self.fake.wait_sent(timeout_s=300.0)
        return {"plain_bytes": sent, "events": events}


def say(**what: Any) -> None:
    """Answer with a line of JSON."""
    print(json.dumps(what), flush=True)


if __name__ == "__main__":
    loop_run(Service(**json.loads(sys.argv[1])).run())
