"""
Figures are asked for from other threads, while the loop goes on.

Here the loop gets its turn in the worst moment: in the middle of the question, each time something
is looked at.
"""

from collections import deque

from fastgw.delivery.handlers import Handlers
from fastgw.delivery.lanes import Lane, WaitingLanes
from fastgw.delivery.ledger import OVERHEAD_BYTES, Delivery
from fastgw.delivery.limits import DeliveryLimits
from fastgw.words import Intents

SHARD = 10_000


class Event:
    """One that is above the mark of its shard."""

    name, sequence, received_at, shard_id = "A", 1, 0.0, 0
    message_bytes = SHARD + 1 - OVERHEAD_BYTES


def test_who_holds_reading():
    """Deliveries come while those that are open are counted."""
    handlers = Handlers(Intents.all(), limits=DeliveryLimits(shard_bytes=SHARD))

    class Holder:
        name = "slow"

        def __hash__(self):
            opened.append(Delivery(self, Event(), (), handlers.ledgers[0]))
            opened[-1].open()
            return 1

    opened = [Delivery(Holder(), Event(), (), handlers.ledgers[0])]
    opened[0].open()
    assert list(handlers.pressure.holding()) == ["slow"]
    assert len(opened) > 1


def test_what_waits():
    """Another lane has something to wait for, while those that have are counted."""
    lanes = WaitingLanes()

    class Waiting(deque):
        def __len__(self):
            lanes.put(lane(), object())
            return super().__len__()

    def lane():
        return Lane(print, print, bound=1)

    first = lane()
    lanes.put(first, object())
    first.waiting = Waiting(first.waiting)
    assert len(lanes) == 1
