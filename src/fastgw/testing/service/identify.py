"""What the service checks in an IDENTIFY, and what it answers with READY."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from ...protocol.events import PRIVILEGED
from ...protocol.wire import API_VERSION
from ...words import Intents

if TYPE_CHECKING:
    from collections.abc import Container, Iterable

    from ..traffic.traffic import Dispatch
    from .session import FakeSession

__all__ = ["BOT_ID", "application", "bot_user", "ready_data", "refusal", "shard_of", "trace"]

# Discord docs, "Sharding": a shard may have at most this many guilds.
MAX_GUILDS_PER_SHARD = 2_500
# The user of the bot, and its application.
BOT_ID = "80351110224678912"


def refusal(
    data: dict[str, Any],
    *,
    shard_counts: Container[int] | None,
    allowed_intents: Intents,
    guilds: Iterable[Dispatch],
) -> tuple[int, str] | None:
    """Check the `d` of an IDENTIFY; return close code and reason when it is refused."""
    intents = data.get("intents")
    if type(intents) is not int or not isinstance(data.get("properties"), dict):
        return 4002, "Error while decoding payload."
    try:
        shard_id, shard_count = shard_of(data)
    except (TypeError, ValueError):
        return 4010, "Invalid shard."
    if not 0 <= shard_id < shard_count:
        return 4010, "Invalid shard."
    if shard_counts is not None and shard_count not in shard_counts:
        return 4010, "Invalid shard."
    if intents < 0 or intents & ~int(Intents.all()):
        return 4013, "Invalid intent(s)."
    if intents & PRIVILEGED & ~allowed_intents:
        return 4014, "Disallowed intent(s)."
    own = sum(((guild.guild_id or 0) >> 22) % shard_count == shard_id for guild in guilds)
    if own > MAX_GUILDS_PER_SHARD:
        return 4011, "Sharding required."
    return None


def shard_of(data: dict[str, Any]) -> tuple[int, int]:
    """Read `shard` of an IDENTIFY. Raises ValueError or TypeError when it is none."""
    shard_id, shard_count = data.get("shard", (0, 1))
    if type(shard_id) is not int or type(shard_count) is not int:
        raise ValueError("a shard is two whole numbers")
    return shard_id, shard_count


def trace() -> list[str]:
    """Write `_trace` as the service does: JSON inside a string."""
    return [orjson.dumps(["gateway-fake-0001", {"micros": 0.0}]).decode()]


def application_flags(allowed: Intents) -> int:
    """Return the flags of an application in few guilds with these privileged intents enabled."""
    bits = {Intents.GUILD_PRESENCES: 13, Intents.GUILD_MEMBERS: 15, Intents.MESSAGE_CONTENT: 19}
    return sum(1 << bit for intent, bit in bits.items() if allowed & intent)


def bot_user() -> dict[str, Any]:
    """Build the bot's own user, as READY and `GET /users/@me` have it."""
    return {
        "verified": True,
        "username": "fake",
        "mfa_enabled": True,
        "id": BOT_ID,
        "global_name": None,
        "flags": 0,
        "email": None,
        "discriminator": "0001",
        "bot": True,
        "avatar": None,
    }


def application(allowed: Intents) -> dict[str, Any]:
    """
    Build the bot's application, as `GET /applications/@me` has it.

    `allowed` are the intents that the developer portal has enabled.
    """
    return {
        "verify_key": "",
        "summary": "",
        "rpc_origins": [],
        "owner": bot_user(),
        "name": "fake",
        "id": BOT_ID,
        "icon": None,
        "flags": application_flags(allowed),
        "description": "",
        "bot_require_code_grant": False,
        "bot_public": True,
    }


def ready_data(
    session: FakeSession,
    guilds: Iterable[Dispatch],
    resume_url: str | None,
    allowed: Intents,
) -> dict[str, Any]:
    """Build READY's `d`, with the undocumented keys that are seen there."""
    return {
        "v": API_VERSION,
        "user_settings": {},
        "user": bot_user(),
        "shard": [session.shard_id, session.shard_count],
        "session_type": "normal",
        "session_id": session.session_id,
        "resume_gateway_url": resume_url or "wss://gateway-fake.invalid",
        "relationships": [],
        "private_channels": [],
        "presences": [],
        "guilds": [{"unavailable": True, "id": str(guild.guild_id)} for guild in guilds],
        "guild_join_requests": [],
        "geo_ordered_rtc_regions": ["rotterdam", "madrid"],
        "game_relationships": [],
        "auth": {},
        "application": {"id": BOT_ID, "flags": application_flags(allowed)},
        "_trace": trace(),
    }
