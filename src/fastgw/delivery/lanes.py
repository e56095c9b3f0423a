"""
Lanes: the events of one async handler, which run and which wait for their turn.

A handler runs as many coroutines at once as its own bound allows, and all handlers together as
many as the gateway's. What comes beyond waits here, in order. When there is room again the turn
goes to a lane of interactions first, which have to be answered within seconds; else to whoever
waits longest. A lane at its own bound is passed over, and holds nobody back. A new event takes no
turn from one that waits for room, whosever it is: that one came first.
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
        is_urgent: its events go before those of others; so it takes nothing but interactions.
        is_ledgered: what it is given are events, which count in their shard's ledger.
        running: how many of its coroutines have begun and not ended.
        waiting: its deliveries that have not begun.
        is_blocked: the next event has to wait, whatever the gateway's bound says.
    """

    __slots__ = (
        "__weakref__", "bound", "call", "handler", "is_blocked", "is_ledgered", "is_urgent",
        "policy", "running", "waiting",
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


class WaitingLanes:
    """
    All lanes of a gateway in which something waits, and whose turn it is.

    Attributes:
        lanes: those lanes; as a set that keeps its order.
        due: those of them that only the gateway's bound keeps waiting.
    """

    def __init__(self) -> None:
        self.lanes: dict[Lane, None] = {}
        self.due: dict[Lane, None] = {}
        self._count = 0  # of all that ever waited: numbers them

    def __len__(self) -> int:
        return sum(len(lane.waiting) for lane in list(self.lanes))  # other threads ask, too

    def put(self, lane: Lane, delivery: Delivery) -> None:
        """Let a delivery wait, behind all others of its lane."""
        self._count += 1
        lane.waiting.append((self._count, delivery))
        self.update(lane)

    def goes_before(self, lane: Lane) -> bool:
        """Tell whether anything that waits has its turn before a new event of a lane."""
        return any(other.is_urgent or not lane.is_urgent for other in self.due)

    def take(self) -> Delivery | None:
        """Return the delivery whose turn it is, waiting no longer; None when none may begin."""
        if not self.due:
            return None
        lane = min(self.due, key=lambda lane: (not lane.is_urgent, lane.waiting[0][0]))
        _, delivery = lane.waiting.popleft()
        self.update(lane)
        return delivery

    def take_out(self, lane: Lane, delivery: Delivery) -> None:
        """Let one that waits in a lane wait no longer."""
        lane.waiting.remove(next(entry for entry in lane.waiting if entry[1] is delivery))
        self.update(lane)

    def take_all(
        self, lane: Lane, condition: Callable[[Delivery], bool] = lambda _: True
    ) -> list[Delivery]:
        """Return what waits in one lane, or what of it meets a condition; it waits no longer."""
        taken = [delivery for _, delivery in lane.waiting if condition(delivery)]
        left = [entry for entry in lane.waiting if not condition(entry[1])]
        lane.waiting.clear()
        lane.waiting.extend(left)
        self.update(lane)
        return taken

    def update(self, lane: Lane) -> None:
        """Bring a lane's place here, and its `is_blocked`, in step with what runs and waits."""
        has_room = lane.running < lane.bound
        lane.is_blocked = not has_room or bool(lane.waiting)
        if not lane.waiting:
            self.lanes.pop(lane, None)
            self.due.pop(lane, None)
            return
        self.lanes[lane] = None
        if has_room:
            self.due[lane] = None
        else:
            self.due.pop(lane, None)
