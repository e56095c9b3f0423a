"""
What each parser of the library dispatches, read off its source, and whether it is known.

A parser is a method `parse_guild_create` of the library's `ConnectionState`. Its fingerprint is
that of its text, and of the text of the methods that it calls. Those that somebody has looked at,
version by version, stand in `parsers.json` (made by `tests/attach/make_parsers.py`): of another
one we do not know what it does, and its event is always wanted.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

__all__ = ["Parser", "known_parsers", "read_parsers"]

_TABLE = Path(__file__).with_name("parsers.json")


@dataclass(frozen=True, slots=True)
class Parser:
    """
    What was read of one parser.

    Attributes:
        dispatches: the names that it dispatches; None where they are not written out.
        fingerprint: of its text.
    """

    dispatches: frozenset[str] | None
    fingerprint: str


def read_parsers(state_class: type[Any]) -> dict[str, Parser]:
    """
    Read the parsers of a `ConnectionState`; event name -> what it does.

    Raises:
        OSError: there is no source, as in a program that was frozen.
    """
    methods: dict[str, tuple[ast.AST, str]] = {}
    package = state_class.__module__.partition(".")[0]
    for kind in reversed(state_class.__mro__):
        if kind.__module__.partition(".")[0] == package:
            methods |= _methods(inspect.getsource(inspect.getmodule(kind) or kind), kind.__name__)
    _classes.cache_clear()  # of use for this reading alone, and megabytes
    return {
        name.removeprefix("parse_").upper(): _read(name, methods)
        for name in methods
        if name.startswith("parse_")
    }


@cache
def _classes(source: str) -> dict[str, ast.ClassDef]:
    return {node.name: node for node in ast.parse(source).body if isinstance(node, ast.ClassDef)}


def _methods(source: str, class_name: str) -> dict[str, tuple[ast.AST, str]]:
    found: dict[str, tuple[ast.AST, str]] = {}
    lines = source.splitlines()
    for node in _classes(source)[class_name].body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            text = "\n".join(line.strip() for line in lines[node.lineno - 1 : node.end_lineno])
            found[node.name] = (node, text)
        elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Name):
            for target in node.targets:  # parse_x = parse_y
                if isinstance(target, ast.Name) and node.value.id in found:
                    found[target.id] = found[node.value.id]
    return found


def _read(name: str, methods: Mapping[str, tuple[ast.AST, str]]) -> Parser:
    names: set[str] = set()
    digest = hashlib.sha256()
    is_written_out = True
    waiting, read = [name], {name}
    while waiting:
        node, text = methods[waiting.pop(0)]
        digest.update(text.encode())
        for call in ast.walk(node):
            if not isinstance(call, ast.Call):
                continue
            called = call.func
            if "dispatch" in (getattr(called, "attr", None), getattr(called, "id", None)):
                first = call.args[0] if call.args else None
                if isinstance(first, ast.Constant) and isinstance(first.value, str):
                    names.add(first.value)
                else:
                    is_written_out = False
            elif (
                isinstance(called, ast.Attribute)
                and isinstance(called.value, ast.Name)
                and called.value.id == "self"
                and called.attr in methods
                and called.attr not in read
            ):
                read.add(called.attr)
                waiting.append(called.attr)
    return Parser(frozenset(names) if is_written_out else None, digest.hexdigest()[:16])


def known_parsers(library: str) -> dict[str, set[str]]:
    """Return the fingerprints that were read, by event, of a library; empty where it is unknown."""
    table = json.loads(_TABLE.read_text(encoding="utf-8")) if _TABLE.exists() else {}
    return {name: set(prints) for name, prints in table.get(library, {}).items()}
