"""What a consumer says of itself: figures, counts, and the endpoint that serves both."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

from ..fleet.figures import events_of, latency_of
from ..fleet.loopwatch import LoopWatch
from .lag import lag_of, read_depths
from .mailbox import ConsumerCounts

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..delivery.handlers import Handlers
    from ..health.consumers import ConsumerHealth, ConsumerStats
    from ..metrics.document import Document
    from ..metrics.endpoint import Endpoint
    from .counterpart import Counterpart
    from .mailbox import Mailbox
    from .streams import EventStreams

__all__ = ["ConsumerFigures"]


class ConsumerFigures:
    """
    The figures of one consumer, from `start` to `close`.

    Args:
        group: whose.
        mailboxes: those that are leased now, by shard; read from any thread.
        counterpart: the gateways that publish for it.
        where: host and port of its endpoint; None serves nothing.
    Attributes:
        counts: what is counted.
        share: how many mailboxes it should have.
        leased_at: when its leases were renewed, monotonic; None before.
        answered_at: when the server answered; None before.
    """

    def __init__(
        self,
        group: str,
        mailboxes: Mapping[int, Mailbox],
        counterpart: Counterpart,
        where: tuple[str, int] | None,
    ) -> None:
        self.counts = ConsumerCounts()
        self.share = 0
        self.leased_at: float | None = None
        self.answered_at: float | None = None
        self._group = group
        self._mailboxes = mailboxes
        self._counterpart = counterpart
        self._where = where
        self._watch = LoopWatch(lambda: None)
        self._lag = lag_of((), ())
        self._endpoint: Endpoint | None = None

    def start(self, handlers: Handlers) -> None:
        """
        Watch the running loop, and serve.

        Raises:
            UsageError: nothing can listen there.
        """
        if self._where is not None:
            from ..metrics.endpoint import Endpoint

            self._endpoint = Endpoint(*self._where, lambda: self._document(handlers))
        self._watch.start()

    def close(self) -> None:
        """End both; a second time is ignored."""
        self._watch.stop()
        if self._endpoint is not None:
            self._endpoint.close()
            self._endpoint = None

    async def look_back(self, streams: EventStreams) -> None:
        """See how deep the mailboxes are, and whether entries are there again that were removed."""
        mailboxes = dict(self._mailboxes)
        depths = await read_depths(streams, self._group, mailboxes)
        self._lag = lag_of(depths, mailboxes)
        for mailbox, depth in zip(mailboxes.values(), depths, strict=True):
            mailbox.look_back(depth.first or None)

    def health(self, handlers: Handlers) -> ConsumerHealth:
        """Return how it is."""
        from ..health.consumers import ConsumerHealth

        now, mailboxes = time.monotonic(), dict(self._mailboxes)
        return ConsumerHealth(
            group=self._group,
            shard_ids=tuple(sorted(mailboxes)),
            share=self.share,
            lease_age_s=None if self.leased_at is None else now - self.leased_at,
            answer_age_s=None if self.answered_at is None else now - self.answered_at,
            is_published=self._counterpart.is_there,
            lag=self._lag,
            backlog=sum(len(mailbox.backlog) for mailbox in mailboxes.values()),
            handlers_running=handlers.tasks.running,
            handlers_waiting=handlers.tasks.waiting,
            unhandled=sum(len(ledger.deliveries) for ledger in list(handlers.ledgers)),
            unhandled_bytes=handlers.ledgers.bytes,
            reading_held_by=handlers.pressure.holding(),
            loop_lag_s=self._watch.lag_s,
            loop_lag_worst_s=self._watch.lag_worst_s,
            loop_silent_for_s=self._watch.silent_for_s,
        )

    def stats(self, handlers: Handlers) -> ConsumerStats:
        """Return what it counted."""
        from ..health.consumers import ConsumerStats

        return ConsumerStats(
            **{name: getattr(self.counts, name) for name in ConsumerCounts.__slots__},
            events=events_of(handlers),
            latency=latency_of(handlers, self._watch),
            loop_blocked=self._watch.blocked,
            handler_failures=dict(handlers.failures.counts),
            events_dropped=dict(handlers.drops.counts),
        )

    def _document(self, handlers: Handlers) -> Document:
        """Return the document of a bot that has no shards here."""
        from dataclasses import asdict

        from ..metrics.document import delivered, envelope

        health, stats, head = self.health(handlers), self.stats(handlers), envelope(0)
        process: dict[str, Any] = {
            name: getattr(health, name)
            for name in (
                "loop_lag_s", "loop_lag_worst_s", "handlers_running", "handlers_waiting",
                "unhandled", "unhandled_bytes", "reading_held_by",
            )
        }  # fmt: skip
        process |= {
            "index": 0, "pid": os.getpid(), "phase": "running", "restarts": 0, "kept_bytes": 0,
            "silent_for_s": health.loop_silent_for_s, "told_at": head["at"], "sharing": None,
            "publisher": None, "consumer": asdict(health),
        }  # fmt: skip
        return {
            **head,
            "processes": [process],
            "shards": [],
            "identify_budget": None,
            "refusal": None,
            "counts": {
                "total": {}, "shards": {}, **delivered(stats), "loop_blocked": stats.loop_blocked,
                "turns_cut": 0, "relieved": 0, "handler_failures": stats.handler_failures,
                "events_dropped": stats.events_dropped, "publisher": None,
                "consumer": {name: getattr(self.counts, name) for name in ConsumerCounts.__slots__},
            },
        }  # fmt: skip
