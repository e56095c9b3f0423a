"""
`FakePeer`, the server half of one gateway connection, as a machine without IO.

    peer = FakeService(heartbeat_interval_ms=1_000).connect(now=0.0)
    peer.receive(b'{"op":2,"d":{"token":"t","intents":0,"properties":{}}}', now=0.1)
    hello, ready = peer.messages_to_send()

Phases: the connection is opened (HELLO waits to be sent), then bound to a session by IDENTIFY or
RESUME, then closed: by the peer (`close_to_send()`, `cut_to_make()`) or by the client (`closed()`).
After every input and every command, take what is to be sent, in this order: `messages_to_send()`,
`close_to_send()`, `cut_to_make()`; and re-arm `timer_at()`.

It enforces what the service enforces: 4001 to 4005, 4007 to 4014, op 9, 4096 bytes a command, 120
commands in 60 seconds, 5 presences in 20. Faults are methods: `mute`, `invalid_session`,
`reconnect`, `request_heartbeat`, `close`, `cut`, `send`; or instructions given in advance with
`FakeService.instead_of`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol

import orjson

from ...protocol.close_codes import action_for
from ...protocol.wire import (
    API_VERSION,
    MAX_COMMAND_BYTES,
    PRESENCE_LIMIT,
    PRESENCE_WINDOW_S,
    SEND_LIMIT,
    SEND_WINDOW_S,
    Opcode,
)
from ...words import Action
from .identify import shard_of, trace
from .session import FakeSession

__all__ = ["Command", "Cut", "FakePeer", "Moment", "Service"]

_KNOWN_COMMANDS = frozenset({1, 2, 3, 4, 6, 8, 31, 43})
_NO_SEQUENCE = b'{"t":null,"s":null,"op":%d,"d":%b}'


class Cut(Enum):
    """How a connection ends below the websocket."""

    RESET = "reset"  # TCP RST
    END = "end"  # TCP FIN, without a CLOSE frame


class Moment(Enum):
    """What a peer is about to do, and may be told to do otherwise (`FakeService.instead_of`)."""

    OPENED = "opened"  # the websocket is open: HELLO is next
    IDENTIFY = "identify"  # a valid IDENTIFY came: a new session and READY are next
    RESUME = "resume"  # a RESUME with the right token came: replay and RESUMED, or op 9, are next
    HEARTBEAT = "heartbeat"  # a heartbeat came: its ACK is next
    COMMAND = "command"  # any other valid command came: its answer is next, if there is one


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


class Service(Protocol):
    """What a peer needs of the service that it belongs to; a `FakeService` is one."""

    heartbeat_interval_ms: int
    heartbeat_patience: float | None
    forgets_acknowledged: bool

    def is_muted(self, what: int | str) -> bool:
        """Whether messages of this opcode or event name are swallowed on all connections."""

    def take_instruction(self, moment: Moment) -> Callable[[FakePeer], None] | None:
        """Return what to do instead at this moment, and count it; None: the ordinary thing."""

    def note(self, command: Command) -> None:
        """Write down what a client sent."""

    def check_token(self, token: str) -> bool:
        """Whether this token is accepted."""

    def check_identify(self, data: dict[str, Any]) -> tuple[int, str] | None:
        """Return close code and reason when this IDENTIFY is refused."""

    def allow_identify(self, shard_id: int, now: float) -> bool:
        """Count an identify against the limits; False means op 9."""

    def begin_session(self, peer: FakePeer, shard: tuple[int, int], intents: int) -> None:
        """Bind the peer to a new session, and queue READY and the guilds of its shard."""

    def resume_session(self, peer: FakePeer, session_id: object, sequence: object) -> None:
        """Bind the peer to an old session and queue what it missed; or refuse on the peer."""

    def append(self, session: FakeSession, name: str, data: bytes) -> None:
        """Send a dispatch in a session."""

    def kill(self, session: FakeSession, *, wished: bool = False) -> None:
        """Forget a session."""

    def answer(self, peer: FakePeer, op: int, data: object) -> None:
        """Answer a command that is neither of the session's life nor a heartbeat."""

    def left(self, peer: FakePeer) -> None:
        """Forget a connection that has ended."""


class FakePeer:
    """
    The server half of one connection. Made by `FakeService.connect()`.

    Attributes:
        session: the session it is bound to, or None.
        now: the time of the last input, in the seconds that the inputs gave.
        is_closed: the connection has ended or is about to; nothing more is taken or queued.
        payload_compression: the client's IDENTIFY asked for payload compression.
        heartbeats: how many came; last_heartbeat: the last one's `d`.
        close_code: what the client closed with; None before, or when it sent no code.
    """

    def __init__(self, service: Service, *, version: int = API_VERSION) -> None:
        self.session: FakeSession | None = None
        self.now = 0.0
        self.is_closed = False
        self.payload_compression = False
        self.heartbeats = 0
        self.last_heartbeat: int | None = None
        self.close_code: int | None = None
        self._service = service
        self._version = version
        self._muted: set[int | str] = set()
        self._outbox: deque[bytes] = deque()
        self._close: tuple[int | None, str] | None = None
        self._cut: Cut | None = None
        self._received_at: deque[float] = deque()
        self._presences_at: deque[float] = deque()
        self._beat_at = 0.0
        self._asked: dict[str, Any] = {}
        self._command: tuple[int, object] = (0, None)

    # --- inputs ----------------------------------------------------------------------------------

    def opened(self, now: float) -> None:
        """Note that the websocket is open; `FakeService.connect()` has done this."""
        self.now = self._beat_at = now
        if self._version != API_VERSION:
            self.close(4012, "Invalid API version.")
        else:
            self._act(Moment.OPENED, self.hello)

    def receive(self, command: bytes | str, now: float) -> None:
        """Take one command as the client sent it."""
        if self.is_closed:
            return
        self.now = now
        raw = command.encode() if isinstance(command, str) else bytes(command)
        self._received_at.append(now)
        while now - self._received_at[0] >= SEND_WINDOW_S:
            self._received_at.popleft()
        if len(self._received_at) > SEND_LIMIT:
            self.close(4008, "Rate limited.")
            return
        try:
            parsed = orjson.loads(raw) if len(raw) <= MAX_COMMAND_BYTES else None
        except orjson.JSONDecodeError:
            parsed = None
        if not isinstance(parsed, dict) or type(parsed.get("op")) is not int:
            self.close(4002, "Error while decoding payload.")
        elif parsed["op"] not in _KNOWN_COMMANDS:
            self.close(4001, "Unknown opcode.")
        else:
            self._obey(parsed["op"], parsed.get("d"))

    def timer(self, now: float) -> None:
        """Note that time passed; a client that does not beat is closed with 4009."""
        self.now = now
        due = self.timer_at()
        if due is not None and now >= due:
            self.close(4009, "Session timed out.")

    def closed(self, close_code: int | None, now: float) -> None:
        """
        Note that the connection has ended: with the client's close code, or None without one.

        1000 and 1001 end the session, unless they answer a close of ours.
        """
        self.now = now
        if not self.is_closed:
            self.close_code = close_code
            if close_code in (1000, 1001) and self.session is not None:
                self._service.kill(self.session, wished=True)
        self._detach()
        self._outbox.clear()
        self.is_closed = True

    # --- outputs ---------------------------------------------------------------------------------

    def messages_to_send(self, max_bytes: int | None = None) -> list[bytes]:
        """Take the messages that wait, in order; about `max_bytes` of them when given."""
        if max_bytes is None:
            taken = list(self._outbox)
            self._outbox.clear()
            return taken
        taken = []
        while self._outbox and max_bytes > 0:
            taken.append(self._outbox.popleft())
            max_bytes -= len(taken[-1])
        return taken

    def close_to_send(self) -> tuple[int | None, str] | None:
        """Take the CLOSE that is due: `(code, reason)`; code None is a frame without a code."""
        if self._outbox or self._cut is not None:
            return None
        close, self._close = self._close, None
        return close

    def cut_to_make(self) -> Cut | None:
        """Return how to cut TCP, when that is due."""
        return self._cut

    def timer_at(self) -> float | None:
        """Return when `timer()` is due, absolute, or None."""
        patience = self._service.heartbeat_patience
        if patience is None or self.is_closed:
            return None
        return self._beat_at + patience * self._service.heartbeat_interval_ms / 1000

    @property
    def backlog(self) -> int:
        """How many messages wait to be sent."""
        return len(self._outbox)

    # --- ordinary answers ------------------------------------------------------------------------

    def hello(self) -> None:
        """Send HELLO."""
        interval = self._service.heartbeat_interval_ms
        self._send_op(Opcode.HELLO, {"heartbeat_interval": interval, "_trace": trace()})

    def ack(self) -> None:
        """Acknowledge a heartbeat."""
        self._send_op(Opcode.HEARTBEAT_ACK, None)

    def ready(self) -> None:
        """Begin a session from the IDENTIFY that came; send READY and the guilds of its shard."""
        intents = int(self._asked["intents"])
        self._service.begin_session(self, shard_of(self._asked), intents)

    def replay(self) -> None:
        """Answer the RESUME that came: replay what was missed, then RESUMED; or op 9, or 4007."""
        asked = self._asked
        self._service.resume_session(self, asked.get("session_id"), asked.get("seq"))

    def resumed(self) -> None:
        """Send RESUMED, a dispatch of the session like any other."""
        if self.session is not None:
            self.dispatch("RESUMED", {"_trace": trace()})

    def answer(self) -> None:
        """Answer the command that came, as far as one is answered (op 8, 31, 43)."""
        self._service.answer(self, *self._command)

    # --- faults and other deeds of the service ---------------------------------------------------

    def send(self, message: bytes | dict[str, Any]) -> None:
        """Send anything, unchecked and unlogged: a whole message as bytes or as an object."""
        self.queue(message if isinstance(message, bytes) else orjson.dumps(message), "")

    def dispatch(self, name: str, data: Any = None) -> None:
        """Send an event in this connection's session, whatever its intents are."""
        if self.session is not None:
            encoded = data if isinstance(data, bytes) else orjson.dumps(data)
            self._service.append(self.session, name, encoded)

    def mute(self, *what: int | str) -> None:
        """Swallow messages with these opcodes or event names, on this connection."""
        self._muted.update(what)

    def unmute(self, *what: int | str) -> None:
        """Let these through again; without arguments, everything."""
        self._muted.difference_update(what or tuple(self._muted))

    def request_heartbeat(self) -> None:
        """Send op 1: the client must beat at once."""
        self._send_op(Opcode.HEARTBEAT, None)

    def reconnect(self) -> None:
        """Send op 7."""
        self._send_op(Opcode.RECONNECT, None)

    def invalid_session(self, *, resumable: bool) -> None:
        """Send op 9; `resumable` false kills the session first."""
        if not resumable and self.session is not None:
            self._service.kill(self.session)
        self._send_op(Opcode.INVALID_SESSION, resumable)

    def close(self, close_code: int | None, reason: str = "") -> None:
        """
        Close the websocket after what is queued; None sends a CLOSE frame without a code.

        The session stays resumable exactly when `wire` says that such a close is to be resumed.
        """
        if self.is_closed:
            return
        self.is_closed = True
        self._close = (close_code, reason)
        if self.session is not None and action_for(close_code) is not Action.RESUME:
            self._service.kill(self.session)
        self._detach()

    def cut(self, how: Cut = Cut.RESET) -> None:
        """End TCP without a CLOSE frame, at once: what is queued is lost (a RESUME replays it)."""
        self.is_closed = True
        self._cut = how
        self._outbox.clear()
        self._detach()

    def queue(self, message: bytes, name: str) -> None:
        """Put a dispatch behind what waits, unless its name or op 0 is muted."""
        if self.is_closed or self._is_muted(0) or (name and self._is_muted(name)):
            return
        self._outbox.append(message)

    # --- inside ----------------------------------------------------------------------------------

    def _send_op(self, op: Opcode, data: Any) -> None:
        if not self.is_closed and not self._is_muted(int(op)):
            self._outbox.append(_NO_SEQUENCE % (op, orjson.dumps(data)))

    def _is_muted(self, what: int | str) -> bool:
        return what in self._muted or self._service.is_muted(what)

    def _act(self, moment: Moment, ordinary: Callable[[], None]) -> None:
        """Do what the service was told to do at this moment, else the ordinary thing."""
        action = self._service.take_instruction(moment)
        if action is not None:
            action(self)
        else:
            ordinary()

    def _obey(self, op: int, data: Any) -> None:
        if op == Opcode.HEARTBEAT:
            self.heartbeats += 1
            self.last_heartbeat = data
            self._beat_at = self.now
            if self._service.forgets_acknowledged and self.session and isinstance(data, int):
                self.session.forget_to(data)
            self._act(Moment.HEARTBEAT, self.ack)
            return
        heard = op != Opcode.PRESENCE_UPDATE or self._hears_presence()
        self._record(op, data, heard)
        if op in (Opcode.IDENTIFY, Opcode.RESUME):
            self._authenticate(op, data)
        elif self.session is None:
            self.close(4003, "Not authenticated.")
        elif heard:
            self._command = (op, data)
            self._act(Moment.COMMAND, self.answer)

    def _hears_presence(self) -> bool:
        heard = self._presences_at
        while heard and self.now - heard[0] >= PRESENCE_WINDOW_S:
            heard.popleft()
        if len(heard) >= PRESENCE_LIMIT:
            return False
        heard.append(self.now)
        return True

    def _record(self, op: int, data: Any, heard: bool) -> None:
        shown = {**data, "token": "<token>"} if isinstance(data, dict) and "token" in data else data
        shard_id = None if self.session is None else self.session.shard_id
        self._service.note(Command(op, shown, shard_id, self.now, heard))

    def _authenticate(self, op: int, data: Any) -> None:
        service = self._service
        if self.session is not None:
            self.close(4005, "Already authenticated.")
        elif not isinstance(data, dict) or not isinstance(data.get("token"), str):
            self.close(4002, "Error while decoding payload.")
        elif not service.check_token(data["token"]):
            self.close(4004, "Authentication failed.")
        elif op == Opcode.RESUME:
            self._asked = data
            self._act(Moment.RESUME, self.replay)
        elif (refused := service.check_identify(data)) is not None:
            self.close(*refused)
        else:
            self._asked = data
            self.payload_compression = data.get("compress") is True
            if service.allow_identify(shard_of(data)[0], self.now):
                self._act(Moment.IDENTIFY, self.ready)
            else:
                self.invalid_session(resumable=False)

    def _detach(self) -> None:
        """Unbind from session and service; the session can be resumed for a while."""
        if self.session is not None:
            self.session.detach(self.now)
        self._service.left(self)
