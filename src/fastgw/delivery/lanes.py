"""
Lanes: the events of one async handler, which run and which wait for their turn.

A handler runs as many coroutines at once as its own bound allows, and all handlers together as
many as the gateway's. What comes beyond waits here, in order. When there is room again the turn
goes to a lane of interactions first, because their tokens live for seconds; else to whoever waits
longest. A lane at its own bound is passed over, and holds nobody back.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from .callables import name_of
from .limits import Policy

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from .ledger import Delivery

__all__ = ["Lane", "WaitingLanes"]


class Lane:
    """
    One async handler.

    Attributes:
        handler: what the user gave.
        call: makes its coroutine of what it is given.
        bound: how many of its coroutines may run at once.
        policy: what happens to an event when as many wait as may run; with "block" all wait.
        is_urgent: its events go before those of others.
        is_ledgered: what it is given are events, which count in their shard's ledger.
        running: how many of its coroutines have begun and not ended.
        waiting: its deliveries that have not begun.
        is_blocked: the next event has to wait, whatever the gateway's bound says.
    """

    __slots__ = (
        "bound", "call", "handler", "is_blocked", "is_ledgered", "is_urgent", "policy",
        "running", "waiting",
    )  # fmt: skip

    def __init__(
        self,
        handler: Callable[..., object],
        call: Callable[..., Coroutine[Any, Any, object]],
        *,
        bound: int,
        policy: Policy = Policy.BLOCK,
        is_urgent: bool = False,
        is_ledgered: bool = True,
    ) -> None:
        self.handler = handler
        self.call = call
        self.bound = bound
        self.policy = policy
        self.is_urgent = is_urgent
        self.is_ledgered = is_ledgered
        self.running = 0
        self.waiting: deque[tuple[int, Delivery]] = deque()
        self.is_blocked = False

    @property
    def name(self) -> str:
        """What the handler is called in logs."""
        return name_of(self.handler)

    def update(self) -> None:
        """Bring `is_blocked` in step with what runs and waits."""
        self.is_blocked = self.running >= self.bound or bool(self.waiting)


class WaitingLanes:
    """
    All lanes of a gateway in which something waits, and whose turn it is.

    Attributes:
        lanes: those lanes; as a set that keeps its order.
    """

    def __init__(self) -> None:
        self.lanes: dict[Lane, None] = {}
        self._count = 0  # of all that ever waited: numbers them

    def __len__(self) -> int:
        return sum(len(lane.waiting) for lane in list(self.lanes))  # other threads ask, too

    def put(self, lane: Lane, delivery: Delivery) -> None:
        """Let a delivery wait, behind all others of its lane."""
        self._count += 1
        lane.waiting.append((self._count, delivery))
        lane.is_blocked = True
        self.lanes[lane] = None

    def take(self) -> Delivery | None:
        """Return the delivery whose turn it is, waiting no longer; None when none may begin."""
        free = [lane for lane in self.lanes if lane.running < lane.bound]
        if not free:
            return None
        lane = min(free, key=lambda lane: (not lane.is_urgent, lane.waiting[0][0]))
        _, delivery = lane.waiting.popleft()
        self._update(lane)
        return delivery

    def take_out(self, lane: Lane, delivery: Delivery) -> None:
        """Let one that waits in a lane wait no longer."""
        lane.waiting.remove(next(entry for entry in lane.waiting if entry[1] is delivery))
        self._update(lane)

    def take_all(
        self, lane: Lane, condition: Callable[[Delivery], bool] = lambda _: True
    ) -> list[Delivery]:
        """Return what waits in one lane, or what of it meets a condition; it waits no longer."""
        taken = [delivery for _, delivery in lane.waiting if condition(delivery)]
        left = [entry for entry in lane.waiting if not condition(entry[1])]
        lane.waiting.clear()
        lane.waiting.extend(left)
        self._update(lane)
        return taken

    def _update(self, lane: Lane) -> None:
        if not lane.waiting:
            self.lanes.pop(lane, None)
        lane.update()
