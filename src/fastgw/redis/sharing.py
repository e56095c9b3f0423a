"""
One member of those that share the shards of a bot out: it says that it lives, looks, and moves.

Theory. Twice a second a thread of its own asks one script, which renews the membership and returns
the table of members and leases, by the server's clock; so a member lives while a handler holds up
its loop. What to do with the table is `fair_share`'s; it is done in the loop, by `start_shard` and
`stop_shard`, so a shard that changes hands is stopped and stored here before its lease is given
back, and resumed there. Whether a lease can be had is the store's to say: no table is true for
long. Tables that are older than the last move are thrown away. A shard that the program itself
stopped is not taken here until the program starts it; it counts for this member's share meanwhile.

A member that cannot reach the server keeps its shards until their leases are over, when the fleet
puts them out (`fleet.fencing`); here they are then taken again like any others, by whose turn it
is. A server that lost its memory is noticed by whoever was told more than it knows; then nobody
takes anything for the time of a lease, in which those who have shards say so again.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from typing import TYPE_CHECKING, Any

from ..errors import UsageError
from ..fleet.stores.job_thread import JobThread
from ..fleet.stores.sqlite_store import process_name
from ..log import careful_logger
from ..protocol.states import State
from ..quoting import ranges
from .fair_share import Table, moves_of
from .outage import outage
from .server import Server, with_advice

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from ..gateway import Gateway

__all__ = ["Sharing"]

log = careful_logger("fastgw.sharing")

# A shard that was given up is taken at the next look; at 16 members a look costs the server nothing
# that can be measured.
LOOK_S = 0.5
# A member of which nothing is heard for this part of a lease is none, so that the others expect its
# shards when the leases are over.
MEMBER_PART = 0.5
# What the end waits for; the membership runs out by itself.
END_S = 5.0
_KEYS = ["member", "who", "lease", "owner", "quiet"]
# A shard on its way up would lose what that has cost, an IDENTIFY perhaps.
_MOVABLE = (State.READY, State.DISCONNECTED)


class Sharing:
    """
    A member.

    Args:
        gateway: made by a placement without shards, with a store whose leases are `me`'s.
        url, prefix, lease_s: see `RedisSessionStore`.
        me: who holds the leases of that store.
        shard_count: of the bot.
    Attributes:
        share: how many shards should be here; None before the first look that decides.
        members: how many there are.
        taken, handed_over: shards that came, and that were given up, since it joined.
        fenced: shards that were put out because their leases were over.
    """

    def __init__(
        self, gateway: Gateway, url: str, *, prefix: str, lease_s: float, me: str, shard_count: int
    ) -> None:
        self.share: int | None = None
        self.members = self.taken = self.handed_over = self.fenced = 0
        self._gateway = gateway
        self._server = Server(url, prefix)
        self._lease_s = lease_s
        self._me = me
        self._shard_count = shard_count
        self._look_s = min(LOOK_S, lease_s / 10)
        self._thread: JobThread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._moving: dict[int, asyncio.Task[None]] = {}
        self._starting: set[int] = set()  # of these, those on their way in
        self._giving: set[int] = set()  # it is not the program that stops these
        self._kept_out: set[int] = set()  # the program stopped them, and has not started them since
        self._moved_at = 0.0
        self._is_leaving = False
        self._trouble = outage(
            log,
            self._server.shown,
            what="nobody can say how shards are shared out",
            meanwhile="they stay as they are",
            again="shards are shared out",
        )
        self._told = 0  # the thread's: my deadline, in the server's ms
        self._running: set[int] = set()  # at the last look, without those given up since
        self._looked_at = 0.0  # when the newest table was asked for

    async def join(self) -> None:
        """
        Become a member; shards come from the second look on, when all that join at once are known.

        Raises:
            UsageError: the server cannot be used, or the bot runs with another number of shards.
        """
        self._loop = asyncio.get_running_loop()
        self._thread = JobThread("sharing")
        try:
            answer = await self._thread.call(self._ask)
            self._check_counts(answer[3])
        except BaseException as error:  # also when it is cancelled: a member that takes nothing
            await self.leave()
            if isinstance(error, UsageError) or not isinstance(error, Exception):
                raise
            raise UsageError(f"shards cannot be shared out: {with_advice(error)}") from error
        self._thread.every(self._look_s, self._look)

    async def leave(self) -> None:
        """Be no member any more, and hand all shards over; others take each when it is free."""
        thread, self._thread, self._is_leaving = self._thread, None, True
        if thread is None:
            return
        for shard_id in self._starting:
            self._moving[shard_id].cancel()
        thread.post(self._leave, lambda error: log.debug("not left: %s", error))
        await asyncio.gather(*self._moving.values(), return_exceptions=True)
        shards = [shard.id for shard in self._gateway.shards]
        if shards:
            log.info("shards %s are handed over", ranges(shards))
        try:
            await asyncio.gather(*(self._give(shard_id) for shard_id in shards))
        finally:  # whatever a store raised, or who was cancelled
            await thread.end(END_S, self._server.close)

    def stopped(self, shard_id: int) -> None:
        """The program stopped a shard: it is not taken here until the program starts it."""
        if shard_id not in self._giving:
            self._running.discard(shard_id)
            self._kept_out.add(shard_id)

    def figures(self) -> dict[str, float | int | None]:
        """Return how it is, for metrics; see the document of `metrics`."""
        return {
            "members": self.members,
            "share": self.share,
            "held": len(self._gateway.shards),
            "answer_age_s": time.monotonic() - self._looked_at if self._looked_at else None,
            "taken": self.taken,
            "handed_over": self.handed_over,
            "fenced": self.fenced,
        }

    # --- in the loop -----------------------------------------------------------------------------

    def _act(self, at: float, table: Table) -> None:
        """Do what the table of that moment says, unless it is old."""
        if self._is_leaving or at < max(self._moved_at, self._looked_at):
            return
        self._trouble.ended()
        self.members = len(table.members)
        for shard_id in self._starting:  # another one was faster: it need not be waited for
            if table.owners.get(shard_id, self._me) != self._me:
                self._moving[shard_id].cancel()
        here = {shard.id: shard for shard in self._gateway.shards}
        self._kept_out -= here.keys()
        self.fenced += len(self._running - here.keys())
        self._running = set(here)
        stopped = {i for i, shard in here.items() if shard.status is State.STOPPED}
        refused = {i for i in stopped if here[i].error is not None}
        moves = moves_of(
            table,
            self._me,
            running=(here.keys() - stopped) | refused | self._moving.keys() | self._kept_out,
            movable={i for i, shard in here.items() if shard.status in _MOVABLE}
            - self._moving.keys(),
        )
        self.share = moves.share
        if moves.give:
            log.info("shards %s are handed over, to share them out", ranges(moves.give))
        for shard_id in moves.give:
            self._move(shard_id, self._give(shard_id))
        for shard_id in moves.take:
            self._starting.add(shard_id)
            self._move(shard_id, self._take(shard_id))

    def _move(self, shard_id: int, work: Coroutine[Any, Any, None]) -> None:
        assert self._loop is not None
        task = self._loop.create_task(work, name=f"fastgw sharing {shard_id}")
        self._moving[shard_id] = task

        def moved(_: object) -> None:
            del self._moving[shard_id]
            self._starting.discard(shard_id)
            self._moved_at = time.monotonic()

        task.add_done_callback(moved)

    async def _give(self, shard_id: int) -> None:
        self._running.discard(shard_id)
        self.handed_over += 1
        self._giving.add(shard_id)
        try:
            await self._gateway.stop_shard(shard_id)
        except UsageError:
            pass  # it was put out at the same moment
        finally:
            self._giving.discard(shard_id)

    async def _take(self, shard_id: int) -> None:
        try:
            await self._gateway.start_shard(shard_id)
            self.taken += 1
        except UsageError as error:
            log.info("shard %d is not taken now: %s", shard_id, error)
        except Exception as error:
            log.error("shard %d could not be taken, it is tried again", shard_id, exc_info=error)

    def _failed(self, error: Exception) -> None:
        if not self._is_leaving:
            self._trouble.failed(error)

    def _check_counts(self, said: list[str | None]) -> None:
        """Refuse to share shards out with members that count them otherwise."""
        for one in said:
            who = json.loads(one or "{}")
            if who and who["count"] != str(self._shard_count):
                raise UsageError(
                    f"{who['name']} runs this bot with {who['count']} shards, and here are "
                    f"{self._shard_count}: give --shard-count {who['count']}, or stop all and "
                    "start with the new number"
                )

    # --- in the thread ---------------------------------------------------------------------------

    def _ask(self) -> list[Any]:
        """Say that this member lives; return what the server answers."""
        member_ms, lease_ms = int(MEMBER_PART * self._lease_s * 1000), int(self._lease_s * 1000)
        who = json.dumps({"count": str(self._shard_count), "name": process_name()})
        arguments: list[object] = [self._me, member_ms, lease_ms, self._told, who]
        answer: list[Any] = self._server.script("share", _KEYS, arguments)
        self._told = int(answer[0])
        return answer

    def _look(self) -> None:
        # Who has departed would join again, as one whose membership the server has lost: nobody
        # would take anything for a lease, and some of it would wait for a member that is none.
        if self._is_leaving:
            return
        at = time.monotonic()
        try:
            _, quiet_ms, members, _, leased, pairs = self._ask()
            owner = dict(zip(pairs[::2], pairs[1::2], strict=True))
            owners = {int(shard): owner[shard] for shard in leased if shard in owner}
            table = Table(frozenset(members), owners, self._shard_count, is_quiet=int(quiet_ms) > 0)
        except Exception as error:  # also what the server says that nobody can read: it looks on
            told = error  # its own name ends with this block
            self._call(lambda: self._failed(told))
            return
        self._looked_at = at
        self._call(lambda: self._act(at, table))

    def _leave(self) -> None:
        self._server.script("depart", ["member"], [self._me])

    def _call(self, work: Callable[[], None]) -> None:
        assert self._loop is not None
        with contextlib.suppress(RuntimeError):  # the loop has ended, and so does the process
            self._loop.call_soon_threadsafe(work)
