"""`run_processes`: what `fastgw run` does, for programs."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable

from ..fleet.stores.sqlite_file import check_path
from ..gateway import API_URL
from .settings import START_TIMEOUT_S, STOP_TIMEOUT_S, ProcessOptions
from .shared import LEASE_S, PREFIX, SharedRedis
from .status import ProcessesStatus
from .supervisor import Supervisor

__all__ = ["run_processes"]


def run_processes(
    target: str,
    *,
    processes: int = 1,
    shard_ids: Iterable[int] | None = None,
    shard_count: int | None = None,
    store: str | os.PathLike[str] | None = None,
    keeps_sessions: bool = True,
    redis: str | None = None,
    redis_prefix: str = PREFIX,
    lease_s: float = LEASE_S,
    api_url: str = API_URL,
    proxy: str | None = None,
    metrics: str | int | None = None,
    stop_timeout_s: float = STOP_TIMEOUT_S,
    start_timeout_s: float = START_TIMEOUT_S,
    report: Callable[[ProcessesStatus], None] | None = None,
) -> int:
    """
    Run a bot in several processes, as `fastgw run` does; block until the end.

    SIGINT and SIGTERM end it cleanly, a second one at once; SIGHUP replaces the workers one after
    another. The token is that of the environment.

    Args:
        target: `module:name` of a Gateway, or of a function without arguments that makes one; it
            is imported in the workers only.
        processes: how many; no more are started than there are shards.
        shard_ids: those of this machine, with shard_count; None for all of the bot.
        shard_count: how many shards the bot has; None for what the API recommends.
        store: file for sessions and identify turns; None for the default: see docs/scaling.md.
        keeps_sessions: False keeps sessions in memory.
        redis: URL of the server that the processes of all machines share, instead of a file; see
            docs/scaling-out.md.
        redis_prefix, lease_s: see `RedisSessionStore`.
        api_url: base of the API, with its version.
        proxy: as of `Gateway`, for what the supervisor asks of the API; the program's own gateway
            has its own.
        metrics: serve those of all workers at this "host:port", or this port of loopback, as
            `Gateway(metrics=)` does.
        stop_timeout_s: how long workers may take to end; then they are killed.
        start_timeout_s: how long a worker may take to import the program and open the store; then
            it is ended, and has failed; three in a row, and so has the bot.
        report: called with the status when it changed, at most four times a second.
    Returns:
        The exit code: 0, or what a handler that raised SystemExit said.
    Raises:
        UsageError: anything that cannot work, or a system without Unix sockets and signals.
        FastgwError: the API refuses.
        WorkerFailed: a worker cannot be started, or was refused for good.
    """
    options = ProcessOptions(
        target=target,
        processes=processes,
        shard_ids=shard_ids,
        shard_count=shard_count,
        store=None if store is None else check_path(store, "store"),
        keeps_sessions=keeps_sessions,
        redis=None if redis is None else SharedRedis(redis, redis_prefix, lease_s),
        api_url=api_url,
        proxy=proxy,
        metrics=metrics,
        stop_timeout_s=stop_timeout_s,
        start_timeout_s=start_timeout_s,
    )
    return asyncio.run(Supervisor(options, report=report).run())
