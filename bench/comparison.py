"""
Rounds of measurements with the entrants interleaved, and ratios to a baseline of the same run.

pytest-benchmark runs one test after the other, and this machine's speed drifts meanwhile. So the
first test of a group measures all selected entrants of the group, round by round in a new order
each time; each test then *replays* its own figures: its timer is a clock that we set, and what
pytest-benchmark prints, saves and compares are CPU seconds by event.
"""

from __future__ import annotations

import random
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

# Runs an entrant once; returns CPU seconds by event and what is worth saving beside it.
Measure = Callable[[], "tuple[float, dict[str, Any]]"]


class UnavailableError(Exception):
    """An entrant cannot run here; the text says what is missing."""


class ReplayClock:
    """The timer of all benchmarks: stands still, and is moved by the figures replayed."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


_clock = ReplayClock()


def replayed_cpu_time() -> float:
    """Return the replay clock's seconds; pytest-benchmark names its timer in what it saves."""
    return _clock()


@dataclass(frozen=True)
class Target:
    """A promise: `entrant` costs at most `times` of `of`, by the median of paired ratios."""

    entrant: str
    times: float
    of: str


@dataclass
class Group:
    """
    One comparison.

    Attributes:
        name: as pytest-benchmark groups and prints it.
        baseline: the entrants that may be the baseline, best first (the first that ran is it).
        entrants: label -> how to run it once.
        rounds: how often each runs.
        targets: promises to print beside the ratios.
        after: called when all have run.
        selected: labels that will be tested; the others are not run.
        figures: label -> CPU seconds by event, one for each round.
        extra: label -> what the last round said beside.
        problems: label -> why it has no figures.
    """

    name: str
    baseline: tuple[str, ...]
    entrants: dict[str, Measure]
    rounds: int
    targets: tuple[Target, ...] = ()
    after: Callable[[], None] = lambda: None
    selected: set[str] = field(default_factory=set)
    figures: dict[str, list[float]] = field(default_factory=dict)
    extra: dict[str, dict[str, Any]] = field(default_factory=dict)
    problems: dict[str, Exception] = field(default_factory=dict)
    ran: bool = False

    def replay(self, label: str, benchmark: Any) -> None:
        """
        Hand an entrant's figures to pytest-benchmark, measuring the whole group first if need be.

        Raises:
            UnavailableError, or what the entrant failed with.
        """
        self._measure_all()
        if label in self.problems:
            # Inside the fixture, which otherwise complains that it was not used.
            benchmark.pedantic(self._raise, (label,))
        figures = iter(self.figures[label])

        def advance() -> None:
            _clock.now += next(figures)

        benchmark.group = self.name
        benchmark.extra_info.update(self.extra[label])
        baseline = self.chosen_baseline()
        benchmark.extra_info["entrant"] = label
        benchmark.extra_info["baseline"] = baseline
        benchmark.extra_info["ratio"] = self.ratio(label, baseline)
        benchmark.pedantic(advance, rounds=len(self.figures[label]), iterations=1)

    def chosen_baseline(self) -> str:
        """The first of the wished baselines that ran, else the first entrant that did."""
        ran = [label for label in self.entrants if self.figures.get(label)]
        return next((label for label in self.baseline if label in ran), ran[0] if ran else "")

    def ratio(self, label: str, of: str) -> float | None:
        """The median over the rounds of this entrant's figure to the other's of that round."""
        ours, theirs = self.figures.get(label), self.figures.get(of)
        if not ours or not theirs:
            return None
        return statistics.median(a / b for a, b in zip(ours, theirs, strict=True))

    def _measure_all(self) -> None:
        if self.ran:
            return
        self.ran = True
        labels = [label for label in self.entrants if label in self.selected]
        order = random.Random(self.name)
        for _ in range(self.rounds):
            order.shuffle(labels)
            for label in list(labels):
                if not self._measure(label):
                    labels.remove(label)
        self.after()

    def _raise(self, label: str) -> None:
        raise self.problems[label]

    def _measure(self, label: str) -> bool:
        try:
            figure, self.extra[label] = self.entrants[label]()
        except Exception as problem:  # reported by the entrant's own test
            self.problems[label] = problem
            self.figures.pop(label, None)
            return False
        self.figures.setdefault(label, []).append(figure)
        return True


@dataclass(frozen=True)
class Case:
    """One entrant of one group: what a test is given."""

    group: Group
    label: str

    def __str__(self) -> str:
        return f"{self.group.name}: {self.label}"


def table(group: Group) -> Iterator[str]:
    """Yield the lines of a group's table: figures, ratios to the baseline, targets."""
    ran = [label for label in group.entrants if group.figures.get(label)]
    if not ran:
        return
    baseline = group.chosen_baseline()
    width = max(len(label) for label in ran)
    yield f"{group.name}   (CPU by event, {group.rounds} rounds; ratio to: {baseline})"
    for label in ran:
        figures = group.figures[label]
        middle = statistics.median(figures)
        spread = f"{_time(min(figures))} .. {_time(max(figures))}"
        ratio = group.ratio(label, baseline)
        peak = group.extra[label].get("peak_mb")
        memory = f"  {peak:5.0f} MB" if peak else ""
        yield f"  {label:<{width}}  {_time(middle)}  ({spread})  {ratio:7.2f} x{memory}"
    for label, problem in group.problems.items():
        text = str(problem).splitlines()[0] if str(problem) else type(problem).__name__
        yield f"  {label:<{width}}  {text}"
    for target in group.targets:
        ratio = group.ratio(target.entrant, target.of)
        if ratio is not None:
            met = "met" if ratio <= target.times else "MISSED"
            promise = f"{target.entrant} <= {target.times:.3g} x {target.of}"
            yield f"  target: {promise}: {ratio:.3g} {met}"


def _time(seconds: float) -> str:
    if seconds < 1e-6:
        return f"{seconds * 1e9:7.1f} ns"
    return f"{seconds * 1e6:7.2f} us"
