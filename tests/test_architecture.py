"""The house rules that imports show: one way, no clock where time is passed in, small files."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "fastgw"
MAX_LINES = 500

# Rooms that know no clock, socket, loop, task or random source: time and chance are passed in.
PURE = (
    "_decode", "durations", "errors", "protocol", "quoting", "testing.service", "types", "words",
)  # fmt: skip
IMPURE = frozenset(
    {
        "aiofastnet", "asyncio", "concurrent", "datetime", "multiprocessing", "picows", "random",
        "secrets", "select", "selectors", "signal", "socket", "ssl", "subprocess", "threading",
        "time", "uvloop",
    }
)  # fmt: skip
MAY_KNOW_PICOWS = ("connection", "testing.server.listen")


# From the ground up. A module may import those of its own floor and of the floors below it.
FLOORS = (
    ("durations", "errors", "home", "log", "quoting", "types", "version", "words"),
    ("_decode",),
    ("protocol",),
    ("health",),
    ("metrics",),
    ("delivery",),
    ("connection",),
    ("shard",),
    ("fleet",),
    ("build", "options", "runner"),
    ("gateway",),
    ("ext", "processes", "redis"),
    ("__init__", "_pyinstaller"),
    ("testing",),
    ("cli",),
    ("__main__",),
)

# What still climbs; each line goes with the rewriting of its room.
CLIMBS_TODAY: frozenset[tuple[str, str]] = frozenset()

# The state machine is one class, and one file beats a class torn in two to fill two: its inputs,
# moves and ends read each other's state. Its parts with a life of their own have left already.
LONGER = {"protocol/machine.py": 700}
# What still closes a circle of types.
CIRCLES_TODAY: frozenset[tuple[str, str]] = frozenset()


def module_name(path):
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts)


def is_in(name, rooms):
    """Tell whether a module is one of `rooms`, or lies in a folder that is."""
    return any(name == room or name.startswith(room + ".") for room in rooms)


def floor_of(name):
    """Return the number of a module's floor, from the ground."""
    (number,) = (number for number, rooms in enumerate(FLOORS) if is_in(name, rooms))
    return number


SOURCES = {
    module_name(path): path
    for path in sorted([*PACKAGE.rglob("*.py"), *PACKAGE.rglob("*.pyx"), *PACKAGE.rglob("*.pxd")])
    if path.suffix != ".pxd" or not path.with_suffix(".pyx").exists()
}
PYTHON = {name: path for name, path in SOURCES.items() if path.suffix == ".py"}


def is_type_checking(node):
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)


def imports_of(name, *, deferred=False, types=False):
    """
    Return what a module imports when it is imported.

    `deferred` adds imports in functions, `types` those for type checkers only.
    """
    path = SOURCES[name]
    if path.suffix != ".py":
        return cython_imports_of(path)
    found = set()
    pending = list(ast.parse(path.read_text(encoding="utf-8")).body)
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            found.update(resolve(name, path, node))
        elif is_type_checking(node) and not types:
            pending.extend(node.orelse)
        elif deferred or not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            pending.extend(child for child in ast.iter_child_nodes(node))
    return found


def resolve(name, path, node):
    """Turn `from . import x` and `from .y import z` into module names, ours without "fastgw."."""
    if not node.level:
        return {node.module}
    base = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
    if path.name == "__init__.py":
        base = base[:-1]  # its name here ends with ".__init__"
    base = base[: len(base) - (node.level - 1)]
    if node.module is not None:
        return {"fastgw." + ".".join([*base, node.module])}
    return {"fastgw." + ".".join([*base, alias.name]) for alias in node.names}


def cython_imports_of(path):
    """Read the import lines of Cython source; its grammar is not Python's."""
    found = set()
    text = path.read_text(encoding="utf-8")
    for part in (path.with_suffix(".pxd"), *included_by(text)):
        text += "\n" + part.read_text(encoding="utf-8") if part.exists() else ""
    for line in text.splitlines():
        words = line.strip().split()
        if len(words) >= 2 and words[0] in ("import", "cimport"):
            found.add(words[1].rstrip(","))
        elif len(words) >= 4 and words[0] == "from" and words[2] in ("import", "cimport"):
            module = words[1]
            found.add("fastgw." + module[1:] if module.startswith(".") else module)
    return found


def included_by(text):
    """Return the files that Cython source includes."""
    return [PACKAGE / name for name in re.findall(r'^include "(.+)"', text, re.MULTILINE)]


def own_imports(name, **kinds):
    """Return the modules of this package that a module imports."""
    found = set()
    for target in imports_of(name, **kinds):
        if target == "fastgw" or target.startswith("fastgw."):
            own = target.removeprefix("fastgw").removeprefix(".") or "__init__"
            found.add(own if own in SOURCES else f"{own}.__init__")
    return found & SOURCES.keys()


@pytest.mark.parametrize("name", [name for name in SOURCES if is_in(name, PURE)])
def test_pure_rooms_know_no_clock_socket_loop_or_chance(name):
    """Time comes in as `now`; nothing sleeps and nothing is sent."""
    roots = {target.split(".")[0] for target in imports_of(name, deferred=True)}
    assert not roots & IMPURE


@pytest.mark.parametrize("name", [name for name in SOURCES if is_in(name, PURE)])
def test_pure_rooms_import_only_pure_rooms(name):
    """What they stand on knows no clock either."""
    allowed = (*PURE, "testing.traffic")
    assert not {other for other in own_imports(name) if not is_in(other, allowed)}


@pytest.mark.parametrize("name", [name for name in SOURCES if not is_in(name, MAY_KNOW_PICOWS)])
def test_only_the_transport_knows_picows(name):
    """Its traps are hidden in one place."""
    roots = {target.split(".")[0] for target in imports_of(name, deferred=True)}
    assert "picows" not in roots


def test_only_the_listener_cimports_picows():
    """The C layout is relied on in one module, which the gate guards."""
    users = [
        path.name
        for path in PACKAGE.rglob("*.p[yx][xd]")
        if "cimport" in path.read_text(encoding="utf-8")
        and "picows.picows cimport" in path.read_text(encoding="utf-8")
    ]
    assert sorted(users) == ["listener.pxd", "listener.pyx"]


def test_imports_go_one_way():
    """No cycle, however long, among the imports: also those for type checkers alone."""
    done, path = set(), []

    def visit(name):
        assert name not in path, f"import cycle: {' -> '.join([*path, name])}"
        if name in done:
            return
        path.append(name)
        for target in sorted(own_imports(name, types=True)):
            # Not the package itself, which every import runs first.
            if target != "__init__" and (name, target) not in CIRCLES_TODAY:
                visit(target)
        path.pop()
        done.add(name)

    for name in sorted(SOURCES):
        visit(name)


@pytest.mark.parametrize("name", sorted(SOURCES))
def test_imports_go_down_the_floors(name):
    """One's own floor or one below, also for type checkers and inside functions."""
    climbed = [
        f"{name} (floor {floor_of(name)}) imports {target} (floor {floor_of(target)})"
        for target in sorted(own_imports(name, deferred=True, types=True))
        if floor_of(target) > floor_of(name) and (name, target) not in CLIMBS_TODAY
    ]
    assert not climbed, "; ".join(climbed)


@pytest.mark.parametrize("name", [name for name in SOURCES if is_in(name, ("health",))])
def test_health_knows_states_and_errors_alone(name):
    """Its values are frozen; what counts and measures fills them in."""
    found = own_imports(name, deferred=True, types=True)
    own = {name for name in SOURCES if is_in(name, ("health",))}
    assert found <= {*own, "durations", "protocol.states", "errors"}


@pytest.mark.parametrize("pattern", ["*.py", "*.p[yx][xdi]", "*.h"])
def test_files_are_small(pattern):
    """At 400 lines ask what the second subject is."""
    for path in PACKAGE.rglob(pattern):
        lines = path.read_text(encoding="utf-8").count("\n")
        name = path.relative_to(PACKAGE).as_posix()
        limit = LONGER.get(name, MAX_LINES)
        assert lines <= limit, f"{name} has {lines} lines; {limit} are allowed, see LONGER for why"


def test_the_reader_of_imports_reads():
    """A test of the tests: known imports are seen."""
    assert "protocol.machine" in own_imports("shard.driver")
    assert "errors" in own_imports("_decode")
    assert "protocol.signals" in own_imports("protocol.machine")
    assert "errors" in own_imports("testing.server.gateway")
    assert "asyncio" in imports_of("shard.driver")
    assert "words" not in own_imports("errors")
    assert "words" in own_imports("errors", types=True)
