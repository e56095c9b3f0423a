"""The gateway that `module:name` means: imported in a worker, nowhere else."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
import sys
from importlib.machinery import PathFinder
from types import ModuleType

from ..errors import FatalError, UsageError
from ..fleet.ports import Occupied
from ..gateway import Gateway
from ..runner import refusing_runs

__all__ = [
    "TargetError", "check_module", "check_target", "import_target", "is_final", "load_gateway",
]  # fmt: skip


class TargetError(UsageError):
    """What `module:name` names is not there, or is not a gateway: trying again cannot help."""


def check_target(target: str) -> tuple[str, str]:
    """
    Return module and name; nothing is imported.

    Raises:
        UsageError: it is written otherwise.
    """
    module, colon, name = target.partition(":")
    parts = [*module.split("."), *name.split(".")]
    if module.endswith(".py") or os.sep in module:
        raise UsageError(
            f"{target!r} names a file: name the module as an import does, such as bot:gateway"
        )
    if not colon or not all(part.isidentifier() for part in parts):
        raise UsageError(f"{target!r} is not module:name, such as bot:gateway")
    return module, name


def check_module(target: str) -> None:
    """
    Look whether the module, or the package that it is in, can be found; nothing is imported.

    Workers have the paths of this process, but PYTHONPATH as it is now. What a package holds is
    known when it has been imported, which is left to them.

    Raises:
        TargetError: there is none of that name.
    """
    name, _ = check_target(target)
    package = name.partition(".")[0]
    paths = [os.getcwd(), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    if package in sys.modules or PathFinder.find_spec(package, paths) is not None:
        return
    if importlib.util.find_spec(package) is None:
        raise _no_module(package, name)


def load_gateway(target: str) -> Gateway:
    """
    Import the module, and return its gateway, or the one that its function makes.

    Raises:
        TargetError: there is no such module or name, or it is something else.
        BaseException: what the module, or the function, raised.
    """
    module_name, name = check_target(target)
    with refusing_runs(
        f"{target} is run by `fastgw run`, and its module calls run() while it is imported: put "
        f'that under `if __name__ == "__main__":`'
    ):
        found: object = import_target(module_name)
        module = found
        for part in name.split("."):
            if not hasattr(found, part):
                raise TargetError(f"{target}: there is no {part!r}{_others(module)}")
            found = getattr(found, part)
        if isinstance(found, Gateway):
            return found
        return _make(found, target)


def import_target(name: str) -> ModuleType:
    """
    Import a module of the user's, also from the current folder.

    Raises:
        TargetError: there is no such module.
        BaseException: what it raised.
    """
    if os.getcwd() not in sys.path and "" not in sys.path:
        sys.path.insert(0, os.getcwd())  # as `python -m` does
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        # Of the module itself or a package it is in; what it imports in turn is its own matter.
        if error.name is not None and f"{name}.".startswith(f"{error.name}."):
            raise _no_module(error.name, name) from error
        raise


def _no_module(missing: str, name: str) -> TargetError:
    return TargetError(
        f"there is no module {missing!r} in {os.getcwd()} or on the path: run it where "
        f"`import {name}` works, or install it"
    )


def _make(found: object, target: str) -> Gateway:
    if not callable(found):
        raise TargetError(
            f"{target} is {_described(found)}, and neither a Gateway nor a function that makes one"
        )
    if inspect.iscoroutinefunction(found):
        raise TargetError(f"{target} is a coroutine function; a plain one is needed")
    try:
        inspect.signature(found).bind()
    except TypeError as error:
        raise TargetError(f"{target} is called without arguments: {error}") from error
    except ValueError:
        pass  # it does not tell what it takes
    made = found()
    if not isinstance(made, Gateway):
        raise TargetError(f"{target}() returned {_described(made)}, and not a Gateway")
    return made


def _described(value: object) -> str:
    kind = type(value).__name__
    return "None" if value is None else f"{'an' if kind[0] in 'aeiouAEIOU' else 'a'} {kind}"


def _others(module: object) -> str:
    """Name the gateways of a module."""
    names = [name for name, value in vars(module).items() if isinstance(value, Gateway)]
    return f"; its gateways: {', '.join(sorted(names))}" if names else ", and no Gateway at all"


def is_final(error: BaseException) -> bool:
    """Tell whether the same import, or start, cannot end better the next time."""
    return isinstance(error, (UsageError, FatalError)) and not isinstance(error, Occupied)
