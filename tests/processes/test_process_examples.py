"""The systemd unit and the container of the examples say what `fastgw run` understands."""

from __future__ import annotations

import argparse
import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from fastgw.cli import run
from fastgw.processes.settings import STOP_TIMEOUT_S, ProcessOptions

EXAMPLES = Path(__file__).parents[2] / "examples"
UNIT = EXAMPLES / "systemd" / "my-bot.service"
DOCKERFILE = EXAMPLES / "container" / "Dockerfile"

pytestmark = pytest.mark.skipif(not EXAMPLES.exists(), reason="only in the source tree")


def check(words):
    """Check the words of a command line as `fastgw run` does."""
    assert (Path(words[0]).name, words[1]) == ("fastgw", "run")
    parser = argparse.ArgumentParser()
    run.add_arguments(parser)
    options = parser.parse_args(words[2:])
    ProcessOptions(target=options.target, processes=options.processes)


def test_the_unit_runs_a_command_that_there_is():
    """And gives it longer to stop than it gives its workers."""
    settings = dict(re.findall(r"^(\w+)=(.*)$", UNIT.read_text(), re.MULTILINE))
    check(shlex.split(settings["ExecStart"]))
    assert settings["Type"] == "notify"
    assert float(settings["TimeoutStopSec"]) > STOP_TIMEOUT_S


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd")
def test_the_unit_is_one(tmp_path):
    """`systemd-analyze verify` has nothing to say; of a program that is there, as it wants."""
    text = UNIT.read_text().replace("/srv/my-bot/.venv/bin/fastgw", "/bin/true")
    unit = tmp_path / UNIT.name
    unit.write_text(text)
    done = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True)
    about_it = [line for line in done.stderr.splitlines() if UNIT.name in line]
    assert about_it == []


def test_the_container_runs_a_command_that_there_is():
    """As a list, so that no shell keeps SIGTERM to itself."""
    (command,) = re.findall(r"^CMD (\[.*\])$", DOCKERFILE.read_text(), re.MULTILINE)
    check(json.loads(command))
