"""The `fastgw` command. `fastgw demo` shows the whole path on your own machine."""

from __future__ import annotations

import argparse
import difflib
import errno
import io
import os
import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import FastgwError, Interrupted
from ..version import __version__
from . import doctor, explain, fake, record, replay, run, tail, top
from ._numbers import seconds, whole

if TYPE_CHECKING:
    _Commands = argparse._SubParsersAction[argparse.ArgumentParser]

__all__ = ["main"]

# Exit codes beside those of the programs; the last two as shells count a death by signal.
_CANNOT_RUN = 2
_INTERRUPTED = 130  # SIGINT
_PIPE_CLOSED = 141  # SIGPIPE

# The programs that have all they need in a module of their own.
_OTHERS: dict[str, Any] = {
    "doctor": doctor, "explain": explain, "tail": tail, "top": top, "record": record,
    "replay": replay, "fake": fake,
}  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    _prepare_output()
    try:
        return _run(arguments)
    except (KeyboardInterrupt, Interrupted):  # the latter where a handler was running
        return _INTERRUPTED
    except FastgwError as error:
        sys.stderr.write(f"fastgw: {error}\n")
        return _CANNOT_RUN
    except OSError as error:
        if not _is_pipe_closed(error):  # as in `fastgw demo | head`
            raise
        # What is still buffered has nowhere to go; the interpreter would complain at its exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _PIPE_CLOSED


def _run(arguments: Sequence[str] | None) -> int:
    arguments = sys.argv[1:] if arguments is None else arguments
    parser, commands = _parser()
    if not arguments:
        parser.print_help(sys.stderr)
        return _CANNOT_RUN
    if not arguments[0].startswith("-") and arguments[0] not in commands:
        parser.error(f"there is no command {arguments[0]!r}; {_nearest(arguments[0], commands)}")
    options = parser.parse_args(arguments)
    if options.command == "run":
        return run.run(options)
    if options.command in _OTHERS:
        code: int = _OTHERS[options.command].run(options)
        return code

    from .demo import run_demo

    return run_demo(
        options.seconds,
        options.rate,
        shards=options.shards,
        plain=options.plain,
        as_json=options.json,
        report=options.report,
    )


def _nearest(name: str, commands: Collection[str]) -> str:
    """Say which command it may be a slip of, else where they stand."""
    likely = difflib.get_close_matches(name, commands, 1)
    return f"did you mean {likely[0]}?" if likely else "`fastgw --help` lists them"


def _parser() -> tuple[argparse.ArgumentParser, Collection[str]]:
    """Return the parser, and the names of the commands that it knows."""
    parser = argparse.ArgumentParser(
        prog="fastgw", description="The Discord gateway core for Python bots."
    )
    parser.add_argument("--version", action="version", version=f"fastgw {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_demo(commands)
    _add_run(commands)
    for name, module in _OTHERS.items():
        module.add_arguments(
            commands.add_parser(name, help=module.HELP, description=module.DESCRIPTION)
        )
    return parser, commands.choices


def _add_demo(commands: _Commands) -> None:
    demo = commands.add_parser(
        "demo",
        help="a bot against a fake gateway of our own, over TLS and zstd, with its cost",
        description=(
            "Run a bot against a fake gateway in a process of its own: wss on loopback, "
            "compressed, a large bot's traffic. All connections are cut once in the middle. "
            "Exit code 0: resumed, nothing lost, nothing duplicated; 1: not so; 2: cannot run here."
        ),
    )
    demo.add_argument(
        "--seconds", type=seconds(2, 3600), default=10.0, help="how long (default: 10)"
    )
    demo.add_argument(
        "--rate",
        type=whole(100, 1_000_000),
        default=20_000,
        help="events per second (default: 20000)",
    )
    demo.add_argument(
        "--shards", type=whole(1, 1024), default=1, metavar="N",
        help="a fleet of so many shards (default: 1)",
    )  # fmt: skip
    demo.add_argument("--plain", action="store_true", help="lines instead of a live view")
    demo.add_argument("--json", action="store_true", help="only the summary, as JSON")
    demo.add_argument(
        "--report", type=Path, metavar="FILE", help="also one HTML page with the run's charts"
    )


def _add_run(commands: _Commands) -> None:
    run.add_arguments(
        commands.add_parser(
            "run",
            help="a bot in several processes, restarted without losing a session",
            description=(
                "Run MODULE:NAME in worker processes that share out the bot's shards. The token "
                "comes from DISCORD_TOKEN, DISCORD_TOKEN_FILE or a systemd credential. SIGTERM and "
                "Ctrl-C drain and end; SIGHUP replaces the workers one after another, without an "
                "identify. Exit code 0: ended as it was asked to; 1: a worker failed for good; "
                "2: cannot run."
            ),
        )
    )


def _is_pipe_closed(error: OSError) -> bool:
    # The C library of Windows answers a write into a closed pipe with EINVAL.
    is_windows = sys.platform == "win32"
    return isinstance(error, BrokenPipeError) or (is_windows and error.errno == errno.EINVAL)


def _prepare_output() -> None:
    """Let no text break standard output: what its encoding lacks is replaced, no output is fine."""
    _open_streams()
    if sys.stdout is None:  # closed by who started us
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115  for all our life
    elif isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115


def _open_streams() -> None:
    """
    Open the standard streams that who started us closed, here and for every process we start.

    Else the next sockets take their numbers: what prints writes into them, and uvloop aborts.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:  # noqa: PERF203 - three times in a life
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # the lowest that is free
