"""One shard as users see it: its status, its figures, and a way to send."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from ..errors import SessionLost, UsageError
from ..home import Home
from ..protocol.states import State
from ..protocol.wire import Opcode, encode_command, read_command

if TYPE_CHECKING:
    from ..errors import FastgwError
    from ..health.counts import ShardStats
    from ..health.figures import ShardHealth
    from ..protocol.session import Session
    from ..protocol.signals import Cause

__all__ = ["Shard", "StatusChange", "shard_id_for"]

# What fastgw itself sends; from a user they would break the session (4003, 4005).
_OWN_OPCODES = frozenset({Opcode.DISPATCH, Opcode.HEARTBEAT, Opcode.IDENTIFY, Opcode.RESUME})


@dataclass(frozen=True, slots=True)
class StatusChange:
    """
    One transition of one shard, for `@gateway.on_status`.

    Attributes:
        shard: whose.
        old, new: the states.
        cause: why it went down; None on the way up.
        error: why the connection ended, or the shard stopped; a ConnectionClosed where the service
            or the network ended it. None on the way up, and for an end that was asked for.
        is_cold_resume: it is READY with the session of an earlier process: READY and GUILD_CREATE
            do not come.
    """

    shard: Shard
    old: State
    new: State
    cause: Cause | None
    error: BaseException | None
    is_cold_resume: bool = False


def shard_id_for(guild_id: int | str, shard_count: int) -> int:
    """
    Return the id of the shard on which a guild's events come.

    Raises:
        UsageError: not an id, or not a number of shards.
    Source: Discord docs, "Sharding": `(guild_id >> 22) % num_shards`.
    """
    try:
        number = int(guild_id)
    except (TypeError, ValueError):
        number = -1
    if isinstance(guild_id, (bool, float)) or not 0 <= number < 1 << 64:
        raise UsageError(f"guild_id={guild_id!r} is not the id of a guild")
    if isinstance(shard_count, bool) or not isinstance(shard_count, int) or shard_count < 1:
        raise UsageError(f"shard_count={shard_count!r} is not a number of shards")
    return (number >> 22) % shard_count


class Keeper(Protocol):
    """What a `Shard` shows: the driver that keeps it connected. `now` is monotonic seconds."""

    error: FastgwError | None

    @property
    def status(self) -> State:
        """The state of its connection, now."""

    @property
    def is_cold(self) -> bool:
        """Whether its session is of an earlier process."""

    def latency(self, now: float) -> float | None:
        """Return the seconds of the last heartbeat's round trip; None when unknown or old."""

    def health(self, now: float) -> ShardHealth:
        """Return how the shard is."""

    def stats(self) -> ShardStats:
        """Return what the shard counted."""

    @property
    def session(self) -> Session | None:
        """What RESUME would need now; None without a session."""

    def send_room(self, now: float) -> int:
        """Return how many more commands would be written at once."""

    async def send(self, command: bytes, op: int, d: object, *, wait: bool) -> None:
        """Queue a user's command, encoded; wait until it is written."""

    def pause_reading(self) -> None:
        """Stop reading from the connection."""

    def resume_reading(self) -> None:
        """Read again."""


class Shard:
    """
    One shard of a gateway; `Gateway` makes it and keeps it connected.

    It lives in the loop of its gateway; what may be called from any thread says so.

    Attributes:
        id: its number, from 0.
        count: how many shards the bot has.
    """

    __slots__ = ("_home", "_keeper", "count", "id")

    def __init__(
        self, keeper: Keeper, shard_id: int, shard_count: int, home: Home | None = None
    ) -> None:
        self._home = home or Home()
        self._keeper = keeper
        self.id = shard_id
        self.count = shard_count

    def __repr__(self) -> str:
        return f"<Shard {self.id}/{self.count} {self.status.value}>"

    @property
    def status(self) -> State:
        """The state of its connection, now; from any thread."""
        return self._keeper.status

    @property
    def is_cold(self) -> bool:
        """
        Whether its session was begun by an earlier process, and taken from the store.

        READY and GUILD_CREATE of such a session went to that process and do not come again. From
        any thread.
        """
        return self._keeper.is_cold

    @property
    def error(self) -> FastgwError | None:
        """
        Why it stopped for good; None while it runs, and after a stop that was asked for.

        From any thread.
        """
        return self._keeper.error

    @property
    def latency(self) -> float | None:
        """
        Seconds of the last heartbeat's round trip; None when unknown or too old to mean much.

        From any thread.
        """
        return self._keeper.latency(time.monotonic())

    @property
    def session_id(self) -> str | None:
        """
        The id of its session; None without one. With the token it is all that RESUME needs.

        From any thread.
        """
        session = self._keeper.session
        return None if session is None else session.session_id

    @property
    def resume_url(self) -> str | None:
        """
        Where its session would be resumed, without a query; None without a session.

        From any thread.
        """
        session = self._keeper.session
        return None if session is None else session.resume_url

    def health(self) -> ShardHealth:
        """Return its figures at this moment; from any thread."""
        return self._keeper.health(time.monotonic())

    def stats(self) -> ShardStats:
        """Return what it counted since it was made; from any thread."""
        return self._keeper.stats()

    # --- commands --------------------------------------------------------------------------------

    @property
    def send_room(self) -> int:
        """
        How many commands would be written at once: what waits, or is ours, is taken off.

        From any thread.
        """
        return self._keeper.send_room(time.monotonic())

    async def send(self, op: int, d: object = None, *, wait: bool = True) -> None:
        """
        Send a command; return when it is written.

        It waits until the session is up and the send budget (120 in 60 s, heartbeats included) has
        room: voice states first, then a presence (5 in 20 s), then the rest in the order of the
        calls. A presence takes the place of one that waits, and so does a voice state of the same
        guild; both calls return when the later is written. Cancelling takes a command back.

        Args:
            op: an opcode such as Opcode.VOICE_STATE_UPDATE; heartbeat, identify and resume are
                ours. A presence sent so ends with the session, see `Gateway.set_presence`.
            d: anything that JSON can hold; the whole command may have 4096 bytes.
            wait: False raises when 500 commands wait already, which takes four minutes to send.
        Raises:
            UsageError: an opcode of ours, or data that is not JSON or too long.
            SendQueueFull: too many commands wait already.
            SessionLost: the session ended, or the shard stopped, before it was written.
        """
        await self._send(encode_command(op, d), op, d, wait)

    async def send_encoded(self, command: bytes, *, wait: bool = True) -> None:
        """
        Send a command that is encoded already, as `send` does.

        Args:
            command: one JSON object with `op` and `d`, 4096 bytes at most; sent as it is.
            wait: as for `send`.
        Raises:
            UsageError: not such an object, too long, or an opcode of ours.
            SendQueueFull, SessionLost: as for `send`.
        """
        op, d = read_command(command)
        await self._send(command, op, d, wait)

    async def _send(self, command: bytes, op: int, d: object, wait: bool) -> None:
        if op in _OWN_OPCODES:
            raise UsageError(f"op {int(op)} is sent by fastgw itself; it is not for shard.send()")
        if self.status is State.STOPPED:
            raise SessionLost(f"shard {self.id} is stopped: nothing can be sent any more")
        self._home.check_loop("shard.send")
        await self._keeper.send(command, op, d, wait=wait)

    # --- reading ---------------------------------------------------------------------------------

    def pause_reading(self) -> None:
        """
        Stop reading from the connection, for handlers that cannot keep up.

        The service queues what it sends, for as long as it likes. Heartbeats go on, and their ACKs
        are not missed meanwhile; a dead or closed connection is noticed later for it. Events that
        have been read already still come. It begins when the shard is READY, and ends with
        `resume_reading()`, or with the connection: the next one reads. fastgw itself stops reading
        where handlers and iterators fall behind; see `DeliveryLimits`.
        """
        self._home.check_loop("shard.pause_reading")
        self._keeper.pause_reading()

    def resume_reading(self) -> None:
        """Read again."""
        self._home.check_loop("shard.resume_reading")
        self._keeper.resume_reading()
