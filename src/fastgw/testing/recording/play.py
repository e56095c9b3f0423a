"""A recording as a fake gateway sends it: the same data to the same shards, at any speed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import orjson

from ..server.gateway import FakeGateway
from ..service.service import FakeService
from ..traffic.traffic import encode

if TYPE_CHECKING:
    from ..service.peer import FakePeer
    from ..service.session import FakeSession
    from .file import Recorded, Recording

__all__ = ["play", "replaying_gateway"]

# What belongs to the session that was recorded; the fake says its own.
_OF_SESSIONS = ("READY", "RESUMED")
# At full speed clients are waited for after so many.
BATCH = 256
# Nobody is ready for so long: as good as for ever.
PATIENCE_S = 7 * 86_400.0
RECEIVED_S = 60.0
LEAST_SLEEP_S = 0.002


class _Service(FakeService):
    """Says the READY of the recording, as far as it is not about the session."""

    ready: dict[int, Any]

    def begin_session(self, peer: FakePeer, shard: tuple[int, int], intents: int) -> None:
        """Bind the peer to a new session, and queue the READY that its shard got."""
        if (recorded := self.ready.get(shard[0])) is None:
            super().begin_session(peer, shard, intents)
            return
        session = self.make_session(peer, shard, intents)
        session.sequence += 1
        own = {"session_id": session.session_id, "resume_gateway_url": self.resume_url}
        data = orjson.dumps({**recorded, **own, "shard": list(shard)})
        peer.queue(encode("READY", session.sequence, data), "READY")


def replaying_gateway(
    recording: Recording, *, host: str = "127.0.0.1", port: int = 0, token: str | None = None
) -> FakeGateway:
    """
    Return a fake gateway for as many shards as were recorded; `play` sends.

    Bots get the READY of the recording, with the session of the fake.

    Raises:
        UsageError: the recording cannot be read.
    """
    count = recording.shard_count
    service = _Service(
        token=token,
        recommended_shards=count,
        shard_counts={count},
        max_concurrency=count,
        identifies_total=1_000 + count,
    )
    service.ready = {}
    for recorded in recording:
        if recorded.shard_id in service.ready:
            continue
        if recorded.dispatch.name == "READY":
            service.ready[recorded.shard_id] = orjson.loads(recorded.dispatch.data)
        if len(service.ready) == len(recording.shard_ids):
            break
    return FakeGateway(service=service, host=host, port=port)


async def play(
    recording: Recording,
    fake: FakeGateway,
    *,
    speed: float | None = 1.0,
    progress: Callable[[int], object] = lambda sent: None,
    withheld: Callable[[str], object] = lambda name: None,
) -> int:
    """
    Wait for the recorded shards, and send each what it got; return how many dispatches that were.

    A shard that loses its connection resumes, and one that loses its session is waited for. Returns
    when all who are connected have said by a heartbeat that they received everything.

    Args:
        fake: of `replaying_gateway`, started.
        speed: 2.0 is twice as fast as it was; None as fast as clients read.
        progress: called with the number sent so far.
        withheld: called with the name of each dispatch that was not sent, because the intents of
            the session do not ask for it.
    """
    await fake.wait_for(
        lambda: all(_session(fake, shard_id) is not None for shard_id in recording.shard_ids),
        timeout_s=PATIENCE_S,
        what="the recorded shards",
    )
    began = time.monotonic()
    sent = 0
    for recorded in recording:
        if speed is not None:
            await _until(began + recorded.at_s / speed, fake)
        sent += await _send(fake, recorded, withheld)
        if sent % BATCH == 0:
            if speed is None:
                await fake.wait_sent(timeout_s=PATIENCE_S)
            else:
                fake.flush()
                await asyncio.sleep(0)  # also where it is behind its time
            progress(sent)
    await _received(fake)
    progress(sent)
    return sent


async def _until(due_at: float, fake: FakeGateway) -> None:
    left_s = due_at - time.monotonic()
    if left_s > LEAST_SLEEP_S:
        fake.flush()
        await asyncio.sleep(left_s)


async def _send(fake: FakeGateway, recorded: Recorded, withheld: Callable[[str], object]) -> int:
    """Send one, unless the session did not ask for it; wait for the session if there is none."""
    dispatch = recorded.dispatch
    if dispatch.name in _OF_SESSIONS:
        return 0
    session = _session(fake, recorded.shard_id)
    if session is None:
        await fake.wait_for(
            lambda: _session(fake, recorded.shard_id) is not None,
            timeout_s=PATIENCE_S,
            what=f"shard {recorded.shard_id}",
        )
        session = fake.service.session(recorded.shard_id)
    if not session.wants(dispatch.name):
        withheld(dispatch.name)
        return 0
    fake.service.append(session, dispatch.name, dispatch.data)
    return 1


def _session(fake: FakeGateway, shard_id: int) -> FakeSession | None:
    for session in reversed(fake.service.sessions.values()):
        if session.shard_id == shard_id:
            return session
    return None


async def _received(fake: FakeGateway) -> None:
    """Wait until every client that is connected has acknowledged the last it was sent."""
    await fake.wait_sent(timeout_s=PATIENCE_S)
    fake.request_heartbeat()
    await fake.wait_for(
        lambda: all(
            peer.session is None or peer.last_heartbeat == peer.session.sequence
            for peer in fake.service.peers
        ),
        timeout_s=RECEIVED_S,
        what="clients to acknowledge",
    )
