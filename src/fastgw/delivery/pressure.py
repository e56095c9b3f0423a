"""
Backpressure: when the shards' reading stops, and when it goes on.

What is not finished holds memory. Above the high mark of a shard's ledger that shard stops
reading, and the service queues what it sends; at the low mark, half of it, reading goes on. Above
the mark of the whole gateway all shards stop. Heartbeats go on all the while.

For the low mark only what those hold counts who drop nothing. What a policy keeps never exceeds the
high mark by itself, and may stay for ever: nobody may be reading that iterator.

Theory. A ledger is calm, over, or held.

    calm -> over    its bytes, or the gateway's, rose above the high mark; or an iterator is full
    over -> held    at once when nobody waits for an event of the shard; otherwise at the second
                    mark, twice the high one, where those who wait fail. Not at once where chunks
                    of members hold the bytes: their requests take them in a moment, and others
                    would fail for nothing. They fail when that has gone on for five seconds
    held -> over    somebody begins to wait, and the second mark is not reached
    any  -> calm    its bytes, and the gateway's, fell to the low mark but for what a policy keeps,
                    which leaves them below the high one; and no iterator is full

So a handler that waits for an event can never be the reason why that event is not read. The
compiled ledger compares its bytes with two numbers, and calls here only when one is crossed.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from typing import TYPE_CHECKING, Protocol

from ..log import careful_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .ledger import Ledger, Ledgers
    from .limits import DeliveryLimits

__all__ = ["Pressure"]

log = careful_logger("fastgw.handlers")

LOW = 0.5  # of the high mark
SECOND = 2  # times the high mark
# From here on who holds reading is named.
HELD_S = 10.0
# So long requests may take to make room at the second mark.
PATIENCE_S = 5.0

_NEVER_RISES = sys.maxsize
_NEVER_FALLS = -1


class Awaited(Protocol):
    """Those who wait for an event; `waiters.Waiters`."""

    def is_pending(self, shard_id: int) -> bool:
        """Tell whether somebody waits for an event that this shard may receive."""

    def fail(self, shard_id: int, reason: str) -> None:
        """Let those fail."""


class Holder(Protocol):
    """Who keeps deliveries open: a lane, a mailbox or a request of members."""

    @property
    def name(self) -> str:
        """What it is called in logs."""


class Pressure:
    """
    The marks of one gateway, and which of its shards must not read.

    Args:
        ledgers: whose bytes are compared; its `crossed` is set.
        limits: the high marks.
        awaited: whom holding back would starve.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        ledgers: Ledgers,
        limits: DeliveryLimits,
        awaited: Awaited,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ledgers = ledgers
        self._limits = limits
        self._awaited = awaited
        self._clock = clock
        self._is_over = False  # the whole gateway
        self._above: set[Ledger] = set()  # its own high mark, and not at its low one since
        self._over: dict[Ledger, None] = {}  # for that or another reason; held or not
        self._held_at: dict[Ledger, float] = {}
        self._full: dict[Ledger, set[Holder]] = {}
        self._requested: Counter[Ledger] = Counter()  # bytes of requests, among those of the ledger
        self._requested_in_all = 0
        self._named: set[str] = set()  # warned of, and holding still
        ledgers.rise_at = limits.gateway_bytes
        ledgers.first_rise_at = limits.shard_bytes
        ledgers.crossed = self._crossed

    def is_held(self, ledger: Ledger) -> bool:
        """Tell whether the shard of a ledger must not read."""
        return ledger in self._held_at

    def obeyed(self, ledger: Ledger, hold: Callable[[bool], object]) -> None:
        """Call `hold` from now on when a shard must not read, and when it may; at once if held."""
        ledger.on_hold = hold
        if self.is_held(ledger):
            hold(True)

    def excess(self, ledger: Ledger, size: int) -> tuple[int, int]:
        """Return by how many bytes `size` more are above the high marks of shard and gateway."""
        return (
            ledger.bytes + size - self._limits.shard_bytes,
            self._ledgers.bytes + size - self._limits.gateway_bytes,
        )

    def requested(self, ledger: Ledger, size: int) -> None:
        """
        So many bytes more, or less, are of events that a request asked for.

        To be told before they are opened, and after they are done.
        """
        self._requested[ledger] += size
        self._requested_in_all += size

    def full(self, holder: Holder, ledger: Ledger) -> None:
        """An iterator has as many events as it may: let the shard that brought the last wait."""
        self._full.setdefault(ledger, set()).add(holder)
        self._judge(ledger)

    def no_longer_full(self, holder: Holder) -> None:
        """It takes events again."""
        for ledger in [ledger for ledger, full in self._full.items() if holder in full]:
            self._full[ledger].discard(holder)
            if not self._full[ledger]:
                del self._full[ledger]
            self._judge(ledger)

    def waits_changed(self) -> None:
        """Somebody began to wait for an event, or waits no more."""
        for ledger in list(self._over):
            self._judge(ledger)

    def tick(self) -> None:
        """
        Warn, once, of who has held reading for long; judge what was held with patience.

        Called about once a second.
        """
        now = self._clock()
        for ledger, held_at in list(self._held_at.items()):
            self._judge(ledger, is_patient=now - held_at < PATIENCE_S)
        holding = {name for name, held_s in self.holding().items() if held_s >= HELD_S}
        for name in holding - self._named:
            log.warning(
                "%s has held back reading for %.0f s: its events are not taken, %d bytes wait",
                name,
                HELD_S,
                self._ledgers.bytes,
            )
        self._named = holding

    def holding(self) -> dict[str, float]:
        """
        Return who holds reading, by name in logs, and for how many seconds; from any thread.

        So it goes over copies: the loop opens and closes deliveries meanwhile.
        """
        now = self._clock()
        holding: dict[str, float] = {}
        for ledger, held_at in self._held_at.copy().items():
            for name in self._holders(ledger):
                holding[name] = max(holding.get(name, 0.0), now - held_at)
        return holding

    def _holders(self, ledger: Ledger) -> Iterator[str]:
        """Yield who keeps a shard from reading: full iterators, or who has most of the bytes."""
        full = self._full.get(ledger)
        if full:
            yield from (holder.name for holder in list(full))
            return
        ledgers = list(self._ledgers) if self._is_over else [ledger]
        by_holder: dict[Holder, int] = {}
        for each in ledgers:
            for delivery in list(each.deliveries):
                if delivery.drops:
                    continue
                holder = delivery.holder
                by_holder[holder] = by_holder.get(holder, 0) + delivery.size
        shares: Counter[str] = Counter()
        for holder, size in by_holder.items():  # a name is made anew each time it is asked for
            shares[holder.name] += size
        yield from (name for name, _ in shares.most_common(1))

    def _crossed(self, ledger: Ledger) -> None:
        """A number was crossed: the ledger's own, or the gateway's."""
        limit, was_over = self._limits.gateway_bytes, self._is_over
        self._is_over = _is_above(self._ledgers, limit, was_above=was_over)
        if self._is_over:
            self._ledgers.rise_at, self._ledgers.fall_at = limit * SECOND, int(limit * LOW)
            self._ledgers.first_rise_at = 0  # a shard that has had nothing open is judged as well
        else:
            self._ledgers.rise_at, self._ledgers.fall_at = limit, _NEVER_FALLS
            self._ledgers.first_rise_at = self._limits.shard_bytes
        if was_over or self._is_over:
            for each in list(self._ledgers):
                self._judge(each)
        else:
            self._judge(ledger)

    def _judge(self, ledger: Ledger, *, is_patient: bool = True) -> None:
        limit = self._limits.shard_bytes
        if _is_above(ledger, limit, was_above=ledger in self._above):
            self._above.add(ledger)
        else:
            self._above.discard(ledger)
        if not (ledger in self._above or self._is_over or ledger in self._full):
            self._over.pop(ledger, None)
            ledger.rise_at, ledger.fall_at = limit, _NEVER_FALLS
            self._release(ledger)
            return
        self._over[ledger] = None
        ledger.fall_at = int(limit * LOW)
        if not self._awaited.is_pending(ledger.shard_id):
            ledger.rise_at = _NEVER_RISES
            self._hold(ledger)
        elif self._is_at_second(ledger):
            ledger.rise_at = _NEVER_RISES
            self._hold(ledger)
            if is_patient and not self._is_at_second(ledger, but_requests=True):
                return  # judged again as each of them has taken all that came
            self._awaited.fail(
                ledger.shard_id,
                f"shard {ledger.shard_id} stopped reading: {self._ledgers.bytes} bytes of events "
                "are not handled yet, so no other event can be waited for",
            )
        else:
            ledger.rise_at = limit * SECOND
            self._release(ledger)

    def _is_at_second(self, ledger: Ledger, *, but_requests: bool = False) -> bool:
        limits = self._limits
        of_shard, of_all = ledger.bytes, self._ledgers.bytes
        if but_requests:
            of_shard, of_all = of_shard - self._requested[ledger], of_all - self._requested_in_all
        return of_shard > limits.shard_bytes * SECOND or of_all > limits.gateway_bytes * SECOND

    def _hold(self, ledger: Ledger) -> None:
        if ledger not in self._held_at:
            self._held_at[ledger] = self._clock()
            if ledger.on_hold is not None:
                ledger.on_hold(True)

    def _release(self, ledger: Ledger) -> None:
        if self._held_at.pop(ledger, None) is not None and ledger.on_hold is not None:
            ledger.on_hold(False)


def _is_above(held: Ledger | Ledgers, limit: int, *, was_above: bool) -> bool:
    """Tell whether bytes are above their high mark, or were and are not at the low one yet."""
    return held.bytes > limit or (was_above and held.bytes - held.dropping_bytes > limit * LOW)
