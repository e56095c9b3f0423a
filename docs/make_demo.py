"""
Draw docs/demo.svg, `fastgw demo` as a terminal shows it at its end: `python docs/make_demo.py`.

It is a real run, of ten seconds, recorded by rich; so each drawing has figures of its own.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console

from fastgw.cli import _view, demo

PICTURE = Path(__file__).with_name("demo.svg")
# Rich's own template has fonts from another host; the reader's will do.
TEMPLATE = re.sub(r"@font-face \{\{.*?\}\}\s*", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)


class Recorded(_view.LiveView):
    """The live view, into a record of 80 columns instead of a terminal."""

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self._console = Console(record=True, width=80, height=40, file=sys.stdout)
        self._frame = None

    def __enter__(self):
        return self

    def __exit__(self, *_details):
        pass

    def show(self, frame):
        self._frame = frame

    def summarise(self, summary):
        self._console.print("$ fastgw demo", highlight=False)
        self._console.print(self._view(self._frame))
        super().summarise(summary)
        drawn = self._console.export_svg(
            title="fastgw demo", code_format=TEMPLATE, unique_id="demo"
        )
        PICTURE.write_text(re.sub(r"[ \t]+$", "", drawn, flags=re.MULTILINE), encoding="utf-8")


def main() -> int:
    _view.choose = lambda **options: Recorded(options["seconds"])
    return demo.run_demo(10.0, 20_000, plain=False, as_json=False)


if __name__ == "__main__":
    sys.exit(main())
