"""
Build the compiled floors, only for the benchmark: one extension each, outside the package.

A floor that cannot be built (no compiler, no Cython, no zstd.h) is left out with the reason; the
others run. What was built is kept below the checkout's `build/`, keyed by what it was built from.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import sysconfig
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

KINDS = ("none", "libz", "libzstd", "zlib_package", "zstd_package")
_HERE = Path(__file__).parent
_LIBRARIES = {"libz": "z", "libzstd": "zstd"}


class Floors:
    """
    Attributes:
        directory: to be put on `sys.path`.
        problems: kind ("" for what all of them share) -> why it could not be built.
    """

    def __init__(self) -> None:
        root = os.environ.get("FASTGW_BENCH_CACHE") or _HERE.parents[1] / "build" / "bench-floor"
        self.directory = Path(root) / _key()
        self.directory.mkdir(parents=True, exist_ok=True)
        self.problems: dict[str, str] = {}
        self._built: set[str] = set()

    def problem(self, kind: str) -> str:
        """Build a floor if need be; return why it is not there, or an empty string."""
        base = self._build("bench_floor", "")
        return base or self._build(f"bench_floor_{kind}", _LIBRARIES.get(kind, ""))

    def shared_problem(self) -> str:
        """Build only what all share (it also has the empty method); return what went wrong."""
        return self._build("bench_floor", "")

    def _build(self, module: str, library: str) -> str:
        suffix = sysconfig.get_config_var("EXT_SUFFIX")
        if module in self.problems or (self.directory / f"{module}{suffix}").exists():
            return self.problems.get(module, "")
        command = [sys.executable, "-m", "bench.floor.build", module, library, str(self.directory)]
        run = subprocess.run(
            command, cwd=_HERE.parents[1], capture_output=True, text=True, check=False, timeout=600
        )
        if run.returncode:
            lines = [line.strip() for line in run.stderr.splitlines() if "rror" in line]
            lines.sort(key=lambda line: "fatal error" not in line)  # the compiler's word first
            reason = lines[0][:120] if lines else f"exit status {run.returncode}"
            self.problems[module] = f"cannot build {module}: {reason}"
        return self.problems.get(module, "")


def _key() -> str:
    """A name for what a build depends on: sources, interpreter, Cython and picows."""
    digest = hashlib.sha256()
    for path in sorted(_HERE.glob("*.p[yx]*")):
        digest.update(path.read_bytes())
    digest.update((sysconfig.get_config_var("SOABI") or sys.version).encode())
    digest.update(f"{_version('cython')} {_version('picows')}".encode())
    return digest.hexdigest()[:16]


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"
