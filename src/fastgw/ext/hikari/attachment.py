"""What a program keeps of a hikari bot that is attached."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import hikari

from ...protocol.events import EVENT_INTENTS
from ...words import Intents
from ..attachment import Attachment, Explanation, Reason
from . import join, leave

if TYPE_CHECKING:
    from ...gateway import Gateway
    from .link import Link

__all__ = ["attach_hikari", "attachment_of_hikari"]


class _HikariAttachment(Attachment):
    """A `hikari.GatewayBot` on our gateway."""

    def __init__(self, link: Link) -> None:
        self._link = link

    def __repr__(self) -> str:
        return f"<Attachment of a {type(self._link.bot).__name__} of hikari {hikari.__version__}>"

    @property
    def gateway(self) -> Gateway:
        return self._link.gateway

    def detach(self) -> None:
        leave(self._link)

    def explain(self) -> Explanation:
        interests = self._link.interests
        # Looked at before the bot runs, it must not make the gateway: start() says large_threshold.
        gateway = self._link._gateway
        counted = {} if gateway is None else gateway.stats().events
        reasons = []
        for name in interests.names:
            because = interests.reasons(name)
            counts = counted.get(name)
            reasons.append(
                Reason(
                    name,
                    is_delivered=bool(because),
                    own_only=False,
                    because=tuple(because) or ("no listener and no cache needs it",),
                    seen=counts.seen if counts else 0,
                    delivered=counts.delivered if counts else 0,
                    bytes=counts.bytes if counts else 0,
                )
            )
        reasons.sort(key=lambda reason: (-reason.bytes, reason.event))
        advice = _advice(self._link.bot, reasons, interests.only_cached())
        return Explanation(f"hikari {hikari.__version__}", tuple(reasons), advice)


def _advice(
    bot: hikari.GatewayBot, reasons: list[Reason], only_cached: Mapping[str, list[str]]
) -> tuple[str, ...]:
    """Say which intents open nothing that anybody wants, and what comes for a cache alone."""
    opening = useful = Intents(0)
    for reason in reasons:
        gates = EVENT_INTENTS.get(reason.event, Intents(0))
        opening |= gates
        if reason.is_delivered:
            useful |= gates
    # Without GUILDS a library knows no guild at all.
    idle = Intents(int(bot.intents)) & opening & ~useful & ~Intents.GUILDS
    names = [intent.name for intent in Intents if intent in idle and intent.name]
    advice = [f"intents that nobody needs: {', '.join(names)}"] if names else []
    advice += [
        f"delivered for the cache {cache} alone: {', '.join(events)}"
        for cache, events in only_cached.items()
    ]
    return tuple(advice)


def attach_hikari(
    bot: hikari.GatewayBot,
    keep: frozenset[str],
    drop: frozenset[str],
    is_filtering: bool,
    gateway_options: Mapping[str, Any],
) -> Attachment:
    """
    Put a bot on our gateway; see `attach`.

    Raises:
        UsageError: it cannot work.
    """
    link = join(bot, keep=keep, drop=drop, is_filtering=is_filtering, options=gateway_options)
    return _HikariAttachment(link)


def attachment_of_hikari(bot: hikari.GatewayBot) -> Attachment | None:
    """Return the attachment of a bot; None when it has none."""
    link: Link | None = getattr(bot, "fastgw_link", None)
    return None if link is None else _HikariAttachment(link)
