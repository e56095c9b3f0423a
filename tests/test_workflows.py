"""The workflows run what `.ci/run` runs, on the Pythons that the package names."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
CI = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8"))["jobs"]
PROJECT = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
PYTHONS = re.findall(r"Programming Language :: Python :: (3\.\d+)", PROJECT)


def test_each_task_has_a_job():
    """One that no job runs is never red."""
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    tasks = re.search(r"^tasks=\((.+)\)$", script, re.MULTILINE)[1].split()
    (together,) = (step["run"] for step in CI["test"]["steps"] if ".ci/run" in step.get("run", ""))
    alone = CI["task"]["strategy"]["matrix"]["task"]
    assert sorted(together.split()[2:] + alone) == sorted(tasks)


@pytest.mark.parametrize("job", ["test", "wheel"])
def test_each_python_is_tested(job):
    """Those of the classifiers, no other."""
    assert CI[job]["strategy"]["matrix"]["python"] == PYTHONS


def test_each_python_gets_a_wheel():
    """cibuildwheel would build those that it knows, future ones as well."""
    (builds,) = re.findall(r"^build = \[(.+)\]$", PROJECT, re.MULTILINE)
    tags = re.findall(r'"cp(\d)(\d+)-\*"', builds)
    assert [f"{major}.{minor}" for major, minor in tags] == PYTHONS
