"""`fastgw fake`: a gateway of one's own to try a bot against, with the traffic of a large bot."""

from __future__ import annotations

import argparse
import asyncio
import secrets
import time
from itertools import cycle, islice
from typing import TYPE_CHECKING

from ._interrupts import run_to_the_end
from ._numbers import whole
from ._pace import Pace
from ._serving import announce, listening, report
from ._terminal import Waiting

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..testing import Dispatch, FakeGateway, FakePeer

__all__ = ["DESCRIPTION", "HELP", "add_arguments", "run"]

HELP = "a fake gateway to try a bot against, with traffic"
DESCRIPTION = (
    "Serve a fake Discord gateway, with its API, on this machine: any token is taken, bots get "
    "READY, their guilds and synthetic events until Ctrl-C. With --refuse it shows what a bot says "
    "when Discord does not take it. Exit code 130: Ctrl-C; 2: cannot run."
)
PROFILES = ("large", "no-presences", "messages", "interactions", "quiet")
# What Discord says to a bot that it does not take: of the API its answer to a wrong token, of the
# gateway the close codes after which nobody is to try again (Discord docs, "Gateway close event
# codes"), with their words.
REFUSALS = {
    "401": "Unauthorized",
    "4004": "Authentication failed.",
    "4010": "Invalid shard.",
    "4011": "Sharding required.",
    "4013": "Invalid intent(s).",
    "4014": "Disallowed intent(s).",
}
# Made once and sent over and over: making an event costs more than sending it.
POOL = 5_000
TICK_S = 0.02


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `fastgw fake` takes."""
    parser.add_argument(
        "--profile", choices=PROFILES, default="large",
        help="what is sent: a large bot's mix, the same without presences, messages and their "
        "reactions only, interactions only, or nothing after the start (default: large)",
    )  # fmt: skip
    parser.add_argument(
        "--rate",
        type=whole(1, 100_000),
        default=50,
        metavar="N",
        help="events per second (default: 50)",
    )
    parser.add_argument(
        "--guilds",
        type=whole(1, 1_024),
        default=20,
        metavar="N",
        help="guilds of the bot (default: 20)",
    )
    parser.add_argument(
        "--shards",
        type=whole(1, 1_024),
        default=1,
        metavar="N",
        help="shards to recommend (default: 1)",
    )
    parser.add_argument(
        "--refuse", choices=REFUSALS, metavar="CODE",
        help="refuse bots as Discord does: 401, the API refuses the token; 4004, the gateway does; "
        "4014, privileged intents are not enabled; 4010, 4011, 4013, the other close codes that "
        "end a bot for good",
    )  # fmt: skip
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1)"
    )
    parser.add_argument(
        "--port", type=whole(0, 65_535), default=0, help="port to listen on (default: a free one)"
    )
    parser.add_argument("--json", action="store_true", help="only the URLs, as a JSON object")


def run(options: argparse.Namespace) -> int:
    """Serve until Ctrl-C; returns the exit code."""
    return run_to_the_end(_serve(options))


async def _serve(options: argparse.Namespace) -> int:
    from ..testing import FakeGateway, Traffic
    from ..words import Intents

    traffic = Traffic(seed=1, guilds=options.guilds, mix=_mix(options.profile))
    rate = 0 if options.profile == "quiet" else options.rate
    fake = FakeGateway(
        host=options.host,
        port=options.port,
        guilds=traffic.startup(),
        recommended_shards=options.shards,
        max_concurrency=16,
        token=secrets.token_hex() if options.refuse == "401" else None,
        allowed_intents=Intents.default() if options.refuse == "4014" else None,
    )
    what = f"{options.guilds} guilds, {rate} events per second ({options.profile})"
    if options.refuse is not None:
        what = _refuse(fake, options.refuse)
    async with listening(fake, options.host, options.port):
        announce(fake, what, as_json=options.json)
        with Waiting("", is_quiet=options.json) as waiting:
            pool = traffic.dispatches(POOL if rate else 0)
            await asyncio.gather(report(fake, waiting), _send(fake, pool, rate))
    return 0


def _refuse(fake: FakeGateway, code: str) -> str:
    """Let it refuse bots, as far as its options do not; return what it does, in words."""
    from ..testing import Moment

    said = f"{code} {REFUSALS[code]}".rstrip(".")
    if code == "401":
        return f"the API refuses every token: {said}"
    if code == "4014":
        return f"bots that ask for privileged intents are refused: {said}"

    def close(peer: FakePeer) -> None:
        peer.close(int(code), REFUSALS[code])

    for moment in (Moment.IDENTIFY, Moment.RESUME):
        fake.instead_of(moment, close, times=None)
    return f"every bot is refused: {said}"


async def _send(fake: FakeGateway, pool: list[Dispatch], rate: int) -> None:
    """Send the pool over and over, to whoever is connected."""
    pace, endless = Pace(rate, time.monotonic()), cycle(pool)
    while pool:
        due = list(islice(endless, pace.due(time.monotonic())))
        if fake.connections:
            fake.dispatch_many(due)
        await asyncio.sleep(TICK_S)


def _mix(profile: str) -> Mapping[str, float]:
    from ..testing.traffic import traffic

    return {
        "interactions": traffic.INTERACTIONS,
        "messages": traffic.MESSAGES,
        "no-presences": traffic.WITHOUT_PRESENCES,
    }.get(profile, traffic.LARGE_BOT)
