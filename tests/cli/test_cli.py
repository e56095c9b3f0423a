"""The command line, as a user runs it: in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest


def fastgw(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "fastgw.cli", *arguments],
        capture_output=True,
        text=True,
        timeout=90,
    )


def test_demo_holds_what_it_promises():
    """`fastgw demo` resumes after the cut, loses and duplicates nothing, and exits with 0."""
    done = fastgw("demo", "--seconds", "2", "--rate", "2000", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    summary = json.loads(done.stdout)
    assert summary["holds"] is True
    assert summary["resumes"] == 1
    assert (summary["lost"], summary["duplicated"]) == (0, 0)
    assert summary["events"] == summary["dropped"] + summary["delivered"]
    assert summary["delivered"] > summary["decoded"] > 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "COMMAND"),
        (["demo", "--seconds", "0"], "between 2 and 3600"),
        (["demo", "--rate", "many"], "invalid"),
        (["dmo"], "invalid choice"),
    ],
)
def test_wrong_arguments_are_told(arguments, says):
    """Bad arguments end with exit code 2 and a sentence."""
    done = fastgw(*arguments)
    assert done.returncode == 2
    assert says in done.stderr
