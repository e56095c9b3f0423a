"""
Handlers: who wants which event, and how it reaches them.

Interest follows from the handlers: `Handlers` keeps one `Interests` table in step with what is
registered, and everything else is dropped unparsed by the decoder. The target of a name is what the
listener calls for each of its events:

    one sync handler     the user's own function; nothing of ours stands between
    one async handler    a small function that starts a task
    several              a small function that calls one after the other

The direct call itself stands in `connection/listener.pyx`. A handler that fails is logged and
counted, and never disturbs the connection or another handler.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from .._decode import Event, Interests
from ..protocol.wire import LIBRARY_EVENTS
from .callables import check_handler, is_async
from .failures import HandlerFailures
from .names import EVERYTHING, check_names, warn_of
from .tasks import HandlerTasks

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..protocol.wire import Intents

    Handler = Callable[[Event], object]
    HandlerT = TypeVar("HandlerT", bound=Handler)

__all__ = ["Handlers"]


class Handlers:
    """
    The handlers of one Gateway, and the interest table of all its shards.

    Attributes:
        interests: the table the decoders look names up in.
        failures: what handlers raised.
        tasks: the async ones that run.
    """

    def __init__(
        self, intents: Intents, *, on_interrupt: Callable[[BaseException], object] | None = None
    ) -> None:
        self.interests = Interests()
        for name in sorted(LIBRARY_EVENTS):
            self.interests.want(name, None, internal=True)
        self.failures = HandlerFailures(on_interrupt)
        self.tasks = HandlerTasks(self.failures.failed)
        self._intents = intents
        self._handlers: dict[str, list[Handler]] = {}  # also under EVERYTHING

    def on(self, names: tuple[str, ...], handler: HandlerT) -> HandlerT:
        """
        Register a sync or async handler for events of these names; "*" means every event.

        May be called at any time, also while connected. Returns the handler itself.

        Raises:
            UsageError: no name, not a name, or a handler that cannot be called with one event.
        """
        check_names(names)
        check_handler(handler)
        for name in dict.fromkeys(names):
            self._handlers.setdefault(name, []).append(handler)
            warn_of(name, self._intents)
        # A handler of everything joins the handlers of each name as well.
        for name in self._handlers if EVERYTHING in names else names:
            self._route(name)
        return handler

    def call(self, handler: Callable[..., object], argument: object) -> None:
        """Call a handler of something rare, such as a status change, as one of an event."""
        self._several([handler])(argument)

    def failed(self, event: Event, target: Callable[[Event], object], error: BaseException) -> None:
        """Take the error of a target that the listener called: of a sync handler, then."""
        self.failures.failed(event, target, error)

    def returned(self, event: Event, target: Callable[[Event], object], result: object) -> None:
        """Take what such a target gave back when it may run: a coroutine, say."""
        self.tasks.returned(event, target, result)

    def target_of(self, name: str) -> Handler | None:
        """Return what the listener calls for an event of this name; None when nobody wants it."""
        handlers = self._handlers_of(name)
        if not handlers:
            return None
        if len(handlers) > 1:
            return self._several(handlers)
        return self._target(handlers[0])

    def _handlers_of(self, name: str) -> list[Handler]:
        own = [] if name == EVERYTHING else self._handlers.get(name, [])
        return own + self._handlers.get(EVERYTHING, [])

    def _route(self, name: str) -> None:
        if name == EVERYTHING:
            self.interests.want_everything(self.target_of(name))
        else:
            self.interests.want(name, self.target_of(name))

    def _target(self, handler: Callable[..., object]) -> Callable[..., object]:
        return self.tasks.starter(handler) if is_async(handler) else handler

    def _several(self, handlers: Sequence[Callable[..., object]]) -> Callable[..., object]:
        """Return a target that calls several handlers; one's failure does not stop the next."""
        calls = [(handler, self._target(handler)) for handler in handlers]
        failed, returned = self.failures.failed, self.tasks.returned

        def call_each(argument: object) -> None:
            for handler, call in calls:
                try:
                    result = call(argument)
                except BaseException as error:  # noqa: PERF203 - one failure, one handler
                    failed(argument, handler, error)
                else:
                    if result is not None:
                        returned(argument, handler, result)

        return call_each
