"""Numbers on the command line: one that cannot be is told together with those that can."""

from __future__ import annotations

import argparse
from collections.abc import Callable

__all__ = ["seconds", "whole"]


def whole(least: int, most: int) -> Callable[[str], int]:
    """Return what reads a whole number of an argument, for `type=` of argparse."""

    def read(text: str) -> int:
        return int(_read(text, least, most, int))

    return read


def seconds(least: float, most: float) -> Callable[[str], float]:
    """Return what reads a number of seconds of an argument, for `type=` of argparse."""

    def read(text: str) -> float:
        return _read(text, least, most, float)

    return read


def _read(text: str, least: float, most: float, kind: Callable[[str], float]) -> float:
    try:
        value = kind(text)
    except ValueError:
        value = float("nan")
    if not least <= value <= most:
        what = "whole number" if kind is int else "number"
        raise argparse.ArgumentTypeError(f"{text!r} is no {what} between {least} and {most}")
    return value
