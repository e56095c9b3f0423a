"""The bot token: as the gateway wants it, and kept out of every text."""

from __future__ import annotations

import base64
import binascii
import re

from ..errors import UsageError

__all__ = ["bot_id_of", "normalise_token", "redact", "redact_value"]

# Tokens of the service have 59 characters and more. One shorter than this is a test's, and may be a
# word: the documentation's own example is "token".
SHORT_TOKEN = 16
_QUOTES = "\"'`\u201c\u201d\u2018\u2019"


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
        raise UsageError("the token is empty; set DISCORD_TOKEN, or what token= was given")
    if words[0][0] in _QUOTES or words[-1][-1] in _QUOTES:
        raise UsageError("the token stands in quotes; leave them out, as an env file's value does")
    if len(words) > 1 or not all("!" <= character <= "~" for character in words[0]):
        raise UsageError(
            "the token holds white space or characters that no token has; copy it again"
        )
    return words[0]


def bot_id_of(token: str) -> int | None:
    """
    Return the user id of the bot, which is the first segment of its token in base64.

    None when it is not: tokens of tests, and of services that make them otherwise.
    """
    segment = token.partition(".")[0]
    try:
        digits = base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4))
    except (binascii.Error, ValueError):
        return None
    # A snowflake of 2015 has 15 digits; in 2090 they need 63 bits.
    if digits.isdigit() and 15 <= len(digits) <= 19 and int(digits) < 1 << 63:
        return int(digits)
    return None


def redact(text: str, token: str) -> str:
    """
    Return a text of ours with every occurrence of a real token replaced.

    A short token stays: as a word of the sentence it says nothing about the token. What the other
    side sent, and what the program itself said, goes through `redact_value` before it becomes part
    of a sentence.
    """
    return text.replace(token, "<token>") if len(token) >= SHORT_TOKEN else text


def redact_value(value: str, token: str) -> str:
    """
    Return what the other side sent (a close reason) with every occurrence of the token replaced.

    A short token goes only where it stands as a word: a "t" must not take "connection" apart.
    """
    if len(token) >= SHORT_TOKEN:
        return redact(value, token)
    return re.sub(rf"(?<!\w){re.escape(token)}(?!\w)", "<token>", value) if token else value
