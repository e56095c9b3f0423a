"""
One worker: `python -m fastgw.processes.worker FD`, started by the supervisor alone.

It imports the program's module, gives its gateway the part of the bot that the supervisor says, and
runs it. On the way it reports: `prepared` when the store is open and shards could be taken, then
waits for `go`; `status` about once a second; `released` when, told to `release`, it has let go of
all shards and others may resume them; `failed` or `ended` at the end.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import sys
import time
import traceback
import uuid
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ..errors import FastgwError, UsageError
from ..fleet.http.gateway_info import GatewayInfo, SessionStartLimit
from ..fleet.placement import Placement
from ..fleet.stores.sqlite_store import SQLiteSessionStore
from ..fleet.turns.sqlite_queue import SQLiteIdentifyQueue
from ..log import careful_logger
from ..metrics.document import document_of
from ..options import token_of_command
from ..protocol.states import State
from ..protocol.token import redact, redact_value
from ..runner import run_until_closed
from .counting import Counting
from .lifeline import end_with
from .line import Assignment, Line
from .logs import JsonFormatter
from .shared import SharedRedis
from .target import is_final, load_gateway

if TYPE_CHECKING:
    from ..gateway import Gateway
    from ..redis.sharing import Sharing
    from ..shard.face import StatusChange

__all__ = ["main"]

log = careful_logger("fastgw.processes")

# The supervisor hears of a worker at least this often, and of its figures every fifth time, and
# when another number of shards is READY.
REPORT_S = 1.0
FIGURES_EVERY = 5
# What a worker exits with that has said why; the supervisor goes by what was said.
FAILED = 1
# Of what an error says, its beginning; of a traceback, its end, where the mistake is named.
MAX_DETAILS = 4_000


class _Work:
    """The gateway as `run_until_closed` runs it, and the reports on the way."""

    def __init__(
        self, line: Line, gateway: Gateway, shard_count: int, sharing: Sharing | None
    ) -> None:
        self._shard_count = shard_count
        self.has_started = False
        self._line = line
        self._gateway = gateway
        self._sharing = sharing
        self._may_go = asyncio.Event()
        self._ready: set[int] = set()
        self._counting = Counting()
        self._tasks: set[asyncio.Task[None]] = set()
        gateway.on_status(self._status_changed)

    async def start(self) -> None:
        """Prepare, wait until the shards may be taken, and start them."""
        loop = asyncio.get_running_loop()

        def told(word: str) -> None:
            with suppress(RuntimeError):  # the loop has ended, and so does the process
                loop.call_soon_threadsafe(self._told, word)

        self._line.hear(told)
        self._spawn(self._report_for_ever())
        await self._gateway.start()
        if self._sharing is not None:
            try:
                await self._sharing.join()
            except BaseException:
                await self._gateway.close()
                raise
        self.has_started = True

    async def may_take(self, is_durable: bool) -> None:
        """Tell that all is prepared; wait for the word."""
        self._line.say("prepared", durable=is_durable)
        await self._may_go.wait()

    async def wait_closed(self) -> None:
        """Wait for the end; raise what it ended with."""
        try:
            await self._gateway.wait_closed()
        finally:
            await self._hand_over()
            for task in self._tasks:
                task.cancel()

    async def close(self) -> None:
        """End it; sessions are kept if the store is durable."""
        self._may_go.set()  # it sees that it is closing
        await self._hand_over()
        await self._gateway.close()

    def _told(self, word: str) -> None:
        if word == "go":
            self._may_go.set()
        elif word == "release":
            self._spawn(self._release())

    async def _release(self) -> None:
        """Let go of all shards at once; handlers that run may end."""
        await self._hand_over()
        shards = self._gateway.shards
        stops = (self._gateway.stop_shard(shard.id) for shard in shards)
        for error in await asyncio.gather(*stops, return_exceptions=True):
            # UsageError: one stopped by itself at the same moment.
            if isinstance(error, Exception) and not isinstance(error, UsageError):
                log.error("a shard was not let go of as it should be", exc_info=error)
        self._line.say("released")
        await self._gateway.close()

    async def _hand_over(self) -> None:
        """Leave the shards to the other members, where they are shared out."""
        if self._sharing is not None:
            await self._sharing.leave()

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # --- reports ---------------------------------------------------------------------------------

    def _status_changed(self, change: StatusChange) -> None:
        self._counting.note(change.shard)
        if change.new is State.READY:
            self._ready.add(change.shard.id)
        else:
            self._ready.discard(change.shard.id)

    async def _report_for_ever(self) -> None:
        beat, told = 0, 0
        while True:
            ready = len(self._ready)
            figures = self._figures() if beat % FIGURES_EVERY == 0 or ready != told else {}
            self._line.say_state(ready=ready, **self._shared(), **figures)
            beat, told = beat + 1, ready
            await asyncio.sleep(REPORT_S)

    def _shared(self) -> dict[str, object]:
        shard_ids = [shard.id for shard in self._gateway.shards]
        share = None if self._sharing is None else self._sharing.share
        return {"shard_ids": shard_ids, "share": share}

    def _figures(self) -> dict[str, object]:
        health, stats = self._gateway.health(), self._gateway.stats()
        return {
            "at": time.monotonic(),
            **self._counting.totals(stats.total, self._gateway.shards),
            "loop_lag_s": health.loop_lag_worst_s,
            "handlers_running": health.handlers_running,
            "document": document_of(
                health,
                stats,
                shard_count=self._shard_count,
                sharing=None if self._sharing is None else self._sharing.figures(),
            ),
        }


def _placement(
    assignment: Assignment, work: _Work, shared: dict[str, Any], sharing: Sharing | None
) -> Placement:
    info = assignment["info"]
    limit = None if info["limit"] is None else SessionStartLimit(**info["limit"])
    return Placement(
        shard_ids=assignment["shard_ids"],
        shard_count=assignment["shard_count"],
        **shared,
        bot_id=assignment["bot_id"],
        api_url=assignment["api_url"],
        info=GatewayInfo(info["url"], info["shards"], limit),
        asked_at=assignment["asked_at"],
        may_take=work.may_take,
        stopped=None if sharing is None else sharing.stopped,
    )


def _shared(assignment: Assignment, gateway: Gateway) -> tuple[dict[str, Any], Sharing | None]:
    """Return what the processes of a machine share in a file, or those of all in Redis."""
    if assignment["redis"] is None:
        path = assignment["path"]
        store = SQLiteSessionStore(path) if assignment["store"] else None
        return {"store": store, "identify_queue": SQLiteIdentifyQueue(path)}, None
    redis, owner, sharing = SharedRedis(**assignment["redis"]), uuid.uuid4().hex, None
    if assignment["shard_ids"] is None:
        sharing = redis.sharing(gateway, owner, assignment["shard_count"])
    parts = {
        "store": redis.store(owner),
        "publishing_store": redis.store(owner, "handled"),
        "identify_queue": redis.identify_queue(),
    }
    return {**parts, "is_exclusive": True}, sharing


def _prepare_logging(index: int, form: str) -> None:
    """Where the program has not said how it logs, let what is wrong be seen, with its worker."""
    if logging.getLogger().handlers:
        return
    if form == "json":
        handler = logging.StreamHandler()
        handler.setFormatter(JsonFormatter(index))
        logging.basicConfig(level=logging.INFO, handlers=[handler])
        logging.captureWarnings(True)
    else:
        logging.basicConfig(
            level=logging.WARNING,
            format=f"%(asctime)s %(levelname)s worker {index} %(name)s: %(message)s",
        )


def main(arguments: list[str]) -> int:
    """Run one worker; returns its exit code."""
    sock = socket.socket(fileno=int(arguments[0]))
    sock.set_inheritable(False)  # what the program starts is no part of it
    line = Line(sock)
    assignment = line.first()
    end_with(assignment["supervisor_pid"])
    at = "import"
    work: _Work | None = None
    if assignment["log"] == "json" and logging.lastResort is not None:
        # What is logged before the program has said how: while it is imported.
        logging.lastResort.setFormatter(JsonFormatter(assignment["index"]))
    try:
        gateway = load_gateway(assignment["target"])
        _prepare_logging(assignment["index"], assignment["log"])
        at = "start"
        shared, sharing = _shared(assignment, gateway)
        work = _Work(line, gateway, assignment["shard_count"], sharing)
        gateway.place(_placement(assignment, work, shared, sharing))
        run_until_closed(work)
    except KeyboardInterrupt:
        return 130
    except SystemExit as error:
        if at == "import":
            return _failed(line, at, error)
        line.say_last("ended", code=_code(error))
        return _code(error)
    except BaseException as error:
        return _failed(line, "run" if work is not None and work.has_started else at, error)
    line.say_last("ended", code=0)
    return 0


def _failed(line: Line, at: str, error: BaseException) -> int:
    """Say why; the traceback where it is not an error that says all by itself."""
    is_ours = isinstance(error, FastgwError)
    said = str(error) if is_ours else f"{type(error).__name__}: {error}"
    if isinstance(error, SystemExit):
        said = f"the module ended the process while it was imported (SystemExit: {error.code})"
    details = "" if is_ours else _traceback(error)
    token = ""
    with suppress(UsageError):
        token = token_of_command()
    line.say_last(
        "failed",
        at=at,
        error=_first((redact if is_ours else redact_value)(said, token)),
        details=_last(redact_value(details, token)),
        final=is_final(error),
    )
    return FAILED


def _traceback(error: BaseException) -> str:
    """Return the traceback from the program's own line on."""
    frames = error.__traceback__
    ours = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    while frames is not None:
        name = frames.tb_frame.f_code.co_filename
        if not name.startswith((ours, "<frozen ")) and "importlib" not in name:
            break
        frames = frames.tb_next
    return "".join(traceback.format_exception(type(error), error, frames or error.__traceback__))


def _first(text: str) -> str:
    return text if len(text) <= MAX_DETAILS else f"{text[:MAX_DETAILS]}..."


def _last(text: str) -> str:
    return text if len(text) <= MAX_DETAILS else f"...{text[-MAX_DETAILS:]}"


def _code(error: SystemExit) -> int:
    """Return what the interpreter makes of a SystemExit."""
    if isinstance(error.code, int):
        return error.code
    return 0 if error.code is None else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
