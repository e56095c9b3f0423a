"""docs/reliability.md kept honest: its cases have tests, its numbers are those of the code."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = ROOT / "src" / "fastgw"
DOCUMENT = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
CASES = range(1, 62)


def _cases_of_tests():
    """Return {case: {"module::test", ...}} as the docstrings of the tests say it."""
    found = {}
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                said = re.match(r"cases? (\d+(?:, \d+)*):", ast.get_docstring(node) or "")
                for case in said[1].split(", ") if said else ():
                    found.setdefault(int(case), set()).add(f"{path.stem}::{node.name}")
    return found


TESTS = _cases_of_tests()
ROWS = {
    int(number): (text, set(re.findall(r"`(test_\w+::\w+)`", tests)))
    for number, text, tests in re.findall(r"^\| (\d+) \| (.+) \| (.+) \|$", DOCUMENT, re.MULTILINE)
}


def test_every_case_has_its_row():
    """61 of them, in order."""
    assert list(ROWS) == list(CASES)


@pytest.mark.parametrize("case", CASES)
def test_every_case_has_a_test(case):
    """One at least whose docstring begins with `case NN:`, and the table names one."""
    assert TESTS.get(case)
    assert ROWS[case][1]


@pytest.mark.parametrize("case", CASES)
def test_the_tests_named_in_the_table_exist(case):
    """And say that they are that case's."""
    _, named = ROWS[case]
    assert named <= TESTS.get(case, set())


def test_no_test_has_a_case_that_is_not_there():
    """A number mistyped would vanish from the table unseen."""
    assert TESTS.keys() <= set(CASES)


def _value_of(where):
    """
    Look up `module.NAME`, `module.Class.attribute` (its default) or `module.Class(argument)`.

    The module is named without its folder, so that one move of a file does not touch the page; with
    it where two folders have one of that name.
    """
    module, path = where.split(".", 1)
    files = list(SOURCES.rglob(f"{module}.py"))
    if path[0].islower():
        folder, (module, path) = module, path.split(".", 1)
        files = [SOURCES / folder / f"{module}.py"]
    (file,) = (p for p in files if "testing" not in p.relative_to(SOURCES).parts)
    home = file.relative_to(SOURCES).with_suffix("").parts
    found = importlib.import_module(".".join(("fastgw", *home)))
    for name in path.removesuffix(")").replace("(", ".").split("."):
        if inspect.isclass(found):
            return inspect.signature(found).parameters[name].default
        found = getattr(found, name)
    return found


NUMBERS = re.findall(
    r"^\| .+ \| ([\d.,to ]+?)(?: \w+)? \| `([\w.()]+)` \|$", DOCUMENT, re.MULTILINE
)


@pytest.mark.parametrize(("said", "where"), NUMBERS)
def test_the_numbers_are_those_of_the_code(said, where):
    """Each with the name under which the code has it."""
    value = _value_of(where)
    numbers = [float(number.replace(",", "")) for number in said.split(" to ")]
    assert numbers == (list(value) if isinstance(value, tuple) else [value])


def test_the_reader_of_numbers_reads():
    """A test of the tests: no row of the table is missed."""
    table = DOCUMENT.partition("## Numbers")[2].partition("\n## ")[0]
    assert len(NUMBERS) == len([row for row in table.splitlines() if row.startswith("| ")]) - 1
    assert len(NUMBERS) > 20


def test_only_the_monotonic_clock_times_anything():
    """
    case 25: wall time is read to notice sleep, to date what outlives a boot, and to show it to
    people, nowhere else.

    uvloop caches its loop's time.
    """
    clocks = re.compile(r"\btime\.time\b|\bloop\w*\.time\(|\bdatetime\b|\btime_ns\(")
    found = {
        str(path.relative_to(SOURCES)): clocks.findall(path.read_text(encoding="utf-8"))
        for path in SOURCES.rglob("*.p[yx]*")
        if path.suffix in (".py", ".pyx", ".pxi")
        and path.parent.name != "traffic"  # its dates are data: when members joined
    }
    assert {name: uses for name, uses in found.items() if uses} == {
        "fleet/fleet.py": ["time.time"],
        "fleet/stores/boot_clock.py": ["time.time"],
        "cli/_checks.py": ["time.time", "time.time"],  # the doctor looks at this clock
        "cli/tail.py": ["time.time"],  # when an event came
        "metrics/document.py": ["time.time"],  # when the figures were read
    }
