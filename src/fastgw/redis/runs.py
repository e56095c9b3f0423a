"""
The sessions of a publisher's shards, and what is said of one before its events are appended.
"""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING, Any

from ..errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Collection

    from .streams import EventStreams

__all__ = ["Run", "bind", "tell_missed"]

READY_SEQUENCE = 1  # of a session that another process began: Discord counts dispatches from 1


class Run:
    """
    The events of one session of a shard that are not appended yet.

    Attributes:
        bot_id: whose it is, as READY said; None where it did not.
        claim, epoch: what the server gave; the claim is None before `begin`.
        first: READY's sequence: a RESUME from there brings all that followed.
        began_at: when it came, monotonic; long ago when that was in another process.
        tail: the last sequence that is known to be appended.
        tenure: that of its shard, when it began.
        groups: how many groups, in the publisher's order, know that it began.
        waiting: deliveries, each with the mask of its mailboxes.
    """

    __slots__ = (
        "began_at", "bot_id", "claim", "epoch", "first", "groups", "session_id", "tail", "tenure",
        "waiting",
    )  # fmt: skip

    def __init__(
        self,
        session_id: str,
        first: int = READY_SEQUENCE,
        began_at: float = -math.inf,
        bot_id: int | None = None,
    ) -> None:
        self.session_id = session_id
        self.first = first
        self.began_at = began_at
        self.bot_id = bot_id
        self.claim: str | None = None
        self.epoch = ""
        self.tail = 0
        self.tenure: object = None
        self.groups = 0
        self.waiting: deque[list[Any]] = deque()


async def bind(streams: EventStreams, bot_id: int) -> None:
    """
    Say whose streams these are, if nobody did.

    Raises:
        UsageError: they are another bot's, whose shards would be fenced.
    """
    bound = int(await streams.run("bind", [streams.key("bot")], [bot_id]))
    if bound != bot_id:
        raise UsageError(
            f"{streams.shown} has the streams of bot {bound} under this prefix, and this is bot "
            f"{bot_id}: choose another prefix="
        )


async def tell_missed(
    streams: EventStreams, shard_id: int, run: Run, groups: Collection[str]
) -> None:
    """Say SESSION_RESET to groups that wanted what came of a session before anybody knew it."""
    keys = [streams.shard(shard_id), *(streams.mailbox(group, shard_id) for group in groups)]
    await streams.run("reset", keys, [run.claim, run.epoch])
