"""How many keys there are changes while turns are waited for or held, with invented time."""

import asyncio
import random

import pytest
from invented_time import run_in_invented_time

from fastgw.fleet.http.gateway_info import SessionStartLimit
from fastgw.fleet.turns.identify import LocalIdentifyQueue


def queue_of(max_concurrency=None, *, padding_s=(0.25, 1.5)):
    """Return a queue on the running loop's invented clock."""
    return LocalIdentifyQueue(
        max_concurrency,
        padding_s=padding_s,
        clock=asyncio.get_running_loop().time,
        random=random.Random(0).random,
    )


async def say(queue, max_concurrency):
    """Let the API say how many keys there are."""
    limit = SessionStartLimit(1_000, 1_000, 3_600.0, max_concurrency)
    await queue.learn(limit, asked_at=0.0, is_fresh=True)


def waiting_for(queue, *shard_ids):
    """Let shards wait for turns that end at once; return their tasks, and who had one when."""
    given = []

    async def wait(shard_id):
        turn = await queue.acquire(shard_id)
        given.append((shard_id, asyncio.get_running_loop().time()))
        turn.release()

    return [asyncio.create_task(wait(shard_id)) for shard_id in shard_ids], given


@pytest.mark.parametrize(("told", "keys"), [(None, 16), (2, 2), (16, 16)])
def test_how_many_keys_there_are_is_asked_unless_told(told, keys):
    """Who was told knows better than the API."""

    async def main():
        queue = queue_of(told)
        limit = SessionStartLimit(1_000, 1_000, 3_600.0, 16)
        await queue.learn(limit, asked_at=0.0, is_fresh=True)
        return queue.max_concurrency

    assert run_in_invented_time(main()) == keys


@pytest.mark.parametrize(("said", "keys"), [([16, 1], 1), ([16, 0], 1), ([1, 16], 16)])
def test_the_last_answer_says_how_many_keys_there_are(said, keys):
    """One at least."""

    async def main():
        queue = queue_of()
        for max_concurrency in said:
            limit = SessionStartLimit(1_000, 1_000, 3_600.0, max_concurrency)
            await queue.learn(limit, asked_at=0.0, is_fresh=True)
        return queue.max_concurrency

    assert run_in_invented_time(main()) == keys


def test_new_keys_are_free_when_the_last_of_the_old_is():
    """Which of them a shard's last identify counts for is not known: each waits for the latest."""

    async def main():
        now = asyncio.get_running_loop().time
        queue, at = queue_of(padding_s=(0.0, 0.0)), {}
        for max_concurrency in (2, 16):
            limit = SessionStartLimit(1_000, 1_000, 3_600.0, max_concurrency)
            await queue.learn(limit, asked_at=0.0, is_fresh=True)
            if max_concurrency == 2:
                for shard_id in (0, 1):
                    turn = await queue.acquire(shard_id)
                    turn.written()
                    turn.release()
                    await asyncio.sleep(2.0)

        async def identify(shard_id):
            (await queue.acquire(shard_id)).release()
            at[shard_id] = now()

        await asyncio.gather(*map(identify, (0, 1, 7)))
        return at

    assert run_in_invented_time(main()) == {0: 7.0, 1: 7.0, 7: 7.0}


def test_a_turn_that_is_held_while_keys_change_keeps_its_shards_key():
    """Nobody else of the new key gets one before its release, nor 5 s after its write."""

    async def main():
        queue = queue_of(padding_s=(0.0, 0.0))
        await say(queue, 16)
        turn = await queue.acquire(3)
        await say(queue, 1)
        tasks, given = waiting_for(queue, 0)
        await asyncio.sleep(100.0)
        assert not given
        turn.written()
        turn.release()
        await asyncio.gather(*tasks)
        return given

    assert run_in_invented_time(main()) == [(0, 105.0)]


def test_two_turns_that_are_held_may_come_to_share_a_key():
    """It is free when both are over, and 5 s after the last of their writes."""

    async def main():
        queue = queue_of(padding_s=(0.0, 0.0))
        await say(queue, 2)
        first, second = await queue.acquire(0), await queue.acquire(1)
        await say(queue, 1)
        tasks, given = waiting_for(queue, 2)
        await asyncio.sleep(10.0)
        second.written()
        first.release()
        await asyncio.sleep(1.0)
        assert not given
        second.release()
        await asyncio.gather(*tasks)
        return given

    assert run_in_invented_time(main()) == [(2, 15.0)]


def test_the_longest_wait_after_two_writes_of_a_key_counts():
    """Whichever drew it."""

    async def main():
        drawn = iter((1.0, 0.0))
        queue = LocalIdentifyQueue(
            padding_s=(0.0, 4.0), clock=asyncio.get_running_loop().time, random=lambda: next(drawn)
        )
        await say(queue, 2)
        turns = [await queue.acquire(shard_id) for shard_id in (0, 1)]
        await say(queue, 1)
        for turn in turns:
            turn.written()
            turn.release()
        tasks, given = waiting_for(queue, 2)
        await asyncio.gather(*tasks)
        return given

    assert run_in_invented_time(main()) == [(2, 9.0)]


def test_who_waits_while_keys_become_more_has_one_of_them():
    """Shards 1 and 2 need not wait for shard 0 any more; 16 still does."""

    async def main():
        queue = queue_of()
        turn = await queue.acquire(0)
        tasks, given = waiting_for(queue, 1, 2, 16)
        await asyncio.sleep(10.0)
        await say(queue, 16)
        await asyncio.sleep(10.0)
        turn.release()
        await asyncio.gather(*tasks)
        return given

    assert run_in_invented_time(main()) == [(1, 10.0), (2, 10.0), (16, 20.0)]


def test_who_waits_while_keys_become_fewer_is_served_as_they_came():
    """Lines of several keys become one."""

    async def main():
        queue = queue_of()
        await say(queue, 2)
        turns = [await queue.acquire(shard_id) for shard_id in (0, 1)]
        tasks, given = waiting_for(queue, 3, 2, 5, 4)
        await asyncio.sleep(1.0)
        await say(queue, 1)
        for turn in turns:
            turn.release()
        await asyncio.gather(*tasks)
        return [shard_id for shard_id, _ in given]

    assert run_in_invented_time(main()) == [3, 2, 5, 4]


def test_who_was_woken_as_keys_changed_may_have_to_wait_again():
    """First in its line when it was woken, second in the new one."""

    async def main():
        queue = queue_of()
        await say(queue, 2)
        turns = [await queue.acquire(shard_id) for shard_id in (0, 1)]
        tasks, given = waiting_for(queue, 2, 3)
        await asyncio.sleep(1.0)
        turns[1].release()  # wakes 3
        await say(queue, 1)
        await asyncio.sleep(1.0)
        assert not given
        turns[0].release()
        await asyncio.gather(*tasks)
        return given

    assert run_in_invented_time(main()) == [(2, 2.0), (3, 2.0)]


def test_who_gave_up_before_keys_changed_is_in_no_line():
    """Nor is who has a turn by then, or had one."""

    async def main():
        queue = queue_of()
        turn = await queue.acquire(0)
        tasks, _ = waiting_for(queue, 1)
        await asyncio.sleep(1.0)
        tasks[0].cancel()
        await asyncio.wait(tasks)
        turn.release()
        await say(queue, 16)
        await say(queue, 1)
        for shard_id in (0, 1):
            (await asyncio.wait_for(queue.acquire(shard_id), 100.0)).release()
        return asyncio.get_running_loop().time()

    assert run_in_invented_time(main()) == 1.0
