"""
Commands of consumers, where the shards run: taken from Redis, carried out, answered.

Theory. A process says every second which shards it has, under an id of its own life. A consumer
leaves a command in the stream of the process that has the shard, if that one lives, by one script.
It is read by nobody else, once, and removed before it is carried out: what dies with the process is
sent by no other one. So a command is sent at most once. Whoever asked is told when a process dies
between the two, or with the answer, that nobody knows. Where the removal alone breaks off, the
command is kept here, and carried out when the server answers again, if it is in time.

It says how long it may take, by the server's clock. When that is over it is taken back from the
send queue, and the answer says so: it was not sent.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from typing import TYPE_CHECKING, Any

import orjson

from ..errors import FastgwError, ShardNotHere, UsageError, WaitFailed
from ..fleet.commands.queries import check_query
from ..log import careful_logger
from .answers import encode_error
from .outbox import Outbox
from .streams import ANSWER_KEPT_MS, ANSWERS_KEPT, MEMBER_WINDOW, entries_of

if TYPE_CHECKING:
    from ..fleet.publishing import PublishedFleet
    from .streams import EventStreams

__all__ = ["OrderTaker"]

log = careful_logger("fastgw.streams")

ANNOUNCE_S = 1.0
ALIVE_S = 10.0  # without a sign of life; then nobody leaves commands here
BLOCK_MS = 500
READ_ORDERS = 64
UNDER_WAY = 1_000  # above, commands stay where they are, and callers are told when that is full
AGAIN_S = 0.25  # while the server is away
LEAVE_S = 1.0  # for last answers
WINDOW_LOOK_S = 0.05
IDLE_S = 30.0  # a caller that takes no chunk for so long is gone


class OrderTaker:
    """
    Takes commands for the shards of one fleet.

    Args:
        streams: the way to the server, open.
        fleet: whose shards they are for.
    Attributes:
        taken: how many commands came.
    """

    def __init__(self, streams: EventStreams, fleet: PublishedFleet) -> None:
        self.taken = 0
        self._streams = streams
        self._fleet = fleet
        self._me = uuid.uuid4().hex
        self._orders = streams.key("orders", self._me)
        self._answers = Outbox(self._send_answers)
        self._last = b"0"
        self._read: list[Any] = []  # of which it is not known that they are removed
        self._announce_at = 0.0
        self._presence_version: bytes | None = None
        self._presences: dict[bytes, bytes] = {}  # by shard id, for those that have their own
        self._shown: dict[int, bytes] = {}
        self._under_way: set[asyncio.Task[None]] = set()
        self._task: asyncio.Task[None] | None = None
        self._is_ended = False

    async def begin(self) -> None:
        """Show the presence that is wanted, before the first shard identifies; take commands."""
        await self._streams.load("announce", "leave")
        await self._follow_presence()
        self._task = asyncio.get_running_loop().create_task(self._serve())

    async def end(self) -> None:
        """Take no more, answer what is under way, and leave; never raises."""
        self._is_ended = True
        if self._task is None:
            return
        self._task.cancel()
        await asyncio.wait((self._task,))
        if self._under_way:
            await asyncio.wait(self._under_way, timeout=LEAVE_S)
        for task in self._under_way:
            task.cancel()
        keys = [self._streams.key("owners"), self._streams.key("alive", self._me), self._orders]
        with contextlib.suppress(Exception):  # it is known to be gone when its sign of life ends
            await self._streams.run("leave", keys, [self._me])

    async def _serve(self) -> None:
        while not self._is_ended:  # redis-py may swallow a cancellation that meets its timeout
            try:
                if time.monotonic() >= self._announce_at:
                    await self._announce()
                if len(self._under_way) < UNDER_WAY:
                    await self._take()
                else:
                    await asyncio.sleep(WINDOW_LOOK_S)
            except Exception as error:  # noqa: PERF203 - an error is rare
                self._streams.outage.failed("commands", error)
                await asyncio.sleep(AGAIN_S)

    async def _announce(self) -> None:
        fleet, key = self._fleet, self._streams.key
        await self._streams.run(
            "announce",
            [key("owners"), key("about"), key("alive", self._me)],
            [
                self._me, int(ALIVE_S * 1000), key("alive", ""), fleet.shard_count,
                int(fleet.members.intents), *(shard.id for shard in fleet.shards),
            ],
        )  # fmt: skip
        await self._follow_presence()
        self._streams.outage.ended("commands")
        self._announce_at = time.monotonic() + ANNOUNCE_S

    # --- presence: what is wanted, not a command -------------------------------------------------

    async def _follow_presence(self) -> None:
        """Show what consumers said last, on shards that were there and on those that came."""
        client, key = self._streams.client, self._streams.key
        version = await client.get(key("presence", "version"))
        if version is not None and version != self._presence_version:
            wanted = await client.hgetall(key("presence"))
            if (of_all := wanted.pop(b"all", None)) is not None:
                self._show(of_all, None)
            self._presences, self._shown = wanted, {}
            self._presence_version = version
        here = {shard.id for shard in self._fleet.shards}
        for shard_id in self._shown.keys() - here:
            del self._shown[shard_id]
        for name, presence in self._presences.items():
            shard_id = int(name)
            if shard_id in here and shard_id not in self._shown:
                self._shown[shard_id] = presence
                self._show(presence, (shard_id,))

    def _show(self, presence: bytes, shard_ids: tuple[int, ...] | None) -> None:
        try:
            self._fleet.set_presence(orjson.loads(presence), shard_ids)
        except (UsageError, ValueError) as error:
            log.error("a presence that a consumer wants cannot be shown: %s", error)

    # --- commands --------------------------------------------------------------------------------

    async def _take(self) -> None:
        client = self._streams.client
        if not self._read:
            places = {self._orders: self._last}
            found = await client.xread(places, count=READ_ORDERS, block=BLOCK_MS)
            for _, entries in entries_of(found):
                self._last = entries[-1][0]  # whatever becomes of them, they do not come again
                self._read += entries
        if not self._read:
            return
        pipeline = client.pipeline()
        pipeline.xdel(self._orders, *(entry_id for entry_id, _ in self._read))
        pipeline.time()
        _, (seconds, microseconds) = await pipeline.execute()
        now_ms = seconds * 1000 + microseconds // 1000
        entries, self._read = self._read, []
        for entry_id, values in entries:
            waited_ms = now_ms - int(entry_id.partition(b"-")[0])
            task = asyncio.get_running_loop().create_task(self._carry_out(values, waited_ms))
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)
            self.taken += 1

    async def _carry_out(self, values: dict[bytes, bytes], waited_ms: int) -> None:
        """Do what one command says, and answer."""
        try:
            left_s = (int(values[b"ms"]) - waited_ms) / 1000
            await self._answer(values, *await self._done(values, left_s))
        except Exception as error:
            log.warning("a command of a consumer could not be answered: %s", error)

    async def _done(self, values: dict[bytes, bytes], left_s: float) -> tuple[str, bytes]:
        shard = self._fleet.shard(int(values[b"shard"]))
        if shard is None:
            return "elsewhere", b""
        if left_s <= 0:
            return "expired", b""
        try:
            if values[b"kind"] == b"members":
                await self._members(values, shard.id)
            else:
                op, d, wait = orjson.loads(values[b"body"])
                try:
                    await asyncio.wait_for(shard.send(op, d, wait=wait), left_s)
                except asyncio.TimeoutError:
                    return "expired", b""
        except ShardNotHere:
            return "elsewhere", b""  # it has left meanwhile
        except (FastgwError, asyncio.TimeoutError) as error:
            return "error", encode_error(error)
        except Exception as error:  # who asked for members waits for the last of them
            log.warning("a command of a consumer broke off: %s", error)
            return "error", encode_error(WaitFailed(f"it broke off: {type(error).__name__}"))
        return "done", b""

    async def _members(self, values: dict[bytes, bytes], shard_id: int) -> None:
        """Ask for members and pass on their chunks, some before who asked takes the first."""
        asked = orjson.loads(values[b"body"])
        members = self._fleet.members
        query = check_query(members.intents, asked.pop("guild_id"), shard_id, **asked)
        sent = 0
        async with contextlib.aclosing(members.chunks(query)) as chunks:
            async for chunk in chunks:
                if not await self._has_room(values[b"id"].decode(), sent):
                    raise WaitFailed(
                        f"{sent} of {chunk.count} chunks of members were sent, and for "
                        f"{IDLE_S:g} s none of them was taken"
                    )
                sent += 1
                place = orjson.dumps([chunk.index, chunk.count])
                await self._answer(values, "chunk", place, data=chunk.event.raw)

    async def _has_room(self, asked: str, sent: int) -> bool:
        """Wait until another chunk may be sent; False when nobody takes them any more."""
        window, until = self._streams.key("window", asked), time.monotonic() + IDLE_S
        while time.monotonic() < until:
            taken = await self._streams.client.get(window)
            if taken is None:
                return False
            if sent - int(taken) < MEMBER_WINDOW:
                return True
            await asyncio.sleep(WINDOW_LOOK_S)
        return False

    async def _answer(
        self, values: dict[bytes, bytes], what: str, body: bytes, *, data: Any = b""
    ) -> None:
        fields = {"id": values[b"id"], "what": what, "body": body, "d": data}
        await self._answers.put((values[b"answer"], fields))

    async def _send_answers(self, answers: list[Any]) -> list[Any]:
        pipeline = self._streams.client.pipeline(transaction=False)
        for key, fields in answers:
            pipeline.xadd(key, fields, maxlen=ANSWERS_KEPT)
            pipeline.pexpire(key, ANSWER_KEPT_MS)
        results: list[Any] = await pipeline.execute(raise_on_error=False)
        return results[::2]
