"""Draw docs/cost.svg, the README's picture, from the table of docs/performance.md: run it after."""

from __future__ import annotations

import re
from html import escape
from pathlib import Path

DOCS = Path(__file__).parent
TARGET = DOCS / "cost.svg"
COLUMN = "interactions, zstd"

# Rows of the table, and how the picture calls them.
_LABELS = {
    "floor, C library": "floor: receive and decompress in C",
    "fastgw, one event in fifty wanted": "fastgw",
    "picows + orjson, name in bytes first": "picows + orjson, by hand",
    "aiohttp + orjson": "aiohttp + orjson, by hand",
    "hikari, models": "hikari",
    "websockets + orjson": "websockets + orjson, by hand",
    "discord.py": "discord.py",
}
_COLOURS = {"fastgw": "#5865f2", "floor: receive and decompress in C": "#9aa0a6"}
_OTHER_COLOUR = "#d9a441"

_WIDTH, _LEFT, _TOP, _ROW, _BAR = 760, 250, 44, 28, 18  # pixels
_LONGEST = _WIDTH - _LEFT - 60


def figures() -> dict[str, float]:
    """Return {label: CPU microseconds by event} of the column, in the picture's order."""
    text = (DOCS / "performance.md").read_text(encoding="utf-8")
    rows = [
        [cell.strip().strip("*") for cell in line.strip("|").split("|")]
        for line in text.splitlines()
        if line.startswith("|")
    ]
    (head,) = (row for row in rows if COLUMN in row)
    found = {row[0]: row[head.index(COLUMN)] for row in rows if len(row) == len(head)}
    return {label: float(re.split(r"[ (]", found[row])[0]) for row, label in _LABELS.items()}


def picture() -> str:
    """Return the whole of docs/cost.svg."""
    bars = figures()
    height = _TOP + _ROW * len(bars) + 8
    scale = _LONGEST / max(bars.values())
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}"'
        f' viewBox="0 0 {_WIDTH} {height}" font-family="sans-serif" font-size="14">',
        f'<rect width="{_WIDTH}" height="{height}" rx="6" fill="#ffffff"/>',
        '<text x="16" y="26" font-weight="bold" fill="#1f2328">'
        "CPU per event, µs (less is better): one event in fifty wanted, zstd, TLS</text>",
    ]
    for number, (label, value) in enumerate(bars.items()):
        y = _TOP + _ROW * number
        middle = y + _BAR / 2 + 5
        weight = ' font-weight="bold"' if label == "fastgw" else ""
        colour = _COLOURS.get(label, _OTHER_COLOUR)
        lines += [
            f'<text x="{_LEFT - 10}" y="{middle:g}" text-anchor="end"{weight} fill="#1f2328">'
            f"{escape(label)}</text>",
            f'<rect x="{_LEFT}" y="{y}" width="{value * scale:.1f}" height="{_BAR}"'
            f' fill="{colour}"/>',
            f'<text x="{_LEFT + value * scale + 6:.1f}" y="{middle:g}"{weight} fill="#1f2328">'
            f"{value:g}</text>",
        ]
    return "\n".join([*lines, "</svg>"]) + "\n"


if __name__ == "__main__":
    TARGET.write_text(picture(), encoding="utf-8")
