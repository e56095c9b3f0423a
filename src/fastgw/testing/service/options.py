"""The options of a fake service, checked: in the midst of a test nobody would look for them."""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Iterable, Mapping
from typing import Any

from ...errors import UsageError
from ..traffic.traffic import Dispatch

__all__ = ["check_options"]

# The least that each may be.
_COUNTS = {
    "recommended_shards": 1, "max_concurrency": 1, "members_per_chunk": 1, "identifies_total": 0,
    "replay_limit": 0, "replay_limit_bytes": 0, "replay_overlap": 0, "first_sequence": 0,
}  # fmt: skip
# Seconds; a session that lives for ever has math.inf.
_TIMES = ("identify_interval_s", "session_ttl_s", "members_interval_s")


def check_options(options: Mapping[str, Any]) -> None:
    """Raise UsageError for the first option of `FakeService` that can never work."""
    for name, least in _COUNTS.items():
        value = options[name]
        if type(value) is not int or value < least:
            raise UsageError(f"{name}={value!r} is not a number, {least} or more")
    for name in _TIMES:
        if not _is_number(options[name]):
            raise UsageError(f"{name}={options[name]!r} is not a number of seconds, 0 or more")
    for name, is_right in _KINDS.items():
        if not is_right(options[name]):
            raise UsageError(f"{name}={options[name]!r} cannot be: see FakeService")


def _is_number(value: object) -> bool:
    return type(value) in (int, float) and value >= 0  # type: ignore[operator]


_KINDS: dict[str, Callable[[Any], bool]] = {
    "token": lambda value: value is None or (isinstance(value, str) and value != ""),
    "heartbeat_interval_ms": lambda value: _is_number(value) and 0 < value < math.inf,
    "heartbeat_patience": lambda value: value is None or (_is_number(value) and value > 0),
    "allowed_intents": lambda value: (
        value is None or (isinstance(value, int) and not isinstance(value, bool) and value >= 0)
    ),
    "shard_counts": lambda value: (
        value is None or (isinstance(value, Container) and not isinstance(value, (str, bytes)))
    ),
    "guilds": lambda value: (
        isinstance(value, Iterable)
        and (not isinstance(value, (list, tuple)) or all(isinstance(i, Dispatch) for i in value))
        and not isinstance(value, (str, bytes, Mapping))
    ),
    "resume_url": lambda value: value is None or isinstance(value, str),
    "members": lambda value: isinstance(value, Mapping),
}
