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
    "_decode", "errors", "events", "heartbeat", "identity", "machine", "protocol", "resume",
    "signals", "states", "wire", "testing.peer", "testing.service",
)  # fmt: skip
IMPURE = frozenset(
    {
        "aiofastnet", "asyncio", "concurrent", "datetime", "multiprocessing", "picows", "random",
        "secrets", "select", "selectors", "signal", "socket", "ssl", "subprocess", "threading",
        "time", "uvloop",
    }
)  # fmt: skip
MAY_KNOW_PICOWS = ("_gate", "_handshake", "_transport", "transport", "testing.server")


def module_name(path):
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts)


SOURCES = {
    module_name(path): path
    for path in sorted([*PACKAGE.rglob("*.py"), *PACKAGE.rglob("*.pyx"), *PACKAGE.rglob("*.pxd")])
    if path.suffix != ".pxd" or not path.with_suffix(".pyx").exists()
}
PYTHON = {name: path for name, path in SOURCES.items() if path.suffix == ".py"}


def is_type_checking(node):
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)


def imports_of(name, *, deferred=False):
    """Return what a module imports when it is imported; `deferred` adds imports in functions."""
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
        elif is_type_checking(node):
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


def own_imports(name):
    """Return the modules of this package that a module imports."""
    found = set()
    for target in imports_of(name):
        if target == "fastgw" or target.startswith("fastgw."):
            own = target.removeprefix("fastgw").removeprefix(".") or "__init__"
            found.add(own if own in SOURCES else f"{own}.__init__")
    return found & SOURCES.keys()


@pytest.mark.parametrize("name", list(PURE))
def test_pure_rooms_know_no_clock_socket_loop_or_chance(name):
    """Time comes in as `now`; nothing sleeps and nothing is sent."""
    roots = {target.split(".")[0] for target in imports_of(name, deferred=True)}
    assert not roots & IMPURE


@pytest.mark.parametrize("name", list(PURE))
def test_pure_rooms_import_only_pure_rooms(name):
    """What they stand on knows no clock either."""
    allowed = {*PURE, "testing.traffic", "__init__"}
    others = {n for n in own_imports(name) if n not in allowed and not n.startswith("testing._")}
    assert not others


@pytest.mark.parametrize("name", [name for name in SOURCES if name not in MAY_KNOW_PICOWS])
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
    assert sorted(users) == ["_transport.pxd", "_transport.pyx"]


def test_imports_go_one_way():
    """No cycle, however long, among the imports that run when a module is imported."""
    done, path = set(), []

    def visit(name):
        assert name not in path, f"import cycle: {' -> '.join([*path, name])}"
        if name in done:
            return
        path.append(name)
        for target in sorted(own_imports(name)):
            if target != "__init__":  # the package itself, which every import runs first
                visit(target)
        path.pop()
        done.add(name)

    for name in sorted(SOURCES):
        visit(name)


def test_the_library_does_not_stand_on_its_tests():
    """`testing` and `cli` use the rest, never the other way."""
    for name in SOURCES:
        if not name.startswith(("testing.", "cli.")):
            assert not {n for n in own_imports(name) if n.startswith(("testing.", "cli."))}, name


@pytest.mark.parametrize("pattern", ["*.py", "*.p[yx][xdi]", "*.h"])
def test_files_are_small(pattern):
    """At 400 lines ask what the second subject is."""
    for path in PACKAGE.rglob(pattern):
        lines = path.read_text(encoding="utf-8").count("\n")
        assert lines <= MAX_LINES, f"{path.name} has {lines} lines"


def test_the_reader_of_imports_reads():
    """A test of the tests: known imports are seen."""
    assert "protocol" in own_imports("driver")
    assert "errors" in own_imports("_decode")
    assert "signals" in own_imports("protocol")
    assert "errors" in own_imports("testing.peer") | own_imports("testing.service")
    assert "asyncio" in imports_of("driver")
    assert "wire" not in own_imports("errors")  # for type checkers only
