"""
From results to pytest-benchmark.

pytest-benchmark runs one test after the other; our entrants run interleaved. So the first test of a
comparison measures all its selected entrants, and each test then *replays* its own figures: its
timer is a clock that we set, and what pytest-benchmark prints, saves and compares are CPU seconds
by event.
"""

from __future__ import annotations

from typing import Any

from .comparison import Comparison, Results


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


class Case:
    """One entrant of one comparison: what a test is given."""

    def __init__(self, group: Group, label: str) -> None:
        self.group = group
        self.label = label

    def __str__(self) -> str:
        return f"{self.group.comparison.name}: {self.label}"

    def replay(self, benchmark: Any) -> None:
        """
        Hand its figures to pytest-benchmark, measuring the whole comparison first if need be.

        Raises:
            UnavailableError, or what the entrant failed with.
        """
        results, label = self.group.results(), self.label
        if label in results.problems:
            # Inside the fixture, which otherwise complains that it was not used.
            benchmark.pedantic(_raise, (results.problems[label],))
        figures = iter(results.figures[label])

        def advance() -> None:
            _clock.now += next(figures)

        benchmark.group = results.comparison.name
        benchmark.extra_info.update(results.extra[label])
        benchmark.extra_info["entrant"] = label
        benchmark.extra_info["baseline"] = results.baseline
        benchmark.extra_info["ratio"] = results.ratio(label, results.baseline)
        benchmark.pedantic(advance, rounds=len(results.figures[label]), iterations=1)


class Group:
    """
    The tests of one comparison, which is measured once.

    Attributes:
        comparison: what is compared.
        selected: labels that will be tested; the others are not run.
        measured: its results, once there are any.
    """

    def __init__(self, comparison: Comparison) -> None:
        self.comparison = comparison
        self.selected: set[str] = set()
        self.measured: Results | None = None

    def cases(self) -> list[Case]:
        """Return a case for each entrant."""
        return [Case(self, label) for label in self.comparison.entrants]

    def results(self) -> Results:
        """Return the results, measuring them at the first call."""
        if self.measured is None:
            self.measured = Results(self.comparison)
            self.measured.measure(self.selected)
        return self.measured


def _raise(problem: Exception) -> None:
    raise problem
