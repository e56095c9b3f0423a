"""`fastgw doctor`: what would keep this bot from running here, and what to do about it."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import sys
import textwrap
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from ..gateway import API_URL
from ..options import check_proxy
from ._numbers import whole
from ._proxy import add_proxy
from ._terminal import Waiting, columns, is_live, is_rich

if TYPE_CHECKING:
    from ._checks import Check

__all__ = ["DESCRIPTION", "HELP", "add_arguments", "run"]

HELP = "whether a bot can run here: token, budget, network, versions"
DESCRIPTION = (
    "Look at this installation, this machine, the way to Discord and the bot whose token is in "
    "DISCORD_TOKEN, DISCORD_TOKEN_FILE or a systemd credential. Nothing is connected, and no "
    "identify is spent. Exit code 0: nothing failed; 1: something did; 2: cannot run."
)
_COLOURS = {"ok": "green", "warn": "yellow", "fail": "bold red", "skip": "bright_black"}
# Columns of the verdict and of the name.
_INDENT = 25


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `fastgw doctor` takes."""
    parser.add_argument(
        "--api-url", default=API_URL, metavar="URL",
        help="base of the API, such as FakeGateway's api_url (default: Discord's)",
    )  # fmt: skip
    add_proxy(parser)
    parser.add_argument(
        "--processes", type=whole(1, 1024), default=1, metavar="N",
        help="how many share the shards (default: 1)",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="one JSON object")


def run(options: argparse.Namespace) -> int:
    """Look at everything; returns the exit code."""
    checks = asyncio.run(_look(options))
    failed = sum(check.verdict.value == "fail" for check in checks)
    warned = sum(check.verdict.value == "warn" for check in checks)
    if options.json:
        verdict = "fail" if failed else "warn" if warned else "ok"
        facts = {"verdict": verdict, "checks": [asdict(check) for check in checks]}
        sys.stdout.write(json.dumps(facts, indent=2) + "\n")
    else:
        print(f"\n{len(checks)} checks: {failed} failed, {warned} warned")
    return 1 if failed else 0


async def _look(options: argparse.Namespace) -> list[Check]:
    """Go through all checks, and show each as it is answered."""
    from ._checks import check_all

    is_quiet = options.json
    show = _painter()
    checks = []
    with Waiting("waiting for an answer", is_quiet=is_quiet) as waiting:
        ticking = asyncio.ensure_future(_tick(waiting))
        try:
            async for check in check_all(
                options.api_url, proxies=check_proxy(options.proxy), processes=options.processes
            ):
                checks.append(check)
                if not is_quiet:
                    waiting.clear()
                    show(check)
        finally:
            ticking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await ticking
    return checks


async def _tick(waiting: Waiting) -> None:
    while True:
        waiting.show()
        await asyncio.sleep(0.1)


def _painter() -> Any:
    """Return what shows a check: in colour where that is possible."""
    if not is_live(sys.stdout) or not is_rich():
        return lambda check: print("\n".join(_lines(check)), flush=True)
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False)

    def show(check: Check) -> None:
        first, *others = _lines(check)
        verdict = check.verdict.value
        console.print(Text.assemble((verdict, _COLOURS[verdict]), first[len(verdict) :]))
        for line in others:
            console.print(Text(line))

    return show


def _lines(check: Check) -> list[str]:
    """Return a check as lines that fit the terminal: verdict, name, what was found, what to do."""
    head = f"{check.verdict.value:<6}{check.name:<{_INDENT - 6}}"
    width = min(columns() - 1, 110)
    lines = textwrap.wrap(
        check.found, width, initial_indent=head, subsequent_indent=" " * _INDENT
    )  # fmt: skip
    if check.advice:
        lines += textwrap.wrap(
            check.advice, width,
            initial_indent=" " * (_INDENT - 3) + "-> ", subsequent_indent=" " * _INDENT,
        )  # fmt: skip
    return lines
