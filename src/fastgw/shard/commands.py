"""
What a shard has to send: urgent commands at once, users' commands when they may go.

Users' commands wait until the session is up and the send budget has room. They outlive a connection
that is resumed; when their session ends they fail, because what they were about (a voice state,
a member request) belongs to it. While they wait, only the latest presence and the latest voice
state of each guild are kept, for that is all the service would see in the end. Voice states go
first, which people wait for, then the presence, then the rest in the order of the calls.

The presence that the program wants for good is no command of a moment: it waits until it is
written, or until IDENTIFY has said it. Time comes in as `now`; `write` is the socket.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..errors import SendQueueFull
from ..protocol.wire import Opcode, is_heartbeat
from .budget import PresenceBudget

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .budget import SendBudget

__all__ = ["CommandQueue"]

# At 117 a minute the last of these goes out after four minutes. Who does not say that he can wait
# for longer has made a mistake.
MAX_WAITING = 500
_SWEEP_AT = 64


class _Place:
    """
    One place in a line: what goes out as one command, the latest of those that replace each other.

    A command that was cancelled leaves the place to the one before it.
    """

    __slots__ = ("_offers",)

    def __init__(self) -> None:
        # Oldest first; without a future it is what the program wants for good. Replaced whole:
        # other threads look at it, too.
        self._offers: tuple[tuple[bytes, asyncio.Future[None] | None], ...] = ()

    @property
    def command(self) -> bytes | None:
        """What to write; None when nobody wants anything any more. Looking changes nothing."""
        for command, written in reversed(self._offers):
            if written is None or not written.done():
                return command
        return None

    def offer(self, command: bytes, written: asyncio.Future[None] | None) -> None:
        """Put a command in the place of those that wait here, which are written with it."""
        kept = [
            (old, future)
            for old, future in self._offers
            if (future is None and written is not None) or (future and not future.done())
        ]
        self._offers = (*kept, (command, written))

    def written(self) -> None:
        """The command is written: it was about the same as all that wait here."""
        offers, self._offers = self._offers, ()
        for _, future in offers:
            if future is not None and not future.done():
                future.set_result(None)

    def forget_wanted(self) -> None:
        """Take back what is wanted for good."""
        self._offers = tuple(offer for offer in self._offers if offer[1] is not None)

    def fail(self, error: Exception) -> None:
        """Fail whoever waits; what is wanted for good stays."""
        for _, future in self._offers:  # those are forgotten with the next offer
            if future is not None and not future.done():
                future.set_exception(error)


class CommandQueue:
    """
    The send queue of one shard.

    Attributes:
        budget: counts everything that goes out on the current connection.
        is_open: True while users' commands may go: between READY or RESUMED and the end.
        limit: how many commands may wait of those who would rather be refused.
        written, written_bytes: how many commands were, and their size, since it was made.
    """

    __slots__ = (
        "_others", "_presence", "_presence_budget", "_sweep_at", "_urgent", "_voices",
        "budget", "is_open", "limit", "written", "written_bytes",
    )  # fmt: skip

    def __init__(self, budget: SendBudget, *, limit: int = MAX_WAITING) -> None:
        self.budget = budget
        self.is_open = False
        self.limit = limit
        self.written = self.written_bytes = 0
        self._presence_budget = PresenceBudget()
        # And whether the budget has counted it. A list: an empty deque has room for 64, 0.7 KB.
        self._urgent: list[tuple[bytes, bool]] = []
        self._presence = _Place()
        self._voices: dict[str, _Place] = {}  # by guild id, in the order of their first call
        self._others: deque[_Place] = deque()
        self._sweep_at = _SWEEP_AT

    def __len__(self) -> int:
        """Return how many commands of users wait, those that replace each other as one."""
        return sum(place.command is not None for place in self._places())

    def room(self, now: float) -> int:
        """Return how many more commands would be written at once; 0 while none may go."""
        return max(0, self.budget.room(now) - len(self)) if self.is_open else 0

    def new_connection(self) -> None:
        """Begin a connection: nothing was sent on it, nothing urgent is left for it."""
        self.is_open = False
        self._urgent.clear()
        self.budget.reset()

    def put_urgent(self, command: bytes, *, is_counted: bool = False) -> None:
        """
        Queue a heartbeat, identify or resume; it goes before everything else.

        Args:
            is_counted: the budget has counted it already (`SendBudget.take_answer`).
        """
        self._urgent.append((command, is_counted))

    def put(
        self, command: bytes, op: int = -1, d: object = None, *, may_wait: bool = True
    ) -> asyncio.Future[None]:
        """
        Queue a user's command; the future is done when it, or what replaced it, is written.

        Cancelling the future takes the command back.

        Args:
            command: encoded.
            op, d: what it says.
            may_wait: False refuses it when `limit` commands wait already.
        Raises:
            SendQueueFull: it was refused.
        """
        if not may_wait and len(self) >= self.limit:
            raise SendQueueFull(
                f"{self.limit} commands wait to be sent already, and about 117 may go in a "
                f"minute; send less, or wait for room",
                limit=self.limit,
            )
        written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._place_of(op, d).offer(command, written)
        return written

    def want_presence(self, command: bytes) -> None:
        """Queue the presence that is wanted from now on, in whatever session."""
        self._presence.offer(command, None)

    def identified(self) -> None:
        """IDENTIFY is written, which says the presence that is wanted."""
        self._presence.forget_wanted()

    def pump(self, now: float, write: Callable[[bytes], None]) -> None:
        """
        Write whatever may go at `now`. After this, re-arm `timer_at()`.

        Whatever `write` raises ends it; the command it was about is still queued.
        """
        while self._urgent:
            command, is_counted = self._urgent[0]
            if not is_counted and not self.budget.take_urgent(now, is_beat=is_heartbeat(command)):
                return
            self._write(command, write)
            del self._urgent[0]
        while self.is_open and (place := self._next(now)) is not None:
            command_or_none = place.command
            assert command_or_none is not None
            if not self.budget.take(now):
                return
            self._write(command_or_none, write)
            if place is self._presence:
                self._presence_budget.take(now)
            place.written()

    def _write(self, command: bytes, write: Callable[[bytes], None]) -> None:
        write(command)
        self.written += 1
        self.written_bytes += len(command)

    def timer_at(self, now: float) -> float | None:
        """Return when `pump` can do more, in monotonic seconds; None when nothing can go."""
        if self._urgent:
            return self.budget.urgent_free_at(now)
        if not self.is_open:
            return None
        if self._next(now) is not None:
            return self.budget.free_at(now)
        if self._presence.command is not None:
            return max(self.budget.free_at(now), self._presence_budget.free_at(now))
        return None

    def fail(self, error: Exception) -> None:
        """Fail every command of users that waits."""
        for place in self._places():
            place.fail(error)
        self._voices.clear()
        self._others.clear()

    def _place_of(self, op: int, d: object) -> _Place:
        if op == Opcode.PRESENCE_UPDATE:
            return self._presence
        if op == Opcode.VOICE_STATE_UPDATE and isinstance(d, Mapping) and "guild_id" in d:
            return self._voices.setdefault(str(d["guild_id"]), _Place())
        if len(self._others) >= self._sweep_at:  # many may be empty: cancelled
            self._others = deque(place for place in self._others if place.command is not None)
            self._sweep_at = max(_SWEEP_AT, 2 * len(self._others))
        self._others.append(place := _Place())
        return place

    def _places(self) -> Iterator[_Place]:
        # Copies: health is asked for from other threads.
        yield from self._voices.copy().values()
        yield self._presence
        yield from tuple(self._others)

    def _next(self, now: float) -> _Place | None:
        """Return whose turn it is, by rank; forget those that are empty by now."""
        while self._voices:
            guild_id, place = next(iter(self._voices.items()))
            if place.command is not None:
                return place
            del self._voices[guild_id]
        if self._presence.command is not None and self._presence_budget.free_at(now) <= now:
            return self._presence
        while self._others:
            if self._others[0].command is not None:
                return self._others[0]
            self._others.popleft()
        return None
