"""`GET /gateway/bot` as a fleet asks it: known before, asked until it is answered, or given up."""

from __future__ import annotations

import asyncio
import time
from types import SimpleNamespace

import pytest
from deadline import scaled, until

from fastgw.errors import GatewayInfoError
from fastgw.fleet.http.asking import ApiQuestion
from fastgw.fleet.http.gateway_info import GatewayInfo

INFO = GatewayInfo("wss://x.gg")


def question(fake=None, **changes):
    """One of a fleet that asks this API."""
    options = {
        "info": None,
        "answer": None,
        "random": lambda: 0.0,
        "api_url": "http://127.0.0.1:1/api" if fake is None else fake.api_url,
        "identity": SimpleNamespace(token="not.a.token"),
        "timeouts": SimpleNamespace(open_s=scaled(5.0)),
        "ssl_context": None,
        "proxies": None,
        "http_headers": None,
    }
    return ApiQuestion(SimpleNamespace(**{**options, **changes}))


async def test_what_the_user_knows_is_not_asked():
    """It counts from now on."""
    before = time.monotonic()
    info, asked_at = await question(info=INFO, answer=(GatewayInfo("wss://y.gg"), 5.0)).first()
    assert info is INFO
    assert before <= asked_at <= time.monotonic()


async def test_what_a_supervisor_asked_counts_from_then():
    """Days may have passed."""
    assert await question(answer=(INFO, 5.0)).first() == (INFO, 5.0)


async def test_it_is_asked_until_it_is_answered(fake):
    """And counts from before it was asked for."""
    fake.answer_api(503, times=1)
    before = time.monotonic()
    asked = question(fake)
    info, asked_at = await asked.first()
    assert info.url == fake.url
    assert before <= asked_at <= time.monotonic()
    assert asked.error is None
    assert not asked.is_stopped


async def test_the_last_refusal_is_known_until_it_is_answered(fake):
    """For who waits, and wants to know why."""
    asked = question(fake)
    assert asked.error is None
    fake.answer_api(503, times=1)
    with pytest.raises(GatewayInfoError) as caught:
        await asked.again()
    assert asked.error is caught.value
    assert (await asked.again()).url == fake.url
    assert asked.error is None


@pytest.mark.parametrize("by", ["stop", "cancel"])
async def test_who_stops_it_waits_for_no_answer(fake, by):
    """However far away the next attempt is."""
    fake.answer_api(429, b'{"retry_after": 3600}', times=None)
    asked = question(fake)
    asking = asyncio.ensure_future(asked.first())
    await until(lambda: asked.error is not None)
    asked.stop() if by == "stop" else asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(asking, scaled(10.0))
    assert asked.is_stopped == (by == "stop")


def test_one_that_was_never_asked_may_be_stopped():
    """A gateway that did not get so far."""
    asked = question()
    asked.stop()
    assert asked.is_stopped
