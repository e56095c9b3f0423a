"""
Build the entrant in Rust, only for the benchmark, where cargo is.

Where it cannot be built (no cargo, no C compiler for zstd and ring, no crates to be had) it is left
out with the reason. What was built is kept below the checkout's `build/`; cargo sees what is new.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
from pathlib import Path

_HERE = Path(__file__).parent
# Some minutes of two idle processors, most of them in one link over all crates.
_BUILD_TIMEOUT_S = 1_800


def directory() -> Path:
    """Return where the program is when it has been built."""
    return _target() / "release"


@functools.cache
def problem() -> str:
    """Build the program if need be; return why it is not there, or an empty string."""
    cargo = shutil.which("cargo")
    if cargo is None:
        return "cargo is not installed"
    command = [cargo, "build", "--release", "--locked", "--quiet", "--target-dir", str(_target())]
    try:
        run = subprocess.run(
            command,
            cwd=_HERE,
            env=os.environ | {"CARGO_TERM_COLOR": "never"},
            capture_output=True,
            text=True,
            check=False,
            timeout=_BUILD_TIMEOUT_S,
        )
    except subprocess.TimeoutExpired:
        return f"cannot build bench-twilight: not done after {_BUILD_TIMEOUT_S} s"
    if not run.returncode:
        return ""
    errors = [line for line in run.stderr.splitlines() if line.startswith("error")]
    reason = errors[0][:120] if errors else f"exit status {run.returncode}"
    return f"cannot build bench-twilight: {reason}"


def _target() -> Path:
    cache = os.environ.get("FASTGW_BENCH_CACHE")
    return Path(cache) / "twilight" if cache else _HERE.parents[1] / "build" / "bench-twilight"
