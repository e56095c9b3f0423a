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

from collections.abc import Callable, Container, Iterable, Mapping
from types import MappingProxyType
from typing import Any, TypedDict

import orjson

from ...errors import UsageError
from ...protocol.wire import API_VERSION, Opcode
from ...words import Intents
from ..traffic.traffic import Dispatch, encode
from .identify import ready_data, refusal
from .members import Roster, answer_command
from .options import check_options
from .peer import Command, FakePeer, Moment
from .script import Script
from .session import FakeSession

__all__ = ["FakeService", "ServiceOptions"]

_GUILD_OBJECTS = frozenset({"GUILD_CREATE", "GUILD_UPDATE", "GUILD_DELETE"})


class ServiceOptions(TypedDict, total=False):
    """The options of `FakeService`, for what passes them on; a test compares the two."""

    token: str | None
    heartbeat_interval_ms: int
    heartbeat_patience: float | None
    allowed_intents: Intents | None
    shard_counts: Container[int] | None
    recommended_shards: int
    max_concurrency: int
    identify_interval_s: float
    identifies_total: int
    session_ttl_s: float
    replay_limit: int
    replay_limit_bytes: int
    replay_overlap: int
    forgets_acknowledged: bool
    first_sequence: int
    guilds: Iterable[Dispatch]
    resume_url: str | None
    members: Mapping[int, Iterable[dict[str, Any]]]
    members_per_chunk: int
    members_interval_s: float


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
        forgets_acknowledged: a heartbeat's `d` says what need not be kept for a replay. Whether the
            real service does so is not known.
        first_sequence: that of READY.
        guilds: GUILD_CREATE dispatches (`Traffic.startup()`), streamed after READY to their shard.
        resume_url: what READY says; None for the URL of the `FakeGateway` (or, without one, for a
            host that does not exist).
        members: guild member objects by guild id, for op 8; those of `guilds` are known without.
        members_per_chunk: how many come at once.
        members_interval_s: all members of a guild are given once in so long; else RATE_LIMITED.
    Attributes:
        sessions: by id, dead ones removed.
        peers: the connections that are open, oldest first.
        commands: what clients sent, without heartbeats.
        identifies, resumes: the `d` of these commands, without token, in order.
        identifies_refused: identifies that came too early for their key.
        sessions_lost: how many sessions ended otherwise than by the client's wish.
        roster: who is a member of which guild.
    Raises:
        UsageError: an option that can never work.
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
        forgets_acknowledged: bool = False,
        first_sequence: int = 1,
        guilds: Iterable[Dispatch] = (),
        resume_url: str | None = None,
        members: Mapping[int, Iterable[dict[str, Any]]] = MappingProxyType({}),
        members_per_chunk: int = 1_000,
        members_interval_s: float = 30.0,
    ) -> None:
        check_options(locals())
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
        self.forgets_acknowledged = forgets_acknowledged
        self.first_sequence = first_sequence
        self.guilds = list(guilds)
        self.resume_url = resume_url
        self.roster = Roster(members, self.guilds)
        self.members_per_chunk = members_per_chunk
        self.members_interval_s = members_interval_s
        self.sessions: dict[str, FakeSession] = {}
        self.peers: list[FakePeer] = []
        self.commands: list[Command] = []
        self.identifies: list[dict[str, Any]] = []
        self.resumes: list[dict[str, Any]] = []
        self.identifies_refused = 0
        self.sessions_lost = 0
        self._muted: set[int | str] = set()
        self._identified_at: dict[int, float] = {}
        self._sessions_made = 0
        self._instead: dict[Moment, Script[Callable[[FakePeer], None]]] = {
            moment: Script() for moment in Moment
        }

    # --- connections and their script ------------------------------------------------------------

    def connect(self, now: float = 0.0, *, version: int = API_VERSION) -> FakePeer:
        """Open a connection: return its server half, HELLO already waiting in it."""
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
        self._instead[moment].add(action, times)

    def forget_instructions(self) -> None:
        """Behave ordinarily again: drop what `instead_of` and `mute` still hold."""
        for script in self._instead.values():
            script.clear()
        self._muted.clear()

    def mute(self, *what: int | str) -> None:
        """Swallow messages with these opcodes or event names, on all connections from now on."""
        self._muted.update(what)

    def unmute(self, *what: int | str) -> None:
        """Let these through again; without arguments, everything."""
        self._muted.difference_update(what or tuple(self._muted))

    def take_instruction(self, moment: Moment) -> Callable[[FakePeer], None] | None:
        """Return what to do instead at this moment, and count it; None: the ordinary thing."""
        return self._instead[moment].take()

    def is_muted(self, what: int | str) -> bool:
        """Whether messages of this opcode or event name are swallowed on all connections."""
        return what in self._muted

    def note(self, command: Command) -> None:
        """Write down what a client sent."""
        self.commands.append(command)
        if isinstance(command.data, dict) and command.op == Opcode.IDENTIFY:
            self.identifies.append(command.data)
        elif isinstance(command.data, dict) and command.op == Opcode.RESUME:
            self.resumes.append(command.data)

    def answer(self, peer: FakePeer, op: int, data: object) -> None:
        """Answer a command of a session, as far as one is answered (op 8, 31, 43)."""
        if peer.session is not None:
            answer_command(self, peer.session, op, data, peer.now)

    def left(self, peer: FakePeer) -> None:
        """Forget a connection that has ended."""
        if peer in self.peers:
            self.peers.remove(peer)

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
        """Send events as the service does, also to nobody; return how many went."""
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
        session.append(encode(name, session.sequence, data), name)
        session.trim(self.replay_limit, self.replay_limit_bytes)

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
        session.bind(peer)
        return session

    def begin_session(self, peer: FakePeer, shard: tuple[int, int], intents: int) -> None:
        """Bind the peer to a new session, and queue READY and the guilds of its shard."""
        session = self.make_session(peer, shard, intents)
        guilds = [guild for guild in self.guilds if session.is_for(guild.guild_id)]
        session.sequence += 1
        data = orjson.dumps(ready_data(session, guilds, self.resume_url, self.allowed_intents))
        # A READY is never replayed: who did not get it has no session id to resume with.
        peer.queue(encode("READY", session.sequence, data), "READY")
        for guild in guilds:
            if session.wants(guild.name):
                self.append(session, guild.name, guild.data)

    def resume_session(self, peer: FakePeer, session_id: object, sequence: object) -> None:
        """Bind the peer to an old session, queue what it missed and RESUMED; or op 9, or 4007."""
        session = self.find_session(session_id, peer.now)
        if session is None:
            peer.invalid_session(resumable=False)
            return
        if type(sequence) is not int or sequence > session.sequence:
            self.kill(session)
            peer.close(4007, "Invalid seq.")
            return
        missed = session.replay_after(sequence, overlap=self.replay_overlap)
        if missed is None:
            self.kill(session)
            peer.invalid_session(resumable=False)
            return
        session.bind(peer)
        for message in missed:
            peer.queue(message, "")
        peer.resumed()

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
        session.forget_log()

    def kill_sessions(self) -> None:
        """Forget all sessions; connections stay open and hear nothing."""
        for session in list(self.sessions.values()):
            self.kill(session)

    def forget_replay(self) -> None:
        """Empty all replay logs, as a busy service does: who missed anything cannot resume."""
        for session in self.sessions.values():
            session.forget_log()

    # --- who may come in -------------------------------------------------------------------------

    def check_token(self, token: str) -> bool:
        """Whether this token is accepted."""
        return self.token is None or token == self.token

    def check_identify(self, data: dict[str, Any]) -> tuple[int, str] | None:
        """Return close code and reason when the `d` of an IDENTIFY is refused."""
        return refusal(
            data,
            shard_counts=self.shard_counts,
            allowed_intents=self.allowed_intents,
            guilds=self.guilds,
        )

    def allow_identify(self, shard_id: int, now: float) -> bool:
        """
        Count an identify against its key and the day's total; False means op 9.

        Over the total the token is reset, which ends every connection.
        """
        self.identifies_left -= 1
        key = shard_id % self.max_concurrency
        last = self._identified_at.get(key)
        self._identified_at[key] = now
        if last is not None and now - last < self.identify_interval_s:
            self.identifies_refused += 1
            return False
        if self.identifies_left < 0:
            self.revoke_token()
            return False
        return True

    def revoke_token(self) -> None:
        """Reset the token, as the service does to who identifies too often: all end with 4004."""
        self.token = ""
        for peer in list(self.peers):
            peer.close(4004, "Authentication failed.")
        self.kill_sessions()
