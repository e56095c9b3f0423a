"""What is known of mutants from before: which were killed, and which are not worth a try."""

from __future__ import annotations

import json
from pathlib import Path

from mutants import Mutant

__all__ = ["Memory", "reasons_of"]


class Memory:
    """
    Verdicts of earlier runs, in a file of one JSON line each; the last about a mutant counts.

    A verdict holds as long as the function is what it was. It is written at once, so that a run may
    be stopped at any time.
    """

    def __init__(self, path: Path, root: Path) -> None:
        """Read the file, if there is one; names of files are kept relative to `root`."""
        self._path = path
        self._root = root
        self._killed: dict[str, bool] = {}
        if path.exists():
            for line in path.read_text(encoding="utf-8").splitlines():
                name, killed = json.loads(line)
                self._killed[name] = killed

    def verdict(self, mutant: Mutant) -> bool | None:
        """Return whether it was killed, None when it was not tried."""
        return self._killed.get(self._name(mutant))

    def note(self, mutant: Mutant, *, killed: bool) -> None:
        """Remember a verdict."""
        self._path.parent.mkdir(exist_ok=True)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps([self._name(mutant), killed]) + "\n")

    def forget(self) -> None:
        """Forget everything."""
        self._killed.clear()
        self._path.unlink(missing_ok=True)

    def _name(self, mutant: Mutant) -> str:
        return f"{mutant.digest} {mutant}".replace(f"{self._root}/", "")


def reasons_of(path: Path) -> dict[str, str]:
    """
    Return which mutants are not worth a try, as a run names them, each with its reason.

    The file has the mutant on a line and the reason, indented, on the next; `#` begins a remark.

    Raises:
        ValueError: a mutant without a reason, or a reason without a mutant.
    """
    reasons: dict[str, str] = {}
    mutant = None
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line or line.startswith("#"):
            continue
        if line.startswith(" ") != (mutant is not None):
            raise ValueError(f"{path.name}:{number}: a mutant, then its reason on an indented line")
        if mutant is None:
            mutant = line
        else:
            reasons[mutant], mutant = line.strip(), None
    if mutant is not None:
        raise ValueError(f"{path.name}: the last mutant has no reason")
    return reasons
