"""
The tasks of async handlers: started, bounded, kept until they end, drained at the close.

An async handler is a real task from its first line. On Python 3.12 and newer it starts inside the
call, so the handlers of a shard keep the order of its events up to their first await; before 3.12
the loop starts them in that order. Where too many run already, events wait in `lanes`.

A handler that never waits is over before its call returns. All others stand in their shard's ledger
from then on, as does what waits, until they end.
"""

from __future__ import annotations

import asyncio
import inspect
import sys
import time
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast
from weakref import WeakValueDictionary

from ..errors import UsageError
from ..log import careful_logger
from ..quoting import counted
from .callables import is_of_event, name_of
from .lanes import Lane, WaitingLanes
from .ledger import Delivery
from .limits import Policy
from .names import EVERYTHING
from .room import oldest_in_the_way

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterator, Mapping

    from .drops import Drops
    from .ledger import Ledgers
    from .limits import DeliveryLimits
    from .pressure import Pressure

    Failed = Callable[[object, Callable[..., object], BaseException], None]

__all__ = ["HandlerTasks"]

log = careful_logger("fastgw.handlers")

# How many waiting deliveries begin in one turn of the loop: the socket must be read as well.
PER_TURN = 100
# Seconds between two warnings that the bound is reached, or that one lane drops events.
_WARNED_S = 60.0

EAGER = sys.version_info >= (3, 12)
_EAGERLY: dict[str, Any] = {"eager_start": True}


def _new_task(coroutine: Coroutine[Any, Any, object]) -> asyncio.Task[object]:
    loop = asyncio.get_running_loop()
    if EAGER:  # not loop.create_task(): uvloop's and 3.12's cannot be eager
        return asyncio.Task(coroutine, loop=loop, **_EAGERLY)
    return loop.create_task(coroutine)


class HandlerTasks:
    """
    The async handlers of one gateway that have begun and not ended, and what waits for its turn.

    Args:
        failed: takes (argument, handler, error) of one that ends by an error.
        ledgers: where deliveries stand while they are not finished.
        pressure: tells whether the marks leave room for what a policy may drop.
        limits: how many may run.
        drops: where a dropped event is counted.
    """

    def __init__(
        self,
        failed: Failed,
        ledgers: Ledgers,
        pressure: Pressure,
        limits: DeliveryLimits,
        drops: Drops,
    ) -> None:
        self._failed = failed
        self._pressure = pressure
        self._drops = drops
        self._ledgers = ledgers
        self._limit = limits.running
        self._tasks: dict[asyncio.Task[object], Delivery] = {}
        self._lanes = WaitingLanes()
        # Those in use, which their deliveries hold.
        self._of_returned: WeakValueDictionary[tuple[int, bool, bool], Lane] = WeakValueDictionary()
        self._advancing: asyncio.Handle | None = None
        self._is_cutting = False  # the close has begun to cancel
        self._is_stopped = False  # nothing begins any more
        self._full_warned_at = -_WARNED_S
        self._spared: set[asyncio.Task[Any]] = set()  # inside caller_spared(), handlers or not
        self._idle: asyncio.Event | None = None  # made by the first drain()

    @property
    def running(self) -> int:
        """How many async handlers have begun and not ended."""
        return len(self._tasks)

    @property
    def waiting(self) -> int:
        """How many deliveries wait for their turn to begin."""
        return len(self._lanes)

    # --- starting --------------------------------------------------------------------------------

    def lane(
        self,
        handler: Callable[..., object],
        *,
        call: Callable[..., object] | None = None,
        bound: int | None = None,
        policy: Policy = Policy.BLOCK,
        is_urgent: bool = False,
        is_ledgered: bool = True,
    ) -> Lane:
        """
        Return a new lane for an async handler.

        Args:
            call: what makes the coroutine, when it is not the handler itself.
            bound: how many may run at once; None is as many as of all handlers.
        """
        return Lane(
            handler,
            cast("Callable[..., Coroutine[Any, Any, object]]", call or handler),
            bound=min(bound or self._limit, self._limit),
            policy=policy,
            is_urgent=is_urgent,
            is_ledgered=is_ledgered,
        )

    def starter(self, lane: Lane) -> Callable[[Any], None]:
        """Return a target that starts the lane's handler with an event, and never raises."""
        if not lane.is_ledgered or lane.policy is not Policy.BLOCK:
            return lambda event: self.take(lane, event, (event,))
        return self._eager_starter(lane) if EAGER else self._late_starter(lane)

    def _eager_starter(self, lane: Lane) -> Callable[[Any], None]:
        tasks, limit, ledgers, keep = self._tasks, self._limit, self._ledgers, self._keep
        make, running_loop = asyncio.Task, asyncio.get_running_loop
        call, handler, due = lane.call, lane.handler, self._lanes.due
        take, report, failed, returned = self.take, self._report, self._failed, self.returned

        # 0.6 us for a handler that never waits; the task itself is nearly all of it.
        def start(event: Any) -> None:
            if lane.is_blocked or due or len(tasks) >= limit:
                take(lane, event, (event,))
                return
            try:
                task = make(call(event), loop=running_loop(), eager_start=True)  # type: ignore[call-arg]
            except BaseException as error:
                failed(event, handler, error)
                return
            if not task.done():
                delivery = Delivery(lane, event, (event,), ledgers[event.shard_id])
                delivery.open()
                keep(task, delivery)
                return
            try:
                result = task.result()
            except BaseException:
                report(task, event, handler)
                return
            if result is not None:
                returned(event, handler, result)

        return start

    def _late_starter(self, lane: Lane) -> Callable[[Any], None]:
        tasks, limit, ledgers, keep = self._tasks, self._limit, self._ledgers, self._keep
        take, failed, running_loop = self.take, self._failed, asyncio.get_running_loop
        call, handler, due = lane.call, lane.handler, self._lanes.due

        def start(event: Any) -> None:
            if lane.is_blocked or due or len(tasks) >= limit:
                take(lane, event, (event,))
                return
            try:
                task = running_loop().create_task(call(event))
            except BaseException as error:
                failed(event, handler, error)
                return
            delivery = Delivery(lane, event, (event,), ledgers[event.shard_id])
            delivery.open()
            keep(task, delivery)

        return start

    def take(self, lane: Lane, origin: Any, arguments: tuple[Any, ...]) -> None:
        """Start the lane's handler with these arguments, or let them wait; never raises."""
        ledger = self._ledgers[origin.shard_id] if lane.is_ledgered else None
        drops = lane.policy is not Policy.BLOCK
        delivery = Delivery(lane, origin, arguments, ledger, drops)
        if drops and not self._makes_room(lane, delivery):
            self._drop(delivery)
        elif self._may_begin(lane):
            self._begin(delivery, is_open=False)
        else:
            delivery.open()
            self._lanes.put(lane, delivery)
            if len(self._tasks) >= self._limit:
                self._warn_full(lane)

    def run_own(self, function: Callable[[], Coroutine[Any, Any, object]]) -> None:
        """
        Run a coroutine function of the library itself, at once: handlers that hang do not hold it.

        It counts as one of them from then on, and the drain waits for it.
        """
        lane = self.lane(function, is_ledgered=False)
        self._begin(Delivery(lane, None, (), None), is_open=False)

    def returned(
        self,
        argument: object,
        handler: Callable[..., object],
        result: object,
        *,
        is_urgent: bool = False,
    ) -> None:
        """
        Take what a handler gave back: run a coroutine, refuse a generator, ignore all else.

        That is how a lambda, or a wrapper without `async`, around an async handler works.

        Args:
            is_urgent: the handler takes nothing but interactions.
        """
        if isinstance(result, asyncio.Future):
            return  # somebody's task runs already
        if inspect.isawaitable(result):
            lane = self._lane_of_returned(handler, is_of_event(argument), is_urgent)
            self.take(lane, argument, (result,))
        elif inspect.isgenerator(result) or inspect.isasyncgen(result):
            error = UsageError(
                f"handler {name_of(handler)} returned a generator, which never runs; do not yield"
            )
            self._failed(argument, handler, error)

    def _lane_of_returned(
        self, handler: Callable[..., object], is_ledgered: bool, is_urgent: bool
    ) -> Lane:
        """Return the lane of what a handler gave back: one, however much of it runs and waits."""
        key = (id(handler), is_ledgered, is_urgent)  # it need not be hashable; the lane keeps it
        lane = self._of_returned.get(key)
        if lane is None:
            lane = self._of_returned[key] = self.lane(
                handler, call=_awaiting, is_ledgered=is_ledgered, is_urgent=is_urgent
            )
        return lane

    def forget(
        self,
        handler: Callable[..., object],
        names: tuple[str, ...] = (),
        *,
        kept: Mapping[Lane | None, Collection[str]] | None = None,
    ) -> None:
        """
        Drop what waits for a handler that is not wanted any more.

        Args:
            names: only events of these; none is all, as is "*".
            kept: names for which its lanes are wanted all the same, of each; under None those of
                what it gave back.
        """
        kept, of_all = kept or {}, not names or EVERYTHING in names
        for lane in [lane for lane in self._lanes.lanes if lane.is_ledgered]:
            left = kept.get(lane) or kept.get(None) or ()
            if lane.handler != handler or EVERYTHING in left:
                continue

            def goes(delivery: Delivery, left: Collection[str] = left) -> bool:
                name = delivery.origin.name
                return name not in left and (of_all or name in names)

            for delivery in self._lanes.take_all(lane, goes):
                delivery.done()
                _dispose(delivery)

    def _begin(self, delivery: Delivery, *, is_open: bool) -> None:
        """Start a delivery; it is open already when it has waited."""
        lane, error, task = delivery.holder, None, None
        if is_open:
            delivery.begin()
        try:
            task = _new_task(lane.call(*delivery.arguments))
        except BaseException as raised:
            error = raised
        if task is not None and not task.done():
            if not is_open:
                delivery.open()
            self._keep(task, delivery)
            return
        if is_open:
            delivery.done()
        if task is not None:
            self._report(task, delivery.origin, lane.handler)
        elif error is not None:
            self._failed(delivery.origin, lane.handler, error)

    def _keep(self, task: asyncio.Task[object], delivery: Delivery) -> None:
        self._tasks[task] = delivery  # the loop itself holds tasks only weakly
        lane = delivery.holder
        lane.running += 1
        if lane.running >= lane.bound:
            self._lanes.update(lane)
        task.add_done_callback(self._ended)

    # --- ending ----------------------------------------------------------------------------------

    def _ended(self, task: asyncio.Task[object]) -> None:
        delivery = self._tasks.pop(task)
        lane = delivery.holder
        lane.running -= 1
        if lane.is_blocked:  # first of all: what waits comes before what is given back
            self._lanes.update(lane)
        if self._is_cutting and task.cancelled():
            delivery.abandon()
        else:
            delivery.done()
        try:
            result = task.result()
        except BaseException:
            self._report(task, delivery.origin, lane.handler)
        else:
            if result is not None:
                self.returned(delivery.origin, lane.handler, result)
        if self._lanes.lanes:
            self._advance_soon()
        elif self._idle is not None:
            self._tell_idle()

    def _report(
        self, task: asyncio.Task[object], argument: object, handler: Callable[..., object]
    ) -> None:
        if task.cancelled():
            return
        if (error := task.exception()) is not None:
            self._failed(argument, handler, error)
        elif (result := task.result()) is not None:
            self.returned(argument, handler, result)

    # --- waiting ---------------------------------------------------------------------------------

    def _advance_soon(self) -> None:
        if self._advancing is None:
            self._advancing = asyncio.get_running_loop().call_soon(self._advance)

    def _advance(self) -> None:
        """Begin what waits while there is room, some of it a turn."""
        self._advancing = None
        if self._is_stopped:
            return
        for _ in range(PER_TURN):
            if len(self._tasks) >= self._limit or (delivery := self._lanes.take()) is None:
                self._tell_idle()
                return
            self._begin(delivery, is_open=True)
        self._advance_soon()

    def _may_begin(self, lane: Lane) -> bool:
        if lane.is_blocked or len(self._tasks) >= self._limit:
            return False
        return not self._lanes.goes_before(lane)

    def _makes_room(self, lane: Lane, delivery: Delivery) -> bool:
        """Let a lane's policy make room for one more: False when it is this one that has to go."""
        too_many = 0 if self._may_begin(lane) else len(lane.waiting) + 1 - lane.bound
        waiting = (one for _, one in lane.waiting) if lane.policy is Policy.DROP_OLDEST else ()
        going = oldest_in_the_way(waiting, too_many, delivery, self._pressure)
        for one in going or ():
            self._lanes.take_out(lane, one)
            self._drop(one, is_open=True)
        return going is not None

    def _drop(self, delivery: Delivery, *, is_open: bool = False) -> None:
        event_name = delivery.origin.name if delivery.ledger is not None else None
        self._drops.count(delivery.holder.name, event_name)
        if is_open:
            delivery.done()

    def _warn_full(self, lane: Lane) -> None:
        now = time.monotonic()
        if now - self._full_warned_at < _WARNED_S:
            return
        self._full_warned_at = now
        ((busiest, count),) = Counter(
            delivery.holder.name for delivery in self._tasks.values()
        ).most_common(1)
        log.warning(
            "%d async handlers run at once, the bound, so events wait, now one of %s; most of "
            "those running are %s (%d)",
            len(self._tasks),
            lane.name,
            busiest,
            count,
        )

    def stop(self) -> None:
        """Begin nothing of what waits; may be called between any two lines of the program."""
        self._is_stopped = True

    # --- the close -------------------------------------------------------------------------------

    async def drain(self, timeout_s: float) -> int:
        """
        Wait for async handlers, running and waiting; after `timeout_s` seconds cut them short.

        Those inside `caller_spared()` are not waited for, also when they go there meanwhile, nor is
        what can begin only after one of them.

        Returns:
            How many had to be cancelled.
        """
        is_over = await self._wait_idle(timeout_s)
        unbegun = [d for lane in list(self._lanes.lanes) for d in self._lanes.take_all(lane)]
        for delivery in unbegun:
            _dispose(delivery)
            delivery.abandon()
        if is_over:
            if unbegun:
                log.warning(
                    "%s waited behind handlers that wait for the close, and never reached %s",
                    counted(len(unbegun), "event"),
                    "its own" if len(unbegun) == 1 else "theirs",
                )
            return 0
        self._is_cutting = True
        late = self._tasks.keys() - self._spared
        for task in late:
            task.cancel()
        log.warning(
            "%s %s cancelled after %.1f s of grace, %s never reached %s",
            counted(len(late), "handler"),
            "was" if len(late) == 1 else "were",
            timeout_s,
            counted(len(unbegun), "event"),
            "its own" if len(unbegun) == 1 else "theirs",
        )
        # A handler may swallow its cancellation: it gets no second grace.
        await self._wait_idle(1.0)
        return len(late)

    @contextmanager
    def caller_spared(self) -> Iterator[None]:
        """Let `drain()` not wait for the calling task: a handler that waits for it itself."""
        caller = asyncio.current_task()
        if caller is None or caller in self._spared:
            yield
            return
        self._spared.add(caller)
        self._tell_idle()
        try:
            yield
        finally:
            self._spared.discard(caller)

    async def _wait_idle(self, timeout_s: float) -> bool:
        """Wait until no handler is left to be waited for; False after `timeout_s` seconds."""
        if not self._is_idle():
            try:
                await asyncio.wait_for(self._become_idle(), timeout_s)
            except asyncio.TimeoutError:
                return self._is_idle()
        return True

    async def _become_idle(self) -> None:
        if self._idle is None:
            self._idle = asyncio.Event()
        while not self._is_idle():
            self._idle.clear()
            await self._idle.wait()

    def _is_idle(self) -> bool:
        if not self._tasks.keys() <= self._spared:
            return False
        # What waits then, and is not due or has no room, waits behind one that waits for this.
        return not self._lanes.due or len(self._tasks) >= self._limit

    def _tell_idle(self) -> None:
        if self._idle is not None and self._is_idle():
            self._idle.set()


async def _awaiting(awaitable: Awaitable[object]) -> object:
    return await awaitable


def _dispose(delivery: Delivery) -> None:
    """Close a coroutine that will never run, or Python warns of it."""
    for argument in delivery.arguments:
        if inspect.iscoroutine(argument):
            argument.close()
