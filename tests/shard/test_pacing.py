"""Send budget, backoff and identify turns, with invented time."""

import asyncio
import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from invented_time import run_in_invented_time

from fastgw.errors import InvalidShard, UsageError
from fastgw.shard.pacing import Backoff, IdentifyGate, LocalIdentifyQueue, SendBudget


def most_in_any_window(times, window_s):
    """Return how many of the sorted `times` lie in the fullest closed window of that length."""
    most, start = 0, 0
    for end, at in enumerate(times):
        while at - times[start] > window_s:
            start += 1
        most = max(most, end - start + 1)
    return most


# ---------------------------------------------------------------------------- send budget


def test_ordinary_commands_leave_room_for_heartbeats():
    """At Discord's usual interval 117 commands may go, and three urgent ones on top."""
    budget = SendBudget()
    budget.reset(heartbeat_interval_s=41.25)
    assert sum(budget.take(0.0) for _ in range(200)) == 117
    assert sum(budget.take_urgent(0.0) for _ in range(200)) == 3


def test_room_comes_back_after_the_window():
    """A full budget says when the next command may go, and it may go exactly then."""
    budget = SendBudget(limit=3, window_s=60.0)
    assert [budget.take(at) for at in (0.0, 10.0, 20.0, 30.0)] == [True, True, True, False]
    assert budget.free_at(30.0) == 60.0
    assert not budget.take(59.999)
    assert budget.take(60.0)
    assert budget.free_at(60.0) == 70.0


def test_a_new_connection_starts_with_a_whole_budget():
    """case 38: the count is per connection (hikari#1813)."""
    budget = SendBudget(limit=2)
    assert budget.take(0.0)
    assert budget.take(0.0)
    assert not budget.take(0.0)
    budget.reset()
    assert budget.take(0.0)


def test_a_short_heartbeat_interval_still_leaves_one_slot():
    """A test server that wants a beat every 10 ms must not forbid commands for ever."""
    budget = SendBudget()
    budget.reset(heartbeat_interval_s=0.01)
    assert budget.take(0.0)


@pytest.mark.parametrize("interval_s", [0, -1.0])
def test_a_heartbeat_interval_must_be_positive(interval_s):
    """Zero or less is a usage error, not a division by zero."""
    with pytest.raises(UsageError, match="heartbeat interval"):
        SendBudget().reserve_heartbeats(interval_s)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["take", "urgent"]),
            st.one_of(st.just(0.0), st.floats(0.0, 2.0), st.floats(0.0, 90.0)),
            st.integers(1, 60),
        ),
        max_size=60,
    ),
    st.sampled_from([None, 0.5, 5.0, 41.25, 60.0, 300.0]),
)
def test_no_window_of_60_seconds_ever_holds_more_than_120(steps, interval_s):
    """case 38: whatever is asked for: 120 in 60 s is never exceeded, nor the reserve used up."""
    budget = SendBudget()
    budget.reset(heartbeat_interval_s=interval_s)
    now, sent, ordinary = 1e6, [], []
    for kind, pause, count in steps:
        now += pause
        for _ in range(count):
            if kind == "take" and budget.take(now):
                sent.append(now)
                ordinary.append(now)
            elif kind == "urgent" and budget.take_urgent(now):
                sent.append(now)
    assert most_in_any_window(sent, 60.0) <= 120
    assert most_in_any_window(ordinary, 60.0) <= 120 - budget.reserved


@given(st.integers(1, 400), st.floats(0.0, 1.0))
def test_a_greedy_sender_never_starves_the_heartbeat(count, phase):
    """Who sends whenever the budget allows still leaves every periodic heartbeat its slot."""
    interval_s = 41.25
    budget = SendBudget()
    budget.reset(heartbeat_interval_s=interval_s)
    now, beat_at = 0.0, phase * interval_s
    assert budget.take_urgent(now)  # identify
    for _ in range(count):
        free_at = budget.free_at(now)
        if beat_at <= free_at:
            now, beat_at = beat_at, beat_at + interval_s
            assert budget.take_urgent(now)
        else:
            now = free_at
            assert budget.take(now)


@given(st.lists(st.floats(0.0, 5.0), min_size=1, max_size=300), st.integers(1, 20))
def test_free_at_is_the_moment_it_becomes_free(pauses, limit):
    """A command is taken at `free_at`, never refused there and never taken before."""
    budget = SendBudget(limit=limit, window_s=60.0)
    now = 0.0
    for pause in pauses:
        now += pause
        free_at = budget.free_at(now)
        assert budget.take(now) == (free_at == now)
        if free_at > now:
            now = free_at
            assert budget.take(now)


# ---------------------------------------------------------------------------- backoff


def test_backoff_doubles_up_to_its_cap():
    """case 28: with the largest draw the delays are 1, 2, 4 ... 60, 60."""
    backoff = Backoff(lambda: 1.0)
    assert [backoff.next_delay_s() for _ in range(8)] == [1, 2, 4, 8, 16, 32, 60, 60]


def test_backoff_has_full_jitter():
    """The draw scales the whole delay, down to nothing."""
    assert Backoff(lambda: 0.0).next_delay_s() == 0.0
    assert Backoff(lambda: 0.25, first_s=8.0).next_delay_s() == 2.0


def test_success_alone_does_not_reset_backoff():
    """case 10: a connection that dies within the stable time goes on growing the delay."""
    backoff = Backoff(lambda: 1.0, stable_s=30.0)
    backoff.next_delay_s()
    backoff.succeeded(100.0)
    backoff.failed(129.0)
    assert backoff.next_delay_s() == 2.0


def test_a_stable_success_resets_backoff():
    """After 30 seconds of life the next failure starts at the first delay again."""
    backoff = Backoff(lambda: 1.0, stable_s=30.0)
    for _ in range(5):
        backoff.next_delay_s()
    backoff.succeeded(100.0)
    backoff.failed(130.0)
    assert backoff.next_delay_s() == 1.0


def test_an_old_success_counts_once():
    """Failures after the first one are not measured against a success long gone."""
    backoff = Backoff(lambda: 1.0, stable_s=30.0)
    backoff.succeeded(0.0)
    backoff.failed(100.0)
    backoff.next_delay_s()
    backoff.failed(200.0)
    assert backoff.next_delay_s() == 2.0


def test_backoff_survives_years_of_failure():
    """The exponent is bounded: no overflow at the 2000th attempt."""
    backoff = Backoff(lambda: 1.0)
    assert [backoff.next_delay_s() for _ in range(2_000)][-1] == 60.0


# ---------------------------------------------------------------------------- identify turns


def queue_of(max_concurrency=1, *, padding_s=(0.25, 1.5), seed=0):
    """Return a queue on the running loop's invented clock."""
    loop = asyncio.get_running_loop()
    return LocalIdentifyQueue(
        max_concurrency, padding_s=padding_s, clock=loop.time, random=random.Random(seed).random
    )


def test_turns_of_one_key_are_five_seconds_apart():
    """The next turn comes no earlier than 5 s plus padding after the write of the last."""

    async def main():
        now = asyncio.get_running_loop().time
        queue = queue_of(padding_s=(0.25, 0.25))
        written_at = []
        for shard_id in range(3):
            turn = await queue.acquire(shard_id)
            await asyncio.sleep(2.0)  # the socket opens
            turn.written()
            written_at.append(now())
            turn.release()
        return written_at

    first, second, third = run_in_invented_time(main())
    assert second - first == pytest.approx(7.25)
    assert third - second == pytest.approx(7.25)


def test_a_turn_is_held_until_ready():
    """case 39: READY after 20 s: the next turn waits for it, not just 5 s (kord#693)."""

    async def main():
        now = asyncio.get_running_loop().time
        queue = queue_of()
        turn = await queue.acquire(0)
        turn.written()
        asyncio.get_running_loop().call_later(20.0, turn.release)
        await queue.acquire(1)
        return now()

    assert run_in_invented_time(main()) == pytest.approx(20.0)


def test_a_turn_whose_socket_died_before_the_write_goes_back():
    """case 40: nothing was spent, so the next turn comes at once (twilight#2260)."""

    async def main():
        queue = queue_of()
        (await queue.acquire(0)).release()
        await queue.acquire(1)
        return asyncio.get_running_loop().time()

    assert run_in_invented_time(main()) == 0.0


def test_keys_do_not_wait_for_each_other():
    """case 39: with max_concurrency 2, shards 0 and 1 identify together and 2 waits for 0."""

    async def main():
        now = asyncio.get_running_loop().time
        queue = queue_of(2, padding_s=(0.0, 0.0))
        at = {}

        async def identify(shard_id):
            turn = await queue.acquire(shard_id)
            at[shard_id] = now()
            turn.written()
            turn.release()

        await asyncio.gather(*map(identify, range(4)))
        return at

    assert run_in_invented_time(main()) == {0: 0.0, 1: 0.0, 2: 5.0, 3: 5.0}


def test_releasing_twice_frees_once():
    """A late second release must not free the next holder's turn."""

    async def main():
        queue = queue_of()
        first = await queue.acquire(0)
        first.release()
        await queue.acquire(1)
        first.release()
        first.written()
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(queue.acquire(2), 100.0)

    run_in_invented_time(main())


def test_max_concurrency_must_be_at_least_one():
    """Zero keys are a usage error."""
    with pytest.raises(UsageError, match="max_concurrency"):
        LocalIdentifyQueue(0)


@given(
    st.integers(1, 4),
    st.lists(
        st.tuples(
            st.integers(0, 11),  # shard
            st.floats(0.0, 20.0),  # asks at
            st.floats(0.0, 10.0),  # opening takes
            st.booleans(),  # dies before the write
            st.floats(0.0, 30.0),  # READY takes
            st.one_of(st.none(), st.floats(0.0, 40.0)),  # gives up after
        ),
        max_size=15,
    ),
    st.integers(0, 1_000),
)
def test_identify_turn_rules(max_concurrency, plans, seed):
    """One holder a key, 5.25 s between writes, first come first served, cancelling is harmless."""
    holders: dict[int, int] = {}
    written: dict[int, list[float]] = {}
    asked, granted = [], []

    async def main():
        now = asyncio.get_running_loop().time
        queue = queue_of(max_concurrency, seed=seed)

        async def identify(index, plan):
            shard_id, asks_at, opens_s, dies, ready_s, _ = plan
            key = shard_id % max_concurrency
            await asyncio.sleep(asks_at)
            asked.append((key, index))
            turn = await queue.acquire(shard_id)
            granted.append((key, index))
            try:
                holders[key] = holders.get(key, 0) + 1
                assert holders[key] == 1
                await asyncio.sleep(opens_s)
                if dies:
                    return
                turn.written()
                written.setdefault(key, []).append(now())
                await asyncio.sleep(ready_s)
            finally:
                holders[key] -= 1
                turn.release()

        async def patient(index, plan):
            try:
                await asyncio.wait_for(identify(index, plan), plan[5])
            except asyncio.TimeoutError:
                gave_up.add(index)

        gave_up: set[int] = set()
        await asyncio.gather(*itertools.starmap(patient, enumerate(plans)))
        for key in range(max_concurrency):  # nothing is left held
            (await queue.acquire(key)).release()
        return gave_up

    gave_up = run_in_invented_time(main())
    for times in written.values():
        assert all(b - a >= 5.25 - 1e-9 for a, b in itertools.pairwise(times))
    for key in range(max_concurrency):
        order = [index for k, index in asked if k == key]
        served = [index for k, index in granted if k == key]
        assert served == [index for index in order if index in served]
        assert set(order) - set(served) <= gave_up


# ---------------------------------------------------------------------------- the gate


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
