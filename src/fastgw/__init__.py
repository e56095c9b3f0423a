"""
fastgw: the Discord gateway core for Python bots that outgrew their library.

Names are imported when they are first used: pytest loads `fastgw.testing.plugin`, and with it this
package, in every run of everybody who has installed fastgw.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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
    from .pacing import IdentifyQueue, IdentifyTurn, LocalIdentifyQueue
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
    "IdentifyQueue",
    "IdentifyTurn",
    "Intents",
    "InvalidApiVersion",
    "InvalidIntents",
    "InvalidShard",
    "LocalIdentifyQueue",
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

_HOMES = {
    "AuthenticationFailed": "errors",
    "Cause": "signals",
    "CertificateRefused": "errors",
    "ConnectFailed": "errors",
    "ConnectTimeout": "errors",
    "ConnectionClosed": "errors",
    "DecodeError": "errors",
    "DisallowedIntents": "errors",
    "Event": "_decode",
    "FastgwError": "errors",
    "FatalError": "errors",
    "Gateway": "gateway",
    "GatewayHealth": "stats",
    "GatewayInfo": "wire",
    "GatewayInfoError": "errors",
    "HandshakeRefused": "errors",
    "IdentifyQueue": "pacing",
    "IdentifyTurn": "pacing",
    "Intents": "wire",
    "InvalidApiVersion": "errors",
    "InvalidIntents": "errors",
    "InvalidShard": "errors",
    "LocalIdentifyQueue": "pacing",
    "MessageTooBig": "errors",
    "MissingIntentWarning": "dispatch",
    "NotAWebSocket": "errors",
    "Opcode": "wire",
    "ProtocolError": "errors",
    "SendQueueFull": "errors",
    "SessionLost": "errors",
    "SessionStartLimit": "wire",
    "Shard": "shard",
    "ShardHealth": "stats",
    "ShardingRequired": "errors",
    "State": "states",
    "StatusChange": "shard",
    "Timeouts": "protocol",
    "UsageError": "errors",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{home}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
