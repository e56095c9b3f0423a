"""`fastgw explain module:bot`: which events a bot of another library needs, without running it."""

from __future__ import annotations

import argparse
import asyncio
import inspect
import json
import sys
import warnings
from collections.abc import Callable
from dataclasses import asdict

from ..errors import UsageError
from ..ext.attach import attach, attachment_of
from ..ext.attachment import Attachment
from ..gateway import Gateway
from ..processes.target import check_target, import_target
from ._terminal import columns

__all__ = ["DESCRIPTION", "HELP", "add_arguments", "run"]

HELP = "which events a bot of discord.py, hikari and the like needs, and why"
DESCRIPTION = (
    "Import MODULE:NAME, a bot of another library, and print what fastgw.attach() would deliver to "
    "it, event by event, because of what, and which intents and caches could go. Nothing is run; "
    "listeners that come while the bot runs, such as cogs that setup_hook loads, are not seen. "
    "Exit code 0; 2: there is no such bot."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `fastgw explain` takes."""
    parser.add_argument(
        "target", metavar="MODULE:NAME", help="a bot, or a function that makes one, such as bot:bot"
    )
    parser.add_argument("--json", action="store_true", help="as a JSON object")


def run(options: argparse.Namespace) -> int:
    """Print the explanation of a bot; returns the exit code."""
    # In a loop that runs no library can run a bot, and those that ask for a loop get one.
    explanation = asyncio.run(_find(options.target)).explain()
    if options.json:
        said = json.dumps(asdict(explanation))
    else:  # what reads a pipe has no columns, and counts lines
        said = explanation.text(columns() - 1 if sys.stdout.isatty() else None)
    sys.stdout.write(said + "\n")
    return 0


async def _find(target: str) -> Attachment:
    module_name, name = check_target(target)
    try:
        found: object = import_target(module_name)
        for part in name.split("."):
            if not hasattr(found, part):
                raise UsageError(f"{target}: there is no {part!r} in {module_name}")
            found = getattr(found, part)
        if inspect.isfunction(found):
            found = _call(found, target)
    except RuntimeError as error:
        if "event loop" not in str(error):
            raise
        warnings.simplefilter("ignore", RuntimeWarning)  # of the coroutine that it would have run
        raise UsageError(
            f"{target} runs its bot while it is imported: put that under "
            '`if __name__ == "__main__":`'
        ) from error
    if inspect.iscoroutine(found):
        found = await found
    if isinstance(found, Gateway):
        raise UsageError(
            f"{target} is a Gateway of fastgw, which gets the events that its handlers name; this "
            "explains bots of other libraries"
        )
    if isinstance(found, Attachment):
        return found
    return attachment_of(found) or attach(found)


def _call(function: Callable[..., object], target: str) -> object:
    try:
        inspect.signature(function).bind()
    except TypeError as error:
        raise UsageError(f"{target} is called without arguments: {error}") from error
    return function()
