"""
Which shards a fleet has, and what each of them is there for at the moment.

Theory. A shard is a member from the moment when somebody asks for it until others may run it.
`_MOVES` is all that can become of a member; whoever wants to know something about one asks here,
and nobody keeps a list of his own. That a lease is over is no state: it may happen to a member in
any, and ends when the shard is taken again.

What other threads read, `shards` and `drivers`, is replaced whole and never changed.
"""

from __future__ import annotations

from enum import Enum
from types import MappingProxyType
from typing import TYPE_CHECKING

from ..errors import ShardNotHere, UsageError
from ..protocol.states import State
from ..quoting import ranges
from .ports import Occupied
from .raising import check_shard_id

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from ..shard.driver import ShardDriver
    from ..shard.face import Shard

__all__ = ["Membership", "Roster"]


class Membership(Enum):
    """What a shard of a fleet is there for."""

    STARTING = "the store is asked for it"
    RUNNING = "it is kept connected"
    STOPPED = "it has stopped for good, and stays to be looked at"
    LEAVING = "it is being stopped, and others may not run it yet"
    AWAY = "its lease was over: it is taken again as soon as the store gives it"


class _Move(Enum):
    """What happens to a member."""

    TAKE = "somebody asks for it"
    JOIN = "the store gave it"
    REFUSE = "the store did not give it"
    STOP = "it stopped for good, by itself"
    LEAVE = "somebody takes it out"
    RELEASE = "it is stopped, and the store has it back"


# Out of a state of None, and into one: the shard is no member.
_MOVES: dict[tuple[Membership | None, _Move], Membership | None] = {
    (None, _Move.TAKE): Membership.STARTING,
    (Membership.AWAY, _Move.TAKE): Membership.STARTING,
    (Membership.AWAY, _Move.LEAVE): None,
    (Membership.STARTING, _Move.JOIN): Membership.RUNNING,
    (Membership.STARTING, _Move.REFUSE): None,
    (Membership.RUNNING, _Move.STOP): Membership.STOPPED,
    (Membership.RUNNING, _Move.LEAVE): Membership.LEAVING,
    (Membership.STOPPED, _Move.LEAVE): Membership.LEAVING,
    (Membership.LEAVING, _Move.RELEASE): None,
}  # fmt: skip


class _Member:
    """One shard of the fleet."""

    __slots__ = ("comes_back", "driver", "has_lease", "state")

    def __init__(self) -> None:
        self.state: Membership | None = None
        self.driver: ShardDriver | None = None  # from JOIN on
        self.has_lease = True
        self.comes_back = False  # where it would be none any more, it is AWAY; said by LEAVE


class Roster:
    """
    The shards of one fleet.

    Attributes:
        drivers: what runs those that are here, running or stopped for good, by id and in its order.
        shards: the same as users see them.
    """

    def __init__(self) -> None:
        self._members: dict[int, _Member] = {}
        self.drivers: Mapping[int, ShardDriver] = MappingProxyType({})
        self.shards: tuple[Shard, ...] = ()

    # --- what happens to them --------------------------------------------------------------------

    def take(self, shard_ids: Collection[int]) -> None:
        """
        Ask for shards that are not here; then they have `joined` or were `refused`.

        Raises:
            UsageError: one runs here, or is on its way out; Occupied while another call asks for
                one: a store gives whoever has a shard it again.
        """
        if here := self._those(shard_ids, Membership.RUNNING, Membership.STOPPED):
            raise UsageError(f"shard {ranges(here)} runs already; see reconnect_shard()")
        if leaving := self._those(shard_ids, Membership.LEAVING):
            raise UsageError(
                f"shards {ranges(leaving)} are being stopped: await stop_shard() first"
            )
        if asked := self._those(shard_ids, Membership.STARTING):
            raise Occupied(f"shard {ranges(asked)} is being started already")
        for shard_id in shard_ids:
            self._move(shard_id, _Move.TAKE)

    def joined(self, drivers: Mapping[int, ShardDriver]) -> None:
        """The store gave these shards, and that is what runs them."""
        for shard_id, driver in drivers.items():
            self._move(shard_id, _Move.JOIN)
            member = self._members[shard_id]
            member.driver, member.has_lease, member.comes_back = driver, True, False
        self._show()

    def refused(self, shard_ids: Collection[int]) -> None:
        """The store did not give them, or whoever asked does not want them any more."""
        for shard_id in shard_ids:
            self._move(shard_id, _Move.REFUSE)

    def stopped(self, shard: Shard) -> bool:
        """A shard stopped for good; False for one that is being taken out, whose end that is."""
        member = self._members.get(shard.id)
        if member is None or member.driver is None or member.driver.shard is not shard:
            return False
        if member.state is not Membership.RUNNING:
            return False
        self._move(shard.id, _Move.STOP)
        return True

    def leaves(self, shard_id: int, *, comes_back: bool = False) -> ShardDriver:
        """
        Take a shard out; return what runs it, to be stopped and released.

        Args:
            comes_back: then it is AWAY, until it is taken again.
        Raises:
            ShardNotHere: it is not here.
        """
        driver = self.here(shard_id)
        self._move(shard_id, _Move.LEAVE)
        self._members[shard_id].comes_back = comes_back
        self._show()
        return driver

    def stays_out(self, shard_id: int) -> bool:
        """
        Let a shard that is AWAY, or about to be, come back no more; False for any other.

        One that is being put out, or asked for again, is no member as soon as that has ended; one
        that the store gives at the same moment runs.
        """
        member = self._members.get(shard_id)
        if member is None or not member.comes_back:
            return False
        member.comes_back = False
        if member.state is Membership.AWAY:
            self._move(shard_id, _Move.LEAVE)
        return True

    def released(self, shard_id: int) -> None:
        """It is stopped, and others may run it."""
        self._members[shard_id].driver = None
        self._move(shard_id, _Move.RELEASE)

    def leases_ended(self, shard_ids: Collection[int]) -> None:
        """Others may own these shards from now on, until they are taken again."""
        for shard_id in shard_ids:
            if (member := self._members.get(shard_id)) is not None:
                member.has_lease = False

    # --- what is asked ---------------------------------------------------------------------------

    def here(self, shard_id: int) -> ShardDriver:
        """Return what runs a shard that is here, or raise ShardNotHere."""
        check_shard_id(shard_id)
        if (driver := self.drivers.get(shard_id)) is None:
            raise ShardNotHere(shard_id, list(self.drivers))
        return driver

    def state(self, shard_id: int) -> Membership | None:
        """Return what a shard is there for; None for one that is no member."""
        member = self._members.get(shard_id)
        return None if member is None else member.state

    def was_refused(self, shard_id: int) -> bool:
        """Tell whether a shard stopped because of an error: to start it again is no help."""
        driver = self.drivers.get(shard_id)
        is_stopped = self.state(shard_id) is Membership.STOPPED
        return is_stopped and driver is not None and driver.error is not None

    def is_ours(self, shard_id: int) -> bool:
        """Tell whether a shard is a member, and its lease is not over."""
        member = self._members.get(shard_id)
        return member is not None and member.has_lease

    @property
    def is_over(self) -> bool:
        """Whether the shards there are have all stopped for good; not for none at all."""
        staying = [
            member.state
            for member in self._members.values()
            if member.state is not Membership.LEAVING or member.comes_back
        ]
        return bool(staying) and all(state is Membership.STOPPED for state in staying)

    @property
    def is_ready(self) -> bool:
        """Whether there are shards here, and all are READY."""
        drivers = self.drivers
        return bool(drivers) and all(one.status is State.READY for one in drivers.values())

    # --- inside ----------------------------------------------------------------------------------

    def _those(self, shard_ids: Collection[int], *states: Membership) -> list[int]:
        return sorted(shard_id for shard_id in shard_ids if self.state(shard_id) in states)

    def _move(self, shard_id: int, move: _Move) -> None:
        member = self._members.get(shard_id) or _Member()
        member.state = _MOVES[member.state, move]
        if member.state is None and member.comes_back:
            member.state = Membership.AWAY
        if member.state is None:
            del self._members[shard_id]
        else:
            self._members[shard_id] = member

    def _show(self) -> None:
        """Replace what others look at."""
        here = {
            shard_id: member.driver
            for shard_id, member in sorted(self._members.items())
            if member.driver is not None and member.state is not Membership.LEAVING
        }
        self.drivers = MappingProxyType(here)
        self.shards = tuple(driver.shard for driver in here.values())
