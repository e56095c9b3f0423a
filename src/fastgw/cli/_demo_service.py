"""
The demo's other process: a fake gateway that sends a large bot's traffic when told to.

It reads one word a line (`start`, `cut`, `stop`) and answers with JSON lines, so that the two
processes share nothing but pipes and the socket.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import sys
import time
from functools import partial
from itertools import cycle, islice
from typing import TYPE_CHECKING

from ..errors import FastgwError
from ..shard.face import shard_id_for
from ..testing import FakeGateway
from ..testing.traffic.traffic import Dispatch, Traffic
from ._pace import Pace
from .demo import IDENTIFY_EVERY_S, IDENTIFY_KEYS, WANTED, fingerprint

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from ..testing import FakeSession

# The pool is sent over and over: making traffic costs more than sending it.
_POOL = 20_000
# Seconds between bursts: real gateways flush in bursts, and a burst is what a wake-up costs.
_TICK_S = 0.005


class _Sender:
    """Sends the pool's events at a rate, and remembers what the wanted ones were."""

    def __init__(
        self, gateway: FakeGateway, pool: list[Dispatch], rate: int, shards: int = 1
    ) -> None:
        self._gateway = gateway
        self._pool = pool
        self._rate = rate
        self._shards = shards
        self._running = False
        self.wanted = 0
        self.checksum = 0

    async def run(self) -> None:
        """Send until `stop`, or until the bot has left and no session takes anything."""
        sessions = self._gateway.service.sessions
        if not sessions:
            return
        self._running = True
        send = self._share_out
        if self._shards == 1:
            send = partial(self._send, self._gateway.service.session(0))
        pace = Pace(self._rate, time.monotonic())
        endless = cycle(self._pool)
        while self._running and sessions:
            send(list(islice(endless, pace.due(time.monotonic()))))
            await asyncio.sleep(_TICK_S)

    def _send(self, session: FakeSession, batch: list[Dispatch]) -> None:
        """Send it to the one shard that there is, whose session is `session`."""
        for number, dispatch in enumerate(batch, session.sequence + 1):
            self._note(dispatch, number)
        self._gateway.dispatch_many(batch)

    def _share_out(self, batch: list[Dispatch]) -> None:
        """Send each to the shard of its guild; the service itself would ask every session."""
        service = self._gateway.service
        sessions = {session.shard_id: session for session in service.sessions.values()}
        for dispatch in batch:
            session = sessions.get(shard_id_for(dispatch.guild_id or 0, self._shards))
            if session is not None:
                service.append(session, dispatch.name, dispatch.data)
                self._note(dispatch, session.sequence)
        self._gateway.flush()

    def _note(self, dispatch: Dispatch, sequence: int) -> None:
        if dispatch.name in WANTED:
            self.wanted += 1
            self.checksum ^= fingerprint(sequence, dispatch.guild_id)

    def stop(self) -> None:
        self._running = False


async def _serve(rate: int, shards: int, guilds: int) -> None:
    # Without GUILD_CREATE: a running bot receives them at its start, not all the time.
    pool = [
        dispatch
        for dispatch in Traffic(seed=1).dispatches(_POOL)
        if dispatch.name != "GUILD_CREATE"
    ]
    async with FakeGateway(
        tls=True,
        # A thousand beats a second would be most of what is measured.
        heartbeat_interval_ms=max(1_000, 50 * shards),
        recommended_shards=shards,
        max_concurrency=IDENTIFY_KEYS,
        # Less than what the bot keeps: where this process gets no core for a moment, one IDENTIFY
        # is read late and the next in time, and a bot that did all right would be sent away.
        identify_interval_s=IDENTIFY_EVERY_S / 5,
        identifies_total=1_000 + 2 * shards,
        guilds=Traffic(seed=2, guilds=guilds).startup() if guilds else (),
    ) as gateway:
        assert gateway.client_ssl_context is not None
        (authority,) = gateway.client_ssl_context.get_ca_certs(binary_form=True)
        _say(url=gateway.url, authority=ssl.DER_cert_to_PEM_cert(authority))
        sender = _Sender(gateway, pool, rate, shards)
        running: asyncio.Task[None] | None = None
        async for word in _words():
            if word == "start":
                running = asyncio.create_task(sender.run())
            elif word == "cut":
                gateway.cut()
            elif word == "stop":
                sender.stop()
                if running is not None:
                    await running
                _say(wanted=sender.wanted, checksum=sender.checksum)
            elif word == "where":
                sessions = gateway.service.sessions.values()
                _say(sequence=sum(session.sequence for session in sessions))


async def _words() -> AsyncIterator[str]:
    # In a thread: a loop of Windows cannot read the pipe that a process is started with.
    while line := await asyncio.to_thread(sys.stdin.readline):
        yield line.strip()


def _say(**facts: object) -> None:
    sys.stdout.write(json.dumps(facts) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    try:
        asyncio.run(_serve(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
    except FastgwError as error:
        _say(error=str(error))
