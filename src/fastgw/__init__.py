"""fastgw: the Discord gateway core for Python bots that outgrew their library."""

from typing import TYPE_CHECKING

from ._decode import Event, Fields, ValueSet
from .delivery.filters import Filter, field
from .delivery.limits import DeliveryLimits
from .delivery.names import MissingIntentWarning
from .delivery.streams import EventStream
from .errors import (
    AuthenticationFailed,
    CertificateRefused,
    CommandTimeout,
    ConnectFailed,
    ConnectionClosed,
    ConnectTimeout,
    DecodeError,
    DisallowedIntents,
    FastgwError,
    FatalError,
    GatewayInfoError,
    HandshakeRefused,
    IdentifyBudgetSpent,
    Interrupted,
    InvalidApiVersion,
    InvalidIntents,
    InvalidShard,
    MembersRateLimited,
    MessageTooBig,
    NotAWebSocket,
    NotCompressed,
    ProtocolError,
    ProxyRefused,
    SendQueueFull,
    SessionLost,
    ShardingRequired,
    ShardNotHere,
    ShardNotRunning,
    UsageError,
    WaitFailed,
    WorkerFailed,
)
from .fleet.commands.members import MemberRequest
from .fleet.ports import IdentifyQueue, SessionStore
from .fleet.stores.sessions import MemorySessionStore
from .fleet.turns.identify import LocalIdentifyQueue
from .gateway import Gateway
from .protocol.events import EventName
from .protocol.signals import Cause
from .protocol.states import State
from .protocol.timeouts import Timeouts
from .protocol.wire import Opcode
from .shard.face import Shard, StatusChange, shard_id_for
from .shard.ports import IdentifyTurn
from .version import __version__
from .words import Intents

if TYPE_CHECKING:
    from .build import BuildInfo, build_info
    from .delivery.failure import HandlerFailure
    from .ext.attach import attach
    from .ext.attachment import Attachment
    from .fleet.commands.chunk import MembersChunk
    from .fleet.http.gateway_info import GatewayInfo, SessionStartLimit
    from .fleet.placement import Placement
    from .fleet.progress import StartProgress
    from .fleet.stores.sqlite_store import SQLiteSessionStore
    from .fleet.turns.sqlite_queue import SQLiteIdentifyQueue
    from .health.counts import EventStats, GatewayStats, LatencyStats, ShardStats, Timing
    from .health.figures import GatewayHealth, IdentifyBudget, ShardHealth
    from .processes.run import run_processes
    from .processes.status import ProcessesStatus, WorkerStatus
    from .redis.consumer import Consumer

__all__ = [
    "Attachment",
    "AuthenticationFailed",
    "BuildInfo",
    "Cause",
    "CertificateRefused",
    "CommandTimeout",
    "ConnectFailed",
    "ConnectTimeout",
    "ConnectionClosed",
    "Consumer",
    "DecodeError",
    "DeliveryLimits",
    "DisallowedIntents",
    "Event",
    "EventName",
    "EventStats",
    "EventStream",
    "FastgwError",
    "FatalError",
    "Fields",
    "Filter",
    "Gateway",
    "GatewayHealth",
    "GatewayInfo",
    "GatewayInfoError",
    "GatewayStats",
    "HandlerFailure",
    "HandshakeRefused",
    "IdentifyBudget",
    "IdentifyBudgetSpent",
    "IdentifyQueue",
    "IdentifyTurn",
    "Intents",
    "Interrupted",
    "InvalidApiVersion",
    "InvalidIntents",
    "InvalidShard",
    "LatencyStats",
    "LocalIdentifyQueue",
    "MemberRequest",
    "MembersChunk",
    "MembersRateLimited",
    "MemorySessionStore",
    "MessageTooBig",
    "MissingIntentWarning",
    "NotAWebSocket",
    "NotCompressed",
    "Opcode",
    "Placement",
    "ProcessesStatus",
    "ProtocolError",
    "ProxyRefused",
    "SQLiteIdentifyQueue",
    "SQLiteSessionStore",
    "SendQueueFull",
    "SessionLost",
    "SessionStartLimit",
    "SessionStore",
    "Shard",
    "ShardHealth",
    "ShardNotHere",
    "ShardNotRunning",
    "ShardStats",
    "ShardingRequired",
    "StartProgress",
    "State",
    "StatusChange",
    "Timeouts",
    "Timing",
    "UsageError",
    "ValueSet",
    "WaitFailed",
    "WorkerFailed",
    "WorkerStatus",
    "__version__",
    "attach",
    "build_info",
    "field",
    "run_processes",
    "shard_id_for",
]

# What few programs look up, and what would cost all of them an import of SQLite's part, of the
# supervisor of processes, of the HTTP call or of values that are made when something is told (a
# frozen dataclass takes about a millisecond to make): each is imported when it is first looked up.
_LATER = {
    "Attachment": "ext.attachment",
    "attach": "ext.attach",
    "BuildInfo": "build",
    "Consumer": "redis.consumer",
    "EventStats": "health.counts",
    "GatewayHealth": "health.figures",
    "GatewayInfo": "fleet.http.gateway_info",
    "GatewayStats": "health.counts",
    "HandlerFailure": "delivery.failure",
    "IdentifyBudget": "health.figures",
    "LatencyStats": "health.counts",
    "MembersChunk": "fleet.commands.chunk",
    "Placement": "fleet.placement",
    "ProcessesStatus": "processes.status",
    "SQLiteIdentifyQueue": "fleet.turns.sqlite_queue",
    "SQLiteSessionStore": "fleet.stores.sqlite_store",
    "SessionStartLimit": "fleet.http.gateway_info",
    "ShardHealth": "health.figures",
    "ShardStats": "health.counts",
    "StartProgress": "fleet.progress",
    "Timing": "health.counts",
    "WorkerStatus": "processes.status",
    "build_info": "build",
    "run_processes": "processes.run",
}


def __getattr__(name: str) -> object:
    """Import what stands in _LATER, and keep it."""
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    found: object = getattr(import_module(f"{__name__}.{_LATER[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATER})
