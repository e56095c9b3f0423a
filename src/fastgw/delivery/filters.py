"""
Filters: which events a handler wants, said by their members and decided before anything is made.

A filter is an expression over fields, built by `field("author.bot").is_true()` and joined with `&`,
`|` and `~`. It holds what was said (`spec`); `_decode` compiles it into a plan and asks it during
its walk over the text. Two-valued: a test of a member that is missing or null is false, as is one
of another type than the test's, and `~` turns false into true.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NoReturn

from .._decode import Fields, ValueSet
from ..errors import UsageError
from .paths import check_path

__all__ = ["Field", "Filter", "check_where", "field", "in_guilds"]

# How many filters may stand inside each other: asking one recurses in C.
MAX_DEPTH = 100


class Filter:
    """
    Which events: made by a method of `field(...)`, or of others by `&`, `|` and `~`.

    Attributes:
        spec: what was said, as nested tuples, for the compiler of plans.
    """

    __slots__ = ("_depth", "spec")

    def __init__(self, spec: tuple[Any, ...], depth: int = 1) -> None:
        if depth > MAX_DEPTH:
            raise UsageError(f"filters are joined more than {MAX_DEPTH} deep")
        self.spec = spec
        self._depth = depth

    def __and__(self, other: Filter) -> Filter:
        return self._joined("all", other)

    def __or__(self, other: Filter) -> Filter:
        return self._joined("any", other)

    def __invert__(self) -> Filter:
        return Filter(("not", self.spec), self._depth + 1)

    def __bool__(self) -> NoReturn:
        raise UsageError(
            "a filter is neither true nor false before an event comes: join filters with & | ~ "
            "instead of `and`, `or`, `not`, each in parentheses if need be"
        )

    def __repr__(self) -> str:
        return f"<Filter {_said(self.spec)}>"

    def _joined(self, kind: str, other: object) -> Filter:
        if not isinstance(other, Filter):
            raise UsageError(_advice(other))
        # a & b & c is one test of three: long chains are no deeper than short ones.
        parts: list[tuple[Any, ...]] = []
        for side in (self.spec, other.spec):
            parts.extend(side[1:] if side[0] == kind else (side,))
        deepest = max(
            part._depth if part.spec[0] != kind else part._depth - 1 for part in (self, other)
        )
        return Filter((kind, *parts), deepest + 1)


class Field:
    """
    One member of an event's data, named by its path, to make filters of: see `field`.

    Attributes:
        path: such as "author.id".
    """

    __slots__ = ("path",)

    def __init__(self, path: str) -> None:
        check_path(path)
        self.path = Fields(path).paths[0]  # which looks at it

    def is_true(self) -> Filter:
        """Whether it is `true`; `~field("author.bot").is_true()` is "not a bot"."""
        return Filter(("is_true", self.path))

    def exists(self) -> Filter:
        """Whether it is there and not null."""
        return Filter(("exists", self.path))

    def equals(self, value: str | int | bool) -> Filter:
        """
        Whether it has this value. An int also equals a string of its digits, as Discord writes ids;
        a str only a string, a bool only that.
        """
        if not isinstance(value, (str, int)):
            raise UsageError(
                f"a field is compared with a str, an int or a bool, not {type(value).__name__}; "
                "ask ~field(...).exists() for null"
            )
        if not isinstance(value, bool):
            ValueSet((value,))  # which refuses what no event can hold
        return Filter(("equals", self.path, value))

    def is_in(self, values: ValueSet | Iterable[str | int]) -> Filter:
        """
        Whether it has one of these values, each as for `equals`.

        Args:
            values: a ValueSet may change at any time, and the next event sees it; any other
                collection is copied now.
        """
        return Filter(("is_in", self.path, _as_set(values)))

    def startswith(self, prefix: str | tuple[str, ...]) -> Filter:
        """Whether it is a string that begins with this, or with one of these."""
        prefixes = prefix if isinstance(prefix, tuple) else (prefix,)
        for one in prefixes:
            if not isinstance(one, str):
                raise UsageError(f"a prefix is a str, not {type(one).__name__}")
            ValueSet((one,))
        # What is compiled takes plain strings, no enum's.
        tests = [("startswith", self.path, str.__str__(one)) for one in prefixes]
        return Filter(("any", *tests), 2)

    def contains_id(self, value: str | int) -> Filter:
        """Whether it is a list of ids, such as `member.roles`, that has this one."""
        if isinstance(value, str) and value.isascii() and value.isdigit():
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 63:
            raise UsageError(f"{value!r} is not an id: those are ints or strings of digits")
        return Filter(("contains_id", self.path, value))

    def __eq__(self, other: object) -> NoReturn:
        raise UsageError(f'write field("{self.path}").equals(...): == would compare the fields')

    def __ne__(self, other: object) -> NoReturn:
        raise UsageError(f'write ~field("{self.path}").equals(...): != would compare the fields')

    __hash__ = None  # type: ignore[assignment]

    def __bool__(self) -> NoReturn:
        raise UsageError(_advice(self))

    def __and__(self, other: object) -> NoReturn:
        raise UsageError(_advice(self))

    __rand__ = __or__ = __ror__ = __and__

    def __invert__(self) -> NoReturn:
        raise UsageError(_advice(self))

    def __repr__(self) -> str:
        return f"field({self.path!r})"


def field(path: str) -> Field:
    """
    Name a member of an event's data, to make a filter of it.

        field = fastgw.field
        human = ~field("author.bot").is_true()
        @gateway.on("MESSAGE_CREATE", where=human & field("content").startswith("!"))

    Args:
        path: the keys from `d` downwards, joined by dots; not into lists.
    """
    return Field(path)


def check_where(where: object, guilds: ValueSet | Iterable[str | int] | None) -> Filter | None:
    """
    Return the one filter of `where=` and `guilds=`; None when neither is given.

    Raises:
        UsageError: what is no filter, or no collection of ids.
    """
    if where is not None and not isinstance(where, Filter):
        if isinstance(where, Field):
            raise UsageError(_advice(where))
        raise UsageError(
            f'where= is a filter such as field("author.bot").is_true(), not {where!r:.100}'
        )
    if guilds is None:
        return where
    if isinstance(guilds, Iterable) and not isinstance(guilds, (str, ValueSet)):
        guilds = list(guilds)
        for guild in guilds:
            _check_guild(guild)
    ours = in_guilds(guilds)
    return ours if where is None else ours & where


def in_guilds(guilds: ValueSet | Iterable[str | int]) -> Filter:
    """Return the filter of `guilds=`: events of these guilds, and none that have no guild."""
    if isinstance(guilds, str) or not isinstance(guilds, Iterable):
        raise UsageError(f"guilds= is a collection of ids, such as {{7, 8}}, not {guilds!r:.100}")
    return Filter(("guild_in", _as_set(guilds)))


def _check_guild(guild: object) -> None:
    """Raise UsageError of what no id is; of other types a ValueSet says more."""
    if isinstance(guild, str):
        is_id = guild.isascii() and guild.isdigit()
    else:
        is_id = not isinstance(guild, int) or guild >= 0
    if not is_id:
        raise UsageError(
            f"guilds= takes ids, ints or strings of digits, and {guild!r:.100} is none: no event "
            "would match it"
        )


def _as_set(values: ValueSet | Iterable[str | int]) -> ValueSet:
    return values if isinstance(values, ValueSet) else ValueSet(values)


def _advice(other: object) -> str:
    if isinstance(other, Field):
        return f"field({other.path!r}) is no filter yet: ask .is_true(), .exists(), .equals(...)"
    return f"a filter is joined with filters, not with {type(other).__name__}"


def _said(spec: tuple[Any, ...]) -> str:
    kind, *rest = spec
    if kind == "not":
        return f"~{_said(rest[0])}"
    if kind in ("all", "any"):
        return f"({(' & ' if kind == 'all' else ' | ').join(map(_said, rest))})"
    if kind == "guild_in":
        return f"guilds={rest[0]!r}"
    path, *values = rest
    return f"field({path!r}).{kind}({', '.join(map(repr, values))})"
