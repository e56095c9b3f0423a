"""
Publishers, consumers and Redis under all faults at once: nothing is lost, doubled or identified.

    pytest -m redis tests/redis/test_streams_endure.py -s                       each fault once
    FASTGW_STREAM_EVENTS=500000 FASTGW_STREAM_SEED=7 pytest -m redis ... -s     until all is through

FASTGW_STREAM_SECONDS ends such a run earlier, as soon as what was sent is through, and
FASTGW_STREAM_FAULTS, such as "fail over, part worker from both", are the only ones. Where network
namespaces can be had each process is in one of its own, and is cut off by packets that vanish, and
Redis is a master, a replica and three sentinels; elsewhere, and with FASTGW_STREAM_GROUND=loopback,
there is one server, and Redis alone is what a process can be cut off from.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from functools import partial
from pathlib import Path

import pytest
from redis_server import needs_redis

pytest.importorskip("redis")
from grounds import Loopback, Namespaces, why_no_namespaces
from streams_run import SHARDS, Run

from fastgw.testing import FakeGateway

pytestmark = [pytest.mark.redis, needs_redis, pytest.mark.one_loop, pytest.mark.timeout(0)]

EVENTS = int(os.environ.get("FASTGW_STREAM_EVENTS", "0"))  # 0: as many as come in the faults
SEED = int(os.environ.get("FASTGW_STREAM_SEED", "20250101"))
SECONDS = float(os.environ.get("FASTGW_STREAM_SECONDS", "inf"))
FAULTS = os.environ.get("FASTGW_STREAM_FAULTS", "")
GROUND = os.environ.get("FASTGW_STREAM_GROUND", "")
LEASE_S = 6.0 if EVENTS else 2.0  # a long one may have to share its machine
PATIENCE_S = 300.0 if EVENTS else 90.0
ROLLED_BACK_S = 1.5
STORED_S = 3.0  # until what Redis forgot is stored again; before, a killed worker may not know it


class Trouble(Run):
    """All of it, and what befalls it."""

    def __init__(self, *arguments, **options) -> None:
        super().__init__(*arguments, **options)
        self.redis_bytes: list[int] = []  # that Redis used after each fault

    # --- faults ----------------------------------------------------------------------------------

    async def trouble(self) -> None:
        """One fault after the other, each of them once before any comes again."""
        deeds = {
            "kill worker": self.kill_worker, "kill consumer": self.kill_consumer,
            "stop worker": self.stop_worker, "stop consumer": self.stop_consumer,
            "part consumer": self.part_consumer, "cut sockets": self.cut_sockets,
            "roll Redis back": self.roll_back,
        }  # fmt: skip
        for what in self.ground.cuts:
            deeds[f"part worker from {what}"] = partial(self.part_worker, what)
        if self.ground.fail_over is not None:
            deeds["fail over"] = self.fail_over
        names = [name.strip() for name in FAULTS.split(",")] if FAULTS else list(deeds)
        while True:
            self.random.shuffle(names)
            for name in names:
                if self.is_enough():
                    return
                await deeds[name]()
                self.deeds[name] += 1
                await self.goes_on(name)
                found = await self.streams.client.info("memory")
                self.redis_bytes.append(found["used_memory"])
            if not EVENTS:
                return

    async def kill_worker(self) -> None:
        worker = self.random.choice(self.workers)
        await worker.kill()
        await worker.start(self.folder / "errors.txt")

    async def kill_consumer(self) -> None:
        consumer = self.random.choice(self.consumers)
        await consumer.kill()
        await consumer.start(self.folder / "errors.txt")

    async def stop_worker(self) -> None:
        """It stands still for longer than its lease; another has its shards when it goes on."""
        at = self.random.randrange(len(self.workers))
        frozen, standby = self.workers[at], self.worker(f"standby {at}", *self.ends(at))
        frozen.signal(signal.SIGSTOP)
        await standby.start(self.folder / "errors.txt")
        await self.until(lambda: standby.ups, "the standby is up")
        frozen.signal(signal.SIGCONT)
        await asyncio.sleep(self.random.uniform(0.5, 1.5))
        self.workers[at] = standby
        await frozen.kill()
        await frozen.way.stop()

    async def stop_consumer(self) -> None:
        consumer = self.random.choice(self.consumers)
        consumer.signal(signal.SIGSTOP)
        await asyncio.sleep(self.random.uniform(0.5, 2.0) * LEASE_S)
        consumer.signal(signal.SIGCONT)

    async def roll_back(self) -> None:
        """Redis forgets what it acknowledged in the last seconds, and all who asked see that."""
        await asyncio.to_thread(self.ground.keep)
        await asyncio.sleep(self.random.uniform(0.1, ROLLED_BACK_S))
        await asyncio.to_thread(self.ground.go_back)
        await self.goes_on("a Redis that was rolled back")
        await asyncio.sleep(STORED_S)

    async def fail_over(self) -> None:
        """The master dies; what its replica had not heard of by then is lost."""
        await asyncio.to_thread(self.ground.fail_over)
        await self.goes_on("another master")
        await asyncio.sleep(STORED_S)

    async def part_worker(self, what: str) -> None:
        """It does not reach Redis, Discord, or both, for longer than its lease or not."""
        worker = self.random.choice(self.workers)
        worker.way.cut(what)
        await asyncio.sleep(self.random.uniform(0.5, 2.0) * LEASE_S)
        worker.way.mend()

    async def part_consumer(self) -> None:
        consumer = self.random.choice(self.consumers)
        consumer.way.cut("redis")
        await asyncio.sleep(self.random.uniform(0.5, 2.0) * LEASE_S)
        consumer.way.mend()

    async def cut_sockets(self) -> None:
        self.fake.cut()

    def _used(self, since: float, until: float) -> str:
        """Return the median over a part of the run: faults themselves make it jump."""
        count = len(self.redis_bytes)
        part = sorted(self.redis_bytes[int(since * count) : max(1, int(until * count))])
        return f"{part[len(part) // 2] / 1e6:.1f}"

    def report(self, name: str, identifies: int, resumes: int) -> str:
        """Say in a line what came of it."""
        total = sum(self.sent.values())
        numbers, _ = self.handled()
        repeated = sum(len(each) - len(set(each)) for each in numbers.values())
        return (
            f"{name}, seed {SEED}: {total} events, {self.appended} appended, {self.doubled} "
            f"doubled, {self.misses()} missed by consumers, {repeated} handled again; {identifies} "
            f"identifies of {SHARDS} shards, {resumes} resumes; {sum(self.deeds.values())} faults "
            f"{dict(self.deeds)}; Redis used {self._used(0.0, 0.5)} MB in the first half and "
            f"{self._used(0.5, 1.0)} in the second; {time.monotonic() - self.began:.0f} s"
        )


def make_ground(folder: Path) -> Loopback | Namespaces:
    """Return what there can be here, or what was asked for."""
    if GROUND == "namespaces":
        assert not why_no_namespaces(), why_no_namespaces()
    is_plain = GROUND == "loopback" or (not GROUND and why_no_namespaces())
    return Loopback(folder) if is_plain else Namespaces(folder)


async def test_nothing_is_lost_whatever_dies(tmp_path):
    """0 lost, 0 doubled in the streams, 0 identifies but the first; consumers miss nothing."""
    ground = make_ground(tmp_path)
    try:
        async with FakeGateway(
            host=ground.gateway_host, recommended_shards=SHARDS, max_concurrency=SHARDS,
            session_ttl_s=600.0, replay_limit=200_000, replay_limit_bytes=1 << 30,
            heartbeat_interval_ms=2_000, heartbeat_patience=None,
        ) as fake:  # fmt: skip
            run = Trouble(
                tmp_path, fake, ground, seed=SEED, events=EVENTS, seconds=SECONDS,
                lease_s=LEASE_S, patience_s=PATIENCE_S,
            )  # fmt: skip
            try:
                await run.start()
                run.sending = asyncio.ensure_future(run.send())
                await run.trouble()
                await run.finish()
            finally:
                await run.stop()
            identifies, resumes = len(fake.identifies), len(fake.resumes)
    finally:
        await asyncio.to_thread(ground.stop)
    print("\n" + run.report(type(ground).__name__, identifies, resumes))
    run.check(identifies)
