"""
Gateways that publish, consumers, and what came of it: for tests of what befalls them.

Two processes with four shards each, three consumers of one group. A second group, `audit`, is read
here: what stands in its mailboxes is what was appended.
"""

from __future__ import annotations

import asyncio
import math
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from deadline import scaled
from grounds import Loopback, LoopbackWay, Namespaces, NamespaceWay
from redis.exceptions import RedisError

from fastgw.redis.interests import encode_interests
from fastgw.redis.streams import EventStreams
from fastgw.testing import FakeGateway

SUPPORT = Path(__file__).parent
SHARDS, CONSUMERS = 8, 3
AHEAD = 4_000  # events that are sent and not appended yet, beyond which none is sent


class Child:
    """A process of ours, and a way to Redis of its own."""

    def __init__(self, name: str, way: LoopbackWay | NamespaceWay, command: list[str]) -> None:
        self.name = name
        self.way = way
        self.ups = self.downs = 0
        self.environment: dict[str, str] = {}
        self._command = command
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None

    async def start(self, errors: Path) -> None:
        await self.way.start()
        command = [part.replace("REDIS", self.way.redis) for part in self._command]
        with errors.open("ab") as file:
            self._process = await asyncio.create_subprocess_exec(
                *self.way.prefix, sys.executable, *command,
                stdout=asyncio.subprocess.PIPE, stderr=file, env=os.environ | self.environment,
            )  # fmt: skip
        self._reading = asyncio.create_task(self._read(self._process.stdout))

    async def _read(self, stdout) -> None:
        while line := await stdout.readline():
            self.ups += line == b"up\n"
            self.downs += line == b"down\n"

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    async def end(self) -> None:
        """Ask it to end, and wait until it has."""
        self.signal(signal.SIGTERM)
        await self._process.wait()
        await self._reading

    async def kill(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
        if self._process is not None:
            await self._process.wait()
            await self._reading


class Run:
    """All of it."""

    def __init__(
        self, folder: Path, fake: FakeGateway, ground: Loopback | Namespaces, *,
        seed: int, events: int = 0, seconds: float = math.inf, lease_s: float = 2.0,
        patience_s: float = 90.0,
    ) -> None:  # fmt: skip
        self.random = random.Random(seed)
        self.fake, self.ground, self.folder = fake, ground, folder
        self.events, self.seconds = events, seconds  # 0: until `is_over`
        self.lease_s, self.patience_s = lease_s, patience_s
        self.log = folder / "handled.txt"
        self.sent: Counter[int] = Counter()
        self.ids: dict[int, dict[int, set[bytes]]] = {shard_id: {} for shard_id in range(SHARDS)}
        self.others: list[bytes] = []  # names of entries that are no messages, after the first
        self.appended = 0  # different events seen in the audit
        self.deeds: Counter[str] = Counter()
        self.streams = EventStreams(ground.url, "fgw")
        half = SHARDS // 2
        ranges = [(0, half - 1), (half, SHARDS - 1)]
        self.workers = [self.worker(f"worker {i}", *ends) for i, ends in enumerate(ranges)]
        self.consumers = [self._consumer(f"consumer {i}") for i in range(CONSUMERS)]
        self.began = time.monotonic()
        self.is_over = False
        self.is_stopped = False
        self.sending: asyncio.Task[None] | None = None

    def worker(self, name: str, first: int, last: int) -> Child:
        command = [SUPPORT / "stream_worker.py", self.fake.url, "REDIS", first, last, SHARDS]
        return Child(name, self.ground.way(), [*map(str, command), str(self.lease_s)])

    def _consumer(self, name: str) -> Child:
        command = [SUPPORT / "stream_consumer.py", "REDIS", "bot", SHARDS, self.lease_s, self.log]
        return Child(name, self.ground.way(), list(map(str, command)))

    async def start(self) -> None:
        self.streams.open()
        self.auditing = asyncio.ensure_future(self.audit())
        client, key = self.streams.client, self.streams.key
        await client.hset(key("groups"), "audit", encode_interests([("MESSAGE_CREATE", None)]))
        await client.incr(key("groups", "version"))
        for consumer in self.consumers:
            await consumer.start(self.folder / "errors.txt")
        end = time.monotonic() + scaled(self.patience_s)
        while not await client.hexists(key("groups"), "bot"):
            assert time.monotonic() < end, self.said()
            await asyncio.sleep(0.05)
        for worker in self.workers:  # they know both groups from their first event on
            await worker.start(self.folder / "errors.txt")
        await self.until(lambda: all(worker.ups for worker in self.workers), "both are up")

    async def until(self, condition: Callable[[], object], what: str) -> None:
        end = time.monotonic() + scaled(self.patience_s)
        while not condition():
            if self.sending is not None and self.sending.done():
                self.sending.result()  # or why nothing is sent any more
            if time.monotonic() > end:
                for w in self.workers:
                    w.signal(signal.SIGUSR2)
                await asyncio.sleep(2)
                raise AssertionError(f"not in {self.patience_s:g} s: {what}\n{self.said()}")
            await asyncio.sleep(0.02)

    def said(self) -> str:
        with suppress(FileNotFoundError):
            return (self.folder / "errors.txt").read_text()[-4_000:]
        return ""

    def is_enough(self) -> bool:
        """Tell whether no more events are to be sent, in a long run."""
        seconds = time.monotonic() - self.began
        enough = sum(self.sent.values()) >= self.events or seconds >= self.seconds
        return bool(self.events) and enough

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
            await asyncio.sleep(0.01 if self.events else 0.05)

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

    def ends(self, at: int) -> tuple[int, int]:
        half = SHARDS // 2
        return (at * half, at * half + half - 1)

    async def goes_on(self, after: str) -> None:
        """Wait until every shard appends again."""
        marks = {shard_id: len(seen) for shard_id, seen in self.ids.items()}

        def all_went_on() -> bool:
            return self.is_enough() or all(len(self.ids[i]) > mark for i, mark in marks.items())

        await self.until(all_went_on, f"all shards go on after {after}")

    async def stop(self) -> None:
        self.is_over = self.is_stopped = True
        await self.auditing
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

    async def finish(self) -> None:
        """Wait until all that was sent is appended, and all of that handled."""
        assert self.sending is not None
        self.is_over = True
        await self.sending
        total = sum(self.sent.values())
        await self.until(lambda: self.appended == total, "all are appended")
        fewest, end = math.inf, math.inf
        # As long as some more come: a dead consumer's are another's only when its lease is over.
        while (missed := self.misses()) and time.monotonic() < end:
            if missed < fewest:
                fewest, end = missed, time.monotonic() + scaled(self.patience_s)
            await asyncio.sleep(1.0)

    @property
    def doubled(self) -> int:
        """How many entries stand in the streams for an event that has one already."""
        return sum(len(ids) - 1 for seen in self.ids.values() for ids in seen.values())

    def check(self, identifies: int) -> None:
        """Fail unless nothing was lost, doubled, missed or identified for nothing."""
        numbers, holes = self.handled()
        assert self.appended == sum(self.sent.values())
        assert self.doubled == 0
        assert self.misses() == 0
        assert identifies == SHARDS
        assert set(self.others) <= {b"SESSION_RESET"}
        assert not [hole for hole in holes if "LOST" in hole]
        for shard_id, each in numbers.items():
            assert list(dict.fromkeys(each)) == list(range(self.sent[shard_id])), shard_id
