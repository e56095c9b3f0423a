"""
fastgw as its users have it: a `Gateway` with handlers, pointed at the server with `info`.

Handlers are sync functions, or coroutine functions that never wait.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import fastgw
from fastgw._decode import use_zstd

from ..rig.client import Job
from ..rig.meter import Meter

_GUILD_OBJECTS = ("GUILD_CREATE", "GUILD_UPDATE", "GUILD_DELETE")
_FIELDS = fastgw.Fields("channel_id", "author.id", "content")
_COMPRESS = {"none": "none", "zlib": "zlib-stream", "zstd": "zstd-stream"}


async def run(
    job: Job, meter: Meter, coroutine: bool = False, form: str = "", zstd: str = ""
) -> dict[str, Any]:
    """Start a gateway of one shard; receive until the last event."""
    if zstd:
        use_zstd(zstd)
    gateway = fastgw.Gateway(
        "bench",
        intents=fastgw.Intents.all(),
        shards=[0],
        shard_count=1,
        compress=_COMPRESS[job.compression],
        info=fastgw.GatewayInfo(url=job.url),
        ssl_context=job.ssl_context(),
    )
    if form:
        _FORMS[form](gateway, job, meter, coroutine)
    elif job.reads == "data":
        _read_data(gateway, job, meter, coroutine)
    elif job.reads == "sequence":
        _read_sequence(gateway, job, meter)
    else:
        _read_envelope(gateway, job, meter)
    await gateway.start()
    await meter.done.wait()
    (stats,) = gateway.stats().shards
    if stats.missing or stats.duplicates:
        raise ConnectionError(f"{stats.missing} events missing, {stats.duplicates} twice")
    return {"dispatches": stats.dispatches, "version": fastgw.__version__}


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


def _take_fields(gateway: fastgw.Gateway, job: Job, meter: Meter, coroutine: bool) -> None:
    """Handlers that are called with three values, and add up the length of one."""
    left, checksum = meter.prelude, 0

    def on_event(channel_id: str | None, author_id: str | None, content: str | None) -> None:
        nonlocal left, checksum
        if content is not None:
            checksum += len(content)
        left -= 1
        if not left:
            left, checksum = meter.turn(checksum), 0

    async def handle(channel_id: str | None, author_id: str | None, content: str | None) -> None:
        on_event(channel_id, author_id, content)

    gateway.on(*job.names, fields=_FIELDS)(handle if coroutine else on_event)


def _read_fields(gateway: fastgw.Gateway, job: Job, meter: Meter, coroutine: bool) -> None:
    """Handlers that take the event, and read the same of it."""
    left, checksum = meter.prelude, 0

    def on_event(event: fastgw.Event) -> None:
        nonlocal left, checksum
        _channel_id, _author_id, content = event.read(_FIELDS)
        if content is not None:
            checksum += len(content)
        left -= 1
        if not left:
            left, checksum = meter.turn(checksum), 0

    gateway.on(*job.names)(on_event)


def _reject(gateway: fastgw.Gateway, job: Job, meter: Meter, coroutine: bool) -> None:
    """A handler whose filter rejects everything, beside the one of what is counted."""
    field = fastgw.field
    none = ~field("author.bot").is_true() & field("content").startswith("\0nobody writes this")

    @gateway.on("*", where=none)
    def never(event: fastgw.Event) -> None:
        raise AssertionError(f"the filter let {event!r} through")

    _read_envelope(gateway, replace(job, everything=False), meter)


def _take_guilds(gateway: fastgw.Gateway, job: Job, meter: Meter, coroutine: bool) -> None:
    """Handlers that are called with three values of each guild."""
    left, checksum = meter.prelude, 0

    def on_guild(guild_id: str, name: str, member_count: int) -> None:
        nonlocal left, checksum
        checksum += int(guild_id)
        left -= 1

    def on_other(guild_id: str | None) -> None:
        nonlocal left, checksum
        if guild_id is not None:
            checksum += int(guild_id)
        left -= 1
        if not left:
            left, checksum = meter.turn(checksum), 0

    guilds = [name for name in job.names if name in _GUILD_OBJECTS]
    others = [name for name in job.names if name not in _GUILD_OBJECTS]
    gateway.on(*guilds, fields=("id", "name", "member_count"))(on_guild)
    gateway.on(*others, fields=("guild_id",))(on_other)


_FORMS = {
    "fields": _take_fields,
    "read": _read_fields,
    "where": _reject,
    "guilds": _take_guilds,
}
