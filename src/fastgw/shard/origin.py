"""Where the session of a shard comes from: begun here, or by an earlier process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..protocol.states import State

if TYPE_CHECKING:
    from ..protocol.session import Session

__all__ = ["SessionOrigin"]


class SessionOrigin:
    """
    What the store knows of one shard's session, and the shard of the store's.

    Args:
        session: the stored one to begin with, None when there is none.
    Attributes:
        is_cold: the session is of an earlier process, which got its READY and GUILD_CREATE.
    """

    __slots__ = ("_stored", "_was_ready", "is_cold")

    def __init__(self, session: Session | None) -> None:
        self.is_cold = session is not None
        self._was_ready = False
        self._stored: int | None = None  # the sequence that the store was told last

    def is_cold_resume(self) -> bool:
        """Take note of a move to READY; tell whether it is the first here, with such a session."""
        is_first, self._was_ready = not self._was_ready, True
        return is_first and self.is_cold

    def ended(self) -> bool:
        """
        Take note that this session is over: the next one is of this process.

        Returns:
            Whether the shard was READY with it here; not with a stored one that was refused.
        """
        self.is_cold = False
        return self._was_ready

    def sequence(self, reached: int | None, state: State) -> int | None:
        """
        Return how far a session is, for the store; None while nothing shows that it lives.

        It lives while the shard is READY, and when a replay brought something.

        Args:
            reached: the sequence received or handled; None without a session.
        """
        if reached is None or (state is not State.READY and reached == self._stored):
            return None
        self._stored = reached
        return reached
