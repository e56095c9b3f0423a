"""
Members of a guild, asked for with op 8: `await gateway.request_members(guild_id)`.

Theory. A request is under way from its first step to its last, by a nonce of ours. It waits for its
turn (`member_turns`), then for the send queue of its shard, then for chunks, which one subscription
of all requests serves by nonce where they are received. A chunk that nobody has taken yet is open
in its shard's ledger, as an event in an iterator is; who waits for the next one is a waiter like
any other, so that reading goes on for it up to the second mark.

A request ends with its last chunk, with an error, or where its task leaves it, and leaves nothing
behind in any of these cases. A RESUME does not touch it, because missed chunks are replayed; a
request that was written and is still unanswered then may have been lost on the way, and is
written once more when the time for an answer is over. A new session knows nothing of it: it fails.
"""

from __future__ import annotations

import asyncio
import math
import os
import time
from collections import deque
from contextlib import aclosing, suppress
from itertools import count
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from ..._decode import Event, Fields
from ...delivery.ledger import Delivery
from ...delivery.subscription import Rank, Subscription
from ...errors import MembersRateLimited, ProtocolError, SessionLost, UsageError
from ...protocol.states import State
from ...protocol.wire import Opcode, encode_command
from ...quoting import quote
from .member_turns import INTERVAL_S, PADDING_S, MemberTurns

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator

    from ...delivery.handlers import Handlers
    from ...delivery.pressure import Pressure
    from ...home import Home
    from ...shard.face import Shard, StatusChange
    from ...words import Intents
    from .chunk import MembersChunk

__all__ = ["MemberQuery", "MemberRequest", "MemberRequests"]

_CHUNK = Fields("nonce", "chunk_index", "chunk_count")
_LIMIT = Fields("opcode", "retry_after", "meta.nonce", "meta.guild_id")
# What says otherwise is no instruction: Discord's limit is 30 s.
_MAX_RETRY_AFTER_S = 3600.0


class MemberQuery(NamedTuple):
    """
    What is asked for, checked already.

    Attributes:
        data: the `d` of op 8, without a nonce.
        timeout_s: seconds without a chunk; None waits for ever.
        waits: for a rate limit to pass; False raises it.
    """

    guild_id: int
    shard_id: int
    data: dict[str, Any]
    timeout_s: float | None
    waits: bool

    @property
    def is_all(self) -> bool:
        """Whether it is for all members, of which the 30-second rule speaks."""
        return self.data.get("query") == "" and not self.data.get("limit")


class Chunks(Protocol):
    """What answers a query."""

    def chunks(self, query: MemberQuery) -> AsyncGenerator[MembersChunk, None]:
        """Ask, and yield what comes."""


class MemberRequest:
    """
    A request of members, made by `gateway.request_members(...)`, to be used once:

        members = await gateway.request_members(guild_id)

        async for chunk in gateway.request_members(guild_id):
            store(chunk.members)

    Nothing is sent before that. The iterator takes chunks as they come, and asks the service for
    no more than the program takes; leaving it, or cancelling its task, ends the request.

    Raises, both ways:
        asyncio.TimeoutError: no chunk came in time (TimeoutError from Python 3.11 on).
        SessionLost: the session ended, or the shard stopped, before all had come.
        MembersRateLimited: if `on_rate_limit` says so.
        ShardNotHere, SendQueueFull: it could not be sent.
        WaitFailed: reading stopped because too much waits for handlers, or the gateway was closed.
    """

    __slots__ = ("_home", "_query", "_requests")

    def __init__(self, requests: Chunks, query: MemberQuery, home: Home) -> None:
        self._home = home
        self._requests: Chunks | None = requests
        self._query = query

    def __repr__(self) -> str:
        return f"<MemberRequest guild {self._query.guild_id}>"

    def __await__(self) -> Generator[Any, None, list[dict[str, Any]]]:
        return self._gather(self._begun()).__await__()

    def __aiter__(self) -> AsyncIterator[MembersChunk]:
        return self._begun()

    def _begun(self) -> AsyncGenerator[MembersChunk, None]:
        self._home.check_loop("request_members")
        requests, self._requests = self._requests, None
        if requests is None:
            raise UsageError("a request of members is used once; call request_members() again")
        return requests.chunks(self._query)

    @staticmethod
    async def _gather(chunks: AsyncGenerator[MembersChunk, None]) -> list[dict[str, Any]]:
        members: list[dict[str, Any]] = []
        async with aclosing(chunks):  # an error of a chunk would hold it, and let it go on filling
            async for chunk in chunks:
                members += chunk.members
        return members


class _Pending:
    """
    A request under way.

    Attributes:
        name: what it is called in logs.
        waiting: chunks that came and were not taken yet.
        seen: the indexes of those that came.
        total: how many there are, once one has come.
        since: when something of it happened last, in monotonic seconds.
        is_written: the service may know of it.
        may_be_lost: it was written on a connection that ended before anything came.
        retry_after_s: the service refused it for so long.
        error: why it failed.
    """

    __slots__ = (
        "_in_hand", "_pressure", "_wakeup", "error", "is_written", "may_be_lost", "nonce", "query",
        "retry_after_s", "seen", "since", "total", "waiting",
    )  # fmt: skip

    def __init__(self, query: MemberQuery, nonce: str, pressure: Pressure) -> None:
        self._pressure = pressure
        self.query = query
        self.nonce = nonce
        self.waiting: deque[Delivery] = deque()
        self.seen: set[int] = set()
        self.total: int | None = None
        self.since = 0.0
        self.is_written = False
        self.may_be_lost = False
        self.retry_after_s: float | None = None
        self.error: Exception | None = None
        self._in_hand: Delivery | None = None
        self._wakeup: asyncio.Future[None] | None = None

    @property
    def name(self) -> str:
        return f"request_members({self.query.guild_id})"

    @property
    def progress(self) -> str:
        return f"{len(self.seen)} of {self.total or '?'} chunks had come"

    @property
    def is_complete(self) -> bool:
        return self.total is not None and len(self.seen) >= self.total

    def put(self, delivery: Delivery, index: object, total: object) -> None:
        """Let a chunk wait; one that came before, in another life of the connection, is dropped."""
        if not (type(index) is int and type(total) is int and 0 <= index < total):
            said = f"chunk {quote(index)} of {quote(total)}"
            self.fail(ProtocolError(f"a GUILD_MEMBERS_CHUNK that cannot be: {said}"))
        elif index not in self.seen:
            self.seen.add(index)
            self.total = total
            self.may_be_lost = False
            self._count(delivery, delivery.size)
            delivery.open()
            self.waiting.append(delivery)
            self._wake()

    def refused(self, retry_after_s: float) -> None:
        self.retry_after_s = retry_after_s
        self._wake()

    def fail(self, error: Exception) -> None:
        self.error = self.error or error
        self._wake()

    def woken(self) -> asyncio.Future[None]:
        """Return what is done when something happens."""
        self._wakeup = asyncio.get_running_loop().create_future()
        return self._wakeup

    async def sleep(self, seconds: float) -> None:
        """Let time pass, unless it fails meanwhile."""
        if self.error is None:
            await asyncio.wait((self.woken(),), timeout=seconds)
        if self.error is not None:
            raise self.error

    def take(self) -> MembersChunk:
        """Take a chunk in hand; the one before was released."""
        self._in_hand = self.waiting.popleft()
        chunk: MembersChunk = self._in_hand.arguments[0]
        return chunk

    def release(self) -> None:
        if self._in_hand is not None:
            self._close(self._in_hand)
            self._in_hand = None

    def free(self) -> None:
        self.release()
        while self.waiting:
            self._close(self.waiting.popleft())
        self._pressure.waits_changed()

    def _close(self, delivery: Delivery) -> None:
        delivery.done()
        self._count(delivery, -delivery.size)

    def _count(self, delivery: Delivery, size: int) -> None:
        if delivery.ledger is not None:
            self._pressure.requested(delivery.ledger, size)

    def _wake(self) -> None:
        if self._wakeup is not None and not self._wakeup.done():
            self._wakeup.set_result(None)


class MemberRequests:
    """
    The requests of one gateway.

    Args:
        handlers: on whose table chunks are subscribed to, while somebody asks.
        intents: of the bot, without which there is no answer.
        find: returns a shard that runs here, or raises ShardNotHere.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        handlers: Handlers,
        intents: Intents,
        find: Callable[[int], Shard],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.intents = intents
        self._handlers = handlers
        self._find = find
        self._clock = clock
        self._turns = MemberTurns()
        self._pending: dict[str, _Pending] = {}
        self._chunk_at: dict[int, float] = {}  # when a shard received the last one
        self._subscription = Subscription(
            ("GUILD_MEMBERS_CHUNK", "RATE_LIMITED"), self._receive, rank=Rank.WAITER
        )
        # Chunks of an earlier process may be replayed to this one: no nonce comes twice.
        self._prefix, self._numbers = os.urandom(4).hex(), count()

    def request(self, query: MemberQuery) -> MemberRequest:
        """
        Return a request that is not under way yet.

        Raises:
            CommandTooBig: the query does not fit into a command.
        """
        longest = "0" * 24  # a nonce may have 32 bytes
        encode_command(Opcode.REQUEST_GUILD_MEMBERS, {**query.data, "nonce": longest})
        return MemberRequest(self, query, self._handlers.home)

    async def chunks(self, query: MemberQuery) -> AsyncGenerator[MembersChunk, None]:
        """Do it: ask, and yield what comes."""
        pending = _Pending(
            query, f"{self._prefix}-{next(self._numbers):x}", self._handlers.pressure
        )
        if not self._pending:
            self._handlers.add(self._subscription)
        self._pending[pending.nonce] = pending
        try:
            await self._ask(pending)
            while pending.waiting or not pending.is_complete:
                yield await self._next(pending)
        finally:
            pending.free()
            del self._pending[pending.nonce]
            if not self._pending:
                self._handlers.remove(self._subscription)

    # --- what happens meanwhile ------------------------------------------------------------------

    def status_changed(self, change: StatusChange) -> None:
        """A shard is READY again, or it stopped."""
        if change.new is State.STOPPED:
            self._fail(change.shard.id, f"shard {change.shard.id} stopped", also_unwritten=True)
        elif change.new is State.READY:
            now = self._clock()
            for pending in self._of_shard(change.shard.id):
                pending.since = now
                pending.may_be_lost = pending.is_written and not pending.seen

    def session_ended(self, shard_id: int) -> None:
        """What was asked for in a session does not come in the next one."""
        self._fail(shard_id, f"the session of shard {shard_id} was lost")

    def _fail(self, shard_id: int, why: str, *, also_unwritten: bool = False) -> None:
        for pending in self._of_shard(shard_id):
            if pending.is_written or also_unwritten:
                pending.fail(SessionLost(f"{why} during {pending.name}, {pending.progress}"))

    def _of_shard(self, shard_id: int) -> list[_Pending]:
        return [one for one in self._pending.values() if one.query.shard_id == shard_id]

    def _receive(self, event: Event) -> None:
        """Serve an event where it is received."""
        if event.name == "RATE_LIMITED":
            self._limited(event)
            return
        nonce, index, total = event.read(_CHUNK)
        if isinstance(nonce, str) and (pending := self._pending.get(nonce)) is not None:
            ledger = self._handlers.ledgers[event.shard_id]
            self._chunk_at[event.shard_id] = self._clock()
            from .chunk import MembersChunk

            chunk = MembersChunk(pending.query.guild_id, index, total, event)
            pending.put(Delivery(pending, event, (chunk,), ledger), index, total)

    def _limited(self, event: Event) -> None:
        opcode, retry_after_s, nonce, guild_id = event.read(_LIMIT)
        if opcode != Opcode.REQUEST_GUILD_MEMBERS:
            return
        found = self._pending.get(nonce) if isinstance(nonce, str) else None
        if found is None and nonce is None:  # Discord docs: the nonce is there if it was sent
            unanswered = (p for p in self._of_shard(event.shard_id) if p.is_written and not p.seen)
            found = next((p for p in unanswered if str(p.query.guild_id) == str(guild_id)), None)
        if found is not None:
            usable = isinstance(retry_after_s, (int, float)) and 0 <= retry_after_s < math.inf
            found.refused(min(retry_after_s, _MAX_RETRY_AFTER_S) if usable else INTERVAL_S)

    # --- one request's way -----------------------------------------------------------------------

    async def _ask(self, pending: _Pending) -> None:
        """Write it when its turn has come."""
        query = pending.query
        if not query.is_all:
            await self._write(pending)
            return
        line = self._turns.line(query.guild_id, self._clock())
        if not query.waits and (wait_s := line.wait_s(self._clock())) > 0:
            raise MembersRateLimited(query.guild_id, wait_s)
        async with line.lock:
            while (wait_s := line.free_at - self._clock()) > 0:
                await pending.sleep(wait_s)
            await self._write(pending)
            line.written(self._clock())

    async def _write(self, pending: _Pending) -> None:
        if pending.error is not None:
            raise pending.error
        shard = self._find(pending.query.shard_id)
        data = {**pending.query.data, "nonce": pending.nonce}
        await shard.send(Opcode.REQUEST_GUILD_MEMBERS, data)
        pending.is_written = True
        pending.since = self._clock()

    async def _next(self, pending: _Pending) -> MembersChunk:
        """Wait for the next chunk and take it in hand."""
        pending.release()
        query, waiters = pending.query, self._handlers.waiters
        while not pending.waiting:
            if pending.error is not None:
                raise pending.error
            if pending.retry_after_s is not None:
                await self._ask_later(pending)
                continue
            left_s = self._left_s(pending)
            if left_s is not None and left_s <= 0:
                await self._overdue(pending)
                continue
            with suppress(asyncio.TimeoutError):  # judged above: the time may have begun anew
                await waiters.answered(pending.woken(), left_s, query.shard_id, what="chunk")
        return pending.take()

    def _left_s(self, pending: _Pending) -> float | None:
        """
        Return the seconds that are left for the next chunk.

        The service answers one request after the other: as long as chunks of any come to the
        shard, those of this one may be next.
        """
        if pending.query.timeout_s is None:
            return None
        since = max(pending.since, self._chunk_at.get(pending.query.shard_id, 0.0))
        return since + pending.query.timeout_s - self._clock()

    async def _ask_later(self, pending: _Pending) -> None:
        """Do as RATE_LIMITED says."""
        query, retry_after_s = pending.query, pending.retry_after_s or 0.0
        pending.retry_after_s = None
        if query.is_all:
            self._turns.line(query.guild_id, self._clock()).limited(self._clock(), retry_after_s)
        if not query.waits:
            raise MembersRateLimited(query.guild_id, retry_after_s)
        pending.is_written = False
        if not query.is_all:
            await pending.sleep(retry_after_s + PADDING_S)
        await self._ask(pending)

    async def _overdue(self, pending: _Pending) -> None:
        """No chunk came in time; raise, unless there is a reason."""
        query = pending.query
        if self._find(query.shard_id).status is not State.READY:
            pending.since = self._clock()  # RESUME replays them, or ends the session
        elif pending.may_be_lost:
            pending.may_be_lost = False
            self._turns.line(query.guild_id, self._clock()).forget()
            await self._ask(pending)
        else:
            raise asyncio.TimeoutError(
                f"no chunk for {pending.name} in {query.timeout_s} s, {pending.progress}; Discord "
                f"does not answer for guilds that the bot is not in"
            )
