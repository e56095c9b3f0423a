"""
Let mutants loose on the test suite, and name those that live.

    .venv/bin/python tests/mutation/run.py                    all of protocol/, shard/ and fleet/
    .venv/bin/python tests/mutation/run.py --sample 200       so many, chosen by --seed
    .venv/bin/python tests/mutation/run.py src/fastgw/shard   these files or folders only
    .venv/bin/python tests/mutation/run.py src/fastgw/protocol --tests tests/protocol
                                                              and only these tests: much quicker

First every test runs once, and which lines it reaches is written down. Then each mutant gets a
process of its own, forked with all tests collected, in which one function has other code; there run
the tests that reach the changed line, the quickest first, until one fails. A mutant lives when they
all pass. Living mutants are printed as they are found, with how many tests saw them; not each of
them is a hole: some changes make no difference.

Needs the test dependencies and a system with fork. Exit code 0 whatever lives: people read it.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path
from types import FunctionType

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from mutants import Mutant, mutants_of

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "fastgw"
ROOMS = [str(PACKAGE / room) for room in ("protocol", "shard", "fleet")]
# Tests that look at these rooms from near enough; those in other processes see no mutant.
TESTS = ["tests/protocol", "tests/shard", "tests/fleet", "tests/gateway", "tests/delivery"]
LEFT_OUT = ["tests/gateway/test_netns.py", "tests/gateway/test_runner.py"]

Line = tuple[str, int]


class Controller:
    """Runs the mutants where pytest would run the tests."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.items: dict[str, pytest.Item] = {}

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        self.items = {item.nodeid: item for item in session.items}
        mutants = self._mutants()
        say(f"{len(mutants)} mutants, {len(self.items)} tests; first each test once")
        seen_by, seconds = self._coverage()
        living, unseen, killed, began = 0, 0, 0, time.monotonic()
        for number, mutant in enumerate(mutants, 1):
            tests = sorted(seen_by.get((mutant.path, mutant.line), ()), key=seconds.__getitem__)
            if not tests:
                unseen += 1
                say(f"NO TEST  {mutant}")
            elif self._is_killed(mutant, tests := within(self.options.budget, tests, seconds)):
                killed += 1
            else:
                living += 1
                say(f"LIVES    {mutant}  ({len(tests)} tests)")
            if number % 50 == 0:
                passed = time.monotonic() - began
                say(f"         {number} of {len(mutants)}, {passed:.0f} s: {living} live")
        say(f"{len(mutants)} mutants: {killed} killed, {living} live, {unseen} reached by no test")
        return True

    def _mutants(self) -> list[Mutant]:
        found = [
            mutant
            for path in python_files(self.options.paths or ROOMS)
            for mutant in mutants_of(str(path), path.read_text(encoding="utf-8"))
        ]
        if self.options.sample and self.options.sample < len(found):
            chosen = random.Random(self.options.seed).sample(range(len(found)), self.options.sample)
            return [found[index] for index in sorted(chosen)]
        return found

    def _coverage(self) -> tuple[dict[Line, set[str]], dict[str, float]]:
        """Run every test once, in a process that may leave what it likes behind."""
        with tempfile.NamedTemporaryFile(suffix=".json") as file:
            child = os.fork()
            if not child:
                hush()
                reached = {}
                for name, following in pairs(list(self.items)):
                    tracer, start = Tracer(), time.monotonic()
                    sys.settrace(tracer)
                    passed = self._passes(name, following)
                    sys.settrace(None)
                    if passed:  # else nothing that it says about a mutant counts
                        reached[name] = (time.monotonic() - start, sorted(tracer.lines))
                Path(file.name).write_text(json.dumps(reached))
                os._exit(0)
            os.waitpid(child, 0)
            reached = json.loads(Path(file.name).read_text())
        seen_by: dict[Line, set[str]] = defaultdict(set)
        for name, (_, lines) in reached.items():
            for path, line in lines:
                seen_by[path, line].add(name)
        if len(reached) < len(self.items):
            say(f"left out, for they fail by themselves: {sorted(self.items.keys() - reached)}")
        return seen_by, {name: seconds for name, (seconds, _) in reached.items()}

    def _is_killed(self, mutant: Mutant, tests: list[str]) -> bool:
        """Run the tests against a mutant, in a process of its own."""
        child = os.fork()
        if not child:
            hush()
            function_named(mutant).__code__ = mutant.code
            for name, following in pairs(tests):
                if not self._passes(name, following):
                    os._exit(1)
            os._exit(0)
        # A mutant that loops for ever is noticed by everybody.
        until = time.monotonic() + 30.0 + 5.0 * self.options.budget
        while time.monotonic() < until:
            done, status = os.waitpid(child, os.WNOHANG)
            if done:
                return status != 0
            time.sleep(0.005)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        return True

    def _passes(self, name: str, following: str | None) -> bool:
        from _pytest.runner import runtestprotocol

        item = self.items[name]
        reports = runtestprotocol(item, nextitem=self.items.get(following or ""), log=False)
        return not any(report.failed for report in reports)


class Tracer:
    """Notes which lines of the rooms are reached."""

    def __init__(self) -> None:
        self.lines: set[Line] = set()
        self._prefixes = tuple(ROOMS)

    def __call__(self, frame, event, argument):
        if not frame.f_code.co_filename.startswith(self._prefixes):
            return None
        self.lines.add((frame.f_code.co_filename, frame.f_lineno))
        return self._line

    def _line(self, frame, event, argument):
        self.lines.add((frame.f_code.co_filename, frame.f_lineno))
        return self._line


def pairs(names: list[str]) -> Iterator[tuple[str, str | None]]:
    """Pair each with the next: pytest keeps the fixtures that both need."""
    return zip(names, [*names[1:], None], strict=True)


def within(budget_s: float, names: list[str], seconds: dict[str, float]) -> list[str]:
    """Return the first of these tests, at least one, that take no longer than this together."""
    total = accumulate(seconds[name] for name in names)
    return [name for name, end in zip(names, total, strict=True) if end <= budget_s] or names[:1]


def function_named(mutant: Mutant) -> FunctionType:
    """Find the function of the running program that a mutant is to replace."""
    module = ".".join(Path(mutant.path).relative_to(PACKAGE.parent).with_suffix("").parts)
    found = sys.modules[module.removesuffix(".__init__")]
    for name in mutant.function.split("."):
        found = found.__dict__[name]
    found = getattr(found, "fget", None) or getattr(found, "__func__", found)
    while hasattr(found, "__wrapped__"):
        found = found.__wrapped__
    return found


def python_files(paths: list[str]) -> list[Path]:
    """Return the files to mutate, in folders too."""
    found: list[Path] = []
    for path in map(Path, paths):
        found += sorted(path.resolve().rglob("*.py")) if path.is_dir() else [path.resolve()]
    return found


def hush() -> None:
    """Send what a forked process prints nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)


def say(text: str) -> None:
    """Print a line past pytest's capturing."""
    os.write(OUTPUT, f"{text.replace(f'{ROOT}/', '')}\n".encode())


def main() -> int:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(description="Let mutants loose on the test suite.")
    parser.add_argument("paths", nargs="*", help="files or folders (default: three rooms)")
    parser.add_argument("--sample", type=int, default=0, help="so many of all mutants")
    parser.add_argument(
        "--budget", type=float, default=30.0, help="seconds of tests a mutant (default: 30)"
    )
    parser.add_argument("--seed", type=int, default=0, help="which ones (default: 0)")
    parser.add_argument("--tests", nargs="+", default=TESTS, help="files or folders of tests")
    options = parser.parse_args()
    os.chdir(ROOT)
    arguments = ["-q", "-p", "no:cacheprovider", "-p", "no:faulthandler", *options.tests]
    arguments += [f"--ignore={path}" for path in LEFT_OUT]
    return pytest.main(arguments, plugins=[Controller(options)])


if __name__ == "__main__":
    OUTPUT = os.dup(1)
    main()
