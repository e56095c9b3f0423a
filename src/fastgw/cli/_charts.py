"""Charts as SVG text: a line over time, and bars. Colours are the page's: it may be dark."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from html import escape

__all__ = ["Band", "bars", "line"]

# A stretch of time that something happened in: begin, end, and its name.
Band = tuple[float, float, str]
Points = Sequence[tuple[float, float | None]]

_WIDTH, _HEIGHT = 720, 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 12, 24, 28
_INNER_W, _INNER_H = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM
# More points than this are not seen in a chart of that width, and only make the page larger.
_MAX_POINTS = 240
# So many names of bars stand beside each other.
_MAX_NAMES = 10


def line(name: str, points: Points, *, until: float, bands: Sequence[Band] = ()) -> str:
    """
    Draw a line over time from 0 to `until` seconds; it is broken where a value is None.

    Args:
        name: for whoever cannot see the chart.
        points: seconds and value, in the order of time.
        bands: drawn behind the line, with their names above.
    """
    points = _thinned(points)
    ticks = _ticks(max((value for _, value in points if value is not None), default=1.0))

    def x(at: float) -> float:
        return _LEFT + _INNER_W * min(max(at / until, 0.0), 1.0)

    def y(value: float) -> float:
        return _TOP + _INNER_H * (1 - value / ticks[-1])

    parts = [*_bands(bands, x), *_horizontals(ticks, y)]
    parts += [
        _text(x(second), _HEIGHT - 8, f"{second:g} s", "middle")
        for second in _ticks(until)
        if second <= until
    ]
    for run in _runs(points):
        path = " L".join(f"{x(at):.1f} {y(value):.1f}" for at, value in run)
        parts.append(f'<path class="line" d="M{path}"/>')
    return _svg(name, parts)


def bars(name: str, counts: Sequence[tuple[str, int]]) -> str:
    """Draw a bar for each name and count, as shares of all in percent."""
    total = sum(count for _, count in counts) or 1
    shares = [100 * count / total for _, count in counts]
    ticks = _ticks(max(shares, default=1.0))
    step = _INNER_W / max(len(counts), 1)
    every = math.ceil(len(counts) / _MAX_NAMES)

    def y(value: float) -> float:
        return _TOP + _INNER_H * (1 - value / ticks[-1])

    parts = [*_horizontals(ticks, y, "%")]
    for index, ((label, count), share) in enumerate(zip(counts, shares, strict=True)):
        left = _LEFT + index * step
        parts.append(
            f'<rect class="bar" x="{left + step * 0.1:.1f}" y="{y(share):.1f}" '
            f'width="{step * 0.8:.1f}" height="{_INNER_H + _TOP - y(share):.1f}">'
            f"<title>{escape(label)}: {count:,} ({share:.2f} %)</title></rect>"
        )
        if index % every == 0:
            parts.append(_text(left + step / 2, _HEIGHT - 8, label, "middle"))
    return _svg(name, parts)


def _svg(name: str, parts: Sequence[str]) -> str:
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(name)}">\n'
        + "\n".join(parts)
        + "\n</svg>"
    )


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _bands(bands: Sequence[Band], x: Callable[[float], float]) -> Iterator[str]:
    for began, ended, name in bands:
        left, width = x(began), max(x(ended) - x(began), 1.5)
        yield (
            f'<rect class="band" x="{left:.1f}" y="{_TOP}" '
            f'width="{width:.1f}" height="{_INNER_H}"/>'
        )
        # Near an edge the name leans inwards.
        anchor = "start" if left < _WIDTH * 0.3 else "end" if left > _WIDTH * 0.7 else "middle"
        yield _text(left + width / 2, _TOP - 8, name, anchor)


def _horizontals(
    ticks: Sequence[float], y: Callable[[float], float], unit: str = ""
) -> Iterator[str]:
    right = _WIDTH - _RIGHT
    for value in ticks:
        at = y(value)
        yield f'<line class="grid" x1="{_LEFT}" x2="{right}" y1="{at:.1f}" y2="{at:.1f}"/>'
        yield _text(_LEFT - 6, at + 4, f"{value:,.10g}{unit}", "end")


def _ticks(highest: float) -> list[float]:
    """Return round values from 0 to at least `highest`, three to six of them."""
    if highest <= 0:
        return [0.0, 1.0]
    rough = highest / 4
    power: float = 10 ** math.floor(math.log10(rough))
    step = next(step * power for step in (1, 2, 2.5, 5, 10) if step * power >= rough)
    return [step * index for index in range(math.ceil(highest / step - 1e-9) + 1)]


def _thinned(points: Points) -> Points:
    """Keep the highest of so many neighbours, so that a short peak is not lost."""
    size = math.ceil(len(points) / _MAX_POINTS)
    if size <= 1:
        return points
    kept = []
    for first in range(0, len(points), size):
        group = points[first : first + size]
        kept.append(max(group, key=lambda point: -1.0 if point[1] is None else point[1]))
    return kept


def _runs(points: Points) -> Iterator[list[tuple[float, float]]]:
    """Yield the stretches without a None between; a single point is no line."""
    run: list[tuple[float, float]] = []
    for at, value in points:
        if value is not None:
            run.append((at, value))
            continue
        if len(run) > 1:
            yield run
        run = []
    if len(run) > 1:
        yield run
