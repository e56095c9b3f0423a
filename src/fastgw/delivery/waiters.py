"""
Waiting for one event: `await gateway.wait_for("MESSAGE_CREATE", check=...)`.

A waiter is served where the event is received, before its handlers and never behind a queue or a
bound: whoever waits may be the very handler that keeps others from running.
"""

from __future__ import annotations

import asyncio
import inspect
import math
from collections import Counter
from typing import TYPE_CHECKING, Any

from ..errors import UsageError, WaitFailed
from ..quoting import quote
from .subscription import Rank, Subscription

if TYPE_CHECKING:
    from collections.abc import Callable

    from .._decode import Event
    from .filters import Filter

__all__ = ["Waiters", "check_timeout"]


class Waiters:
    """
    Who waits for one event each, of a gateway.

    Args:
        add, remove: put a subscription on the table of names, and take it off.
    Attributes:
        changed: called when somebody begins to wait, or waits no more.
    """

    def __init__(
        self, add: Callable[[Subscription], object], remove: Callable[[Subscription], object]
    ) -> None:
        self._add = add
        self._remove = remove
        # Answers that are waited for, with the shard they must come from, if only one can.
        self._pending: dict[asyncio.Future[Any], int | None] = {}
        self._counts: Counter[int | None] = Counter()
        self._ended: str | None = None
        self.changed: Callable[[], object] | None = None

    async def wait(
        self,
        names: tuple[str, ...],
        check: Callable[[Event], object] | None,
        timeout_s: float | None,
        shard_id: int | None = None,
        *,
        where: Filter | None = None,
    ) -> Any:
        """
        Wait for the first event of these names that passes the check; see `Gateway.wait_for`.

        Args:
            shard_id: the one shard that can receive it; None when any may.
            where: which events reach the check.
        Raises:
            WaitFailed: it cannot come any more.
            asyncio.TimeoutError: it did not come in `timeout_s` seconds.
        """
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        subscription = Subscription(
            names, self.wait, _serve(answer, check), rank=Rank.WAITER, where=where
        )
        self._add(subscription)
        try:
            return await self.answered(answer, timeout_s, shard_id, what=" or ".join(names))
        finally:
            self._remove(subscription)

    async def answered(
        self,
        answer: asyncio.Future[Any],
        timeout_s: float | None,
        shard_id: int | None,
        *,
        what: str,
    ) -> Any:
        """
        Wait for an answer that an event brings; while somebody does, reading goes on for it.

        Args:
            answer: set where the event is received; cancelled when this ends without it.
            timeout_s, shard_id: as for `wait`.
            what: what is waited for, for the error.
        Raises:
            WaitFailed: it cannot come any more.
            asyncio.TimeoutError: it did not come in `timeout_s` seconds.
        """
        if self._ended is not None:
            raise WaitFailed(self._ended)
        self._begin(answer, shard_id)
        try:
            await asyncio.wait((answer,), timeout=timeout_s)
        finally:
            self._leave(answer)
            if not answer.cancel():
                answer.exception()  # seen, also where this wait was cancelled meanwhile
        if answer.cancelled():
            raise asyncio.TimeoutError(f"no {what} in {timeout_s} s")
        return answer.result()

    def end(self, reason: str) -> None:
        """Let all that wait now or later fail with this reason."""
        self._ended = reason
        self._fail(list(self._pending), reason)
        self._tell()

    def is_pending(self, shard_id: int) -> bool:
        """Tell whether somebody waits for an event that this shard may receive."""
        return bool(self._counts[None] or self._counts[shard_id])

    def fail(self, shard_id: int, reason: str) -> None:
        """Let those fail who wait for what this shard may receive."""
        self._fail([a for a, only in self._pending.items() if only in (None, shard_id)], reason)
        self._tell()  # other shards may have read on for them

    def _fail(self, answers: list[asyncio.Future[Any]], reason: str) -> None:
        for answer in answers:
            self._counts[self._pending.pop(answer)] -= 1
            if not answer.done():
                answer.set_exception(WaitFailed(reason))

    def _begin(self, answer: asyncio.Future[Any], shard_id: int | None) -> None:
        self._pending[answer] = shard_id
        self._counts[shard_id] += 1
        self._tell()

    def _leave(self, answer: asyncio.Future[Any]) -> None:
        """It waits no more, unless it was failed before."""
        if answer in self._pending:
            self._counts[self._pending.pop(answer)] -= 1
            self._tell()

    def _tell(self) -> None:
        if self.changed is not None:
            self.changed()


def _serve(
    answer: asyncio.Future[Any], check: Callable[[Event], object] | None
) -> Callable[[Event], None]:
    """Return what a plan calls: it gives the answer to the first event that passes."""

    def serve(event: Event) -> None:
        if answer.done():
            return
        try:
            passed = check is None or check(event)
            if inspect.isawaitable(passed):
                if inspect.iscoroutine(passed):
                    passed.close()
                raise UsageError("check= must be a sync function: it is called as events come")
        except StopIteration as error:
            answer.set_exception(RuntimeError(f"check raised {error!r}"))  # no future takes it
        except Exception as error:
            answer.set_exception(error)
        else:
            if passed:
                answer.set_result(event)

    return serve


def check_timeout(timeout_s: object) -> None:
    """Raise UsageError unless it is a number of seconds, or None."""
    if timeout_s is None or (isinstance(timeout_s, int) and not isinstance(timeout_s, bool)):
        return
    if not isinstance(timeout_s, float) or math.isnan(timeout_s):
        raise UsageError(f"timeout_s={quote(timeout_s)} is not a number of seconds, or None")
