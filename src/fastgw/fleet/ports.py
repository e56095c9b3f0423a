"""
What a fleet needs of others: who may identify when, and where sessions are kept.

Users and `ext` may implement them for what several machines share; here are those of one process
and of one machine. Each has a public suite in `fastgw.testing.conformance`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from ..errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from typing import Literal

    from ..health.figures import IdentifyBudget
    from ..protocol.session import Session
    from ..shard.ports import IdentifyTurn
    from .http.gateway_info import SessionStartLimit

    Acknowledge = Literal["received", "handled"]

__all__ = [
    "IdentifyQueue",
    "LeasingStore",
    "Occupied",
    "OpenStore",
    "SessionStore",
    "StoredSession",
    "at_sequence",
    "check_acknowledge",
]


class Occupied(UsageError):
    """Somebody else has it at the moment: the same call may work later."""


class IdentifyQueue(Protocol):
    """
    Who may identify next; account-wide, so processes that share a token must share it.

    Rules, tested for every implementation by `fastgw.testing.conformance.queues`: a key is
    `shard_id % max_concurrency`; one turn per key at a time; the next begins when the last was
    released and at least 5 s plus padding passed since its IDENTIFY was written; first come, first
    served, among those who wait at one object; a cancelled `acquire` takes nothing; nothing is
    given when the day's identifies are used up but for the reserve.
    """

    async def learn(
        self,
        limit: SessionStartLimit,
        *,
        asked_at: float,
        is_fresh: bool,
        bot_id: int | None = None,
    ) -> None:
        """
        Take what the API said about the limit.

        Args:
            limit: `session_start_limit`; it says how many keys there are, too.
            asked_at: when the question went out, in monotonic seconds.
            is_fresh: False for an answer that a user kept: it may lower what is left, never raise.
            bot_id: whose, when it is known; a queue of another bot raises UsageError.
        """

    def budget(self) -> IdentifyBudget | None:
        """Return what is left of the day, as far as is known without asking anybody."""

    async def acquire(self, shard_id: int) -> IdentifyTurn:
        """
        Wait for the turn of `shard_id`; the caller must `release()` it.

        A queue that raises is asked again after a backoff; a FatalError stops the shard.

        Raises:
            IdentifyBudgetSpent: nothing identifies before the time that it names.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredSession:
    """
    A session in a store.

    Attributes:
        session: what RESUME needs.
        terms: what IDENTIFY fixed and RESUME cannot change, as text; stores do not look into it.
        bot_id: whose it is; None when that is not known.
        age_s: how long ago it was last seen alive, when it is taken; None when nobody can tell.
    """

    session: Session
    terms: str
    bot_id: int | None = None
    age_s: float | None = None


def at_sequence(stored: StoredSession, sequence: int) -> StoredSession:
    """Return it with the higher one of its sequence and this."""
    if sequence <= stored.session.sequence:
        return stored
    return replace(stored, session=replace(stored.session, sequence=sequence))


def check_acknowledge(acknowledge: Acknowledge) -> Acknowledge:
    """Return which sequence a store is told; raise UsageError for what none can be."""
    if acknowledge not in ("received", "handled"):
        raise UsageError(f"acknowledge={acknowledge!r} is not 'received' or 'handled'")
    return acknowledge


class OpenStore(Protocol):
    """
    A session store as one fleet has it open. What it promises is tested for every implementation by
    `fastgw.testing.conformance.SessionStoreSuite`.

    Nothing here is awaited for an event: `save`, `save_sequences` and `forget` note what shall be
    stored and return, and what cannot be stored is told in the log, once, and tried again.
    """

    @property
    def is_durable(self) -> bool:
        """Whether what is saved now outlives the process."""

    async def take(self, shard_ids: Collection[int], shard_count: int) -> dict[int, StoredSession]:
        """
        Become the only one who runs these shards; return what is stored of them, by shard.

        Sessions of another shard count are not among it.

        Raises:
            UsageError: somebody else runs one of them, or runs others with another shard count; or
                the store is closed, also meanwhile: then nothing is held.
        """

    def save(self, stored: StoredSession) -> None:
        """
        Store a new session of a shard that was taken: READY came. It is written at once.

        What is of a shard that was never taken, or has been released, is passed over, here and in
        what follows.

        Raises:
            UsageError: the store is another bot's; nothing of this one may be stored in it.
        """

    def save_sequences(self, sequences: Mapping[int, int]) -> None:
        """
        Note that the sessions of these shards are alive, and how far they are.

        A sequence lower than the stored one is not taken, and a shard without a session ignored.
        Called about once a second, also with nothing: what failed is tried again.
        """

    def forget(self, shard_id: int) -> None:
        """
        Remove the session of a shard: it is over.

        While it may be another bot's it stays in the store, as it is.
        """

    async def release(self, shard_ids: Collection[int]) -> None:
        """Write what is not written yet, then let others run these shards; sessions stay."""

    async def close(self) -> None:
        """Release everything."""


@runtime_checkable
class LeasingStore(Protocol):
    """
    An `OpenStore` that has its shards on lease only, for others may take what is not renewed.

    Who uses it looks every `look_s`, and disconnects what `expired` returns before others own it.
    """

    @property
    def look_s(self) -> float:
        """Seconds between two looks; a lease counts as over several of them early."""

    def expired(self) -> Collection[int]:
        """
        Return the shards whose lease is over, once; from then on nothing is stored of them.

        Their sessions stay in the store, and `take` may get them again.
        """


class SessionStore(Protocol):
    """Where the sessions of one bot are kept."""

    @property
    def is_durable(self) -> bool:
        """Whether what it keeps outlives the process."""

    @property
    def acknowledge(self) -> Acknowledge:
        """Which sequence it is told: that of the last event received, or handled."""

    async def open(self, bot_id: int | None) -> OpenStore:
        """
        Begin to use it; several fleets may, each with shards of its own.

        Args:
            bot_id: the bot's user id, None when it is not known yet.
        Raises:
            UsageError: it is another bot's, or cannot be used at all.
        """
