"""
For the site's reference: texts as its parser wants them, and compiled classes as users see them.

Cython writes the signature into the first line of a docstring, for `help()`; the pages have it from
the stub, with types. Our docstrings put one section below the other, and the parser wants an empty
line between them.
"""

from __future__ import annotations

import re
from typing import Any

import griffe

_SIGNATURE = re.compile(r"\A\w+\((?:self|cls).*\)(?: -> .*)?\n")
_SECTION = re.compile(r"(?<=[^\n])\n(?=(?:Args|Attributes|Cost|Raises|Returns|Source|Yields):)")


class Texts(griffe.Extension):
    """Mends a package as it has been loaded."""

    def on_package(self, *, pkg: griffe.Module, **kwargs: Any) -> None:
        """Mend all of its members."""
        self._mend(pkg)

    def _mend(self, owner: griffe.Object) -> None:
        for name, member in list(owner.members.items()):
            if member.is_alias:
                continue
            if member.docstring is not None:
                text = _SIGNATURE.sub("", member.docstring.value)
                member.docstring.value = _SECTION.sub("\n\n", text)
            if name == "__init__" and _takes_anything(member):
                owner.del_member(name)  # users do not make one
                continue
            if member.is_class and member.path.startswith("fastgw.types."):
                _show_members(member)
            self._mend(member)


def _show_members(payload: Any) -> None:
    """Put the members of a TypedDict into its text: a heading each would fill pages."""
    lines = [
        f"{name}: {member.annotation}"
        for name, member in payload.members.items()
        if member.is_attribute
    ]
    inherited = [str(base) for base in payload.bases if str(base) != "TypedDict"]
    if inherited:
        payload.docstring.value += f"\n\nAll of {inherited[0]}" + (", and:" if lines else ".")
    if lines:
        payload.docstring.value += "\n\n```python\n" + "\n".join(lines) + "\n```"


def _takes_anything(member: Any) -> bool:
    return {"args", "kwargs"} <= {parameter.name for parameter in member.parameters}
