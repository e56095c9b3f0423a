"""How much may be under way at once, and what happens to events beyond."""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import Enum
from typing import TYPE_CHECKING

from ..errors import UsageError

if TYPE_CHECKING:
    from typing import Literal

    PolicyName = Literal["block", "drop_oldest", "drop_newest"]

__all__ = ["DeliveryLimits", "Policy", "check_bound", "check_policy"]


class Policy(Enum):
    """What happens to an event of a party that has enough to do."""

    BLOCK = "block"  # it waits; when too much waits, reading stops
    DROP_OLDEST = "drop_oldest"  # it takes the place of the one that waits longest
    DROP_NEWEST = "drop_newest"  # it goes


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryLimits:
    """
    How much a gateway takes on before it lets events wait.

    Attributes:
        running: how many coroutines of handlers may run at once, of all handlers together.
        shard_bytes: the high mark of a shard: when what it received and nobody has handled yet
            holds more bytes, the shard stops reading, down to half of it. Messages are counted as
            long as they are decompressed, and 512 bytes for each delivery.
        gateway_bytes: the same for all shards together; above it all of them stop.
    """

    running: int = 1_000
    shard_bytes: int = 8 * 1024 * 1024
    gateway_bytes: int = 64 * 1024 * 1024

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if type(value) is not int or value < 1:
                raise UsageError(
                    f"DeliveryLimits({field.name}={value!r}): it must be an int of at least 1"
                )


def check_bound(bound: object) -> int | None:
    """Return it, or raise UsageError unless it is a positive int or None."""
    if bound is not None and (type(bound) is not int or bound < 1):
        raise UsageError(f"bound={bound!r}: it must be an int of at least 1, or None")
    return bound


def check_policy(policy: object) -> Policy:
    """Return the policy of that name, or raise UsageError."""
    for known in Policy:
        if policy == known.value:
            return known
    names = ", ".join(repr(known.value) for known in Policy)
    raise UsageError(f"policy={policy!r} is not one of {names}")
