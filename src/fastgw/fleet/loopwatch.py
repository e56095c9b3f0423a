"""Whether the event loop keeps up, and what holds it when it does not."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
import traceback
from collections import deque
from typing import TYPE_CHECKING

from ..durations import Durations
from ..log import careful_logger

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["BLOCKED_S", "LoopWatch"]

log = careful_logger("fastgw.loop")

# Discord docs, "Receiving and Responding to Interactions": an initial response within 3 seconds of
# receiving one. It counts from the tick that is due: a blockage of 3.5 s is told of for certain.
# Less would tell of what does no harm, such as a collection of garbage.
BLOCKED_S = 2.5
# What the thread does takes no time, but for its warning: a handler of the program's logging may
# wait for the very loop that waits here.
STOP_S = 1.0


class LoopWatch:
    """
    Measures how late the event loop runs, and shows what blocks it.

    A tick a second on the loop measures the lag. A thread looks whether the ticks stop: when they
    have for `blocked_s`, it logs one warning with the stack of the loop's thread, which is the code
    that blocks. (docs/reliability.md, case 23: a blocked loop sends no heartbeats and loses the
    session.)

    Args:
        on_tick: called at every tick, on the loop.
        tick_s: seconds between ticks.
        blocked_s: silence that is reported; below the 3 s that an interaction lives unanswered.
    """

    def __init__(
        self, on_tick: Callable[[], None], *, tick_s: float = 1.0, blocked_s: float = BLOCKED_S
    ) -> None:
        self.lag_s = 0.0
        self.blocked = 0
        self.lags = Durations()
        self._on_tick = on_tick
        self._tick_s = tick_s
        self._blocked_s = blocked_s
        self._lags: deque[float] = deque(maxlen=max(1, round(60.0 / tick_s)))
        self._timer: asyncio.TimerHandle | None = None
        self._ticks = 0
        self._ticked_at = 0.0
        self._reported = -1  # the tick after which silence was reported
        self._suspect = -1  # the tick after which it was noticed
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def silent_for_s(self) -> float:
        """By how many seconds the next tick is late by now; 0 while the watch does not run."""
        if self._timer is None:
            return 0.0
        return max(0.0, time.monotonic() - self._ticked_at - self._tick_s)

    @property
    def lag_worst_s(self) -> float:
        """The worst lag of the last minute, in seconds."""
        return max(self._lags, default=0.0)

    def start(self) -> None:
        """Begin to watch the running loop; call in its thread."""
        loop = asyncio.get_running_loop()
        self._ticked_at = time.monotonic()
        self._timer = loop.call_later(self._tick_s, self._tick, loop)
        self._thread = threading.Thread(
            target=self._watch,
            args=(loop, threading.get_ident()),
            name="fastgw loop watch",
            daemon=True,
        )
        self._thread.start()

    def stop(self) -> None:
        """End it; the thread is gone on return, unless logging holds it for over a second."""
        self._stop.set()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._thread is not None:
            self._thread.join(STOP_S)
            self._thread = None

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        now = time.monotonic()
        self.lag_s = max(0.0, now - self._ticked_at - self._tick_s)
        self._lags.append(self.lag_s)
        self.lags.add(self.lag_s)
        if self.lag_s >= self._blocked_s and self._reported != self._ticks:
            # Code that never let the thread run, such as a long call into C.
            self.blocked += 1
            log.warning(
                "the event loop stood still for %.1f s, and nothing could see why", self.lag_s
            )
        self._ticks += 1
        self._ticked_at = now
        self._timer = loop.call_later(self._tick_s, self._tick, loop)
        self._on_tick()

    def _watch(self, loop: asyncio.AbstractEventLoop, loop_thread: int) -> None:
        while not self._stop.wait(self._blocked_s / 10) and not loop.is_closed():
            if loop.is_running():
                self._look(time.monotonic(), loop_thread)
            else:  # nothing blocks it: the program does something else
                self._reported = self._ticks

    def _look(self, now: float, loop_thread: int) -> None:
        ticks = self._ticks
        silence_s = now - self._ticked_at - self._tick_s
        if silence_s < self._blocked_s / 2 or ticks == self._reported:
            return
        if ticks != self._suspect:
            self._suspect = ticks  # a process that was stopped looks the same: look once more
            return
        if silence_s < self._blocked_s:
            return
        frame = sys._current_frames().get(loop_thread)
        stack = "".join(traceback.format_stack(frame)) if frame is not None else "unknown\n"
        self._reported = ticks
        self.blocked += 1
        log.warning(
            "the event loop has been blocked for %.1f s; heartbeats are late. It is here:\n%s",
            silence_s,
            stack,
        )
