"""How far the start of a gateway is; with a thousand shards it takes minutes."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["StartProgress"]


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
