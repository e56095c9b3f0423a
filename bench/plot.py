"""
Draw CPU by event and client from a saved run: `python -m bench.plot RESULTS.json PICTURE.svg`.

RESULTS.json is what `--benchmark-json=RESULTS.json` wrote (or a file of `--benchmark-save`). Only
the end-to-end groups are drawn, one panel each; a third argument keeps the groups whose name
contains it. Needs matplotlib.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

_COLOURS = {"fastgw": "#5865f2", "floor": "#9aa0a6"}
_OTHER_COLOUR = "#d9a441"


def read(path: str, part_of_name: str = "") -> dict[str, list[tuple[str, float]]]:
    """Return (client, median microseconds by event) by end-to-end group, in the run's order."""
    groups: dict[str, list[tuple[str, float]]] = defaultdict(list)
    for entry in json.loads(Path(path).read_text())["benchmarks"]:
        name = entry["group"] or ""
        if name.startswith("end-to-end") and part_of_name in name:
            client = entry["extra_info"]["entrant"]
            groups[name].append((client, entry["stats"]["median"] * 1e6))
    return groups


def draw(groups: dict[str, list[tuple[str, float]]], picture: str) -> None:
    """Draw a panel of bars for each group, two in a row, cheapest client on top."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    columns = min(2, len(groups))
    rows = -(-len(groups) // columns)
    tallest = max(map(len, groups.values()))
    figure, grid = pyplot.subplots(
        rows,
        columns,
        figsize=(6.5 * columns, (0.26 * tallest + 0.5) * rows),
        squeeze=False,
        layout="constrained",
    )
    panels = list(grid.flat)
    for (name, bars), panel in zip(groups.items(), panels, strict=False):
        _draw_panel(panel, name, sorted(bars, key=lambda bar: -bar[1]))
    for panel in panels[len(groups) :]:
        panel.set_visible(False)
    figure.suptitle("CPU of the client by event, µs (less is better)", fontsize=11)
    figure.savefig(picture)


def _draw_panel(panel: Any, name: str, bars: list[tuple[str, float]]) -> None:
    clients = [client for client, _ in bars]
    values = [value for _, value in bars]
    colours = [_COLOURS.get(c.replace(",", " ").split()[0], _OTHER_COLOUR) for c in clients]
    drawn = panel.barh(clients, values, color=colours)
    labels = [f"{value:.0f}" if value >= 100 else f"{value:.3g}" for value in values]
    panel.bar_label(drawn, labels=labels, padding=3, fontsize=8)
    panel.set_title(name.removeprefix("end-to-end "), loc="left", fontsize=9)
    panel.set_xlim(0, max(values) * 1.12)
    panel.set_xticks([])
    panel.tick_params(labelsize=8)
    panel.spines[["top", "right", "bottom"]].set_visible(False)


def main() -> None:
    """Read the command line and draw."""
    if len(sys.argv) not in (3, 4):
        raise SystemExit(__doc__)
    groups = read(sys.argv[1], *sys.argv[3:])
    if not groups:
        raise SystemExit(f"{sys.argv[1]} has no end-to-end results")
    draw(groups, sys.argv[2])


if __name__ == "__main__":
    main()
