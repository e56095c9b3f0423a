"""
A `GatewayProtocol` with its real decoder in invented time.

`Client` leaves the service to the test, message by message; `Pair` joins it to a `FakeService`.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import orjson

from fastgw._decode import Decoder, Event, Interests
from fastgw.protocol.events import LIBRARY_EVENTS
from fastgw.protocol.identity import Identity
from fastgw.protocol.machine import GatewayProtocol
from fastgw.protocol.signals import (
    CloseWanted,
    Ended,
    HeartbeatWanted,
    IdentifyWanted,
    Outcome,
    Signal,
    StateChanged,
)
from fastgw.protocol.states import State
from fastgw.protocol.timeouts import Timeouts
from fastgw.protocol.wire import Opcode
from fastgw.testing import FakePeer, FakeService
from fastgw.words import Action, Initiator, Intents

TOKEN = "MTk4.Cl2FMQ.ZnCjm1XVW7vRze4b7Cq4se7kKWs"
MAIN_URL = "wss://gateway.discord.gg"
RESUME_URL = "wss://gateway-us-east1-c.discord.gg"
QUERY = "/?v=10&encoding=json&compress=zstd-stream"
INTERVAL_MS = 40_000
INTERVAL_S = 40.0


def an_identity(**changes: Any) -> Identity:
    """Return an identity with a synthetic token."""
    return Identity(**{"token": TOKEN, "intents": Intents.default(), **changes})


class Client:
    """
    The protocol, driven as a shard drives it; the test plays the service.

    Attributes:
        now: invented monotonic seconds; `advance` moves it.
        roll: what the injected random source returns next.
        sent: commands written, parsed; outbox: the same as bytes, for a pair to carry.
        signals: all of them; closes: those that are CloseWanted.
        acks: whether `advance` answers heartbeats.
        turns: whether IdentifyWanted is answered at once.
    """

    def __init__(self, *, timeouts: Timeouts | None = None, **options: Any) -> None:
        self.now = 1_000.0
        self.roll = 0.5
        self.acks = True
        self.turns = True
        self.sent: list[dict[str, Any]] = []
        self.outbox: list[bytes] = []
        self.signals: list[Signal] = []
        self.closes: list[CloseWanted] = []
        identity = options.pop("identity", None) or an_identity()
        options = {"url": MAIN_URL, "compress": "zstd-stream", **options}
        self.proto = GatewayProtocol(
            identity, timeouts=timeouts, random=lambda: self.roll, **options
        )
        self.interests = Interests(internal=LIBRARY_EVENTS)
        self.decoder: Decoder | None = None
        self.url: str | None = None
        self.next_sequence = 1

    # --- the connection --------------------------------------------------------------------------

    def dial(self) -> None:
        """Begin an attempt; nothing has been answered yet."""
        plan = self.proto.plan(self.now)
        self.url = plan.url
        self.proto.connecting(plan)
        self.decoder = Decoder(interests=self.interests, sequence=self.proto.sequence)
        self.pump()

    def connect(self) -> None:
        """Begin an attempt that gets as far as the upgrade."""
        self.dial()
        self.proto.opened(self.now)
        self.pump()

    def refuse(self, error: BaseException | None = None) -> Outcome:
        """Begin an attempt that fails before the upgrade."""
        self.dial()
        self.proto.connect_failed(self.now, error or OSError("connection refused"))
        self.pump()
        return self.outcome

    def end(
        self,
        close_code: int | None = None,
        *,
        initiator: Initiator | None = None,
        error: BaseException | None = None,
    ) -> Outcome:
        """End the connection: by the service when there is a code, else by the network."""
        if initiator is None:
            initiator = Initiator.TRANSPORT if close_code is None else Initiator.SERVICE
        self.proto.connection_ended(
            self.now, close_code=close_code, initiator=initiator, error=error
        )
        self.pump()
        return self.outcome

    def obey(self) -> Outcome:
        """Carry out the CloseWanted that came, as a transport whose peer answers."""
        assert self.proto.state is State.CLOSING
        return self.end(self.closes[-1].close_code, initiator=Initiator.CLIENT)

    # --- the service -----------------------------------------------------------------------------

    def serve(self, op: int, d: Any = None, *, s: int | None = None, t: str | None = None) -> None:
        """Let one message arrive, through the decoder."""
        self.feed(orjson.dumps({"t": t, "s": s, "op": int(op), "d": d}))

    def feed(self, raw: bytes) -> Event | None:
        """Let the bytes of one message arrive; return the event it was, if one that is wanted."""
        assert self.decoder is not None
        message = self.decoder.feed(raw, 1, True)
        event = message if isinstance(message, Event) else None
        # As the listener does: events go to their targets, only the library's own come here.
        if message is not None and (event is None or event.name in LIBRARY_EVENTS):
            self.proto.receive(message, self.now)
            self.pump()
        return event

    def dispatch(self, name: str, d: Any = None, *, s: int | None = None) -> None:
        """Let a dispatch arrive, with the next sequence unless told."""
        if s is None:
            s = self.next_sequence
        self.next_sequence = s + 1
        self.serve(Opcode.DISPATCH, {} if d is None else d, s=s, t=name)

    def hello(self, interval_ms: float = INTERVAL_MS) -> None:
        self.serve(Opcode.HELLO, {"heartbeat_interval": interval_ms})

    def ready(self, session_id: str = "first", resume_url: Any = RESUME_URL) -> None:
        """Let READY arrive as the new session's first dispatch."""
        self.dispatch(
            "READY", {"session_id": session_id, "resume_gateway_url": resume_url}, s=1
        )  # fmt: skip

    def become_ready(self, session_id: str = "first") -> Client:
        """Go all the way up with a new session."""
        self.connect()
        self.hello()
        self.ready(session_id)
        assert self.proto.state is State.READY
        return self

    def start_resume(self) -> None:
        """Go up to RESUME, written and unanswered."""
        self.connect()
        self.hello()
        assert self.proto.state is State.RESUMING

    def resume(self) -> None:
        """Go all the way up with the old session."""
        self.start_resume()
        self.dispatch("RESUMED")
        assert self.proto.state is State.READY

    # --- time and outputs ------------------------------------------------------------------------

    def advance(self, seconds: float, *, stop: State | None = None, **life: Any) -> None:
        """Let time pass; each timer fires on the dot, heartbeats are answered if acks is set."""
        until = self.now + seconds
        while (at := self.proto.timer_at()) is not None and at <= until:
            self.now = max(self.now, at)
            before = self.count(Opcode.HEARTBEAT)
            self.proto.handle_timer(self.now, **life)
            self.pump()
            for _ in range(self.count(Opcode.HEARTBEAT) - before):
                if self.acks:
                    self.serve(Opcode.HEARTBEAT_ACK)
            if self.proto.state is stop:
                return
        self.now = until

    def advance_to(self, state: State, **life: Any) -> float:
        """Let time pass until the state is reached; return the seconds it took."""
        before = self.now
        self.advance(1_000.0, stop=state, **life)
        assert self.proto.state is state
        return self.now - before

    def pump(self) -> None:
        """Take what the protocol has to say, in the order a shard does."""
        commands = self.proto.commands_to_send()
        self.outbox += commands
        self.sent += [orjson.loads(command) for command in commands]
        while self.proto.signals:
            signal = self.proto.signals.popleft()
            self.signals.append(signal)
            if isinstance(signal, CloseWanted):
                self.closes.append(signal)
            elif isinstance(signal, IdentifyWanted) and self.turns:
                self.proto.identify(self.now)
                self.pump()
            elif isinstance(signal, HeartbeatWanted):
                self.proto.beat(self.now)
                self.pump()

    # --- looking ---------------------------------------------------------------------------------

    @property
    def outcome(self) -> Outcome:
        assert self.proto.outcome is not None
        return self.proto.outcome

    def count(self, op: int) -> int:
        """How many commands with this opcode were written."""
        return sum(command["op"] == op for command in self.sent)

    def last(self, op: int) -> Any:
        """`d` of the last command with this opcode."""
        return [command["d"] for command in self.sent if command["op"] == op][-1]

    def of(self, kind: type) -> list[Any]:
        """All signals of a kind, in order."""
        return [signal for signal in self.signals if isinstance(signal, kind)]

    @property
    def path(self) -> list[State]:
        """The states moved to, in order."""
        return [signal.new for signal in self.of(StateChanged)]

    @property
    def ends(self) -> list[Outcome]:
        """The outcomes of all connections so far."""
        return [signal.outcome for signal in self.of(Ended)]


class Pair:
    """
    A client and a fake service, joined by a wire that the test can freeze, cut or refuse.

    Reconnects by itself, as a shard does: after the outcome's delay, or one second when the attempt
    had failed. Dispatches that arrive are recorded by session.

    Attributes:
        client, service: the two sides. peer: the service's half of the connection, or None.
        frozen: nothing arrives on either side, new connections fail; what was sent waits.
        refused_hosts: hosts that take no connection.
        hangs: an aborted connection never says that it is gone.
        granted: identify turns given out.
        delivered: session id -> sequences of the dispatches handed out, in order.
    """

    def __init__(
        self, *, interval_ms: int = 1_000, timeouts: Timeouts | None = None, **options: Any
    ) -> None:
        options = {"token": TOKEN, "resume_url": RESUME_URL, **options}
        self.service = FakeService(heartbeat_interval_ms=interval_ms, **options)
        self.client = Client(timeouts=timeouts)
        self.client.turns = self.client.acks = False
        self.client.interests.want_everything()
        self.proto = self.client.proto
        self.peer: FakePeer | None = None
        self.frozen = False
        self.hangs = False
        self.refused_hosts: set[str] = set()
        self.granted = 0
        self.attempts = 0
        self.retry_at: float | None = self.client.now
        self.delivered: dict[str, list[int]] = {}
        self._session_id = ""
        self._seen = 0
        self._close_code: int | None = None  # of our CLOSE frame, on its way

    def advance(self, seconds: float) -> None:
        """Let time pass; both sides' timers fire on the dot and messages take no time."""
        client = self.client
        until = client.now + seconds
        self.settle()
        while True:
            peer_at = None if self.peer is None or self.frozen else self.peer.timer_at()
            due = [at for at in (self.proto.timer_at(), peer_at, self.retry_at) if at is not None]
            if not due or min(due) > until:
                break
            client.now = max(client.now, min(due))
            if self.retry_at is not None and client.now >= self.retry_at:
                self._attempt()
            if peer_at is not None and self.peer is not None and client.now >= peer_at:
                self.peer.timer(client.now)
            self.proto.handle_timer(client.now)
            self.settle()
        client.now = until

    def settle(self) -> None:
        """Carry what waits, both ways, until nothing moves."""
        while True:
            self.client.pump()
            self._obey()
            if self.frozen or self.peer is None or not self._carry(self.peer):
                return

    def _attempt(self) -> None:
        self.retry_at = None
        self.attempts += 1
        self.client.dial()
        assert self.client.url is not None
        if self.frozen or urlsplit(self.client.url).hostname in self.refused_hosts:
            self.proto.connect_failed(self.client.now, OSError("connection refused"))
        else:
            self.peer = self.service.connect(self.client.now)
            self.proto.opened(self.client.now)

    def _obey(self) -> None:
        """Do what the signals ask, as the shard does."""
        signals = self.client.signals
        while self._seen < len(signals):
            signal = signals[self._seen]
            self._seen += 1
            if isinstance(signal, IdentifyWanted):
                self.granted += 1
                self.proto.identify(self.client.now)
            elif isinstance(signal, CloseWanted):
                if not signal.abort:
                    self._close_code = signal.close_code
                elif self.proto.state is State.CLOSING and not self.hangs:
                    self._gone()
                    self.client.end(None)
            elif isinstance(signal, Ended):
                self._gone()
                self.retry_at = None
                if signal.outcome.action is not Action.STOP:
                    failed = signal.outcome.ready_for_s is None
                    self.retry_at = self.client.now + max(signal.outcome.delay_s, float(failed))
            self.client.pump()

    def _gone(self) -> None:
        """The connection is gone on our side; the service learns of it if the wire lets it."""
        if self.peer is not None and not self.frozen:
            self.peer.closed(None, self.client.now)
        self.peer = self._close_code = None
        self.client.outbox.clear()

    def _carry(self, peer: FakePeer) -> bool:
        client = self.client
        moved = bool(client.outbox)
        for command in client.outbox:
            peer.receive(command, client.now)
        client.outbox.clear()
        messages = peer.messages_to_send()
        for message in messages:
            event = client.feed(message)
            if event is not None:
                if event.name == "READY":
                    self._session_id = event.data["session_id"]
                got = self.delivered.setdefault(self._session_id, [])
                # A RESUMED is never dropped, also when a replay repeats an old one.
                if event.name != "RESUMED" or not got or event.sequence > got[-1]:
                    got.append(event.sequence)
        if self._close_code is not None:
            code, self._close_code = self._close_code, None
            peer.closed(code, client.now)
            self.peer = None
            client.end(code, initiator=Initiator.CLIENT)
            return True
        close = peer.close_to_send()
        if close is not None or peer.cut_to_make() is not None:
            self.peer = None
            client.end(
                None if close is None else close[0],
                initiator=Initiator.TRANSPORT if close is None else Initiator.SERVICE,
            )
            return True
        return moved or bool(messages)


def paired(**options: Any) -> Pair:
    """Return a pair that has gone up to READY."""
    pair = Pair(**options)
    pair.advance(0.0)
    assert pair.proto.state is State.READY
    return pair
