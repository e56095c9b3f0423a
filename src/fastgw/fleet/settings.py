"""What a fleet is told when it is made."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable, Mapping

    from ..connection.proxy import Proxies
    from ..protocol.identity import Identity
    from ..protocol.timeouts import Timeouts
    from .http.gateway_info import GatewayInfo
    from .ports import IdentifyQueue, SessionStore
    from .publishing import EventPublisher

__all__ = ["FleetOptions"]


class FleetOptions(NamedTuple):
    """
    What `Gateway` was told, checked already; see there.

    Attributes:
        identity: what IDENTIFY says; the shards' own differ from it in id and count alone.
        shard_ids, shard_count: None for what the API recommends.
        is_store_chosen: the user named it, were it one in memory.
        answer, may_take, stopped: see `Placement`; the answer with when it was asked for.
        is_shared: shards come and go while it runs; who says which takes fenced ones again, too.
        metrics: host and port to serve metrics at; None nowhere.
        relief_bytes: above which read buffers are given back; None never.
        compression: the Decoder's word for what the user named; None when it was left to us.
    """

    identity: Identity
    shard_ids: tuple[int, ...] | None
    shard_count: int | None
    compression: str | None
    info: GatewayInfo | None
    api_url: str
    timeouts: Timeouts
    ssl_context: ssl.SSLContext | None
    proxies: Proxies
    http_headers: Mapping[str, str]
    metrics: tuple[str, int] | None
    relief_bytes: int | None
    store: SessionStore
    is_store_chosen: bool
    identify_queue: IdentifyQueue | None
    backoff_s: tuple[float, float]
    on_fatal: str
    drain_s: float
    random: Callable[[], float]
    early_heartbeat: bool = False
    publish: EventPublisher | None = None
    answer: tuple[GatewayInfo, float] | None = None
    may_take: Callable[[bool], Awaitable[None]] | None = None
    stopped: Callable[[int], None] | None = None
    is_shared: bool = False

    def __repr__(self) -> str:
        return "FleetOptions(...)"  # a header's value may be a secret
