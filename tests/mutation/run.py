"""
Let mutants loose on the test suite, and name those that live.

    .venv/bin/python tests/mutation/run.py protocol           a room of src/fastgw, with its tests
    .venv/bin/python tests/mutation/run.py src/fastgw/shard/link.py
                                                              a file, with the tests of its room
    .venv/bin/python tests/mutation/run.py fleet --minutes 5  as many as that allows, by --seed
    .venv/bin/python tests/mutation/run.py protocol --tests tests/protocol/test_wire.py
                                                              with these tests only

Without a room it takes protocol/, shard/ and fleet/, one after the other.

First every test runs once, and which lines it reaches is written down. Then each mutant gets a
process of its own, forked with all tests collected, in which one function has other code; there run
the tests that reach the changed line, the quickest first, until one fails. A mutant lives when they
all pass. Living mutants are printed as they are found, with how many tests saw them. Not each of
them is a hole: some changes make no difference, or are made too late, in what runs at import. Those
stand in `not_tried.txt` with the reason.

What was killed is remembered in build/mutants.jsonl until its function changes: a run that was
stopped goes on, and the next run after new tests looks only at what lived (and at what was not
tried, without `--living`). `--fresh` forgets. What lived in the tests of its room may be seen by
those of another: `--living --tests tests/gateway --budget 60`.

Needs the test dependencies and Linux. Exit code 0 whatever lives: people read it.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from types import FunctionType

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from memory import Memory, reasons_of
from mutants import Mutant, mutants_of

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "fastgw"
ROOMS = ["protocol", "shard", "fleet"]
# Quick to change and slow to run: they prove an order of things, which single mutants rarely touch.
LEFT_OUT = ["tests/protocol/test_protocol_machine.py"]
NOT_TRIED = Path(__file__).parent / "not_tried.txt"
REMEMBERED = ROOT / "build" / "mutants.jsonl"
# A mutant that loops for ever must not take the machine's memory with it.
MORE_MEMORY_BYTES = 1 << 30
# Nor may one that waits for ever hold up the others: no test takes as long, on a busy machine
# either.
HANGS_S = 30
LIVES, FAILS, UNFIT = 0, 1, 3

Line = tuple[str, int]


@dataclass
class Trial:
    """A mutant that runs: its process, what it is tried with, until when (monotonic seconds)."""

    mutant: Mutant
    tests: list[str]
    until: float


class Controller:
    """Runs the mutants where pytest would run the tests."""

    def __init__(self, mutants: list[Mutant], memory: Memory, options: argparse.Namespace) -> None:
        self.mutants = mutants
        self.memory = memory
        self.options = options
        self.items: dict[str, pytest.Item] = {}
        self.seen_by: dict[Line, set[str]] = defaultdict(set)
        self.seconds: dict[str, float] = {}
        self.cpu_s: dict[str, float] = {}
        self.costs: dict[str, float] = {}
        self.counts = dict.fromkeys(("killed", "live", "reached by no test"), 0)

    def pytest_sessionstart(self) -> None:
        """Let generated examples be the same for each mutant, and none be looked at twice."""
        from hypothesis import Phase, settings  # pytest wants to be there first

        phases = [Phase.explicit, Phase.generate]  # a failure is enough: nobody reads which
        settings.register_profile(
            "mutants", settings(), phases=phases, derandomize=True, database=None
        )
        settings.load_profile("mutants")

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Leave out what runs on the second loop again: no mutant of ours knows which it is."""
        items[:] = [item for item in items if "[uvloop" not in item.name]

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        self.items = {item.nodeid: item for item in session.items}
        say(f"{len(self.mutants)} mutants to try, {len(self.items)} tests; first each test once")
        # What is alive now is looked at by no collection of a child, often as one is asked for.
        gc.collect()
        gc.freeze()
        gc.unfreeze = lambda: None
        self._look_at_tests({mutant.path for mutant in self.mutants})
        left = self._try_all()
        say(
            f"{len(self.mutants)} mutants tried: "
            + ", ".join(f"{count} {what}" for what, count in self.counts.items())
            + (f"; {left} not tried in time, run it again" if left else "")
        )
        return True

    def _try_all(self) -> int:
        """Try every mutant, several at a time; return how many there was no time for."""
        end = time.monotonic() + 60.0 * (self.options.minutes or 1e9)
        waiting = list(reversed(self.mutants))
        running: dict[int, Trial] = {}
        while running or (waiting and time.monotonic() < end):
            while waiting and len(running) < self.options.jobs and time.monotonic() < end:
                mutant = waiting.pop()
                tests = sorted(
                    self.seen_by.get((mutant.path, mutant.line), ()), key=self.costs.__getitem__
                )
                if tests:
                    trial = self._begin(mutant, within(self.options.budget, tests, self.costs))
                    running[trial[0]] = trial[1]
                else:
                    self._judge(mutant, "reached by no test", "NO TEST")
            time.sleep(0.005)
            for child, trial in list(running.items()):
                done, status = os.waitpid(child, os.WNOHANG)
                if not done and time.monotonic() >= trial.until:  # everybody notices that
                    os.kill(child, signal.SIGKILL)
                    os.waitpid(child, 0)
                    done, status = child, FAILS
                if done:
                    del running[child]
                    self._ended(trial, status)
        return len(waiting)

    def _begin(self, mutant: Mutant, tests: list[str]) -> tuple[int, Trial]:
        seconds = sum(self.seconds[name] for name in tests)
        child = os.fork()
        if not child:
            verdict = FAILS
            try:
                hush()
                limit_memory()
                verdict = self._verdict(mutant, tests)
            finally:
                os._exit(verdict)
        return child, Trial(mutant, tests, time.monotonic() + 60.0 + 20.0 * seconds)

    def _verdict(self, mutant: Mutant, tests: list[str]) -> int:
        try:
            function_named(mutant).__code__ = mutant.code
        except ValueError:  # it closes over less than before
            return UNFIT
        for name, following in pairs(tests):
            limit_cpu(2.0 + self.cpu_s[name])
            if not self._passes(name, following):
                return FAILS
        return LIVES

    def _ended(self, trial: Trial, status: int) -> None:
        verdict = os.waitstatus_to_exitcode(status)
        if verdict == LIVES:
            self._judge(trial.mutant, "live", f"LIVES ({len(trial.tests)} tests)")
        elif verdict == UNFIT:
            self._judge(trial.mutant, "live", "LIVES (not tried: it cannot be put in place)")
        else:
            self._judge(trial.mutant, "killed", None)

    def _judge(self, mutant: Mutant, count: str, text: str | None) -> None:
        self.counts[count] += 1
        self.memory.note(mutant, killed=count == "killed")
        if text is not None:
            say(f"{text}  line {mutant.line}\n    {mutant}")
        tried = sum(self.counts.values())
        if tried % 100 == 0:
            say(f"({tried} of {len(self.mutants)} tried)")

    def _look_at_tests(self, paths: set[str]) -> None:
        """Run every test once, in a process that may leave what it likes behind: what, how long."""
        with tempfile.NamedTemporaryFile() as file, tempfile.TemporaryFile() as forked:
            child = os.fork()
            if not child:
                hush()
                looks = {}
                for name, following in pairs(list(self.items)):
                    tracer = Tracer(paths, forked.fileno())
                    start = time.monotonic(), time.process_time()
                    threading.settrace(tracer)
                    sys.settrace(tracer)
                    passed = self._passes(name, following)
                    sys.settrace(None)
                    threading.settrace(None)
                    took = time.monotonic() - start[0], time.process_time() - start[1]
                    if passed:  # else nothing that it says about a mutant counts
                        looks[name] = (*took, sorted(tracer.lines | tracer.lines_of_children()))
                Path(file.name).write_text(json.dumps(looks))
                os._exit(0)
            os.waitpid(child, 0)
            looks = json.loads(Path(file.name).read_text())
        for name, (seconds, cpu_s, lines) in looks.items():
            self.seconds[name], self.cpu_s[name] = seconds, cpu_s
            # Others compute while a test waits, and on a busy machine it waits for a core.
            self.costs[name] = cpu_s + seconds / 10
            for path, line in lines:
                self.seen_by[path, line].add(name)
        if len(looks) < len(self.items):
            say(f"left out, for they fail by themselves: {sorted(self.items.keys() - looks)}")

    def _passes(self, name: str, following: str | None) -> bool:
        from _pytest.runner import runtestprotocol

        item = self.items[name]
        reports = runtestprotocol(item, nextitem=self.items.get(following or ""), log=False)
        return not any(report.failed for report in reports)


class Tracer:
    """
    Notes which lines of some files are reached, by a test or by a process that it forks.

    Args:
        paths: of the files.
        forked: descriptor of a file in which such a process writes its lines down, for its memory
            is lost with it.
    """

    def __init__(self, paths: set[str], forked: int) -> None:
        self.lines: set[Line] = set()
        self._paths = paths
        self._forked = forked
        self._pid = os.getpid()

    def __call__(self, frame, event, argument):
        if frame.f_code.co_filename not in self._paths:
            return None
        return self._line(frame, event, argument)

    def _line(self, frame, event, argument):
        line = frame.f_code.co_filename, frame.f_lineno
        if line not in self.lines:
            self.lines.add(line)
            if os.getpid() != self._pid:
                os.write(self._forked, f"{json.dumps(line)}\n".encode())
        return self._line

    def lines_of_children(self) -> set[Line]:
        """Return what processes that were forked have reached, and forget it."""
        text = os.pread(self._forked, os.lseek(self._forked, 0, os.SEEK_END), 0)
        os.lseek(self._forked, 0, os.SEEK_SET)
        os.ftruncate(self._forked, 0)
        return {(path, line) for path, line in map(json.loads, text.splitlines())}


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
    if mutant.accessor is not None:
        found = getattr(found, mutant.accessor)
    found = getattr(found, "__func__", found)
    while hasattr(found, "__wrapped__"):
        found = found.__wrapped__
    return found


def hush() -> None:
    """Send what a forked process prints nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)


def limit_memory() -> None:
    """End this process when it takes much more memory than by now."""
    used_bytes = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    bytes_ = used_bytes + MORE_MEMORY_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (bytes_, bytes_))


def limit_cpu(seconds: float) -> None:
    """End this process when it computes for longer than this, from now on."""
    _, most = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (int(time.process_time() + seconds) + 1, most))


def say(text: str) -> None:
    """Print a line past pytest's capturing."""
    os.write(OUTPUT, f"{text.replace(f'{ROOT}/', '')}\n".encode())


def files_by_room(paths: list[str]) -> dict[str, list[Path]]:
    """Find the files to mutate; those of different rooms need different tests."""
    found: dict[str, list[Path]] = defaultdict(list)
    for name in paths:
        path = PACKAGE / name if (PACKAGE / name).is_dir() else Path(name).resolve()
        if not path.exists():
            raise SystemExit(f"{name} is neither a room of src/fastgw nor a file or folder")
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            found[file.relative_to(PACKAGE).parts[0]].append(file)
    return found


def mutants_to_try(files: list[Path], memory: Memory, options: argparse.Namespace) -> list[Mutant]:
    """Make the mutants of these files, less those of which all is known; untried ones first."""
    reasons = reasons_of(NOT_TRIED)
    mutants = [
        mutant
        for file in files
        for mutant in mutants_of(str(file), file.read_text(encoding="utf-8"))
    ]
    names = {str(mutant).replace(f"{ROOT}/", "") for mutant in mutants}
    mutated = {str(file.relative_to(ROOT)) for file in files}
    for name in reasons:
        if name.split(" ", 1)[0] in mutated and name not in names:
            say(f"in {NOT_TRIED.name}, and no mutant any more:\n    {name}")
    left = [m for m in mutants if str(m).replace(f"{ROOT}/", "") not in reasons]
    unknown = [mutant for mutant in left if not memory.verdict(mutant)]
    if options.living:
        unknown = [mutant for mutant in unknown if memory.verdict(mutant) is False]
    say(
        f"{len(mutants)} mutants: {len(mutants) - len(left)} in {NOT_TRIED.name}, "
        f"{len(left) - len(unknown)} killed before"
    )
    if options.minutes:
        random.Random(options.seed).shuffle(unknown)
    return sorted(unknown, key=lambda mutant: memory.verdict(mutant) is not None)


def main() -> int:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(description="Let mutants loose on the test suite.")
    parser.add_argument("paths", nargs="*", default=ROOMS, help="rooms, files or folders")
    parser.add_argument("--tests", nargs="+", help="files or folders (default: tests of the room)")
    parser.add_argument("--minutes", type=float, default=0.0, help="for trying (default: no end)")
    parser.add_argument("--seed", type=int, default=0, help="which ones, in --minutes (default: 0)")
    parser.add_argument(
        "--budget", type=float, default=30.0, help="seconds of tests a mutant (default: 30)"
    )
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="mutants at a time")
    parser.add_argument("--fresh", action="store_true", help="forget what was killed before")
    parser.add_argument("--living", action="store_true", help="only those that lived before")
    options = parser.parse_args()
    os.chdir(ROOT)
    memory = Memory(REMEMBERED, ROOT)
    if options.fresh:
        memory.forget()
    rooms = files_by_room(options.paths)
    if len(rooms) > 1:  # each in a program of its own: their tests need not get along
        others = [f"--{name}={getattr(options, name)}" for name in ("minutes", "seed", "budget")]
        others += [f"--jobs={options.jobs}"] + ["--living"] * options.living
        others += ["--tests", *options.tests] if options.tests else []
        for room, files in rooms.items():
            say(f"--- {room}")
            subprocess.run([sys.executable, __file__, *map(str, files), *others], check=True)
        return 0
    [(room, files)] = rooms.items()
    mutants = mutants_to_try(files, memory, options)
    if not mutants:
        return 0
    # A traceback that nobody sees took five times as long as the tests before it.
    arguments = ["-q", "--tb=no", "-p", "no:cacheprovider", "-p", "no:faulthandler"]
    arguments += [f"--timeout={HANGS_S}"]
    arguments += options.tests or [f"tests/{room}"]
    arguments += [f"--ignore={path}" for path in LEFT_OUT]
    return pytest.main(arguments, plugins=[Controller(mutants, memory, options)])


if __name__ == "__main__":
    OUTPUT = os.dup(1)
    sys.exit(main())
