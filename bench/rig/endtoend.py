"""The plan's scenarios as comparisons: over every compression and TLS asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..entrants import Entrant
from ..plan import EVERYTHING, FLOORS, Scenario, Size, scenarios
from .comparison import Comparison, Measure
from .runner import Runner
from .streams import Workload

RunnerLater = Callable[[], Runner]


def comparisons(size: Size, runner: RunnerLater) -> list[Comparison]:
    """Return the end-to-end comparisons; the runner is made when the first of them is measured."""
    return [
        _comparison(scenario, compression, tls, size.rounds, runner)
        for scenario in scenarios(size)
        for compression, tls in (
            size.transports if scenario.workload.name == "steady" else size.other_transports
        )
        if scenario.only in ("", compression)
    ]


def _comparison(
    scenario: Scenario, compression: str, tls: bool, rounds: int, runner: RunnerLater
) -> Comparison:
    floors = [(floor, EVERYTHING) for floor in FLOORS]
    measures = {
        entrant.label: measure_of(entrant, scenario.workload, compression, tls, wanted, runner)
        for entrant, wanted in (*floors, *scenario.entrants)
        if entrant.runs_with(compression)
    }
    return Comparison(
        name=f"end-to-end {scenario.name}, {compression}, {'TLS' if tls else 'plain TCP'}",
        entrants=measures,
        baseline=tuple(floor.label for floor in FLOORS),
        rounds=rounds,
        targets=scenario.targets,
        after=lambda: runner().forget_sessions(),
    )


def measure_of(
    entrant: Entrant,
    workload: Workload,
    compression: str,
    tls: bool,
    wanted: frozenset[str] | None,
    runner: RunnerLater,
) -> Measure:
    """Return how to run an entrant once."""

    def measure() -> tuple[float, dict[str, Any]]:
        result = runner().measure(entrant, workload, compression, tls=tls, wanted=wanted)
        extra = {
            "workload": workload.name,
            "events": workload.events,
            "compression": compression,
            "tls": tls,
            "wall_s": round(result["wall_s"], 4),
            "peak_mb": round(result["peak_mb"], 1),
            "version": result.get("version", ""),
        }
        return result["per_event_s"], extra

    return measure
