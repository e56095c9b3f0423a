"""Who holds the handled mark back is named."""

import types

import pytest

from fastgw.delivery.ledger import Delivery, Ledgers
from fastgw.delivery.overdue import LOOK_S, OVERDUE_S, Overdue


class Holder:
    def __init__(self, name):
        self.name = name


class World:
    def __init__(self):
        self.now = 0.0
        self.ledgers = Ledgers()
        self.overdue = Overdue(self.ledgers, clock=lambda: self.now)

    def open(self, sequence, holder):
        event = types.SimpleNamespace(
            name="A", sequence=sequence, shard_id=0, received_at=self.now, message_bytes=100
        )
        delivery = Delivery(Holder(holder), event, (), self.ledgers[0])
        delivery.open()
        return delivery

    def wait(self, seconds):
        """Tick once a second, as a gateway does."""
        for _ in range(int(seconds)):
            self.now += 1.0
            self.overdue.tick()


@pytest.fixture
def world():
    return World()


def test_a_handler_that_does_not_finish_is_named_once(world, caplog):
    """With the event, as long as it goes on."""
    world.open(7, "stuck")
    world.wait(OVERDUE_S - LOOK_S)
    world.open(8, "stuck")
    world.open(9, "new")
    assert not caplog.records
    world.wait(OVERDUE_S - 1)
    (record,) = caplog.records
    assert "stuck has not finished event 7 of shard 0 for 6" in record.message


def test_who_gets_stuck_again_is_named_again(world, caplog):
    """Each time is news."""
    for sequence in (1, 2):
        stuck = world.open(sequence, "stuck")
        world.wait(OVERDUE_S + LOOK_S)
        stuck.done()
        world.wait(LOOK_S)
    assert len(caplog.records) == 2


def test_an_event_of_an_older_session_holds_no_mark(world, caplog):
    """So nobody is named for it."""
    world.open(7, "stuck")
    world.ledgers[0].session_began()
    world.wait(OVERDUE_S + LOOK_S)
    assert not caplog.records
