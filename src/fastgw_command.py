"""
The `fastgw` command's way in.

It stands outside of the package, whose import is most of the first half second: a Ctrl-C then is to
end it as any later one does, and not with a traceback of whatever was being imported.
"""

from __future__ import annotations

__all__ = ["main"]

_INTERRUPTED = 130  # as shells count a death by SIGINT


def main() -> int:
    """Import the command line and run it; returns the exit code."""
    try:
        from fastgw.cli import main as run

        return run()
    except KeyboardInterrupt:
        return _INTERRUPTED
