"""
Sessions in Redis: they survive deploys and `kill -9`, for all processes of all machines.

Theory. What shall be stored is written behind (`fleet.stores.write_behind`), all of it in one
script. Who runs a shard holds a lease on it, by the server's clock, and every write renews it: a
process that is gone is followed by another one as soon as its leases have run out. Whoever holds
one counts it as over a fifth earlier (`expired`): from before the renewal was sent, by the boot
clock, which goes on while the process or the machine sleeps and which nobody sets.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import time
import uuid
from typing import TYPE_CHECKING, Any

from ..errors import UsageError
from ..fleet.ports import StoredSession, at_sequence, check_acknowledge
from ..fleet.stores.boot_clock import BootClock, check_clock
from ..fleet.stores.bot_binding import BotBinding
from ..fleet.stores.job_thread import JobThread
from ..fleet.stores.sqlite_store import process_name
from ..fleet.stores.write_behind import Changes, WriteBehind
from ..log import careful_logger
from ..protocol.session import Session
from .outage import outage
from .server import (
    CONNECT_S,
    Server,
    check_lease,
    check_prefix,
    check_url,
    reaching,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from ..fleet.ports import Acknowledge

__all__ = ["RedisSessionStore"]

log = careful_logger("fastgw.store")

LEASE_S = 10.0
# A process that is slow, or a server that is away for a moment, loses nothing.
RENEWALS_A_LEASE = 3
# The holder's lease is over this much of it earlier, and is looked at several times in that span.
MARGIN = 0.2
LOOKS_A_LEASE = 20
# How long a close, or giving up a shard, waits for the server.
CLOSE_S = 3.0
_TAKE = ["lease", "owner", "who", "session", "seq", "seen"]
_WRITE = ["lease", "owner", "session", "seq", "seen", "bot"]


class RedisSessionStore:
    """
    Keeps the sessions of one bot in Redis, for all its processes: `Gateway(store=...)`.

    A process that ends gives its shards back. One that was killed is waited for: its shards are
    free when its leases have run out.

    Args:
        url: `redis://user:password@host:6379/0`, `rediss://` for TLS, `unix:///path`, or
            `redis+sentinel://host:26379,host2:26379/mymaster/0`. One server of 7.0 or newer, Redis
            or Valkey.
        prefix: of all keys; each bot has its own.
        acknowledge: "received" keeps the sequence of the last event that came; "handled" the one
            up to which every event is handled, so that after a crash the rest comes again.
        lease_s: how long a shard stays with a process of which nothing is heard. That process
            disconnects it before; see docs/scaling-out.md.
        owner: who has the leases, where somebody else must know it; None for whoever opens it.
        clock: the clocks of the machine; others are for tests.
    Raises:
        UsageError: no such URL, or redis-py is not installed.
    """

    def __init__(
        self,
        url: str,
        *,
        prefix: str = "fgw",
        acknowledge: Acknowledge = "received",
        lease_s: float = LEASE_S,
        owner: str | None = None,
        clock: BootClock | None = None,
    ) -> None:
        self._clock = check_clock(clock)
        self._url = check_url(url, "RedisSessionStore")
        self._prefix = check_prefix(prefix)
        self._acknowledge = check_acknowledge(acknowledge)
        self._lease_s = check_lease(lease_s)
        self._owner = owner

    def __repr__(self) -> str:
        return f"<RedisSessionStore {self._prefix!r}>"  # the URL has a password

    @property
    def is_durable(self) -> bool:
        """True: what is stored outlives the process."""
        return True

    @property
    def acknowledge(self) -> Acknowledge:
        """Which sequence is stored."""
        return self._acknowledge

    async def open(self, bot_id: int | None) -> OpenRedisStore:
        """
        Begin to use it.

        Args:
            bot_id: the bot's user id, None when it is not known yet.
        Raises:
            UsageError: the server cannot be reached or used, or the prefix is another bot's.
        """
        opened = OpenRedisStore(
            Server(self._url, self._prefix), self._lease_s, self._clock, self._owner
        )
        try:
            await opened.begin(bot_id)
        except BaseException:
            await opened.close()
            raise
        return opened


class OpenRedisStore:
    """The store as one fleet has it open. Call it in the thread of the loop that opened it."""

    def __init__(
        self, server: Server, lease_s: float, clock: BootClock, owner: str | None = None
    ) -> None:
        self._server = server
        self._thread = JobThread("redis")
        self._clock = clock
        self._lease_s = lease_s
        self._me = owner or uuid.uuid4().hex
        self._is_closed = False
        self._bot = BotBinding(self._other_bot)
        self._trouble = outage(
            log,
            server.shown,
            what="the session store cannot be used",
            meanwhile="sessions are kept in memory",
            again="sessions are stored",
        )
        self._rows = WriteBehind(self._thread, self._write, self._trouble)
        self._guard = threading.Lock()  # of what follows, which the thread takes
        self._mine: set[int] = set()
        self._over_at: dict[int, float] = {}  # of mine: when I count the lease as over
        self._lost: set[int] = set()  # others own them, and nobody was told yet

    @property
    def is_durable(self) -> bool:
        """
        True, also while the server is away: it has the sessions that it had.

        A deploy then must not end them with 1000; a new one that was never sent is lost either way.
        """
        return True

    async def begin(self, bot_id: int | None) -> None:
        """Reach the server; see `RedisSessionStore.open`."""
        with reaching("the session store"):
            bound = await self._thread.call(self._read_bot)
        self._bot.opened(bound, bot_id)
        self._thread.every(self._lease_s / RENEWALS_A_LEASE, self._renew)

    async def take(self, shard_ids: Collection[int], shard_count: int) -> dict[int, StoredSession]:
        """
        Become the only one who runs these shards; return what is stored of them.

        Whoever has a lease on one of them is waited for until it would have run out.

        Raises:
            UsageError: somebody else goes on running one of them, or runs others with another shard
                count; or the server cannot be reached.
        """
        asked = list(shard_ids)
        arguments: list[object] = [
            self._me, int(self._lease_s * 1000), shard_count, process_name(), *asked,
        ]  # fmt: skip
        end, is_told = time.monotonic() + self._lease_s, False
        while True:
            if self._is_closed:
                raise UsageError("the session store is closed")
            is_last = time.monotonic() >= end  # before it asks: the answer may come late
            try:
                with reaching("the session store"):
                    answer, over_at = await self._thread.call(lambda: self._ask(arguments))
            except asyncio.CancelledError:  # it is asked all the same
                self._thread.post(lambda: self._give_unless_mine(asked), lambda error: None)
                raise
            if answer[0] == "taken":
                break
            if is_last:
                raise UsageError(self._refusal(answer, shard_count))
            if not is_told:
                is_told = True
                log.info(
                    "shard %s is run by %s; waiting up to %.1f s whether that is gone",
                    answer[1], answer[2], self._lease_s,
                )  # fmt: skip
            await asyncio.sleep(min(float(answer[4]) / 1000, self._lease_s / 10) + 0.01)
        if self._is_closed:  # while it was asked, and gave back what was its own by then
            self._thread.post(lambda: self._give(asked), lambda error: None)
            raise UsageError("the session store is closed")
        with self._guard:
            self._mine.update(asked)
            self._lost.difference_update(asked)
            self._over_at.update(dict.fromkeys(asked, over_at))
        found = {}
        for shard_id, *parts in zip(asked, answer[1::3], answer[2::3], answer[3::3], strict=True):
            stored = self._read(shard_id, *parts)
            if stored is not None and stored.session.shard_count == shard_count:
                found[shard_id] = stored
        for shard_id in asked:
            self._reunite(shard_id, shard_count, found)
        self._rows.keep(found)
        return found

    @property
    def look_s(self) -> float:
        """Seconds between two looks at `expired`."""
        return self._lease_s / LOOKS_A_LEASE

    def expired(self) -> set[int]:
        """Return the shards whose lease is over, once; from then on nothing is stored of them."""
        now = self._clock.boot()
        with self._guard:
            over = {shard_id for shard_id in self._mine if self._over_at[shard_id] <= now}
            self._drop_leases(over)
            over |= self._lost
            self._lost = set()
        return over

    def save(self, stored: StoredSession) -> None:
        """
        Store a new session of a shard that was taken; it is sent at once, in the thread.

        Raises:
            UsageError: the prefix is another bot's; nothing of this one may be stored there.
        """
        self._bot.ready(stored.bot_id)
        if stored.session.shard_id in self._mine:
            self._rows.put({stored.session.shard_id: stored}, are_new=True)

    def save_sequences(self, sequences: Mapping[int, int]) -> None:
        """Note that these sessions are alive, and how far they are; a lower one is not taken."""
        self._rows.put(
            {
                shard_id: at_sequence(stored, sequences[shard_id])
                for shard_id in sequences.keys() & self._mine
                if (stored := self._rows.get(shard_id)) is not None
            }
        )

    def forget(self, shard_id: int) -> None:
        """Remove a session that is over; while it may be another bot's, it stays stored."""
        if shard_id not in self._mine:
            return  # its lease is over: the session goes on, here or elsewhere
        if self._bot.is_ours:
            self._rows.drop(shard_id)
        else:
            self._rows.leave((shard_id,))

    async def release(self, shard_ids: Collection[int]) -> None:
        """
        Send what is not stored yet, then let others run these shards; waits CLOSE_S at most.

        A server that does not answer by then hears of it when it does, or the leases run out.
        """
        if not self._is_closed:  # else close() gives them back with all others
            await self._within_bounds(self._thread.call(lambda: self._hand_over(shard_ids)))

    async def close(self) -> None:
        """
        Send what is not stored yet, and give all shards back; waits CLOSE_S at most.

        A server that does not answer by then never hears of it: the leases run out. The thread ends
        in any case, CONNECT_S later where TCP hangs.
        """
        if self._is_closed:
            return
        self._is_closed = True
        is_done = False
        try:
            is_done = await self._within_bounds(self._thread.call(self._hand_over))
        finally:
            if not is_done:
                self._server.abandon()
            await self._thread.end(CONNECT_S, self._server.close)

    # --- inside ----------------------------------------------------------------------------------

    def _ask(self, arguments: list[object]) -> tuple[list[Any], float]:
        """Ask for shards, in the thread; return when I count them as over, too."""
        over_at = self._over_from_now()
        return self._server.script("take", _TAKE, arguments), over_at

    def _over_from_now(self) -> float:
        """Return when a lease is over whose renewal is sent now: by then nobody else has it."""
        return self._clock.boot() + (1.0 - MARGIN) * self._lease_s

    def _drop_leases(self, shard_ids: set[int]) -> None:
        """Renew and store nothing of these any more; under the guard. Their rows stay."""
        self._mine -= shard_ids
        self._rows.leave(shard_ids, keeps_rows=True)

    def _reunite(self, shard_id: int, shard_count: int, found: dict[int, StoredSession]) -> None:
        """Take what this process knows of a shard it had before, where the server knows less."""
        known, stored = self._rows.get(shard_id), found.get(shard_id)
        self._rows.leave((shard_id,))
        if known is None or known.session.shard_count != shard_count:
            return
        if stored is None or (
            stored.session.session_id == known.session.session_id
            and stored.session.sequence < known.session.sequence
        ):
            found[shard_id] = known
            self._rows.put({shard_id: known}, are_new=True)

    async def _within_bounds(self, work: asyncio.Future[None]) -> bool:
        done, _ = await asyncio.wait((work,), timeout=CLOSE_S)
        return bool(done)

    def _hand_over(self, shard_ids: Collection[int] | None = None) -> None:
        """Send what is not stored yet, and give these back, or all; in the thread."""
        self._rows.catch_up()
        with self._guard:
            given = self._mine.intersection(self._mine if shard_ids is None else shard_ids)
            self._drop_leases(given)
        if given:
            with contextlib.suppress(Exception):  # told already; the lease runs out by itself
                self._give(given)
        self._rows.leave(given if shard_ids is None else shard_ids)

    def _give(self, shard_ids: Collection[int]) -> None:
        """Let others run these, if they are mine; in the thread."""
        self._server.script("give", ["lease", "owner"], [self._me, *shard_ids])

    def _give_unless_mine(self, shard_ids: Collection[int]) -> None:
        """Let others run these, but those that run here, as nobody waits for an answer any more."""
        with self._guard:
            given = set(shard_ids) - self._mine
        self._give(given)

    def _renew(self) -> None:
        """Keep the leases; in the thread."""
        with self._guard:
            if not self._mine:
                return
        self._rows.attempt()

    def _write(self, changes: Changes[StoredSession]) -> None:
        """Send what is to be stored, and renew the leases; in the thread."""
        with self._guard:
            mine = sorted(self._mine)  # what was lost since the changes were taken is not sent
        bot = "" if self._bot.bot_id is None else str(self._bot.bot_id)
        over_at = self._over_from_now()
        arguments: list[object] = [self._me, int(self._lease_s * 1000), bot, len(mine), *mine]
        for shard_id in mine:
            if (stored := changes.rows.get(shard_id)) is not None:
                text = _encoded(stored) if shard_id in changes.new else ""
                arguments += [shard_id, "seq", text, stored.session.sequence]
            elif shard_id in changes.removed:
                arguments += [shard_id, "over", "", 0]
        answer = self._server.script("write", _WRITE, arguments)
        if answer[0] == "bot":
            raise UsageError(self._other_bot(int(answer[1]), self._bot.bot_id or 0))
        lost, anew = ({int(shard_id) for shard_id in part} for part in answer[1:])
        with self._guard:
            self._over_at.update(dict.fromkeys(self._mine.intersection(mine) - lost, over_at))
            self._lost |= lost & self._mine
            self._drop_leases(lost)
        self._rows.renew(anew)  # a server that begins empty
        if lost:
            log.error("shards %s are another process's now", sorted(lost))

    def _read_bot(self) -> int | None:
        bound = self._server.script("bot", ["bot"], [])
        return None if bound is None else int(bound)

    def _read(self, shard_id: int, text: str, sequence: str, age_ms: str) -> StoredSession | None:
        if not text or not sequence:
            return None
        try:
            kept: dict[str, Any] = json.loads(text)
            session = Session(
                kept["session_id"], int(sequence), kept["resume_url"], shard_id, kept["shard_count"]
            )
            terms = kept["terms"]
        except (ValueError, KeyError, TypeError):
            log.warning("shard %d: what is stored is no session; it begins a new one", shard_id)
            return None
        age_s = max(0.0, float(age_ms) / 1000) if age_ms else None
        return StoredSession(session=session, terms=terms, bot_id=self._bot.bot_id, age_s=age_s)

    def _refusal(self, answer: list[Any], shard_count: int) -> str:
        kind, shard_id, name, count = answer[:4]
        if kind == "count":
            return (
                f"{name} runs shard {shard_id} of {count}, and here are {shard_count} shards: one "
                f"bot has one shard count in a store"
            )
        return (
            f"shard {shard_id} is run by {name} already: stop that one, or give this one shards or "
            f"a prefix of its own"
        )

    def _other_bot(self, bound: int, bot_id: int) -> str:
        return (
            f"{self._server.shown} holds the sessions of bot {bound} under "
            f"{self._server.key('*')}, and this is bot {bot_id}: give each bot its own prefix"
        )


def _encoded(stored: StoredSession) -> str:
    session = stored.session
    return json.dumps(
        {
            "session_id": session.session_id,
            "resume_url": session.resume_url,
            "shard_count": session.shard_count,
            "terms": stored.terms,
        }
    )
