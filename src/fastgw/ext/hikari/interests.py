"""
Which events a hikari bot wants, by hikari's own answer.

Each event has a consumer in `EventManagerBase._consumers`, which knows whether it is enabled: a
listener or a waiter of one of its event classes, or a cache component that is on. hikari asks it
when the payload has been parsed; here it is asked before. Two methods alone change the answer, so
what comes and goes at run time takes effect before `subscribe` or `wait_for` goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from hikari.events import shard_events

from ..verdict import Choice, Verdict, Wanted

if TYPE_CHECKING:
    from typing import Any

    from hikari.impl.event_manager_base import EventManagerBase

    from ..._decode import Event
    from ...gateway import Gateway

__all__ = ["Interests"]


class Interests:
    """
    The wants of one bot, kept in step with the routes of its gateway.

    Args:
        manager: the bot's.
        components: the cache components that are on.
        choice: what `attach` was told.
    """

    def __init__(self, manager: EventManagerBase, components: int, choice: Choice) -> None:
        self._manager = manager
        self._components = components
        self._choice = choice
        self._gateway: Gateway | None = None
        self._target: Callable[[Event], None] | None = None
        self._routed: frozenset[str] = frozenset()

    def events(self) -> list[str]:
        """Return the names of the events that hikari has a consumer for, sorted."""
        return sorted(name.upper() for name in self._manager._consumers)

    def wanted(self) -> frozenset[str]:
        """Return the names that are wanted now; "*" stands for all but `drop`."""
        if self._wants_everything():
            return frozenset("*")
        consumers = self._manager._consumers.items()
        enabled = {name.upper() for name, consumer in consumers if consumer.is_enabled}
        return frozenset(enabled - self._choice.drop | self._choice.keep)

    def of(self, name: str) -> Verdict:
        """Judge an event."""
        if (said := self._choice.of(name)) is not None:
            return said
        if because := tuple(self._reasons(name)):
            return Verdict(Wanted.WHOLE, because)
        return Verdict(Wanted.NOTHING, ("no listener and no cache needs it",))

    def advice(self) -> list[str]:
        """Say which events are delivered for a cache alone."""
        found: dict[str, list[str]] = {}
        for name in self.events():
            because = self.of(name).because
            if len(because) == 1 and because[0].startswith("cache "):
                found.setdefault(because[0], []).append(name)
        return [
            f"delivered for the {cache} alone: {', '.join(names)}" for cache, names in found.items()
        ]

    def _reasons(self, name: str) -> Iterator[str]:
        if self._manager._enabled_for_event(shard_events.ShardPayloadEvent):
            yield "ShardPayloadEvent, which is every event"
        consumer = self._manager._consumers.get(name.lower())
        if consumer is None:
            return
        if consumer.is_caching:
            yield f"cache {self._caches(consumer)}"
        for kind, listeners in self._manager._listeners.items():
            if _covers(consumer, kind):
                for listener in listeners:
                    yield f"{kind.__name__} in {getattr(listener, '__qualname__', listener)}"
        for kind in self._manager._waiters:
            if _covers(consumer, kind):
                yield f"wait_for({kind.__name__})"

    def _caches(self, consumer: Any) -> str:
        filled = getattr(consumer.callback, "__cache_components__", None)
        if filled is None:
            return "components"
        return str(filled.__class__(int(filled) & self._components))

    def _wants_everything(self) -> bool:
        manager = self._manager
        return not self._choice.is_filtering or manager._enabled_for_event(
            shard_events.ShardPayloadEvent
        )

    # --- the routes ------------------------------------------------------------------------------

    def connect(self, gateway: Gateway, target: Callable[[Event], None]) -> None:
        """Set the routes of a gateway, and keep them in step from now on."""
        self._gateway = gateway
        self._target = target
        self._routed = frozenset()
        self.refresh()

    def disconnect(self) -> None:
        """Leave the gateway as it is: it is over."""
        self._gateway = None
        self._routed = frozenset()

    def refresh(self) -> None:
        """Bring the routes in step with what is wanted now."""
        if self._gateway is None:
            return
        wanted = self.wanted()
        # First what is added: between "*" and single names nothing may fall through.
        for name in wanted - self._routed:
            self._gateway.route(name, self._target)
        for name in self._routed - wanted:
            self._gateway.route(name, None)
        self._routed = wanted


def _covers(consumer: Any, kind: Any) -> bool:
    bitmask = kind.bitmask()
    return bool((consumer.events_bitmask & bitmask) == bitmask)
