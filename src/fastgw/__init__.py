"""fastgw: the Discord gateway core for Python bots that outgrew their library."""

from ._decode import Event
from .dispatch import MissingIntentWarning
from .errors import (
    AuthenticationFailed,
    CertificateRefused,
    ConnectFailed,
    ConnectionClosed,
    ConnectTimeout,
    DecodeError,
    DisallowedIntents,
    FastgwError,
    FatalError,
    GatewayInfoError,
    HandshakeRefused,
    InvalidApiVersion,
    InvalidIntents,
    InvalidShard,
    MessageTooBig,
    NotAWebSocket,
    ProtocolError,
    SendQueueFull,
    SessionLost,
    ShardingRequired,
    UsageError,
)
from .gateway import Gateway
from .protocol import Timeouts
from .shard import Shard, StatusChange
from .signals import Cause
from .states import State
from .stats import GatewayHealth, ShardHealth
from .wire import GatewayInfo, Intents, Opcode, SessionStartLimit

__version__ = "0.1.0"

__all__ = [
    "AuthenticationFailed",
    "Cause",
    "CertificateRefused",
    "ConnectFailed",
    "ConnectTimeout",
    "ConnectionClosed",
    "DecodeError",
    "DisallowedIntents",
    "Event",
    "FastgwError",
    "FatalError",
    "Gateway",
    "GatewayHealth",
    "GatewayInfo",
    "GatewayInfoError",
    "HandshakeRefused",
    "Intents",
    "InvalidApiVersion",
    "InvalidIntents",
    "InvalidShard",
    "MessageTooBig",
    "MissingIntentWarning",
    "NotAWebSocket",
    "Opcode",
    "ProtocolError",
    "SendQueueFull",
    "SessionLost",
    "SessionStartLimit",
    "Shard",
    "ShardHealth",
    "ShardingRequired",
    "State",
    "StatusChange",
    "Timeouts",
    "UsageError",
    "__version__",
]
