"""
`Consumer`: events from the mailboxes of a group, for handlers as `Gateway` has them.

Theory. A consumer leases whole mailboxes, one for each shard, so that each is read by one member of
the group and order holds. An entry stays in its mailbox until it is handled, and is removed then:
who takes a mailbox reads it from its beginning, so what the last member did not finish comes first.
Reading changes nothing in the server, unlike what Redis calls a consumer group: an answer that is
lost, or a question that arrives after we have given it up, cannot take an entry along.

A mailbox whose ledger is over its marks is not read. How far it is goes to the server with what is
removed: who takes it over knows which events come again.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from ..delivery.face import EventSource
from ..errors import UsageError
from ..fleet.commands.guild_commands import GuildCommands
from ..log import careful_logger
from ..options import DRAIN_S, check_drain, check_limits, check_metrics, check_shards
from ..words import Intents
from .consumer_figures import ConsumerFigures
from .counterpart import Counterpart
from .interests import encode_interests
from .mailbox import ConsumerHandlers, Mailbox
from .remote import RemoteShards
from .server import check_lease, check_url
from .streams import EventStreams, entries_of

if TYPE_CHECKING:
    from typing_extensions import Self

    from ..delivery.limits import DeliveryLimits
    from ..fleet.commands.guild_commands import MemberSource, WayToShard
    from ..health.consumers import ConsumerHealth, ConsumerStats
    from ..home import Home

__all__ = ["Consumer"]

log = careful_logger("fastgw.streams")

LEASE_S = 10.0
RENEWALS_A_LEASE = 3
SPARE_S = 2.0  # the lease is over this much earlier for who holds it
READ_ENTRIES = 64  # of each mailbox in one call
BLOCK_MS = 50
AGAIN_S = 0.25  # while the server is away
MAX_SHARDS = 250  # streams of one XREAD; beyond, its cost grows faster than their number


class Consumer(EventSource, GuildCommands):
    """
    Handles the events that a `Publisher` put into Redis, with the handlers of a `Gateway`.

    Any number of them with the same group share its events: each shard's go to one of them, in
    order. An event is acknowledged when it is handled; one whose consumer died before comes again,
    to another. `SESSION_RESET` is an event: Discord began a new session, or Redis lost one, and
    what happened before it may be missing; and `LOST`, whose data says how many the group's full
    mailbox dropped.

    Args:
        url: `redis://user:password@host:6379/0`, `rediss://` for TLS, `unix:///path`, or
            `redis+sentinel://host:26379,host2:26379/mymaster/0`.
        group: whose events, and with whom they are shared.
        shards: the shards of the bot: how many there are, or ids.
        prefix: of all keys, as the publisher's.
        limits: how many handlers may run at once, and how much may wait for them.
        lease_s: after so long the mailboxes of a consumer that died are another's.
        drain_s: how many seconds running handlers may go on at the close.
        command_timeout_s: how long a command may take until it is sent.
        metrics: serve `/metrics`, `/stats.json`, `/healthz` and `/readyz` at this "host:port", or
            at this port of loopback; see `Gateway`. It is ready while its leases are renewed.
    Raises:
        UsageError: anything that cannot work; the text says what to do.
    """

    def __init__(
        self,
        url: str,
        *,
        group: str,
        shards: int | Iterable[int],
        prefix: str = "fgw",
        limits: DeliveryLimits | None = None,
        lease_s: float = LEASE_S,
        drain_s: float = DRAIN_S,
        command_timeout_s: float = 10.0,
        metrics: str | int | None = None,
    ) -> None:
        if not isinstance(group, str) or not group or set(group) & set("{}*: \n"):
            raise UsageError(f"group={group!r} is no name of a group, such as 'bot'")
        if not isinstance(command_timeout_s, (int, float)) or not 0 < command_timeout_s <= 300.0:
            raise UsageError(f"command_timeout_s={command_timeout_s!r} is not 0 to 300 seconds")
        ids = _ids_of(shards)
        self._streams = EventStreams(
            check_url(url, "Consumer"),
            prefix,
            meanwhile="events wait there, and commands fail",
            again="events are taken",
        )
        self._group = group
        self._shard_ids = ids
        self._lease_s = check_lease(lease_s)
        self.drain_s = check_drain(drain_s)
        self._me = uuid.uuid4().hex
        self._mailboxes: dict[int, Mailbox] = {}
        shard_count = shards if isinstance(shards, int) else 0  # 0: of some, by their ids
        self._counterpart = Counterpart(self._streams, group, shard_count, ids)
        self._figures = ConsumerFigures(
            group, self._mailboxes, self._counterpart, check_metrics(metrics)
        )
        self._lease_until = 0.0
        self._renew_at = 0.0
        self._turns = 0
        self._is_begun = self._is_closing = False
        self._told: bytes | None = None  # what the group is known to want
        self._task: asyncio.Task[None] | None = None
        self._closing: asyncio.Task[None] | None = None
        EventSource.__init__(self, ConsumerHandlers(Intents.all(), limits=check_limits(limits)))
        home = self._handlers.home
        self._shards = RemoteShards(self._streams, shard_count, float(command_timeout_s), home)

    def __repr__(self) -> str:
        return f"<Consumer of group {self._group!r}, {len(self._mailboxes)} mailboxes>"

    @property
    def shard_ids(self) -> tuple[int, ...]:
        """The shards whose mailboxes are leased here, now; from any thread."""
        return tuple(sorted(self._mailboxes.copy()))

    def health(self) -> ConsumerHealth:
        """Return how it is at this moment; from any thread, and without asking Redis."""
        return self._figures.health(self._handlers)

    def stats(self) -> ConsumerStats:
        """Return what it counted since it was made; from any thread."""
        return self._figures.stats(self._handlers)

    # --- one life --------------------------------------------------------------------------------

    async def start(self) -> None:
        """
        Tell publishers what the group wants, and begin to take events.

        Raises:
            UsageError: the server cannot be used, or it was started before.
        """
        self._home.enter("start")
        if self._is_begun:
            raise UsageError("start() works once; make a new Consumer")
        self._figures.start(self._handlers)
        self._is_begun = True
        try:
            self._streams.open()
            await self._streams.check()
            if wrong := await self._counterpart.look():
                raise UsageError(wrong)
            await self._streams.load("lease", "give_back", "finish", "tell")
            await self._tell()
            await self._shards.open()
            if self._is_closing:
                raise UsageError("the consumer was closed while it was starting")
        except BaseException as error:  # also when the start is cancelled
            self._is_begun = self._is_closing = False
            self._figures.close()
            if self._shards.is_open:
                await self._shards.close()
            await self._streams.close()
            if not isinstance(error, Exception):
                raise
            raise self._streams.refusal(error) from error
        self._task = asyncio.get_running_loop().create_task(self._serve())

    async def close(self) -> None:
        """
        Take nothing more, wait for handlers, acknowledge, and give the mailboxes back.

        To the end, also when who asked for it is cancelled; who asks as well waits for it, too. A
        start that is under way raises UsageError.
        """
        if self._task is None and not self._is_begun:
            return
        self._home.check_loop("close")
        if self._task is None:
            self._is_closing = True
            return
        if self._closing is None:
            self._is_closing = True
            self._closing = asyncio.get_running_loop().create_task(self._close(self._task))
        with self._handlers.tasks.caller_spared():
            await asyncio.shield(self._closing)

    async def _close(self, task: asyncio.Task[None]) -> None:
        task.cancel()
        await asyncio.wait((task,))
        self._handlers.end()
        await self._handlers.tasks.drain(self.drain_s)
        await self._shards.close()
        with contextlib.suppress(Exception):  # the leases run out by themselves
            await self._acknowledge()
            # All that are mine, also those of an answer that nobody waited for any more.
            await self._give_back(self._shard_ids, is_leaving=True)
        self._mailboxes.clear()
        self._figures.close()
        await self._streams.close()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()

    # --- commands --------------------------------------------------------------------------------

    def set_presence(
        self, presence: Mapping[str, Any], *, shard_ids: Iterable[int] | None = None
    ) -> None:
        """
        Show a presence from now on, on these shards or on all; return at once.

        It is kept in Redis: gateways show it within a second or two, and in every later session,
        also those that start later. See `Gateway.set_presence`.

        Raises:
            UsageError: no mapping, no JSON, too long, or no number of a shard; or it is closed.
        """
        self._home.check_loop("set_presence")
        if self._closing is not None and not self._shards.is_open:
            raise UsageError("the consumer is closed: nobody would ever hear of this presence")
        if not isinstance(presence, Mapping):
            raise UsageError("a presence is a mapping, the `d` of op 3")
        self._shards.show(presence, shard_ids)

    def _shard_id_of(self, guild_id: int | str) -> int:
        return self._shards.shard_id_of(guild_id)

    def _way_to(self, shard_id: int, guild_id: int | str | None = None) -> WayToShard:
        return self._shards.way_to(shard_id, guild_id)

    def _shard_count_now(self) -> int:
        return self._shards.shard_count

    @property
    def _home(self) -> Home:
        return self._handlers.home

    def _members(self) -> MemberSource:
        return self._shards

    # --- inside ----------------------------------------------------------------------------------

    async def _serve(self) -> None:
        while not self._is_closing:  # redis-py may swallow a cancellation that meets its timeout
            asked_at = time.monotonic()
            try:
                await self._turn()
                if (self._figures.answered_at or 0.0) >= asked_at:  # a turn may ask nothing
                    self._streams.outage.ended("events")
            except Exception as error:
                self._streams.outage.failed("events", error)
                if time.monotonic() >= self._lease_until:
                    self._lose_all()
                    self._renew_at = 0.0
                await asyncio.sleep(AGAIN_S)

    async def _turn(self) -> None:
        now = time.monotonic()
        if now >= self._renew_at:
            await self._lease(now)
            await self._tell()
            await self._counterpart.watch()
            await self._acknowledge(tells=True)
            await self._figures.look_back(self._streams)
            self._handlers.tick(names_overdue=True)
        is_held = self._handlers.pressure.is_held
        empty = []
        for mailbox in self._mailboxes.values():
            mailbox.hand_out(is_held)
            if not mailbox.backlog and not mailbox.is_leaving:
                empty.append(mailbox)
        streams = self._next_streams(empty)
        await self._acknowledge()
        if not streams:
            await asyncio.sleep(BLOCK_MS / 1000)
            return
        by_key = {mailbox.key.encode(): mailbox for mailbox in self._mailboxes.values()}
        is_busy = any(mailbox.taken for mailbox in by_key.values())
        found = await self._streams.client.xread(
            streams, count=READ_ENTRIES, block=5 if is_busy else BLOCK_MS
        )
        if (now := time.monotonic()) >= self._lease_until:
            self._lose_all()  # we stood still: others may have them; see `_lease`
            return
        self._figures.answered_at = now
        for key, entries in entries_of(found):
            by_key[key].read(entries)
            by_key[key].hand_out(is_held)
        await self._acknowledge()

    def _next_streams(self, mailboxes: list[Mailbox]) -> dict[str, bytes]:
        """Return which of these are read now: those that were not for longest."""
        self._turns += 1
        if len(mailboxes) > MAX_SHARDS:
            mailboxes = sorted(mailboxes, key=lambda mailbox: mailbox.asked)[:MAX_SHARDS]
        for mailbox in mailboxes:
            mailbox.asked = self._turns
        return {mailbox.key: mailbox.last for mailbox in mailboxes}

    async def _tell(self) -> None:
        """Tell publishers what the group wants, if that changed."""
        wanted, key = encode_interests(self._handlers.wanted()), self._streams.key
        is_known = await self._streams.client.hexists(key("groups"), self._group)
        if wanted == self._told and is_known:
            return
        keys = [key("groups"), *(key("groups", what) for what in ("version", "era", "again"))]
        is_lost = int(self._told is not None and not is_known)
        await self._streams.run("tell", keys, [self._group, wanted, uuid.uuid4().hex, is_lost])
        self._told = wanted

    async def _lease(self, now: float) -> None:
        """Renew what is leased, take what is free, and give back what is too much."""
        self._renew_at = now + self._lease_s / RENEWALS_A_LEASE
        want, mine = await self._streams.run(
            "lease", self._lease_keys(), [self._me, int(self._lease_s * 1000), *self._shard_ids]
        )
        self._lease_until = now + self._lease_s - min(SPARE_S, self._lease_s / 4)
        self._figures.leased_at, self._figures.share = now, int(want)
        self._figures.answered_at = time.monotonic()
        ids = {int(shard_id) for shard_id in mine}
        for shard_id in self._mailboxes.keys() - ids:
            del self._mailboxes[shard_id]  # another's: what it did not finish it may do again
            self._figures.counts.mailboxes_lost += 1
        await self._take(sorted(ids - self._mailboxes.keys()))
        surplus = max(0, len(ids) - int(want))
        idle = [i for i, box in self._mailboxes.items() if box.is_idle]
        idle.sort(key=lambda i: not self._mailboxes[i].is_leaving)  # who was to leave goes first
        for mailbox in self._mailboxes.values():
            mailbox.is_leaving = False
        if surplus and idle:
            await self._give_back(idle[:surplus])
        elif surplus:  # all are busy: the last one takes nothing new until it is not
            self._mailboxes[max(ids)].is_leaving = True

    async def _take(self, shard_ids: list[int]) -> None:
        """Begin with mailboxes that are ours now; see how far those were who had them."""
        keys = {i: self._streams.mailbox(self._group, i) for i in shard_ids}
        pipeline = self._streams.client.pipeline(transaction=False)
        for shard_id, key in keys.items():
            pipeline.hget(self._streams.shard(shard_id), f"handed:{key}")
        for (shard_id, key), handed in zip(keys.items(), await pipeline.execute(), strict=True):
            counts = self._figures.counts
            counts.mailboxes_taken += 1
            self._mailboxes[shard_id] = Mailbox(
                key, self._handlers, shard_id, counts, handed or b"0-0"
            )

    def _lose_all(self) -> None:
        self._figures.counts.mailboxes_lost += len(self._mailboxes)
        self._mailboxes.clear()

    async def _acknowledge(self, *, tells: bool = False) -> None:
        """Remove what is handled; say how far each mailbox is, with that or if `tells`."""
        handled = [
            (box, done)
            for box in self._mailboxes.values()
            if (done := box.handled()) or (tells and box.handed != box.told)
        ]
        if not handled:
            return
        held = self._streams.key("held")
        calls: list[tuple[list[str], list[Any]]] = [
            ([self._streams.shard(box.shard_id), held, box.key], [self._group, box.handed, *done])
            for box, done in handled
        ]
        answers = await self._streams.run_all("finish", calls)
        for (box, done), answer in zip(handled, answers, strict=True):
            if not isinstance(answer, Exception):
                box.acknowledged(len(done) // 2)
                box.told = box.handed
        for answer in answers:
            if isinstance(answer, Exception):
                raise answer

    async def _give_back(self, shard_ids: Iterable[int], *, is_leaving: bool = False) -> None:
        for shard_id in shard_ids:
            self._mailboxes.pop(shard_id, None)
        await self._streams.run(
            "give_back", self._lease_keys(), [self._me, int(is_leaving), *shard_ids]
        )

    def _lease_keys(self) -> list[str]:
        names = ("leases", "owners", "members")
        return [self._streams.key("group", self._group, name) for name in names]


def _ids_of(shards: int | Iterable[int]) -> tuple[int, ...]:
    """Return the shards of a number, or of ids, each once."""
    if isinstance(shards, int) and not isinstance(shards, bool):
        ids = check_shards(shards, None)
    elif isinstance(shards, Iterable) and not isinstance(shards, (str, bytes, Mapping)):
        some = tuple(shards)
        ids = check_shards(some, max([0, *(i for i in some if isinstance(i, int))]) + 1)
    else:
        raise UsageError(f"shards={shards!r} is not the number of a bot's shards, or their ids")
    assert ids is not None
    return ids
