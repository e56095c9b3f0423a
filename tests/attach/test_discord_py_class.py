"""Which library a client is of, whatever its own class is called."""

from __future__ import annotations

from discord_py_bots import LIBRARY, MARKS

import fastgw

pytestmark = MARKS


async def test_a_class_that_is_called_client_as_well():
    """`class Client(discord.Client)` in a package of the bot's own is a client of the library."""
    own = type("Client", (LIBRARY.Client,), {"__module__": "my_bot.client"})
    attachment = fastgw.attach(own(intents=LIBRARY.Intents.none()))
    assert attachment.explain().reasons
