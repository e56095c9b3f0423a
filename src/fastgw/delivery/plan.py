"""
The plan of an event name: what the listener calls, made of the subscriptions of that name.

    nobody               None: an event is only looked at by the library itself
    one sync handler     the user's own function; nothing of ours stands between
    one async handler    a small function that starts a task
    several              a small function that calls one after the other
    any with a filter,   the compiled Plan, which asks all filters and reads the fields of all
    fields, or a type    in one walk, and then calls who is left

A plan belongs to the moment it was made in: whoever is called for an event stood in line when the
event came, and those who come or go meanwhile count from the next event on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from .._decode import Plan

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .subscription import Subscription

__all__ = ["Reports", "call_each", "make_target"]


class Reports(Protocol):
    """What a plan tells of the handlers that it calls."""

    def failed(self, event: Any, handler: Callable[..., object], error: BaseException) -> object:
        """A handler raised."""

    def returned(self, event: Any, handler: Callable[..., object], result: object) -> object:
        """A handler gave something back."""

    def spend(self, subscription: Subscription) -> bool:
        """Take one with `once` off the table; False when it was spent before."""


def make_target(
    subscriptions: Sequence[Subscription], reports: Reports
) -> Callable[[Any], object] | Plan | None:
    """Return what the listener calls for an event of a name that these want, in their order."""
    if not subscriptions:
        return None
    if any(s.where is not None or s.form is not None for s in subscriptions):
        return Plan(subscriptions, reports)
    if len(subscriptions) == 1 and not subscriptions[0].once:
        return subscriptions[0].target
    return call_each(subscriptions, reports)


def call_each(subscriptions: Sequence[Subscription], reports: Reports) -> Callable[[Any], None]:
    """Return what calls them one after the other, reports how each fared, and never raises."""
    calls = [(s if s.once else None, s.handler, s.target) for s in subscriptions]
    failed, returned, spend = reports.failed, reports.returned, reports.spend

    def call(event: Any) -> None:
        for once, handler, target in calls:
            if once is not None and not spend(once):
                continue
            try:
                result = target(event)
            except BaseException as error:
                failed(event, handler, error)
            else:
                if result is not None:
                    returned(event, handler, result)

    return call
