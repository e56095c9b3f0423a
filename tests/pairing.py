"""A `GatewayProtocol` with its real decoder in invented time: the client half of protocol tests."""

from __future__ import annotations

from typing import Any

import orjson

from fastgw._decode import Decoder, Interests
from fastgw.protocol import (
    Closed,
    CloseWanted,
    GatewayProtocol,
    IdentifyWanted,
    Identity,
    Outcome,
    Signal,
    State,
    StateChanged,
    Timeouts,
)
from fastgw.wire import LIBRARY_EVENTS, Initiator, Intents, Opcode

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
        sent: commands written, parsed; signals, closes (CloseWanted) in order.
        acks: whether `advance` answers heartbeats.
        turns: whether IdentifyWanted is answered at once.
    """

    def __init__(self, *, timeouts: Timeouts | None = None, **options: Any) -> None:
        self.now = 1_000.0
        self.roll = 0.5
        self.acks = True
        self.turns = True
        self.sent: list[dict[str, Any]] = []
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
        self.proto.connecting(plan, self.now)
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
        self.proto.lost(self.now, close_code=close_code, initiator=initiator, error=error)
        self.pump()
        return self.outcome

    def obey(self) -> Outcome:
        """Carry out the CloseWanted that came, as a transport whose peer answers."""
        assert self.proto.state is State.CLOSING
        return self.end(self.closes[-1].close_code, initiator=Initiator.CLIENT)

    # --- the service -----------------------------------------------------------------------------

    def serve(self, op: int, d: Any = None, *, s: int | None = None, t: str | None = None) -> None:
        """Let one message arrive, through the decoder."""
        assert self.decoder is not None
        raw = orjson.dumps({"t": t, "s": s, "op": int(op), "d": d})
        message = self.decoder.feed(raw, 1, True)
        if message is not None:
            self.proto.receive(message, self.now)
        self.pump()

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
            self.proto.timer(self.now, **life)
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
        self.sent += [orjson.loads(command) for command in self.proto.commands_to_send()]
        while (signal := self.proto.next_signal()) is not None:
            self.signals.append(signal)
            if isinstance(signal, CloseWanted):
                self.closes.append(signal)
            elif isinstance(signal, IdentifyWanted) and self.turns:
                self.proto.identify(self.now)
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
        return [signal.outcome for signal in self.of(Closed)]
