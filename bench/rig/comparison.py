"""
What is compared, and what came out: rounds with the entrants interleaved, ratios within a round.

A machine's speed drifts. So all entrants of a comparison run in one go, round by round in a new
order each time, and a ratio is the median over the rounds of two figures of the same round.
"""

from __future__ import annotations

import random
import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ..entrants import Entrant

# Runs an entrant once; returns CPU seconds by event and what is worth saving beside it.
Measure = Callable[[], "tuple[float, dict[str, Any]]"]


class UnavailableError(Exception):
    """An entrant cannot run here; the text says what is missing."""


@dataclass(frozen=True)
class Target:
    """A promise: `entrant` costs at most `times` of `of`, by the median of paired ratios."""

    entrant: Entrant | str
    times: float
    of: Entrant | str

    def __str__(self) -> str:
        return f"{self.entrant} <= {self.times:.3g} x {self.of}"


@dataclass(frozen=True)
class Comparison:
    """
    What is compared, said before anything runs.

    Attributes:
        name: as pytest-benchmark groups and prints it.
        entrants: label -> how to run it once.
        baseline: the entrants that may be the baseline, best first (the first that ran is it).
        rounds: how often each runs.
        targets: promises to print beside the ratios.
        after: called when all have run.
        figure: what the measures return seconds of.
    """

    name: str
    entrants: Mapping[str, Measure]
    baseline: tuple[str, ...]
    rounds: int
    targets: tuple[Target, ...] = ()
    after: Callable[[], None] = lambda: None
    figure: str = "CPU by event"


class Results:
    """
    What came out of one comparison.

    Attributes:
        comparison: what was compared.
        figures: label -> CPU seconds by event, one for each round.
        extra: label -> what the last round said beside.
        problems: label -> why it has no figures.
    """

    def __init__(self, comparison: Comparison) -> None:
        self.comparison = comparison
        self.figures: dict[str, list[float]] = {}
        self.extra: dict[str, dict[str, Any]] = {}
        self.problems: dict[str, Exception] = {}

    def measure(self, selected: Iterable[str]) -> None:
        """Run these entrants, in a new order each round; one that fails is left out from then."""
        comparison = self.comparison
        labels = [label for label in comparison.entrants if label in set(selected)]
        order = random.Random(comparison.name)
        for _ in range(comparison.rounds):
            order.shuffle(labels)
            for label in list(labels):
                if not self._measure(label):
                    labels.remove(label)
        comparison.after()

    @property
    def labels(self) -> list[str]:
        """The entrants that have figures."""
        return [label for label in self.comparison.entrants if self.figures.get(label)]

    @property
    def baseline(self) -> str:
        """The first of the wished baselines that ran, else the first entrant that did, else ""."""
        ran = self.labels
        wished = (label for label in self.comparison.baseline if label in ran)
        return next(wished, ran[0] if ran else "")

    def ratio(self, label: str, of: str) -> float | None:
        """The median over the rounds of this entrant's figure to the other's of that round."""
        ours, theirs = self.figures.get(label), self.figures.get(of)
        if not ours or not theirs:
            return None
        return statistics.median(a / b for a, b in zip(ours, theirs, strict=True))

    def table(self) -> Iterator[str]:
        """Yield the lines of its table: figures, ratios to the baseline, targets."""
        if not self.labels:
            return
        baseline, comparison = self.baseline, self.comparison
        width = max(map(len, self.labels))
        said = f"{comparison.figure}, {comparison.rounds} rounds; ratio to: {baseline}"
        yield f"{comparison.name}   ({said})"
        for label in self.labels:
            figures = self.figures[label]
            middle = _time(statistics.median(figures))
            spread = f"{_time(min(figures))} .. {_time(max(figures))}"
            peak = self.extra[label].get("peak_mb")
            memory = f"  {peak:5.0f} MB" if peak else ""
            memory += f"  {beside}" if (beside := self.extra[label].get("beside")) else ""
            ratio = self.ratio(label, baseline)
            yield f"  {label:<{width}}  {middle}  ({spread})  {ratio:7.2f} x{memory}"
        for label, problem in self.problems.items():
            text = str(problem).splitlines()[0] if str(problem) else type(problem).__name__
            yield f"  {label:<{width}}  {text}"
        for target in comparison.targets:
            ratio = self.ratio(str(target.entrant), str(target.of))
            if ratio is not None:
                met = "met" if ratio <= target.times else "MISSED"
                yield f"  target: {target}: {ratio:.3g} {met}"

    def _measure(self, label: str) -> bool:
        try:
            figure, self.extra[label] = self.comparison.entrants[label]()
        except Exception as problem:  # reported by the entrant's own test
            self.problems[label] = problem
            self.figures.pop(label, None)
            return False
        self.figures.setdefault(label, []).append(figure)
        return True


def _time(seconds: float) -> str:
    if seconds < 1e-6:
        return f"{seconds * 1e9:7.1f} ns"
    if seconds >= 0.01:
        return f"{seconds:7.3f} s "
    return f"{seconds * 1e6:7.2f} us"
