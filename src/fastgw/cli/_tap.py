"""
What `tail` and `record` share: one shard of a real bot, beside the bot itself.

Discord lets a shard be connected more than once: nothing is taken from the bot that runs. It costs
one identify of the day's, which takes its turn in the same file as those of `fastgw run`.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from ..errors import UsageError
from ..gateway import API_URL, Gateway
from ..protocol.wire import MAX_SHARDS
from ..words import Intents
from ._numbers import whole
from ._proxy import add_proxy
from ._terminal import Waiting

__all__ = ["COST", "add_arguments", "make_gateway", "tapped"]

COST = (
    "It connects one shard beside the running bot, with a session of its own, which costs one of "
    "the day's identifies (and another one if Discord ends that session): it waits for its turn in "
    "the file of `fastgw run`, and leaves the reserve alone."
)
TIMEOUT_S = 20.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add which shard, with which intents, counted where."""
    parser.add_argument(
        "--intents", type=_intents, default=Intents.default(), metavar="NAMES",
        help="`default` (all but the privileged), `all`, or names joined by commas",
    )  # fmt: skip
    parser.add_argument(
        "--shard", type=whole(0, MAX_SHARDS - 1), default=0, metavar="ID", help="which (default: 0)"
    )
    parser.add_argument(
        "--shard-count", type=whole(1, MAX_SHARDS), metavar="N",
        help="shards of the bot (default: as recommended)",
    )  # fmt: skip
    parser.add_argument(
        "--store", type=Path, metavar="FILE",
        help="where identifies take their turns (default: as of fastgw run)",
    )  # fmt: skip
    parser.add_argument(
        "--api-url", default=API_URL, metavar="URL",
        help="base of the API, such as that of fastgw fake (default: Discord's)",
    )  # fmt: skip
    add_proxy(parser)


@contextlib.asynccontextmanager
async def tapped(gateway: Gateway) -> AsyncIterator[None]:
    """Run a gateway that `make_gateway` made; its session ends with it."""
    # What stops the shard is raised here, and said by whoever ends the program: once is enough.
    logger = logging.getLogger("fastgw.gateway")
    logger.addFilter(_is_not_critical)
    try:
        await gateway.start()
        try:
            yield
        finally:
            await gateway.close(end_session=True)
    finally:
        logger.removeFilter(_is_not_critical)


def _is_not_critical(record: logging.LogRecord) -> bool:
    return record.levelno < logging.CRITICAL


async def make_gateway(options: argparse.Namespace, waiting: Waiting) -> tuple[Gateway, int]:
    """
    Return a gateway for the shard that was asked for, and the number of all; say what it costs.

    Raises:
        FastgwError: there is no token, the API refuses, or that shard cannot be.
    """
    from ..fleet.http.gateway_info import fetch_gateway_info
    from ..fleet.turns.sqlite_queue import SQLiteIdentifyQueue
    from ..options import check_proxy, token_of_command
    from ..processes.state_dir import default_store
    from ..protocol.token import bot_id_of

    token = token_of_command()
    waiting.show(text="asking the API")
    info = await fetch_gateway_info(
        options.api_url, token, timeout_s=TIMEOUT_S, proxies=check_proxy(options.proxy)
    )
    path = options.store or default_store(os.environ, bot_id_of(token), options.api_url)
    count = options.shard_count or info.shards
    if options.shard >= count:
        raise UsageError(
            f"--shard {options.shard} is none of the bot's, which are 0 to {count - 1}"
        )
    gateway = Gateway(
        token,
        intents=options.intents,
        shards=[options.shard],
        shard_count=count,
        info=info,
        proxy=options.proxy,
        identify_queue=SQLiteIdentifyQueue(path),
    )
    limit = info.session_start_limit
    left = "" if limit is None else f" of the {limit.remaining:,} that are left"
    sys.stderr.write(
        f"fastgw: shard {options.shard} of {count} costs one identify{left}, by turn in {path}\n"
    )
    return gateway, count


def _intents(text: str) -> Intents:
    if text in ("default", "all"):
        return Intents.default() if text == "default" else Intents.all()
    intents = Intents.none()
    for name in text.upper().split(","):
        if (intent := Intents.__members__.get(name.strip())) is None:
            known = ", ".join(Intents.__members__)
            raise argparse.ArgumentTypeError(f"{name.strip()!r} is no intent; those are {known}")
        intents |= intent
    return intents
