"""
Subscriptions: one party each that wants events.

Handlers, routes, iterators and waiters are all subscriptions; they differ in their target and in
their place in line. What they have in common is decided in one place each: who is called for a name
(`plan`), what is not finished yet (`ledger`).
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from .filters import Filter
    from .lanes import Lane

__all__ = ["Rank", "Subscription"]


class Rank(IntEnum):
    """Who is called first among the subscriptions of one name; then who came first."""

    ROUTE = 0
    WAITER = 1
    HANDLER = 2


class Subscription:
    """
    One party that wants events of some names.

    Attributes:
        names: which events; "*" stands for every one.
        handler: what the user gave: called in logs by its name, and found by `off()`.
        target: what a plan calls with each event, from inside the socket's read. For a sync
            handler it is the handler itself; a target of ours starts a task or keeps the event,
            and never raises.
        rank: its place among the others of a name.
        once: it ends as the first event comes.
        lane: where the coroutines of an async handler run and wait; None for all others.
        where: which events of these names, as a predicate over fields; None is all of them.
        form: what the target is called with: None is the Event; see `forms`.
        missing: what stands for values of fields that are not there.
        is_own: of fastgw itself, such as a publisher's: no handler of the program wants it.

    `where` and `form` are for the compiled plan, which evaluates them before anything is made.
    """

    __slots__ = (
        "form", "handler", "is_own", "lane", "missing", "names", "once", "rank", "target", "where",
    )  # fmt: skip

    def __init__(
        self,
        names: tuple[str, ...],
        handler: Callable[..., object],
        target: Callable[[Any], object] | None = None,
        *,
        rank: Rank = Rank.HANDLER,
        once: bool = False,
        lane: Lane | None = None,
        where: Filter | None = None,
        form: Any = None,
        missing: object = None,
        is_own: bool = False,
    ) -> None:
        self.names = tuple(dict.fromkeys(names))
        self.handler = handler
        self.target = handler if target is None else target
        self.rank = rank
        self.once = once
        self.lane = lane
        self.where = where
        self.form = form
        self.missing = missing
        self.is_own = is_own
