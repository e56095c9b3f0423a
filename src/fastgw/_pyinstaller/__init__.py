"""
How PyInstaller finds what it cannot see: its entry point `pyinstaller40` names `get_hook_dirs`.
"""

from __future__ import annotations

from pathlib import Path

__all__ = ["get_hook_dirs"]


def get_hook_dirs() -> list[str]:
    """Return the directory of `hook-fastgw.py`, beside this file."""
    return [str(Path(__file__).parent)]
