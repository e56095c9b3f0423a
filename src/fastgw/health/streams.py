"""
How events that go into Redis fare: what is so now, and what was counted.

Nothing stands in both. Sizes are bytes, ages and durations seconds. `fastgw.redis` fills these in.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["GroupLag", "PublisherHealth", "PublisherStats"]


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupLag:
    """
    What one group of consumers has not handled.

    Attributes:
        entries: events in its mailboxes, and marks of new sessions.
        bytes: what they hold, as `max_bytes` counts.
        lost: events that full mailboxes dropped, and of which the group was not told yet.
        oldest_age_s: since the first of them was appended, by the server's clock; None when there
            are none.
        deepest: the shard with the most entries; None when there are none.
    """

    entries: int
    bytes: int
    lost: int
    oldest_age_s: float | None
    deepest: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PublisherHealth:
    """
    A publisher at one moment.

    Attributes:
        waiting, waiting_bytes: events that are not appended yet, and what they hold.
        answer_age_s: since Redis answered; None before it did.
        groups: how far each group is behind on the shards that run here, as it was seen last.
        groups_age_s: how long ago that was; None before the first time.
    """

    waiting: int
    waiting_bytes: int
    answer_age_s: float | None
    groups: dict[str, GroupLag]
    groups_age_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PublisherStats:
    """
    What a publisher counted since it was made.

    Attributes:
        appended: events that were, or had been, or were lost to every group that wants them.
        fenced: events that were not, as another process appends now.
        tails_lost: how often Redis had lost what it acknowledged.
        lost_full: group -> events that it lost because it held all that it may.
        lost_too_big: group -> events that it lost because they were over `max_entry_bytes`.
        commands: of consumers, that came.
    """

    appended: int
    fenced: int
    tails_lost: int
    lost_full: dict[str, int]
    lost_too_big: dict[str, int]
    commands: int
