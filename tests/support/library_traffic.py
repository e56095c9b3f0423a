"""
What the bots of other libraries are compared on: the same seeded dispatches for each of them.

Every event that a library has a parser for comes, and events are about what there is: edits,
deletions and reactions about messages that came, threads and scheduled events that were created,
and now and then about the bot's own member.
"""

from __future__ import annotations

import random
from collections import defaultdict, deque
from typing import Any

import orjson

from fastgw.testing import Dispatch, FakeGateway, Traffic
from fastgw.testing.service.identify import BOT_ID
from fastgw.testing.traffic.traffic import EVERY_EVENT

__all__ = ["BOT_ID", "OF_KNOWN", "TOKEN", "LibraryTraffic", "serve"]

# The first part says whose it is, in base64, as that of every bot token: libraries read it.
TOKEN = "ODAzNTExMTAyMjQ2Nzg5MTI.AAAAAA.fake"

# By which key an event names what it is about, and what an earlier event brought.
_ABOUT_A_MESSAGE = {
    "MESSAGE_UPDATE": "id",
    "MESSAGE_DELETE": "id",
    "MESSAGE_REACTION_ADD": "message_id",
    "MESSAGE_REACTION_REMOVE": "message_id",
    "MESSAGE_REACTION_REMOVE_ALL": "message_id",
    "MESSAGE_REACTION_REMOVE_EMOJI": "message_id",
    "MESSAGE_POLL_VOTE_ADD": "message_id",
    "MESSAGE_POLL_VOTE_REMOVE": "message_id",
}
_KEY_OF = {
    "THREAD": "id",
    "STAGE_INSTANCE": "id",
    "AUTO_MODERATION_RULE": "id",
    "GUILD_SCHEDULED_EVENT": "id",
    "GUILD_SCHEDULED_EVENT_USER": "guild_scheduled_event_id",
    "GUILD_SOUNDBOARD_SOUND": "sound_id",
    "INTEGRATION": "id",
    "THREAD_MEMBER": "id",
    "THREAD_MEMBERS": "id",
}
_PART_OF = {
    "GUILD_SCHEDULED_EVENT_USER": "GUILD_SCHEDULED_EVENT",
    "THREAD_MEMBER": "THREAD",
    "THREAD_MEMBERS": "THREAD",
}
# It comes only of a channel that the bot is connected to; py-cord's parser fails otherwise.
OF_KNOWN = frozenset({"VOICE_CHANNEL_EFFECT_SEND"})


class LibraryTraffic:
    """
    Guilds and dispatches, all from one seed.

    Args:
        seed, guilds: of `Traffic`.
        of_known: names of events that come only about guilds that the bot is in.
    Attributes:
        guilds: for `FakeGateway(guilds=...)`; the bot is a member of each.
    """

    def __init__(self, seed: int, *, guilds: int = 3, of_known: frozenset[str] = OF_KNOWN) -> None:
        self._of_known = of_known
        self._random = random.Random(seed)
        self._traffic = Traffic(seed, guilds=guilds, mix=EVERY_EVENT)
        self._messages: deque[tuple[str, str, str | None]] = deque(maxlen=40)
        self._things: dict[str, list[tuple[str, str]]] = defaultdict(list)
        self._known = [str(guild_id) for guild_id in self._traffic.guild_ids]
        self.guilds = [self._with_the_bot(guild) for guild in self._traffic.startup()]

    def dispatches(self, count: int) -> list[Dispatch]:
        """Make the next ones: each name once in turn first, then by its share."""
        each = [self._traffic.dispatch(name) for name in Traffic.names()][:count]
        made = [self._linked(d) for d in each + self._traffic.dispatches(count - len(each))]
        return [dispatch for dispatch in made if dispatch is not None]

    def _with_the_bot(self, guild: Dispatch) -> Dispatch:
        data = orjson.loads(guild.data)
        if not data["members"]:
            return guild
        member = dict(data["members"][0], nick=None, roles=[role["id"] for role in data["roles"]])
        member["user"] = dict(member["user"], id=BOT_ID, bot=True)
        data["members"].append(member)
        return Dispatch(guild.name, orjson.dumps(data), guild.guild_id)

    def _linked(self, dispatch: Dispatch) -> Dispatch | None:
        name, data = dispatch.name, orjson.loads(dispatch.data)
        if name == "GUILD_CREATE":
            if data["id"] not in self._known:
                self._known.append(data["id"])
            return self._with_the_bot(dispatch)
        if name in self._of_known and data.get("guild_id") not in (None, *self._known):
            if not self._known:
                return None
            data["guild_id"] = self._random.choice(self._known)
            dispatch = Dispatch(name, orjson.dumps(data), int(data["guild_id"]))
        if name == "MESSAGE_CREATE":
            self._messages.append((data["id"], data["channel_id"], data.get("guild_id")))
            return dispatch
        if name == "GUILD_DELETE":
            if data["id"] in self._known:
                self._known.remove(data["id"])
            if self._random.random() < 0.3:
                del data["unavailable"]  # the bot was removed
        elif name in _ABOUT_A_MESSAGE or name == "MESSAGE_DELETE_BULK":
            self._about_a_message(name, data)
        elif name in ("GUILD_MEMBER_UPDATE", "PRESENCE_UPDATE") and self._random.random() < 0.3:
            data["user"]["id"] = BOT_ID
        else:
            self._about_a_thing(name, data)
        key = "id" if name.startswith("GUILD_") and "guild_id" not in data else "guild_id"
        guild_id = data.get(key) if key in data and dispatch.guild_id is not None else None
        return Dispatch(name, orjson.dumps(data), None if guild_id is None else int(guild_id))

    def _about_a_message(self, name: str, data: dict[str, Any]) -> None:
        if not self._messages or "guild_id" not in data or self._random.random() < 0.2:
            return  # about one that nobody has seen
        known = [message for message in self._messages if message[2] is not None]
        if name in self._of_known:
            known = [message for message in known if message[2] in self._known]
        if not known:
            return
        message_id, data["channel_id"], data["guild_id"] = self._random.choice(known)
        if name == "MESSAGE_DELETE_BULK":
            data["ids"] = [m[0] for m in known if m[1] == data["channel_id"]]
        else:
            data[_ABOUT_A_MESSAGE[name]] = message_id

    def _about_a_thing(self, name: str, data: dict[str, Any]) -> None:
        kind, _, deed = name.rpartition("_")
        if kind not in _KEY_OF or "guild_id" not in data:
            return
        known = self._things[_PART_OF.get(kind, kind)]
        if deed == "CREATE":
            known.append((data[_KEY_OF[kind]], data["guild_id"]))
        elif known:
            data[_KEY_OF[kind]], data["guild_id"] = self._random.choice(known)


async def serve(fake: FakeGateway, dispatches: list[Dispatch], *, batch: int = 100) -> None:
    """Send them as the service does, in batches that clients have read."""
    for begin in range(0, len(dispatches), batch):
        fake.dispatch_many(dispatches[begin : begin + batch])
        await fake.wait_sent()
