"""Identify turns of one process, with invented time."""

import asyncio
import itertools
import random
import threading

import pytest
from deadline import scaled
from hypothesis import given
from hypothesis import strategies as st
from invented_time import run_in_invented_time

from fastgw.errors import UsageError
from fastgw.fleet.turns.identify import (
    LocalIdentifyQueue,
)


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


@pytest.mark.parametrize("bad", [{"clock": 5.0}, {"sleep": None}, {"random": 0.5}])
def test_clock_sleep_and_random_are_functions(bad):
    """It is told where they are passed."""
    with pytest.raises(UsageError, match=next(iter(bad))):
        LocalIdentifyQueue(**bad)


def test_a_write_that_is_told_twice_counts_once():
    """At the time of the last, for the day's budget and for the key."""

    async def main():
        queue = queue_of(padding_s=(0.0, 0.0))
        turn = await queue.acquire(0)
        for _ in range(2):
            await asyncio.sleep(1.0)
            turn.written()
        turn.release()
        assert queue.budget().remaining == 999
        await queue.acquire(1)
        return asyncio.get_running_loop().time()

    assert run_in_invented_time(main()) == 7.0


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


def test_a_turn_that_is_held_is_counted_and_goes_back_unwritten():
    """case 40: sixteen at once cannot go sixteen below the reserve."""

    async def main():
        queue = queue_of()
        turn = await queue.acquire(0)
        assert queue.budget().remaining == 999
        turn.release()
        assert queue.budget().remaining == 1_000

    run_in_invented_time(main())


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


def test_a_write_after_the_release_costs_nobody_a_turn():
    """It is somebody else's turn by then, who has written nothing yet."""

    async def main():
        queue = queue_of()
        first = await queue.acquire(0)
        first.release()
        second = await queue.acquire(1)
        first.written()
        second.release()
        await queue.acquire(2)
        return asyncio.get_running_loop().time()

    assert run_in_invented_time(main()) == 0.0


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


def test_threads_share_a_queue():
    """Each with a loop of its own: one holder at a time, and nobody is forgotten."""
    queue = LocalIdentifyQueue(interval_s=0.001, padding_s=(0.0, 0.0), reserve=0)
    holders, worst = [], []

    async def shards():
        async def shard(shard_id):
            for _ in range(20):
                turn = await queue.acquire(shard_id)
                holders.append(shard_id)
                worst.append(len(holders))
                await asyncio.sleep(0)
                turn.written()
                holders.pop()
                turn.release()

        await asyncio.gather(*map(shard, range(3)))

    threads = [threading.Thread(target=asyncio.run, args=(shards(),)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(scaled(60.0))
        assert not thread.is_alive()
    assert worst == [1] * 180
