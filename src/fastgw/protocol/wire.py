"""
Discord's gateway v10 in numbers and bytes: opcodes, close codes, limits, URL, commands.

Pure functions and constants; no state. Event names and intents stand in `events` and are given out
here as well. Milliseconds of the wire become seconds here or in `protocol`, nowhere else.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, IntEnum
from types import MappingProxyType
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import orjson

from ..errors import (
    AuthenticationFailed,
    CommandTooBig,
    DisallowedIntents,
    FatalError,
    GatewayInfoError,
    InvalidApiVersion,
    InvalidIntents,
    InvalidShard,
    ProtocolError,
    ShardingRequired,
    UsageError,
)
from .events import EVENT_INTENTS, EVENT_NAMES, LIBRARY_EVENTS, PRIVILEGED, Intents

__all__ = [
    "API_VERSION",
    "CLOSE_RULES",
    "EVENT_INTENTS",
    "EVENT_NAMES",
    "FINAL_CLOSE_CODE",
    "IDENTIFY_INTERVAL_S",
    "IDENTIFY_PAD_S",
    "LIBRARY_EVENTS",
    "MAX_COMMAND_BYTES",
    "PRESENCE_LIMIT",
    "PRESENCE_WINDOW_S",
    "PRIVILEGED",
    "RESUMABLE_CLOSE_CODE",
    "SEND_LIMIT",
    "SEND_WINDOW_S",
    "Action",
    "CloseRule",
    "GatewayInfo",
    "Initiator",
    "Intents",
    "Opcode",
    "SessionStartLimit",
    "action_for",
    "encode_command",
    "encode_heartbeat",
    "encode_resume",
    "fatal_error",
    "gateway_url",
    "normalise_token",
    "read_hello",
    "read_ready",
    "redact",
    "rule_for",
]

API_VERSION = 10

# Discord docs, "Sending events": a larger payload closes with 4002. Newer unofficial notes say
# 15 KiB; the documented number is the one kept.
MAX_COMMAND_BYTES = 4096
# Discord docs, "Rate limiting": per connection, everything counts, heartbeats too; else 4008.
SEND_LIMIT = 120
SEND_WINDOW_S = 60.0
# Discord docs, "Update presence": the excess is dropped silently.
PRESENCE_LIMIT = 5
PRESENCE_WINDOW_S = 20.0
# Discord docs, "Max concurrency": one IDENTIFY a key in 5 s, counted at Discord, hence the pad
# (discord.js adds 0 to 1.5 s).
IDENTIFY_INTERVAL_S = 5.0
IDENTIFY_PAD_S = (0.25, 1.5)

# What we close with. 1000 and 1001 end the session (Discord docs, "Disconnecting"); any other code
# keeps it for a few minutes. 4000 is what discord.py and twilight use.
RESUMABLE_CLOSE_CODE = 4000
FINAL_CLOSE_CODE = 1000
# Below this many characters a token is none of the service's, and may be part of a word.
SHORT_TOKEN = 16


class Opcode(IntEnum):
    """Gateway opcodes open to bots (Discord docs, "Gateway opcodes"). Others are ignored."""

    DISPATCH = 0
    HEARTBEAT = 1  # both ways
    IDENTIFY = 2
    PRESENCE_UPDATE = 3
    VOICE_STATE_UPDATE = 4
    RESUME = 6
    RECONNECT = 7
    REQUEST_GUILD_MEMBERS = 8
    INVALID_SESSION = 9
    HELLO = 10
    HEARTBEAT_ACK = 11
    REQUEST_SOUNDBOARD_SOUNDS = 31
    REQUEST_CHANNEL_INFO = 43


class Action(Enum):
    """What a session needs after a connection ended."""

    RESUME = "resume"
    IDENTIFY = "identify"
    STOP = "stop"


class Initiator(Enum):
    """Who began to close a connection."""

    SERVICE = "service"
    CLIENT = "client"
    TRANSPORT = "transport"  # nobody: TCP, TLS or the network


# --- close codes ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CloseRule:
    """
    What a close code received from the service means.

    Attributes:
        name: short text for logs and errors.
        action: what the session needs next.
        error: for STOP, the error that is raised.
        wait_s: least and most seconds to wait (uniform) before the next attempt.
    """

    name: str
    action: Action
    error: type[FatalError] | None = None
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
        4004: CloseRule("authentication failed", Action.STOP, AuthenticationFailed),
        4005: CloseRule("already authenticated", Action.IDENTIFY),
        # Retired, seen for stale RESUMEs (discord-api-docs#1209).
        4006: CloseRule("session no longer valid", Action.IDENTIFY),
        4007: CloseRule("invalid sequence", Action.IDENTIFY),
        # "back off, then resume": the send window that was overrun should have passed a little.
        4008: CloseRule("rate limited", Action.RESUME, wait_s=(1.0, 5.0)),
        4009: CloseRule("session timed out", Action.IDENTIFY),
        4010: CloseRule("invalid shard", Action.STOP, InvalidShard),
        4011: CloseRule("sharding required", Action.STOP, ShardingRequired),
        4012: CloseRule("invalid API version", Action.STOP, InvalidApiVersion),
        4013: CloseRule("invalid intents", Action.STOP, InvalidIntents),
        4014: CloseRule("disallowed intents", Action.STOP, DisallowedIntents),
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
    kind = rule_for(close_code).error
    if kind is None:
        raise UsageError(f"close code {close_code} is not fatal")
    if issubclass(kind, InvalidIntents):
        asked = intents & PRIVILEGED if close_code == 4014 else intents
        advice = _ADVICE[close_code].format(intents=", ".join(asked.names()) or "none")
        return kind(
            f"close code {close_code}: {advice}",
            intents=asked, close_code=close_code, shard_id=shard_id,
        )  # fmt: skip
    advice = _ADVICE[close_code].format(
        shard_id=shard_id, shard_count=shard_count, version=API_VERSION
    )
    return kind(f"close code {close_code}: {advice}", close_code=close_code, shard_id=shard_id)


_ADVICE = {
    # 4004 may also mean a reset for identify abuse (discord-api-docs#1387): never retried.
    4004: "the token was refused; copy a fresh bot token from the developer portal",
    4010: "shard {shard_id} of {shard_count} is not valid for this bot; "
    "use the shard count that GET /gateway/bot recommends",
    4011: "too many guilds for shard {shard_id} of {shard_count}; use more shards",
    4012: "gateway version {version} is not accepted any more; upgrade fastgw",
    4013: "intents hold bits that bots may not set; asked for: {intents}",
    4014: "privileged intents are not enabled for this application; "
    "enable them in the developer portal or leave them out: {intents}",
}


# --- where to connect ----------------------------------------------------------------------------


def gateway_url(base: str, compress: str | None) -> str:
    """
    Return the URL to connect to: path "/", query with our version, encoding and compression.

    Discord's URLs come with and without a slash, and resume URLs come without a query. Other query
    items of `base` are kept, ours replace any that are there.

    Args:
        base: ws:// or wss:// URL of `GET /gateway/bot` or of READY.
        compress: "zlib-stream", "zstd-stream", or None for no transport compression.
    Raises:
        UsageError: base is no websocket URL.
    Source: Discord docs, "Connecting" and "Gateway URL query string params".
    """
    try:
        parts = urlsplit(base)
        usable = parts.scheme in ("ws", "wss") and bool(parts.hostname)
        _ = parts.port  # ValueError when it is no number
        _ = (parts.hostname or "").encode("idna")  # the same when no name server could be asked
    except ValueError:
        usable = False
    if not usable:
        raise UsageError(f"not a websocket URL: {base!r}")
    ours = {"v": str(API_VERSION), "encoding": "json"}
    if compress is not None:
        ours["compress"] = compress
    kept = [(k, v) for k, v in parse_qsl(parts.query) if k not in ("v", "encoding", "compress")]
    query = urlencode([*ours.items(), *kept])
    return urlunsplit((parts.scheme, parts.netloc, "/", query, ""))


@dataclass(frozen=True, slots=True)
class SessionStartLimit:
    """
    How many identifies are left (Discord docs, "Session start limit object").

    Attributes:
        total: identifies a day.
        remaining: of these, still free.
        reset_after_s: seconds until remaining is total again.
        max_concurrency: identifies that may go at once; the modulus of the identify key.
    """

    total: int = 1000
    remaining: int = 1000
    reset_after_s: float = 0.0
    max_concurrency: int = 1


@dataclass(frozen=True, slots=True)
class GatewayInfo:
    """
    The answer of `GET /gateway/bot`, or what stands for it.

    Attributes:
        url: websocket URL, without our query.
        shards: recommended shard count.
        session_start_limit: None when unknown.
    """

    url: str
    shards: int = 1
    session_start_limit: SessionStartLimit | None = None

    @classmethod
    def parse(cls, data: object) -> GatewayInfo:
        """
        Read the decoded JSON body; `GET /gateway` (url only) is accepted too.

        Raises:
            GatewayInfoError: it has another shape.
        """
        if not isinstance(data, Mapping):
            raise GatewayInfoError("gateway information is not a JSON object")
        try:
            url = data["url"]
            gateway_url(url, None)
            limit = data.get("session_start_limit")
            return cls(
                url=url,
                shards=_whole(data.get("shards", 1), 1),
                session_start_limit=None
                if limit is None
                else SessionStartLimit(
                    total=_whole(limit["total"], 0),
                    remaining=_whole(limit["remaining"], 0),
                    reset_after_s=_whole(limit["reset_after"], 0) / 1000,  # wire: milliseconds
                    max_concurrency=_whole(limit.get("max_concurrency", 1), 1),
                ),
            )
        except (KeyError, TypeError, ValueError, AttributeError, UsageError) as error:
            raise GatewayInfoError(f"gateway information is malformed: {error}") from error


def _whole(value: object, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"expected a whole number of at least {least}, got {value!r}")
    return value


def read_hello(data: object) -> float:
    """
    Return the heartbeat interval in seconds from HELLO's `d`.

    Raises:
        ProtocolError: it is not there, or is no positive number.
    """
    interval_ms = data.get("heartbeat_interval") if isinstance(data, Mapping) else None
    if (
        isinstance(interval_ms, bool)
        or not isinstance(interval_ms, (int, float))
        or not 0 < interval_ms < math.inf
    ):
        raise ProtocolError(f"HELLO has no usable heartbeat_interval: {interval_ms!r}")
    return interval_ms / 1000


def read_ready(data: object) -> tuple[str, object]:
    """
    Return session id and resume URL (unchecked, None when absent) from READY's `d`.

    Raises:
        ProtocolError: there is no session id.
    """
    session_id = data.get("session_id") if isinstance(data, Mapping) else None
    if not isinstance(data, Mapping) or not isinstance(session_id, str) or not session_id:
        raise ProtocolError("READY has no session_id")
    return session_id, data.get("resume_gateway_url")


# --- token ---------------------------------------------------------------------------------------


def normalise_token(token: str) -> str:
    """
    Return the bare token: trimmed, without a "Bot " prefix (HTTP wants it, the gateway does not).

    Raises:
        UsageError: no str, empty, or with characters no token has. The text never holds the token.
    """
    if not isinstance(token, str):
        raise UsageError(f"the token is a str, not {type(token).__name__}")
    words = token.split()
    if words and words[0].lower() == "bot":
        words = words[1:]
    if not words:
        raise UsageError("the token is empty; pass token= or set DISCORD_TOKEN")
    if len(words) > 1 or not all("!" <= character <= "~" for character in words[0]):
        raise UsageError(
            "the token holds white space or characters that no token has; copy it again"
        )
    return words[0]


def redact(text: str, token: str) -> str:
    """
    Return text with every occurrence of the token replaced.

    Tokens of the service have 59 characters and more. A short one, as in tests, goes only where it
    stands as a word: a "t" must not take the connection out of a sentence.
    """
    if len(token) >= SHORT_TOKEN:
        return text.replace(token, "<token>")
    return re.sub(rf"(?<!\w){re.escape(token)}(?!\w)", "<token>", text) if token else text


# --- commands ------------------------------------------------------------------------------------


def encode_command(op: int, data: Any) -> bytes:
    """
    Return a command as JSON bytes, for one text frame. Sent commands are never compressed.

    Raises:
        UsageError: data is no JSON.
        CommandTooBig: over MAX_COMMAND_BYTES; the service would close with 4002.
    """
    try:
        command = orjson.dumps({"op": int(op), "d": data})
    except TypeError as error:  # orjson's text names types and rules, never values
        raise UsageError(f"command {int(op)} cannot be written as JSON: {error}") from None
    if len(command) > MAX_COMMAND_BYTES:
        raise CommandTooBig(len(command), MAX_COMMAND_BYTES)
    return command


def encode_heartbeat(sequence: int | None) -> bytes:
    """Return op 1 with the session's last sequence, None before the first dispatch."""
    last = b"null" if sequence is None else b"%d" % sequence
    return b'{"op":1,"d":%s}' % last


def is_heartbeat(command: bytes) -> bool:
    """Tell whether a command is one that `encode_heartbeat` made."""
    return command.startswith(b'{"op":1,')


def encode_resume(token: str, session_id: str, sequence: int) -> bytes:
    """Return op 6."""
    return encode_command(
        Opcode.RESUME, {"token": token, "session_id": session_id, "seq": sequence}
    )
