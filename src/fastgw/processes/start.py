"""What is decided once, before the first worker: the API's answer, the shards, the store."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

from ..errors import ConnectFailed, GatewayInfoError, UsageError
from ..fleet.http.gateway_info import GatewayInfo, ask_until_answered, fetch_gateway_info
from ..gateway import API_URL
from ..log import careful_logger
from ..options import check_proxy
from ..protocol.token import bot_id_of
from .line import Assignment
from .settings import ProcessOptions
from .state_dir import default_store, fleeting

__all__ = ["Started", "ask", "ask_again", "assignment_of", "choose_store"]

log = careful_logger("fastgw.processes")

TIMEOUT_S = 20.0


@dataclass(frozen=True, slots=True)
class Started:
    """
    What all workers share.

    Attributes:
        info: the answer of the API.
        asked_at: when it was asked, in monotonic seconds, which all processes of a machine share.
        shard_ids: those of this machine.
        shard_count: of the bot.
        bot_id: whose token it is; None when that does not tell.
    """

    info: GatewayInfo
    asked_at: float
    shard_ids: tuple[int, ...]
    shard_count: int
    bot_id: int | None


async def ask(options: ProcessOptions, token: str, random: Callable[[], float]) -> Started:
    """
    Ask the API once for all workers, again and again while it does not answer; decide the shards.

    Raises:
        FastgwError: the API refuses.
    """
    asked_at = time.monotonic()
    ask_once = partial(
        fetch_gateway_info,
        options.api_url,
        token,
        timeout_s=TIMEOUT_S,
        proxies=check_proxy(options.proxy),
    )
    info = await ask_until_answered(ask_once, random=random)
    count = options.shard_count or info.shards
    ids = tuple(range(count)) if options.shard_ids is None else tuple(options.shard_ids)
    return Started(info, asked_at, ids, count, bot_id_of(token))


async def ask_again(options: ProcessOptions, token: str, before: Started) -> Started:
    """Ask once, for the workers to come; the old answer stays when there is no new one."""
    asked_at = time.monotonic()
    try:
        info = await fetch_gateway_info(
            options.api_url, token, timeout_s=TIMEOUT_S / 4, proxies=check_proxy(options.proxy)
        )
    except (ConnectFailed, GatewayInfoError) as error:
        log.info("the API was not asked anew: %s", error)
        return before
    if options.shard_count is None and info.shards != before.info.shards:
        log.warning(
            "the API recommends %d shards now, and %d run; a new start takes them",
            info.shards, before.shard_count,
        )  # fmt: skip
    return replace(before, info=info, asked_at=asked_at)


def choose_store(options: ProcessOptions, bot_id: int | None) -> Path | None:
    """
    Return the file for sessions and identify turns; warn if the next deploy does not find it.

    None when they are in Redis.

    Raises:
        UsageError: its directory cannot be made, or the file that was named can be none.
    """
    if options.redis is not None:
        return None
    if options.store is None:
        path = default_store(os.environ, bot_id, options.api_url)
    else:
        path = options.store.absolute()
    if not os.path.isdir(path.parent):
        raise UsageError(
            f"the store {path} cannot be: {path.parent} is no directory; make it, or name "
            f"another file"
        )
    if os.path.isdir(path):
        raise UsageError(f"the store {path} cannot be: that is a directory; name a file in it")
    if options.keeps_sessions and (why := fleeting(path, os.environ)) is not None:
        log.warning("the next start may have to identify every shard: %s", why)
    return path


def assignment_of(
    options: ProcessOptions,
    started: Started,
    path: Path | None,
    index: int,
    shard_ids: tuple[int, ...] | None,
) -> Assignment:
    """Return what one worker is told."""
    info = started.info
    limit = info.session_start_limit
    return {
        "target": options.target,
        "log": options.log,
        "index": index,
        "shard_ids": shard_ids,
        "shard_count": started.shard_count,
        "bot_id": started.bot_id,
        "path": None if path is None else str(path),
        "redis": None if options.redis is None else options.redis.as_json(),
        "store": options.keeps_sessions,
        "api_url": None if options.api_url == API_URL else options.api_url,
        "asked_at": started.asked_at,
        "info": {"url": info.url, "shards": info.shards, "limit": limit and asdict(limit)},
    }
