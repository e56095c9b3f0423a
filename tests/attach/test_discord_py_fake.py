"""What `fastgw fake` tells a discord.py bot leads it there, attached and not."""

from __future__ import annotations

import asyncio

import pytest
from deadline import scaled, until
from discord_py_bots import LIBRARY, MARKS

import fastgw
from fastgw.cli._serving import announce
from fastgw.testing import FakeGateway

pytestmark = [
    *MARKS,
    pytest.mark.skipif(
        getattr(LIBRARY, "__title__", "") != "discord", reason="the lines are discord.py's"
    ),
]


def _obey(lines, monkeypatch):
    """Run the lines, and let the library be as before when the test is over."""
    import discord.gateway

    for owner, name in (
        (discord.http.Route, "BASE"), (discord.gateway.DiscordWebSocket, "DEFAULT_GATEWAY")
    ):  # fmt: skip
        monkeypatch.setattr(owner, name, getattr(owner, name))
    exec("\n".join(line.strip() for line in lines), {"discord": discord})


@pytest.mark.parametrize("is_attached", [False, True])
async def test_the_printed_lines_lead_a_bot_there(capsys, monkeypatch, is_attached):
    """By the API alone where fastgw has the gateway; discord.py's own has to be told besides."""
    async with FakeGateway() as fake:
        announce(fake, "", as_json=False)
        printed = capsys.readouterr().out.splitlines()
        before, after = (
            [line for line in part if "discord" in line.lower() and line.startswith("  ")]
            for part in (printed[:9], printed[9:])
        )
        assert (len(before), len(after)) == (1, 2)
        _obey(before if is_attached else before + after, monkeypatch)
        own = LIBRARY.gateway.DiscordWebSocket.DEFAULT_GATEWAY
        assert (own.host == "127.0.0.1") is not is_attached  # or it would go to Discord's
        bot = LIBRARY.Client(intents=LIBRARY.Intents.default())
        if is_attached:
            fastgw.attach(bot)
        running = asyncio.ensure_future(bot.start("fake-token"))
        try:
            await until(lambda: bot.is_ready() or running.done())
            assert bot.is_ready()
            assert len(fake.service.sessions) == 1
        finally:
            await bot.close()
            await asyncio.wait((running,), timeout=scaled(10.0))
