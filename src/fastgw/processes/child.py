"""One worker as its supervisor sees it: started, told, heard, ended."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import signal
import socket
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .line import Assignment, Words, decode, socket_pair
from .sd_notify import without_manager

if TYPE_CHECKING:
    from ..metrics.document import Document

__all__ = ["Child", "Failure"]

# A worker that has said its last ends at once, unless a thread of the program keeps it up.
ENDING_S = 5.0
# What a dead worker said is in our buffer already; what it forked may hold the line open.
LAST_WORDS_S = 1.0
# Bytes of a message: the figures of a shard are a kilobyte, of an event name a tenth of that.
MAX_LINE = 1 << 23


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a worker ended by itself; see `WorkerFailed`. `is_final`: trying again cannot help."""

    at: str
    error: str
    details: str
    is_final: bool


class Child:
    """
    A worker's process. Made by `start`.

    Attributes:
        pid: of the process.
        started_at: when, in monotonic seconds.
        heard_at: when it last said something.
        prepared: done when it could take its shards, with whether its store is durable; cancelled
            when it ends before.
        released: set when it has let go of all shards, and when it has ended.
        ended: done when the process has, with its exit code, negative for a signal.
        is_told_to_go: it was allowed to take its shards.
        ran_since: when that was.
        is_told_to_end: its end is wanted.
        ready: how many of its shards are READY.
        shard_ids, share: what it runs, and how many it should, where it takes a share by itself.
        figures: as it reported them last.
        document: for metrics, as it told it last.
        events_per_s: between its last two reports.
        failure: why it ended by itself, if it said so.
        clean_code: what it ended with by itself, without an error; None otherwise.
    """

    def __init__(self, process: asyncio.subprocess.Process, sock: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        self.pid = process.pid
        self.started_at = self.heard_at = self.ran_since = time.monotonic()
        self.prepared: asyncio.Future[bool] = loop.create_future()
        self.released = asyncio.Event()
        self.is_told_to_go = self.is_told_to_end = False
        self.ready = 0
        self.shard_ids: tuple[int, ...] = ()
        self.share: int | None = None
        self.figures: dict[str, Any] = {}
        self.document: Document | None = None
        self.events_per_s = 0.0
        self.failure: Failure | None = None
        self.clean_code: int | None = None
        self._process = process
        self._sock = sock
        self._words = Words(sock)
        self.ended: asyncio.Task[int] = loop.create_task(self._watch())

    @classmethod
    async def start(
        cls, assignment: Assignment, *, stdout: int | None = None, stderr: int | None = None
    ) -> Child:
        """
        Start a worker and tell it what to do.

        It gets a session of its own: what a terminal sends to its foreground (SIGINT for Ctrl-C)
        reaches the supervisor alone, which passes it on once.
        """
        ours, theirs = socket_pair()
        with theirs:
            try:
                process = await asyncio.create_subprocess_exec(
                    sys.executable,
                    "-m",
                    "fastgw.processes.worker",
                    str(theirs.fileno()),
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=stdout,
                    stderr=stderr,
                    pass_fds=(theirs.fileno(),),
                    start_new_session=True,
                    env=without_manager(os.environ),
                )
                child = cls(process, ours)
            except BaseException as error:  # a process that there is by now ends with its line
                ours.close()
                if isinstance(error, RuntimeError):  # Python 3.11 has a thread wait for each
                    raise BlockingIOError(errno.EAGAIN, str(error)) from error
                raise
        child._words.say("work", supervisor_pid=os.getpid(), **assignment)
        return child

    @property
    def has_ended(self) -> bool:
        """Whether the process is no more."""
        return self.ended.done()

    async def is_prepared(self, timeout_s: float | None = None) -> bool:
        """Wait until it could take its shards; False when it ended before, or hangs."""
        await asyncio.wait(
            (self.prepared, self.ended),
            timeout=timeout_s,
            return_when=asyncio.FIRST_COMPLETED,
        )
        return self.prepared.done() and not self.prepared.cancelled()

    async def end_hanging(self, waited_s: float) -> None:
        """End it because it was not prepared after so long: it has failed there."""
        at = "import" if self.heard_at == self.started_at else "start"  # it speaks from then on
        self.signal(signal.SIGTERM)
        if not await self.wait_ended(ENDING_S):
            self.signal(signal.SIGKILL)
            await asyncio.wait((self.ended,))
        if self.failure is None:
            what = "the module was not imported" if at == "import" else "it could take no shards"
            self.failure = Failure(at, f"it hangs: {what} after {waited_s:g} s", "", False)

    def go(self) -> None:
        """Let it take its shards."""
        self.is_told_to_go = True
        self.ran_since = time.monotonic()
        self._words.say("go")

    def release(self) -> None:
        """Let it let go of its shards, then end; sessions stay."""
        self.is_told_to_end = True
        self._words.say("release")

    def signal(self, number: int) -> None:
        """Send a signal; without effect on one that has ended."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)

    def end(self) -> None:
        """Ask for a clean end."""
        self.is_told_to_end = True
        self.signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once."""
        self.is_told_to_end = True
        self.signal(signal.SIGKILL)

    async def wait_ended(self, timeout_s: float) -> bool:
        """Wait for its end; return whether it came in time."""
        done, _ = await asyncio.wait((self.ended,), timeout=timeout_s)
        return bool(done)

    # --- inside ----------------------------------------------------------------------------------

    async def _watch(self) -> int:
        """Hear what it says until the process has ended; return its exit code."""
        reader, writer = await asyncio.open_connection(sock=self._sock, limit=MAX_LINE)
        hearing = asyncio.ensure_future(self._hear(reader))
        try:
            code = await self._process.wait()
            await asyncio.wait((hearing,), timeout=LAST_WORDS_S)
            if hearing.done():
                hearing.result()
            return code
        finally:
            hearing.cancel()
            writer.close()
            self._words.close()
            self.ready, self.shard_ids = 0, ()
            self.released.set()
            self.prepared.cancel()

    async def _hear(self, reader: asyncio.StreamReader) -> None:
        try:
            # A worker that is killed while it speaks leaves half a line, which is no message.
            while (line := await reader.readline()).endswith(b"\n"):
                self._heard(decode(line))
        except OSError:
            pass
        except (ValueError, KeyError, TypeError) as error:
            # Something in that process writes to a descriptor that is not its own, or a message is
            # longer than MAX_LINE. That it is silent from now on must cost nobody but itself.
            self.failure = Failure("run", f"what it said is no message: {error}", "", False)
            self.signal(signal.SIGKILL)

    def _heard(self, message: dict[str, Any]) -> None:
        self.heard_at = time.monotonic()
        kind = message.pop("is")
        if kind == "prepared" and not self.prepared.done():
            self.prepared.set_result(message["durable"])
        elif kind == "released":
            self.ready, self.shard_ids = 0, ()
            self.released.set()
        elif kind == "status":
            self.ready = message.pop("ready")
            self.shard_ids = tuple(message.pop("shard_ids"))
            self.share = message.pop("share")
            if message:
                self._take_figures(message)
        elif kind == "failed":
            self.failure = Failure(
                message["at"], message["error"], message["details"], message["final"]
            )
            self._end_soon()
        elif kind == "ended":
            self.clean_code = message["code"]
            self._end_soon()

    def _end_soon(self) -> None:
        """Let it exit, or kill it; who wants its end anyway sees to that."""
        if not self.is_told_to_end:
            asyncio.get_running_loop().call_later(ENDING_S, self.signal, signal.SIGKILL)

    def _take_figures(self, figures: dict[str, Any]) -> None:
        before, self.document = self.figures, figures.pop("document")
        if before and figures["at"] > before["at"]:
            events = figures["events"] - before["events"]
            self.events_per_s = max(0.0, events / (figures["at"] - before["at"]))
        self.figures = figures
