"""How far the start of a gateway is; with a thousand shards it takes minutes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import ConnectTimeout, FastgwError

if TYPE_CHECKING:
    from collections.abc import Collection

    from ..shard.face import Shard

__all__ = ["StartProgress", "why_not_ready"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StartProgress:
    """
    How far the start is, for `@gateway.on_progress`.

    Attributes:
        shards: how many are to run here.
        ready: how many of them are READY now.
        cold: how many of these have resumed the session of an earlier process.
    """

    shards: int
    ready: int
    cold: int

    @property
    def is_done(self) -> bool:
        """Whether all are READY: the last that is told."""
        return self.ready == self.shards


def why_not_ready(
    shards: Collection[Shard],
    ready: Collection[int],
    timeout_s: float,
    unanswered: FastgwError | None,
) -> FastgwError:
    """
    Return why not all of these shards are among the ready: the last error of one, if any had.

    Args:
        unanswered: why the API did not say how many shards there are, if it did not.
    """
    for shard in shards:
        if isinstance(error := shard.health().last_error, FastgwError):
            return error
    if not shards and unanswered is not None:
        return unanswered
    missing = [shard for shard in shards if shard.id not in ready]
    few = ", ".join(map(repr, missing[:4])) + (", ..." if len(missing) > 4 else "")
    what = f"{len(missing)} of {len(shards)} shards ({few})" if shards else "no shard runs here yet"
    return ConnectTimeout(f"not ready after {timeout_s} s: {what}", timeout_s=timeout_s)
