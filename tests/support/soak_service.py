"""
The service of `test_soak.py`, in a process of its own: traffic, a proxy that breaks, a ledger.

    python soak_service.py '{"seed": 1, "seconds": 60}'

Says where it is and then, line by line as JSON, what it is asked for on standard input: `where`
(the last sequence of each session), `ledger` (all it ever sent, by session), `quit`.
"""

from __future__ import annotations

import asyncio
import base64
import json
import random
import ssl
import sys
import time
import zlib
from array import array
from collections import Counter

from fastgw.testing import (
    ChaosPlan,
    ChaosProxy,
    FakeGateway,
    FakePeer,
    FakeService,
    Moment,
    Traffic,
)
from fastgw.testing.service.session import FakeSession

INTERVAL_MS = 600  # 100 beats in a minute: under the service's 120 commands
TTL_S = 30.0
EVENTS_EACH = 8
EVERY_S = 0.05
PLAN = ChaosPlan(every_s=(0.05, 0.4), lasting_s=(0.05, 0.8), slice_bytes=(50, 1_000))
# What the service itself does wrong, between the faults of the wire. The first ones leave the
# session; the last does not, and is what makes an IDENTIFY necessary.
DEEDS = {
    "op 7": 3, "op 9 true": 1, "close 4000": 2, "close without code": 2, "op 1": 3,
    "upgrade 503": 2, "no hello": 1, "op 9 false": 1, "session forgotten": 1,
}  # fmt: skip
DEED_EVERY_S = (0.5, 3.0)


class LedgerService(FakeService):
    """A service that writes down all that it sends in a session, and why a session ended."""

    def __init__(self, **options: object) -> None:
        super().__init__(**options)  # type: ignore[arg-type]
        self.sent: dict[str, array[int]] = {}  # checksums; the first is of sequence 2, after READY
        self.killed: list[str] = []
        self.wished: list[str] = []

    def make_session(self, peer: FakePeer, shard: tuple[int, int], intents: int) -> FakeSession:
        session = super().make_session(peer, shard, intents)
        self.sent[session.session_id] = array("I")
        return session

    def append(self, session: FakeSession, name: str, data: bytes) -> None:
        super().append(session, name, data)
        self.sent[session.session_id].append(zlib.crc32(data, zlib.crc32(name.encode())))

    def kill(self, session: FakeSession, *, wished: bool = False) -> None:
        if session.session_id in self.sessions:
            (self.wished if wished else self.killed).append(session.session_id)
        super().kill(session, wished=wished)

    def forget_the_abandoned(self, now: float) -> None:
        for session in list(self.sessions.values()):
            self.find_session(session.session_id, now)


class Service:
    """Everything of this process."""

    def __init__(self, seed: int, seconds: float) -> None:
        self.random = random.Random(seed)
        self.seconds = seconds
        self.service = LedgerService(
            heartbeat_interval_ms=INTERVAL_MS,
            heartbeat_patience=20,
            session_ttl_s=TTL_S,
            replay_limit=50_000,
        )
        self.fake = FakeGateway(tls=True, service=self.service)
        self.proxy = ChaosProxy(self.fake, seed=seed)
        self.traffic = Traffic(seed, guilds=200)
        self.deeds: Counter[str] = Counter()

    async def run(self) -> None:
        context = self.fake.client_ssl_context
        assert context is not None
        async with self.fake, self.proxy:
            authorities = map(ssl.DER_cert_to_PEM_cert, context.get_ca_certs(binary_form=True))
            say(url=self.proxy.url, authority="".join(authorities))
            feed = asyncio.ensure_future(self.feed())
            await self.fake.wait_for(lambda: len(self.service.sessions) >= 2, timeout_s=30.0)
            chaos = asyncio.ensure_future(self.proxy.run(PLAN, lasting_s=self.seconds))
            misdeeds = asyncio.ensure_future(self.do_wrong())
            ended = asyncio.gather(chaos, misdeeds)
            while (asked := await told()) not in ("", "quit"):
                if asked == "where":
                    if ended.done() and not feed.done():
                        ended.result()
                        feed.cancel()
                    say(over=ended.done(), last=self.where())
                else:
                    say(**self.ledger())
            feed.cancel()
            ended.cancel()
            await asyncio.gather(feed, ended, return_exceptions=True)

    async def feed(self) -> None:
        """Send a steady stream to all sessions."""
        while True:
            self.fake.dispatch_many(self.traffic.dispatches(EVENTS_EACH))
            self.service.forget_the_abandoned(time.monotonic())
            await asyncio.sleep(EVERY_S)

    async def do_wrong(self) -> None:
        """Misbehave now and then, as services do."""
        loop = asyncio.get_running_loop()
        until = loop.time() + self.seconds
        while (pause := self.random.uniform(*DEED_EVERY_S)) + loop.time() < until:
            await asyncio.sleep(pause)
            deed = self.random.choices(list(DEEDS), weights=list(DEEDS.values()))[0]
            ready = [link for link in self.fake.connections if link.peer.session is not None]
            if not ready:
                continue
            connection = self.random.choice(ready)
            peer, session = connection.peer, connection.peer.session
            if deed == "op 7":
                peer.reconnect()
            elif deed == "op 1":
                peer.request_heartbeat()
            elif deed.startswith("op 9"):
                peer.invalid_session(resumable=deed == "op 9 true")
            elif deed.startswith("close"):
                peer.close(4000 if deed == "close 4000" else None)
            elif deed == "upgrade 503":
                self.fake.refuse_upgrade(503)
                peer.cut()
            elif deed == "no hello":
                self.fake.instead_of(Moment.OPENED, lambda peer: None)
                peer.cut()
            else:
                peer.cut()
                assert session is not None
                self.service.kill(session)
            connection.flush()
            self.deeds[deed] += 1

    def where(self) -> dict[str, int]:
        return {name: session.sequence for name, session in self.service.sessions.items()}

    def ledger(self) -> dict[str, object]:
        service = self.service
        return {
            "sent": {
                name: base64.b64encode(sums.tobytes()).decode()
                for name, sums in service.sent.items()
            },
            "killed": service.killed,
            "wished": service.wished,
            "identifies": len(service.identifies),
            "resumes": len(service.resumes),
            "faults": {fault.value: count for fault, count in self.proxy.faults.items()},
            "deeds": dict(self.deeds),
            "relays": self.proxy.relays_total,
        }


def say(**what: object) -> None:
    print(json.dumps(what), flush=True)


async def told() -> str:
    """Wait for the next line on standard input; nothing means that the test is gone."""
    return (await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)).strip()


if __name__ == "__main__":
    asyncio.run(Service(**json.loads(sys.argv[1])).run())
