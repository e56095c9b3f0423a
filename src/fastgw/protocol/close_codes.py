"""
What the end of a connection means: one table of close codes, and the judgement that reads it.

A connection that others ended is judged here: resume, identify or stop. One that we ended ourselves
has its outcome already (see `machine`).
"""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType
from typing import NamedTuple

from ..errors import (
    AuthenticationFailed,
    DisallowedIntents,
    FatalError,
    InvalidApiVersion,
    InvalidIntents,
    InvalidShard,
    ProtocolError,
    ShardingRequired,
    UsageError,
)
from ..words import Action, Initiator, Intents
from .events import PRIVILEGED
from .identity import Identity
from .signals import Cause, Outcome
from .wire import API_VERSION

__all__ = [
    "CLOSE_RULES",
    "FINAL_CLOSE_CODE",
    "RESUMABLE_CLOSE_CODE",
    "CloseRule",
    "action_for",
    "between",
    "fatal_error",
    "is_graver",
    "judge",
    "rule_for",
]

# What we close with. 1000 and 1001 end the session (Discord docs, "Disconnecting"); any other code
# keeps it for a few minutes. 4000 is what discord.py and twilight use.
RESUMABLE_CLOSE_CODE = 4000
FINAL_CLOSE_CODE = 1000


class CloseRule(NamedTuple):
    """
    What a close code received from the service means.

    Attributes:
        name: short text for logs and errors.
        action: what the session needs next.
        error: for STOP, the error that is raised.
        advice: for STOP, its text: what is wrong, and what to do.
        wait_s: least and most seconds to wait (uniform) before the next attempt.
    """

    name: str
    action: Action
    error: type[FatalError] | None = None
    advice: str = ""
    wait_s: tuple[float, float] = (0.0, 0.0)


# Discord docs, "Gateway close event codes", say whether to reconnect. Whether to resume has no
# column there; it follows from the docs' text, from staff ("if you have a session, try to resume;
# otherwise reconnect", discord-api-docs#4376) and from what other clients found. A RESUME that
# fails costs no identify, so doubt goes to RESUME.
CLOSE_RULES: MappingProxyType[int, CloseRule] = MappingProxyType(
    {
        # RFC 6455 codes. From Discord 1000 and 1001 mean deploys and rebalancing, not our good-bye:
        # discord.py >= 2.4 and JDA resume; treating them as the end burnt identifies (#8405).
        1000: CloseRule("normal closure", Action.RESUME),
        1001: CloseRule("going away", Action.RESUME),
        4000: CloseRule("unknown error", Action.RESUME),
        # RESUME after 4001 is answered by op 9 (discord-api-docs#4376).
        4001: CloseRule("unknown opcode", Action.IDENTIFY),
        4002: CloseRule("decode error", Action.RESUME),
        4003: CloseRule("not authenticated", Action.IDENTIFY),
        # May also mean a reset for identify abuse (discord-api-docs#1387): never retried.
        4004: CloseRule(
            "authentication failed",
            Action.STOP,
            AuthenticationFailed,
            "the token was refused; copy a fresh bot token from the developer portal",
        ),
        4005: CloseRule("already authenticated", Action.IDENTIFY),
        # Retired, seen for stale RESUMEs (discord-api-docs#1209).
        4006: CloseRule("session no longer valid", Action.IDENTIFY),
        4007: CloseRule("invalid sequence", Action.IDENTIFY),
        # "back off, then resume": the send window that was overrun should have passed a little.
        4008: CloseRule("rate limited", Action.RESUME, wait_s=(1.0, 5.0)),
        4009: CloseRule("session timed out", Action.IDENTIFY),
        4010: CloseRule(
            "invalid shard",
            Action.STOP,
            InvalidShard,
            "shard {shard_id} of {shard_count} is not valid for this bot; "
            "use the shard count that GET /gateway/bot recommends",
        ),
        4011: CloseRule(
            "sharding required",
            Action.STOP,
            ShardingRequired,
            "too many guilds for shard {shard_id} of {shard_count}; use more shards: "
            "shards='auto' asks Discord how many",
        ),
        4012: CloseRule(
            "invalid API version",
            Action.STOP,
            InvalidApiVersion,
            "gateway version {version} is not accepted any more; upgrade fastgw",
        ),
        4013: CloseRule(
            "invalid intents",
            Action.STOP,
            InvalidIntents,
            "intents hold bits that bots may not set; asked for: {intents}",
        ),
        4014: CloseRule(
            "disallowed intents",
            Action.STOP,
            DisallowedIntents,
            "privileged intents are not enabled for this application; "
            "enable them in the developer portal or leave them out: {intents}",
        ),
    }
)
_NO_CODE = CloseRule("no close code", Action.RESUME)  # 1005, 1006, TCP gone: docs say resume
_UNKNOWN = CloseRule("unknown close code", Action.RESUME)  # staff: reconnect; resume is free to try


def rule_for(close_code: int | None) -> CloseRule:
    """Return the rule for a close code the service sent; None means there was no code."""
    if close_code is None or close_code in (1005, 1006):
        return _NO_CODE
    return CLOSE_RULES.get(close_code, _UNKNOWN)


def action_for(close_code: int | None) -> Action:
    """Return what a session needs after the service closed with this code (None: no code)."""
    return rule_for(close_code).action


def fatal_error(
    close_code: int, *, intents: Intents, shard_id: int = 0, shard_count: int = 1
) -> FatalError:
    """
    Return the typed error for a close code whose action is STOP; its text says what to do.

    Raises:
        UsageError: the code is not one that stops.
    """
    rule = rule_for(close_code)
    if rule.error is None:
        raise UsageError(f"close code {close_code} is not fatal")
    asked = intents & PRIVILEGED if rule.error is DisallowedIntents else intents
    advice = rule.advice.format(
        shard_id=shard_id,
        shard_count=shard_count,
        version=API_VERSION,
        intents=", ".join(asked.names()) or "none",
    )
    text = f"close code {close_code}: {advice}"
    if issubclass(rule.error, InvalidIntents):
        return rule.error(text, intents=asked, close_code=close_code, shard_id=shard_id)
    return rule.error(text, close_code=close_code, shard_id=shard_id)


def judge(
    close_code: int | None,
    reason: str,
    initiator: Initiator,
    error: BaseException | None,
    *,
    identity: Identity,
    random: Callable[[], float],
) -> Outcome:
    """
    Turn an end that others began into an outcome; how long it had been READY is not known here.

    Args:
        close_code, reason, initiator, error: as `GatewayProtocol.connection_ended` takes them.
        identity: whose connection it was, for the text of a fatal error.
        random: for a wait that the rule wants spread.
    """
    if initiator is Initiator.SERVICE:
        rule = rule_for(close_code)
        if rule.action is Action.STOP and close_code is not None:
            error = fatal_error(
                close_code,
                intents=identity.intents,
                shard_id=identity.shard_id,
                shard_count=identity.shard_count,
            )
        return Outcome(
            rule.action, close_code=close_code, reason=reason, initiator=initiator,
            cause=Cause.CLOSED_BY_SERVICE, delay_s=between(rule.wait_s, random), error=error,
        )  # fmt: skip
    # Whatever broke, the session may live on; a broken rule made the transport close by itself.
    broke_rule = isinstance(error, ProtocolError)
    return Outcome(
        Action.RESUME, close_code=close_code, reason=reason, initiator=initiator, error=error,
        cause=Cause.PROTOCOL_ERROR if broke_rule else Cause.CONNECTION_LOST,
    )  # fmt: skip


def between(bounds_s: tuple[float, float], random: Callable[[], float]) -> float:
    """Draw a wait from its bounds, in seconds."""
    least_s, most_s = bounds_s
    return least_s + (most_s - least_s) * random() if most_s > least_s else least_s


_GRAVITY = {Action.RESUME: 0, Action.IDENTIFY: 1, Action.STOP: 2}


def is_graver(action: Action, than: Action) -> bool:
    """Tell whether one end leaves less than another: to stop is graver than to identify."""
    return _GRAVITY[action] > _GRAVITY[than]
