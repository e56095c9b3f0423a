"""
Run the comparisons with other libraries, each library and version in an environment of its own.

    python tests/attach/environments.py                     # all that are tested
    python tests/attach/environments.py --share             # the few that CI runs
    python tests/attach/environments.py hikari-2.7.0 nextcord-2.6.0
    python tests/attach/environments.py --bench nextcord-2.6.0      # its rows of bench/, instead
    python tests/attach/environments.py --list

fastgw is built once, as one wheel, and installed into all of them: discord.py, py-cord and their
relatives have one module name and cannot share an environment. What is made stays in
`build/attach`, and is used again; `--fresh` makes it anew.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HOME = ROOT / "build" / "attach"
# Library and version, with the files of tests/attach that are about it.
TESTED = {
    "discord.py-2.4.0": "test_discord_*.py",
    "discord.py-2.5.2": "test_discord_*.py",
    "discord.py-2.6.4": "test_discord_*.py",
    "discord.py-2.7.1": "test_discord_*.py",
    "disnake-2.12.2": "test_discord_*.py",
    "py-cord-2.8.1": "test_discord_*.py",
    "nextcord-2.6.0": "test_discord_*.py",
    "hikari-2.7.0": "test_hikari_*.py",
}
# What CI runs, and what of it is left out there to keep the task within its minutes.
SHARE: dict[str, tuple[str, ...]] = {
    "discord.py-2.7.1": (),
    "disnake-2.12.2": ("-k", "not uvloop"),
    "hikari-2.7.0": (),
    # All that these two share with the others is tested there.
    "py-cord-2.8.1": ("-k", "(same or life or examples) and not uvloop"),
    "nextcord-2.6.0": ("-k", "(same or life or examples) and not uvloop"),
}
# What tests/conftest.py and the comparisons need, and no library of another family.
TOOLS = ("pytest>=8.4", "pytest-asyncio>=1.4", "pytest-timeout>=2.3", "hypothesis>=6.100")
BENCH_TOOLS = ("pytest-benchmark>=5.1",)


def run(*command: object, **options: object) -> None:
    """Run a command; its failure is ours."""
    subprocess.run([str(part) for part in command], check=True, **options)  # type: ignore[call-overload]


def python_of(name: str) -> Path:
    """Return the interpreter of an environment."""
    scripts = "Scripts/python.exe" if sys.platform == "win32" else "bin/python"
    return HOME / name / scripts


def build_wheel() -> Path:
    """Build fastgw of this tree, as one wheel."""
    folder = HOME / "wheel"
    shutil.rmtree(folder, ignore_errors=True)
    run(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", folder, ROOT)
    (wheel,) = folder.glob("fastgw-*.whl")
    return wheel


def make(name: str, wheel: Path) -> None:
    """Make the environment of a library, or bring this wheel into the one that is there."""
    library, _, version = name.rpartition("-")
    python = python_of(name)
    if not python.exists():
        run(sys.executable, "-m", "venv", HOME / name)
        more = [*TOOLS, f"{library}=={version}", f"{wheel}[testing,uvloop]"]
        run(python, "-m", "pip", "install", "-q", *more)
    run(python, "-m", "pip", "install", "-q", "--force-reinstall", "--no-deps", wheel)


def compare(name: str, arguments: list[str]) -> bool:
    """Run the tests of a library in its environment; tell whether they passed."""
    files = sorted((ROOT / "tests" / "attach").glob(TESTED[name]))
    if not files:
        raise SystemExit(f"{name}: tests/attach has no {TESTED[name]}")
    command = [python_of(name), "-m", "pytest", "-q", "-m", "attach", "-p", "no:cacheprovider"]
    environment = {**os.environ, "FASTGW_ATTACH_LIBRARY": name}
    ended = subprocess.run([*map(str, command), *arguments, *map(str, files)], cwd=ROOT,
                           env=environment)  # fmt: skip
    return ended.returncode == 0


def measure(name: str, arguments: list[str]) -> bool:
    """Run the benchmark of a library in its environment; tell whether it ran."""
    python = python_of(name)
    run(python, "-m", "pip", "install", "-q", *BENCH_TOOLS)
    command = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--benchmark-only"]
    file = ROOT / "bench" / "test_attach.py"
    ended = subprocess.run([*map(str, command), *arguments, str(file)], cwd=ROOT)
    return ended.returncode == 0


def main() -> int:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="What else is said goes to pytest, such as -x.",
    )
    parser.add_argument("names", nargs="*", help="such as hikari-2.7.0; none for all")
    parser.add_argument("--share", action="store_true", help="only those that CI runs")
    parser.add_argument("--bench", action="store_true", help="measure, rather than compare")
    parser.add_argument("--fresh", action="store_true", help="make all environments anew")
    parser.add_argument("--wheel", type=Path, help="a wheel of fastgw that is built already")
    parser.add_argument("--list", action="store_true", help="say which there are")
    options, arguments = parser.parse_known_args()
    names = options.names or tuple(SHARE if options.share else TESTED)
    if unknown := [name for name in names if name not in TESTED]:
        parser.error(f"{', '.join(unknown)} is not tested; there are {', '.join(TESTED)}")
    if options.list:
        print("\n".join(names))
        return 0
    if options.fresh:
        shutil.rmtree(HOME, ignore_errors=True)
    HOME.mkdir(parents=True, exist_ok=True)
    wheel = options.wheel or build_wheel()
    failed = []
    for name in names:
        began = time.monotonic()
        print(f"\n-- {name}", flush=True)
        make(name, wheel.resolve())
        left_out = SHARE[name] if options.share and name in SHARE else ()
        ran = (measure if options.bench else compare)(name, [*left_out, *arguments])
        if not ran:
            failed.append(name)
        print(f"-- {name}: {time.monotonic() - began:.0f} s", flush=True)
    if failed:
        print(f"\nfailed: {', '.join(failed)}", file=sys.stderr)
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
