"""
Messages and what happens to them: MESSAGE_CREATE and its relatives.

Here `guild_id` stands at the very end of the map (messages, reactions added), as it was captured.
"""

from __future__ import annotations

from typing import Any

import orjson

from .population import EMOJI, Guild, Member, World

__all__ = [
    "Built",
    "emoji",
    "message_create",
    "message_delete",
    "message_delete_bulk",
    "message_update",
    "reaction_add",
    "reaction_remove",
]

Built = tuple[dict[str, Any], "int | None"]


def _embed(world: World) -> dict[str, Any]:
    rng = world.random
    embed: dict[str, Any] = {
        "type": "rich",
        "title": world.text(5),
        "footer": {"text": world.text(4), "icon_url": _cdn(world, "avatars")},
        "fields": [
            {"value": world.text(rng.randint(2, 12)), "name": world.text(2), "inline": True}
            for _ in range(rng.choice((0, 0, 2, 3, 6)))
        ],
        "description": world.text(rng.randint(8, 60)),
        "content_scan_version": 4,
        "color": rng.getrandbits(24),
    }
    return embed


def _cdn(world: World, kind: str) -> str:
    path = f"{kind}/{world.old_snowflake()}"
    return f"https://cdn.discordapp.com/{path}/{world.hex(32)}.png"


def _attachment(world: World) -> dict[str, Any]:
    rng = world.random
    path = f"attachments/{world.old_snowflake()}/{world.clock.snowflake()}/image.png"
    signature = f"?ex={world.hex(8)}&is={world.hex(8)}&hm={world.hex(64)}&"
    return {
        "width": rng.randint(200, 2560),
        "url": f"https://cdn.discordapp.com/{path}{signature}",
        "size": rng.randint(10_000, 4_000_000),
        "proxy_url": f"https://media.discordapp.net/{path}{signature}",
        "placeholder_version": 1,
        "placeholder": world.hex(24),
        "id": world.clock.snowflake(),
        "height": rng.randint(200, 1440),
        "filename": "image.png",
        "content_type": "image/png",
        "content_scan_version": 4,
    }


def _message(world: World, channel_id: str, author: Member, guild: Guild | None) -> dict[str, Any]:
    """Build a message; `guild` None means a direct message."""
    rng = world.random
    draw = rng.random()
    mentioned: list[orjson.Fragment] = []
    if guild is not None and rng.random() < 0.14:
        mentioned = [guild.member().user for _ in range(rng.choice((1, 1, 2)))]
    message: dict[str, Any] = {
        "type": 0,
        "tts": False,
        "timestamp": world.clock.timestamp(),
        "pinned": False,
        "nonce": world.clock.snowflake(),
        "mentions": mentioned,
        "mention_roles": [],
        "mention_everyone": False,
        "member": author.member,
        "id": world.clock.snowflake(),
        "flags": 0,
        "embeds": [_embed(world) for _ in range(1 + (draw < 0.01))] if draw < 0.055 else [],
        "edited_timestamp": None,
        "content": world.text(max(1, int(rng.lognormvariate(2.2, 0.9)))),
        "components": [],
        "channel_type": 0 if guild else 1,
        "channel_id": channel_id,
        "author": author.user,
        "attachments": [_attachment(world)] if 0.055 <= draw < 0.11 else [],
    }
    if guild is None:
        del message["member"]
    return message


def message_create(world: World) -> Built:
    """A message; one in fifty is a direct one, one in nine a reply with the referenced message."""
    rng = world.random
    guild = world.guild()
    author = guild.member()
    if rng.random() < 0.02:
        return _message(world, world.old_snowflake(), author, None), None
    channel_id = guild.channel()
    message = _message(world, channel_id, author, guild)
    if rng.random() < 0.10:
        referenced = _message(world, channel_id, guild.member(), guild)
        for key in ("member", "nonce", "channel_type"):
            del referenced[key]
        reply: dict[str, Any] = {
            "message_id": referenced["id"],
            "guild_id": guild.key,
            "channel_id": channel_id,
            "type": 0,
        }
        message["type"] = 19
        message["referenced_message"] = referenced
        message["message_reference"] = dict(sorted(reply.items(), reverse=True))
        message = dict(sorted(message.items(), reverse=True))
    message["guild_id"] = guild.key
    return message, guild.id


def message_update(world: World) -> Built:
    """An edit: the full message again, with its edit time."""
    message, guild_id = message_create(world)
    message["edited_timestamp"] = world.clock.timestamp(900)
    return message, guild_id


def message_delete(world: World) -> Built:
    guild = world.guild()
    message_id = world.clock.snowflake()
    return {"id": message_id, "guild_id": guild.key, "channel_id": guild.channel()}, guild.id


def message_delete_bulk(world: World) -> Built:
    guild = world.guild()
    ids = [world.clock.snowflake() for _ in range(world.random.randint(2, 60))]
    return {"ids": ids, "guild_id": guild.key, "channel_id": guild.channel()}, guild.id


def emoji(world: World) -> dict[str, Any]:
    if world.random.random() < 0.6:
        return {"name": world.random.choice(EMOJI), "id": None}
    return {"name": world.handle(), "id": world.old_snowflake()}


def reaction_add(world: World) -> Built:
    guild = world.guild()
    member = guild.member()
    return {
        "user_id": member.user_id,
        "type": 0,
        "message_id": world.clock.snowflake(),
        "message_author_id": guild.member().user_id,
        "member": member.full,
        "emoji": emoji(world),
        "channel_id": guild.channel(),
        "burst": False,
        "guild_id": guild.key,
    }, guild.id


def reaction_remove(world: World) -> Built:
    guild = world.guild()
    return {
        "user_id": guild.member().user_id,
        "type": 0,
        "message_id": world.clock.snowflake(),
        "emoji": emoji(world),
        "channel_id": guild.channel(),
        "burst": False,
        "guild_id": guild.key,
    }, guild.id
