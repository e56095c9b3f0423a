"""
Discord's gateway v10 in numbers and bytes: opcodes, limits, URL, readers and encoders.

Pure functions and constants; no state. What a close code means stands in `close_codes`, event names
and their intents in `events`. Milliseconds of the wire become seconds here, nowhere else.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from enum import IntEnum
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import orjson

from ..errors import CommandTooBig, ProtocolError, UsageError

__all__ = [
    "API_VERSION",
    "IDENTIFY_INTERVAL_S",
    "IDENTIFY_PAD_S",
    "MAX_COMMAND_BYTES",
    "MAX_SHARDS",
    "PRESENCE_LIMIT",
    "PRESENCE_WINDOW_S",
    "SEND_LIMIT",
    "SEND_WINDOW_S",
    "Opcode",
    "encode_command",
    "encode_heartbeat",
    "encode_resume",
    "gateway_url",
    "is_heartbeat",
    "read_hello",
    "read_ready",
]

API_VERSION = 10

# 2,500 guilds a shard at most (Discord docs, "Sharding"), and bots of millions of guilds: the
# largest run some thousands of shards. What says more is a mistake, and would cost memory first.
MAX_SHARDS = 65_536

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
        UsageError: base is not a websocket URL.
    Source: Discord docs, "Connecting" and "Gateway URL query string params".
    """
    try:
        parts = urlsplit(base)
        usable = parts.scheme in ("ws", "wss") and bool(parts.hostname)
        _ = parts.port  # ValueError when it is not a number
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


# --- what HELLO and READY say --------------------------------------------------------------------


def read_hello(data: object) -> float:
    """
    Return the heartbeat interval in seconds from HELLO's `d`.

    Raises:
        ProtocolError: it is not there, or not a positive number.
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


# --- commands ------------------------------------------------------------------------------------


def encode_command(op: int, data: Any) -> bytes:
    """
    Return a command as JSON bytes, for one text frame. Sent commands are never compressed.

    Raises:
        UsageError: data is not JSON.
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
