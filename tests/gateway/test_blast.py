"""
A minute at full blast against a handler that sleeps: memory has a bound, and nothing is lost.

    FASTGW_SOAK_SECONDS=60 pytest -m soak tests/gateway/test_blast.py

The bot is in a process of its own (`blast_child.py`), so that its memory is its own.
"""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import sys
import time
from pathlib import Path

import pytest
from deadline import scaled

from fastgw.delivery.ledger import OVERHEAD_BYTES
from fastgw.testing import Dispatch, FakeGateway

pytestmark = [
    pytest.mark.soak,
    pytest.mark.timeout(0),
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is read from /proc"),
]

SECONDS = float(os.environ.get("FASTGW_SOAK_SECONDS", "60"))
CHILD = Path(__file__).parents[1] / "support" / "blast_child.py"
SHARDS = 2
MARK = 4_000_000  # as in the child
MESSAGE_BYTES = 2_000
# READ_BYTES of connection/listener.pxd. aiofastnet fills its BIO of 263,168 bytes, and again if
# that was less than 256 KiB because part of a record stood in it.
READ_BYTES = {False: 262_144, True: 2 * 263_168}
# What beginning costs: caches, imports made late, the interpreter's own pools.
WARM_UP_BYTES = 16_000_000
CONTENT = "x" * MESSAGE_BYTES


class Bot:
    """
    The child, and the lines it has written.

    Attributes:
        lines: all of them.
    """

    def __init__(self) -> None:
        self.lines: list[dict[str, object]] = []

    async def start(self, fake: FakeGateway) -> None:
        context = fake.client_ssl_context
        trusted = map(ssl.DER_cert_to_PEM_cert, context.get_ca_certs(True) if context else ())
        self.process = await asyncio.create_subprocess_exec(
            sys.executable, str(CHILD), fake.url, str(SHARDS), *trusted,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        self.reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        async for line in self.process.stdout:
            self.lines.append(json.loads(line))


async def blast(fake: FakeGateway, seconds: float) -> int:
    """Send as fast as the connections take it; return how many events each shard was sent."""
    count, end = 0, time.monotonic() + seconds
    while time.monotonic() < end:
        batch = []
        for _ in range(50):
            data = json.dumps({"n": count, "content": CONTENT}).encode()
            # A guild's shard is (guild_id >> 22) % shards.
            batch += [Dispatch("MESSAGE_CREATE", data, shard << 22) for shard in range(SHARDS)]
            count += 1
        fake.dispatch_many(batch)
        await fake.wait_sent(timeout_s=scaled(60.0))
    return count


async def run(tls: bool) -> tuple[int, list[dict[str, object]]]:
    """Return how many events each shard was sent, and what the bot told."""
    bot = Bot()
    async with FakeGateway(
        heartbeat_interval_ms=2_000, replay_limit=1_000, max_concurrency=SHARDS, tls=tls
    ) as fake:
        await bot.start(fake)
        for shard_id in range(SHARDS):
            await fake.wait_ready(shard_id, timeout_s=scaled(30.0))
        count = await blast(fake, SECONDS / 2)
        bot.process.stdin.write(f"finish {count}\n".encode())
        await asyncio.wait_for(bot.process.wait(), scaled(60.0))
        await bot.reading
    return count, bot.lines


@pytest.mark.parametrize("tls", [False, True])
def test_a_minute_at_full_blast(tls):
    """The mark, and a read and a message a connection; no zombie; every event once."""
    count, lines = asyncio.run(run(tls))
    first, last = lines[0], lines[-1]
    peak = max(line["memory_bytes"] for line in lines)
    grown = peak - first["memory_bytes"]
    print(f"{count} events a shard, {last['unhandled_bytes']} bytes unhandled, memory +{grown}")
    assert last["is_whole"]
    assert any(line["is_held"] for line in lines)
    assert all(line["reconnects"] == 0 for line in lines)
    assert all(line["statuses"] == ["READY"] * SHARDS for line in lines)
    messages = READ_BYTES[tls] // MESSAGE_BYTES + 1  # one had begun in the read before
    beyond = SHARDS * (READ_BYTES[tls] + MESSAGE_BYTES + messages * OVERHEAD_BYTES)
    assert last["unhandled_bytes"] <= MARK + beyond
    # picows' buffer doubles once a read has filled nine tenths of it.
    assert grown <= MARK + beyond + SHARDS * 4 * READ_BYTES[tls] + WARM_UP_BYTES
