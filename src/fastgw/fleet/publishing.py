"""What a publisher of events needs of the shards whose events they are."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

from ..errors import ShardNotHere
from ..protocol.token import bot_id_of

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from typing import Any

    from ..delivery.handlers import Handlers
    from ..errors import FastgwError
    from ..health.streams import PublisherHealth, PublisherStats
    from ..protocol.identity import Identity
    from ..shard.driver import ShardDriver
    from ..shard.face import Shard
    from .commands.members import MemberRequests

__all__ = ["EventPublisher", "PublishedShards", "open_publisher"]


class EventPublisher(Protocol):
    """Where a gateway's events go beside its handlers; an object for `Gateway(publish=...)`."""

    async def open(self, handlers: Handlers, shards: PublishedShards) -> None:
        """Subscribe to what is wanted, before the first shard connects."""

    def end(self) -> None:
        """No event comes any more."""

    def health(self) -> PublisherHealth:
        """Return how it is now; from any thread."""

    def stats(self) -> PublisherStats:
        """Return what it counted; from any thread."""


class PublishedFleet(Protocol):
    """What of a fleet its publisher may use; see `Fleet`."""

    members: MemberRequests

    @property
    def shards(self) -> tuple[Shard, ...]:
        """Those that run here."""

    @property
    def shard_count(self) -> int:
        """How many the bot has in all."""

    def running(self, shard_id: int) -> ShardDriver:
        """Return the driver of one that runs here, or raise ShardNotHere."""

    def shard(self, shard_id: int) -> Shard | None:
        """Return one that runs here."""

    def set_presence(self, presence: Mapping[str, Any], shard_ids: Collection[int] | None) -> None:
        """Show it from now on."""

    def refuse(self, error: FastgwError) -> None:
        """End it with this error."""


class PublishedShards:
    """
    The shards of one fleet, as a publisher sees them.

    Attributes:
        fleet: for commands: each is taken as one of the program itself.
        bot_id: whose they are; None while neither the token nor READY has said so.
    """

    def __init__(self, fleet: PublishedFleet, bot_id: int | None = None) -> None:
        self.fleet = fleet
        self.bot_id = bot_id
        self._running = fleet.running
        self._stops: set[asyncio.Task[None]] = set()

    @property
    def ids(self) -> list[int]:
        """The shards that run here."""
        return [shard.id for shard in self.fleet.shards]

    def session_id(self, shard_id: int) -> str:
        """Return the id of the session that a shard has; "" when it has none."""
        session = self._running(shard_id).session
        return "" if session is None else session.session_id

    def is_here(self, shard_id: int) -> bool:
        """Tell whether a shard runs here."""
        return self.tenure(shard_id) is not None

    def tenure(self, shard_id: int) -> object | None:
        """Return what is another object when a shard left and came back; None while it is away."""
        try:
            return self._running(shard_id)
        except ShardNotHere:
            return None

    def rewind(self, shard_id: int, session_id: str, sequence: int) -> bool:
        """
        Resume a session from an earlier sequence: what came since is sent again.

        Returns:
            False when the shard left, or does not have that session any more: nothing was done.
        """
        if not self.is_here(shard_id) or self.session_id(shard_id) != session_id:
            return False
        self._running(shard_id).reconnect(sequence)
        return True

    def refuse(self, error: FastgwError) -> None:
        """End the gateway: nothing of it can ever be published."""
        self.fleet.refuse(error)

    def stop(self, shard_id: int) -> None:
        """Stop a shard that is another process's now, and leave its session alone."""
        if not self.is_here(shard_id):
            return  # it has left already
        driver = self._running(shard_id)
        driver.deafen()
        task = asyncio.get_running_loop().create_task(driver.close(keep_session=True))
        self._stops.add(task)
        task.add_done_callback(self._stops.discard)


async def open_publisher(
    publisher: EventPublisher | None, handlers: Handlers, fleet: PublishedFleet, identity: Identity
) -> None:
    """Let a publisher, if there is one, subscribe to what it publishes."""
    if publisher is not None:
        bot_id = bot_id_of(identity.token)
        await publisher.open(handlers, PublishedShards(fleet, bot_id))
