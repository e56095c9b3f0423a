"""The gate before the identify queue, and how a fleet finds both; with invented time."""

import asyncio
import gc
import time
from types import SimpleNamespace

import pytest
from invented_time import run_in_invented_time

from fastgw.errors import IdentifyBudgetSpent, InvalidShard
from fastgw.fleet.http.gateway_info import GatewayInfo, SessionStartLimit
from fastgw.fleet.turns.identify import (
    LOOK_AGAIN_S,
    IdentifyGate,
    LocalIdentifyQueue,
    open_gate,
    queue_of_bot,
)


def queue_of():
    """Return a queue of one key on the running loop's invented clock."""
    return LocalIdentifyQueue(1, clock=asyncio.get_running_loop().time, random=lambda: 0.5)


def refusal():
    return InvalidShard("not for this bot", close_code=4010, shard_id=3)


def test_a_shut_gate_refuses():
    """case 29: after a fatal refusal nobody identifies any more."""

    async def main():
        gate = IdentifyGate(queue_of())
        (await gate.acquire(0)).release()
        gate.shut(refusal())
        assert isinstance(gate.error, InvalidShard)
        with pytest.raises(InvalidShard, match="not for this bot"):
            await gate.acquire(1)

    run_in_invented_time(main())


def test_shutting_the_gate_wakes_those_who_wait():
    """case 29: a shard that waits for its turn gets the error at once, and holds nothing."""

    async def main():
        queue = queue_of()
        gate = IdentifyGate(queue)
        turn = await gate.acquire(0)
        asyncio.get_running_loop().call_later(1.0, gate.shut, refusal())
        with pytest.raises(InvalidShard):
            await gate.acquire(1)
        assert asyncio.get_running_loop().time() == 1.0
        turn.release()
        await queue.acquire(2)

    run_in_invented_time(main())


def test_the_first_refusal_is_the_one_reported():
    """A second fatal close does not replace the cause."""
    gate = IdentifyGate(LocalIdentifyQueue())
    first = refusal()
    gate.shut(first)
    gate.shut(refusal())
    assert gate.error is first


def test_cancelling_a_wait_at_the_gate_gives_the_turn_back():
    """case 40: a turn granted in the very moment of the cancellation is not lost."""

    async def main():
        queue = queue_of()
        gate = IdentifyGate(queue)
        turn = await gate.acquire(0)
        waiter = asyncio.create_task(gate.acquire(1))
        await asyncio.sleep(1.0)
        turn.release()
        waiter.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiter
        await asyncio.wait_for(queue.acquire(2), 100.0)

    run_in_invented_time(main())


class Strange:
    """A queue that does what it is told as it gives a turn, and knows no budget."""

    def __init__(self, act):
        self.act = act
        self.asked_at = []
        self.story = []

    def budget(self):
        return None

    async def acquire(self, shard_id):
        self.asked_at.append(asyncio.get_running_loop().time())
        try:
            await asyncio.sleep(1.0)
        except asyncio.CancelledError:
            self.story.append("cancelled")
            raise
        self.act()
        return self

    def release(self):
        self.story.append("released")


def complaints():
    """Return a list of what the running loop's exception handler hears from now on."""
    heard = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: heard.append(context))
    return heard


@pytest.mark.parametrize("leave", ["cancel", "shut"])
def test_a_turn_that_comes_as_its_shard_leaves_is_given_back(leave):
    """case 40: it was given before anybody could be told that nobody wants it."""

    async def main():
        heard = complaints()
        queue = Strange(lambda: waiter.cancel() if leave == "cancel" else gate.shut(refusal()))
        gate = IdentifyGate(queue)
        waiter = asyncio.create_task(gate.acquire(1))
        with pytest.raises((asyncio.CancelledError, InvalidShard)):
            await waiter
        await asyncio.sleep(1.0)
        assert queue.story == ["released"]
        assert not heard

    run_in_invented_time(main())


@pytest.mark.parametrize("leave", ["cancel", "shut"])
def test_who_leaves_waits_in_no_line_any_more(leave):
    """The queue hears of it at once, and nothing is left to complain about."""

    async def main():
        heard = complaints()
        queue = Strange(lambda: None)
        gate = IdentifyGate(queue)
        waiter = asyncio.create_task(gate.acquire(1))
        await asyncio.sleep(0.5)
        waiter.cancel() if leave == "cancel" else gate.shut(refusal())
        with pytest.raises((asyncio.CancelledError, InvalidShard)):
            await waiter
        await asyncio.sleep(0.1)
        assert queue.story == ["cancelled"]
        assert not heard

    run_in_invented_time(main())


def test_a_shut_gate_asks_nobody():
    """case 29: no coroutine is begun, and none is left behind."""

    async def main():
        heard = complaints()
        queue = Strange(lambda: None)
        gate = IdentifyGate(queue)
        gate.shut(refusal())
        with pytest.raises(InvalidShard):
            await gate.acquire(1)
        await asyncio.sleep(1.0)
        gc.collect()
        assert queue.asked_at == []
        assert not heard

    run_in_invented_time(main())


def test_the_gate_forgets_who_went_through():
    """A bot that reconnects for months keeps nothing of each time."""

    async def main():
        gate = IdentifyGate(queue_of())

        def futures():
            gc.collect()
            return sum(isinstance(thing, asyncio.Future) for thing in gc.get_objects())

        (await gate.acquire(0)).release()
        before = futures()
        for _ in range(20):
            (await gate.acquire(0)).release()
        assert futures() - before < 20

    run_in_invented_time(main())


# ---------------------------------------------------------------------------- the budget is spent


async def taught(remaining):
    """Return a gate and its queue, on the loop's invented clock, with so many identifies left."""
    clock = asyncio.get_running_loop().time
    queue = LocalIdentifyQueue(reserve=50, clock=clock, padding_s=(0.0, 0.0))
    limit = SessionStartLimit(1_000, remaining, 3_600.0, 16)
    await queue.learn(limit, asked_at=clock(), is_fresh=True)
    return IdentifyGate(queue, clock=clock), queue


def test_a_spent_budget_is_waited_for_and_told_once(caplog):
    """case 41: one ERROR with the time for all shards; at the reset they go on, in order."""

    async def main():
        gate, _ = await taught(50)
        given = []

        async def identify(shard_id):
            turn = await gate.acquire(shard_id)
            given.append((shard_id, asyncio.get_running_loop().time()))
            turn.written()
            turn.release()

        shards = [asyncio.create_task(identify(shard_id)) for shard_id in range(16)]
        await asyncio.sleep(1_800.0)
        assert gate.spent.free_at == 3_600.0
        assert gate.budget.remaining == 50
        await asyncio.gather(*shards)
        assert gate.spent is None
        return given

    given = run_in_invented_time(main())
    assert given == [(shard_id, 3_600.0) for shard_id in range(16)]
    told = [record for record in caplog.records if record.levelname == "ERROR"]
    assert len(told) == 1
    assert "50 of 1000 identifies are left" in told[0].getMessage()
    assert "in 1 h 0 min" in told[0].getMessage()


def test_a_better_answer_ends_the_wait_early():
    """Somebody asked the API again, and it has more."""

    async def main():
        gate, queue = await taught(0)
        waiting = asyncio.create_task(gate.acquire(0))
        await asyncio.sleep(100.0)
        limit = SessionStartLimit(1_000, 500, 3_000.0, 16)
        await queue.learn(limit, asked_at=asyncio.get_running_loop().time(), is_fresh=True)
        (await waiting).release()
        return asyncio.get_running_loop().time()

    assert run_in_invented_time(main()) <= 100.0 + LOOK_AGAIN_S


def test_a_refusal_ends_the_wait_for_the_budget():
    """case 29: nobody is left waiting for a day that will not help."""

    async def main():
        gate, _ = await taught(0)
        waiting = [asyncio.create_task(gate.acquire(shard_id)) for shard_id in range(3)]
        asyncio.get_running_loop().call_later(10.0, gate.shut, refusal())
        done = await asyncio.gather(*waiting, return_exceptions=True)
        assert [type(error) for error in done] == [InvalidShard] * 3
        return asyncio.get_running_loop().time()

    assert run_in_invented_time(main()) == 10.0


def test_who_gives_up_waiting_for_the_budget_holds_up_nobody():
    """A shard that is closed meanwhile."""

    async def main():
        gate, _ = await taught(0)
        waiting = [asyncio.create_task(gate.acquire(shard_id)) for shard_id in range(3)]
        await asyncio.sleep(100.0)
        waiting[0].cancel()
        waiting[1].cancel()
        (await waiting[2]).release()
        return asyncio.get_running_loop().time()

    assert run_in_invented_time(main()) == 3_600.0


def test_a_queue_that_knows_no_budget_is_asked_when_its_error_said():
    """Neither earlier nor again and again."""

    async def main():
        def act():
            if len(queue.asked_at) == 1:
                raise IdentifyBudgetSpent("spent", free_at=3_601.5, remaining=0, total=1, reserve=0)

        queue = Strange(act)
        await IdentifyGate(queue, clock=asyncio.get_running_loop().time).acquire(0)
        return queue.asked_at

    assert run_in_invented_time(main()) == [0.0, 3_601.5]


# ---------------------------------------------------------------------------- of a fleet


class Pupil(LocalIdentifyQueue):
    """A queue that writes down what it is taught."""

    def __init__(self):
        super().__init__()
        self.lessons = []

    async def learn(self, limit, **told):
        self.lessons.append((limit, told))


def opened_gate(queue, *, limit=None, kept=None, asked_at=12.0):
    """Open the gate of a fleet of the bot 123456789012345678."""
    token = "MTIzNDU2Nzg5MDEyMzQ1Njc4.a.b"
    options = SimpleNamespace(
        identity=SimpleNamespace(token=token), identify_queue=queue, info=kept
    )
    return asyncio.run(open_gate(options, GatewayInfo("wss://x", 1, limit), asked_at))


@pytest.mark.parametrize(("kept", "is_fresh"), [(None, True), (GatewayInfo("wss://x"), False)])
def test_the_queue_of_a_fleet_is_taught_what_the_api_said(kept, is_fresh):
    """With the bot's id; an answer that the user kept is none of now."""
    queue, limit = Pupil(), SessionStartLimit(1_000, 7, 3_600.0, 16)
    opened_gate(queue, limit=limit, kept=kept)
    told = {"asked_at": 12.0, "is_fresh": is_fresh, "bot_id": 123456789012345678}
    assert queue.lessons == [(limit, told)]


def test_an_answer_without_a_limit_teaches_nothing():
    """A service that has none."""
    queue = Pupil()
    opened_gate(queue)
    assert queue.lessons == []


def test_the_fleet_of_a_bot_has_its_queue_unless_told_of_another():
    """So the second gateway of a bot in a process knows what the first was told."""
    limit = SessionStartLimit(1_000, 7, 3_600.0, 16)
    opened_gate(None, limit=limit, asked_at=time.monotonic())
    assert opened_gate(None).budget.remaining == 7
    assert opened_gate(Pupil()).budget.remaining == 1_000


def test_gateways_of_a_bot_share_a_queue():
    """One token and one service, one queue, as long as the process lives."""
    queue = queue_of_bot("a", "wss://x")
    assert queue_of_bot("a", "wss://x") is queue
    assert queue_of_bot("b", "wss://x") is not queue
    assert queue_of_bot("a", "wss://y") is not queue
