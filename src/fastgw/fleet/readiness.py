"""Which shards of a fleet are READY: as its progress, and why others are not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import ConnectTimeout, FastgwError
from ..protocol.states import State

if TYPE_CHECKING:
    from collections.abc import Collection

    from ..shard.face import Shard
    from .progress import StartProgress

__all__ = ["progress_of", "why_not_ready"]


def progress_of(shards: Collection[Shard]) -> StartProgress:
    """Return how far these shards are; asked for by few programs."""
    from .progress import StartProgress

    ready = [shard for shard in shards if shard.status is State.READY]
    cold = sum(shard.is_cold for shard in ready)
    return StartProgress(shards=len(shards), ready=len(ready), cold=cold)


def why_not_ready(
    shards: Collection[Shard], timeout_s: float, unanswered: FastgwError | None
) -> FastgwError:
    """
    Return why not all of these shards are READY: the last error of one, if any had.

    Args:
        unanswered: why the API did not say how many shards there are, if it did not.
    """
    for shard in shards:
        if isinstance(error := shard.health().last_error, FastgwError):
            return error
    if not shards and unanswered is not None:
        return unanswered
    missing = [shard for shard in shards if shard.status is not State.READY]
    few = ", ".join(map(repr, missing[:4])) + (", ..." if len(missing) > 4 else "")
    what = f"{len(missing)} of {len(shards)} shards ({few})" if shards else "no shard runs here yet"
    return ConnectTimeout(f"not ready after {timeout_s} s: {what}", timeout_s=timeout_s)
