"""
Options, fixtures and the table of ratios.

    pytest bench/ --benchmark-only              the comparisons, under ten minutes on two cores
    pytest bench/ --benchmark-only --quick      small and few: that everything works, for CI
    pytest bench/ --benchmark-only --full       every compression, TLS on and off, more rounds;
                                                and the client in Rust, where cargo is

Both together: the clients of `--full`, small and few. `-k`, `--benchmark-save`,
`--benchmark-compare` and the like work as usual.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest

from .plan import Size
from .rig.comparison import UnavailableError
from .rig.replay import Case, Group
from .rig.runner import Runner

_groups_key = pytest.StashKey[list[Group]]()
_runner_key = pytest.StashKey["_RunnerLater"]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("fastgw benchmarks")
    group.addoption("--quick", action="store_true", help="small streams, few rounds (CI)")
    group.addoption("--full", action="store_true", help="the whole matrix, half an hour or more")
    group.addoption("--rounds", type=int, default=0, help="rounds of each entrant")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_groups_key] = []
    config.stash[_runner_key] = _RunnerLater()


def pytest_unconfigure(config: pytest.Config) -> None:
    config.stash[_runner_key].close()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "case" not in metafunc.fixturenames:
        return
    config = metafunc.config
    size = Size.of(config.getoption("quick"), config.getoption("full"))
    if rounds := config.getoption("rounds"):
        size = size.with_rounds(rounds)
    compared = metafunc.module.comparisons(size, config.stash[_runner_key])
    groups = [Group(comparison) for comparison in compared]
    config.stash[_groups_key].extend(groups)
    cases = [case for group in groups for case in group.cases()]
    metafunc.parametrize("case", cases, ids=str)


def pytest_collection_finish(session: pytest.Session) -> None:
    for item in session.items:
        case = getattr(item, "callspec", None) and item.callspec.params.get("case")
        if isinstance(case, Case):
            case.group.selected.add(case.label)


class _RunnerLater:
    """The runner, made when the first comparison asks for it: not all need its server."""

    def __init__(self) -> None:
        self._runner: Runner | None = None

    def __call__(self) -> Runner:
        if self._runner is None:
            self._directory = tempfile.TemporaryDirectory(prefix="fastgw-bench-")
            self._runner = Runner(Path(self._directory.name))
        return self._runner

    def close(self) -> None:
        if self._runner is not None:
            self._runner.close()
            self._directory.cleanup()


@pytest.fixture
def replay(benchmark: Any) -> Any:
    """A function that gives a case's figures to pytest-benchmark."""

    def replay_case(case: Case) -> None:
        try:
            case.replay(benchmark)
        except UnavailableError as reason:
            pytest.skip(str(reason))

    return replay_case


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("benchmark") is not None:
            # The first test of a comparison measures all of it.
            item.add_marker(pytest.mark.timeout(0))


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    measured = [group.measured for group in config.stash[_groups_key] if group.measured]
    if measured:
        terminalreporter.section("ratios to a baseline of the same run", "=")
    for results in measured:
        for line in results.table():
            terminalreporter.write_line(line)
        terminalreporter.write_line("")
