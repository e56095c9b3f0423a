"""
Handlers: who wants which event, and how it reaches them.

Interest follows from the subscriptions: `Handlers` keeps one `Interests` table in step with what is
registered, and everything else is dropped unparsed by the decoder. What the listener calls for the
events of a name is made by `plan`; the direct call itself stands in `connection/listener.pyx`. A
handler that fails is logged and counted, and never disturbs the connection or another handler.

All of a gateway's events pass here, so everything that is not one event's business is set and
removed here: it may be done at any time, also from inside a handler.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, TypeVar

from .._decode import Event, Interests
from ..durations import Latencies
from ..errors import UsageError
from ..home import Home
from ..protocol.events import LIBRARY_EVENTS
from .callables import check_handler, is_async, is_of_event
from .drops import Drops
from .failures import HandlerFailures
from .forms import fields_of, making
from .ledger import Ledgers
from .limits import DeliveryLimits, Policy, check_bound, check_policy
from .names import EVERYTHING, check_names, warn_of
from .overdue import Overdue
from .plan import call_each, make_target
from .pressure import Pressure
from .streams import EventStream, Mailbox
from .subscription import Rank, Subscription
from .tasks import HandlerTasks
from .waiters import Waiters, check_timeout

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from .._decode import Plan
    from ..words import Intents
    from .filters import Filter
    from .lanes import Lane
    from .limits import PolicyName

    Handler = Callable[[Event], object]
    HandlerT = TypeVar("HandlerT", bound=Handler)

__all__ = ["Handlers"]

log = logging.getLogger("fastgw.delivery")

_INTERACTION = "INTERACTION_CREATE"


class Handlers:
    """
    The subscriptions of one Gateway, and the interest table of all its shards.

    Attributes:
        home: where all of it may be touched, from the start on.
        interests: the table the decoders look names up in.
        failures: what handlers raised.
        tasks: the async ones that run or wait for their turn.
        ledgers: what is not finished, by shard.
        drops: what policies dropped.
        latencies: how long things took.
        pressure: whether a shard must not read.
        waiters: who waits for an event.
    """

    def __init__(
        self,
        intents: Intents,
        *,
        limits: DeliveryLimits | None = None,
        on_interrupt: Callable[[BaseException], object] | None = None,
    ) -> None:
        self.home = Home()
        self.interests = Interests()
        for name in sorted(LIBRARY_EVENTS):
            self.interests.want(name, None, internal=True)
        self.failures = HandlerFailures(on_interrupt)
        limits = limits or DeliveryLimits()
        self.latencies = Latencies()
        self.ledgers = Ledgers()
        self.ledgers.waited = self.latencies.queue.add
        self.ledgers.took = self.latencies.handler.add
        self.drops = Drops()
        self.waiters = Waiters(self.add, self.remove)
        self.pressure = Pressure(self.ledgers, limits, self.waiters)
        self._overdue = Overdue(self.ledgers)
        self.waiters.changed = self.pressure.waits_changed
        self.tasks = HandlerTasks(
            self.failures.failed, self.ledgers, self.pressure, limits, self.drops
        )
        self._intents = intents
        # In the order in which they are called; also under EVERYTHING.
        self._subscriptions: dict[str, list[Subscription]] = {}
        self._of_errors: list[Subscription] = []
        self._mailboxes: dict[Subscription, Mailbox] = {}
        self._waited_for: set[str] = set()
        self._at_end: list[Callable[[], object]] = []
        self._is_ended = False

    # --- what users register ---------------------------------------------------------------------

    def on(
        self,
        names: tuple[str, ...],
        handler: HandlerT,
        *,
        once: bool = False,
        bound: int | None = None,
        policy: PolicyName = "block",
        form: Any = None,
        missing: object = None,
        where: Filter | None = None,
    ) -> HandlerT:
        """
        Register a sync or async handler for events of these names; "*" means every event.

        Args:
            once: call it for the first event of any of the names, and for no other.
            bound: of an async handler, how many of its coroutines may run at once; None is as many
                as of all handlers together.
            policy: of an async handler, what happens to an event when as many wait as may run.
            form: what it is called with; see `forms`.
            missing: stands for values of fields that are not there.
            where: which events it is called for; None is all of them.
        Returns:
            The handler itself.
        Raises:
            UsageError: no name, not a name, a handler that cannot be called with one event or with
                the values of the fields, or a bound or policy for a sync one.
        """
        self.home.check_thread("on")
        names = check_names(names)
        check_handler(handler, fields_of(form))
        check_bound(bound)
        kind = check_policy(policy)
        lane: Lane | None = None
        target: Callable[..., object] = handler
        if is_async(handler):
            lane = self.tasks.lane(
                handler,
                call=making(handler, form),
                bound=bound,
                policy=kind,
                is_urgent=names == (_INTERACTION,),  # all it takes is answered in 3 s
            )
            target = self.tasks.starter(lane)
        elif bound is not None or kind is not Policy.BLOCK:
            raise UsageError(
                f"bound and policy are for async handlers, and {handler!r} is sync: it is called "
                "at once, so none of its events ever waits"
            )
        self.add(
            Subscription(
                names,
                handler,
                target,
                once=once,
                lane=lane,
                where=where,
                form=form,
                missing=missing,
            )
        )
        for name in dict.fromkeys(names):
            warn_of(name, self._intents)
        return handler

    def off(self, handler: Callable[..., object], names: tuple[str, ...] = ()) -> bool:
        """
        Unregister a handler, from these names or from all; False when it was not registered.

        What has begun goes on; events that wait for their turn are dropped.
        """
        self.home.check_thread("off")
        if names:
            names = check_names(names)
        found = [s for s in self._all() if s.rank is Rank.HANDLER and s.handler == handler]
        removed = [self.remove(s, names or None) for s in found]
        if found and not any(removed):  # all of other names
            return False
        kept: dict[Lane | None, set[str]] = {}
        for s in found:
            left = {name for name in s.names if s in self._subscriptions.get(name, ())}
            kept.setdefault(s.lane, set()).update(left)
        self.tasks.forget(handler, names, kept=kept)
        return bool(found)

    def route(self, name: str, target: Handler | None) -> None:
        """
        Set or remove the one bare sync target of a name, called before all others.

        For libraries that sit on top: no warning of intents, no look at the signature. What it
        raises is treated as of any handler.

        Raises:
            UsageError: not a name, or a target that is not callable, or an async function.
        """
        self.home.check_thread("route")
        (name,) = check_names((name,))
        if target is not None and (not callable(target) or is_async(target)):
            raise UsageError(f"the target of route({name!r}) must be a sync callable, or None")
        for subscription in self._subscriptions.get(name, ()):
            if subscription.rank is Rank.ROUTE:
                self.remove(subscription)
                break
        if target is not None:
            self.add(Subscription((name,), target, rank=Rank.ROUTE))

    def on_error(self, handler: Callable[..., object]) -> None:
        """
        Register a sync or async handler for each `HandlerFailure`; one's own are only logged.

        Raises:
            UsageError: what cannot be called with one argument.
        """
        self.home.check_thread("on_error")
        check_handler(handler)
        self._of_errors.append(self._rare(handler, Policy.DROP_NEWEST))
        self.failures.tell = call_each(self._of_errors, self)

    def call(self, handler: Callable[..., object], argument: object) -> None:
        """Call a handler of something rare, such as a status change, as one of an event."""
        call_each([self._rare(handler)], self)(argument)

    def wanted_by_name(self, names: Iterable[str]) -> list[str]:
        """Return those of these names that a handler asks for; neither "*" nor our own count."""
        lines = {name: self._subscriptions.get(name, ()) for name in names}
        return [name for name, line in lines.items() if any(not one.is_own for one in line)]

    # --- iterators and waiters -------------------------------------------------------------------

    def events(
        self,
        names: tuple[str, ...],
        *,
        bound: int | None,
        policy: PolicyName,
        where: Filter | None = None,
    ) -> EventStream[Event]:
        """
        Return an iterator over events of these names; see `EventSource.events`.

        Raises:
            UsageError: no name, not a name, bad bound or policy.
        """
        self.home.check_thread("events")
        names = check_names(names)
        name = f"events({', '.join(map(repr, names))})"
        mailbox = Mailbox(
            name,
            self.ledgers,
            self.pressure,
            self.drops,
            bound=check_bound(bound),
            policy=check_policy(policy),
        )
        subscription = Subscription(names, mailbox.take, mailbox.target(), where=where)
        stream: EventStream[Event] = EventStream(
            mailbox, lambda: self._leave(subscription), self.home
        )
        if self._is_ended:
            mailbox.end()
            return stream
        self._mailboxes[subscription] = mailbox
        self.add(subscription)
        for each in names:
            warn_of(each, self._intents)
        return stream

    async def wait_for(
        self,
        names: tuple[str, ...],
        check: Callable[[Event], object] | None,
        timeout_s: float | None,
        *,
        where: Filter | None = None,
    ) -> Event:
        """
        Wait for one event of these names; see `EventSource.wait_for`.

        Raises:
            UsageError: no name, not a name, a check that is no sync callable, or a timeout that is
                no number.
        """
        self.home.enter("wait_for")
        names = check_names(names)
        if check is not None:
            check_handler(check)
            if is_async(check):
                raise UsageError("check= must be a sync function: it is called as events come")
        check_timeout(timeout_s)
        for name in names:
            if name not in self._waited_for:  # a bot may wait a thousand times
                self._waited_for.add(name)
                warn_of(name, self._intents)
        event: Event = await self.waiters.wait(names, check, timeout_s, where=where)
        return event

    def at_end(self, told: Callable[[], object]) -> None:
        """
        Call it once: when no event will come any more, while handlers may still run, or now.

        What it raises is logged: whoever else wants to know is told.
        """
        if self._is_ended:
            self._tell_of_end([told])
        else:
            self._at_end.append(told)

    def wanted(self) -> list[tuple[str, Filter | None]]:
        """Return who asks for events of which name, each with its filter."""
        return [(name, s.where) for s in self._all() for name in s.names]

    def end(self) -> None:
        """
        No event will come any more: let iterators end behind what they hold, and waiters fail.

        Handlers that run or wait go on; see `tasks.drain`.
        """
        if self._is_ended:
            return
        self._is_ended = True
        self.waiters.end("the gateway was closed")
        for mailbox in self._mailboxes.values():
            mailbox.end()
        self._tell_of_end(self._at_end)

    def _tell_of_end(self, those: Iterable[Callable[[], object]]) -> None:
        for told in those:
            try:
                told()
            except Exception:  # noqa: PERF203 - once in a life
                log.exception("%r failed at the end of all events", told)

    def tick(self, *, names_overdue: bool) -> None:
        """
        Warn of those who hold reading, or the handled mark, for long; called once a second.

        Args:
            names_overdue: the mark matters: a store keeps it.
        """
        self.pressure.tick()
        if names_overdue:
            self._overdue.tick()

    def _leave(self, subscription: Subscription) -> None:
        if self._mailboxes.pop(subscription, None) is not None:
            self.remove(subscription)

    # --- the table -------------------------------------------------------------------------------

    def add(self, subscription: Subscription) -> None:
        """Let a subscription have the events of its names from the next one on."""
        for name in subscription.names:
            line = self._subscriptions.setdefault(name, [])
            line.append(subscription)
            line.sort(key=lambda other: other.rank)  # stable: then who came first
        self._route(subscription.names)

    def remove(self, subscription: Subscription, names: tuple[str, ...] | None = None) -> bool:
        """Let it have them no more, of these names or of all; False when it had none."""
        names = subscription.names if names is None else names
        removed = False
        for name in names:
            line = self._subscriptions.get(name, [])
            if subscription in line:
                line.remove(subscription)
                removed = True
            if not line:
                self._subscriptions.pop(name, None)
        self._route(names)
        return removed

    def target_of(self, name: str) -> Callable[[Event], object] | Plan | None:
        """Return what the listener calls for an event of this name; None when nobody wants it."""
        return make_target(self._line(name), self)

    def _line(self, name: str) -> list[Subscription]:
        own = [] if name == EVERYTHING else self._subscriptions.get(name, [])
        everything = self._subscriptions.get(EVERYTHING, [])
        if not own or not everything:
            return own or everything
        both = dict.fromkeys([*own, *everything])  # one that has both names is called once
        return sorted(both, key=lambda subscription: subscription.rank)

    def _route(self, names: tuple[str, ...]) -> None:
        """Bring the interest table in step with what changed at these names."""
        if EVERYTHING not in names:
            changed = names
        else:  # one of everything stands in the line of each name as well
            changed = (*names, *self._subscriptions)
            if EVERYTHING in self._subscriptions:
                self.interests.want_everything(self.target_of(EVERYTHING))
            else:
                self.interests.forget_everything()
        for name in dict.fromkeys(changed):
            if name == EVERYTHING:
                continue
            if name in self._subscriptions:
                self.interests.want(name, self.target_of(name))
            else:
                self.interests.forget(name)

    def _all(self) -> list[Subscription]:
        return list(dict.fromkeys(s for line in self._subscriptions.values() for s in line))

    def _rare(self, handler: Callable[..., object], policy: Policy = Policy.BLOCK) -> Subscription:
        """Return a subscription to what is no event."""
        if not is_async(handler):
            return Subscription((), handler)
        lane = self.tasks.lane(handler, policy=policy, is_ledgered=False)
        return Subscription((), handler, self.tasks.starter(lane), lane=lane)

    # --- how those called for an event fared -----------------------------------------------------

    def failed(self, event: Event, handler: Callable[..., object], error: BaseException) -> None:
        """Take the error of a handler that the listener or a plan called."""
        self.failures.failed(event, handler, error)

    def returned(self, event: Event, handler: Callable[..., object], result: object) -> None:
        """Take what such a handler gave back: a coroutine, say, which then runs."""
        is_urgent = is_of_event(event) and event.name == _INTERACTION and self._is_urgent(handler)
        self.tasks.returned(event, handler, result, is_urgent=is_urgent)

    def _is_urgent(self, handler: Callable[..., object]) -> bool:
        """Tell whether a handler of interactions takes nothing else."""
        line = self._subscriptions.get(_INTERACTION, ())
        return {s.names for s in line if s.handler is handler} == {(_INTERACTION,)}

    def spend(self, subscription: Subscription) -> bool:
        """Take a subscription with `once` off the table: its event has come."""
        return self.remove(subscription)
