"""
The states of one shard's connection, and every move between them.

    DISCONNECTED -> CONNECTING -> AWAITING_HELLO -> IDENTIFYING or RESUMING -> READY

and one way down from anywhere: CLOSING when we begin it, then DISCONNECTED (there will be another
attempt) or STOPPED (there will not). Only `GatewayProtocol` moves; a move that is not in
`TRANSITIONS` raises. `docs/states.md` is drawn from this table by `docs/make_states.py`.
"""

from __future__ import annotations

from enum import Enum
from types import MappingProxyType

__all__ = ["CONNECTED", "TRANSITIONS", "State", "Trigger"]


class State(Enum):
    """Where a shard is; its status in health figures and logs."""

    DISCONNECTED = "disconnected"  # no connection; also while waiting for the next attempt
    CONNECTING = "connecting"  # DNS, TCP, TLS and upgrade are under way
    AWAITING_HELLO = "awaiting hello"
    IDENTIFYING = "identifying"  # HELLO came; IDENTIFY is wanted or written
    RESUMING = "resuming"  # RESUME is written; missed dispatches are being replayed
    READY = "ready"
    CLOSING = "closing"  # we began to close and wait for the connection's end
    STOPPED = "stopped"  # for good


class Trigger(Enum):
    """What moves a state."""

    CONNECT = "connect"
    OPENED = "opened"
    HELLO_IDENTIFY = "hello, no session"
    HELLO_RESUME = "hello, session"
    READY = "READY"
    RESUMED = "RESUMED"
    CLOSE = "close"  # we want to go: op 7, op 9, zombied, a deadline, a broken rule, stop
    END = "end"  # the connection has ended (or never came), another attempt follows
    STOP = "stop"  # ended, or never begun, and none follows: asked for, or refused for good


# The states in which a connection is open and we mean to keep it.
CONNECTED = frozenset({State.AWAITING_HELLO, State.IDENTIFYING, State.RESUMING, State.READY})

TRANSITIONS: MappingProxyType[tuple[State, Trigger], State] = MappingProxyType(
    {
        # up
        (State.DISCONNECTED, Trigger.CONNECT): State.CONNECTING,
        (State.CONNECTING, Trigger.OPENED): State.AWAITING_HELLO,
        (State.AWAITING_HELLO, Trigger.HELLO_IDENTIFY): State.IDENTIFYING,
        (State.AWAITING_HELLO, Trigger.HELLO_RESUME): State.RESUMING,
        (State.IDENTIFYING, Trigger.READY): State.READY,
        (State.RESUMING, Trigger.RESUMED): State.READY,
        # down, begun by us
        (State.AWAITING_HELLO, Trigger.CLOSE): State.CLOSING,
        (State.IDENTIFYING, Trigger.CLOSE): State.CLOSING,
        (State.RESUMING, Trigger.CLOSE): State.CLOSING,
        (State.READY, Trigger.CLOSE): State.CLOSING,
        # ended, and there will be another attempt
        (State.CONNECTING, Trigger.END): State.DISCONNECTED,
        (State.AWAITING_HELLO, Trigger.END): State.DISCONNECTED,
        (State.IDENTIFYING, Trigger.END): State.DISCONNECTED,
        (State.RESUMING, Trigger.END): State.DISCONNECTED,
        (State.READY, Trigger.END): State.DISCONNECTED,
        (State.CLOSING, Trigger.END): State.DISCONNECTED,
        # ended, and there will not
        (State.DISCONNECTED, Trigger.STOP): State.STOPPED,
        (State.CONNECTING, Trigger.STOP): State.STOPPED,
        (State.AWAITING_HELLO, Trigger.STOP): State.STOPPED,
        (State.IDENTIFYING, Trigger.STOP): State.STOPPED,
        (State.RESUMING, Trigger.STOP): State.STOPPED,
        (State.READY, Trigger.STOP): State.STOPPED,
        (State.CLOSING, Trigger.STOP): State.STOPPED,
    }
)
