"""
From a decoded message to the handler: sync, coroutine, and the other ways programs hand events on.

A hundred events come in each turn of the loop, as from one socket read; each way has 100 turns.
The baseline is what most libraries do: a task for each event. On Python 3.12 and newer
fastgw starts a coroutine handler at once, and one that never waits is over before the next event.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

import fastgw
from fastgw._decode import Decoder, Interests
from fastgw.delivery.handlers import Handlers

from .rig import inprocess
from .rig.comparison import Comparison, Measure, Target, UnavailableError
from .rig.replay import replayed_cpu_time

PER_TURN = 100
PLAIN_TASK = "create_task for each event"
ASYNC = "fastgw, async handler that never waits"


class Way:
    """
    One way to hand events on; made inside the running loop.

    Attributes:
        count: how many events the user's handler has counted.
        target: what is called with each event.
    """

    target: Callable[[Any], object]

    def __init__(self) -> None:
        self.count = 0
        self.begin()

    def begin(self) -> None:
        """Set `target`."""
        self.target = self.sync

    def sync(self, event: Any) -> None:
        self.count += 1

    async def coroutine(self, event: Any) -> None:
        self.count += 1

    async def waiting(self, event: Any) -> None:
        await asyncio.sleep(0)
        self.count += 1


def through_fastgw(*handlers: str) -> type[Way]:
    """Make a way: what fastgw calls for an event when the user registered these."""

    class Dispatched(Way):
        def begin(self) -> None:
            self.handlers = Handlers(fastgw.Intents.all())
            for name in handlers:
                self.handlers.on(("MESSAGE_CREATE",), getattr(self, name))
            self.target = self.handlers.target_of("MESSAGE_CREATE")

    return Dispatched


class PlainTask(Way):
    """A task for each event, held by the loop only."""

    def begin(self) -> None:
        create_task, coroutine = asyncio.get_running_loop().create_task, self.coroutine
        self.target = lambda event: create_task(coroutine(event))


class KeptTask(Way):
    """A task for each event, kept in a set until it is over, as the documentation asks."""

    def begin(self) -> None:
        create_task, coroutine = asyncio.get_running_loop().create_task, self.coroutine
        tasks: set[asyncio.Task[None]] = set()

        def start(event: Any) -> None:
            task = create_task(coroutine(event))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

        self.target = start


class Queue(Way):
    """A queue, and a task that takes from it."""

    def begin(self) -> None:
        queue: asyncio.Queue[Any] = asyncio.Queue()
        self.target = queue.put_nowait
        self.consumer = asyncio.create_task(self.consume(queue))

    async def consume(self, queue: asyncio.Queue[Any]) -> None:
        while True:
            self.sync(await queue.get())


class Iterator(Way):
    """fastgw's own iterator, and the task that iterates."""

    def begin(self) -> None:
        self.handlers = Handlers(fastgw.Intents.all())
        self.events = self.handlers.events(("MESSAGE_CREATE",), bound=None, policy="block")
        target = self.handlers.target_of("MESSAGE_CREATE")
        assert target is not None
        self.target = target
        self.consumer = asyncio.create_task(self.consume())

    async def consume(self) -> None:
        async for event in self.events:
            self.sync(event)


WAYS: dict[str, type[Way]] = {
    PLAIN_TASK: PlainTask,
    "create_task, kept in a set": KeptTask,
    "asyncio.Queue": Queue,
    "fastgw, sync handler": through_fastgw("sync"),
    "fastgw, two sync handlers": through_fastgw("sync", "sync"),
    ASYNC: through_fastgw("coroutine"),
    "fastgw, async handler that waits once": through_fastgw("waiting"),
    "fastgw, async for": Iterator,
}


def comparisons(size: Any, _runner: Any) -> list[Comparison]:
    """Return a comparison for each event loop."""
    turns = 10 if size.batches <= 3 else 100
    eager = sys.version_info >= (3, 12)
    return [
        Comparison(
            name=f"handlers, {loop}",
            baseline=(PLAIN_TASK,),
            entrants={label: _entrant(way, loop, turns) for label, way in WAYS.items()},
            rounds=size.batches,
            targets=(Target(ASYNC, 0.3, of=PLAIN_TASK),) if eager else (),
        )
        for loop in ("asyncio", "uvloop")
    ]


def _entrant(make: type[Way], loop: str, turns: int) -> Measure:
    """Time the turns inside a running loop; starting and ending the loop are not measured."""
    prepared: list[Any] = []

    async def rounds(events: list[Any]) -> float:
        way = make()
        await asyncio.sleep(0)
        start = time.process_time()
        for _ in range(turns):
            target = way.target
            for event in events:
                target(event)
            await asyncio.sleep(0)
        while way.count < turns * PER_TURN:  # noqa: ASYNC110 - an Event would be measured too
            await asyncio.sleep(0)
        return (time.process_time() - start) / (turns * PER_TURN)

    def measure() -> tuple[float, dict[str, Any]]:
        if not prepared:
            decoder = Decoder(interests=Interests({"MESSAGE_CREATE"}))
            texts = inprocess.messages("MESSAGE_CREATE", 1_000, PER_TURN)
            prepared.extend(decoder.feed(text, 1, True) for text in texts)
        return _run(rounds(prepared), loop), {"batch": turns * PER_TURN, "loop": loop}

    return measure


def _run(main: Coroutine[Any, Any, float], loop: str) -> float:
    if loop == "asyncio":
        return asyncio.run(main)
    try:
        import uvloop
    except ImportError:
        main.close()
        raise UnavailableError("uvloop is not installed") from None
    return uvloop.run(main)


@pytest.mark.benchmark(timer=replayed_cpu_time)
def test_handlers(case, replay):
    """Replay the CPU seconds by event of one way to hand it on."""
    replay(case)
