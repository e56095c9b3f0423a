"""What a fleet's figures are put together from, and what its shards have in common."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from fastgw.connection.dial import Turns
from fastgw.delivery.handlers import Handlers
from fastgw.fleet.figures import FleetFigures
from fastgw.fleet.loopwatch import LoopWatch
from fastgw.fleet.relief import Relief
from fastgw.fleet.settings import FleetOptions
from fastgw.fleet.setup import make_setup
from fastgw.shard.compression import MAX_ZSTD_SHARDS
from fastgw.words import Intents


@pytest.fixture
async def figures():
    handlers = Handlers(Intents.all())
    turns = Turns(0.01, handlers.latencies.delivered)
    options = FleetOptions(**dict.fromkeys(FleetOptions._fields))
    return FleetFigures(handlers, LoopWatch(lambda: None), turns, Relief(None), options)


async def test_before_the_start_nothing_has_counted(figures):
    """Every figure is there all the same."""
    health, stats = figures.health(()), figures.stats(())
    assert (health.shards, health.refusal, health.identify_budget) == ((), None, None)
    assert (health.loop_lag_s, health.kept_bytes, health.unhandled) == (0.0, 0, 0)
    assert (stats.shards, stats.loop_blocked, stats.turns_cut, stats.relieved) == ((), 0, 0, 0)


async def test_the_gate_knows_what_is_refused_and_left(figures):
    """Once there is one."""
    figures.gate = SimpleNamespace(error="refused", budget="5 left")
    health = figures.health(())
    assert (health.refusal, health.identify_budget) == ("refused", "5 left")


async def test_metrics_are_served_where_somebody_wants_them(figures):
    """Nowhere else."""
    assert figures.serve(None, lambda: ((), 0)) is None
    endpoint = figures.serve(("127.0.0.1", 0), lambda: ((), 0))
    assert endpoint is not None
    endpoint.close()


def setup_of(ids, **changes):
    """Make the setup of these shards."""
    options = dict.fromkeys(FleetOptions._fields)
    options |= {"http_headers": {"X-A": "b"}, "store": SimpleNamespace(acknowledge="received")}
    fencing = SimpleNamespace(may_speak=None)
    handlers = Handlers(Intents.all())
    return make_setup(
        FleetOptions(**{**options, **changes}), handlers, None, None, fencing,
        url="wss://x.gg", ids=ids,
    )  # fmt: skip


MANY = MAX_ZSTD_SHARDS + 1


@pytest.mark.parametrize(
    ("ids", "shard_count", "mode"),
    [
        ((0,), None, "zstd-stream"),
        ((0,), MANY, "zstd-stream"),  # the others run elsewhere
        (tuple(range(MANY)), None, "zlib-stream"),
        ((), MANY, "zlib-stream"),  # any of them may come
        ((), None, "zstd-stream"),
    ],
)
async def test_compression_is_for_as_many_shards_as_run_here(ids, shard_count, mode):
    """Or may run here, where they come and go."""
    assert setup_of(ids, shard_count=shard_count).compression.mode == mode


@pytest.mark.parametrize("acknowledge", ["received", "handled"])
async def test_what_a_store_wants_is_stored(acknowledge):
    """The sequence of the last event that came, or up to which all are handled."""
    setup = setup_of((0,), store=SimpleNamespace(acknowledge=acknowledge))
    assert setup.stores_handled == (acknowledge == "handled")
    assert setup.headers["User-Agent"].startswith("DiscordBot ")
    assert setup.headers["X-A"] == "b"
    assert isinstance(setup.opening, asyncio.Semaphore)
