"""
Limits on how often something may be done: sending, reconnecting, identifying.

Nothing here reads a clock or draws a number by itself: time is passed in as `now` (monotonic
seconds) or comes from an injected clock, randomness is an injected function giving [0, 1). So each
limit can be proved with invented time.

`SendBudget` and `Backoff` belong to one shard. Identify turns are shared by all shards of a token:
`IdentifyQueue` is the seam where several processes may put their own, `LocalIdentifyQueue` is the
one for a single process, and `IdentifyGate` in front of it can be shut when the service has refused
the bot for good.
"""

from __future__ import annotations

import asyncio
import math
import random as _random
import time
from collections import deque
from typing import TYPE_CHECKING, Protocol

from ..errors import FatalError, UsageError
from ..protocol.wire import IDENTIFY_INTERVAL_S, IDENTIFY_PAD_S, SEND_LIMIT, SEND_WINDOW_S

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = [
    "Backoff",
    "IdentifyGate",
    "IdentifyQueue",
    "IdentifyTurn",
    "LocalIdentifyQueue",
    "SendBudget",
]

# Two commands may arrive closer together than they left: the window is ours plus this much. It is
# an estimate, more than any jitter between two commands that a live connection has shown.
SEND_WINDOW_PADDING_S = 0.5
# Beats in one window that answer a service's op 1. The service asks now and then; one that floods
# gets these, and its next answer is the next periodic beat.
MAX_ANSWERS = 5


class SendBudget:
    """
    How many commands one connection may still send: a sliding log of the last minute.

    Every command counts, heartbeats too. No 60-second window ever holds more than `limit` commands.
    Who gives way to whom:

    - periodic heartbeats, IDENTIFY and RESUME are urgent and may use the whole limit;
    - answers to a service that asks for a heartbeat leave room for every periodic one, and are
      never more than `MAX_ANSWERS`;
    - users' commands leave room for `reserved` more: the periodic ones and one answer.
    """

    __slots__ = ("_answers", "_first", "_ordinary", "_sent", "limit", "reserved", "window_s")

    def __init__(
        self, *, limit: int = SEND_LIMIT, window_s: float = SEND_WINDOW_S + SEND_WINDOW_PADDING_S
    ) -> None:
        if limit < 1 or window_s <= 0:
            raise UsageError("a send budget needs a limit of at least 1 and a window above 0 s")
        self.limit = limit
        self.window_s = window_s
        self.reserved = 0
        self._sent: deque[float] = deque()  # when each command was sent, oldest first
        self._ordinary: deque[float] = deque()  # the users' and the answers among them
        self._answers: deque[float] = deque()  # the answers among them
        self._first: deque[float] = deque()  # IDENTIFY or RESUME

    def reset(self, *, heartbeat_interval_s: float | None = None) -> None:
        """
        Begin a new connection: nothing was sent on it yet.

        Args:
            heartbeat_interval_s: from HELLO; None before it. Slots for the heartbeats of one
                window, and one the service may ask for, are then kept free of other commands.
        """
        for log in (self._sent, self._ordinary, self._answers, self._first):
            log.clear()
        self.reserved = 0
        if heartbeat_interval_s is not None:
            self.reserve_heartbeats(heartbeat_interval_s)

    def reserve_heartbeats(self, interval_s: float) -> None:
        """Keep slots for a heartbeat every `interval_s` seconds, and one extra, from now on."""
        if interval_s <= 0:
            raise UsageError(f"a heartbeat interval of {interval_s} s is not above 0")
        # At least one slot stays for ordinary commands however short the interval.
        self.reserved = min(math.ceil(self.window_s / interval_s) + 1, self.limit - 1)

    def take(self, now: float) -> bool:
        """Count one ordinary command if it may be sent at `now`; say whether it may."""
        if self.free_at(now) > now:
            return False
        self._sent.append(now)
        self._ordinary.append(now)
        return True

    def take_urgent(self, now: float, *, is_beat: bool = True) -> bool:
        """Count one heartbeat, identify or resume if it may be sent at `now`; say whether."""
        if self.urgent_free_at(now) > now:
            return False
        self._sent.append(now)
        if not is_beat:
            self._first.append(now)
        return True

    def take_answer(self, now: float) -> bool:
        """Count one heartbeat that the service asked for if it may be sent now; say whether."""
        if self.urgent_free_at(now) > now or len(self._answers) >= MAX_ANSWERS:
            return False
        # What is not periodic leaves room for what is.
        if len(self._ordinary) + len(self._first) > self.limit - max(self.reserved, 1):
            return False
        for log in (self._sent, self._ordinary, self._answers):
            log.append(now)
        return True

    def free_at(self, now: float) -> float:
        """Return when the next ordinary command may go: `now`, or a later moment."""
        at = self.urgent_free_at(now)
        room = self.limit - self.reserved
        if len(self._ordinary) >= room:
            at = max(at, self._ordinary[len(self._ordinary) - room] + self.window_s)
        return at

    def urgent_free_at(self, now: float) -> float:
        """Return when the next urgent command may go: `now`, or a later moment."""
        self._forget(now)
        if len(self._sent) < self.limit:
            return now
        return self._sent[len(self._sent) - self.limit] + self.window_s

    def sent_in_window(self, now: float) -> int:
        """Return how many commands the window ending at `now` holds."""
        self._forget(now)
        return len(self._sent)

    def _forget(self, now: float) -> None:
        # The same sum as in free_at, not its rearrangement: rounding must not disagree with it.
        for log in (self._sent, self._ordinary, self._answers, self._first):
            while log and log[0] + self.window_s <= now:
                log.popleft()


class Backoff:
    """
    Delays between attempts: exponential with full jitter, from `first_s` up to `cap_s`.

    It begins anew only after a success that lasted `stable_s`: a connection that comes up and dies
    at once goes on growing the delay.
    """

    __slots__ = ("_random", "_succeeded_at", "attempts", "cap_s", "first_s", "stable_s")

    def __init__(
        self,
        random: Callable[[], float],
        *,
        first_s: float = 1.0,
        cap_s: float = 60.0,
        stable_s: float = 30.0,
    ) -> None:
        self._random = random
        self.first_s = first_s
        self.cap_s = cap_s
        self.stable_s = stable_s
        self.attempts = 0  # delays given out since the last reset
        self._succeeded_at: float | None = None

    def succeeded(self, now: float) -> None:
        """READY or RESUMED came at `now`; nothing is reset before it has proved stable."""
        self._succeeded_at = now

    def failed(self, now: float) -> None:
        """The attempt failed, or what it brought up was lost at `now`."""
        if self._succeeded_at is not None and now - self._succeeded_at >= self.stable_s:
            self.attempts = 0
        self._succeeded_at = None

    def next_delay_s(self) -> float:
        """Return how long to wait before the next attempt, in seconds, and count that attempt."""
        # 2.0 ** n overflows near n = 1024; every cap is reached long before.
        ceiling = min(self.cap_s, self.first_s * 2.0 ** min(self.attempts, 60))
        self.attempts += 1
        return ceiling * self._random()


class IdentifyTurn(Protocol):
    """Permission to write one IDENTIFY, held by one shard."""

    def written(self) -> None:
        """Tell that IDENTIFY is being written now: the turn is spent."""

    def release(self) -> None:
        """
        Give the turn up, once: READY or a failure came, or the socket died before the write.

        A turn that was never written is free again at once. Calling it twice does nothing.
        """


class IdentifyQueue(Protocol):
    """
    Who may identify next; account-wide, so processes that share a token must share it.

    Rules, tested for every implementation by `tests/test_pacing.py`: a key is
    `shard_id % max_concurrency`; one turn per key at a time; the next begins when the last was
    released and at least 5 s plus padding passed since its IDENTIFY was written; first come, first
    served; a cancelled `acquire` takes nothing.
    """

    async def acquire(self, shard_id: int) -> IdentifyTurn:
        """
        Wait for the turn of `shard_id`; the caller must `release()` it.

        A queue that raises is asked again after a backoff; a FatalError stops the shard.
        """


class _Key:
    """One rate limit key: who holds it and when it is free again."""

    __slots__ = ("free_at", "idle", "waiting")

    def __init__(self) -> None:
        self.free_at = -math.inf
        self.idle = asyncio.Event()  # set while nobody holds the turn
        self.idle.set()
        self.waiting = asyncio.Lock()  # first come, first served; only its holder looks at idle


class _LocalTurn:
    __slots__ = ("_key", "_queue", "_released")

    def __init__(self, queue: LocalIdentifyQueue, key: _Key) -> None:
        self._queue = queue
        self._key = key
        self._released = False

    def written(self) -> None:
        if not self._released:
            self._key.free_at = self._queue._next_free_at()

    def release(self) -> None:
        if not self._released:
            self._released = True
            self._key.idle.set()


class LocalIdentifyQueue:
    """
    The identify queue of one process.

    Args:
        max_concurrency: from `session_start_limit`; how many keys there are.
        interval_s: seconds between two identifies of one key, counted from the write.
        padding_s: (least, most) seconds drawn on top of it each time.
        clock: monotonic seconds.
        random: gives [0, 1).
        sleep: waits so many seconds of that clock.
    """

    def __init__(
        self,
        max_concurrency: int = 1,
        *,
        interval_s: float = IDENTIFY_INTERVAL_S,
        padding_s: tuple[float, float] = IDENTIFY_PAD_S,
        clock: Callable[[], float] = time.monotonic,
        random: Callable[[], float] = _random.random,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        if max_concurrency < 1:
            raise UsageError(f"max_concurrency is {max_concurrency}; it must be at least 1")
        self.max_concurrency = max_concurrency
        self._interval_s = interval_s
        self._padding_s = padding_s
        self._clock = clock
        self._random = random
        self._sleep = sleep
        self._keys: dict[int, _Key] = {}

    async def acquire(self, shard_id: int) -> IdentifyTurn:
        """Wait for the turn of `shard_id`; the caller must `release()` it."""
        key = self._keys.setdefault(shard_id % self.max_concurrency, _Key())
        async with key.waiting:
            await key.idle.wait()
            while (wait_s := key.free_at - self._clock()) > 0:
                await self._sleep(wait_s)
            key.idle.clear()  # no await between here and return: nothing to undo when cancelled
            return _LocalTurn(self, key)

    def _next_free_at(self) -> float:
        least, most = self._padding_s
        return self._clock() + self._interval_s + least + (most - least) * self._random()


class IdentifyGate:
    """
    The door to the identify queue, which a fatal refusal shuts for the whole fleet.

    docs/reliability.md, case 29: after 4010 to 4014 no shard may identify again, while sessions
    that run go on; a queue shared with other processes knows nothing of that.

    Attributes:
        error: the refusal that shut it, None while it is open.
    """

    def __init__(self, queue: IdentifyQueue) -> None:
        self._queue = queue
        self._waiting: set[asyncio.Future[None]] = set()
        self.error: FatalError | None = None

    def shut(self, error: FatalError) -> None:
        """Let nobody through from now on; those who wait get `error`. The first error stays."""
        if self.error is None:
            self.error = error
        for waiter in self._waiting:
            if not waiter.done():
                waiter.set_result(None)

    async def acquire(self, shard_id: int) -> IdentifyTurn:
        """
        Wait for the turn of `shard_id`; the caller must `release()` it.

        Raises:
            FatalError: the gate is shut, before or while waiting; the error that shut it.
        """
        if self.error is not None:
            raise self.error
        shut: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        turn = asyncio.ensure_future(self._queue.acquire(shard_id))
        self._waiting.add(shut)
        try:
            await asyncio.wait((shut, turn), return_when=asyncio.FIRST_COMPLETED)
            if self.error is not None:
                raise self.error
            granted = turn.result()
        except BaseException:
            turn.add_done_callback(_give_back)
            turn.cancel()
            raise
        finally:
            self._waiting.discard(shut)
        return granted


def _give_back(turn: asyncio.Future[IdentifyTurn]) -> None:
    """Release a turn that came although nobody waits for it any more."""
    if not turn.cancelled() and turn.exception() is None:
        turn.result().release()
