"""
The identify queue of all processes of all machines: turns and the day's budget in Redis.

What is decided stands in `attempt.lua`, in one step and by the server's clock. A turn is held by a
process, which says that it is alive; what the dead hold counts as written in the moment that this
is noticed. Here is who waits: the callers of one loop in line, one of each key asking again.
"""

from __future__ import annotations

import asyncio
import contextlib
import random as _random
import time
import uuid
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakKeyDictionary

from ..errors import UsageError
from ..fleet.boot_clock import check_clock
from ..fleet.budget import DAY_S, budget_spent, check_reserve
from ..fleet.job_thread import JobThread
from ..fleet.queue_options import check_functions, check_queue_options
from ..log import careful_logger
from ..protocol.wire import IDENTIFY_INTERVAL_S, IDENTIFY_PAD_S
from .server import Server, check_prefix, check_url

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..fleet.gateway_info import SessionStartLimit
    from ..health.figures import IdentifyBudget
    from ..shard.ports import IdentifyTurn

__all__ = ["RedisIdentifyQueue"]

log = careful_logger("fastgw.identify")

_KEYS = ["turn", "free", "log", "budget", "number"]
ALIVE_S = 10.0  # a process of which nothing is heard for so long holds no turn
# A shard holds its turn until READY or a failure, by its own deadlines at most 220 s.
MAX_HOLD_S = 300.0
LOOKS_AN_INTERVAL = 50
# Between two attempts while the server is away.
AGAIN_S = 1.0


class RedisIdentifyQueue:
    """
    The identify queue of all processes that name the same server: `Gateway(identify_queue=...)`.

    Args:
        url, prefix: as for `RedisSessionStore`; the keys do not collide with its.
        max_concurrency: how many keys there are; None for what the API says.
        interval_s: seconds between two identifies of one key, counted from the write.
        padding_s: (least, most) seconds drawn on top of it each time.
        reserve: nothing identifies when this many are left of the day's; None for 50, or 5 % where
            that is more.
        random: gives [0, 1).
    Raises:
        UsageError: no such URL, a number that cannot be, or redis-py is not installed.
    """

    def __init__(
        self,
        url: str,
        *,
        prefix: str = "fgw",
        max_concurrency: int | None = None,
        interval_s: float = IDENTIFY_INTERVAL_S,
        padding_s: tuple[float, float] = IDENTIFY_PAD_S,
        reserve: int | None = None,
        random: Callable[[], float] = _random.random,
    ) -> None:
        check_queue_options(max_concurrency, interval_s, padding_s)
        check_functions(random=random)
        self._url = check_url(url, "RedisIdentifyQueue")
        self._prefix = check_prefix(prefix)
        self._given_concurrency = max_concurrency
        self._max_concurrency = max_concurrency or 1  # as last seen
        self._interval_s, self._padding_s = interval_s, padding_s
        self._reserve = check_reserve(reserve)
        self._random = random
        self._me = uuid.uuid4().hex
        self._budget: IdentifyBudget | None = None
        self._desk: _Desk | None = None
        self._users = 0  # who waits, or holds
        self._lines: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[int, asyncio.Lock]] = (
            WeakKeyDictionary()
        )

    def __repr__(self) -> str:
        return f"<RedisIdentifyQueue {self._prefix!r}>"  # the URL has a password

    async def learn(
        self,
        limit: SessionStartLimit,
        *,
        asked_at: float,
        is_fresh: bool,
        bot_id: int | None = None,
    ) -> None:
        """
        Take the API's answer about the limit; see `IdentifyQueue.learn`.

        Raises:
            UsageError: the prefix is another bot's, or the server cannot be used now.
        """
        desk = self._begin()
        try:
            bot = "" if bot_id is None else str(bot_id)
            reset_ms = int(min(limit.reset_after_s, DAY_S) * 1000)

            def work() -> Any:
                age_ms = int((time.monotonic() - asked_at) * 1000)
                arguments: list[object] = [
                    bot, limit.max_concurrency, limit.total, limit.remaining, reset_ms, age_ms,
                    "1" if is_fresh else "",
                ]  # fmt: skip
                return desk.server.script("learn", ["budget", "log"], arguments)

            try:
                answer = await desk.thread.call(work)
            except UsageError:
                raise
            except Exception as error:
                raise UsageError(f"the identify queue cannot be reached: {error}") from error
            if answer[0] == "bot":
                raise UsageError(
                    f"{desk.server.shown} holds the identify turns of bot {answer[1]} under "
                    f"{desk.server.key('*')}, and this is bot {bot_id}: give each bot its own "
                    "prefix"
                )
            if self._given_concurrency is None:
                self._max_concurrency = max(1, limit.max_concurrency)
        finally:
            self._end()

    def budget(self) -> IdentifyBudget | None:
        """Return what is left of the day, as last seen; None before anything was asked."""
        return self._budget

    async def acquire(self, shard_id: int) -> IdentifyTurn:
        """
        Wait for the turn of `shard_id`; the caller must `release()` it.

        While the server is away this waits, and says so.

        Raises:
            IdentifyBudgetSpent: the day's identifies are used up but for the reserve.
            UsageError: the server cannot be used.
        """
        lines = self._lines.setdefault(asyncio.get_running_loop(), {})
        desk = self._begin()
        numbers: list[int] = []  # the thread may be about to give one
        try:
            async with lines.setdefault(shard_id % self._max_concurrency, asyncio.Lock()):
                is_told = False
                while True:
                    try:
                        answer = await desk.thread.call(
                            lambda: self._attempt(desk.server, shard_id, numbers)
                        )
                    except UsageError:
                        raise
                    except Exception as error:
                        if not is_told:
                            is_told = True
                            log.error("no identify turn (%s); asking again until it works", error)
                        await asyncio.sleep(AGAIN_S)
                        continue
                    self._look(answer)
                    if answer[0] == "given":
                        return _Turn(self, desk, numbers[0])
                    if answer[0] == "spent":
                        assert self._budget is not None
                        now = time.monotonic()
                        free_at = now if self._budget.free_at is None else self._budget.free_at
                        raise budget_spent(
                            self._budget, now=now, free_at=free_at, wall=check_clock(None).wall()
                        )
                    await asyncio.sleep(float(answer[1]) / 1000)
        except BaseException:
            desk.thread.post(lambda: self._give_back(desk.server, numbers), _told)
            self._end()
            raise

    # --- inside ----------------------------------------------------------------------------------

    def _spacing_ms(self) -> int:
        least, most = self._padding_s
        return int((self._interval_s + least + (most - least) * self._random()) * 1000) + 1

    def _attempt(self, server: Server, shard_id: int, numbers: list[int]) -> Any:
        """In the thread: be alive, and ask."""
        self._say_alive(server)
        answer = server.script(
            "attempt",
            _KEYS,
            [
                shard_id, self._me, self._given_concurrency or "", self._spacing_ms(),
                max(1, int(self._interval_s * 1000 / LOOKS_AN_INTERVAL)),
                "" if self._reserve is None else self._reserve,
                int(MAX_HOLD_S * 1000), server.key("holder:"),
            ],
        )  # fmt: skip
        if answer[0] == "given":
            numbers.append(int(answer[2]))
        return answer

    def _say_alive(self, server: Server) -> None:
        server.script("alive", [f"holder:{self._me}"], [int(ALIVE_S * 1000)])

    def _tell(self, server: Server, number: int, what: str) -> None:
        server.script("turn", _KEYS[:3], [self._me, number, what, self._spacing_ms()])

    def _give_back(self, server: Server, numbers: list[int]) -> None:
        for number in numbers:
            self._tell(server, number, "release")

    def _look(self, answer: list[Any]) -> None:
        """Keep what was seen."""
        from ..health.figures import IdentifyBudget

        _, _, _, keys, total, remaining, reserve, free_ms = answer
        self._max_concurrency = int(keys)
        free_at = time.monotonic() + float(free_ms) / 1000 if free_ms else None
        self._budget = IdentifyBudget(
            total=int(total), remaining=int(remaining), reserve=int(reserve), free_at=free_at
        )

    def _begin(self) -> _Desk:
        if self._desk is None:
            self._desk = desk = _Desk(JobThread("redis"), Server(self._url, self._prefix))

            def renew() -> None:
                with contextlib.suppress(Exception):  # the next attempt tells
                    self._say_alive(desk.server)

            desk.thread.every(ALIVE_S / 3, renew)
        self._users += 1
        return self._desk

    def _end(self) -> None:
        self._users -= 1
        if self._users == 0 and self._desk is not None:
            desk, self._desk = self._desk, None
            desk.thread.stop(desk.server.close)


class _Desk(NamedTuple):
    """Where turns are asked for, while somebody waits or holds."""

    thread: JobThread
    server: Server


class _Turn:
    __slots__ = ("_desk", "_is_released", "_is_written", "_number", "_queue")

    def __init__(self, queue: RedisIdentifyQueue, desk: _Desk, number: int) -> None:
        self._queue = queue
        self._desk = desk
        self._number = number
        self._is_released = self._is_written = False

    def written(self) -> None:
        if not self._is_released:
            self._is_written = True
            self._tell("written")

    def release(self) -> None:
        if not self._is_released:
            self._is_released = True
            self._tell("late" if self._is_written else "release")  # that of the write may be lost
            self._queue._end()

    def _tell(self, what: str) -> None:
        queue, server, number = self._queue, self._desk.server, self._number
        self._desk.thread.post(lambda: queue._tell(server, number, what), _told)


def _told(error: Exception) -> None:
    # It stays held until its process is gone or its time is over: later than need be, and safe.
    log.warning("an identify turn could not be given back (%s)", error)
