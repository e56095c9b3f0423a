"""
Small mistakes, made one at a time: what a test suite should notice.

A mutant is a function of the program with one change: a comparison turned, a number off by one, the
least for the most, a call left out. What only words carry (docstrings, messages, log lines,
annotations) is left alone.
"""

from __future__ import annotations
import __future__

import ast
import copy
import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from types import CodeType

COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.Mod: ast.Mult,
    ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.RShift: ast.LShift, ast.LShift: ast.RShift,
    ast.FloorDiv: ast.Mult,
}  # fmt: skip
EXTREMES = {"min": "max", "max": "min"}
FLAGS = __future__.annotations.compiler_flag  # as all our files have it
# Of a node: what is raised and how it is worded, an except clause's classes; the defaults of
# parameters, which a function's code does not hold.
LEFT_ALONE = frozenset(
    {"annotation", "returns", "decorator_list", "exc", "msg", "cause", "type", "defaults",
     "kw_defaults"}
)  # fmt: skip
# What these are called with is for people.
LOGGERS = frozenset({"debug", "info", "warning", "error", "exception", "critical"})


@dataclass(frozen=True)
class Mutant:
    """
    One change.

    Attributes:
        path: of the file, as given.
        line: where.
        function: the qualified name of the outermost function that it lies in.
        accessor: which part of a property it is ("fget", "fset", "fdel"), None of anything else.
        text: the line as it stands, without its remark.
        what: the change in words; with a number when the function has the same more than once.
        code: of that function, changed.
        digest: changes when anything of that function does.
    """

    path: str
    line: int
    function: str
    accessor: str | None
    text: str
    what: str
    code: CodeType
    digest: str

    def __str__(self) -> str:
        """Name it, also when it has moved to another line."""
        return f"{self.path} {self.function} [{self.text}] {self.what}"


def mutants_of(path: str, source: str) -> Iterator[Mutant]:
    """Yield every mutant of a file, in the order of its lines."""
    tree = ast.parse(source)
    lines = source.splitlines()
    for name, function in _functions(tree, ""):
        digest = hashlib.sha256(ast.unparse(function).encode()).hexdigest()[:16]
        seen: Counter[tuple[str, str]] = Counter()
        for line, what, changed in _changes(function):
            module = ast.Module([_wrapped(tree, function, changed)], [])
            code = compile(
                ast.fix_missing_locations(module), path, "exec", FLAGS, dont_inherit=True
            )
            found = _code_of(code, name.split("."))
            if found is None:
                continue
            text = lines[line - 1].partition("  #")[0].strip()
            seen[text, what] += 1
            if seen[text, what] > 1:
                what += f" ({seen[text, what]})"
            yield Mutant(path, line, name, _accessor(function), text, what, found, digest)


def _accessor(function: ast.FunctionDef) -> str | None:
    for decorator in function.decorator_list:
        if isinstance(decorator, ast.Name) and decorator.id == "property":
            return "fget"
        if isinstance(decorator, ast.Attribute) and decorator.attr in ("setter", "deleter"):
            return {"setter": "fset", "deleter": "fdel"}[decorator.attr]
    return None


def _functions(node: ast.AST, prefix: str) -> Iterator[tuple[str, ast.FunctionDef]]:
    """Find the outermost functions, also those of classes."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield prefix + child.name, child  # type: ignore[misc]
        elif isinstance(child, ast.ClassDef):
            yield from _functions(child, f"{prefix}{child.name}.")


def _wrapped(tree: ast.Module, function: ast.AST, changed: ast.AST) -> ast.stmt:
    """Put the changed function into its classes again, for mangled names and `super()`."""
    for top in tree.body:
        if top is function:
            return changed  # type: ignore[return-value]
        if isinstance(top, ast.ClassDef) and any(node is function for node in ast.walk(top)):
            classes = ast.ClassDef(top.name, [], [], [], [])
            inner = ast.Module(top.body, [])
            classes.body = [_wrapped(inner, function, changed)]
            return ast.copy_location(classes, top)
    raise AssertionError("the function is not in the tree")


def _code_of(code: CodeType, names: list[str]) -> CodeType | None:
    """Find a function's code in that of its module."""
    for constant in code.co_consts:
        if isinstance(constant, CodeType) and constant.co_name == names[0]:
            return constant if len(names) == 1 else _code_of(constant, names[1:])
    return None


def _changes(function: ast.FunctionDef) -> Iterator[tuple[int, str, ast.FunctionDef]]:
    """Yield the changes of one function: line, words, and the whole function changed."""
    bare = copy.deepcopy(function)
    bare.decorator_list = []
    spots = list(_spots(bare, parents=()))
    for index in range(len(spots)):
        for variant in range(_variants(spots[index])):
            changed = copy.deepcopy(bare)
            node, parents = list(_spots(changed, parents=()))[index]
            before = _text(node)
            after = _change(node, parents, variant)
            yield node.lineno, f"{before}  ->  {after}", changed


def _text(node: ast.AST) -> str:
    text = ast.unparse(node).splitlines()
    return text[0] if len(text) == 1 else f"{text[0]} ..."


Spot = tuple[ast.AST, tuple[ast.AST, ...]]


def _spots(node: ast.AST, parents: tuple[ast.AST, ...]) -> Iterator[Spot]:
    """Yield the nodes that can be changed, each with what it stands in."""
    for name, value in ast.iter_fields(node):
        if name in LEFT_ALONE:
            continue
        for child in value if isinstance(value, list) else [value]:
            if not isinstance(child, ast.AST) or _is_for_people(child):
                continue
            inside = (*parents, node)
            if _variants((child, inside)):
                yield child, inside
            yield from _spots(child, inside)


def _is_for_people(node: ast.AST) -> bool:
    """Docstrings, log lines, formatted texts, assertions for type checkers."""
    if isinstance(node, (ast.JoinedStr, ast.Assert, ast.Global, ast.Nonlocal, ast.Import)):
        return True
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return True
    call = node.value if isinstance(node, ast.Expr) else node
    if not isinstance(call, ast.Call):
        return False
    called = call.func
    if isinstance(called, ast.Attribute) and called.attr in LOGGERS:
        return True
    return isinstance(called, ast.Name) and called.id in ("cast", "assert_never")


def _variants(spot: Spot) -> int:
    """How many changes a node takes."""
    node, parents = spot
    if isinstance(node, ast.Compare):
        return sum(type(op) in COMPARISONS for op in node.ops)
    if isinstance(node, ast.Constant):
        is_number = isinstance(node.value, (int, float)) and node.value is not ...
        return int(is_number)
    if isinstance(node, (ast.BinOp, ast.AugAssign)):
        return int(type(node.op) in ARITHMETIC)
    if isinstance(node, (ast.If, ast.IfExp, ast.While)):
        return 0 if isinstance(node.test, (ast.Compare, ast.BoolOp)) else 1
    if isinstance(node, ast.UnaryOp):  # of a condition it is turned with the condition
        is_condition = isinstance(parents[-1], (ast.If, ast.IfExp, ast.While))
        return int(isinstance(node.op, ast.Not) and not is_condition)
    if isinstance(node, ast.Call):
        return int(isinstance(node.func, ast.Name) and node.func.id in EXTREMES)
    if isinstance(node, ast.Expr):
        return int(isinstance(node.value, (ast.Call, ast.Await)))
    if isinstance(node, (ast.Assign, ast.AnnAssign)):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        stored = all(isinstance(target, (ast.Attribute, ast.Subscript)) for target in targets)
        return int(stored and node.value is not None)
    return int(isinstance(node, (ast.BoolOp, ast.Break, ast.Continue, ast.Raise)))


def _change(node: ast.AST, parents: tuple[ast.AST, ...], variant: int) -> str:
    """Change a node where it stands; return what it is now."""
    if isinstance(node, ast.Compare):
        known = [n for n, op in enumerate(node.ops) if type(op) in COMPARISONS]
        node.ops[known[variant]] = COMPARISONS[type(node.ops[known[variant]])]()
    elif isinstance(node, ast.UnaryOp):
        node.operand = ast.copy_location(ast.UnaryOp(ast.Not(), node.operand), node)
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        node.func.id = EXTREMES[node.func.id]
    elif isinstance(node, ast.Constant):
        node.value = not node.value if isinstance(node.value, bool) else node.value + 1
    elif isinstance(node, (ast.BinOp, ast.AugAssign)):
        node.op = ARITHMETIC[type(node.op)]()
    elif isinstance(node, (ast.If, ast.IfExp, ast.While)):
        node.test = ast.copy_location(ast.UnaryOp(ast.Not(), node.test), node.test)
    elif isinstance(node, ast.BoolOp):
        node.op = ast.And() if isinstance(node.op, ast.Or) else ast.Or()
    else:
        _replace(parents[-1], node, ast.copy_location(ast.Pass(), node))
        return "pass"
    return _text(node)


def _replace(parent: ast.AST, old: ast.AST, new: ast.AST) -> None:
    for _, value in ast.iter_fields(parent):
        if isinstance(value, list) and any(item is old for item in value):
            value[[item is old for item in value].index(True)] = new
            return
    raise AssertionError("the statement is not in its parent")
