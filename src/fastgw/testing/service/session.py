"""A session as the service keeps it: what a RESUME needs on the server's side."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Protocol

from ...protocol.events import EVENT_INTENTS

__all__ = ["FakeSession", "Peer"]


class Peer(Protocol):
    """What a session needs of the connection that it is bound to; a `FakePeer` is one."""

    session: FakeSession | None

    def queue(self, message: bytes, name: str) -> None:
        """Put a dispatch behind what waits."""

    def close(self, close_code: int | None, reason: str = "") -> None:
        """Close the websocket after what is queued."""


@dataclass(slots=True, eq=False)
class FakeSession:
    """
    A session: what RESUME needs on the server's side.

    Attributes:
        session_id: as READY said it.
        shard_id, shard_count: the shard that it is for.
        intents: those of its IDENTIFY.
        sequence: that of the last dispatch.
        log: `(sequence, message)` of the dispatches that can still be replayed, oldest first.
        log_bytes: the size of their messages.
        peer: the connection it is bound to, or None.
        detached_at: when it lost its connection.
    """

    session_id: str
    shard_id: int
    shard_count: int
    intents: int
    sequence: int
    log: deque[tuple[int, bytes]] = field(default_factory=deque, repr=False)
    log_bytes: int = 0
    peer: Peer | None = field(default=None, repr=False)
    detached_at: float | None = None

    def is_for(self, guild_id: int | None) -> bool:
        """Whether this shard serves the guild (None: what belongs to no guild, shard 0)."""
        return ((guild_id or 0) >> 22) % self.shard_count == self.shard_id

    def wants(self, name: str) -> bool:
        """Whether its intents open the event."""
        gate = EVENT_INTENTS.get(name)
        return gate is None or bool(self.intents & gate)

    def append(self, message: bytes, name: str) -> None:
        """Log a dispatch that has the session's sequence, and send it if there is a peer."""
        self.log.append((self.sequence, message))
        self.log_bytes += len(message)
        if self.peer is not None:
            self.peer.queue(message, name)

    def trim(self, messages: int, size_bytes: int) -> None:
        """Forget the oldest dispatches until no more than this is left to replay."""
        while len(self.log) > messages or self.log_bytes > size_bytes:
            self.log_bytes -= len(self.log.popleft()[1])

    def forget_log(self) -> None:
        """Forget all dispatches: nothing can be replayed any more."""
        self.log.clear()
        self.log_bytes = 0

    def forget_to(self, sequence: int) -> None:
        """Forget the dispatches up to that sequence: the client has said that it has them."""
        while self.log and self.log[0][0] <= sequence:
            self.log_bytes -= len(self.log.popleft()[1])

    def replay_after(self, sequence: int, *, overlap: int = 0) -> list[bytes] | None:
        """
        Return the dispatches after that sequence; None when some of them are forgotten.

        Args:
            overlap: how many before it come as well, as far as they are still there.
        """
        if sequence < self.sequence and (not self.log or self.log[0][0] > sequence + 1):
            return None
        return [message for number, message in self.log if number > sequence - overlap]

    def bind(self, peer: Peer) -> None:
        """Bind it to a connection; one that it is bound to already loses it and is closed."""
        old, self.peer, self.detached_at = self.peer, peer, None
        peer.session = self
        if old is not None and old is not peer:
            old.session = None
            old.close(4000, "Session resumed elsewhere.")

    def detach(self, now: float) -> None:
        """Unbind it from its connection; it can be resumed for a while."""
        if self.peer is not None:
            self.peer.session = None
        self.peer, self.detached_at = None, now
