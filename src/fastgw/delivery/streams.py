"""
Iterators over events: `async for event in gateway.events("MESSAGE_CREATE")`.

The plan of a name puts events into a mailbox, from inside the socket's read; one task takes them
out. A mailbox does not know its iterator, so that an iterator which nobody holds any more is freed,
and ends its subscription with it: after a `break` nothing goes on filling.

An event is handled when the next one is asked for, or when the iterator is left.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from ..errors import UsageError
from .ledger import Delivery
from .limits import Policy
from .room import oldest_in_the_way

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from typing_extensions import Self

    from ..home import Home
    from .drops import Drops
    from .ledger import Ledgers
    from .pressure import Pressure

__all__ = ["EventStream", "Mailbox"]

ItemT = TypeVar("ItemT")

# How many events wait where a policy drops the rest and nobody said how many.
BOUND = 1_000


class Mailbox:
    """
    The events of one iterator: which wait, and which its task has in hand.

    Args:
        name: what the iterator is called in logs.
        bound: how many events may wait.
        policy: what happens to an event when as many wait, or when the marks are reached.
    """

    __slots__ = (
        "_drops", "_in_hand", "_is_closed", "_is_full", "_ledgers", "_pressure", "_wakeup", "bound",
        "is_ended", "name", "policy", "waiting",
    )  # fmt: skip

    def __init__(
        self,
        name: str,
        ledgers: Ledgers,
        pressure: Pressure,
        drops: Drops,
        *,
        bound: int | None,
        policy: Policy,
    ) -> None:
        self.name = name
        self.bound = BOUND if bound is None and policy is not Policy.BLOCK else bound
        self.policy = policy
        self.waiting: deque[Delivery] = deque()
        self.is_ended = False
        self._ledgers = ledgers
        self._pressure = pressure
        self._drops = drops
        self._is_closed = False  # nobody takes anything out any more
        self._is_full = False
        self._in_hand: Delivery | None = None
        self._wakeup: asyncio.Future[None] | None = None

    def target(self) -> Callable[[Any], None]:
        """Return what a plan calls with each event."""
        ledgers, append = self._ledgers, self.waiting.append
        if self.bound is not None:
            return lambda event: self.take(event, (event,))

        def put(event: Any) -> None:
            if self._is_closed:
                return
            delivery = Delivery(self, event, (event,), ledgers[event.shard_id])
            delivery.open()
            append(delivery)
            if self._wakeup is not None:
                self._wake()

        return put

    def take(self, origin: Any, arguments: tuple[Any, ...]) -> None:
        """Let an event wait, or drop what the policy says."""
        if self._is_closed:  # by a handler that stands before it in the plan of the event
            return
        ledger = self._ledgers[origin.shard_id]
        drops = self.policy is not Policy.BLOCK
        delivery = Delivery(self, origin, arguments, ledger, drops)
        if drops and not self._makes_room(delivery):
            self._drops.count(self.name, origin.name)
            return
        delivery.open()
        self.waiting.append(delivery)
        if self.policy is Policy.BLOCK and len(self.waiting) >= (self.bound or math.inf):
            self._is_full = True
            self._pressure.full(self, ledger)
        self._wake()

    def end(self) -> None:
        """Take nothing more; what waits may still be taken out."""
        self.is_ended = True
        self._wake()

    def empty(self) -> None:
        """Throw away what waits and what may come yet: nobody will take it out."""
        self._is_closed = True
        if self._in_hand is not None:
            self._in_hand.done()
            self._in_hand = None
        while self.waiting:
            self.waiting.popleft().done()
        self._read_on()

    async def next(self) -> Any:
        """
        Wait for the next event and take it in hand.

        Raises:
            StopAsyncIteration: the end has come, and nothing is left.
            UsageError: somebody else waits already.
        """
        if self._wakeup is not None:
            raise UsageError(f"{self.name} is iterated by one task at a time")
        delivery = self._in_hand
        if delivery is not None:
            delivery.done()
            self._in_hand = None
        while not self.waiting:
            if self.is_ended:
                raise StopAsyncIteration
            self._wakeup = asyncio.get_running_loop().create_future()
            try:
                await self._wakeup
            finally:
                self._wakeup = None
        delivery = self._in_hand = self.waiting.popleft()
        if self._is_full:
            self._read_on()
        return delivery.arguments[0]

    def _read_on(self) -> None:
        """Let reading go on when half of the bound has been taken out."""
        if self._is_full and len(self.waiting) <= (self.bound or 0) // 2:
            self._is_full = False
            self._pressure.no_longer_full(self)

    def _makes_room(self, delivery: Delivery) -> bool:
        """Let the policy make room for one more: False when it is this one that has to go."""
        waiting = self.waiting if self.policy is Policy.DROP_OLDEST else ()
        too_many = len(self.waiting) + 1 - (self.bound or BOUND)
        going = oldest_in_the_way(waiting, too_many, delivery, self._pressure)
        for one in going or ():
            self.waiting.remove(one)
            one.done()
            self._drops.count(self.name, one.origin.name)
        return going is not None

    def _wake(self) -> None:
        if self._wakeup is not None and not self._wakeup.done():
            self._wakeup.set_result(None)


class EventStream(Generic[ItemT]):
    """
    An async iterator over events, made by `gateway.events(...)`; it has them from then on.

    `async for event in gateway.events(...)` ends with the gateway, or with `break`. One that is
    kept in a variable goes on having events until `aclose()`, or the end of `async with`, or until
    it is dropped. One task at a time may iterate; a cancelled one takes no event with it.
    """

    __slots__ = ("__weakref__", "_home", "_leave", "_mailbox")

    def __init__(self, mailbox: Mailbox, leave: Callable[[], object], home: Home) -> None:
        self._home = home
        self._mailbox = mailbox
        self._leave = leave

    def __repr__(self) -> str:
        return f"<EventStream {self._mailbox.name}, {len(self._mailbox.waiting)} waiting>"

    def __aiter__(self) -> Self:
        return self

    def __anext__(self) -> Coroutine[Any, Any, ItemT]:
        self._home.enter("anext")
        return self._mailbox.next()

    async def aclose(self) -> None:
        """Have no more events; those that wait are thrown away. May be called more than once."""
        self._home.check_loop("aclose")
        _close(self._leave, self._mailbox)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()

    def __del__(self) -> None:
        # Perhaps by a garbage collection: in another thread, or here, in the middle of a loop over
        # what would be changed.
        if self._home.loop is not None and not self._home.has_ended:
            self._home.call_soon(_close, self._leave, self._mailbox)
        elif self._home.is_here():
            _close(self._leave, self._mailbox)


def _close(leave: Callable[[], object], mailbox: Mailbox) -> None:
    leave()
    mailbox.end()
    mailbox.empty()
