"""
A gateway of many shards, in a process of its own: `python -m bench.many.fleet JOB`.

It comes up, says how that went, and then does what it is told on standard input.
"""

from __future__ import annotations

import asyncio
import json
import resource
import ssl
import sys
import threading
import time
from typing import Any

from fastgw import Gateway, GatewayInfo, Intents, SessionStartLimit
from fastgw.fleet import relief
from fastgw.fleet.turns.identify import LocalIdentifyQueue

from .child import loop_run
from .resident import peak_bytes, resident_bytes
from .service import say

# A whole fleet identifies here several times a day.
LIMIT = SessionStartLimit(total=100_000, remaining=100_000, reset_after_s=86_400.0)


class Fleet:
    """
    One gateway.

    Args:
        url, authorities: of the service.
        count: how many shards.
        max_concurrency, interval_s: of its identify queue.
        compress, options: of the gateway.
        look_s: between two looks for large read buffers, None for the usual ten seconds.
        wanted: the event that has a handler.
    """

    def __init__(
        self, url: str, authorities: str, count: int, max_concurrency: int, interval_s: float,
        compress: str = "zlib-stream", look_s: float | None = None,
        wanted: str = "MESSAGE_CREATE", **options: Any,
    ) -> None:  # fmt: skip
        if look_s is not None:
            relief.LOOK_S = look_s
        self.shards = count
        self.seen = 0
        self.asked_s = 0.0
        self.gateway = Gateway(
            "not.a.token",
            intents=Intents.all(),
            shards=count,
            compress=compress,
            info=GatewayInfo(url, session_start_limit=LIMIT),
            ssl_context=ssl.create_default_context(cadata=authorities) if authorities else None,
            identify_queue=LocalIdentifyQueue(
                max_concurrency, interval_s=interval_s, padding_s=(0.005, 0.02)
            ),
            **options,
        )
        self.gateway.on(wanted)(self._saw)
        self.looks_s = 0.0
        watch = self.gateway._fleet._watch
        self._look, watch._on_tick = watch._on_tick, self._timed_look

    def _timed_look(self) -> None:
        began = time.process_time()
        self._look()
        self.looks_s += time.process_time() - began

    def _saw(self, event: Any) -> None:
        self.seen += 1

    async def run(self) -> None:
        """Come up, and do what is told until standard input ends."""
        before = resident_bytes()
        begun, cpu = time.monotonic(), time.process_time()
        await self.gateway.start()
        await self.gateway.wait_ready()
        say(
            ready_s=time.monotonic() - begun,
            ready_cpu_s=time.process_time() - cpu,
            lag_worst_s=self.gateway.health().loop_lag_worst_s,
            bytes_each=(resident_bytes() - before) / self.shards,
            peak_bytes=peak_bytes(),
            identifies=self._identifies(),
            watch_threads=sum(t.name == "fastgw loop watch" for t in threading.enumerate()),
            threads=threading.active_count(),
        )
        self.before = before
        while line := await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline):
            told: dict[str, Any] = json.loads(line)
            say(**await getattr(self, told.pop("do"))(**told))
        await self.gateway.close()

    async def idle(self, seconds: float) -> dict[str, Any]:
        """Do nothing but live, and count the CPU of it."""
        usage = resource.getrusage(resource.RUSAGE_SELF)
        await asyncio.sleep(seconds)
        after = resource.getrusage(resource.RUSAGE_SELF)
        return {
            "user_ms_a_second": (after.ru_utime - usage.ru_utime) * 1000 / seconds,
            "system_ms_a_second": (after.ru_stime - usage.ru_stime) * 1000 / seconds,
        }

    async def count(self) -> dict[str, Any]:
        """Tell what was received, and what CPU all of it has cost, but for being asked."""
        cpu_s = time.process_time() - self.asked_s
        messages = self.gateway.stats().total.messages  # 26 ms with 1,024 shards
        self.asked_s = time.process_time() - cpu_s
        return {"cpu_s": cpu_s, "looks_s": self.looks_s, "messages": messages}

    async def memory(self) -> dict[str, Any]:
        """Tell what is resident now."""
        return {
            "bytes_each": (resident_bytes() - self.before) / self.shards,
            "peak_bytes": peak_bytes(),
        }

    async def relief(self, timeout_s: float) -> dict[str, Any]:
        """Wait until no connection was replaced for a while; tell what is resident then."""
        end, before = time.monotonic() + timeout_s, -1
        while time.monotonic() < end:
            relieved = self.gateway.stats().relieved
            if relieved == before and self.gateway.health().is_ready:
                break  # while some are away none is replaced
            before = relieved
            await asyncio.sleep(10.0)
        return {**await self.memory(), "relieved": before, "identifies": self._identifies()}

    def _identifies(self) -> int:
        return self.gateway.stats().total.identifies

    async def recovery(self, resumes: int, timeout_s: float) -> dict[str, Any]:
        """Wait until all are up and have resumed that often; tell when, and what it was like."""
        end = time.monotonic() + timeout_s
        while time.monotonic() < end:
            health = self.gateway.health()
            won = self.gateway.stats().total.resumes_won
            if health.is_ready and won >= resumes * self.shards:
                break
            await asyncio.sleep(0.1)
        return {
            "up_at": time.monotonic(),
            "ready": health.ready,
            "resumes": won,
            "identifies": self._identifies(),
            "lag_worst_s": health.loop_lag_worst_s,
            "peak_bytes": peak_bytes(),
        }


if __name__ == "__main__":
    loop_run(Fleet(**json.loads(sys.argv[1])).run())
