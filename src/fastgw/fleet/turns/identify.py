"""
Identify turns, shared by all shards of a bot.

`LocalIdentifyQueue` gives them out in one process, with the day's budget; several processes put a
queue of their own in its place (`ports.IdentifyQueue` says what it must do). `IdentifyGate`
stands in front of it: it is shut when the service has refused the bot for good, and it waits, and
says so, while the budget is spent.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import random as _random
import threading
import time
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from ...errors import FatalError, IdentifyBudgetSpent
from ...protocol.token import bot_id_of
from ...protocol.wire import IDENTIFY_INTERVAL_S, IDENTIFY_PAD_S
from .budget import IdentifyLedger, check_budget
from .queue_options import check_functions, check_rules
from .turn import Turn

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine
    from typing import Any

    from ...health.figures import IdentifyBudget
    from ...shard.ports import IdentifyTurn
    from ..http.gateway_info import GatewayInfo, SessionStartLimit
    from ..ports import IdentifyQueue
    from ..settings import FleetOptions

    T = TypeVar("T")

__all__ = ["IdentifyGate", "LocalIdentifyQueue", "open_gate", "queue_of_bot"]

log = logging.getLogger("fastgw.identify")

# While the budget is spent we look again this often: the API may have said more meanwhile.
LOOK_AGAIN_S = 60.0


class _Key:
    """One rate limit key: who holds it, who waits, and when it is free again."""

    __slots__ = ("free_at", "holders", "line")

    def __init__(self, free_at: float) -> None:
        self.free_at = free_at
        self.holders = 0  # more than one where keys became fewer meanwhile
        self.line: deque[_Waiter] = deque()  # first come, first served


class _Waiter:
    """Who waits in the line of a key, on whichever loop."""

    __slots__ = ("_loop", "_woken", "key", "shard_id")

    def __init__(self, shard_id: int, key: _Key) -> None:
        self.shard_id = shard_id
        self.key = key
        self._loop = asyncio.get_running_loop()
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """Let it look again; from any thread."""
        with contextlib.suppress(RuntimeError):  # its loop is closed, and nobody waits
            self._loop.call_soon_threadsafe(self._woken.set)

    async def wait(self) -> None:
        """Wait to be woken."""
        await self._woken.wait()
        self._woken.clear()


class _Grant:
    """A turn that was given: to which shard, of which key, and when it was counted."""

    __slots__ = ("key", "shard_id", "spent_at")

    def __init__(self, shard_id: int, key: _Key, spent_at: float) -> None:
        self.shard_id = shard_id
        self.key = key
        self.spent_at = spent_at


class LocalIdentifyQueue:
    """
    The identify queue of one process, for any number of gateways, loops and threads.

    Args:
        max_concurrency: how many keys there are; None for what the API says.
        interval_s: seconds between two identifies of one key, counted from the write.
        padding_s: (least, most) seconds drawn on top of it each time.
        reserve: nothing identifies when this many are left of the day's; None for 50, or 5 % where
            that is more.
        clock: monotonic seconds.
        random: gives [0, 1).
        sleep: waits so many seconds of that clock.
    """

    def __init__(
        self,
        max_concurrency: int | None = None,
        *,
        interval_s: float = IDENTIFY_INTERVAL_S,
        padding_s: tuple[float, float] = IDENTIFY_PAD_S,
        reserve: int | None = None,
        clock: Callable[[], float] = time.monotonic,
        random: Callable[[], float] = _random.random,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._rules = check_rules(max_concurrency, interval_s, padding_s, reserve, random)
        check_functions(clock=clock, sleep=sleep)
        self.max_concurrency = max_concurrency or 1
        self._clock = clock
        self._sleep = sleep
        self._guard = threading.Lock()
        self._keys: dict[int, _Key] = {}
        self._waiters: dict[_Waiter, None] = {}  # of all keys, in the order in which they came
        self._grants: set[_Grant] = set()  # that are not released
        self._first_free_at = -math.inf  # of keys that nobody has used yet
        self._ledger = IdentifyLedger(reserve=reserve)

    async def learn(
        self,
        limit: SessionStartLimit,
        *,
        asked_at: float,
        is_fresh: bool,
        bot_id: int | None = None,
    ) -> None:
        """Take the API's answer about the limit; see `IdentifyQueue.learn`. From any thread."""
        with self._guard:
            self._ledger.learn(limit, asked_at=asked_at, is_fresh=is_fresh)
            is_told = self._rules.max_concurrency is not None
            if not is_told and limit.max_concurrency != self.max_concurrency:
                self._make_keys(max(1, limit.max_concurrency))

    def budget(self) -> IdentifyBudget:
        """Return what is left of the day's identifies now; from any thread."""
        with self._guard:
            return self._ledger.budget(self._clock())

    async def acquire(self, shard_id: int) -> IdentifyTurn:
        """
        Wait for the turn of `shard_id`; the caller must `release()` it. From any thread.

        Raises:
            IdentifyBudgetSpent: the day's identifies are used up but for the reserve.
        """
        with self._guard:
            waiter = _Waiter(shard_id, self._key(shard_id))
            self._waiters[waiter] = None
            waiter.key.line.append(waiter)
        try:
            while True:
                with self._guard:
                    wait_s = self._wait_s(waiter)
                    if wait_s == 0:  # no await between here and return: nothing to undo
                        return self._take(waiter)
                if wait_s is None:
                    await waiter.wait()
                else:
                    await self._sleep(wait_s)
        finally:
            with self._guard:
                del self._waiters[waiter]
                waiter.key.line.remove(waiter)
                self._wake(waiter.key)

    # --- inside, under the guard -----------------------------------------------------------------

    def _key(self, shard_id: int) -> _Key:
        return self._keys.setdefault(shard_id % self.max_concurrency, _Key(self._first_free_at))

    def _make_keys(self, max_concurrency: int) -> None:
        """Begin with so many keys; who waits or holds one has that of its shard from now on."""
        # The new keys know nothing of their shards' last identifies: the latest counts.
        used = [key.free_at for key in self._keys.values()]
        self._first_free_at = max([self._first_free_at, *used])
        self._keys = {}
        self.max_concurrency = max_concurrency
        for grant in self._grants:
            grant.key = self._key(grant.shard_id)
            grant.key.holders += 1
        for waiter in self._waiters:
            waiter.key = self._key(waiter.shard_id)
            waiter.key.line.append(waiter)
        for key in self._keys.values():
            self._wake(key)

    def _wait_s(self, waiter: _Waiter) -> float | None:
        """Return how long to wait for its key, 0 when it is free; None: until woken."""
        key = waiter.key
        if key.holders or key.line[0] is not waiter:
            return None
        return max(0.0, key.free_at - self._clock())

    def _take(self, waiter: _Waiter) -> Turn:
        now = self._clock()
        budget = self._ledger.budget(now)
        if budget.free_at is not None:
            from ..stores.boot_clock import wall_seconds

            check_budget(budget, now=now, wall=wall_seconds())
        self._ledger.spend(now)
        grant = _Grant(waiter.shard_id, waiter.key, now)
        grant.key.holders += 1
        self._grants.add(grant)
        return Turn(partial(self._written, grant), partial(self._released, grant))

    def _wake(self, key: _Key) -> None:
        if key.line and not key.holders:
            key.line[0].wake()

    # --- what turns report -----------------------------------------------------------------------

    def _written(self, grant: _Grant) -> None:
        with self._guard:
            now = self._clock()
            self._ledger.take_back(grant.spent_at)
            self._ledger.spend(now)
            grant.spent_at = now
            grant.key.free_at = max(grant.key.free_at, now + self._rules.spacing_s())

    def _released(self, grant: _Grant, is_written: bool) -> None:
        with self._guard:
            if not is_written:
                self._ledger.take_back(grant.spent_at)
            grant.key.holders -= 1
            self._grants.discard(grant)
            self._wake(grant.key)


_of_bots: dict[tuple[str, str], LocalIdentifyQueue] = {}


def queue_of_bot(token: str, url: str) -> LocalIdentifyQueue:
    """
    Return the queue that all gateways of a bot in this process share.

    It lives as long as the process: a bot that is started again and again in one process must not
    forget when it identified last. Kept apart by the service's URL as well, for tests.
    """
    return _of_bots.setdefault((token, url), LocalIdentifyQueue())


async def open_gate(options: FleetOptions, info: GatewayInfo, asked_at: float) -> IdentifyGate:
    """Find the identify queue of a fleet, and tell it what the API said at `asked_at`."""
    token = options.identity.token
    queue = options.identify_queue or queue_of_bot(token, info.url)
    if info.session_start_limit is not None:
        await queue.learn(
            info.session_start_limit,
            asked_at=asked_at,
            is_fresh=options.info is None,
            bot_id=bot_id_of(token),
        )
    return IdentifyGate(queue)


class IdentifyGate:
    """
    The door to the identify queue, for the shards of one fleet.

    A fatal refusal shuts it. docs/reliability.md, case 29: after 4010 to 4014 no shard may identify
    again, while sessions that run go on; a queue shared with other processes knows nothing of that.
    While the day's budget is spent, shards wait here (case 41).

    Attributes:
        error: the refusal that shut it, None while it is open.
        spent: why nobody identifies now, None while they do.
    """

    def __init__(
        self, queue: IdentifyQueue, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.error: FatalError | None = None
        self.spent: IdentifyBudgetSpent | None = None
        self._queue = queue
        self._clock = clock
        self._waiting: set[asyncio.Future[None]] = set()
        self._line = asyncio.Lock()  # of those who wait for the budget; the first looks again

    @property
    def budget(self) -> IdentifyBudget | None:
        """What is left of the day's identifies, as far as the queue knows."""
        return self._queue.budget()

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
        while True:
            if self.spent is not None:
                async with self._line:
                    await self._wait_for_budget()
            try:
                turn = await self._unless_shut(self._queue.acquire(shard_id), _give_back)
            except IdentifyBudgetSpent as error:
                self._tell(error)
                continue
            if self.spent is not None:
                log.warning("identifies go on")
                self.spent = None
            return turn

    async def _wait_for_budget(self) -> None:
        """Wait until the queue is worth asking; the first in line looks, the others keep theirs."""
        while self.spent is not None:
            budget = self._queue.budget()
            free_at = self.spent.free_at if budget is None else budget.free_at
            if free_at is None or (wait_s := free_at - self._clock()) <= 0:
                return
            await self._unless_shut(asyncio.sleep(min(wait_s, LOOK_AGAIN_S)))

    def _tell(self, error: IdentifyBudgetSpent) -> None:
        if self.spent is None:
            log.error("%s", error)
        # Without its traceback: it is kept, and raised again by whoever waits for READY.
        self.spent = error.with_traceback(None)

    async def _unless_shut(
        self, work: Coroutine[Any, Any, T], undo: Callable[[asyncio.Future[T]], None] | None = None
    ) -> T:
        """Return what `work` returns, unless the gate is shut first; `undo` gets what came late."""
        if self.error is not None:
            work.close()
            raise self.error.with_traceback(None)  # each raise adds to it
        shut: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        done = asyncio.ensure_future(work)
        self._waiting.add(shut)
        try:
            await asyncio.wait((shut, done), return_when=asyncio.FIRST_COMPLETED)
            if self.error is not None:
                raise self.error.with_traceback(None)  # each raise adds to it
            return done.result()
        except BaseException:
            if undo is not None:
                done.add_done_callback(undo)
            done.cancel()
            raise
        finally:
            self._waiting.discard(shut)


def _give_back(turn: asyncio.Future[IdentifyTurn]) -> None:
    """Release a turn that came although nobody waits for it any more."""
    if not turn.cancelled() and turn.exception() is None:
        turn.result().release()
