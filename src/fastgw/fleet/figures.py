"""What a fleet's `health()` and `stats()` are put together from."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ..connection.dial import Turns
    from ..delivery.handlers import Handlers
    from ..durations import Durations
    from ..health.counts import EventStats, GatewayStats, LatencyStats, Timing
    from ..health.figures import GatewayHealth
    from ..metrics.document import Document
    from ..metrics.endpoint import Endpoint
    from ..shard.face import Shard
    from .loopwatch import LoopWatch
    from .relief import Relief
    from .settings import FleetOptions
    from .turns.identify import IdentifyGate

__all__ = ["FleetFigures", "events_of", "latency_of"]


class FleetFigures:
    """
    Those who count in a fleet, apart from its shards.

    Attributes:
        gate: who gives identify turns, once there is one.
    """

    def __init__(
        self,
        handlers: Handlers,
        watch: LoopWatch,
        turns: Turns,
        relief: Relief,
        options: FleetOptions,
    ) -> None:
        self.gate: IdentifyGate | None = None
        self._handlers = handlers
        self._watch = watch
        self._turns = turns
        self._relief = relief
        self._publisher = options.publish

    def health(self, shards: Iterable[Shard]) -> GatewayHealth:
        """Return how all of it is."""
        from ..health.figures import GatewayHealth  # the classes of all figures cost 7 ms to make

        handlers = self._handlers
        return GatewayHealth(
            shards=tuple(shard.health() for shard in shards),
            loop_lag_s=self._watch.lag_s,
            loop_lag_worst_s=self._watch.lag_worst_s,
            loop_silent_for_s=self._watch.silent_for_s,
            handlers_running=handlers.tasks.running,
            handlers_waiting=handlers.tasks.waiting,
            kept_bytes=self._turns.kept_bytes,
            unhandled=sum(len(ledger.deliveries) for ledger in list(handlers.ledgers)),
            unhandled_bytes=handlers.ledgers.bytes,
            reading_held_by=handlers.pressure.holding(),
            refusal=None if self.gate is None else self.gate.error,
            identify_budget=None if self.gate is None else self.gate.budget,
            publisher=None if self._publisher is None else self._publisher.health(),
        )

    def stats(self, shards: Iterable[Shard]) -> GatewayStats:
        """Return what all of it counted."""
        from ..health.counts import GatewayStats

        return GatewayStats(
            shards=tuple(shard.stats() for shard in shards),
            events=events_of(self._handlers),
            latency=latency_of(self._handlers, self._watch),
            loop_blocked=self._watch.blocked,
            turns_cut=self._turns.cut,
            relieved=self._relief.count,
            handler_failures=dict(self._handlers.failures.counts),
            events_dropped=dict(self._handlers.drops.counts),
            publisher=None if self._publisher is None else self._publisher.stats(),
        )

    def serve(
        self, where: tuple[str, int] | None, shards: Callable[[], tuple[tuple[Shard, ...], int]]
    ) -> Endpoint | None:
        """
        Serve all of it, from a thread.

        Args:
            where: host and port; None serves nothing.
            shards: those that run here, and how many the bot has.
        """
        if where is None:
            return None
        from ..metrics.document import document_of
        from ..metrics.endpoint import Endpoint

        def document() -> Document:
            here, count = shards()
            return document_of(self.health(here), self.stats(here), shard_count=count)

        return Endpoint(*where, document)


def events_of(handlers: Handlers) -> dict[str, EventStats]:
    """Return what handlers counted of each event name."""
    from ..health.counts import EventStats

    filtered = handlers.interests.filtered()
    dropped = dict(handlers.drops.by_event)
    return {
        name: EventStats(
            seen=seen,
            delivered=delivered,
            filtered=filtered.get(name, 0),
            dropped=dropped.get(name, 0),
            bytes=size,
        )
        for name, (seen, delivered, size) in handlers.interests.counters().items()
    }


def latency_of(handlers: Handlers, watch: LoopWatch) -> LatencyStats:
    """Return where the time went."""
    from ..health.counts import LatencyStats

    latencies = handlers.latencies
    return LatencyStats(
        network=_timing(latencies.network),
        loop=_timing(watch.lags),
        delivery=_timing(latencies.delivery),
        queue=_timing(latencies.queue),
        handler=_timing(latencies.handler),
    )


def _timing(durations: Durations) -> Timing:
    from ..health.counts import Timing

    return Timing(durations.total_s, tuple(durations.buckets))
