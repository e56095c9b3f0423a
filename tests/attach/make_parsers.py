"""
Add the parsers of the installed library to the table that fastgw ships.

    python tests/attach/make_parsers.py discord

Look at what they do first: the rules of `fastgw.ext.discord_py.rules` must hold for them.
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

from fastgw.ext.discord_py import parsers
from fastgw.ext.discord_py.rules import RULES

TABLE = Path(__file__).parents[2] / "src/fastgw/ext/discord_py/parsers.json"
TITLES = {"discord": "discord.py", "pycord": "py-cord"}


def main(package: str) -> None:
    """Write what is new into the table."""
    root = importlib.import_module(package)
    title = TITLES.get(root.__title__, root.__title__)
    state = importlib.import_module(f"{package}.state")
    table = json.loads(TABLE.read_text(encoding="utf-8")) if TABLE.exists() else {}
    known: dict[str, list[str]] = table.setdefault(title, {})
    added = 0
    for kind in (state.ConnectionState, state.AutoShardedConnectionState):
        for name, parser in parsers.read_parsers(kind).items():
            if name in RULES and parser.fingerprint not in known.setdefault(name, []):
                known[name].append(parser.fingerprint)
                added += 1
    ordered = {key: dict(sorted(events.items())) for key, events in sorted(table.items())}
    TABLE.write_text(json.dumps(ordered, indent=1) + "\n", encoding="utf-8")
    print(f"{title} {root.__version__}: {added} added")


if __name__ == "__main__":
    main(sys.argv[1])
