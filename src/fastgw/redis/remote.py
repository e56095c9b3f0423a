"""
Commands of a consumer, on their way to the process that has the shard.

A command is left with that process and answered through a stream of this consumer, which one task
reads while answers are awaited. `orders` is the other side, and says what becomes of it there.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson

from .._decode import Decoder, Event, Interests
from ..errors import CommandTimeout, SendQueueFull, SessionLost, ShardNotRunning, UsageError
from ..fleet.commands.chunk import MembersChunk
from ..fleet.commands.members import MemberRequest
from ..log import careful_logger
from ..protocol.wire import Opcode, encode_command
from ..shard.face import shard_id_for
from ..words import Intents
from .answers import decode_error
from .outbox import Outbox
from .streams import ANSWER_KEPT_MS, entries_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable, Mapping

    from ..fleet.commands.members import MemberQuery
    from ..home import Home
    from .streams import EventStreams

__all__ = ["RemoteShards"]

log = careful_logger("fastgw.streams")

MAX_WAITING = 1_000  # commands for one process that it has not taken
GRACE_S = 1.0  # for the answer of who took a command back in time
ELSEWHERE_S = 0.1  # before a shard that moved is looked for again
BLOCK_MS = 1_000
AGAIN_S = 0.25  # while the server is away
ALIVE_LOOK_S = 2.0  # at who was asked for members
READ_ANSWERS = 64
CLOSE_S = 1.0  # for presences that are not told yet

Answer = tuple[bytes, bytes, bytes]  # what, body, data


@dataclass(slots=True)
class _Asked:
    """
    One command that is not answered.

    Attributes:
        shard_id, guild_id: whose it is; with a guild the shard follows from the number of shards.
        who: has the shard, once it was left with somebody.
    """

    shard_id: int
    guild_id: int | str | None
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    answers: asyncio.Queue[Answer] = field(default_factory=asyncio.Queue)
    who: bytes = b""


class _Way:
    """The way to one shard, as `Shard` is one."""

    def __init__(self, shards: RemoteShards, shard_id: int, guild_id: int | str | None) -> None:
        self._shards = shards
        self._shard_id = shard_id
        self._guild_id = guild_id

    async def send(self, op: int, d: object = None, *, wait: bool = True) -> None:
        """Send a command; return when it is written."""
        encode_command(op, d)  # refuses what is no command
        body = orjson.dumps([int(op), d, bool(wait)])
        await self._shards.send(_Asked(self._shard_id, self._guild_id), body)


class RemoteShards:
    """
    The shards of a bot, wherever they run.

    Args:
        streams: the way to the server.
        shard_count: of the bot; 0 while it is not known.
        timeout_s: how long a command may take.
        home: the loop in which they are called.
    """

    def __init__(
        self, streams: EventStreams, shard_count: int, timeout_s: float, home: Home
    ) -> None:
        self._home = home
        self.shard_count = shard_count
        self.intents = Intents.all()  # the other side knows better, and refuses as well
        self._streams = streams
        self._timeout_s = timeout_s
        self._answers = streams.key("answers", uuid.uuid4().hex)
        self._orders = Outbox(lambda orders: streams.run_all("order", orders))
        self._last = b"0"
        self._asked: dict[bytes, _Asked] = {}
        self._reader: asyncio.Task[None] | None = None
        self._presences: list[tuple[bytes, tuple[int, ...] | None]] = []
        self._showing: asyncio.Task[None] | None = None
        self.is_open = False

    async def open(self) -> None:
        """Learn how many shards the bot has, if somebody said so."""
        await self._streams.load("order")
        count = await self._streams.client.hget(self._streams.key("about"), "shards")
        self.shard_count = int(count or self.shard_count)
        self.is_open = True
        self._show_soon()

    async def close(self) -> None:
        """Answer nobody any more; what is to be shown is told before, if that is quick."""
        if self._showing is not None:
            await asyncio.wait((self._showing,), timeout=CLOSE_S)
        self.is_open = False
        if self._presences:
            log.warning("a presence is not told: the consumer was closed")
        for task in (self._reader, self._showing):
            if task is not None:
                task.cancel()
        text = b'{"error":"WaitFailed","text":"the consumer was closed","numbers":{}}'
        for asked in self._asked.values():
            asked.answers.put_nowait((b"error", text, b""))

    # --- what GuildCommands asks -----------------------------------------------------------------

    def shard_id_of(self, guild_id: int | str) -> int:
        """Return the shard that a guild is on; raise ShardNotRunning while nobody knows."""
        if not self.shard_count:
            raise ShardNotRunning(
                "no gateway that takes commands has been heard of since start()", shard_id=None
            )
        return shard_id_for(guild_id, self.shard_count)

    def way_to(self, shard_id: int, guild_id: int | str | None) -> _Way:
        """Return the way to a shard."""
        if type(shard_id) is not int or shard_id < 0:
            raise UsageError(f"shard_id={shard_id!r} is not the number of a shard")
        return _Way(self, shard_id, guild_id)

    def request(self, query: MemberQuery) -> MemberRequest:
        """Return a request of members that is not under way yet."""
        encode_command(Opcode.REQUEST_GUILD_MEMBERS, query.data)
        return MemberRequest(self, query, self._home)

    # --- one command -----------------------------------------------------------------------------

    async def send(self, asked: _Asked, body: bytes) -> None:
        """Have a command sent, once at most; see `GuildCommands.send`."""
        end = time.monotonic() + self._timeout_s
        self._asked[asked.id.encode()] = asked
        try:
            while True:
                await self._leave(asked, "send", body, max(0.0, end - time.monotonic()))
                what, text, _ = await self._answer(asked, end)
                if what == b"done":
                    return
                self._refuse(asked, what, text)
                await asyncio.sleep(ELSEWHERE_S)  # it was not sent: the shard is moving
                if time.monotonic() >= end:
                    raise _nobody(asked)
        finally:
            del self._asked[asked.id.encode()]

    async def chunks(self, query: MemberQuery) -> AsyncGenerator[MembersChunk, None]:
        """Have members asked for, and yield what comes; see `MemberRequest`."""
        self._check_open()
        asked, taken = _Asked(query.shard_id, query.guild_id), 0
        window = self._streams.key("window", asked.id)
        decoder = Decoder(interests=Interests({"GUILD_MEMBERS_CHUNK"}), shard_id=query.shard_id)
        self._asked[asked.id.encode()] = asked
        try:
            try:
                await self._streams.client.set(window, 0, px=ANSWER_KEPT_MS)
            except Exception as error:  # uvloop's RuntimeError of a closed socket, too
                raise self._explained(asked, error) from error
            await self._leave(asked, "members", _question(query), self._timeout_s)
            while True:
                what, text, data = await self._next(asked, window, taken)
                if what == b"done":
                    return
                if what != b"chunk":
                    self._refuse(asked, what, text)
                    raise _nobody(asked)
                event = decoder.feed(
                    b'{"t":"GUILD_MEMBERS_CHUNK","s":0,"op":0,"d":' + data + b"}", 1, True
                )
                assert isinstance(event, Event)
                index, count = orjson.loads(text)
                yield MembersChunk(query.guild_id, index, count, event)
                taken += 1
                with contextlib.suppress(Exception):  # `_next` says it again
                    await self._streams.client.set(window, taken, px=ANSWER_KEPT_MS)
        finally:
            del self._asked[asked.id.encode()]
            if self.is_open:
                with contextlib.suppress(Exception):  # it is over soon without us
                    await self._streams.client.delete(window)  # then no more chunks are sent

    def _check_open(self) -> None:
        if not self.is_open:
            raise UsageError("a Consumer sends commands between start() and close()")

    async def _leave(self, asked: _Asked, kind: str, body: bytes, left_s: float) -> None:
        """Leave it with the process that has the shard."""
        self._check_open()
        if self._reader is None or self._reader.done():
            self._reader = asyncio.get_running_loop().create_task(self._read())
        key = self._streams.key
        for _ in range(3):
            count = "" if asked.guild_id is None else self.shard_count
            arguments = [
                asked.shard_id, count, key("alive", ""), key("orders", ""), MAX_WAITING,
                int(left_s * 1000), ANSWER_KEPT_MS, asked.id, kind, body, self._answers,
            ]  # fmt: skip
            try:
                asked.who = await self._orders.put(([key("owners"), key("about")], arguments))
            except Exception as error:
                if "COUNT" not in str(error):
                    raise self._explained(asked, error) from error
                self.shard_count = int(str(error).split()[-1])
                asked.shard_id = self.shard_id_of(asked.guild_id or 0)
            else:
                return
        raise _nobody(asked)

    def _explained(self, asked: _Asked, error: Exception) -> Exception:
        if "NOBODY" in str(error):
            return _nobody(asked)
        if "FULL" in str(error):
            text = f"{MAX_WAITING} commands wait already for the process that has the shard"
            return SendQueueFull(text, limit=MAX_WAITING)
        return CommandTimeout(
            f"{self._streams.shown} did not take a command: {error}",
            timeout_s=self._timeout_s,
            may_be_sent=True,
        )

    async def _answer(self, asked: _Asked, end: float) -> Answer:
        try:
            left_s = end - time.monotonic() + GRACE_S
            return await asyncio.wait_for(asked.answers.get(), left_s)
        except asyncio.TimeoutError:
            raise CommandTimeout(
                f"nobody answered a command for shard {asked.shard_id} in {self._timeout_s} s; it "
                "may have been sent",
                timeout_s=self._timeout_s,
                may_be_sent=True,
            ) from None

    async def _next(self, asked: _Asked, window: str, taken: int) -> Answer:
        """Wait for the next answer as long as whoever was asked is there."""
        client, alive = self._streams.client, self._streams.key("alive", asked.who.decode())
        heard_at = time.monotonic()
        while True:
            with contextlib.suppress(asyncio.TimeoutError):
                return await asyncio.wait_for(asked.answers.get(), ALIVE_LOOK_S)
            try:
                await client.set(window, taken, px=ANSWER_KEPT_MS)  # if it was not heard
                is_there = await client.exists(alive)
            except Exception as error:
                if time.monotonic() - heard_at > self._timeout_s:
                    raise self._explained(asked, error) from error
                continue
            heard_at = time.monotonic()
            if not is_there and asked.answers.empty():
                raise SessionLost(
                    f"the process that has shard {asked.shard_id} is gone during "
                    f"request_members({asked.guild_id})"
                )

    def _refuse(self, asked: _Asked, what: bytes, text: bytes) -> None:
        """Raise what an answer says, unless the shard was elsewhere."""
        if what == b"error":
            raise decode_error(text)
        if what == b"expired":
            raise CommandTimeout(
                f"a command for shard {asked.shard_id} waited {self._timeout_s} s for the send "
                "budget, and was taken back",
                timeout_s=self._timeout_s,
                may_be_sent=False,
            )

    async def _read(self) -> None:
        """Hand out answers for as long as some are awaited."""
        while self._asked:
            try:
                found = await self._streams.client.xread(
                    {self._answers: self._last}, count=READ_ANSWERS, block=BLOCK_MS
                )
            except Exception as error:
                log.debug("answers cannot be read: %s", error)
                await asyncio.sleep(AGAIN_S)
                continue
            for _, entries in entries_of(found):
                self._last = entries[-1][0]
                for _, values in entries:
                    if (asked := self._asked.get(values[b"id"])) is not None:
                        asked.answers.put_nowait((values[b"what"], values[b"body"], values[b"d"]))
                with contextlib.suppress(Exception):  # they go with the next ones
                    await self._streams.client.xtrim(
                        self._answers, minid=self._last, approximate=False
                    )

    # --- presence --------------------------------------------------------------------------------

    def show(self, presence: Mapping[str, Any], shard_ids: Iterable[int] | None) -> None:
        """Say which presence is wanted from now on; it is told in the background."""
        encode_command(Opcode.PRESENCE_UPDATE, presence)
        ids = None if shard_ids is None else tuple(shard_ids)
        for shard_id in ids or ():
            self.way_to(shard_id, None)
        self._presences.append((orjson.dumps(presence), ids))
        self._show_soon()

    def _show_soon(self) -> None:
        if self.is_open and self._presences and (self._showing is None or self._showing.done()):
            self._showing = asyncio.get_running_loop().create_task(self._tell_presences())

    async def _tell_presences(self) -> None:
        key = self._streams.key
        while self._presences and self.is_open:
            presence, shard_ids = self._presences[0]
            pipeline = self._streams.client.pipeline()
            if shard_ids is None:
                pipeline.delete(key("presence"))
            names = ["all"] if shard_ids is None else list(map(str, shard_ids))
            pipeline.hset(key("presence"), mapping=dict.fromkeys(names, presence))
            pipeline.incr(key("presence", "version"))
            try:
                await pipeline.execute()
            except Exception as error:
                self._streams.outage.failed("presences", error)
                await asyncio.sleep(AGAIN_S)
            else:
                self._streams.outage.ended("presences")
                del self._presences[0]


def _nobody(asked: _Asked) -> ShardNotRunning:
    return ShardNotRunning(
        f"no process that takes commands runs shard {asked.shard_id} now", shard_id=asked.shard_id
    )


def _question(query: MemberQuery) -> bytes:
    """Return what `request_members` was asked for, as the other side asks it again."""
    asked = {
        "query": "", "limit": 0, "user_ids": None, "presences": False, **query.data,
        "timeout_s": query.timeout_s, "on_rate_limit": "wait" if query.waits else "raise",
    }  # fmt: skip
    return orjson.dumps(asked)
