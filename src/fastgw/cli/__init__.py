"""The `fastgw` command. `fastgw demo` shows the whole path on your own machine."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="fastgw", description="The Discord gateway core for Python bots."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    demo = commands.add_parser(
        "demo",
        help="a bot against a fake gateway of our own, over TLS and zstd, with its cost",
        description=(
            "Run a bot against a fake gateway in a process of its own: wss on loopback, "
            "zstd-stream, a large bot's traffic. The connection is cut once in the middle. "
            "Exit code 0: resumed, nothing lost, nothing duplicated."
        ),
    )
    demo.add_argument("--seconds", type=_seconds, default=10.0, help="how long (default: 10)")
    demo.add_argument(
        "--rate", type=_rate, default=20_000, help="events per second (default: 20000)"
    )
    demo.add_argument("--plain", action="store_true", help="lines instead of a live view")
    demo.add_argument("--json", action="store_true", help="only the summary, as JSON")
    options = parser.parse_args(arguments)

    from .demo import run_demo  # keeps `fastgw --help` free of the core

    return run_demo(options.seconds, options.rate, plain=options.plain, as_json=options.json)


def _seconds(text: str) -> float:
    value = float(text)
    if not 2 <= value <= 3600:
        raise argparse.ArgumentTypeError("must be between 2 and 3600")
    return value


def _rate(text: str) -> int:
    value = int(text)
    if not 100 <= value <= 1_000_000:
        raise argparse.ArgumentTypeError("must be between 100 and 1000000")
    return value
