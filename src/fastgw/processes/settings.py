"""What a supervisor is told, checked."""

from __future__ import annotations

import math
import signal
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import UsageError
from ..gateway import API_URL
from ..options import check_metrics, check_proxy, check_shards
from ..protocol.wire import MAX_SHARDS
from .shared import SharedRedis
from .target import check_target

__all__ = ["MAX_PROCESSES", "START_TIMEOUT_S", "STOP_TIMEOUT_S", "ProcessOptions"]

# More than that on one machine is a slip of the hand.
MAX_PROCESSES = 1_024
STOP_TIMEOUT_S = 30.0
# To import the program and open the store takes seconds. One that hangs there keeps its shards from
# everybody, and every later SIGHUP waiting.
START_TIMEOUT_S = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessOptions:
    """
    What to run, and in how many processes.

    Args:
        target: `module:name` of a Gateway, or of a function without arguments that makes one.
        processes: how many; no more are started than there are shards.
        shard_ids: those of this machine, with shard_count; None for all of the bot, or with redis
            for a fair share of them.
        shard_count: how many shards the bot has; None for what the API recommends.
        store: file for sessions and identify turns; None for the default: see docs/scaling.md.
        keeps_sessions: False keeps sessions in memory, for bots that cannot do without READY and
            GUILD_CREATE; identify turns are in the file all the same.
        redis: where sessions, leases and identify turns are instead, for several machines; then
            there is no file.
        api_url: base of the API, with its version.
        proxy: as of `Gateway`, for what the supervisor asks of the API; None connects directly.
        metrics: host:port, or a port of loopback, to serve those of all workers at; None nowhere.
        log: "text" or "json": how workers log whose program has not said how.
        stdout, stderr: descriptors that workers have there; None for the supervisor's own.
        stop_timeout_s: how long workers may take to end; then they are killed.
        start_timeout_s: how long a worker may take to import the program and open the store; then
            it is ended, and has failed at import or start.
    Raises:
        UsageError: anything that cannot work, or a system without Unix sockets and signals; the
            text says what to do.
    """

    target: str
    processes: int = 1
    shard_ids: Iterable[int] | None = None
    shard_count: int | None = None
    store: Path | None = None
    keeps_sessions: bool = True
    redis: SharedRedis | None = None
    api_url: str = API_URL
    proxy: str | None = field(default=None, repr=False)  # may hold a password
    metrics: str | int | None = None
    log: str = "text"
    stdout: int | None = None
    stderr: int | None = None
    stop_timeout_s: float = STOP_TIMEOUT_S
    start_timeout_s: float = START_TIMEOUT_S

    @property
    def is_sharing(self) -> bool:
        """Whether these processes share the shards out with those of other machines."""
        return self.redis is not None and self.shard_ids is None

    def __post_init__(self) -> None:
        if not hasattr(signal, "SIGHUP"):
            raise UsageError(
                "several processes need a POSIX system; here gateway.run() runs the bot"
            )
        check_target(self.target)
        if not _is_whole(self.processes) or not 1 <= self.processes <= MAX_PROCESSES:
            raise UsageError(
                f"processes={self.processes!r} is not a number of processes, 1 to {MAX_PROCESSES}"
            )
        count = self.shard_count
        if count is not None and not (_is_whole(count) and 1 <= count <= MAX_SHARDS):
            raise UsageError(f"shard_count={count!r} is not a number of shards, 1 to {MAX_SHARDS}")
        if self.shard_ids is not None:
            ids = check_shards(self.shard_ids, count)
            object.__setattr__(self, "shard_ids", ids)
        if self.redis is not None and (self.store is not None or not self.keeps_sessions):
            raise UsageError(
                "with redis= sessions and identify turns are kept there: leave --store and "
                "--in-memory out"
            )
        check_proxy(self.proxy)
        check_metrics(self.metrics)
        if self.log not in ("text", "json"):
            raise UsageError(f'log={self.log!r} is neither "text" nor "json"')
        for name in ("stop_timeout_s", "start_timeout_s"):
            seconds = getattr(self, name)
            if type(seconds) not in (int, float) or not 0 < seconds < math.inf:
                raise UsageError(f"{name}={seconds!r} is not a number of seconds above 0")


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
