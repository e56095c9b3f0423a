"""
The supervisor: starts workers, keeps them running, replaces them, and ends with them.

Theory. Each worker has a `Seat`: a number, shards, and the process that runs them now. One task a
seat (`_keep`) waits for the end of that process and starts the next. A replacement takes the seat's
lock, so that the two never start a process each: the successor is started beside, and when it is
prepared the one before is told to let go of its shards. Only when it has, or has ended, the
successor may take them. There is one way down, `_close`: from a signal, from a worker that failed
for good, and from one that ended by itself.

Workers import the program; the supervisor never does.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random as _random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from ..errors import WorkerFailed
from ..log import careful_logger
from ..options import token_of_command
from ..protocol.token import bot_id_of
from ..quoting import counted, ranges
from .child import Child
from .layout import split
from .restarts import Restarts
from .sd_notify import ServiceManager
from .seat import Seat, ending, unfitness
from .service import ServiceTeller
from .settings import ProcessOptions
from .start import Started, ask, ask_again, assignment_of, choose_store
from .status import ProcessesStatus
from .target import check_module
from .watching import Watching

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Supervisor"]

log = careful_logger("fastgw.processes")

# A worker tells about itself every second. One that was silent for so long hangs: its connections
# have missed their heartbeats (41 s), and nothing but its death brings its shards back.
SILENT_S = 60.0
# Until a worker has let go of its shards; it waits 3 s for an answer to CLOSE, then aborts.
RELEASE_S = 15.0
# Until the shards of a successor are READY; then the next worker is replaced all the same.
SUCCESSOR_READY_S = 120.0
TICK_S = 0.25


class Supervisor:
    """
    The workers of one bot on this machine.

    Args:
        options: what to run, and how.
        report: called with the status when something changed, at most four times a second.
        random: gives [0, 1).
    """

    def __init__(
        self,
        options: ProcessOptions,
        *,
        report: Callable[[ProcessesStatus], None] | None = None,
        random: Callable[[], float] = _random.random,
    ) -> None:
        self._options = options
        self._report = report
        self._random = random
        self._seats: list[Seat] = []
        self._leaving: set[Child] = set()  # let go of their shards, and drain
        self._started: Started | None = None
        self._path: Path | None = None
        self._token = ""
        self._closing = asyncio.Event()
        self._error: WorkerFailed | None = None
        self._exit_code = 0
        self._rolling: asyncio.Task[None] | None = None
        self._terminal = _terminal()
        self._signals = 0
        self._told: ProcessesStatus | None = None
        self._watching = Watching(options.metrics)

    async def run(self) -> int:
        """
        Run until the end, which a signal, or `close()`, or a worker begins; return the exit code.

        Raises:
            FastgwError: there is no such module, the API refuses, or nothing can be started.
            WorkerFailed: a worker cannot be started, or was refused for good.
        """
        check_module(self._options.target)
        self._token = token_of_command()
        self._path = choose_store(self._options, bot_id_of(self._token))
        with self._signals_heard():
            try:
                if not await self._ask():
                    return 0
                self._watching.start(self._seats, self.status().shard_count)
                await self._run()
            finally:
                await self._end_all()
                self._watching.close()
        if self._error is not None:
            raise self._error
        return self._exit_code

    def close(self) -> None:
        """Begin the end: workers drain."""
        self._closing.set()

    def replace_workers(self) -> None:
        """Begin a rolling restart, if none is under way."""
        if self._rolling is not None and not self._rolling.done():
            log.warning("workers are being replaced already")
        elif self._seats and not self._closing.is_set():
            self._rolling = asyncio.get_running_loop().create_task(self._replace_all())
            self._rolling.add_done_callback(_tell_why)

    def status(self) -> ProcessesStatus:
        """Return how all of it is now."""
        is_closing = self._closing.is_set()
        return ProcessesStatus(
            workers=tuple(seat.status(is_closing=is_closing) for seat in self._seats),
            shard_count=0 if self._started is None else self._started.shard_count,
            is_closing=is_closing,
            is_rolling=self._rolling is not None and not self._rolling.done(),
        )

    # --- starting --------------------------------------------------------------------------------

    async def _ask(self) -> bool:
        """Ask the API and decide the shards; False when the end came first."""
        asking = asyncio.ensure_future(ask(self._options, self._token, self._random))
        closing = asyncio.ensure_future(self._closing.wait())
        try:
            await asyncio.wait((asking, closing), return_when=asyncio.FIRST_COMPLETED)
            if not asking.done():
                return False
            self._started = started = asking.result()
        finally:
            asking.cancel()
            closing.cancel()
        parts: list[tuple[int, ...] | None] = [*split(started.shard_ids, self._options.processes)]
        if self._options.is_sharing:
            parts = [None] * self._options.processes
        if len(parts) < self._options.processes:
            log.warning(
                "%d processes are more than %s can use: starting %s",
                self._options.processes, counted(len(started.shard_ids), "shard"),
                counted(len(parts), "process", "processes"),
            )  # fmt: skip
        self._seats = [Seat(i, ids, Restarts(self._random)) for i, ids in enumerate(parts)]
        return True

    async def _run(self) -> None:
        service = ServiceTeller(ServiceManager(os.environ, os.getpid()))
        keepers = [asyncio.ensure_future(self._keep(seat)) for seat in self._seats]
        try:
            while not self._closing.is_set():
                self._kill_the_silent()
                self._watching.look(self._leaving)
                service.tell(self.status())
                self._show()
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(self._closing.wait(), TICK_S)
                for keeper in keepers:
                    if keeper.done() and not keeper.cancelled():
                        keeper.result()  # a bug of ours must not look like a quiet bot
        finally:
            self._closing.set()
            service.tell(self.status())
            tasks = [*keepers, *([] if self._rolling is None else [self._rolling])]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _spawn(self, seat: Seat) -> Child:
        started = self._started
        assert started is not None
        return await Child.start(
            assignment_of(self._options, started, self._path, seat.index, seat.given),
            stdout=self._options.stdout,
            stderr=self._options.stderr,
        )

    # --- keeping ---------------------------------------------------------------------------------

    async def _keep(self, seat: Seat) -> None:
        """Have a process run the shards of a seat, as long as all of it runs."""
        child: Child | None = None
        wait_s: float | None = 0.0
        while wait_s is not None:
            await asyncio.sleep(wait_s)
            async with seat.lock:
                if seat.child is child:  # it has ended; another one is a successor
                    try:
                        seat.run_by(await self._spawn(seat))
                    except OSError as error:  # no process, thread, memory or descriptor
                        wait_s = self._not_spawned(seat, error)
                        continue
                child = seat.child
            assert child is not None
            if not await child.is_prepared(start_timeout_s := self._options.start_timeout_s):
                if not child.has_ended:
                    await child.end_hanging(start_timeout_s)
            elif not child.is_told_to_go:
                child.go()
            await child.released.wait()  # it has ended, or drains while a successor runs its shards
            async with seat.lock:  # while it is replaced, that decides what comes next
                is_replaced = seat.child is not child
            if is_replaced:
                wait_s = 0.0
            else:
                await asyncio.wait((child.ended,))
                wait_s = self._after(seat, child)

    def _not_spawned(self, seat: Seat, error: OSError) -> float:
        """Return in how many seconds to try again; the others run, and their shards with them."""
        wait_s = seat.restarts.refused()
        log.error(
            "no process can be started for worker %d (%s); it is tried again in %.1f s",
            seat.index, error, wait_s,
        )  # fmt: skip
        return wait_s

    def _after(self, seat: Seat, child: Child) -> float | None:
        """Return in how many seconds the next one starts; None when this was the end of all."""
        if self._closing.is_set():
            return None
        failure, code = child.failure, child.ended.result()
        if failure is None and child.clean_code is not None:
            log.info("worker %d ended by itself: the others are ended, too", seat.index)
            self._exit_code = child.clean_code
            self.close()
            return None
        has_started = child.is_told_to_go and (failure is None or failure.at == "run")
        wait_s: float | None = None
        if failure is None or not failure.is_final:
            wait_s = seat.restarts.ended(
                has_started=has_started or (failure is None and _is_from_outside(code)),
                ran_s=time.monotonic() - child.ran_since if has_started else 0.0,
            )
        why = ending(code) if failure is None else failure.error
        if wait_s is None:
            at = "start" if failure is None else failure.at
            self._fail(f"worker {seat.index} failed at {at}: {why}", at, failure)
            return None
        log.warning(
            "worker %d (shards %s) %s: %s; it is started again in %.1f s",
            seat.index, ranges(seat.shard_ids) or "that it had",
            "died" if failure is None else f"failed at {failure.at}", why, wait_s,
        )  # fmt: skip
        if failure is not None and failure.details and seat.restarts.failed_starts <= 1:
            log.warning("%s", failure.details)
        return wait_s

    def _fail(self, text: str, at: str, failure: object) -> None:
        if self._error is None:
            details = getattr(failure, "details", "")
            self._error = WorkerFailed(text, at=at, details=details)
        self.close()

    def _kill_the_silent(self) -> None:
        now = time.monotonic()
        for seat in self._seats:
            child = seat.child
            if child is None or not child.is_told_to_go or child.has_ended:
                continue
            if now - child.heard_at > SILENT_S and not child.is_told_to_end:
                log.error(
                    "worker %d has not been heard of for %.0f s, so its event loop hangs: it is "
                    "killed, and started again",
                    seat.index, now - child.heard_at,
                )  # fmt: skip
                child.signal(signal.SIGKILL)
                child.heard_at = now

    # --- replacing -------------------------------------------------------------------------------

    async def _replace_all(self) -> None:
        log.info("workers are replaced one after another")
        began, started = time.monotonic(), self._started
        assert started is not None
        self._started = await ask_again(self._options, self._token, started)
        for seat in self._seats:
            async with seat.lock:
                if not await self._replace(seat):
                    return
        log.info("all workers are replaced, in %.1f s", time.monotonic() - began)

    async def _replace(self, seat: Seat) -> bool:
        """Replace one worker, under the lock of its seat; False when the rest is better left."""
        before = seat.child
        if before is None or before.has_ended:
            return True  # it is being started anew in any case
        if not before.is_told_to_go and not await self._let_start(seat, before):
            return True
        seat.successor = successor = await self._spawn(seat)
        try:
            await successor.is_prepared(start_timeout_s := self._options.start_timeout_s)
            if problem := unfitness(successor, start_timeout_s):
                log.error(
                    "worker %d is not replaced, nor are those after it: %s. Those before go on",
                    seat.index, problem,
                )  # fmt: skip
                successor.kill()
                await successor.wait_ended(RELEASE_S)
                return False
            if seat.given is None:  # else what is let go of would go to other machines, and back
                successor.go()
                await self._until(lambda: successor.share is not None, successor)
            before.release()
            try:
                await asyncio.wait_for(before.released.wait(), RELEASE_S)
            except asyncio.TimeoutError:
                log.warning("worker %d does not let go of its shards: it is killed", seat.index)
                before.kill()
                await before.wait_ended(RELEASE_S)
            if seat.given is not None:
                successor.go()
            seat.run_by(successor)
        finally:
            if seat.child is not successor:
                successor.kill()
            seat.successor = None
        self._leave(before)
        await self._until_ready(seat, successor)
        return True

    async def _let_start(self, seat: Seat, child: Child) -> bool:
        """
        Let a worker that is starting take its shards, to be replaced: it may have imported what
        was there before. False when it ended instead; `_keep` ends one that hangs.
        """
        is_prepared = await child.is_prepared()
        if is_prepared and not child.is_told_to_go:
            child.go()
        return is_prepared

    def _leave(self, child: Child) -> None:
        """Let a worker drain that has no shards any more."""
        self._leaving.add(child)
        task = asyncio.ensure_future(self._see_off(child))
        task.add_done_callback(lambda _: self._leaving.discard(child))

    async def _see_off(self, child: Child) -> None:
        if not await child.wait_ended(self._options.stop_timeout_s):
            child.kill()
            await asyncio.wait((child.ended,))

    async def _until_ready(self, seat: Seat, child: Child) -> None:
        if not await self._until(lambda: child.ready >= (seat.share or 0), child):
            log.warning(
                "of worker %d %d of %d shards are READY after %.0f s; the next one is replaced",
                seat.index, child.ready, seat.share, SUCCESSOR_READY_S,
            )  # fmt: skip

    async def _until(self, condition: Callable[[], bool], child: Child) -> bool:
        """Wait for something about a successor; False when it does not come to pass."""
        until = time.monotonic() + SUCCESSOR_READY_S
        while not condition() and not child.has_ended:
            if time.monotonic() > until:
                return False
            await asyncio.sleep(TICK_S)
        return True

    # --- ending ----------------------------------------------------------------------------------

    async def _end_all(self) -> None:
        """End every process that there is; kill those that take too long."""
        children = [seat.child for seat in self._seats if seat.child is not None]
        children += [seat.successor for seat in self._seats if seat.successor is not None]
        for child in (*children, *self._leaving):
            child.end()
        pending = {child.ended for child in (*children, *self._leaving)}
        if pending:
            self._show()
            _, pending = await asyncio.wait(pending, timeout=self._options.stop_timeout_s)
        if pending:
            log.warning(
                "%d workers have not ended after %.0f s: they are killed",
                len(pending), self._options.stop_timeout_s,
            )  # fmt: skip
            self._kill_all()
            await asyncio.wait(pending)
        self._show()

    def _kill_all(self) -> None:
        for seat in self._seats:
            for child in (seat.child, seat.successor):
                if child is not None:
                    child.kill()
        for child in self._leaving:
            child.kill()

    # --- signals and the view --------------------------------------------------------------------

    @contextlib.contextmanager
    def _signals_heard(self) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        loop = asyncio.get_running_loop()
        deeds: dict[int, Callable[[], None]] = {
            signal.SIGINT: lambda: self._interrupted(signal.SIGINT),
            signal.SIGTERM: lambda: self._interrupted(signal.SIGTERM),
            signal.SIGHUP: self._hung_up,
        }
        for number, deed in deeds.items():
            loop.add_signal_handler(number, deed)
        try:
            yield
        finally:
            for number in deeds:
                loop.remove_signal_handler(number)

    def _interrupted(self, number: int) -> None:
        self._signals += 1
        if self._signals == 1:
            log.info("%s: workers are ended", signal.Signals(number).name)
            self.close()
        else:
            self._exit_code = 128 + number
            self._kill_all()

    def _hung_up(self) -> None:
        """SIGHUP replaces workers; that of a terminal that is gone is the end."""
        if self._terminal is not None and not os.isatty(self._terminal):
            self._interrupted(signal.SIGHUP)
        else:
            self.replace_workers()

    def _show(self) -> None:
        status = self.status()
        if status != self._told:
            self._told = status
            if self._report is not None:
                self._report(status)


def _tell_why(rolling: asyncio.Task[None]) -> None:
    """Say why a rolling restart broke off: nobody waits for it."""
    if not rolling.cancelled() and (error := rolling.exception()) is not None:
        log.error("workers are not replaced: %s", error, exc_info=error)


def _is_from_outside(code: int) -> bool:
    """Tell whether somebody else killed it (the kernel, out of memory): no fault of the program."""
    return -code in (signal.SIGKILL, signal.SIGTERM)


def _terminal() -> int | None:
    """Return a descriptor that is a terminal; it is none any more once that is gone."""
    return next((number for number in range(3) if os.isatty(number)), None)
