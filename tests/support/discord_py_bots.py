"""
The same bot of the discord.py family on its own gateway and on fastgw's, and what it saw there.

Which library it is, the environment says: `discord` (discord.py or py-cord), `disnake`, `nextcord`.
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import warnings
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
from deadline import scaled
from gateways import no_jitter, quick_queue
from library_traffic import OF_KNOWN, TOKEN

import fastgw
from fastgw.ext.attach import attachment_of
from fastgw.testing import FakeGateway

__all__ = ["KNOWN", "LIBRARY", "MARKS", "Bot", "listenable", "running", "started"]

PACKAGE = next((p for p in ("disnake", "nextcord", "discord") if importlib.util.find_spec(p)), None)
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # audioop
    LIBRARY: Any = importlib.import_module(PACKAGE) if PACKAGE else None
# What the tests of the family are marked with. What the libraries warn of is theirs, not ours.
MARKS = [
    pytest.mark.attach,
    pytest.mark.skipif(LIBRARY is None, reason="no library of the discord.py family is installed"),
    # disnake and nextcord, of a bot that has a prefix and is not told what messages say.
    pytest.mark.filterwarnings("ignore:Message Content intent:Warning"),
    pytest.mark.filterwarnings("ignore:Message content intent:Warning"),
    # nextcord's own way to call aiohttp.
    pytest.mark.filterwarnings("ignore:parameter 'timeout' of type 'float':DeprecationWarning"),
]
# py-cord itself ends at a reply in a guild that it does not know.
_REPLIES = {"MESSAGE_CREATE", "MESSAGE_UPDATE"}
KNOWN = OF_KNOWN | (_REPLIES if getattr(LIBRARY, "__title__", "") == "pycord" else set())
# They tell of connections, and of the socket; not of what came.
# Not what later events change: calls begin when the loop turns.
_PLAIN = ("id", "message_id", "user_id", "guild_id", "channel_id")
_OTHERS = {"error", "disconnect", "shard_disconnect", "socket_raw_send", "socket_raw_receive"}


def listenable() -> list[str]:
    """Return the names of all dispatches that the library's parsers write out."""
    from fastgw.ext.discord_py.parsers import read_parsers

    state = importlib.import_module(f"{PACKAGE}.state")
    names = {
        name
        for parser in read_parsers(state.AutoShardedConnectionState).values()
        for name in parser.dispatches or ()
    }
    return sorted(names - _OTHERS)


class Bot:
    """
    A client that writes down what it hears.

    Args:
        fake: its gateway.
        is_attached: on fastgw's gateway.
        listen: to which dispatches.
        is_cached: False turns all caches off that can be.
        intents: None for all.
        member_cache_flags: None for what the intents allow, unless is_cached is False.
        prefix: of its commands.
        shards: None for a client that is not sharded.
        members: of the client's class, which is one's own then.
        client_options: of the client, beside those.
        attach_options: of `attach`.
    Attributes:
        client: the library's.
        heard: one line a call.
        life: the connection's.
    """

    def __init__(
        self,
        fake: FakeGateway,
        *,
        is_attached: bool,
        listen: Iterable[str] = (),
        is_cached: bool = True,
        intents: Any = None,
        shards: int | None = 1,
        max_messages: int | None = 1000,
        member_cache_flags: Any = None,
        prefix: Any = "!",
        members: Mapping[str, Any] | None = None,
        client_options: Mapping[str, Any] | None = None,
        **attach_options: Any,
    ) -> None:
        options: dict[str, Any] = {
            "intents": LIBRARY.Intents.all() if intents is None else intents,
            "max_messages": max_messages,
            "chunk_guilds_at_startup": False,
            "guild_ready_timeout": 0.3,
        }
        if not is_cached:
            options |= {
                "max_messages": None,
                "member_cache_flags": LIBRARY.MemberCacheFlags.none(),
            }
        elif member_cache_flags is not None:
            options["member_cache_flags"] = member_cache_flags
        commands = importlib.import_module(f"{PACKAGE}.ext.commands")
        if shards is None:
            kind = commands.Bot
        else:
            kind = commands.AutoShardedBot
            options["shard_count"] = shards
        if members is not None:
            kind = type("OwnBot", (kind,), dict(members))
        options |= client_options or {}
        self._begin(fake, kind(prefix, help_command=None, **options))
        for name in listen:
            self.toggle(name)
        if is_attached:
            quick = {
                "info": fastgw.GatewayInfo(
                    fake.url,
                    session_start_limit=fastgw.SessionStartLimit(
                        max_concurrency=fake.service.max_concurrency
                    ),
                ),
                "backoff_s": (0.01, 0.05),
                "identify_queue": quick_queue(fake.service.max_concurrency),
                "random": no_jitter,
            }
            self.attachment = fastgw.attach(self.client, **{**quick, **attach_options})

    @classmethod
    def of(cls, fake: FakeGateway, client: Any) -> Bot:
        """Take a client that is made, and attached, already."""
        bot = cls.__new__(cls)
        bot._begin(fake, client)
        bot.attachment = attachment_of(client)
        return bot

    def _begin(self, fake: FakeGateway, client: Any) -> None:
        self.fake = fake
        self.client = client
        self.heard: list[str] = []
        self.life: list[str] = []
        client.http.token = TOKEN
        self._hears: dict[str, Any] = {}
        for name in ("disconnect", "shard_disconnect", "resumed", "ready", "connect"):
            client.add_listener(self._living(name), f"on_{name}")
        self.attachment: fastgw.Attachment | None = None
        self.task: asyncio.Future[None] | None = None

    def toggle(self, name: str) -> None:
        """Listen to a dispatch, or cease to."""
        if (hear := self._hears.pop(name, None)) is not None:
            self.client.remove_listener(hear, f"on_{name}")
        else:
            self._hears[name] = self._hearing(name)
            self.client.add_listener(self._hears[name], f"on_{name}")

    def _hearing(self, name: str) -> Any:
        async def hear(*arguments: Any) -> None:
            self.heard.append(f"{name} {' '.join(map(_shown, arguments))}")

        return hear

    def _living(self, name: str) -> Any:
        async def live(*arguments: Any) -> None:
            self.life.append(" ".join((name, *map(str, arguments))))

        return live

    def sequence(self, shard_id: int) -> int | None:
        """Return the sequence that a shard has taken."""
        if self.attachment is None:
            shards = getattr(self.client, "shards", None)
            if shards is None:
                return None if self.client.ws is None else self.client.ws.sequence
            if shard_id not in shards:
                return None
            return shards[shard_id]._parent.ws.sequence  # type: ignore[no-any-return]
        gateway = self.attachment.gateway
        found = [s for s in (gateway.shards if gateway else ()) if s.id == shard_id]
        session = found[0]._keeper.session if found else None
        return None if session is None else session.sequence

    async def settle(self) -> None:
        """Wait until every shard has taken, and listeners have heard, all that was sent."""
        await self.fake.wait_sent()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + scaled(30)
        for session in list(self.fake.service.sessions.values()):
            while self.sequence(session.shard_id) != session.sequence:
                sent = (self.sequence(session.shard_id), session.sequence)
                if self.task is not None and self.task.done():
                    self.task.result()
                assert loop.time() < deadline, f"{sent[0]} of {sent[1]} came"
                await asyncio.sleep(0.005)
        for _ in range(20):
            await asyncio.sleep(0)

    async def until(self, call: str) -> None:
        """Wait until something was called that tells of the connection."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + scaled(30)
        while call not in self.life:
            if self.task is not None and self.task.done():
                self.task.result()
            assert loop.time() < deadline, f"no {call}, only {self.life}"
            await asyncio.sleep(0.005)

    def caches(self) -> dict[str, list[str]]:
        """Return what is cached, in words."""
        state = self.client._connection
        held: dict[str, list[str]] = {"messages": sorted(map(_shown, state._messages or ()))}
        for guild in sorted(self.client.guilds, key=lambda guild: guild.id):
            held[str(guild.id)] = [
                _shown(guild),
                f"me {guild.me and _member(guild.me)}",
                f"members {sorted(map(_member, guild.members))} of {guild.member_count}",
                f"channels {sorted(c.id for c in guild.channels)}",
                f"threads {sorted(t.id for t in guild.threads)}",
                f"roles {sorted((r.id, r.name, r.permissions.value) for r in guild.roles)}",
                f"emojis {sorted(e.id for e in guild.emojis)}",
                f"voice {sorted(guild._voice_states)}",
                f"events {sorted(e.id for e in guild.scheduled_events)}",
            ]
        return held


def _member(member: Any) -> str:
    # Not `roles`: disnake sorts them, and cannot where @everyone is not cached.
    return f"{member.id} {member.nick} {sorted(member._roles)} {member.status}"


def _shown(value: Any) -> str:
    """Describe an argument of a handler: its class, and what is plain of it."""
    if isinstance(value, (str, int, float, bool, type(None))):
        return repr(value)
    if isinstance(value, (list, tuple, set, frozenset)):
        return f"[{', '.join(sorted(map(_shown, value)))}]"
    parts = [type(value).__name__]
    for name in _PLAIN:
        found = getattr(value, name, None)
        if isinstance(found, (str, int)):
            parts.append(f"{name}={found}")
    return f"<{' '.join(parts)}>"


@asynccontextmanager
async def running(bot: Bot, *, count: int = 1, **options: Any) -> AsyncIterator[asyncio.Task[None]]:
    """Run the client until the block ends; it is ready with `count` sessions at the beginning."""
    async with started(bot, **options) as task:
        for shard_id in range(count):
            await bot.fake.wait_ready(shard_id, timeout_s=scaled(30.0))
        await bot.until("ready")
        await bot.settle()
        yield task


@asynccontextmanager
async def started(bot: Bot, **options: Any) -> AsyncIterator[asyncio.Task[None]]:
    """Run the client until the block ends, wherever it is by then; options are of connect()."""
    client, fake = bot.client, bot.fake
    client.loop = asyncio.get_running_loop()
    if hasattr(client, "_async_setup_hook"):
        await client._async_setup_hook()
    state = client._connection
    state.loop = client.http.loop = client.loop
    gateway = importlib.import_module(f"{PACKAGE}.gateway").DiscordWebSocket
    default = getattr(gateway, "DEFAULT_GATEWAY", None)
    if default is not None:
        gateway.DEFAULT_GATEWAY = type(default)(fake.url)
    client.http.request = _answering(fake)
    await _session(client)
    bot.task = task = asyncio.ensure_future(client.connect(**options))
    try:
        yield task
    finally:
        if not client.is_closed():
            await client.close()
        await asyncio.wait((task,), timeout=scaled(10.0))
        if bot.attachment is None and task.done() and not task.cancelled():
            task.exception()  # py-cord's own client ends with "Session is closed" at close()
        if default is not None:
            gateway.DEFAULT_GATEWAY = default


def _answering(fake: FakeGateway) -> Any:
    """What the forks ask the API: where to connect, and what there is."""

    async def request(route: Any, *_: object, json: Any = None, **__: object) -> Any:
        if route.method == "POST" and route.path.endswith("/commands"):
            return {**json, "id": "9", "application_id": "7", "version": "1"}  # nextcord adds one
        if not route.path.startswith("/gateway"):
            return []  # the commands that there are, and py-cord's default sounds
        limit = {
            "total": 1000, "remaining": 1000, "reset_after": 0,
            "max_concurrency": fake.service.max_concurrency,
        }  # fmt: skip
        return {"url": fake.url, "shards": 1, "session_start_limit": limit}

    return request


async def _session(client: Any) -> None:
    """Give the library's HTTP client what `login()` gives it, without asking an API."""
    import aiohttp

    name = f"_{type(client.http).__name__}__session"
    session = aiohttp.ClientSession(ws_response_class=_response_class())
    setattr(client.http, name, session)
    for kind in type(client.http).__mro__:
        if hasattr(client.http, f"_{kind.__name__}__session"):
            setattr(client.http, f"_{kind.__name__}__session", session)


def _response_class() -> Any:
    modules = [importlib.import_module(f"{PACKAGE}.{name}") for name in ("gateway", "http")]
    name = "DiscordClientWebSocketResponse"
    return next(getattr(module, name) for module in modules if hasattr(module, name))
