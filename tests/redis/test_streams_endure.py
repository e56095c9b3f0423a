"""
Publishers, consumers and Redis under all faults at once: nothing is lost, doubled or identified.

    pytest -m redis tests/redis/test_streams_endure.py -s                       each fault once
    FASTGW_STREAM_EVENTS=500000 FASTGW_STREAM_SEED=7 pytest -m redis ... -s     until all is through

FASTGW_STREAM_SECONDS ends such a run earlier, as soon as what was sent is through.

Two processes with four shards each, a standby for each that stands still, three consumers of one
group. A second group, `audit`, is read here: what stands in its mailboxes is what was appended.
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import signal
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest
from deadline import scaled
from partition import Partition
from redis_server import RedisServer, needs_redis

pytest.importorskip("redis")
from redis.exceptions import RedisError

from fastgw.redis.interests import encode_interests
from fastgw.redis.streams import EventStreams
from fastgw.testing import FakeGateway

pytestmark = [pytest.mark.redis, needs_redis, pytest.mark.one_loop, pytest.mark.timeout(0)]

SUPPORT = Path(__file__).parents[1] / "support"
EVENTS = int(os.environ.get("FASTGW_STREAM_EVENTS", "0"))  # 0: as many as come in the faults
SEED = int(os.environ.get("FASTGW_STREAM_SEED", "20250101"))
SECONDS = float(os.environ.get("FASTGW_STREAM_SECONDS", "inf"))
SHARDS, CONSUMERS = 8, 3
LEASE_S = 6.0 if EVENTS else 2.0  # a long one may have to share its machine
AHEAD = 4_000  # events that are sent and not appended yet, beyond which none is sent
PATIENCE_S = 300.0 if EVENTS else 90.0
ROLLED_BACK_S = 1.5
STORED_S = 3.0  # until what Redis forgot is stored again; before, a killed worker may not know it


class Child:
    """A process of ours, and a way to Redis of its own."""

    def __init__(self, name: str, socket: Path, command: list[str]) -> None:
        self.name = name
        self.way = Partition(socket)
        self.ups = 0
        self._command = command
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None

    async def start(self, errors: Path) -> None:
        if not self.way.port:
            await self.way.start()
        command = [part.replace("REDIS", self._redis) for part in self._command]
        with errors.open("ab") as file:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, *command, stdout=asyncio.subprocess.PIPE, stderr=file
            )
        self._reading = asyncio.create_task(self._read(self._process.stdout))

    @property
    def _redis(self) -> str:
        return f"redis://127.0.0.1:{self.way.port}"

    async def _read(self, stdout) -> None:
        while await stdout.readline():
            self.ups += 1

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    async def kill(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
        if self._process is not None:
            await self._process.wait()
            await self._reading


class Run:
    """All of it."""

    def __init__(self, folder: Path, fake: FakeGateway, server: RedisServer) -> None:
        self.random = random.Random(SEED)
        self.fake, self.server, self.folder = fake, server, folder
        self.log = folder / "handled.txt"
        self.sent: Counter[int] = Counter()
        self.ids: dict[int, dict[int, set[bytes]]] = {shard_id: {} for shard_id in range(SHARDS)}
        self.others: list[bytes] = []  # names of entries that are no messages, after the first
        self.appended = 0  # different events seen in the audit
        self.deeds: Counter[str] = Counter()
        self.streams = EventStreams(server.url, "fgw")
        half = SHARDS // 2
        ranges = [(0, half - 1), (half, SHARDS - 1)]
        self.workers = [self._worker(f"worker {i}", *ends) for i, ends in enumerate(ranges)]
        self.consumers = [self._consumer(f"consumer {i}") for i in range(CONSUMERS)]
        self.began = time.monotonic()
        self.is_over = False
        self.is_stopped = False
        self.sending: asyncio.Task[None] | None = None

    def _worker(self, name: str, first: int, last: int) -> Child:
        command = [SUPPORT / "stream_worker.py", self.fake.url, "REDIS", first, last, SHARDS]
        return Child(name, self.server.socket, [*map(str, command), str(LEASE_S)])

    def _consumer(self, name: str) -> Child:
        command = [SUPPORT / "stream_consumer.py", "REDIS", "bot", SHARDS, LEASE_S, self.log]
        return Child(name, self.server.socket, list(map(str, command)))

    async def start(self) -> None:
        self.streams.open()
        client, key = self.streams.client, self.streams.key
        await client.hset(key("groups"), "audit", encode_interests([("MESSAGE_CREATE", None)]))
        await client.incr(key("groups", "version"))
        for consumer in self.consumers:
            await consumer.start(self.folder / "errors.txt")
        end = time.monotonic() + scaled(PATIENCE_S)
        while not await client.hexists(key("groups"), "bot"):
            assert time.monotonic() < end, self.said()
            await asyncio.sleep(0.05)
        for worker in self.workers:  # they know both groups from their first event on
            await worker.start(self.folder / "errors.txt")
        await self.until(lambda: all(worker.ups for worker in self.workers), "both are up")

    async def until(self, condition, what: str) -> None:
        end = time.monotonic() + scaled(PATIENCE_S)
        while not condition():
            if self.sending is not None and self.sending.done():
                self.sending.result()  # or why nothing is sent any more
            if time.monotonic() > end:
                for w in self.workers:
                    w.signal(signal.SIGUSR2)
                await asyncio.sleep(2)
                raise AssertionError(f"not in {PATIENCE_S:g} s: {what}\n{self.said()}")
            await asyncio.sleep(0.02)

    def said(self) -> str:
        with suppress(FileNotFoundError):
            return (self.folder / "errors.txt").read_text()[-4_000:]
        return ""

    def is_enough(self) -> bool:
        """Tell whether no more events are to be sent, in a long run."""
        seconds = time.monotonic() - self.began
        return bool(EVENTS) and (sum(self.sent.values()) >= EVENTS or seconds >= SECONDS)

    # --- events in, entries out ------------------------------------------------------------------

    async def send(self) -> None:
        """Send events on all shards, no further ahead than is kept for RESUME."""
        while not self.is_over:
            total = sum(self.sent.values())
            if self.is_enough():
                return
            if total - self.appended > AHEAD:
                await asyncio.sleep(0.02)
                continue
            for shard_id in range(SHARDS):
                for _ in range(8):
                    number = self.sent[shard_id]
                    self.sent[shard_id] += 1
                    data = {"id": "1", "n": shard_id << 32 | number, "content": "x" * 60}
                    self.fake.dispatch("MESSAGE_CREATE", data, shard_id=shard_id)
            await asyncio.sleep(0.01 if EVENTS else 0.05)

    async def audit(self) -> None:
        """Read and remove what was appended for the other group, until `stop()`."""
        while not self.is_stopped:  # redis-py may swallow a cancellation that meets its timeout
            try:
                count = 0
                for shard_id in range(SHARDS):
                    count += await self._audit(shard_id)
            except (RedisError, OSError):
                count = 0
            if not count:
                await asyncio.sleep(0.05)

    async def _audit(self, shard_id: int) -> int:
        mailbox, seen = self.streams.mailbox("audit", shard_id), self.ids[shard_id]
        entries = await self.streams.client.xrange(mailbox, count=1_000)
        for entry_id, values in entries:
            if values[b"t"] != b"MESSAGE_CREATE":
                self.others.append(values[b"t"])
                continue
            data = values[b"d"]
            number = int(data[data.index(b'"n":') + 4 :].split(b",")[0]) & 0xFFFFFFFF
            if number not in seen:
                seen[number] = set()
                self.appended += 1
            seen[number].add(entry_id)
        if entries:
            await self.streams.client.xdel(mailbox, *(entry_id for entry_id, _ in entries))
        return len(entries)

    # --- faults ----------------------------------------------------------------------------------

    async def trouble(self) -> None:
        """One fault after the other, each of them once before any comes again."""
        deeds = [
            self.kill_worker, self.kill_consumer, self.stop_worker, self.stop_consumer,
            self.roll_back, self.part_worker, self.part_consumer, self.cut_sockets,
        ]  # fmt: skip
        while True:
            self.random.shuffle(deeds)
            for deed in deeds:
                if self.is_enough():
                    return
                await deed()
                self.deeds[deed.__name__] += 1
                await self.goes_on(deed.__name__)
            if not EVENTS:
                self.is_over = True
                return

    async def goes_on(self, after: str) -> None:
        """Wait until every shard appends again."""
        marks = {shard_id: len(seen) for shard_id, seen in self.ids.items()}

        def all_went_on() -> bool:
            return self.is_enough() or all(len(self.ids[i]) > mark for i, mark in marks.items())

        await self.until(all_went_on, f"all shards go on after {after}")

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
        frozen, standby = self.workers[at], self._worker(f"standby {at}", *self._ends(at))
        frozen.signal(signal.SIGSTOP)
        await standby.start(self.folder / "errors.txt")
        await self.until(lambda: standby.ups, "the standby is up")
        frozen.signal(signal.SIGCONT)
        await asyncio.sleep(self.random.uniform(0.5, 1.5))
        self.workers[at] = standby
        await frozen.kill()
        await frozen.way.stop()

    def _ends(self, at: int) -> tuple[int, int]:
        half = SHARDS // 2
        return (at * half, at * half + half - 1)

    async def stop_consumer(self) -> None:
        consumer = self.random.choice(self.consumers)
        consumer.signal(signal.SIGSTOP)
        await asyncio.sleep(self.random.uniform(0.5, 2.0) * LEASE_S)
        consumer.signal(signal.SIGCONT)

    async def roll_back(self) -> None:
        """Redis forgets what it acknowledged in the last seconds, and all who asked see that."""
        dump = self.folder / "dump.rdb"
        await self.streams.client.save()
        shutil.copy(dump, self.folder / "kept.rdb")
        await asyncio.sleep(self.random.uniform(0.1, ROLLED_BACK_S))
        await asyncio.to_thread(self.server.stop)
        shutil.copy(self.folder / "kept.rdb", dump)
        await asyncio.to_thread(self.server.start)
        await self.goes_on("roll_back")
        await asyncio.sleep(STORED_S)

    async def part_worker(self) -> None:
        """It reaches Discord and not Redis, for longer than its lease."""
        worker = self.random.choice(self.workers)
        worker.way.cut()
        await asyncio.sleep(self.random.uniform(0.5, 2.0) * LEASE_S)
        worker.way.mend()

    async def part_consumer(self) -> None:
        consumer = self.random.choice(self.consumers)
        consumer.way.cut()
        await asyncio.sleep(self.random.uniform(0.5, 2.0) * LEASE_S)
        consumer.way.mend()

    async def cut_sockets(self) -> None:
        self.fake.cut()

    async def stop(self) -> None:
        for child in (*self.workers, *self.consumers):
            await child.kill()
            await child.way.stop()
        await self.streams.close()

    # --- what came of it -------------------------------------------------------------------------

    def handled(self) -> tuple[dict[int, list[int]], list[str]]:
        """Return the numbers that the group handled, by shard, in order; and the holes."""
        numbers: dict[int, list[int]] = {shard_id: [] for shard_id in range(SHARDS)}
        holes = []
        with suppress(FileNotFoundError):
            for line in self.log.read_text().splitlines():
                shard_id, what = line.split()
                if what.isdigit():
                    numbers[int(shard_id)].append(int(what))
                else:
                    holes.append(line)
        return numbers, holes

    def misses(self) -> int:
        """Return how many events no consumer has handled."""
        numbers, _ = self.handled()
        return sum(self.sent[i] - len(set(numbers[i])) for i in range(SHARDS))


async def test_nothing_is_lost_whatever_dies(tmp_path):
    """0 lost, 0 doubled in the streams, 0 identifies but the first; consumers miss nothing."""
    server = RedisServer(tmp_path)
    began = time.monotonic()
    async with FakeGateway(
        recommended_shards=SHARDS, max_concurrency=SHARDS, session_ttl_s=600.0,
        replay_limit=200_000, replay_limit_bytes=1 << 30,
    ) as fake:  # fmt: skip
        run = Run(tmp_path, fake, server)
        auditing = asyncio.ensure_future(run.audit())
        try:
            await run.start()
            run.sending = asyncio.ensure_future(run.send())
            await run.trouble()
            await run.sending
            total = sum(run.sent.values())
            await run.until(lambda: run.appended == total, "all are appended")
            while (missed := run.misses()) and time.monotonic() - began < scaled(36_000):
                before = missed
                await asyncio.sleep(3.0)
                if (missed := run.misses()) == before:
                    break
        finally:
            run.is_over = run.is_stopped = True
            await auditing
            await run.stop()
            server.stop()
        identifies, resumes = len(fake.identifies), len(fake.resumes)
    numbers, holes = run.handled()
    doubled = sum(len(ids) - 1 for seen in run.ids.values() for ids in seen.values())
    repeated = sum(len(each) - len(set(each)) for each in numbers.values())
    print(
        f"\nseed {SEED}: {total} events, {run.appended} appended, {doubled} doubled, "
        f"{run.misses()} missed by consumers, {repeated} handled again; {identifies} identifies of "
        f"{SHARDS} shards, {resumes} resumes; {sum(run.deeds.values())} faults "
        f"{dict(run.deeds)}; {time.monotonic() - began:.0f} s"
    )
    assert run.appended == total
    assert doubled == 0
    assert run.misses() == 0
    assert identifies == SHARDS
    assert set(run.others) <= {b"SESSION_RESET"}
    assert not [hole for hole in holes if "LOST" in hole]
    for shard_id, each in numbers.items():
        assert list(dict.fromkeys(each)) == list(range(run.sent[shard_id])), shard_id
