"""
Identify turns, shared by all shards of a token.

`LocalIdentifyQueue` gives them out in one process; several processes put a queue of their own in
its place (`shard.ports.IdentifyQueue` says what it must do). `IdentifyGate` stands in front of it
and can be shut when the service has refused the bot for good.
"""

from __future__ import annotations

import asyncio
import math
import random as _random
import time
from typing import TYPE_CHECKING

from ..errors import FatalError, UsageError
from ..protocol.wire import IDENTIFY_INTERVAL_S, IDENTIFY_PAD_S

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ..shard.ports import IdentifyQueue, IdentifyTurn

__all__ = ["IdentifyGate", "LocalIdentifyQueue"]


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
