"""
discord.py, disnake, nextcord and py-cord: one seam, which all of them have from discord.py 1.7.

Theory. A client makes its websockets by one classmethod, `DiscordWebSocket.from_client`, and then
awaits `poll_event()` for ever. For a client that is attached, ours (`seam`) returns a `Socket`
that looks like theirs; behind all sockets of a client stands one `link`, which owns the `Gateway`
and hands each event to the parser that the library's own socket would have called. Which events
that are, `interests` decides, by what `parsers` knows of the library's source and what
`listeners` hears of the client.
"""
