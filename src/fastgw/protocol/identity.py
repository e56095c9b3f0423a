"""Who we say we are: everything that IDENTIFY carries, checked before anything is opened."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..errors import UsageError
from ..words import Intents
from .token import normalise_token
from .wire import Opcode, encode_command

__all__ = ["Identity"]

_NAMES = {"linux": "linux", "darwin": "macos", "win32": "windows"}


def _default_properties() -> dict[str, str]:
    # Discord docs, "Identify connection properties"
    system = _NAMES.get(sys.platform, sys.platform)
    return {"os": system, "browser": "fastgw", "device": "fastgw"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """
    What a new session is made from (Discord docs, "Identify"). RESUME cannot change any of it.

    Attributes:
        token: bot token, with or without "Bot "; never in a repr.
        intents: events subscribed to.
        shard_id: this shard, counted from 0.
        shard_count: all shards of the bot.
        properties: os, browser and device; None for ours.
        presence: the `d` of op 3, or None.
        large_threshold: members above which offline ones are left out, 50 to 250; None for 50.
        compress_payload: Identify `compress`, messages compressed one by one.
        capabilities: bit field; None leaves it out.
        identify_extra: fields yet to come; may not name one that has its own option.
    Raises:
        UsageError: a value out of range, or IDENTIFY larger than 4096 bytes.
    """

    token: str = field(repr=False)
    intents: Intents
    shard_id: int = 0
    shard_count: int = 1
    properties: Mapping[str, str] | None = None
    presence: Mapping[str, Any] | None = None
    large_threshold: int | None = None
    compress_payload: bool = False
    capabilities: int | None = None
    identify_extra: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "token", normalise_token(self.token))
        if self.shard_count < 1 or not 0 <= self.shard_id < self.shard_count:
            raise UsageError(
                f"shard {self.shard_id} of {self.shard_count} does not exist; "
                "ids run from 0 to the count less one"
            )
        for name in ("properties", "presence", "identify_extra"):
            value = getattr(self, name)
            if value is not None and not isinstance(value, Mapping):
                raise UsageError(f"{name} is a mapping, not {value!r}")
        for name, text in (self.properties or {}).items():
            if not (isinstance(name, str) and isinstance(text, str)):
                raise UsageError(f"properties holds text alone, not {name!r}: {text!r}")
        bits = self.capabilities
        if bits is not None and (not isinstance(bits, int) or isinstance(bits, bool) or bits < 0):
            raise UsageError(f"capabilities is a number, 0 or more, not {bits!r}")
        threshold = self.large_threshold
        if threshold is not None and not (isinstance(threshold, int) and 50 <= threshold <= 250):
            raise UsageError(f"large_threshold {threshold!r} is not within 50 to 250")
        self.encode()

    def terms(self) -> dict[str, Any]:
        """
        Return what IDENTIFY fixes for the life of a session: RESUME has no such fields.

        Presence is not among it, which op 3 changes, nor properties, which change nothing.
        """
        return {
            "intents": int(self.intents),
            "large_threshold": self.large_threshold or 50,  # Discord docs, "Identify": the default
            "capabilities": self.capabilities or 0,
            "compress": self.compress_payload,
            "identify_extra": dict(self.identify_extra),
        }

    def encode(self) -> bytes:
        """Return op 2 as JSON bytes; they hold the token, so keep them out of logs."""
        data: dict[str, Any] = {
            "token": self.token,
            "properties": dict(self.properties or _default_properties()),
            "intents": int(self.intents),
            "shard": [self.shard_id, self.shard_count],
            "compress": self.compress_payload,
        }
        if self.presence is not None:
            data["presence"] = dict(self.presence)
        if self.large_threshold is not None:
            data["large_threshold"] = self.large_threshold
        if self.capabilities is not None:
            data["capabilities"] = int(self.capabilities)
        for name, value in self.identify_extra.items():
            if name in _OPTIONS:
                raise UsageError(f"identify_extra holds {name!r}, which has an option of its own")
            data[name] = value
        return encode_command(Opcode.IDENTIFY, data)


_OPTIONS = frozenset(
    {
        "token", "properties", "intents", "shard", "compress",
        "presence", "large_threshold", "capabilities",
    }
)  # fmt: skip
