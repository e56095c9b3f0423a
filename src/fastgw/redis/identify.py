"""
The identify queue of all processes of all machines: turns and the day's budget in Redis.

Theory. What is decided stands in `attempt.lua`, in one step and by the server's clock; who waits
stands in `fleet.turns.turn_lines`. A turn is held by an attempt of a process. The process says that
it is alive, and which of its attempts wait or hold. What the dead hold, and what is held for an
attempt that is over (the server heard too late that it began, or never that it ended), counts as
written in the moment that this is noticed. An attempt that asks again, because no answer came, gets
the turn that it has.
"""

from __future__ import annotations

import contextlib
import random as _random
import time
import uuid
from typing import TYPE_CHECKING, Any

from ..errors import UsageError
from ..fleet.stores.boot_clock import wall_seconds
from ..fleet.stores.job_thread import JobThread
from ..fleet.turns.budget import DAY_S, check_budget
from ..fleet.turns.queue_options import check_rules
from ..fleet.turns.turn_lines import LastSeen, TurnLines
from ..health.figures import IdentifyBudget
from ..log import careful_logger
from ..protocol.wire import IDENTIFY_INTERVAL_S, IDENTIFY_PAD_S
from .outage import outage
from .server import Server, check_prefix, check_url, reaching

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..fleet.http.gateway_info import SessionStartLimit
    from ..fleet.turns.queue_options import TurnRules
    from ..fleet.turns.turn_lines import Attempt
    from ..shard.ports import IdentifyTurn

__all__ = ["RedisIdentifyQueue"]

log = careful_logger("fastgw.identify")

_TURNS = ["turn", "free", "log"]
ALIVE_S = 10.0  # a process of which nothing is heard for so long holds no turn
# A shard holds its turn until READY or a failure, by its own deadlines at most 220 s.
MAX_HOLD_S = 300.0
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
        self._rules = check_rules(max_concurrency, interval_s, padding_s, reserve, random)
        self._url = check_url(url, "RedisIdentifyQueue")
        self._prefix = check_prefix(prefix)
        self._seen = LastSeen(max_concurrency or 1)
        self._lines = TurnLines(self._open_desk, self._seen)

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
        Take the API's answer about the limit; see `IdentifyQueue.learn`. From any thread.

        Raises:
            UsageError: the prefix is another bot's, or the server cannot be used now.
        """
        with self._lines.at_desk() as desk, reaching("the identify queue"):
            await desk.learn(limit, asked_at=asked_at, is_fresh=is_fresh, bot_id=bot_id)
        if self._rules.max_concurrency is None:
            self._seen.max_concurrency = max(1, limit.max_concurrency)

    def budget(self) -> IdentifyBudget | None:
        """Return what is left of the day, as last seen, or None; from any thread."""
        return self._seen.budget

    async def acquire(self, shard_id: int) -> IdentifyTurn:
        """
        Wait for the turn of `shard_id`; the caller must `release()` it. From any thread.

        While the server is away this waits, and says so.

        Raises:
            IdentifyBudgetSpent: the day's identifies are used up but for the reserve.
            UsageError: the server cannot be used.
        """
        return await self._lines.acquire(shard_id)

    def _open_desk(self, last: RedisDesk | None) -> RedisDesk:
        return RedisDesk(Server(self._url, self._prefix), self._rules, self._seen, after=last)


class RedisDesk:
    """
    The scripts in a server: the `Desk` of a queue's lines.

    Args:
        server: of this desk alone.
        rules: as the queue was told.
        seen: is told what the server says.
        after: the one before, which may still have to say that its last turn is over.
    """

    def __init__(
        self,
        server: Server,
        rules: TurnRules,
        seen: LastSeen,
        *,
        after: RedisDesk | None = None,
    ) -> None:
        self._server = server
        self._rules = rules
        self._seen = seen
        self._me = uuid.uuid4().hex
        self._trouble = outage(
            log,
            server.shown,
            what="no identify turn can be had",
            meanwhile="shards that must identify wait",
            again="identify turns are given",
        )
        self._last = 0  # the thread's: number of an attempt
        self._live: set[int] = set()  # and of those that wait or hold
        before = None if after is None else after._thread
        self._thread: JobThread = JobThread("redis", after=before)
        self._thread.every(ALIVE_S / 3, self._renew)

    # --- on the loop -----------------------------------------------------------------------------

    async def learn(
        self, limit: SessionStartLimit, *, asked_at: float, is_fresh: bool, bot_id: int | None
    ) -> None:
        """Take an answer of the API; raise what the server says."""
        bot = "" if bot_id is None else str(bot_id)
        reset_ms = int(min(limit.reset_after_s, DAY_S) * 1000)

        def work() -> Any:
            age_ms = int((time.monotonic() - asked_at) * 1000)
            arguments: list[object] = [
                bot, limit.max_concurrency, limit.total, limit.remaining, reset_ms, age_ms,
                "1" if is_fresh else "",
            ]  # fmt: skip
            return self._server.script("learn", ["budget", "log"], arguments)

        answer = await self._thread.call(work)
        if answer[0] == "bot":
            raise UsageError(
                f"{self._server.shown} holds the identify turns of bot {answer[1]} under "
                f"{self._server.key('*')}, and this is bot {bot_id}: give each bot its own prefix"
            )

    async def ask(self, attempt: Attempt) -> float | None:
        """Give it a turn if there is one; see `Desk.ask`. While the server is away, says so."""
        try:
            answer = await self._thread.call(lambda: self._attempt(attempt))
        except UsageError:
            raise
        except Exception as error:
            self._trouble.failed(error)
            return AGAIN_S
        self._trouble.ended()
        what, wait_ms, keys, total, remaining, reserve, free_ms = answer
        now = time.monotonic()
        budget = IdentifyBudget(
            total=int(total), remaining=int(remaining), reserve=int(reserve),
            free_at=now + float(free_ms) / 1000 if free_ms else None, seen_at=now,
        )  # fmt: skip
        self._seen.max_concurrency, self._seen.budget = int(keys), budget
        if what == "spent":
            check_budget(budget, now=now, wall=wall_seconds())
        return None if what == "given" else float(wait_ms) / 1000

    def take_back(self, attempt: Attempt) -> None:
        """Nobody waits any more; should there be a turn by now, it is free again."""
        self._post(attempt, "release")

    def written(self, attempt: Attempt) -> None:
        """IDENTIFY is being written now."""
        self._post(attempt, "written")

    def released(self, attempt: Attempt, *, is_written: bool) -> None:
        """The turn is over; the word of its write may be lost, so it is said again."""
        self._post(attempt, "late" if is_written else "release")

    def close(self) -> None:
        """End it after all that it was told."""
        self._thread.stop(self._server.close)

    # --- in the thread ---------------------------------------------------------------------------

    def _attempt(self, attempt: Attempt) -> Any:
        if attempt.number is None:
            self._last += 1
            attempt.number = self._last
            self._live.add(attempt.number)
        rules = self._rules
        return self._server.script(
            "attempt",
            [*_TURNS, "budget", f"holder:{self._me}"],
            [
                attempt.shard_id, self._me, attempt.number, rules.max_concurrency or "",
                self._spacing_ms(), max(1, int(rules.look_s * 1000)),
                "" if rules.reserve is None else rules.reserve,
                int(MAX_HOLD_S * 1000), int(ALIVE_S * 1000), self._server.key("holder:"),
            ],
        )  # fmt: skip

    def _post(self, attempt: Attempt, what: str) -> None:
        def work() -> None:
            if attempt.number is None:
                return  # it never asked
            if what != "written":
                self._live.discard(attempt.number)
            arguments: list[object] = [self._me, attempt.number, what, self._spacing_ms()]
            self._server.script("turn", _TURNS, arguments)

        self._thread.post(work, _told)

    def _renew(self) -> None:
        """Be alive; whatever turn is held here and nobody knows of is over."""
        with contextlib.suppress(Exception):  # the next attempt tells
            self._server.script(
                "alive",
                [*_TURNS, f"holder:{self._me}"],
                [self._me, int(ALIVE_S * 1000), self._spacing_ms(), self._last, *self._live],
            )

    def _spacing_ms(self) -> int:
        return int(self._rules.spacing_s() * 1000) + 1


def _told(error: Exception) -> None:
    # The next sign of life takes it back: later than need be, and safe.
    log.warning("an identify turn could not be given back yet (%s)", error)
