"""What every identify queue must do; see `fastgw.fleet.ports`."""

from __future__ import annotations

import asyncio
import random
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ...errors import IdentifyBudgetSpent
from ...fleet.http.gateway_info import SessionStartLimit
from .loops import OnLoops

if TYPE_CHECKING:
    from ...fleet.ports import IdentifyQueue

__all__ = ["IdentifyQueueSuite"]


async def is_waiting(task: asyncio.Task[Any], seconds: float) -> bool:
    """Tell whether a task is not done after so many seconds."""
    await asyncio.wait((task,), timeout=seconds)
    return not task.done()


class IdentifyQueueSuite(OnLoops):
    """
    Inherit it in a class whose name begins with Test, and say how a queue is made.

    Attributes:
        interval_s: what stands for the 5 seconds; the tests take about 60 of it.
    """

    interval_s = 0.2

    def make_queue(
        self,
        *,
        max_concurrency: int | None = None,
        padding_s: tuple[float, float] = (0.0, 0.0),
        reserve: int = 0,
    ) -> IdentifyQueue:
        """
        Return a queue on the turns of this test, which are all free at its first call.

        Further calls of one test return another queue on the same turns, as another process would
        make it; or the same one, where nobody else can have it. Its interval is `interval_s`.
        """
        raise NotImplementedError

    async def identify(self, queue: IdentifyQueue, shard_id: int) -> float:
        """Take a turn, write, be READY; return when it was written, in monotonic seconds."""
        turn = await queue.acquire(shard_id)
        at = time.monotonic()  # before: the interval counts from the write, however late we go on
        turn.written()
        turn.release()
        return at

    # --- turns -----------------------------------------------------------------------------------

    def test_turns_of_one_key_are_an_interval_apart(self) -> None:
        """case 39: counted from the write, not from when the turn was given."""

        async def main() -> tuple[list[float], list[float]]:
            queue = self.make_queue(padding_s=(0.05, 0.05))
            given, written = [], []
            for shard_id in range(3):
                turn = await queue.acquire(shard_id)
                given.append(time.monotonic())
                await asyncio.sleep(self.interval_s / 2)  # the socket opens
                written.append(time.monotonic())
                turn.written()
                turn.release()
            return given, written

        given, written = self.run(main())
        least = self.interval_s + 0.05
        assert given[1] - written[0] >= least
        assert given[2] - written[1] >= least

    def test_a_turn_is_held_until_it_is_released(self) -> None:
        """case 39: READY may take longer than the interval."""

        async def main() -> None:
            queue = self.make_queue()
            turn = await queue.acquire(0)
            turn.written()
            next_one = asyncio.create_task(self.identify(self.make_queue(), 1))
            assert await is_waiting(next_one, 3 * self.interval_s)
            turn.release()
            await next_one

        self.run(main())

    def test_a_turn_that_was_never_written_is_free_at_once(self) -> None:
        """case 40: its socket died before the write, and nothing was spent."""

        async def main() -> float:
            queue = self.make_queue()
            for _ in range(20):
                (await queue.acquire(0)).release()
            began = time.monotonic()
            await self.identify(queue, 0)
            return time.monotonic() - began

        # Twenty intervals would be 4 s; a machine that is busy gets one of them.
        assert self.run(main()) < 20 * self.interval_s

    def test_keys_do_not_wait_for_each_other(self) -> None:
        """case 39: the key is `shard_id % max_concurrency`."""

        async def main() -> None:
            queue = self.make_queue(max_concurrency=4)
            held = [await queue.acquire(shard_id) for shard_id in range(4)]
            others = [asyncio.create_task(queue.acquire(shard_id)) for shard_id in range(4, 8)]
            held[2].release()
            (await others[2]).release()
            for index in (0, 1, 3):
                assert await is_waiting(others[index], 0.05)
                held[index].release()
                (await others[index]).release()

        self.run(main())

    def test_the_keys_are_as_many_as_the_api_says(self) -> None:
        """Where the queue was not told itself."""

        async def main() -> None:
            queue = self.make_queue()
            await queue.learn(
                SessionStartLimit(max_concurrency=2), asked_at=time.monotonic(), is_fresh=True
            )
            other = self.make_queue()
            first, second = await queue.acquire(0), await other.acquire(1)
            third = asyncio.create_task(other.acquire(2))
            assert await is_waiting(third, 2 * self.interval_s)
            first.release()
            second.release()
            (await third).release()

        self.run(main())

    def test_a_turn_that_is_held_while_keys_change_counts(self) -> None:
        """For the key that its shard has by then: until its release, and for the interval after."""

        async def main() -> tuple[float, float]:
            queue, other = self.make_queue(), self.make_queue()
            many, one = (SessionStartLimit(max_concurrency=count) for count in (16, 1))
            await queue.learn(many, asked_at=time.monotonic(), is_fresh=True)
            turn = await queue.acquire(3)
            await other.learn(one, asked_at=time.monotonic(), is_fresh=True)
            next_one = asyncio.create_task(self.identify(other, 0))
            assert await is_waiting(next_one, 2 * self.interval_s)
            before = time.monotonic()
            turn.written()
            turn.release()
            return before, await next_one

        before, after = self.run(main())
        assert after - before >= self.interval_s

    def test_first_come_first_served(self) -> None:
        """Among those who wait at one queue for one key."""

        async def main() -> list[int]:
            queue = self.make_queue()
            turn = await queue.acquire(99)
            served: list[int] = []

            async def wait(number: int) -> None:
                held = await queue.acquire(number)
                served.append(number)
                held.release()

            tasks = []
            for number in range(10):
                tasks.append(asyncio.create_task(wait(number)))
                await asyncio.sleep(0)
            turn.release()
            await asyncio.gather(*tasks)
            return served

        assert self.run(main()) == list(range(10))

    def test_releasing_twice_frees_once(self) -> None:
        """A late release must not free the turn of who came next."""

        async def main() -> None:
            queue = self.make_queue()
            first = await queue.acquire(0)
            first.release()
            second = await queue.acquire(1)
            first.release()
            first.written()
            third = asyncio.create_task(queue.acquire(2))
            assert await is_waiting(third, 2 * self.interval_s)
            second.release()
            (await third).release()

        self.run(main())

    def test_who_gives_up_takes_nothing(self) -> None:
        """case 40: cancelled at any moment, also as the turn is given."""

        async def main() -> None:
            chance = random.Random(1)
            queue, other = self.make_queue(), self.make_queue()
            for _ in range(40):
                turn = await queue.acquire(0)
                waiters = [
                    asyncio.create_task(one.acquire(number))
                    for number, one in enumerate((queue, other, queue))
                ]
                await asyncio.sleep(chance.random() * 0.004)
                turn.release()
                await asyncio.sleep(chance.random() * 0.004)
                for waiter in waiters:
                    waiter.cancel()
                for waiter in waiters:
                    with suppress(asyncio.CancelledError):
                        (await waiter).release()
            for one in (queue, other):
                (await one.acquire(3)).release()

        self.run(main())

    def test_two_queues_exclude_each_other(self) -> None:
        """Never two turns of a key at once, never two writes within an interval."""

        async def main() -> None:
            holders, written = 0, [0.0]

            async def work(queue: IdentifyQueue, shard_id: int) -> None:
                nonlocal holders
                for _ in range(3):
                    turn = await queue.acquire(shard_id)
                    holders += 1
                    assert holders == 1
                    await asyncio.sleep(0)
                    assert time.monotonic() - written[-1] >= self.interval_s
                    written.append(time.monotonic())
                    turn.written()
                    await asyncio.sleep(0.01)
                    holders -= 1
                    turn.release()

            queues = [self.make_queue() for _ in range(3)]
            await asyncio.gather(*(work(queue, i) for i, queue in enumerate(queues)))

        self.run(main())

    def test_it_outlives_a_loop(self) -> None:
        """A program that calls `run()` again and again does not identify at once each time."""
        queue = self.make_queue()
        first = self.run(self.identify(queue, 0))
        second = self.run(self.identify(queue, 0))
        assert second - first >= self.interval_s

    # --- the day's budget ------------------------------------------------------------------------

    def limit(self, remaining: int, *, reset_after_s: float = 3_600.0) -> SessionStartLimit:
        """Return what the API says when so many are left of a thousand."""
        return SessionStartLimit(
            total=1_000, remaining=remaining, reset_after_s=reset_after_s, max_concurrency=16
        )

    def test_nothing_identifies_below_the_reserve(self) -> None:
        """case 41: whoever asks is told when it goes on, at every queue."""

        async def main() -> None:
            queue, other = self.make_queue(reserve=50), self.make_queue(reserve=50)
            before = time.monotonic()
            await queue.learn(self.limit(52), asked_at=before, is_fresh=True)
            await self.identify(queue, 0)
            await self.identify(other, 1)
            for shard_id, one in enumerate((queue, other), 2):
                try:
                    await one.acquire(shard_id)
                except IdentifyBudgetSpent as error:
                    spent = error
                else:
                    raise AssertionError("an identify of the reserve")
                assert (spent.remaining, spent.total, spent.reserve) == (50, 1_000, 50)
                assert before + 3_590.0 < spent.free_at < time.monotonic() + 3_601.0
                budget = one.budget()
                assert budget is not None
                assert budget.remaining == 50
                assert budget.free_at is not None

        self.run(main())

    def test_it_goes_on_after_the_reset(self) -> None:
        """All of the day's identifies are free then."""

        async def main() -> None:
            queue, reset_after_s = self.make_queue(), 0.3
            while True:
                asked_at = time.monotonic()
                limit = self.limit(0, reset_after_s=reset_after_s)
                await queue.learn(limit, asked_at=asked_at, is_fresh=True)
                try:
                    turn = await queue.acquire(0)
                except IdentifyBudgetSpent as error:
                    await asyncio.sleep(max(0.0, error.free_at - time.monotonic()) + 0.01)
                    break
                turn.release()
                # A machine that stood still meanwhile: once more, with more time.
                assert time.monotonic() >= asked_at + reset_after_s, "although none was left"
                reset_after_s *= 4
            await self.identify(queue, 0)
            budget = queue.budget()
            assert budget is not None
            assert budget.remaining >= 999

        self.run(main())

    def test_a_turn_that_was_never_written_costs_nothing(self) -> None:
        """case 40: only what was written counts."""

        async def main() -> None:
            queue = self.make_queue()
            await queue.learn(self.limit(2), asked_at=time.monotonic(), is_fresh=True)
            for _ in range(5):
                (await queue.acquire(0)).release()
            await self.identify(queue, 0)
            await self.identify(queue, 1)
            try:
                await queue.acquire(2)
            except IdentifyBudgetSpent:
                pass
            else:
                raise AssertionError("more than there were")

        self.run(main())

    def test_turns_that_are_held_count(self) -> None:
        """Sixteen at once do not go sixteen below."""

        async def main() -> None:
            queue = self.make_queue(reserve=10)
            await queue.learn(self.limit(11), asked_at=time.monotonic(), is_fresh=True)
            turn = await queue.acquire(0)
            try:
                await queue.acquire(1)
            except IdentifyBudgetSpent:
                pass
            else:
                raise AssertionError("below the reserve")
            turn.release()
            (await queue.acquire(1)).release()

        self.run(main())

    def test_an_answer_that_was_kept_does_not_raise_what_is_left(self) -> None:
        """case 41: each restart of a crash loop passes the `info=` of yesterday."""

        async def main() -> None:
            for restart in range(5):
                queue = self.make_queue(max_concurrency=16, reserve=996)
                await queue.learn(self.limit(1_000), asked_at=time.monotonic(), is_fresh=False)
                try:
                    await self.identify(queue, restart)
                except IdentifyBudgetSpent:
                    assert restart == 4
                    return
            raise AssertionError("the identifies of earlier starts were forgotten")

        self.run(main())

    def test_a_fresh_answer_is_believed(self) -> None:
        """Discord counts for all machines."""

        async def main() -> None:
            queue = self.make_queue()
            await queue.learn(self.limit(0), asked_at=time.monotonic(), is_fresh=True)
            await queue.learn(self.limit(700), asked_at=time.monotonic(), is_fresh=True)
            await self.identify(queue, 0)
            (await queue.acquire(1)).release()
            budget = queue.budget()
            assert budget is not None
            assert (budget.total, budget.free_at) == (1_000, None)
            assert 698 <= budget.remaining <= 699

        self.run(main())
