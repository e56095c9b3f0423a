"""When the gateway's URL is asked for again."""

from __future__ import annotations

import asyncio
import json

import pytest
from deadline import until
from gateways import TOKEN, quick_queue

from fastgw.errors import ConnectFailed, GatewayInfoError
from fastgw.fleet.http.gateway_info import GatewayInfo
from fastgw.fleet.http.url_watch import EVERY_S, FAILURES, UrlWatch
from fastgw.gateway import Gateway
from fastgw.testing import FakeGateway
from fastgw.words import Intents

NEW = GatewayInfo("wss://new.example")


class Asked:
    """An API that answers what `answers` holds, then the new URL."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.times = 0
        self.taken = []
        self.watch = UrlWatch(self.ask, self.taken.append, random=lambda: 0.5)

    async def ask(self):
        self.times += 1
        answer = self.answers.pop(0) if self.answers else NEW
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def look(self, failures, now):
        self.watch.look(failures, now)
        for _ in range(3):  # the task, and its callback
            await asyncio.sleep(0)


async def test_the_third_failure_in_a_row_is_worth_a_question():
    """Two may be a bad moment."""
    api = Asked()
    for failures in range(FAILURES):
        await api.look(failures, 100.0)
    assert api.times == 0
    await api.look(FAILURES, 100.0)
    assert api.taken == [NEW]


async def test_it_is_not_asked_often():
    """The route's limit is harsh: a minute between two, and half of one more by chance here."""
    api = Asked()
    for now in range(100, 100 + 200):
        await api.look(9, float(now))
    assert api.times == 3
    assert EVERY_S == 60.0


@pytest.mark.parametrize(
    ("error", "asked_again_s"),
    [
        (ConnectFailed("no network"), 90.0),
        (GatewayInfoError("slow down", retry_after_s=500.0), 500.0),
        (GatewayInfoError("slow down", retry_after_s=5.0), 90.0),  # no sooner for it
    ],
)
async def test_a_question_that_failed_is_told_and_asked_again(error, asked_again_s, caplog):
    """What the API asks for is waited; the URL we have stays meanwhile."""
    api = Asked(error)
    await api.look(3, 100.0)
    assert api.taken == []
    assert str(error) in caplog.text
    await api.look(9, 99.0 + asked_again_s)
    assert api.times == 1
    await api.look(9, 100.0 + asked_again_s)
    assert api.taken == [NEW]


async def test_one_question_at_a_time():
    """A slow API is waited for."""
    api, go = Asked(), asyncio.Event()

    async def ask():
        api.times += 1
        await go.wait()
        return NEW

    api.watch._ask = ask
    await api.look(3, 100.0)
    await api.look(9, 1_000.0)
    assert api.times == 1
    go.set()
    await until(lambda: api.taken)


async def test_nothing_is_asked_once_it_is_stopped():
    """The gateway closes: what is under way ends as well."""
    api = Asked()
    api.watch.look(3, 100.0)
    api.watch.stop()
    await api.look(9, 1_000.0)
    assert (api.times, api.taken) == (0, [])


async def test_a_gateway_finds_its_way_to_a_new_url():
    """The host is retired while we run; the session goes on at the one that the API names."""
    async with FakeGateway() as old, FakeGateway(service=old.service) as new:
        gateway = Gateway(
            TOKEN, intents=Intents.none(), api_url=old.api_url, backoff_s=(0.01, 0.05),
            identify_queue=quick_queue(), random=lambda: 0.5,
        )  # fmt: skip
        async with gateway:
            answer = {"url": new.url, "shards": 1}
            old.answer_api(200, json.dumps(answer).encode(), times=None)
            old.refuse_upgrade(410, times=None)
            old.cut()
            await until(lambda: new.upgrades, 10.0)
            await gateway.wait_ready()
            assert gateway.shards[0].stats().sessions_lost == 0
            assert old.api_requests == 2


async def test_who_passed_the_answer_is_not_asked_for():
    """No call goes out that nobody wanted."""
    async with FakeGateway() as fake:
        gateway = Gateway(
            TOKEN, intents=Intents.none(), info=fake.info, api_url=fake.api_url,
            backoff_s=(0.01, 0.02), identify_queue=quick_queue(),
        )  # fmt: skip
        async with gateway:
            before = len(fake.upgrades)
            fake.refuse_upgrade(410, times=None)
            fake.cut()
            gateway._fleet._tick()
            await until(lambda: gateway.shards[0].stats().connections > before + 5, 10.0)
            gateway._fleet._tick()
        assert fake.api_requests == 0


async def test_who_has_stopped_asks_no_more():
    """However often it fails then."""
    api = Asked()
    api.watch.stop()
    await api.look(9, 100.0)
    assert api.times == 0
