"""Checked by mypy --strict and never run: what tests may write, and what a type checker refuses."""

from __future__ import annotations

from fastgw.testing import (
    ChaosPlan,
    ChaosProxy,
    Cut,
    FakeGateway,
    FakePeer,
    FakeService,
    Fault,
    Moment,
    VirtualClock,
)

fake = FakeGateway(token="secret", heartbeat_interval_ms=1_000, replay_overlap=3, tls=True)
service = FakeService(token="secret", max_concurrency=2)
peer: FakePeer = service.connect(now=0.0)
FakeGateway(service=service)

# A misspelt or mistyped option; `warn_unused_ignores` makes each of these lines a check.
FakeGateway(heartbeat_intervall_ms=1_000)  # type: ignore[call-arg]
FakeGateway(heartbeat_interval_ms="fifty")  # type: ignore[arg-type]
FakeService(heartbeat_intervall_ms=1_000)  # type: ignore[call-arg]
fake.instead_of("opened", lambda peer: None)  # type: ignore[arg-type]


def fall_silent(peer: FakePeer) -> None:
    """An instruction is any function of a peer."""
    peer.mute("READY", 11)


async def test() -> None:
    async with fake, ChaosProxy(fake, seed=7) as proxy:
        fake.instead_of(Moment.IDENTIFY, fall_silent, times=None)
        await fake.wait_ready()
        taken: int = fake.dispatch("MESSAGE_CREATE", {"content": "hi"}, guild_id=1)
        fake.cut(Cut.END, shard_id=0)
        await proxy.run(ChaosPlan().without(Fault.HALF_OPEN), faults=taken)
        proxy.stall(0.1, proxy.relays[0])
        await fake.wait_sent()
        asked: object = (await fake.expect(8, guild_id="1")).data
        clock = VirtualClock()
        clock.drive(peer)
        clock.advance(1.5)
        now: float = clock()
        print(asked, now)
