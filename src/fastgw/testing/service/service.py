"""
What outlives the connections of a fake gateway: settings, sessions, identify limits, records.

    service = FakeService(token="secret", heartbeat_interval_ms=1_000)
    peer = service.connect(now=0.0)         # a FakePeer: the server half of one connection
    service.dispatch("MESSAGE_CREATE", {"content": "hi"})

Sans-IO: time comes in as `now` (seconds, any origin, the same for all calls), nothing is random.
A session is born by IDENTIFY, survives its connection, keeps the dispatches that a RESUME would
replay, and dies when the client closes with 1000 or 1001, when it was away for too long, or when
the service kills it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any

import orjson

from ...errors import UsageError
from ...protocol.wire import EVENT_INTENTS, Intents
from ..traffic.traffic import Dispatch, encode

if TYPE_CHECKING:
    from .peer import FakePeer

__all__ = ["Command", "FakeService", "FakeSession", "Moment"]

_GUILD_OBJECTS = frozenset({"GUILD_CREATE", "GUILD_UPDATE", "GUILD_DELETE"})


class Moment(Enum):
    """What a peer is about to do, and may be told to do otherwise (`FakeService.instead_of`)."""

    OPENED = "opened"  # the websocket is open: HELLO is next
    IDENTIFY = "identify"  # a valid IDENTIFY came: a new session and READY are next
    RESUME = "resume"  # a RESUME with the right token came: replay and RESUMED, or op 9, are next
    HEARTBEAT = "heartbeat"  # a heartbeat came: its ACK is next
    COMMAND = "command"  # any other valid command came: nothing is next


@dataclass(frozen=True, slots=True)
class Command:
    """
    A command that a client sent (heartbeats are only counted).

    Attributes:
        op: its opcode.
        data: its `d`; the token of IDENTIFY and RESUME is replaced.
        shard_id: the shard of its session, None before there is one.
        at: when it came.
        heard: False when the service ignored it (the sixth presence in 20 seconds).
    """

    op: int
    data: Any
    shard_id: int | None
    at: float
    heard: bool = True


@dataclass(slots=True, eq=False)
class FakeSession:
    """
    A session: what RESUME needs on the server's side.

    Attributes:
        sequence: that of the last dispatch.
        log: `(sequence, message)` of the dispatches that can still be replayed, oldest first.
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
    peer: FakePeer | None = field(default=None, repr=False)
    detached_at: float | None = None

    def is_for(self, guild_id: int | None) -> bool:
        """Whether this shard serves the guild (None: what belongs to no guild, shard 0)."""
        return ((guild_id or 0) >> 22) % self.shard_count == self.shard_id

    def wants(self, name: str) -> bool:
        """Whether its intents open the event."""
        gate = EVENT_INTENTS.get(name)
        return gate is None or bool(self.intents & gate)

    def replay_after(self, sequence: int, *, overlap: int = 0) -> list[bytes] | None:
        """
        Return the dispatches after that sequence; None when some of them are forgotten.

        Args:
            overlap: how many before it come as well, as far as they are still there.
        """
        if sequence < self.sequence and (not self.log or self.log[0][0] > sequence + 1):
            return None
        return [message for number, message in self.log if number > sequence - overlap]


class FakeService:
    """
    The service behind any number of fake connections.

    Args:
        token: the only one accepted (without "Bot "); None accepts any.
        heartbeat_interval_ms: what HELLO says.
        heartbeat_patience: close with 4009 after that many intervals without a heartbeat, and
            forget the session, as the real service does; None never does.
        allowed_intents: others that are privileged close with 4014, undefined bits with 4013.
        shard_counts: shard counts accepted, others close with 4010; None accepts any.
        recommended_shards: what `GET /gateway/bot` says.
        max_concurrency: identify keys, `shard_id % max_concurrency`.
        identify_interval_s: a second IDENTIFY of one key within it is answered by op 9 (the real
            service: 5 s). 0 lets everything through.
        identifies_total: when they are used up, all sessions end with 4004, as on the real service.
        session_ttl_s: how long a session without connection can be resumed.
        replay_limit, replay_limit_bytes: dispatches kept for replay, by number and by size.
        replay_overlap: replay that many dispatches which the client has already acknowledged.
        first_sequence: that of READY.
        guilds: GUILD_CREATE dispatches (`Traffic.startup()`), streamed after READY to their shard.
        resume_url: what READY says; None for the URL of the `FakeGateway` (or, without one, for a
            host that does not exist).
    Attributes:
        sessions: by id, dead ones removed.
        peers: the connections that are open, oldest first.
        commands: what clients sent, without heartbeats.
        identifies, resumes: the `d` of these commands, without token, in order.
        identifies_refused: identifies that came too early for their key.
        sessions_lost: how many sessions ended otherwise than by the client's wish.
    """

    def __init__(
        self,
        *,
        token: str | None = None,
        heartbeat_interval_ms: int = 41_250,
        heartbeat_patience: float | None = None,
        allowed_intents: Intents | None = None,
        shard_counts: Container[int] | None = None,
        recommended_shards: int = 1,
        max_concurrency: int = 1,
        identify_interval_s: float = 0.0,
        identifies_total: int = 1_000,
        session_ttl_s: float = 180.0,
        replay_limit: int = 200_000,
        replay_limit_bytes: int = 256 * 1024 * 1024,
        replay_overlap: int = 0,
        first_sequence: int = 1,
        guilds: Iterable[Dispatch] = (),
        resume_url: str | None = None,
    ) -> None:
        self.token = token
        self.heartbeat_interval_ms = heartbeat_interval_ms
        self.heartbeat_patience = heartbeat_patience
        self.allowed_intents = Intents.all() if allowed_intents is None else allowed_intents
        self.shard_counts = shard_counts
        self.recommended_shards = recommended_shards
        self.max_concurrency = max_concurrency
        self.identify_interval_s = identify_interval_s
        self.identifies_total = identifies_total
        self.identifies_left = identifies_total
        self.session_ttl_s = session_ttl_s
        self.replay_limit = replay_limit
        self.replay_limit_bytes = replay_limit_bytes
        self.replay_overlap = replay_overlap
        self.first_sequence = first_sequence
        self.guilds = list(guilds)
        self.resume_url = resume_url
        self.sessions: dict[str, FakeSession] = {}
        self.peers: list[FakePeer] = []
        self.commands: list[Command] = []
        self.identifies: list[dict[str, Any]] = []
        self.resumes: list[dict[str, Any]] = []
        self.identifies_refused = 0
        self.sessions_lost = 0
        self.muted: set[int | str] = set()
        self._identified_at: dict[int, float] = {}
        self._sessions_made = 0
        self._instead: dict[Moment, deque[tuple[Callable[[FakePeer], None], int | None]]] = {
            moment: deque() for moment in Moment
        }

    # --- connections and their script ------------------------------------------------------------

    def connect(self, now: float, *, version: int = 10) -> FakePeer:
        """Open a connection: return its server half, HELLO already waiting in it."""
        from .peer import FakePeer

        peer = FakePeer(self, version=version)
        self.peers.append(peer)
        peer.opened(now)
        return peer

    def instead_of(
        self, moment: Moment, action: Callable[[FakePeer], None], *, times: int | None = 1
    ) -> None:
        """
        Do something else at the next `times` such moments (None: at all of them).

        The action gets the peer and may call anything on it, also its ordinary `hello()`,
        `ready()`, `resumed()` or `ack()`; `lambda peer: None` makes the service fall silent.
        Several calls queue up.
        """
        self._instead[moment].append((action, times))

    def forget_instructions(self) -> None:
        """Behave ordinarily again: drop what `instead_of` and `mute` still hold."""
        for queue in self._instead.values():
            queue.clear()
        self.muted.clear()

    def mute(self, *what: int | str) -> None:
        """Swallow messages with these opcodes or event names, on all connections from now on."""
        self.muted.update(what)

    def unmute(self, *what: int | str) -> None:
        """Let these through again; without arguments, everything."""
        self.muted.difference_update(what or tuple(self.muted))

    def take_instruction(self, moment: Moment) -> Callable[[FakePeer], None] | None:
        """Return what to do instead at this moment, and count it; None: the ordinary thing."""
        queue = self._instead[moment]
        if not queue:
            return None
        action, times = queue[0]
        if times is not None:
            if times <= 1:
                queue.popleft()
            else:
                queue[0] = (action, times - 1)
        return action

    # --- dispatches ------------------------------------------------------------------------------

    def dispatch(
        self,
        name: str,
        data: Any = None,
        *,
        guild_id: int | None = None,
        shard_id: int | None = None,
    ) -> int:
        """
        Send an event to every session it concerns; return how many took it.

        A session without connection takes it too, for the replay.

        Args:
            name: the event's name.
            data: JSON text of `d` as bytes, or anything orjson can write.
            guild_id: decides the shard; read from `data` when that is a dict.
            shard_id: decides the shard instead.
        Raises:
            UsageError: no session takes it; the text says why.
        """
        if guild_id is None and isinstance(data, dict):
            guild_id = int(data.get("id" if name in _GUILD_OBJECTS else "guild_id") or 0) or None
        encoded = data if isinstance(data, bytes) else orjson.dumps(data)
        concerned = [
            session
            for session in self.sessions.values()
            if (session.is_for(guild_id) if shard_id is None else session.shard_id == shard_id)
        ]
        taking = [session for session in concerned if session.wants(name)]
        if not taking:
            if concerned:
                raise UsageError(f"no session takes {name}: its intent was not asked for")
            raise UsageError(f"no session takes {name}: none has identified; wait for it first")
        for session in taking:
            self.append(session, name, encoded)
        return len(taking)

    def dispatch_many(self, dispatches: Iterable[Dispatch]) -> int:
        """Send events as the service does: nobody concerned is no error. Returns how many went."""
        sessions = list(self.sessions.values())
        only = sessions[0] if len(sessions) == 1 and sessions[0].shard_count == 1 else None
        sent = 0
        for item in dispatches:
            for session in (only,) if only is not None else sessions:
                if session.wants(item.name) and session.is_for(item.guild_id):
                    self.append(session, item.name, item.data)
                    sent += 1
        return sent

    def append(self, session: FakeSession, name: str, data: bytes) -> None:
        """Give a dispatch its sequence in one session; log it, and send it if there is a peer."""
        session.sequence += 1
        message = encode(name, session.sequence, data)
        session.log.append((session.sequence, message))
        session.log_bytes += len(message)
        while len(session.log) > self.replay_limit or session.log_bytes > self.replay_limit_bytes:
            session.log_bytes -= len(session.log.popleft()[1])
        if session.peer is not None:
            session.peer.queue(message, name)

    # --- sessions --------------------------------------------------------------------------------

    def session(self, shard_id: int = 0) -> FakeSession:
        """
        Return the newest session of a shard.

        Raises:
            UsageError: it has none.
        """
        for session in reversed(self.sessions.values()):
            if session.shard_id == shard_id:
                return session
        raise UsageError(f"shard {shard_id} has no session")

    def make_session(self, peer: FakePeer, shard: tuple[int, int], intents: int) -> FakeSession:
        """Begin a session on that connection; its READY is not yet counted."""
        self._sessions_made += 1
        session = FakeSession(
            f"{self._sessions_made:032x}", shard[0], shard[1], intents, self.first_sequence - 1
        )
        self.sessions[session.session_id] = session
        session.peer = peer
        return session

    def find_session(self, session_id: object, now: float) -> FakeSession | None:
        """Return the session if it can still be resumed."""
        session = self.sessions.get(session_id) if isinstance(session_id, str) else None
        if session is None:
            return None
        if session.detached_at is not None and now - session.detached_at > self.session_ttl_s:
            self.kill(session)
            return None
        return session

    def kill(self, session: FakeSession, *, wished: bool = False) -> None:
        """Forget a session: a RESUME of it gets op 9 `false`. `wished`: the client ended it."""
        if self.sessions.pop(session.session_id, None) is not None and not wished:
            self.sessions_lost += 1
        if session.peer is not None:
            session.peer.session = None
            session.peer = None
        session.log.clear()
        session.log_bytes = 0

    def kill_sessions(self) -> None:
        """Forget all sessions; connections stay open and hear nothing."""
        for session in list(self.sessions.values()):
            self.kill(session)

    def forget_replay(self) -> None:
        """Empty all replay logs, as a busy service does: who missed anything cannot resume."""
        for session in self.sessions.values():
            session.log.clear()
            session.log_bytes = 0

    def allow_identify(self, shard_id: int, now: float) -> bool:
        """Count an identify against its key and the day's total; False means op 9."""
        self.identifies_left -= 1
        key = shard_id % self.max_concurrency
        last = self._identified_at.get(key)
        self._identified_at[key] = now
        if last is not None and now - last < self.identify_interval_s:
            self.identifies_refused += 1
            return False
        return True

    def revoke_token(self) -> None:
        """Reset the token, as the service does to who identifies too often: all end with 4004."""
        self.token = ""
        for peer in list(self.peers):
            peer.close(4004, "Authentication failed.")
        self.kill_sessions()
