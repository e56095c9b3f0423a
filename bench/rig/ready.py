"""
How long a bot of another library takes until all its shards are ready.

    python -m bench.rig.ready JOB      JOB being a line of JSON: the parameters of `_ready`

It prints the wall seconds from `bot.start()` to the last READY. The fake gateway says how many
shards there are and how many may identify at once; it serves from the same process: nearly all of
the time is waiting for turns to identify, so the machine's load hardly matters.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from fastgw.testing import FakeGateway

from ..entrants import Entrant
from .comparison import Measure, UnavailableError

_ROOT = Path(__file__).parents[2]
_PATIENCE_S = 300
# The first part says whose it is, in base64.
_TOKEN = "ODAzNTExMTAyMjQ2Nzg5MTI=.bench.bench"


def ready_of(entrant: Entrant, library: str, shards: int) -> Measure:
    """Return how to start a bot of so many shards once; all of them may identify at once."""

    def measure() -> tuple[float, dict[str, Any]]:
        if missing := entrant.missing():
            raise UnavailableError(f"{missing} is not installed")
        job = {
            "library": library,
            "attached": bool(entrant.options.get("attached")),
            "shards": shards,
            "package": entrant.requires[0],
        }
        run = subprocess.run(
            [sys.executable, "-m", "bench.rig.ready", json.dumps(job)],
            cwd=_ROOT, capture_output=True, text=True, timeout=_PATIENCE_S, check=False,
        )  # fmt: skip
        if run.returncode:
            raise RuntimeError(f"{entrant.label} failed:\n{run.stderr[-3000:]}")
        return float(run.stdout.splitlines()[-1]), {"shards": shards}

    return measure


async def _ready(library: str, attached: bool, shards: int, package: str) -> None:
    make = _hikari if library == "hikari" else _discord_py
    async with FakeGateway(max_concurrency=shards, recommended_shards=shards) as fake:
        bot = make(fake, attached, package)  # imports are no part of it
        began = time.monotonic()
        ended = asyncio.ensure_future(bot)
        for shard_id in range(shards):
            ready = asyncio.ensure_future(fake.wait_ready(shard_id, timeout_s=_PATIENCE_S))
            await asyncio.wait([ready, ended], return_when=asyncio.FIRST_COMPLETED)
            if ended.done():
                ended.result()
                raise RuntimeError("the bot ended before its shards were ready")
            await ready
        took_s = time.monotonic() - began
        identifies, refused = len(fake.service.identifies), fake.service.identifies_refused
        if identifies != shards or refused:
            raise RuntimeError(f"{shards} shards, {identifies} identifies, {refused} too early")
        print(took_s, flush=True)
        os._exit(0)  # a bot would connect again while the service goes away


def _discord_py(fake: FakeGateway, attached: bool, package: str) -> Coroutine[Any, Any, None]:
    discord = importlib.import_module(package)
    route = importlib.import_module(f"{package}.http").Route
    setattr(route, "BASE" if hasattr(route, "BASE") else "API_BASE_URL", fake.api_url)
    client = discord.AutoShardedClient(intents=discord.Intents.none())
    if attached:
        import fastgw

        fastgw.attach(client)
    return client.start(_TOKEN)


def _hikari(fake: FakeGateway, attached: bool, package: str) -> Coroutine[Any, Any, None]:
    hikari = importlib.import_module(package)
    bot = hikari.GatewayBot(
        _TOKEN, banner=None, logs="ERROR", suppress_optimization_warning=True,
        intents=hikari.Intents.NONE, auto_chunk_members=False, rest_url=fake.api_url,
    )  # fmt: skip
    if attached:
        import fastgw

        fastgw.attach(bot)

    async def run() -> None:
        await bot.start(check_for_updates=False)
        await bot.join()

    return run()


if __name__ == "__main__":
    asyncio.run(_ready(**json.loads(sys.argv[1])))
