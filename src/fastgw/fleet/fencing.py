"""
Shards whose lease is over: put out before anybody else may own them, taken again when that works.

Theory. A store that several machines share gives a shard on lease. Who cannot renew it must end
before it runs out: by a clock of this machine that no one sets, counted from before the last
renewal was sent. The connection is closed so that its session stays, no event of it is handed out
any more, and nothing of it is stored. The shard then waits until it can be taken again, from
wherever its session is by then, unless its program does not want it back. One that was refused for
good stays where it is.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from ..errors import ShardNotHere
from ..log import careful_logger
from ..quoting import ranges
from .roster import Membership

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from .roster import Roster
    from .stores.sessions import SessionWriter

__all__ = ["Fencing"]

log = careful_logger("fastgw.store")

# Between two attempts to take a shard again, seconds; the store waits for a lease of its own.
AGAIN_S = 1.0


class Fencing:
    """
    Looks after the leases of one fleet.

    Args:
        roster: of the fleet.
        put_out, start: take one shard out of it, with whether it comes back, and in.
    """

    def __init__(
        self,
        roster: Roster,
        put_out: Callable[[int, bool], Awaitable[object]],
        start: Callable[[int], Awaitable[object]],
    ) -> None:
        self._roster = roster
        self._put_out = put_out
        self._start = start
        self._takes_again = True
        self._is_stopped = False
        self._sessions: SessionWriter | None = None  # if its store knows leases
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: dict[int, asyncio.Task[None]] = {}  # by shard, the last one

    def begin(self, sessions: SessionWriter, *, takes_again: bool) -> None:
        """
        Look from now on, if the store knows leases.

        Args:
            takes_again: what was put out; else somebody else says where it runs next.
        """
        self._takes_again = takes_again
        self._sessions = sessions if sessions.look_s is not None else None
        if (look_s := sessions.look_s) is not None:
            self._look(sessions, look_s)

    def stop(self) -> None:
        """
        Put out nothing and take nothing again: who stops all shards asks the roster whose they are.

        A process that was frozen may end before it looked: it looks once more.
        """
        self._is_stopped = True
        if self._timer is not None:
            self._timer.cancel()
        for task in self._tasks.values():
            task.cancel()
        if self._sessions is not None:
            self._fence(self._sessions)

    def may_speak(self, shard_id: int) -> bool:
        """
        Tell whether a shard may write: nobody else can own it by now.

        A process that was frozen writes a heartbeat, or answers one, before it looks at its timers.
        """
        if (sessions := self._sessions) is None:
            return True
        self._fence(sessions)
        return self._roster.is_ours(shard_id)

    async def gives_up(self, shard_id: int) -> bool:
        """
        Take a shard no more that was put out, or is being; tell whether that is its end here.

        Returns when its socket is gone, and nothing asks for it any more.
        """
        if not self._roster.stays_out(shard_id):
            return False
        if (task := self._tasks.get(shard_id)) is not None:
            if self._roster.state(shard_id) is not Membership.LEAVING:
                task.cancel()
            await asyncio.wait((task,))
        return self._roster.state(shard_id) is None

    def _look(self, sessions: SessionWriter, look_s: float) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(look_s, self._look, sessions, look_s)
        self._fence(sessions)

    def _fence(self, sessions: SessionWriter) -> None:
        """Begin to put out the shards whose leases are over, if there are any."""
        if not (expired := sessions.expired()):
            return
        self._roster.leases_ended(expired)
        if not (expired := [i for i in expired if not self._roster.was_refused(i)]):
            return
        if self._is_stopped:
            log.error("the lease of shards %s is over: their sessions stay", ranges(expired))
            return
        log.error(
            "the lease of shards %s is over: they are disconnected, their sessions stay, and they "
            "are taken again as soon as the store gives them",
            ranges(expired),
        )
        for shard_id in expired:
            out = self._out_and_in(shard_id)
            task = asyncio.get_running_loop().create_task(out, name=f"fastgw fence {shard_id}")
            self._tasks[shard_id] = task
            task.add_done_callback(partial(self._done, shard_id))

    def _done(self, shard_id: int, task: asyncio.Task[None]) -> None:
        if self._tasks.get(shard_id) is task:
            del self._tasks[shard_id]

    async def _out_and_in(self, shard_id: int) -> None:
        try:
            await self._put_out(shard_id, self._takes_again)
        except ShardNotHere:
            return  # its program stopped it at the same time
        except Exception as raised:
            log.error("shard %d was not put out as it should be", shard_id, exc_info=raised)
        if not self._takes_again:
            return
        is_told = False
        while self._is_away(shard_id) and (error := await self._try(shard_id)) is not None:
            if not is_told:
                is_told = True
                log.warning("shard %d is not taken again yet: %s", shard_id, error)
            await asyncio.sleep(AGAIN_S)

    def _is_away(self, shard_id: int) -> bool:
        """Tell whether it is to be taken again; the program may be about to, and that may fail."""
        return self._roster.state(shard_id) in (Membership.AWAY, Membership.STARTING)

    async def _try(self, shard_id: int) -> Exception | None:
        """Take a shard; return why that cannot be now, also what a store of the user's raised."""
        try:
            await self._start(shard_id)
        except Exception as error:
            return error
        log.warning("shard %d is taken again", shard_id)
        return None
