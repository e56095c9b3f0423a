"""
Minutes of faults under traffic: nothing is lost, nothing comes twice, nothing is left behind.

    FASTGW_SOAK_SECONDS=600 pytest -m soak tests/test_soak.py

Two gateways, one with zstd and one with zlib, talk over TLS through a proxy that breaks connections
to a service that breaks some itself; both are in another process (`soak_service.py`), which writes
down what it sends. Half of the time goes to each event loop. FASTGW_SOAK_SEED repeats the order of
the faults; what they hit depends on timing.
"""

from __future__ import annotations

import asyncio
import base64
import ctypes
import gc
import json
import os
import ssl
import sys
import threading
import time
import zlib
from array import array
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from deadline import scaled

from fastgw import Gateway, Intents, LocalIdentifyQueue
from fastgw.fleet.http.gateway_info import GatewayInfo
from fastgw.health.counts import GatewayStats, ShardStats
from fastgw.protocol.states import State
from fastgw.protocol.timeouts import Timeouts

pytestmark = [pytest.mark.soak]

SECONDS = float(os.environ.get("FASTGW_SOAK_SECONDS", "600"))
SEED = int(os.environ.get("FASTGW_SOAK_SEED", "1"))
TIMEOUTS = Timeouts(
    open_s=3.0, hello_s=1.0, ready_s=5.0, resumed_s=5.0, close_s=0.5, tls_shutdown_s=0.3
)
# The memory of the end is compared with the most there was in the first parts of the run.
PARTS, WARM_UP_PARTS = 10, 3
# How much it may be above that, beside our own ledger: thousands of connections have come and gone.
ALLOWED_BYTES = 8 * 1024 * 1024
SERVICE = Path(__file__).parents[1] / "support" / "soak_service.py"


class Session:
    """What handlers saw of one session."""

    def __init__(self) -> None:
        self.sequences = array("Q")
        self.sums = array("I")


class Client:
    """A gateway, and everything that its handlers see."""

    def __init__(self, url: str, context: ssl.SSLContext, compress: str) -> None:
        self.sessions: dict[str, Session] = {}
        self.current: str | None = None
        self.unheard = 0  # IDENTIFYs that were not followed by READY
        self.refused: list[str] = []  # sessions that the service did not know any more
        self._identifying = False
        self.gateway = Gateway(
            "not.a.token",
            intents=Intents.all(),
            info=GatewayInfo(url),
            compress=compress,
            ssl_context=context,
            timeouts=TIMEOUTS,
            backoff_s=(0.05, 0.5),
            identify_queue=LocalIdentifyQueue(interval_s=0.05, padding_s=(0.0, 0.05)),
        )
        self.gateway.on("*")(self._event)
        self.gateway.on_status(self._status)

    @property
    def last(self) -> int:
        """The sequence of the current session's last event; READY has 1."""
        session = self.sessions.get(self.current or "", Session())
        return session.sequences[-1] if session.sequences else 1

    def _event(self, event) -> None:
        if event.name == "READY":
            self.current = event.data["session_id"]
            assert self.current not in self.sessions, "READY twice"
            self.sessions[self.current] = Session()
            return
        session = self.sessions[self.current]
        session.sequences.append(event.sequence)
        session.sums.append(zlib.crc32(event.raw, zlib.crc32(event.name.encode())))

    def _status(self, change) -> None:
        if change.new is State.READY:
            self._identifying = False
        elif change.new is State.IDENTIFYING:
            # Why this one? READY of the last did not come, or the service has refused the session:
            # no fault of the wire is a reason to give one up.
            if self._identifying:
                self.unheard += 1
            elif self.current is not None:
                self.refused.append(self.current)
            self._identifying = True


class Service:
    """The other process."""

    @classmethod
    async def start(cls, seconds: float):
        self = cls()
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, SERVICE, json.dumps({"seed": SEED, "seconds": seconds}),
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=1 << 30,
        )  # fmt: skip
        return self

    async def heard(self) -> dict:
        line = await asyncio.wait_for(self._process.stdout.readline(), scaled(30.0))
        assert line, "the service has ended"
        return json.loads(line)

    async def ask(self, what: str) -> dict:
        self._process.stdin.write(f"{what}\n".encode())
        return await self.heard()

    async def stop(self) -> int:
        self._process.stdin.close()
        try:
            return await asyncio.wait_for(self._process.wait(), scaled(15.0))
        except asyncio.TimeoutError:
            self._process.kill()
            raise


def resident_bytes() -> int:
    """
    Return what the process has in memory, 0 where the system does not tell.

    glibc keeps freed memory back for the next allocation, more of it with each size that comes by
    (decompression windows, reads of any length); what it holds is asked back before looking.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except OSError:
        return 0
    return pages * os.sysconf("SC_PAGESIZE")


def held() -> dict[str, int]:
    """Count what a process may leak."""
    descriptors = Path("/proc/self/fd")
    return {
        "tasks": len(asyncio.all_tasks()),
        # The loop's own pool, where names are resolved, keeps its threads.
        "threads": sum(not t.name.startswith("asyncio_") for t in threading.enumerate()),
        "descriptors": len(list(descriptors.iterdir())) if descriptors.exists() else 0,
    }


async def settled(clients: list[Client], service: Service) -> None:
    """Wait until the faults are over and every client has all there is in its session."""
    end = time.monotonic() + scaled(40.0)
    while True:
        where = await service.ask("where")
        if where["over"] and all(
            client.gateway.health().is_ready
            and client.last == where["last"].get(client.current or "")
            for client in clients
        ):
            return
        if not where["over"]:
            end = time.monotonic() + scaled(40.0)
        assert time.monotonic() < end, (
            f"not caught up: {where}, {[(c.current, c.last, c.gateway.shards) for c in clients]}"
        )
        await asyncio.sleep(0.2)


async def nothing_left(before: dict[str, int]) -> dict[str, int]:
    """Return what is held after the end; old sockets have some seconds to go."""
    end = time.monotonic() + scaled(5.0)
    while (now := held()) != before and time.monotonic() < end:
        gc.collect()
        await asyncio.sleep(0.05)
    return now


@dataclass
class Run:
    """What a run of `soak` left."""

    clients: list[Client]
    stats: list[GatewayStats]  # at the end, still connected
    ledger: dict[str, Any]
    before: dict[str, int]  # what was held before the first client, and after the last
    after: dict[str, int]
    peaks: list[int]  # of memory in bytes, by part of the run
    resident: int  # at the end

    @property
    def shards(self) -> list[ShardStats]:
        return [stats.shards[0] for stats in self.stats]


async def soak(seconds: float) -> Run:
    """Let two clients live through the faults, and close them."""
    service = await Service.start(seconds)
    clients: list[Client] = []
    try:
        said = await service.heard()
        context = ssl.create_default_context(cadata=said["authority"])
        before, began, peaks = held(), time.monotonic(), [0] * PARTS
        clients += [
            Client(said["url"], context, compress) for compress in ("zstd-stream", "zlib-stream")
        ]
        for client in clients:
            await client.gateway.start()
        watching = asyncio.ensure_future(settled(clients, service))
        while not watching.done():
            await asyncio.wait((watching,), timeout=1.0)
            part = min(PARTS - 1, int((time.monotonic() - began) / seconds * PARTS))
            peaks[part] = max(peaks[part], resident_bytes())
        watching.result()
        stats = [client.gateway.stats() for client in clients]
        ledger = await service.ask("ledger")
        await asyncio.gather(*(client.gateway.close() for client in clients))
        after = await nothing_left(before)
        return Run(clients, stats, ledger, before, after, peaks, resident_bytes())
    finally:
        await asyncio.gather(*(client.gateway.close() for client in clients))
        assert await service.stop() == 0


def compare(clients: list[Client], ledger: dict[str, Any]) -> dict[str, Any]:
    """Hold what was seen against what was sent, session by session."""
    sent = delivered = lost = lost_of_resumable = 0
    wrong = []
    seen = {name: session for client in clients for name, session in client.sessions.items()}
    alive = {client.current for client in clients}
    for name, text in ledger["sent"].items():
        sums = array("I")
        sums.frombytes(base64.b64decode(text))
        session = seen.pop(name, None) or Session()
        count = len(session.sums)
        sent += len(sums)
        delivered += count
        lost += len(sums) - count
        # READY is sequence 1. A session that was lost misses what came after the loss, no more.
        if list(session.sequences) != list(range(2, count + 2)) or session.sums != sums[:count]:
            wrong.append(name)
        if name in alive:
            lost_of_resumable += len(sums) - count
    return {
        "sessions": len(ledger["sent"]),
        "sent": sent,
        "delivered": delivered,
        "lost with their session": lost - lost_of_resumable,
        "lost of resumable sessions": lost_of_resumable,
        "wrong": wrong + list(seen),
    }


def figures_of(run: Run) -> dict[str, Any]:
    """Put together what is reported."""
    shards, clients, ledger = run.shards, run.clients, run.ledger
    return {
        "faults of the wire": ledger["faults"],
        "in all": sum(ledger["faults"].values()),
        "faults of the service": ledger["deeds"],
        **compare(clients, ledger),
        "connections": sum(shard.connections for shard in shards),
        "ends by cause": dict(sum((Counter(shard.reconnects) for shard in shards), Counter())),
        "resumes won": sum(shard.resumes_won for shard in shards),
        "resumes lost": sum(shard.resumes_lost for shard in shards),
        "replayed": sum(shard.events_replayed for shard in shards),
        "repeated and dropped": sum(shard.duplicates for shard in shards),
        "identifies": sum(shard.identifies for shard in shards),
        "first ones": len(clients),
        "after one unheard": sum(client.unheard for client in clients),
        "session refused": sum(len(client.refused) for client in clients),
        "MiB, peak by tenth": [round(peak / 2**20, 1) for peak in run.peaks],
        "MiB at the end": round(run.resident / 2**20, 1),
    }


@pytest.mark.timeout(SECONDS + 300)
async def test_chaos(capsys):
    """Every event of every resumable session once and in order; no needless IDENTIFY; no leak."""
    run = await soak(SECONDS / 2)
    figures = figures_of(run)
    with capsys.disabled():
        loop = type(asyncio.get_running_loop()).__module__.partition(".")[0]
        print(f"\n--- soak: {SECONDS / 2:g} s on {loop}, seed {SEED}")
        for name, value in figures.items():
            print(f"{name:>27}  {value}")

    # Every event once, in order, whole; what is missing belongs to sessions that were lost.
    assert figures["wrong"] == []
    assert figures["lost of resumable sessions"] == 0
    assert not any(shard.gaps for shard in run.shards)
    assert not any(stats.handler_failures for stats in run.stats)
    # An IDENTIFY has a reason that the service or the wire gave, and we end no session ourselves.
    assert run.ledger["wished"] == []
    for client, shard in zip(run.clients, run.shards, strict=True):
        assert len(set(client.refused)) == len(client.refused)
        assert set(client.refused) <= set(run.ledger["killed"])
        assert shard.identifies == 1 + client.unheard + len(client.refused)
    assert run.after == run.before
    room = figures["delivered"] * 16  # for what we wrote down: 12 bytes each, in arrays that grow
    assert run.resident <= max(run.peaks[:WARM_UP_PARTS]) + ALLOWED_BYTES + room
    if SECONDS >= 60:
        assert figures["in all"] >= SECONDS / 2
