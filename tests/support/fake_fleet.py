"""
A fleet without sockets: each of its shards connects to a service in memory, in invented time.

Everything of the fleet's is the real thing but `Dial`; what may be the user's is here: a store, and
the API's answer.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from typing import Any

from fake_dial import STEP_S, FakeDial, Service, until

from fastgw.delivery.handlers import Handlers
from fastgw.fleet.fleet import Fleet
from fastgw.fleet.http.gateway_info import GatewayInfo
from fastgw.fleet.settings import FleetOptions
from fastgw.fleet.turns.identify import LocalIdentifyQueue
from fastgw.protocol.identity import Identity
from fastgw.protocol.timeouts import Timeouts
from fastgw.words import Intents

URL = "wss://gateway.example"
NEVER_S = 1e9


class Store:
    """
    A session store, open as well, that keeps what it is asked in `asked`.

    Attributes:
        refusal: what `take` raises.
        on_take, on_close: called meanwhile; what they return is awaited.
        sequences: as they were told last. notes: how often.
    """

    acknowledge = "received"

    def __init__(self, *, is_durable: bool = False) -> None:
        self.is_durable = is_durable
        self.asked: list[Any] = []
        self.refusal: Exception | None = None
        self.on_take: Any = None
        self.on_close: Any = None
        self.sequences: dict[int, int] = {}
        self.notes = 0

    async def open(self, bot_id: int | None) -> Store:
        self.asked.append("open")
        return self

    async def take(self, shard_ids: Any, shard_count: int) -> dict[int, Any]:
        self.asked.append(("take", tuple(shard_ids), shard_count))
        if self.on_take is not None:
            await self.on_take()
        if self.refusal is not None:
            raise self.refusal
        return {}

    def save(self, stored: Any) -> None:
        self.asked.append(("save", stored.session.shard_id))

    def save_sequences(self, sequences: Any) -> None:
        self.sequences.update(sequences)
        self.notes += 1

    def forget(self, shard_id: int) -> None:
        self.asked.append(("forget", shard_id))

    async def release(self, shard_ids: Any) -> None:
        self.asked.append(("release", tuple(shard_ids)))

    async def close(self) -> None:
        self.asked.append("close")
        if self.on_close is not None:
            await self.on_close()


class LeasingStore(Store):
    """One that gives shards on lease; those of `over` are told of at the next look."""

    look_s = 1.0

    def __init__(self) -> None:
        super().__init__(is_durable=True)
        self.over: list[int] = []

    def expired(self) -> list[int]:
        over, self.over = self.over, []
        return over


class FleetWorld:
    """
    A fleet of two shards, and all that it has to do with.

    Attributes:
        services: of its shards, by id.
        changes: of their states, as they are told.
        api: what the API answers, one after another, the last for ever: a GatewayInfo, an error,
            or None for silence. asked: when it was.
    """

    def __init__(self, monkeypatch: Any, **options: Any) -> None:
        self.services: defaultdict[int, Service] = defaultdict(Service)
        self.changes: list[Any] = []
        self.api: list[GatewayInfo | Exception | None] = [GatewayInfo(URL, shards=2)]
        self.asked: list[float] = []
        monkeypatch.setattr("fastgw.shard.link.Dial", self._dial)
        monkeypatch.setattr("fastgw.fleet.http.gateway_info.fetch_gateway_info", self._answer)
        queue = LocalIdentifyQueue(16, padding_s=(0.0, 0.0), clock=time.monotonic)
        self.store = options.setdefault("store", Store())
        values: dict[str, Any] = {
            "identity": Identity(token="not.a.token", intents=Intents.all()),
            "shard_ids": None, "shard_count": None, "compression": "none",
            "info": GatewayInfo(URL, shards=2), "api_url": "https://api.example",
            "timeouts": Timeouts(), "ssl_context": None, "proxies": None, "http_headers": {},
            "metrics": None, "relief_bytes": None, "is_store_chosen": True,
            "identify_queue": queue, "backoff_s": (1.0, 60.0), "on_fatal": "continue",
            "drain_s": 5.0, "random": lambda: 0.5,
        }  # fmt: skip
        self.handlers = Handlers(Intents.all())
        self.fleet = Fleet(
            FleetOptions(**{**values, **options}), self.handlers, self.changes.append
        )

    def _dial(self, decoder: Any, owner: Any, **options: Any) -> FakeDial:
        return self.services[owner.shard.id].dial(decoder, owner, **options)

    async def _answer(self, *question: Any, **options: Any) -> GatewayInfo:
        self.asked.append(time.monotonic())
        answer = self.api.pop(0) if len(self.api) > 1 else self.api[0]
        await asyncio.sleep(NEVER_S if answer is None else STEP_S)
        if isinstance(answer, Exception):
            raise answer
        assert answer is not None
        return answer

    async def ready(self) -> None:
        """Start it, and wait until all shards are READY."""
        await self.fleet.start()
        await self.all_ready()

    async def all_ready(self) -> None:
        """Wait until all shards are READY, however often they were."""
        await until(lambda: self.fleet.progress().ready == len(self.fleet.shards) > 0)

    def dials(self) -> int:
        """How many connections were tried, of all shards."""
        return sum(len(service.dials) for service in self.services.values())
