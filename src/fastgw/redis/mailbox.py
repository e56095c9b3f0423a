"""
The mailboxes that a consumer has leased: what was read of each, handed out and handled.

A mailbox has a decoder, which filters and makes events as a shard's does, and its ledger says what
is handled. Two sessions never mix in a ledger: the first event of a new epoch waits until all
before it are handled, so one number says how far a mailbox is.
"""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING

from .._decode import Calls, Decoder, Plan
from ..delivery.handlers import Handlers
from ..home import Home
from .streams import ENTRY_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..delivery.ledger import Ledger
    from ..delivery.limits import DeliveryLimits
    from ..words import Intents

__all__ = ["ConsumerCounts", "ConsumerHandlers", "Mailbox"]


class ConsumerCounts:
    """What a consumer counts; see `ConsumerStats`."""

    __slots__ = (
        "handled", "lost", "mailboxes_lost", "mailboxes_taken", "redelivered", "session_resets",
        "taken",
    )  # fmt: skip

    def __init__(self) -> None:
        self.taken = self.handled = self.redelivered = self.session_resets = self.lost = 0
        self.mailboxes_taken = self.mailboxes_lost = 0


class ConsumerHandlers(Handlers):
    """Handlers whose events come from a decoder alone: each name has a plan, which calls them."""

    def __init__(self, intents: Intents, *, limits: DeliveryLimits | None) -> None:
        super().__init__(intents, limits=limits)
        self.home = Home("consumer", "asyncio.run_coroutine_threadsafe(...) with its loop")

    def target_of(self, name: str) -> Plan | None:
        """Return the plan of a name."""
        line = self._line(name)
        return Plan(line, self) if line else None


class Mailbox:
    """
    One mailbox that is leased here.

    Attributes:
        last: id of the last entry that was read.
        asked: in which turn it was read last.
        backlog: entries that were read and not handed out.
        taken: what was handed out and is not acknowledged, of one epoch: sequence, id, bytes.
        handed: id of the last entry that was handed out, here or before: up to there an entry comes
            again.
        told: up to where the server knows of it.
    """

    __slots__ = (
        "_counts", "_decoder", "_epoch", "_handed", "_ledger", "asked", "backlog", "handed",
        "is_leaving", "key", "last", "shard_id", "taken", "told",
    )  # fmt: skip

    def __init__(
        self, key: str, handlers: Handlers, shard_id: int, counts: ConsumerCounts, handed: bytes
    ) -> None:
        self.handed = self.told = handed
        self._handed = _place(handed)
        self._counts = counts
        self.key = key
        self.shard_id = shard_id
        self.backlog: deque[tuple[bytes, dict[bytes, bytes]]] = deque()
        self.taken: deque[tuple[int, bytes, int]] = deque()
        self.is_leaving = False
        self.last = b"0-0"
        self.asked = 0
        self._epoch = b""
        self._ledger: Ledger = handlers.ledgers[shard_id]
        self._decoder = Decoder(interests=handlers.interests, shard_id=shard_id)

    @property
    def is_idle(self) -> bool:
        """Whether nothing that was read is unfinished."""
        return not self.taken and not self.backlog

    def read(self, entries: list[tuple[bytes, dict[bytes, bytes]]]) -> None:
        """These came, in their order."""
        if entries:
            self.backlog.extend(entries)
            self.last = entries[-1][0]

    def look_back(self, first: bytes | None) -> None:
        """
        Read the mailbox again, once all is handled, if its first entry should not be there.

        A server that lost what it acknowledged has entries again that were removed.
        """
        if first is None:
            return
        oldest = self.taken[0][1] if self.taken else self.backlog[0][0] if self.backlog else None
        if _place(first) < _place(oldest) if oldest else _place(first) <= _place(self.last):
            self.is_leaving = not self.is_idle  # else others would come in between for ever
            if self.is_idle:
                self.last = b"0-0"

    def hand_out(self, is_held: Callable[[Ledger], bool]) -> None:
        """Give handlers what they may have now."""
        while self.backlog and not is_held(self._ledger):
            entry_id, values = self.backlog[0]
            epoch, _, sequence = entry_id.partition(b"-")
            if epoch != self._epoch:
                if self._ledger.deliveries or self.taken:
                    return
                self._epoch = epoch
            self.backlog.popleft()
            size = len(values[b"t"]) + len(values[b"d"]) + ENTRY_BYTES
            self.taken.append((int(sequence), entry_id, 0 if sequence == b"0" else size))
            self._count(entry_id, (int(epoch), int(sequence)))
            if lost := values.get(b"l"):
                self._counts.lost += int(lost)
                self._call(b"LOST", sequence, b'{"count":' + lost + b"}")
            self._call(values[b"t"], sequence, values[b"d"])

    def handled(self) -> list[bytes | int]:
        """Return ids and bytes of entries that are handled and not acknowledged, in turn."""
        if not self.taken:
            return []
        reached = self._ledger.handled(self.taken[-1][0]) or 0
        done: list[bytes | int] = []
        for sequence, entry_id, size in self.taken:
            if sequence > reached:
                break
            done += (entry_id, size)
        return done

    def acknowledged(self, count: int) -> None:
        """The first so many are."""
        for _ in range(count):
            _, _, size = self.taken.popleft()
            self._counts.handled += size > 0

    def _count(self, entry_id: bytes, place: tuple[int, int]) -> None:
        is_again = place <= self._handed
        if not is_again:
            self.handed, self._handed = entry_id, place
        if place[1] == 0:
            self._counts.session_resets += 1
        else:
            self._counts.taken += 1
            self._counts.redelivered += is_again

    def _call(self, name: bytes, sequence: bytes, data: bytes) -> None:
        """Hand out one event: the text of a message, as the decoder takes it from a socket."""
        text = b'{"t":"' + name + b'","s":' + sequence + b',"op":0,"d":' + data + b"}"
        self._decoder.received_at = time.monotonic()
        calls = self._decoder.feed(text, 1, True)
        if isinstance(calls, Calls):
            calls.make()


def _place(entry_id: bytes) -> tuple[int, int]:
    """Return an id as what Redis orders it by."""
    epoch, _, sequence = entry_id.partition(b"-")
    return int(epoch), int(sequence)
