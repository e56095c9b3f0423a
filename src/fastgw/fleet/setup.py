"""What all shards of a fleet have in common, out of what the fleet was told."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from ..shard.compression import Compression
from ..shard.link import MAX_OPENING, ShardSetup
from .gateway_info import USER_AGENT

if TYPE_CHECKING:
    from ..connection.dial import Turns
    from ..delivery.handlers import Handlers
    from .identify import IdentifyGate
    from .settings import FleetOptions

__all__ = ["make_setup"]


def make_setup(
    options: FleetOptions,
    handlers: Handlers,
    gate: IdentifyGate,
    turns: Turns,
    *,
    url: str,
    shards: int,
) -> ShardSetup:
    """Make the setup of so many shards here, which connect to `url`."""
    return ShardSetup(
        url=url,
        compression=Compression(options.compression, shards=shards),
        interests=handlers.interests,
        delivery=handlers,
        gate=gate,
        timeouts=options.timeouts,
        ssl_context=options.ssl_context,
        headers={"User-Agent": USER_AGENT, **options.http_headers},
        proxies=options.proxies,
        random=options.random,
        backoff_s=options.backoff_s,
        opening=asyncio.Semaphore(MAX_OPENING),
        turns=turns,
        stores_handled=options.store.acknowledge == "handled",
        early_heartbeat=options.early_heartbeat,
    )
