"""The day's identifies, seen from a gateway: what it does when they are spent."""

from __future__ import annotations

import asyncio
import logging
import time

import pytest
from deadline import scaled, until
from gateways import TOKEN, gateway_to, no_jitter

from fastgw import Gateway, IdentifyBudgetSpent, Intents
from fastgw.fleet.turns.identify import LocalIdentifyQueue
from fastgw.testing import FakeGateway


def errors(caplog):
    return [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_nothing_left_at_the_start(caplog):
    """case 41: nothing identifies, told once with the time, in health, and by wait_ready."""
    async with FakeGateway() as fake:
        fake.service.identifies_left = 0
        gateway = gateway_to(fake)
        await gateway.start()
        for _ in range(2):
            with pytest.raises(IdentifyBudgetSpent, match=r"0 of 1000 identifies are left") as seen:
                await gateway.wait_ready(0.2)
            assert 14_000 < seen.value.free_at - time.monotonic() <= 14_400
        budget = gateway.health().identify_budget
        assert (budget.remaining, budget.reserve) == (0, 50)
        assert budget.free_at is not None
        await asyncio.wait_for(gateway.close(), scaled(5.0))
        assert fake.upgrades == []
        assert len(errors(caplog)) == 1


async def test_resumes_go_on_when_the_budget_is_spent(caplog):
    """case 41: a session that lives needs no identify; one that is lost waits."""
    async with FakeGateway() as fake:
        fake.service.identifies_left = 51
        async with gateway_to(fake, random=no_jitter) as gateway:
            for won in (1, 2, 3):
                fake.cut()
                await until(lambda won=won: gateway.shards[0].stats().resumes_won == won)
            assert errors(caplog) == []
            fake.service.kill_sessions()
            fake.cut()
            await until(lambda: errors(caplog), 10.0)
            assert len(fake.identifies) == 1


async def test_gateways_of_a_token_share_turns(caplog):
    """case 39: two of them in one process do not identify within one interval."""
    async with FakeGateway(identify_interval_s=1.0) as fake:
        options = {"intents": Intents.none(), "info": fake.info}
        first, second = Gateway(TOKEN, **options), Gateway(TOKEN, **options)
        await first.start()
        await first.wait_ready()
        await second.start()
        with pytest.raises(Exception, match="not ready"):
            await second.wait_ready(0.5)
        await first.close()
        await second.close()
        assert len(fake.identifies) == 1
        assert fake.service.identifies_refused == 0


async def test_what_the_api_says_counts(caplog):
    """case 41: asked at the start, it knows what other machines have used."""
    async with FakeGateway() as fake:
        queue = LocalIdentifyQueue(interval_s=0.02, padding_s=(0.0, 0.0))
        options = {"intents": Intents.none(), "api_url": fake.api_url, "identify_queue": queue}
        async with Gateway(TOKEN, **options) as gateway:
            assert gateway.health().identify_budget.remaining == 999
        fake.service.identifies_left = 40
        gateway = Gateway(TOKEN, **options)
        await gateway.start()
        with pytest.raises(IdentifyBudgetSpent, match="40 of 1000"):
            await gateway.wait_ready(0.2)
        await gateway.close()
