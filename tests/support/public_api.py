"""
Write down the public names of fastgw with their signatures: `python tests/support/public_api.py`.

It prints what belongs into tests/public_api.txt. The text is the same on every supported Python:
annotations are left out (mypy checks those), and so is what comes from classes outside of fastgw.
"""

from __future__ import annotations

import enum
import importlib
import inspect
from collections.abc import Iterator
from typing import Any

MODULES = ("fastgw", "fastgw.testing", "pytest_fastgw")


def snapshot() -> str:
    """Return a line for each public name, members below their class."""
    lines = []
    for name in MODULES:
        module = importlib.import_module(name)
        lines.append(f"# {name}")
        for public in sorted(module.__all__):
            lines += described(public, getattr(module, public))
        lines.append("")
    return "\n".join(lines)


def described(name: str, value: Any) -> Iterator[str]:
    """Describe one public name and, of a class, its members."""
    if not inspect.isclass(value):
        yield f"{name}{signature(value)}" if callable(value) else name
        return
    bases = [base.__name__ for base in value.__bases__ if base is not object]
    yield f"class {name}({', '.join(bases)})" if bases else f"class {name}"
    if issubclass(value, enum.Enum):
        yield from (f"    {member.name} = {member.value!r}" for member in value)
    else:
        yield f"    __init__{constructor(value)}"
    for member, found in sorted(own_members(value).items()):
        yield f"    {member}{signature(found) if callable(found) else ''}"


def own_members(cls: type) -> dict[str, Any]:
    """Return the public members that fastgw defines, a base's below those of the class."""
    found: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        if base.__module__.startswith("fastgw"):
            found |= {
                name: inspect.getattr_static(cls, name)
                for name in [*vars(base), *getattr(base, "__annotations__", {})]
                if not name.startswith("_") or name in ("__aenter__", "__enter__")
                if hasattr(cls, name) or name in getattr(cls, "__annotations__", {})
            }
    if issubclass(cls, enum.Enum):
        return {name: value for name, value in found.items() if callable(value)}
    return {
        name: value.__func__ if isinstance(value, (classmethod, staticmethod)) else value
        for name, value in found.items()
    }


def constructor(cls: type) -> str:
    """Return the parameters of making one, or nothing said where it takes what its base takes."""
    try:
        return signature(cls)
    except ValueError:  # a compiled class without a signature of its own
        return "(...)"


def signature(function: Any) -> str:
    """Return the parameters with their defaults, without annotations."""
    found = inspect.signature(function)
    parameters = [
        parameter.replace(
            annotation=parameter.empty,
            default=parameter.empty
            if parameter.default is parameter.empty
            else Written(parameter.default),
        )
        for parameter in found.parameters.values()
    ]
    return str(found.replace(parameters=parameters, return_annotation=found.empty))


class Written:
    """A default whose text does not depend on the version of Python or on an address."""

    def __init__(self, value: Any) -> None:
        self._value = value

    def __repr__(self) -> str:
        if isinstance(self._value, enum.Enum):
            return str(self._value.name)
        text = repr(self._value)
        return "..." if "<" in text or len(text) > 80 else text


if __name__ == "__main__":
    print(snapshot(), end="")
