"""
Discord's gateway v10 in numbers and bytes: opcodes, limits, URL, readers and encoders.

Pure functions and constants; no state. What a close code means stands in `close_codes`, event names
and their intents in `events`. Milliseconds of the wire become seconds here, nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import orjson

from ..errors import CommandTooBig, ProtocolError, UsageError
from ..quoting import quote, without_credentials

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
    "read_command",
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
# Every capture since 2018 says 41.25 s. Servers of tests say some tens of milliseconds; with less
# than ten the loop would do little but beat, and 1e-305 is a timer that never stops. A dead
# connection is noticed within two intervals, so above an hour none ever would in time, and 1e300 is
# a moment that no timer can be set to.
HEARTBEAT_INTERVAL_S = (0.01, 3600.0)
# A URL goes into the request line of the upgrade; Discord's have 60 characters. What is longer than
# any server takes (RFC 9110 4.1 asks for 8,000 octets of a URI at least) cannot be connected to.
MAX_URL_CHARACTERS = 2000


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
    Return the URL to connect to, whose query has our version, encoding and compression.

    Discord's URLs come with and without a slash, and resume URLs come without a query; a gateway
    behind something else may have a path. Other query items of `base` are kept, ours replace any
    that are there.

    Args:
        base: ws:// or wss:// URL of `GET /gateway/bot` or of READY.
        compress: "zlib-stream", "zstd-stream", or None for no transport compression.
    Raises:
        UsageError: base is not a websocket URL.
    Source: Discord docs, "Connecting" and "Gateway URL query string params".
    """
    try:
        if len(base) > MAX_URL_CHARACTERS:
            raise ValueError
        parts = urlsplit(base)
        usable = parts.scheme in ("ws", "wss") and bool(parts.hostname)
        _ = parts.port  # ValueError when it is not a number
        _ = (parts.hostname or "").encode("idna")  # the same when no name server could be asked
    except ValueError:
        usable = False
    if not usable:
        raise UsageError(f"not a websocket URL: {quote(without_credentials(base))}")
    if "@" in parts.netloc:
        raise UsageError("a websocket URL holds a user name or password, which nobody is told")
    ours = {"v": str(API_VERSION), "encoding": "json"}
    if compress is not None:
        ours["compress"] = compress
    kept = [(k, v) for k, v in parse_qsl(parts.query) if k not in ("v", "encoding", "compress")]
    query = urlencode([*ours.items(), *kept])
    return urlunsplit((parts.scheme, parts.netloc, parts.path or "/", query, ""))


# --- what HELLO and READY say --------------------------------------------------------------------


def read_hello(data: object) -> float:
    """
    Return the heartbeat interval in seconds from HELLO's `d`.

    Raises:
        ProtocolError: it is not there, or not a number within `HEARTBEAT_INTERVAL_S`.
    """
    interval_ms = data.get("heartbeat_interval") if isinstance(data, Mapping) else None
    least_s, most_s = HEARTBEAT_INTERVAL_S
    if (
        isinstance(interval_ms, bool)
        or not isinstance(interval_ms, (int, float))
        or not least_s * 1000 <= interval_ms <= most_s * 1000
    ):
        raise ProtocolError(
            f"HELLO has no usable heartbeat_interval: {quote(interval_ms)}, where "
            f"{least_s * 1000:.0f} to {most_s * 1000:.0f} ms can be kept"
        )
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
        UsageError: op is not a number, or data is not JSON.
        CommandTooBig: over MAX_COMMAND_BYTES; the service would close with 4002.
    """
    if not isinstance(op, int) or isinstance(op, bool):
        raise UsageError(f"op is a number such as Opcode.PRESENCE_UPDATE, not {quote(op)}")
    try:
        command = orjson.dumps({"op": int(op), "d": data})
    except TypeError as error:  # orjson's text names types and rules, never values
        raise UsageError(f"command {int(op)} cannot be written as JSON: {error}") from None
    if len(command) > MAX_COMMAND_BYTES:
        raise CommandTooBig(len(command), MAX_COMMAND_BYTES)
    return command


def read_command(command: object) -> tuple[int, object]:
    """
    Return `op` and `d` of a command that somebody else has encoded.

    Raises:
        UsageError: not bytes, not one JSON object with a number `op` and with `d`.
        CommandTooBig: over MAX_COMMAND_BYTES.
    """
    if not isinstance(command, bytes):
        raise UsageError(f"an encoded command is bytes, not {quote(command)}")
    if len(command) > MAX_COMMAND_BYTES:
        raise CommandTooBig(len(command), MAX_COMMAND_BYTES)
    try:
        read = orjson.loads(command)
    except orjson.JSONDecodeError as error:
        raise UsageError(f"an encoded command is JSON, and this is not: {error}") from None
    op = read.get("op") if isinstance(read, dict) else None
    if not isinstance(op, int) or isinstance(op, bool) or "d" not in read:
        raise UsageError("an encoded command is one JSON object with a number `op` and with `d`")
    return op, read["d"]


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
