"""
fastgw: the Discord gateway core for Python bots that outgrew their library.

Names are imported when they are first used: pytest loads `fastgw.testing.plugin`, and with it this
package, in every run of everybody who has installed fastgw.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._decode import Event
    from .delivery.failures import HandlerFailure
    from .delivery.names import MissingIntentWarning
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
        IdentifyBudgetSpent,
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
    from .fleet.identify import LocalIdentifyQueue
    from .gateway import Gateway
    from .health.figures import GatewayHealth, ShardHealth
    from .protocol.signals import Cause
    from .protocol.states import State
    from .protocol.timeouts import Timeouts
    from .protocol.wire import Opcode
    from .shard.face import Shard, StatusChange
    from .shard.ports import IdentifyQueue, IdentifyTurn

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
    "HandlerFailure",
    "HandshakeRefused",
    "IdentifyBudgetSpent",
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
    "Cause": "protocol.signals",
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
    "GatewayHealth": "health.figures",
    "GatewayInfo": "fleet.gateway_info",
    "GatewayInfoError": "errors",
    "HandlerFailure": "delivery.failures",
    "HandshakeRefused": "errors",
    "IdentifyBudgetSpent": "errors",
    "IdentifyQueue": "shard.ports",
    "IdentifyTurn": "shard.ports",
    "Intents": "words",
    "InvalidApiVersion": "errors",
    "InvalidIntents": "errors",
    "InvalidShard": "errors",
    "LocalIdentifyQueue": "fleet.identify",
    "MessageTooBig": "errors",
    "MissingIntentWarning": "delivery.names",
    "NotAWebSocket": "errors",
    "Opcode": "protocol.wire",
    "ProtocolError": "errors",
    "SendQueueFull": "errors",
    "SessionLost": "errors",
    "SessionStartLimit": "fleet.gateway_info",
    "Shard": "shard.face",
    "ShardHealth": "health.figures",
    "ShardingRequired": "errors",
    "State": "protocol.states",
    "StatusChange": "shard.face",
    "Timeouts": "protocol.timeouts",
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
