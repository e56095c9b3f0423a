"""
What a shard needs of others, each as the smallest protocol that it calls.

`fleet` implements them. A protocol belongs to who calls it, so it stands here, below all of them;
what a fleet needs of others (the identify queue, the session store) stands in `fleet/ports`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..errors import FastgwError, FatalError
    from ..protocol.session import Session
    from ..protocol.signals import SessionEnded
    from .face import Shard, StatusChange

__all__ = ["IdentifyDoor", "IdentifyTurn", "ShardHost"]


class IdentifyTurn(Protocol):
    """Permission to write one IDENTIFY, held by one shard."""

    def written(self) -> None:
        """Tell that IDENTIFY is being written now: the turn is spent."""

    def release(self) -> None:
        """
        Give the turn up, once: READY or a failure came, or the socket died before the write.

        A turn that was never written is free again at once. Calling it twice does nothing.
        """


class IdentifyDoor(Protocol):
    """The way to the identify queue, which one shard's fatal refusal shuts for all."""

    async def acquire(self, shard_id: int) -> IdentifyTurn:
        """
        Wait for the turn of `shard_id`; the caller must `release()` it.

        Raises:
            FatalError: the door is shut, before or while waiting; the error that shut it.
        """

    def shut(self, error: FatalError) -> None:
        """
        Let nobody through from now on; those who wait get `error`.

        A shard that was refused calls it before its turn goes back, so that no other takes it.
        """


class ShardHost(Protocol):
    """Who runs the shard and hears of it."""

    @property
    def was_ready(self) -> bool:
        """Whether any shard of it has ever been READY."""

    @property
    def keeps_sessions(self) -> bool:
        """Whether a shard that stops leaves its session to be resumed by somebody else."""

    def status_changed(self, change: StatusChange) -> None:
        """A shard's state moved."""

    def session_began(self, session: Session, ready: Mapping[str, Any]) -> None:
        """READY came: a new session, and READY's `d`."""

    def session_ended(self, shard_id: int, end: SessionEnded | None) -> None:
        """
        The session of a shard is over.

        Args:
            end: of one that the shard lost, and goes on without; None when it has stopped, or was
                never READY with it here: a stored one was refused.
        """

    def shard_stopped(self, shard: Shard, error: FastgwError | None) -> None:
        """A shard has stopped for good; called once. error is None when it was asked to."""
