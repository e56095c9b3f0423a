"""Which presence each shard is to show: what the program said last, for one or for all."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import TYPE_CHECKING

from ..errors import UsageError
from ..protocol.wire import MAX_SHARDS

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from typing import Any

    from ..protocol.identity import Identity

__all__ = ["Presences"]


class Presences:
    """
    The presences of one gateway's shards; they outlive shards, which are stopped and started.

    Args:
        identity: of the gateway, with the presence that it was made with.
    """

    __slots__ = ("_by_shard", "_identity")

    def __init__(self, identity: Identity) -> None:
        self._identity = identity
        self._by_shard: dict[int, Mapping[str, Any]] = {}

    def set(self, presence: Mapping[str, Any], shard_ids: Collection[int] | None) -> None:
        """
        Take a presence for these shards, or for all; a copy of it is kept.

        Raises:
            UsageError: it is no mapping, no JSON, or makes IDENTIFY longer than 4096 bytes.
        """
        if presence is None:
            raise UsageError("a presence is a mapping, the `d` of op 3, not None")
        presence = copy.deepcopy(presence)
        # With the longest ids, so that no shard is refused what others have taken already.
        checked = replace(
            self._identity, presence=presence, shard_id=MAX_SHARDS - 1, shard_count=MAX_SHARDS
        )
        if shard_ids is None:
            self._identity = replace(self._identity, presence=checked.presence)
            self._by_shard.clear()
        else:
            self._by_shard.update(dict.fromkeys(shard_ids, presence))

    def identity(self, shard_id: int, shard_count: int) -> Identity:
        """Return what a shard's IDENTIFY is to say."""
        presence = self._by_shard.get(shard_id, self._identity.presence)
        return replace(
            self._identity, presence=presence, shard_id=shard_id, shard_count=shard_count
        )
