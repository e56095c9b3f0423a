"""The example of each library of the discord.py family: it answers a slash command."""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import json
from pathlib import Path

from deadline import scaled
from discord_py_bots import LIBRARY, MARKS, PACKAGE, Bot, running

from fastgw.testing import FakeGateway

pytestmark = MARKS

EXAMPLES = Path(__file__).parents[2] / "examples"
# By what the library calls itself.
FILES = {
    "discord": "discord_py_bot.py",
    "disnake": "forks/disnake_bot.py",
    "nextcord": "forks/nextcord_bot.py",
    "pycord": "forks/pycord_bot.py",
}
USER = {"id": "5", "username": "ann", "discriminator": "0", "avatar": None}
PING = {
    "id": "6", "application_id": "7", "type": 2, "token": "abc", "version": 1, "channel_id": "8",
    "user": USER, "locale": "en-GB", "entitlements": [], "context": 1, "app_permissions": "0",
    "authorizing_integration_owners": {}, "attachment_size_limit": 1,
    "channel": {"id": "8", "type": 1, "recipients": [USER], "last_message_id": None, "flags": 0},
    "data": {"id": "9", "name": "ping", "type": 1, "options": []},
}  # fmt: skip


async def test_the_example_answers_and_drops_the_rest(monkeypatch):
    """The answer goes out over REST; what nobody listens to is not delivered."""
    answers = asyncio.Queue()
    webhooks = importlib.import_module(f"{PACKAGE}.webhook.async_")

    async def request(_self, route, *_, payload=None, multipart=None, **__):
        if payload is None:
            payload = json.loads(multipart[0]["value"])  # py-cord
        answers.put_nowait((route.url, payload))
        return {"interaction": {"id": "6", "type": 2}}

    monkeypatch.setattr(webhooks.AsyncWebhookAdapter, "request", request)
    async with FakeGateway() as fake:
        client = load(FILES[LIBRARY.__title__]).make_bot()
        bot = Bot.of(fake, client)
        async with running(bot):
            fake.dispatch("TYPING_START", {"channel_id": "8", "user_id": "5", "timestamp": 1})
            fake.dispatch("INTERACTION_CREATE", PING)
            url, payload = await asyncio.wait_for(answers.get(), scaled(20))
            assert "/interactions/6/abc/callback" in url
            assert payload["data"]["content"] == "pong, ann"
            idle = {r.event for r in bot.attachment.explain().reasons if not r.is_delivered}
            assert {"TYPING_START", "MESSAGE_CREATE", "PRESENCE_UPDATE"} <= idle
            assert bot.attachment.gateway.stats().events["TYPING_START"].delivered == 0


def load(name):
    """Import an example, as `python examples/NAME` would."""
    spec = importlib.util.spec_from_file_location(Path(name).stem, EXAMPLES / name)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_each_example_of_a_fork_is_run():
    """One that is new gets its library."""
    found = {path.relative_to(EXAMPLES).as_posix() for path in EXAMPLES.glob("forks/*.py")}
    assert found | {"discord_py_bot.py"} == set(FILES.values())
