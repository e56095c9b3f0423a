"""What all shards of a fleet have in common, out of what the fleet was told."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from ..shard.compression import Compression
from ..shard.link import MAX_OPENING, ShardSetup
from ..version import USER_AGENT

if TYPE_CHECKING:
    from ..connection.dial import Turns
    from ..delivery.handlers import Handlers
    from .fencing import Fencing
    from .settings import FleetOptions
    from .turns.identify import IdentifyGate

__all__ = ["make_setup"]


def make_setup(
    options: FleetOptions,
    handlers: Handlers,
    gate: IdentifyGate,
    turns: Turns,
    fencing: Fencing,
    *,
    url: str,
    ids: tuple[int, ...],
) -> ShardSetup:
    """Make the setup of these shards, which connect to `url`; none is for any number of them."""
    return ShardSetup(
        url=url,
        compression=Compression(options.compression, shards=len(ids) or options.shard_count or 1),
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
        may_speak=fencing.may_speak,
    )
