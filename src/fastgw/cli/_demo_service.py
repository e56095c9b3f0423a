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
from typing import Any

from ..errors import FastgwError
from ..testing import FakeGateway
from ..testing.traffic.traffic import Dispatch, Traffic
from .demo import WANTED, fingerprint

# The pool is sent over and over: making traffic costs more than sending it.
_POOL = 20_000
# Seconds between bursts: real gateways flush in bursts, and a burst is what a wake-up costs.
_TICK_S = 0.005


class _Sender:
    """Sends the pool's events at a rate, and remembers what the wanted ones were."""

    def __init__(self, gateway: FakeGateway, pool: list[Dispatch], rate: int) -> None:
        self._gateway = gateway
        self._pool = pool
        self._rate = rate
        self._running = False
        self.wanted = 0
        self.checksum = 0

    async def run(self) -> None:
        """Send until `stop`."""
        self._running = True
        session = self._gateway.service.session(0)
        began = time.monotonic()
        sent = 0
        while self._running:
            due = int((time.monotonic() - began) * self._rate)
            batch: list[Dispatch] = []
            for index in range(sent, due):
                dispatch = self._pool[index % len(self._pool)]
                batch.append(dispatch)
                if dispatch.name in WANTED:
                    self.wanted += 1
                    sequence = session.sequence + len(batch)
                    self.checksum ^= fingerprint(sequence, dispatch.guild_id)
            self._gateway.dispatch_many(batch)
            sent = due
            await asyncio.sleep(_TICK_S)

    def stop(self) -> None:
        self._running = False


async def _serve(rate: int) -> None:
    # Without GUILD_CREATE: a running bot receives them at its start, not all the time.
    pool = [
        dispatch
        for dispatch in Traffic(seed=1).dispatches(_POOL)
        if dispatch.name != "GUILD_CREATE"
    ]
    async with FakeGateway(tls=True, heartbeat_interval_ms=1_000) as gateway:
        assert gateway.client_ssl_context is not None
        (authority,) = gateway.client_ssl_context.get_ca_certs(binary_form=True)
        _say(url=gateway.url, authority=ssl.DER_cert_to_PEM_cert(authority))
        sender = _Sender(gateway, pool, rate)
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
                _say(sequence=gateway.service.session(0).sequence)


async def _words() -> Any:
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    while line := await reader.readline():
        yield line.decode().strip()


def _say(**facts: object) -> None:
    sys.stdout.write(json.dumps(facts) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    try:
        asyncio.run(_serve(int(sys.argv[1])))
    except FastgwError as error:
        _say(error=str(error))
