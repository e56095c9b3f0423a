"""
Synthetic gateway traffic: dispatches with the sizes, mix, key order and unicode of a large bot.

    traffic = Traffic(seed=7)
    for sequence, dispatch in enumerate(traffic.dispatches(1_000), 1):
        message = encode(dispatch.name, sequence, dispatch.data)

Nothing is captured: a seed gives the same bytes on every machine. Sizes and shares follow what has
been reported of large bots; key order follows observed captures (maps up to 32 keys descend
alphabetically, larger ones are in hash order, some events append `guild_id` at the very end).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import accumulate

import orjson

from ...errors import UsageError
from .guilds import guild_create
from .population import World
from .rare import BUILDERS, EVERY_EVENT

__all__ = [
    "EVERY_EVENT",
    "INTERACTIONS",
    "LARGE_BOT",
    "MESSAGES",
    "WITHOUT_PRESENCES",
    "Dispatch",
    "Traffic",
    "encode",
]

# Shares per 10,000 dispatches; mean size about 850 B. The order of the leading classes is that of
# protocol reports of large bots (presences and messages first, then typing, edits and members).
LARGE_BOT: Mapping[str, float] = {
    "MESSAGE_CREATE": 2_800,
    "PRESENCE_UPDATE": 2_850,
    "TYPING_START": 1_500,
    "MESSAGE_UPDATE": 650,
    "GUILD_MEMBER_UPDATE": 550,
    "MESSAGE_REACTION_ADD": 500,
    "VOICE_STATE_UPDATE": 400,
    "INTERACTION_CREATE": 200,
    "MESSAGE_DELETE": 140,
    "MESSAGE_REACTION_REMOVE": 100,
    "GUILD_MEMBER_ADD": 80,
    "GUILD_AUDIT_LOG_ENTRY_CREATE": 60,
    "GUILD_MEMBER_REMOVE": 50,
    "THREAD_UPDATE": 25,
    "THREAD_CREATE": 20,
    "AUTO_MODERATION_ACTION_EXECUTION": 18,
    "VOICE_CHANNEL_STATUS_UPDATE": 15,
    "CHANNEL_UPDATE": 14,
    "GUILD_ROLE_UPDATE": 10,
    "MESSAGE_POLL_VOTE_ADD": 10,
    "INVITE_CREATE": 8,
    "THREAD_DELETE": 6,
    "CHANNEL_CREATE": 5,
    "CHANNEL_DELETE": 4,
    "MESSAGE_DELETE_BULK": 4,
    "WEBHOOKS_UPDATE": 4,
    "GUILD_BAN_ADD": 4,
    "CHANNEL_PINS_UPDATE": 4,
    "GUILD_ROLE_CREATE": 3,
    "INVITE_DELETE": 3,
    "GUILD_UPDATE": 3,
    "GUILD_CREATE": 2,
    "GUILD_ROLE_DELETE": 2,
    "GUILD_SCHEDULED_EVENT_USER_ADD": 2,
    "GUILD_BAN_REMOVE": 1.5,
    "GUILD_DELETE": 1.5,
    "ENTITLEMENT_CREATE": 1,
}
# The same bot without the privileged presence intent: messages first, edits second.
WITHOUT_PRESENCES: Mapping[str, float] = {
    name: share for name, share in LARGE_BOT.items() if name != "PRESENCE_UPDATE"
}
# A bot that has no slash commands: messages, their edits, ends, reactions and polls.
MESSAGES: Mapping[str, float] = {
    name: share for name, share in LARGE_BOT.items() if name.startswith("MESSAGE_")
}
INTERACTIONS: Mapping[str, float] = {"INTERACTION_CREATE": 1}


@dataclass(frozen=True, slots=True)
class Dispatch:
    """
    One event before it gets a sequence.

    Attributes:
        name: the event's name, `t` on the wire.
        data: JSON text of `d`, UTF-8, key order as on the wire.
        guild_id: the guild it belongs to (`d.id` for GUILD_CREATE, _UPDATE and _DELETE), or None.
    """

    name: str
    data: bytes
    guild_id: int | None


class Traffic:
    """
    Make dispatches, the same ones for the same seed.

    Args:
        seed: everything follows from it.
        guilds: how many guilds the bot is in; a few of them cause most events.
        mix: shares by event name (any scale), for example `LARGE_BOT` or `{"TYPING_START": 1}`.
    Raises:
        UsageError: no guilds, an empty mix, or a name that this module cannot make.
    Cost: 40,000 dispatches take about two seconds.
    """

    def __init__(
        self, seed: int = 0, *, guilds: int = 1_000, mix: Mapping[str, float] = LARGE_BOT
    ) -> None:
        if guilds < 1:
            raise UsageError(f"traffic needs at least one guild, not {guilds}")
        if not mix:
            raise UsageError("traffic needs a mix with at least one event name")
        self._check(mix)
        self._world = World(seed, guilds)
        self._names = list(mix)
        self._cumulative = list(accumulate(mix.values()))

    @staticmethod
    def names() -> list[str]:
        """List the event names that can be made, sorted."""
        return sorted(BUILDERS)

    @property
    def guild_ids(self) -> list[int]:
        """The guilds of the bot, ascending."""
        return list(self._world.guild_ids)

    @property
    def application_id(self) -> int:
        """The bot's own id."""
        return int(self._world.application_id)

    def dispatches(self, count: int) -> list[Dispatch]:
        """Make the next `count` dispatches of the mix; about 5 ms pass between two of them."""
        rng = self._world.random
        names = rng.choices(self._names, cum_weights=self._cumulative, k=count)
        return [self._build(name) for name in names]

    def dispatch(self, name: str) -> Dispatch:
        """Make the next dispatch, of that name."""
        self._check((name,))
        return self._build(name)

    def startup(self, guild_ids: Iterable[int] | None = None) -> list[Dispatch]:
        """Make the burst that follows READY: a GUILD_CREATE for each guild (default: all)."""
        made = []
        for guild_id in self._world.guild_ids if guild_ids is None else guild_ids:
            data, _ = guild_create(self._world, guild_id)
            made.append(Dispatch("GUILD_CREATE", orjson.dumps(data), guild_id))
        return made

    def _build(self, name: str) -> Dispatch:
        self._world.clock.tick(1 + self._world.random.randrange(9))
        data, guild_id = BUILDERS[name](self._world)
        return Dispatch(name, orjson.dumps(data), guild_id)

    @staticmethod
    def _check(names: Iterable[str]) -> None:
        unknown = [name for name in names if name not in BUILDERS]
        if unknown:
            raise UsageError(
                f"traffic cannot make {', '.join(unknown)}; Traffic.names() lists what it can"
            )


def encode(name: str, sequence: int, data: bytes) -> bytes:
    """Wrap the JSON text of `d` in the envelope of a dispatch: keys t, s, op, d, no white space."""
    return b'{"t":"%b","s":%d,"op":0,"d":%b}' % (name.encode(), sequence, data)
