"""
The made-up world behind `traffic`: users, guilds, words, and the clock that snowflakes come from.

Every piece of randomness comes from one `random.Random` in a fixed order, so that a seed gives the
same bytes on every machine. Guilds and members are made when they are first drawn; afterwards they
stay, as on a real bot, where the same people write again and again. That repetition is what gives
the compressors realistic work. Objects that repeat are kept as encoded JSON (`orjson.Fragment`).
"""

from __future__ import annotations

import random
from datetime import datetime, timedelta, timezone
from itertools import accumulate

import orjson

__all__ = ["Clock", "Guild", "Member", "World"]

# Discord docs, "Snowflakes": milliseconds since the first second of 2015, shifted by 22 bits.
DISCORD_EPOCH_MS = 1_420_070_400_000
_EPOCH = datetime(2015, 1, 1, tzinfo=timezone.utc)
_START_MS = int((datetime(2026, 4, 2, 10, tzinfo=timezone.utc) - _EPOCH).total_seconds()) * 1000

# ruff: noqa: SIM905 - a list of words reads best as text

# Common words first: they are drawn with weights 1/rank, as in natural text (Zipf).
_WORDS = (
    "the to and a i you it is that of in for on this not be with just can have so my but what do "
    "we me like if lol no at yeah your are was one how they get all up about out from when now "
    "why there or who think know really good time will need want people has some would make game "
    "see right still even more here going then play been should ok because could work maybe also "
    "after server thing anyone please thanks sure guys today bot role channel new first same back "
    "tomorrow stream discord update version wait look help nice love wrong great actually never "
    "weekend probably already someone remember question morning tonight welcome message problem "
    "patch clan rank healer tank queue lobby event screenshot ffs omg tbh imo gg wp rn idk "
    "да нет что как это привет спасибо можно сегодня сейчас вообще ладно хорошо почему "
    "これ ちょっと すごい ありがとう 今日 明日 大丈夫 お疲れ様 やばい 面白い 草 "
    "안녕 진짜 오늘 감사합니다 ㅋㅋㅋㅋ 아니 그래 "
    "naïve café über größe señor mañana façade déjà voilà ação coração não você también "
    "مرحبا شكرا اليوم नमस्ते ठीक สวัสดี ขอบคุณ 你好 谢谢 没问题 哈哈哈 "
    "😂 😭 🔥 💀 👍 ❤️ 🎉 👀 🙏 😅 🤔 ✨ 👩‍💻 🏳️‍🌈"
).split()
_WORD_WEIGHTS = list(accumulate(1.0 / (rank + 6) for rank in range(len(_WORDS))))

_NAMES = (
    "shadow luna pixel nova raven frost ember kai milo zoe ghost wolf star neko sakura blaze echo "
    "orion jade onyx storm willow vex rune nyx sol ash ivy leo mika sora yuki ren hana dmitri olga "
    "lukas emma noah mia liam ava marta jonas ines pablo thiago chen wei minji haru amir layla"
).split()
_DISPLAY = ("{0} {1}", "{0}", "✧ {0} ✧", "{0}・{1}", "{0} | {1}", "『{0}』", "{0} 🌸", "{0}™")
_CHANNELS = (
    "general announcements rules welcome memes off-topic bot-commands music gaming support art "
    "introductions clips looking-for-group suggestions mod-log staff-chat events media polls 雑談 "
    "обсуждение 공지사항 💬│chat 📢│news 🎮│games 🔊│lounge trading help-desk spoilers pets food"
).split()
_ROLES = (
    "Member Moderator Admin Booster Muted Verified Bot VIP Artist Streamer Supporter Veteran "
    "Raider Newcomer Helper Events Announcements he/him she/her they/them EU NA APAC "
    "Level-10 Level-50 Участник メンバー 길드원"
).split()
EMOJI = ("👍", "❤️", "😂", "🔥", "🎉", "✅", "👀", "💯", "😭", "🫡", "⭐", "🇩🇪", "1️⃣")

BASE_PERMISSIONS = ("104324673", "2248473465835073", "6546775617", "0", "1071698660929", "8")


class Clock:
    """
    Simulated wall time, advanced by `tick()`; makes ids and timestamps that grow as on the wire.

    Nothing here reads a real clock: the first moment is fixed.
    """

    __slots__ = ("_increment", "ms")

    def __init__(self) -> None:
        self.ms = _START_MS
        self._increment = 0

    def tick(self, elapsed_ms: int) -> None:
        """Let `elapsed_ms` milliseconds pass."""
        self.ms += elapsed_ms

    def snowflake(self) -> str:
        """Make an id of this moment (worker 1, process 0, running increment)."""
        self._increment = (self._increment + 1) & 0xFFF
        return str(self.ms << 22 | 1 << 17 | self._increment)

    def timestamp(self, offset_ms: int = 0) -> str:
        """Format this moment, moved by `offset_ms`, as the service writes times."""
        moment = _EPOCH + timedelta(milliseconds=self.ms + offset_ms)
        return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{self.ms * 1009 % 1_000_000:06d}+00:00"

    @property
    def unix_ms(self) -> int:
        """Milliseconds since 1970."""
        return self.ms + DISCORD_EPOCH_MS

    @property
    def unix_s(self) -> int:
        """Whole seconds since 1970."""
        return (self.ms + DISCORD_EPOCH_MS) // 1000


class Member:
    """
    A user in a guild, with its JSON in the three shapes that events need.

    Attributes:
        user_id: snowflake text.
        user: the user object.
        member: the member object without `user` (MESSAGE_CREATE).
        full: the member object with `user` (TYPING_START, reactions, voice, interactions).
        name: what is shown for this user.
    """

    __slots__ = ("full", "member", "name", "session_id", "user", "user_id")

    def __init__(self, world: World, roles: list[str]) -> None:
        rng = world.random
        self.user_id = world.old_snowflake()
        self.session_id = world.hex(32)
        handle = rng.choice(_NAMES) + rng.choice(("", ".", "_", "")) + rng.choice(_NAMES)
        handle += str(rng.randrange(10_000)) if rng.random() < 0.6 else ""
        self.name = rng.choice(_DISPLAY).format(*(n.title() for n in rng.sample(_NAMES, 2)))
        styled = rng.random() < 0.08
        user: dict[str, object] = {
            "username": handle,
            "public_flags": rng.choice((0, 0, 0, 64, 128, 256, 4194304)),
            "primary_guild": _primary_guild(world) if styled else None,
            "id": self.user_id,
            "global_name": self.name if rng.random() < 0.8 else None,
            "display_name_styles": None,
            "discriminator": "0",
            "collectibles": None,
            "clan": None,
            "avatar_decoration_data": (
                {"sku_id": world.old_snowflake(), "expires_at": None, "asset": "a_" + world.hex(32)}
                if styled
                else None
            ),
            "avatar": world.hex(32) if rng.random() < 0.85 else None,
        }
        member: dict[str, object] = {
            "roles": rng.sample(roles, min(len(roles), rng.choice((0, 1, 1, 2, 3, 5)))),
            "premium_since": None,
            "pending": False,
            "nick": rng.choice(_NAMES).title() if rng.random() < 0.25 else None,
            "mute": False,
            "joined_at": world.old_timestamp(),
            "flags": rng.choice((0, 0, 2, 10)),
            "deaf": False,
            "communication_disabled_until": None,
            "banner": None,
            "avatar": None,
        }
        encoded = orjson.dumps(user)
        self.user = orjson.Fragment(encoded)
        self.member = orjson.Fragment(orjson.dumps(member))
        self.full = orjson.Fragment(orjson.dumps({"user": self.user, **member}))


def _primary_guild(world: World) -> dict[str, object]:
    return {
        "tag": world.random.choice(_NAMES)[:4].upper(),
        "identity_guild_id": world.old_snowflake(),
        "identity_enabled": True,
        "badge": world.hex(32),
    }


class Guild:
    """
    A guild with its channels, roles and the members who are active in it.

    Attributes:
        id: the snowflake; `key` is its text.
        channels: text channel ids, busiest first; voice: voice channel ids; roles: role ids.
    """

    __slots__ = ("_members", "_world", "channels", "id", "key", "name", "roles", "voice")

    def __init__(self, world: World, guild_id: int) -> None:
        rng = world.random
        self._world = world
        self.id = guild_id
        self.key = str(guild_id)
        self.name = " ".join(rng.sample(_NAMES, 2)).title()
        self.channels = [world.old_snowflake() for _ in range(rng.randint(3, 24))]
        self.voice = [world.old_snowflake() for _ in range(rng.randint(1, 6))]
        self.roles = [world.old_snowflake() for _ in range(rng.randint(2, 20))]
        self._members: list[Member | None] = [None] * rng.randint(4, 60)

    def member(self) -> Member:
        """Draw an active member; a few do most of the talking."""
        index = int(len(self._members) * self._world.random.random() ** 2)
        member = self._members[index]
        if member is None:
            member = self._members[index] = Member(self._world, self.roles)
        return member

    def channel(self) -> str:
        """Draw a text channel; the first ones are the busiest."""
        return self.channels[int(len(self.channels) * self._world.random.random() ** 3)]


class World:
    """
    All guilds of one simulated bot, and the words its people use.

    Args:
        seed: everything follows from it.
        guild_count: how many guilds the bot is in.
    """

    def __init__(self, seed: int, guild_count: int) -> None:
        self.random = random.Random(seed)
        self.clock = Clock()
        self.application_id = self.old_snowflake()
        self.guild_ids = sorted(int(self.old_snowflake()) for _ in range(guild_count))
        order = self.guild_ids[:]
        self.random.shuffle(order)
        self._by_activity = order
        self._guilds: dict[int, Guild] = {}

    def guild(self, guild_id: int | None = None) -> Guild:
        """Return the guild of that id; without one, draw a guild, busy ones far more often."""
        if guild_id is None:
            index = int(len(self._by_activity) * self.random.random() ** 2.5)
            guild_id = self._by_activity[index]
        guild = self._guilds.get(guild_id)
        if guild is None:
            guild = self._guilds[guild_id] = Guild(self, guild_id)
        return guild

    def old_snowflake(self) -> str:
        """Make an id from some moment of the ten years before now."""
        ms = self.random.randrange(40_000_000_000, _START_MS)
        return str(ms << 22 | self.random.getrandbits(22))

    def old_timestamp(self) -> str:
        """Format some moment of the years before now."""
        rng = self.random
        return (
            f"20{rng.randint(17, 25)}-{rng.randint(1, 12):02d}-{rng.randint(1, 28):02d}"
            f"T{rng.randrange(24):02d}:{rng.randrange(60):02d}:{rng.randrange(60):02d}"
            f".{rng.randrange(1000) * 1000:06d}+00:00"
        )

    def hex(self, digits: int) -> str:
        """Make a random hexadecimal hash of that many digits."""
        return f"{self.random.getrandbits(4 * digits):0{digits}x}"

    def text(self, words: int) -> str:
        """Write that many words, in several scripts, now and then with marks and line breaks."""
        rng = self.random
        line = " ".join(rng.choices(_WORDS, cum_weights=_WORD_WEIGHTS, k=words))
        draw = rng.random()
        if draw < 0.04:
            return f'> {line}\n"{line[:40]}" **{words}** C:\\temp\\{words}'
        if draw < 0.10:
            return f"{line} https://example.com/{rng.choice(_NAMES)}/{self.hex(12)}"
        if draw < 0.14:
            return f"{line}\n{line[::-1][:20]}?!"
        return line

    def channel_name(self) -> str:
        """Draw a channel name."""
        return self.random.choice(_CHANNELS)

    def role_name(self) -> str:
        """Draw a role name."""
        return self.random.choice(_ROLES)

    def handle(self) -> str:
        """Make an account name."""
        return self.random.choice(_NAMES) + str(self.random.randrange(100_000))
