"""Which shards each process runs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

from ..errors import UsageError
from ..protocol.wire import MAX_SHARDS

__all__ = ["parse_shards", "split"]

_PART = re.compile(r"(\d+)(?:-(\d+))?")


def parse_shards(text: str) -> tuple[int, ...]:
    """
    Return the ids of `0-127` or `0-3, 8, 10-11`, in order.

    Raises:
        UsageError: it is written otherwise, or names more than a bot may have.
    """
    ids: set[int] = set()
    for part in text.split(","):
        found = _PART.fullmatch(part.strip())
        first = int(found[1]) if found else 0
        last = int(found[2] or found[1]) if found else -1
        if not first <= last < MAX_SHARDS:
            raise UsageError(f"{text!r} does not name shards, as 0-127 or 0-3,8 does")
        ids.update(range(first, last + 1))
    return tuple(sorted(ids))


def split(shard_ids: Sequence[int], processes: int) -> list[tuple[int, ...]]:
    """Share shards out, in order and as evenly as can be; no process gets none."""
    parts = min(processes, len(shard_ids))
    size, more = divmod(len(shard_ids), parts)
    ends = [size * part + min(part, more) for part in range(parts + 1)]
    return [tuple(shard_ids[a:b]) for a, b in pairwise(ends)]
