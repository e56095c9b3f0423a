"""
Events of a gateway into the mailboxes of the groups that want them: `Gateway(publish=...)`.

Theory. Each group's interest is a subscription like a handler's, so what nobody wants ends in the
scanner. A wanted event stands in its shard's ledger until it is appended: what is not appended is
not handled, so a store that keeps the handled mark lets the next process resume from there, and
while the server is away the marks stop reading. Appended is in order, by one task, in batches; an
entry's id is `<epoch>-<sequence>`, and the script takes none twice, so a batch whose answer was
lost is simply sent again.

The queue of a shard is cut into runs, one for each session; READY begins one.

A server may lose what it acknowledged. Then the shard goes back to what is left, and resumes from
there: entries come again under the ids that they had. Where it lost the whole session, that goes
for a young one, whose events Discord should have from READY on; an older one gets a new epoch,
whose SESSION_RESET tells of the hole, rather than an IDENTIFY for every shard at once.

Who begins fences whoever had the shard before. So a shard that has left here begins nothing, not
even with a question that Redis hears late: each is good for BEGIN_S of Redis' clock, and was asked
while the shard was here. A lease, which is over a fifth earlier for who has it, lasts longer.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import TYPE_CHECKING, Any

from ..delivery.ledger import Delivery
from ..delivery.subscription import Rank, Subscription
from ..errors import UsageError
from ..fleet.stores.bot_binding import bot_id_in
from ..health.streams import PublisherStats
from ..log import careful_logger
from .interests import decode_interests
from .lag import LagWatch, read_lags
from .losses import Losses, health_of
from .orders import OrderTaker
from .runs import Run, bind, tell_missed
from .server import check_url
from .streams import EventStreams

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ..delivery.handlers import Handlers
    from ..fleet.publishing import PublishedShards
    from ..health.streams import GroupLag, PublisherHealth

__all__ = ["Publisher"]

log = careful_logger("fastgw.streams")

FLUSH_S = 0.004  # how long the first event of a batch may wait for others
BATCH_EVENTS = 64
BATCH_BYTES = 64 * 1024
POLL_S = 1.0  # of what groups want
YOUNG_S = 60.0  # a session that may be resumed from its READY
AGAIN_S = (0.05, 1.0)  # while the server is away
BEGIN_S = 1.0  # a fifth of a lease, as a rule
MAX_GROUPS = 30  # bits of a mask that a script can shift


class Publisher:
    """
    Appends the events that groups of `Consumer` want to their mailboxes in Redis.

    Args:
        url: `redis://user:password@host:6379/0`, `rediss://` for TLS, `unix:///path`, or
            `redis+sentinel://host:26379,host2:26379/mymaster/0`.
        prefix: of all keys; each bot has its own.
        max_entries: how many entries a mailbox may hold; what comes while it is full is lost to its
            group, and the next entry says how many that were.
        max_bytes: how much all mailboxes of a group may hold together; beyond, the same happens.
            Redis itself takes somewhat more.
        max_entry_bytes: an event whose data is longer, such as a GUILD_CREATE of a guild of many
            thousands, is lost to the groups in the same way.
    Raises:
        UsageError: no such URL, or redis-py is not installed.
    """

    name = "the publisher"  # in logs

    def __init__(
        self,
        url: str,
        *,
        prefix: str = "fgw",
        max_entries: int = 100_000,
        max_bytes: int = 256 * 1024 * 1024,
        max_entry_bytes: int = 1024 * 1024,
    ) -> None:
        limits = {"entries": max_entries, "bytes": max_bytes, "entry_bytes": max_entry_bytes}
        for what, limit in limits.items():
            if type(limit) is not int or limit < 1:
                raise UsageError(f"max_{what}={limit!r} is not an int of at least 1")
        self._streams = EventStreams(
            check_url(url, "Publisher"),
            prefix,
            meanwhile="events wait in memory, and no commands of consumers are taken",
            again="events are appended",
        )
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._max_entry_bytes = max_entry_bytes
        self._handlers: Handlers | None = None
        self._shards: PublishedShards | None = None
        self._groups: list[str] = []  # by bit of the mask; never shorter
        self._again: set[str] = set()  # of them: a server had forgotten them, and they say it again
        self._subscriptions: list[Subscription] = []
        self._wanted: dict[bytes, bytes] = {}  # by name of a group
        self._version: list[bytes | None] = [None, None]  # of what they want, and who counts it
        self._runs: dict[int, deque[Run]] = {}
        self._is_flushing = self._is_ended = self._is_refused = False
        self._poll: asyncio.Task[None] | None = None
        self._orders: OrderTaker | None = None
        self.appended = 0
        self.too_big = 0
        self.fenced = 0
        self.tails_lost = 0
        self._losses = Losses()
        self._answered_at: float | None = None
        self._lags = LagWatch()

    def __repr__(self) -> str:
        return f"<Publisher {self._streams.key()[:-1]}, {len(self._groups)} groups>"

    async def lag(self) -> dict[str, GroupLag]:
        """
        Return how far each group is behind, over all shards of the bot.

        Raises:
            UsageError: its gateway was not started, or it is closed.
            redis.RedisError: the server is away.
        """
        if self._is_ended:  # a question would open the client again, and nobody would close it
            raise UsageError("how far groups are behind is not known any more: it is closed")
        if self._shards is None or self._poll is None:
            raise UsageError("how far groups are behind is known after the gateway's start()")
        return await read_lags(self._streams, range(self._shards.fleet.shard_count))

    def health(self) -> PublisherHealth:
        """Return how it is at this moment; from any thread, and without asking Redis."""
        return health_of(self._runs, self._answered_at, self._lags)

    def stats(self) -> PublisherStats:
        """Return what it counted since it was made."""
        return PublisherStats(
            appended=self.appended,
            fenced=self.fenced,
            tails_lost=self.tails_lost,
            lost_full=dict(self._losses.full),
            lost_too_big=dict(self._losses.too_big),
            commands=0 if self._orders is None else self._orders.taken,
        )

    # --- what the gateway calls ------------------------------------------------------------------

    async def open(self, handlers: Handlers, shards: PublishedShards) -> None:
        """
        Learn what groups want, before the first event comes.

        Raises:
            UsageError: the server cannot be used.
        """
        if self._handlers is not None:
            raise UsageError("a Publisher is of one gateway: make another one")
        self._handlers, self._shards = handlers, shards
        try:
            self._streams.open()
            await self._streams.check()
            if shards.bot_id is not None:
                await bind(self._streams, shards.bot_id)
            await self._streams.load("begin", "append")
            await self._follow()
            self._orders = OrderTaker(self._streams, shards.fleet)
            await self._orders.begin()
        except BaseException as error:  # also when the start is cancelled
            await self._streams.close()
            if not isinstance(error, Exception):
                raise
            raise self._streams.refusal(error) from error
        handlers.add(Subscription(("READY",), self._began, rank=Rank.ROUTE, is_own=True))
        self._poll = asyncio.get_running_loop().create_task(self._keep_following())
        handlers.at_end(self.end)  # last: the end may have come meanwhile

    def end(self) -> None:
        """No event comes any more: append what waits, and close."""
        if self._poll is None or self._is_ended:
            return
        self._is_ended = True
        self._poll.cancel()
        self._wake()

    # --- what groups want ------------------------------------------------------------------------

    async def _keep_following(self) -> None:
        assert self._shards is not None
        while not self._is_ended:  # redis-py may swallow a cancellation that meets its timeout
            await asyncio.sleep(POLL_S)
            self._forget_who_left()
            try:
                await self._follow()
                self._answered_at = time.monotonic()
                await self._lags.look(self._streams, self._shards.ids)
                self._streams.outage.ended("interests")
            except Exception as error:
                self._streams.outage.failed("interests", error)

    def _forget_who_left(self) -> None:
        """A shard that comes back, after another process had it, begins with a claim of its own."""
        assert self._shards is not None
        for shard_id, runs in list(self._runs.items()):
            if not self._shards.is_here(shard_id) and not any(run.waiting for run in runs):
                del self._runs[shard_id]

    async def _follow(self) -> None:
        """Read what groups want, if it changed."""
        assert self._handlers is not None
        client, key = self._streams.client, self._streams.key
        version = await client.mget(key("groups", "version"), key("groups", "era"))
        if version == self._version or (version[0] is None and self._version[0] is not None):
            return  # the same; or a server that has forgotten, which consumers will tell again
        wanted = await client.hgetall(key("groups"))
        self._again = {name.decode() for name in await client.hkeys(key("groups", "again"))}
        if self._version[0] is not None and (
            version[1] != self._version[1] or int(version[0]) < int(self._version[0])
        ):
            wanted = {**self._wanted, **wanted}  # it lost what others have not told again yet
        self._wanted = wanted
        old, self._subscriptions = self._subscriptions, []
        for group in sorted(wanted):
            name = group.decode()
            try:
                interests = decode_interests(wanted[group])
            except Exception as error:
                log.error("group %r wants what this fastgw cannot read: %s", name, error)
                continue
            if name not in self._groups:
                if len(self._groups) == MAX_GROUPS:
                    log.error("group %r gets nothing: there are %d already", name, MAX_GROUPS)
                    continue
                self._groups.append(name)
                if self._runs:
                    self._wake()  # it may have missed something
            target = self._taking(1 << self._groups.index(name))
            for event_name, where in interests.items():
                one = Subscription((event_name,), target, where=where, is_own=True)
                self._subscriptions.append(one)
                self._handlers.add(one)
        for one in old:
            self._handlers.remove(one)
        self._version = version

    # --- what the listener calls -----------------------------------------------------------------

    def _began(self, event: Any) -> None:
        """READY came: what follows is of a new session."""
        runs = self._runs.setdefault(event.shard_id, deque())
        session_id = event.data["session_id"]
        if runs and runs[-1].session_id == session_id:
            return  # delivered again, as any dispatch may be
        first, bot_id = max(event.sequence, 0), bot_id_in(event.data)
        runs.append(Run(session_id, first, time.monotonic(), bot_id))
        self._wake()

    def _taking(self, bit: int) -> Callable[[Any], None]:
        handlers, runs_of = self._handlers, self._runs
        assert handlers is not None
        ledgers = handlers.ledgers

        def take(event: Any) -> None:
            runs = runs_of.get(event.shard_id)
            if runs is None and (runs := self._resumed(event.shard_id)) is None:
                return  # the shard has left: the event is for whoever has it now
            waiting = runs[-1].waiting
            if waiting and waiting[-1][0] == event.sequence:
                waiting[-1][1] |= bit  # another group wants it as well
                return
            delivery = Delivery(self, event, (event,), ledgers[event.shard_id])
            delivery.open()
            waiting.append([event.sequence, bit, delivery])
            if not self._is_flushing:
                self._wake()

        return take

    def _resumed(self, shard_id: int) -> deque[Run] | None:
        """Return the runs of a shard whose session another process began; None if it left."""
        assert self._shards is not None
        if not self._shards.is_here(shard_id):
            return None
        runs = self._runs[shard_id] = deque((Run(self._shards.session_id(shard_id)),))
        return runs

    # --- appending -------------------------------------------------------------------------------

    def _wake(self) -> None:
        if not self._is_flushing and self._handlers is not None:
            self._is_flushing = True
            self._handlers.tasks.run_own(self._flush)

    async def _flush(self) -> None:
        delay_s = AGAIN_S[0]
        try:
            while True:
                await asyncio.sleep(0 if self._is_ended else FLUSH_S)
                try:
                    is_more = await self._turn()
                    self._streams.outage.ended("events")
                    if not is_more:
                        break
                    delay_s = AGAIN_S[0]
                except Exception as error:
                    self._streams.outage.failed("events", error)
                    await asyncio.sleep(delay_s)
                    delay_s = min(2 * delay_s, AGAIN_S[1])
        finally:
            self._is_flushing = False
            if self._is_ended:
                if self._orders is not None:
                    await self._orders.end()
                if self._poll is not None:
                    await asyncio.wait((self._poll,))  # it would open the client again
                await self._streams.close()

    async def _turn(self) -> bool:
        """Append one batch of each shard that has some; tell whether there was anything."""
        is_begun, sent = False, []
        if self._is_refused:
            self._drop(run for runs in self._runs.values() for run in runs)
            self._runs.clear()
        for shard_id, runs in list(self._runs.items()):
            if self._runs.get(shard_id) is not runs:
                continue  # the shard left meanwhile: to begin would fence who has it now
            while len(runs) > 1 and not runs[0].waiting:
                runs.popleft()
            run = runs[0]
            if run.claim is None:
                is_begun = True
                if not await self._begin(shard_id, run):
                    continue
            if run.groups < len(self._groups):
                await self._tell_missed(shard_id, run)
            if run.waiting:
                sent.append((shard_id, run, *self._batch(shard_id, run)))
        if not sent:
            return is_begun
        answers = await self._streams.run_all("append", [call for _, _, call, _ in sent])
        self._answered_at = time.monotonic()
        for (shard_id, run, _, count), answer in zip(sent, answers, strict=True):
            self._answered(shard_id, run, count, answer)
        for answer in answers:
            if isinstance(answer, Exception) and not _is_ours(answer):
                raise answer
        return True

    async def _begin(self, shard_id: int, run: Run) -> bool:
        """
        Become who appends the events of a session, also of one that the server lost.

        Returns:
            False when the shard has left: what waits of it is for whoever has it now.
        """
        assert self._shards is not None
        if self._is_refused:
            return False
        if run.bot_id is not None and self._shards.bot_id is None:
            try:
                await bind(self._streams, run.bot_id)
            except UsageError as error:  # they are all of that bot
                self._is_refused = True
                self._shards.refuse(error)
                return False
            self._shards.bot_id = run.bot_id
        time_of = self._streams.client.time
        now = await time_of() if self._shards.is_here(shard_id) else None
        run.tenure = self._shards.tenure(shard_id)
        if now is None or run.tenure is None:
            self._drop(self._runs.pop(shard_id, ()))
            return False
        until_ms = now[0] * 1000 + now[1] // 1000 + int(BEGIN_S * 1000)
        is_young = time.monotonic() - run.began_at < YOUNG_S and self._is_last(shard_id, run)
        keys = [self._streams.shard(shard_id), *self._mailboxes(shard_id)]
        groups = len(self._groups)
        again = run.epoch or "0" if is_young else "0"
        arguments = [run.session_id, again, until_ms]
        claim, epoch, tail = await self._streams.run("begin", keys, arguments)
        had, run.groups = (run.epoch, run.tail), groups
        run.claim, run.epoch, run.tail = claim.decode(), epoch.decode(), int(tail)
        if run.tail >= had[1]:
            pass  # the claim was lost and nothing else, if anything
        elif run.epoch == had[0]:
            self._rewind(shard_id, run)
        else:
            log.error("shard %d: the server lost its session; SESSION_RESET says so", shard_id)
        return True

    async def _tell_missed(self, shard_id: int, run: Run) -> None:
        """Tell groups that are known here only now, though they were before, of what was missed."""
        groups = len(self._groups)
        if missed := [group for group in self._groups[run.groups :] if group in self._again]:
            await tell_missed(self._streams, shard_id, run, missed)
        run.groups = groups

    def _is_last(self, shard_id: int, run: Run) -> bool:
        """Tell whether no other session followed, and the shard has not left."""
        runs = self._runs.get(shard_id)
        return runs is not None and runs[-1] is run

    def _is_back(self, shard_id: int, run: Run) -> bool:
        """Tell whether a shard left and came back since it began, with the session that it had."""
        assert self._shards is not None
        tenure = self._shards.tenure(shard_id)
        return (
            tenure not in (None, run.tenure)
            and self._is_last(shard_id, run)
            and self._shards.session_id(shard_id) == run.session_id
        )

    def _batch(self, shard_id: int, run: Run) -> tuple[tuple[list[str], list[Any]], int]:
        """Return one call of the script, and how many events it has."""
        caps = self._max_entries, self._max_bytes
        arguments: list[Any] = [run.claim, run.epoch, run.tail, *caps]
        size = count = 0
        for sequence, mask, delivery in run.waiting:
            event = delivery.origin
            raw = event.raw
            if len(raw) > self._max_entry_bytes:
                raw = b""
            arguments += (sequence, mask, event.name, raw)
            count, size = count + 1, size + len(raw)
            if count == BATCH_EVENTS or size >= BATCH_BYTES:
                break
        keys = [self._streams.shard(shard_id), self._streams.key("held")]
        return ([*keys, *self._mailboxes(shard_id)], arguments), count

    def _mailboxes(self, shard_id: int) -> list[str]:
        return [self._streams.mailbox(group, shard_id) for group in self._groups]

    def _answered(self, shard_id: int, run: Run, count: int, answer: Any) -> None:
        assert self._shards is not None
        if not isinstance(answer, Exception):
            for _ in range(count):
                run.tail, mask, delivery = run.waiting.popleft()
                if (size := len(delivery.origin.raw)) > self._max_entry_bytes:
                    self.too_big += 1
                    self._losses.of_one(self._groups, mask)
                    log.warning(
                        "shard %d: a %s of %d bytes is lost to consumers, max_entry_bytes is %d",
                        shard_id, delivery.origin.name, size, self._max_entry_bytes,
                    )  # fmt: skip
                delivery.done()
            self.appended += count
            if isinstance(answer, list):
                self._losses.of_full(self._groups, answer[1:])
        elif "FENCED" in str(answer) and self._is_back(shard_id, run):
            run.claim = None  # another process had it, and what that one appended is not again
        elif "FENCED" in str(answer):
            self.fenced += count
            log.error(
                "shard %d: another process appends its events now (%s); this one stops it",
                shard_id, answer,
            )  # fmt: skip
            self._shards.stop(shard_id)
            self._drop(self._runs.pop(shard_id, (run,)))
        elif "TAIL" in str(answer):
            run.tail = int(str(answer).split()[-1])
            self.tails_lost += 1
            log.warning(
                "shard %d: the server lost what was appended behind %d; it is asked for again",
                shard_id, run.tail,
            )  # fmt: skip
            self._rewind(shard_id, run)
        elif "GONE" in str(answer):
            self.tails_lost += 1
            log.warning("shard %d: the server lost that this process appends", shard_id)
            run.claim = None

    def _drop(self, runs: Iterable[Run]) -> None:
        """Let go of what waits: not handled, it is another process's to append."""
        for run in runs:
            while run.waiting:
                run.waiting.popleft()[2].abandon()

    def _rewind(self, shard_id: int, run: Run) -> None:
        """Let the shard resume from what is appended, or from READY when nothing is."""
        assert self._shards is not None
        if not self._is_last(shard_id, run):
            return  # its session is over: what waits goes behind the new tail
        if not self._shards.rewind(shard_id, run.session_id, max(run.tail, run.first)):
            return  # or will be: a new one comes, and its SESSION_RESET
        while run.waiting:  # they come again, too
            run.waiting.popleft()[2].done()


def _is_ours(answer: Exception) -> bool:
    return any(word in str(answer) for word in ("FENCED", "TAIL", "GONE"))
