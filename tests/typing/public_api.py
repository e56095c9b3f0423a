"""Checked by mypy --strict and never run: what users may write against the public API."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any

from fastgw import (
    DeliveryLimits,
    Event,
    EventStream,
    Gateway,
    GatewayInfo,
    HandlerFailure,
    Intents,
    Opcode,
    State,
    StatusChange,
    Timeouts,
    WaitFailed,
)

gateway = Gateway(
    "token",
    intents=Intents.GUILDS | Intents.GUILD_MESSAGES,
    info=GatewayInfo(url="wss://gateway.example"),
    compress="zlib-stream",
    limits=DeliveryLimits(running=500, shard_bytes=1_000_000, gateway_bytes=9_000_000),
    timeouts=Timeouts(hello_s=5.0),
)


@gateway.on("MESSAGE_CREATE", "MESSAGE_UPDATE")
def on_message(event: Event) -> None:
    name: str = event.name
    guild: int | None = event.guild_id
    raw: bytes = event.raw
    at: float = event.received_at
    print(name, guild, raw, at, event.data["content"], event.sequence + event.shard_id)


@gateway.on("*")
async def on_everything(event: Event) -> None:
    print(event)


@gateway.on("INTERACTION_CREATE", once=True)
async def on_first_interaction(event: Event) -> None:
    gone: bool = gateway.off(on_message, "MESSAGE_UPDATE")
    print(gone, gateway.off(on_everything))


@gateway.on("GUILD_CREATE", bound=1, policy="drop_oldest")
async def on_guild(event: Event) -> None:
    print(event.message_bytes)


@gateway.on_error
async def on_error(failure: HandlerFailure) -> None:
    print(failure.name, failure.handler, failure.event, repr(failure.error))


gateway.route("GUILD_CREATE", on_message)
gateway.route("GUILD_CREATE", None)


@gateway.on_status
def on_status(change: StatusChange) -> None:
    if change.new is State.READY:
        print(change.shard.id, change.cause)


async def iterates() -> None:
    async for event in gateway.events("MESSAGE_CREATE", bound=100, policy="drop_newest"):
        sequence: int = event.sequence
        print(sequence)
    stream: EventStream[Event] = gateway.events("*")
    async with stream as same:
        print(await same.__anext__())
    await stream.aclose()
    try:
        answer: Event = await gateway.wait_for(
            "MESSAGE_CREATE", check=lambda event: event.guild_id == 7, timeout_s=1.0
        )
    except WaitFailed:
        return
    print(answer.data)


async def commands() -> None:
    await gateway.update_voice_state(1, None, self_deaf=True)
    await gateway.request_channel_info("1", ["status"])
    await gateway.request_soundboard_sounds([1, "2"])
    await gateway.send(Opcode.PRESENCE_UPDATE, {"status": "idle"}, shard_id=0)
    members: list[dict[str, Any]] = await gateway.request_members(1)
    async for chunk in gateway.request_members(1, user_ids=[2], on_rate_limit="raise"):
        missing: list[str] = chunk.not_found
        print(members, missing, chunk.index, chunk.count)
    await gateway.request_channel_info(1, ["name"])  # type: ignore[list-item]
    gateway.request_members(1, on_rate_limit="ignore")  # type: ignore[arg-type]


async def main() -> None:
    async with gateway:
        await gateway.wait_ready()
        shard = gateway.shards[0]
        gateway.set_presence({"status": "online"}, shard_ids=range(1))
        future: Future[None] = gateway.call_threadsafe(shard.send, Opcode.VOICE_STATE_UPDATE, {})
        future.cancel()
        await shard.send(Opcode.VOICE_STATE_UPDATE, {"guild_id": "1", "channel_id": None})
        await shard.send_encoded(b'{"op":4,"d":{"guild_id":"1"}}', wait=False)
        session_id: str | None = shard.session_id
        print(session_id, shard.resume_url, shard.send_room)
        latency: float | None = shard.latency
        print(
            latency, shard.status, shard.stats().duplicates, gateway.health(), gateway.stats().total
        )
        await gateway.wait_closed()


gateway.run()
