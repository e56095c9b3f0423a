"""
Workers killed once a second, and replaced under traffic: what it costs, counted by the service.

The default suite runs a small share of each; `pytest -m many -s tests/processes` runs the whole,
and prints its figures.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import statistics
import time
from collections import Counter

import pytest
from deadline import until
from fleet_command import PATIENCE_S, kill

from fastgw.testing import FakeGateway

pytestmark = pytest.mark.skipif(
    not os.path.exists("/proc/self/stat"), reason="processes are looked at in /proc"
)
# The service's interval for one key, and that of the bot's queue, which may not be below it.
INTERVAL_S = 0.05
KEYS = 16


class Traffic:
    """Numbered messages, to one shard after the other, at a rate."""

    def __init__(self, fake, shards, rate):
        self._fake = fake
        self._shards = shards
        self._rate = rate
        self._sessions = {one.shard_id: one for one in fake.service.sessions.values()}
        self._task = asyncio.create_task(self._send())
        self.sent = 0

    async def _send(self):
        began = time.monotonic()
        while True:
            due = int((time.monotonic() - began) * self._rate)
            # Not by `dispatch`, which looks at every connection for every event.
            for number in range(self.sent, due):
                session = self._sessions[number % self._shards]
                data = b'{"content":"%d"}' % number
                self._fake.service.append(session, "MESSAGE_CREATE", data)
            self._fake.flush()
            self.sent = max(self.sent, due)
            await asyncio.sleep(0.01)

    async def stop(self):
        self._task.cancel()
        await asyncio.wait([self._task])


def service(shards):
    return FakeGateway(
        recommended_shards=shards,
        max_concurrency=KEYS,
        identify_interval_s=INTERVAL_S,
        identifies_total=10_000,
    )


async def ready_fleet(run_fleet, fake, processes, shards):
    """Start it; all shards race for their turns."""
    fleet = await run_fleet(
        fake, "--processes", str(processes), FLEET_BOT_INTERVAL_S=str(INTERVAL_S * 1.2)
    )
    await until(lambda: fleet.is_ready(shards) or fleet.has_ended, PATIENCE_S * 3)
    assert not fleet.has_ended, fleet.errors
    assert len(fake.identifies) == shards
    assert fake.service.identifies_refused == 0
    return fleet


async def check_nothing_is_lost(fleet, fake, shards, sent):
    """All came; nothing twice in one process; and nobody identified again. Return duplicates."""

    def missing():
        return set(map(str, range(sent))) - {words[4] for words in fleet.lines("event")}

    with contextlib.suppress(AssertionError):
        await until(lambda: len(fleet.lines("event")) >= sent, PATIENCE_S * 3)
        await until(lambda: not missing(), PATIENCE_S)
    left = missing()
    assert not left, f"{len(left)} of {sent} events are lost, such as {sorted(left)[:5]}"
    assert len(fake.identifies) == shards
    assert fake.service.identifies_refused == 0
    assert fake.service.sessions_lost == 0
    seen = Counter(tuple(words[:4]) for words in fleet.lines("event"))
    assert max(seen.values()) == 1
    return len(fleet.lines("event")) - sent


@pytest.mark.parametrize(
    ("processes", "shards", "seconds", "rate"),
    [(2, 8, 4, 200), pytest.param(4, 256, 60, 1_000, marks=pytest.mark.many)],
)
async def test_kills_cost_no_identify_and_no_event(run_fleet, processes, shards, seconds, rate):
    """A worker is killed every second, whatever it does at that moment."""
    chance = random.Random(7)
    async with service(shards) as fake:
        fleet = await ready_fleet(run_fleet, fake, processes, shards)
        await fleet.wait_stored(shards)
        traffic = Traffic(fake, shards, rate)
        kills = 0
        for _ in range(seconds):
            await asyncio.sleep(1.0)  # the beat of the killer, which waits for nothing
            pids = [worker["pid"] for worker in fleet.workers if worker["pid"]]
            if pids:
                kill(chance.choice(pids))
                kills += 1
        await traffic.stop()
        twice = await check_nothing_is_lost(fleet, fake, shards, traffic.sent)
        print(f"\n{kills} kills, {traffic.sent} events, 0 lost, {twice} again after a kill")
        print(f"{len(fake.resumes)} resumes, {len(fake.identifies)} identifies for {shards} shards")


@pytest.mark.parametrize(
    ("processes", "shards", "rate"),
    [(2, 8, 300), pytest.param(4, 256, 5_000, marks=pytest.mark.many)],
)
async def test_a_rolling_restart_under_traffic(run_fleet, processes, shards, rate):
    """Every shard moves by one RESUME; nothing is lost, and nothing comes twice."""
    async with service(shards) as fake:
        fleet = await ready_fleet(run_fleet, fake, processes, shards)
        traffic = Traffic(fake, shards, rate)
        fleet.signal(signal.SIGHUP)
        await until(lambda: "all workers are replaced" in fleet.errors, PATIENCE_S * 6)
        await traffic.stop()
        twice = await check_nothing_is_lost(fleet, fake, shards, traffic.sent)
        assert len(fake.resumes) == shards
        assert twice == 0
        gaps = sorted(gaps_of(fleet))
        assert len(gaps) == shards
        print(f"\n{traffic.sent} events at {rate}/s, 0 lost, {shards} resumes; a shard's gap:")
        print(f"median {statistics.median(gaps):.2f} s, worst {gaps[-1]:.2f} s")


def gaps_of(fleet):
    """Return for how long each shard was not READY, from the first to the second process."""
    left: dict[str, float] = {}
    for _, shard_id, state, at in fleet.lines("status"):
        if state == "CLOSING":
            left[shard_id] = float(at)
        elif state == "READY" and shard_id in left:
            yield float(at) - left.pop(shard_id)
