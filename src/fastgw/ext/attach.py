"""Which library a bot is of, and the one call that puts it on our gateway."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from ..delivery.names import advice_on, is_event_name, likely_meant
from ..errors import UsageError
from ..log import careful_logger
from ..quoting import quote
from .attachment import Attachment
from .verdict import Choice

if TYPE_CHECKING:
    from .link import Link

__all__ = ["attach", "attachment_of"]

log = careful_logger("fastgw.attach")

# Packages of the discord.py family (py-cord is `discord` as well), and hikari.
_DISCORD_PY = ("discord", "disnake", "nextcord")
_KNOWN = "discord.py, disnake, nextcord, py-cord or hikari"
_MESSAGES = "MESSAGE_CREATE"
# What the library says, or what its session needs; both come from the bot.
_TAKEN = ("token", "intents", "shards", "shard_count", "presence", "large_threshold")


def attach(
    bot: Any,
    *,
    keep: Iterable[str] = (),
    drop: Iterable[str] = (),
    filter: bool = True,
    prefix_filter: bool | str | Iterable[str] = False,
    **gateway_options: Any,
) -> Attachment:
    """
    Put a bot of another library on fastgw's gateway; call it before the bot runs.

    Handlers, caches and commands stay as they are. What neither a listener nor a cache can see is
    dropped before it is parsed, and `Attachment.explain()` says why each event is not.

    Args:
        bot: a client of discord.py, disnake, nextcord, py-cord or hikari, which does not run yet.
        keep: names of events that are always delivered to the library, such as "MESSAGE_CREATE".
        drop: names of events that never are, whoever listens. A name that looks misspelt is logged.
        filter: False delivers everything.
        prefix_filter: for a bot that needs messages for its prefix commands alone, and is made with
            max_messages=None: True delivers MESSAGE_CREATE only where `content` begins with one of
            its prefixes; prefixes given here take the place of those of a function. While somebody
            else needs messages, such as `wait_for("message")`, all are delivered.
        gateway_options: of `Gateway`, but for what the bot itself says: token, intents, shards and
            presence.
    Raises:
        UsageError: it cannot work: no bot of these libraries, one that runs or is attached already,
            debug events, a version without the seam that this needs, options that the bot has or
            that nobody knows.
    """
    _check_options(gateway_options)
    kept, dropped = _names("keep", keep), _names("drop", drop)
    for name in kept & dropped:
        raise UsageError(f"attach() is to keep and to drop {name}: name it in one of them")
    package = _package(bot)
    if package is None:
        kind = bot if isinstance(bot, type) else type(bot)
        made = "an object" if bot is not kind else "a class, not an object,"
        raise UsageError(
            f"attach() takes a bot of {_KNOWN}; this is {made} of {kind.__module__}.{kind.__name__}"
        )
    family = _family(package)
    choice = Choice(kept, dropped, filter, _prefix_filter(prefix_filter))
    if choice.prefix_filter and (said := choice.of(_MESSAGES)) is not None:
        raise UsageError(f"attach(prefix_filter=...) cannot be with {said.because[0]}")
    link = family(bot, choice, gateway_options)
    if family.of(bot) is not None:
        raise UsageError("this bot is attached already")
    if link.is_running:
        raise UsageError("this bot runs already: attach(bot) before bot.run() or bot.start()")
    link.install()
    return Attachment(link)


def _check_options(options: Mapping[str, Any]) -> None:
    """Raise UsageError of options that the bot itself says, and of those that nobody knows."""
    from ..gateway import Gateway

    for option in options.keys() & set(_TAKEN):
        raise UsageError(f"attach({option}=...) cannot be: the bot itself says its {option}")
    known = [*inspect.signature(attach).parameters, *inspect.signature(Gateway).parameters]
    for option in options.keys() - set(known):
        import difflib  # here, as few programs misspell one

        close = difflib.get_close_matches(option, set(known) - {"bot", *_TAKEN}, 1)
        advice = f"; did you mean {close[0]}=?" if close else ""
        raise UsageError(f"attach() has no option {option}={advice}")


def attachment_of(bot: Any) -> Attachment | None:
    """Return what `attach` made of a bot; None when it is not attached, or no bot at all."""
    package = _package(bot)
    link = None if package is None else _family(package).of(bot)
    return None if link is None else Attachment(link)


def _prefix_filter(prefixes: object) -> bool | tuple[str, ...]:
    if isinstance(prefixes, (bool, str)):
        return (prefixes,) if isinstance(prefixes, str) else prefixes
    found = tuple(prefixes) if isinstance(prefixes, Iterable) else (None,)
    if not found or not all(isinstance(prefix, str) for prefix in found):
        raise UsageError(
            "attach(prefix_filter=...) is True, or the prefixes of the bot's commands, such as "
            f"['!', '?'], not {prefixes!r:.100}"
        )
    return found


def _family(package: str) -> type[Link]:
    """Import what a library's bots are attached by; it may import the library."""
    if package == "hikari":
        from .hikari.link import HikariLink

        return HikariLink
    from .discord_py.link import DiscordPyLink

    return DiscordPyLink


def _names(option: str, names: Iterable[str]) -> frozenset[str]:
    if isinstance(names, str):
        raise UsageError(f"attach({option}=...) takes several names: {option}=[{names!r}]")
    found = frozenset(names)
    for name in found:
        if not isinstance(name, str) or not is_event_name(name):
            advice = advice_on(name) if isinstance(name, str) else ""
            raise UsageError(
                f"attach({option}=...) takes names of the gateway such as 'MESSAGE_CREATE', not "
                f"{quote(name)}{advice}"
            )
        if meant := likely_meant(name):  # Discord sends names that it does not document
            log.warning(
                "attach(%s=...): %s is not a documented event; did you mean %s?",
                option,
                name,
                meant,
            )
    return found


def _package(bot: Any) -> str | None:
    """Return the package of the library that a bot is of."""
    if isinstance(bot, type):
        return None
    for kind in type(bot).__mro__:
        package = kind.__module__.partition(".")[0]
        if package in _DISCORD_PY and kind.__name__ == "Client":
            return package
        if package == "hikari" and kind.__name__ == "GatewayBot":
            return package
    return None
