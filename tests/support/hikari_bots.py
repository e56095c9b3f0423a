"""The same hikari bot on its own gateway and on fastgw's, and what it saw there."""

from __future__ import annotations

import asyncio
import inspect
import warnings
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import attrs
import hikari
from deadline import scaled
from gateways import no_jitter, quick_queue
from hikari.api import CacheComponents
from hikari.events import base_events
from hikari.impl.config import CacheSettings
from library_traffic import TOKEN

import fastgw
from fastgw.testing import FakeGateway

__all__ = ["EVENTS", "OF_THE_BOT", "Bot", "running"]

# Those that come of dispatches; the others tell of the bot and of its connections.
OF_THE_BOT = (
    hikari.StartingEvent, hikari.StartedEvent, hikari.StoppingEvent, hikari.StoppedEvent,
    hikari.ShardConnectedEvent, hikari.ShardDisconnectedEvent,
)  # fmt: skip
_OTHERS = (*OF_THE_BOT, hikari.ExceptionEvent, hikari.ShardPayloadEvent)


def _concrete(kind: type[base_events.Event]) -> Iterable[type[base_events.Event]]:
    for below in kind.__subclasses__():
        if below.__module__.startswith("hikari") and not issubclass(below, _OTHERS):
            if not inspect.isabstract(below):
                yield below
            yield from _concrete(below)


EVENTS = sorted(set(_concrete(base_events.Event)), key=lambda kind: kind.__name__)


@dataclass
class Bot:
    """
    A bot that writes down what it hears.

    Attributes:
        bot: the hikari bot.
        attachment: what it has of fastgw; None on its own gateway.
        heard: one line an event, with all that it holds.
        life: names of events that tell of the bot and its connections.
    """

    bot: hikari.GatewayBot
    attachment: fastgw.Attachment | None = None
    heard: list[str] = field(default_factory=list)
    life: list[str] = field(default_factory=list)

    @classmethod
    def make(
        cls,
        fake: FakeGateway,
        *,
        is_attached: bool,
        listen: Iterable[type[base_events.Event]] = EVENTS,
        caches: int | None = None,
        intents: int = int(hikari.Intents.ALL),
        options: dict[str, Any] | None = None,
        **more: Any,
    ) -> Bot:
        """Make one, on its own gateway or on fastgw's, that asks `fake`."""
        settings = CacheSettings()
        if caches is not None:
            settings.components = CacheComponents(caches)
        bot = cls(
            hikari.GatewayBot(
                TOKEN,
                banner=None,
                suppress_optimization_warning=True,
                logs=None,
                cache_settings=settings,
                intents=hikari.Intents(intents),
                rest_url=fake.api_url,
                auto_chunk_members=False,
                **more,
            )
        )
        if is_attached:
            quick = {
                "backoff_s": (0.01, 0.05),
                "identify_queue": quick_queue(fake.service.max_concurrency),
                "random": no_jitter,
            }
            bot.attachment = fastgw.attach(bot.bot, **{**quick, **(options or {})})
        bot.listen(listen)
        for kind in OF_THE_BOT:
            bot.bot.subscribe(kind, bot.live)
        return bot

    def wanted(self) -> set[str]:
        """Return the names of the events that go to the bot now."""
        return {reason.event for reason in self.attachment.explain().reasons if reason.is_delivered}

    def listen(self, kinds: Iterable[type[base_events.Event]]) -> None:
        """Write down the events of these classes from now on."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", hikari.MissingIntentWarning)
            for kind in kinds:
                self.bot.subscribe(kind, self.hear)

    async def live(self, event: base_events.Event) -> None:
        """Write the name of an event down that tells of the bot."""
        self.life.append(type(event).__name__)

    async def hear(self, event: base_events.Event) -> None:
        """Write an event down."""
        self.heard.append(f"{type(event).__name__} {_shown(event)}")

    async def settle(self, fake: FakeGateway) -> None:
        """Wait until every shard has taken, and listeners have heard, all that was sent."""
        await fake.wait_sent()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + scaled(30)
        for shard_id in self.bot.shards:
            sent = fake.service.session(shard_id).sequence
            while self._sequence(shard_id) != sent:
                assert loop.time() < deadline, f"{self._sequence(shard_id)} of {sent} came"
                await asyncio.sleep(0.005)
        while self.bot.event_manager._dispatched_tasks:
            assert loop.time() < deadline, "listeners did not end"
            await asyncio.sleep(0.005)

    def _sequence(self, shard_id: int) -> int | None:
        if self.attachment is None:
            return self.bot.shards[shard_id]._seq
        session = self.bot.shards[shard_id]._fastgw._keeper.session
        return None if session is None else session.sequence

    def caches(self) -> dict[str, list[str]]:
        """Return all that is cached, in words."""
        cache = self.bot.cache
        views: dict[str, Callable[[], Any]] = {
            name: getattr(cache, name)
            for name in dir(cache)
            if name.startswith("get_") and name.endswith("_view") and "_for_" not in name
        }
        found = {}
        for name, view in views.items():
            if all(p.default is not p.empty for p in inspect.signature(view).parameters.values()):
                found[name] = sorted(f"{key} {_shown(value)}" for key, value in view().items())
        found["me"] = [_shown(cache.get_me())]
        return found


def _shown(thing: Any, depth: int = 0) -> str:
    """Write all fields of a thing, without the bot and the shard."""
    if attrs.has(type(thing)) and depth < 3:
        inner = (
            f"{a.name}={_shown(getattr(thing, a.name, None), depth + 1)}"
            for a in attrs.fields(type(thing))
            if a.name.strip("_") not in ("app", "shard", "resume_gateway_url")
        )
        return f"{type(thing).__name__}({', '.join(inner)})"
    if isinstance(thing, dict):
        return "{" + ", ".join(f"{k}: {_shown(v, depth + 1)}" for k, v in thing.items()) + "}"
    if hasattr(thing, "items") and not isinstance(thing, type):
        return _shown(dict(thing.items()), depth)
    if isinstance(thing, (list, tuple)):
        return "[" + ", ".join(_shown(inner, depth + 1) for inner in thing) + "]"
    shown = repr(thing)
    return type(thing).__name__ if " at 0x" in shown else shown


@asynccontextmanager
async def running(bot: Bot, **options: Any) -> AsyncIterator[Bot]:
    """Start a bot, and close it in any case."""
    try:
        await bot.bot.start(check_for_updates=False, **options)
        yield bot
    finally:
        if bot.bot.is_alive:
            await bot.bot.close()
