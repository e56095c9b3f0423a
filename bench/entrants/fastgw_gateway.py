"""
fastgw as its users have it: a `Gateway` with handlers, pointed at the server with `info`.

Handlers are sync functions, or coroutine functions that never wait.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import fastgw

from ..rig.client import Job
from ..rig.meter import Meter

_GUILD_OBJECTS = ("GUILD_CREATE", "GUILD_UPDATE", "GUILD_DELETE")
_COMPRESS = {"none": "none", "zlib": "zlib-stream", "zstd": "zstd-stream"}


async def run(job: Job, meter: Meter, coroutine: bool = False) -> dict[str, Any]:
    """Start a gateway of one shard; receive until the last event."""
    gateway = fastgw.Gateway(
        "bench",
        intents=fastgw.Intents.all(),
        shards=[0],
        shard_count=1,
        compress=_COMPRESS[job.compression],
        info=fastgw.GatewayInfo(url=job.url),
        ssl_context=job.ssl_context(),
    )
    if job.reads == "data":
        _read_data(gateway, job, meter, coroutine)
    elif job.reads == "sequence":
        _read_sequence(gateway, job, meter)
    else:
        _read_envelope(gateway, job, meter)
    await gateway.start()
    await meter.done.wait()
    (health,) = gateway.health().shards
    if health.missing or health.duplicates:
        raise ConnectionError(f"{health.missing} events missing, {health.duplicates} twice")
    return {"dispatches": health.dispatches, "version": fastgw.__version__}


def _read_envelope(gateway: fastgw.Gateway, job: Job, meter: Meter) -> None:
    """Handlers that read name and guild id, and nothing of the data."""
    # "*" also brings READY, which the expected counts leave out.
    left, checksum = meter.prelude + job.everything, 0

    def on_event(event: fastgw.Event) -> None:
        nonlocal left, checksum
        event.name  # noqa: B018 - read, as a router would
        guild_id = event.guild_id
        if guild_id is not None:
            checksum += guild_id
        left -= 1
        if not left:
            left, checksum = meter.turn(checksum), 0

    gateway.on(*(["*"] if job.everything else job.names))(on_event)


def _read_sequence(gateway: fastgw.Gateway, job: Job, meter: Meter) -> None:
    """Handlers that read name and sequence: what is known of every event without looking into d."""
    left, checksum = meter.prelude, 0

    def on_event(event: fastgw.Event) -> None:
        nonlocal left, checksum
        event.name  # noqa: B018 - read, as a router would
        checksum += event.sequence
        left -= 1
        if not left:
            left, checksum = meter.turn(checksum), 0

    gateway.on(*job.names)(on_event)


def _read_data(gateway: fastgw.Gateway, job: Job, meter: Meter, coroutine: bool) -> None:
    """Handlers that look the guild id up in the decoded data, as the other clients' do."""
    left, checksum = meter.prelude, 0

    def on_event(event: fastgw.Event) -> None:
        nonlocal left, checksum
        guild_id = event.data.get("guild_id")
        if guild_id is not None:
            checksum += int(guild_id)
        left -= 1
        if not left:
            left, checksum = meter.turn(checksum), 0

    def on_guild(event: fastgw.Event) -> None:
        nonlocal left, checksum
        checksum += int(event.data["id"])
        left -= 1

    def chosen(handler: Callable[[fastgw.Event], None]) -> Callable[[fastgw.Event], Any]:
        async def handle(event: fastgw.Event) -> None:
            handler(event)

        return handle if coroutine else handler

    others = [name for name in job.names if name not in _GUILD_OBJECTS]
    guilds = [name for name in job.names if name in _GUILD_OBJECTS]
    gateway.on(*others)(chosen(on_event))
    if guilds:
        gateway.on(*guilds)(chosen(on_guild))
