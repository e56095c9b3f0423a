"""
How a program asks for events: what `Gateway` shows of handlers; iterators and waiting are `pull`'s.

Whatever hands out events offers these methods by standing on this class; where the events come from
makes no difference to who asks for them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar, overload

from .filters import check_where
from .forms import check_form
from .names import check_names
from .pull import PulledEvents

if TYPE_CHECKING:
    from collections.abc import Iterable

    from typing_extensions import Unpack

    from .._decode import Event, ValueSet
    from ..protocol.events import EventName
    from . import signatures as of
    from .failure import HandlerFailure
    from .filters import Filter
    from .limits import PolicyName

    HandlerT = TypeVar("HandlerT", bound=Callable[[Event], object])
    ErrorHandlerT = TypeVar("ErrorHandlerT", bound=Callable[[HandlerFailure], object])

__all__ = ["EventSource"]


class EventSource(PulledEvents):
    """Where handlers are registered, and events iterated over and waited for."""

    @overload
    def on(
        self, *names: EventName | str, fields: of.Paths1, **options: Unpack[of.FieldsOptions]
    ) -> Callable[[of.Taking1T], of.Taking1T]: ...
    @overload
    def on(
        self, *names: EventName | str, fields: of.Paths2, **options: Unpack[of.FieldsOptions]
    ) -> Callable[[of.Taking2T], of.Taking2T]: ...
    @overload
    def on(
        self, *names: EventName | str, fields: of.Paths3, **options: Unpack[of.FieldsOptions]
    ) -> Callable[[of.Taking3T], of.Taking3T]: ...
    @overload
    def on(
        self, *names: EventName | str, fields: of.Paths4, **options: Unpack[of.FieldsOptions]
    ) -> Callable[[of.Taking4T], of.Taking4T]: ...
    @overload
    def on(
        self, *names: EventName | str, fields: of.Paths5, **options: Unpack[of.FieldsOptions]
    ) -> Callable[[of.Taking5T], of.Taking5T]: ...
    @overload
    def on(
        self, *names: EventName | str, fields: of.Paths6, **options: Unpack[of.FieldsOptions]
    ) -> Callable[[of.Taking6T], of.Taking6T]: ...
    @overload
    def on(
        self, *names: EventName | str, fields: of.Paths7, **options: Unpack[of.FieldsOptions]
    ) -> Callable[[of.Taking7T], of.Taking7T]: ...
    @overload
    def on(
        self, *names: EventName | str, fields: of.Paths8, **options: Unpack[of.FieldsOptions]
    ) -> Callable[[of.Taking8T], of.Taking8T]: ...
    @overload
    def on(
        self, *names: EventName | str, fields: of.Paths, **options: Unpack[of.FieldsOptions]
    ) -> Callable[[of.TakingT], of.TakingT]: ...
    @overload
    def on(
        self, *names: EventName | str, type: type[of.KindT], **options: Unpack[of.Options]
    ) -> Callable[[Callable[[of.KindT], of.ResultT]], Callable[[of.KindT], of.ResultT]]: ...
    @overload
    def on(
        self, *names: EventName | str, **options: Unpack[of.Options]
    ) -> Callable[[HandlerT], HandlerT]: ...
    def on(
        self,
        *names: EventName | str,
        fields: of.Paths | None = None,
        missing: object = None,
        type: Any = None,
        where: Filter | None = None,
        guilds: ValueSet | Iterable[str | int] | None = None,
        once: bool = False,
        bound: int | None = None,
        policy: PolicyName = "block",
    ) -> Callable[[of.TakingT], of.TakingT]:
        """
        Register a handler: `@gateway.on("MESSAGE_CREATE")`, several names, or "*" for every event.

        The handler takes one argument, the `Event`, and may be a function or a coroutine function,
        a bound method or an object with `__call__`. What nobody registers for is never parsed. A
        handler that raises is logged and counted, and told to `on_error`.

        Args:
            fields: paths of members, such as `("channel_id", "author.id")`: the handler takes their
                values instead, one by one, and no event is made; see `Fields` for what they are.
            missing: stands for values that are not there; null is None in any case.
            type: a msgspec Struct, a dataclass or a TypedDict: the handler takes an object of it,
                as `event.decode(type)` makes it. What does not fit is an error of the handler.
            where: which of these events, such as `~field("author.bot").is_true()`: decided before
                anything is made of an event.
            guilds: ids of guilds: events of these only, and none that have no guild. A `ValueSet`
                may change at any time.
            once: call it for the first event of any of the names, and for no other.
            bound: of an async handler, how many of its coroutines may run at once; None is as many
                as `limits` allows of all handlers together.
            policy: of an async handler, what happens to an event that has to wait: with "block" it
                waits; "drop_oldest" and "drop_newest" let as many wait as may run, and count in
                `stats()` what they drop.
        Raises:
            UsageError: no name, a function instead of a name, what cannot be a handler, or not of
                so many arguments, what is no path, type or filter, or a bound or policy for a sync
                one.
        """
        check_names(names)
        form = check_form(fields, missing, type)
        wanted = check_where(where, guilds)

        def register(handler: of.TakingT) -> of.TakingT:
            return self._handlers.on(
                names,
                handler,
                once=once,
                bound=bound,
                policy=policy,
                form=form,
                missing=missing,
                where=wanted,
            )

        return register

    def off(self, handler: Callable[..., object], *names: EventName | str) -> bool:
        """
        Take a handler back, for these names or for all; False when it was not registered.

        Takes effect with the next event, also from inside a handler. What has begun goes on.
        """
        return self._handlers.off(handler, names)

    def route(self, name: EventName | str, target: Callable[[Event], object] | None) -> None:
        """
        Set the one bare sync target of a name, called before its handlers; None takes it away.

        For libraries that sit on top: without a warning of intents or a look at the signature, at
        any time. With no handler beside it, the listener calls it directly.

        Raises:
            UsageError: not a name, or no sync callable.
        """
        self._handlers.route(name, target)

    def on_error(self, handler: ErrorHandlerT) -> ErrorHandlerT:
        """
        Register a function or coroutine function for each `HandlerFailure`, however often it comes.

        The failure is logged as well, in full at first and then in numbers. What an error handler
        itself raises is only logged.
        """
        self._handlers.on_error(handler)
        return handler
