"""
Types for checkers only: which handler goes with which options of `on`.

The number of fields, up to eight, says how many arguments the handler takes; of more, or of a tuple
whose length is not known, nothing is said, and only registering tells.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar

from .._decode import Fields

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .._decode import Event, ValueSet
    from .filters import Filter
    from .limits import PolicyName

Paths1 = tuple[str] | Fields[tuple[Any]]
Paths2 = tuple[str, str] | Fields[tuple[Any, Any]]
Paths3 = tuple[str, str, str] | Fields[tuple[Any, Any, Any]]
Paths4 = tuple[str, str, str, str] | Fields[tuple[Any, Any, Any, Any]]
Paths5 = tuple[str, str, str, str, str] | Fields[tuple[Any, Any, Any, Any, Any]]
Paths6 = tuple[str, str, str, str, str, str] | Fields[tuple[Any, Any, Any, Any, Any, Any]]
Paths7 = tuple[str, str, str, str, str, str, str] | Fields[tuple[Any, Any, Any, Any, Any, Any, Any]]
Paths8 = (
    tuple[str, str, str, str, str, str, str, str]
    | Fields[tuple[Any, Any, Any, Any, Any, Any, Any, Any]]
)
Paths = tuple[str, ...] | list[str] | Fields[Any]

Taking1T = TypeVar("Taking1T", bound=Callable[[Any], object])
Taking2T = TypeVar("Taking2T", bound=Callable[[Any, Any], object])
Taking3T = TypeVar("Taking3T", bound=Callable[[Any, Any, Any], object])
Taking4T = TypeVar("Taking4T", bound=Callable[[Any, Any, Any, Any], object])
Taking5T = TypeVar("Taking5T", bound=Callable[[Any, Any, Any, Any, Any], object])
Taking6T = TypeVar("Taking6T", bound=Callable[[Any, Any, Any, Any, Any, Any], object])
Taking7T = TypeVar("Taking7T", bound=Callable[[Any, Any, Any, Any, Any, Any, Any], object])
Taking8T = TypeVar("Taking8T", bound=Callable[[Any, Any, Any, Any, Any, Any, Any, Any], object])
TakingT = TypeVar("TakingT", bound=Callable[..., object])

KindT = TypeVar("KindT")
ResultT = TypeVar("ResultT")


class Options(TypedDict, total=False):
    """The options of every handler."""

    where: Filter | None
    guilds: ValueSet | Iterable[str | int] | None
    once: bool
    bound: int | None
    policy: PolicyName


class FieldsOptions(Options, total=False):
    """The options of one that takes values of fields."""

    missing: object


class StreamOptions(TypedDict, total=False):
    """The options of an iterator."""

    where: Filter | None
    guilds: ValueSet | Iterable[str | int] | None
    bound: int | None
    policy: PolicyName


class WaitOptions(TypedDict, total=False):
    """The options of a wait."""

    check: Callable[[Event[Any]], object] | None
    where: Filter | None
    guilds: ValueSet | Iterable[str | int] | None
    timeout_s: float | None
