"""The paths that programs write for `fields=` and `field()`: which cannot be meant so."""

from __future__ import annotations

import re

from ..errors import UsageError

__all__ = ["check_path"]

_INDEX = re.compile(r"\[\d*\]")


def check_path(path: object) -> None:
    """
    Raise UsageError of a path that is well formed, and leads nowhere in any event of Discord's.

    `Fields` takes such a path, for an event to come that has it; all else about paths it says.
    """
    if not isinstance(path, str):
        return
    if index := _INDEX.search(path):
        whole = path[: index.start()]
        raise UsageError(
            f"the path {path!r:.100} leads into a list, and paths do not: take {whole!r:.100}, the "
            "whole list, and look into it"
        )
    if path.startswith("d.") and len(path) > 2:
        raise UsageError(
            f"the path {path!r:.100} would be a member of a member d: paths begin below the `d` of "
            f"the message, so write {path[2:]!r:.100}"
        )
