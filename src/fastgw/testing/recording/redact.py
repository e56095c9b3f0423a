"""
What must not stand in a recording, replaced in the JSON text by something of the same length.

The text is walked token by token; nothing is parsed and written anew, so that all else stays as it
came, byte by byte. A member's name decides, however deep it stands and however it is escaped.
"""

from __future__ import annotations

import hashlib
import json
import re
from enum import Enum

__all__ = ["CONTENT_NAMES", "SECRET_NAMES", "Redactor"]

# Interaction and webhook tokens act for the bot; the others identify a session (Discord docs,
# "Ready Event Fields", "Interaction Object", "Voice Server Update").
SECRET_NAMES = frozenset({"token", "session_id", "resume_gateway_url", "_trace"})
# What people write and send. Of a list or object all strings are replaced but for _KEPT.
CONTENT_NAMES = frozenset(
    {
        "activities", "attachments", "bio", "components", "content", "description", "embeds",
        "filename", "label", "message_snapshots", "nick", "options", "placeholder", "poll",
        "state", "sticker_items", "text", "title", "topic", "value",
    }
)  # fmt: skip
_KEPT = frozenset({"id", "type", "timestamp", "edited_timestamp", "application_id", "created_at"})
# Without one of these there is nothing to replace: letters of a name are escaped by \u alone.
_HINT = re.compile(rb"token|session_id|resume_gateway_url|_trace|\\u")
_TOKEN = re.compile(
    rb'(?P<string>"[^"\\]*(?:\\.[^"\\]*)*")(?P<colon>\s*:)?|(?P<open>[{\[])|(?P<close>[}\]])'
    rb"|(?P<number>-?\d[\d.eE+-]*)",
    re.S,
)
_DIGIT = re.compile(rb"\d")
_SCHEME = b"wss://"


class _Rule(Enum):
    """What happens to values."""

    KEEP = "keep"
    SECRET = "secret"
    CONTENT = "content"


class Redactor:
    """
    Replaces secrets, and on request what people wrote; the same value becomes the same substitute.

    Args:
        key: up to 64 bytes that nobody else knows: substitutes cannot be computed without it.
        is_content_replaced: also what people wrote.
    """

    def __init__(self, key: bytes, *, is_content_replaced: bool = False) -> None:
        self._key = key
        self._is_content_replaced = is_content_replaced

    def redact(self, message: bytes) -> bytes:
        """Return the JSON text with substitutes; it has the same length, and parses the same."""
        if not self._is_content_replaced and _HINT.search(message) is None:
            return message
        parts: list[bytes] = []
        done = 0
        around = [_Rule.KEEP]
        pending: _Rule | None = None
        for token in _TOKEN.finditer(message):
            if token["colon"] is not None:
                pending = self._rule_of(token["string"], around[-1])
                continue
            rule = around[-1] if pending is None else pending
            pending = None
            if token["open"] is not None:
                around.append(rule)
            elif token["close"] is not None:
                del around[max(1, len(around) - 1) :]  # the outermost stays, whatever comes
            elif rule is not _Rule.KEEP:
                parts += message[done : token.start()], self._substitute(token[0], rule)
                done = token.end()
        parts.append(message[done:])
        return b"".join(parts)

    def _rule_of(self, quoted: bytes, around: _Rule) -> _Rule:
        """Return what happens to the value of this name."""
        name = json.loads(quoted) if b"\\" in quoted else quoted[1:-1].decode("utf-8", "replace")
        if around is _Rule.SECRET or name in SECRET_NAMES:
            return _Rule.SECRET
        if self._is_content_replaced and name in CONTENT_NAMES:
            return _Rule.CONTENT
        return _Rule.KEEP if name in _KEPT else around

    def _substitute(self, text: bytes, rule: _Rule) -> bytes:
        """Return what stands for a string or a number, in as many bytes."""
        if not text.startswith(b'"'):
            return text if rule is _Rule.CONTENT else _DIGIT.sub(b"1", text)
        inner = text[1:-1]
        if rule is _Rule.CONTENT:
            return b'"' + b"x" * len(inner) + b'"'
        head = _SCHEME if inner.startswith(_SCHEME) else b""
        digest = hashlib.blake2b(inner, key=self._key).hexdigest().encode()
        filled = digest * (len(inner) // len(digest) + 1)
        return b'"' + head + filled[: len(inner) - len(head)] + b'"'
