"""What the README shows runs: its bot against a fake gateway, its test, its commands."""

from __future__ import annotations

import asyncio
import os
import re
import runpy
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from deadline import scaled, until

import fastgw
from fastgw import Gateway
from fastgw.cli import _view
from fastgw.cli._figures import Frame

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8")
QUICKSTART = (ROOT / "docs" / "quickstart.md").read_text("utf-8")

INDEX = (ROOT / "docs" / "index.md").read_text("utf-8")


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


ATTACH, BOT, TEST = blocks("python")


async def test_readmes_bot_runs(fake_gateway, monkeypatch):
    """The first bot, as printed, but against a fake gateway and in the loop of this test."""
    monkeypatch.setenv("DISCORD_TOKEN", "test-token")
    monkeypatch.setattr(fastgw, "Gateway", partial(Gateway, info=fake_gateway.info))
    monkeypatch.setattr(Gateway, "run", lambda gateway: None)
    printed: list[tuple[object, ...]] = []
    scope: dict[str, Any] = {"print": lambda *said: printed.append(said)}
    exec(BOT, scope)
    async with scope["gateway"]:
        message = {"guild_id": "7", "author": {"username": "ada"}, "content": "hello"}
        fake_gateway.dispatch("MESSAGE_CREATE", message)
        await until(lambda: printed)
    assert printed == [(7, "ada", "hello")]


def test_readmes_bot_without_a_token_says_what_to_do(tmp_path):
    """`python bot.py`, as a newcomer tries it first: one line, and no traceback."""
    (tmp_path / "bot.py").write_text(BOT)
    env = {name: value for name, value in os.environ.items() if not name.startswith("DISCORD_")}
    done = subprocess.run(
        [sys.executable, "bot.py"], cwd=tmp_path, env=env, capture_output=True, text=True,
        timeout=scaled(60),
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "fastgw: there is no token: set DISCORD_TOKEN or DISCORD_TOKEN_FILE, or pass token=\n"
    )


def test_readmes_picture_is_of_the_published_figures():
    """docs/cost.svg is what docs/make_cost.py draws; the text says the same."""
    drawn = runpy.run_path(str(ROOT / "docs" / "make_cost.py"))
    assert drawn["picture"]() == (ROOT / "docs" / "cost.svg").read_text(encoding="utf-8")
    bars = drawn["figures"]()
    assert f"{bars['fastgw']:g} µs against {bars['discord.py']:g}" in README
    assert 15.5 < bars["discord.py"] / bars["fastgw"] < 16.5


def test_readmes_demo_is_the_one_of_today():
    """The picture has the rows of the demo and its verdict, and asks no other host for fonts."""
    drawn = (ROOT / "docs" / "demo.svg").read_text("utf-8").replace("&#160;", " ")
    frame = Frame(0.0, "ready", 10, 1.0, 1.0, 1, 1, 1, None, 1.0, 1.0)
    assert [name for name, _ in _view._rows(frame) if name not in drawn] == []
    assert "everything held" in drawn
    assert "url(http" not in drawn


def test_readmes_table_is_of_the_published_figures():
    """Each figure stands in docs/performance.md, in the row of the same client."""
    published = (ROOT / "docs" / "performance.md").read_text("utf-8").splitlines()
    table = re.findall(
        r"^\| (?!CPU|floor)(.+?) \|(.+)\|$", README[: README.index("## What it does not")], re.M
    )
    assert len(table) == 7
    for client, cells in table:
        name = client.replace("*", "").partition(",")[0]
        rows = " ".join(row for row in published if row.startswith("|") and name in row)
        figures = re.findall(r"[\d.]+", cells)
        assert len(figures) >= 2
        assert [figure for figure in figures if f" {figure} " not in rows] == [], client


async def test_readmes_test_of_the_bot_passes(fake_gateway, monkeypatch):
    """The README's test, run as printed beside the examples: what it needs is in it."""
    monkeypatch.syspath_prepend(ROOT / "examples")
    monkeypatch.delitem(sys.modules, "prefix", raising=False)
    scope: dict[str, Any] = {}
    exec(TEST, scope)
    await asyncio.wait_for(scope["test_ping_is_answered"](fake_gateway), scaled(20.0))


@pytest.mark.parametrize("page", [README, QUICKSTART, INDEX], ids=["readme", "quickstart", "site"])
def test_a_newcomer_is_told_where_to_get_it(page):
    """Until the first release PyPI has nothing: said above the first command, which would fail."""
    changes = (ROOT / "CHANGELOG.md").read_text("utf-8")
    is_out = "## 0.1.0 (unreleased)" not in changes
    assert ("is not on PyPI yet" in page) is not is_out
    if not is_out:
        assert page.index("is not on PyPI yet") < page.index("pip install 'fastgw")


def test_readme_says_first_what_fastgw_is_not():
    """Install, a bot, the picture, what it does not do: then what it does."""
    order = "pip install", "@gateway.on(", "cost.svg", "## What it does not", "## What it does\n"
    places = [README.index(part) for part in order]
    assert places == sorted(places)


def test_readmes_attach_line_stands_on_its_first_screen():
    """Most who come have a bot already; the one line stands above a new bot, and any table."""
    assert ATTACH == "fastgw.attach(bot)\n"
    assert README.index(ATTACH) < README.index(BOT) < README.index("\n| ")
    assert README[: README.index(ATTACH)].count("\n") < 30


def test_readme_counts_the_cases_of_reliability():
    """As many as its table has."""
    page = (ROOT / "docs" / "reliability.md").read_text("utf-8")
    cases = len(re.findall(r"^\| \d+ \|", page, re.M))
    assert f"names the test of each of {cases} cases" in " ".join(README.split())


def test_readmes_test_names_what_it_needs():
    """What the test and the example import beside fastgw stands in the command above it."""
    command = blocks("sh")[-1]
    example = (ROOT / "examples" / "prefix.py").read_text("utf-8")
    imports = set(re.findall(r"^(?:import|from) (\w+)", example + TEST, re.M))
    needed = imports - set(sys.stdlib_module_names) - {"fastgw", "prefix"}
    assert needed == {"aiohttp"}
    assert {*needed, "'fastgw[testing]'", "pytest", "pytest-asyncio"} <= set(command.split())


def test_readme_names_the_extra_of_each_part_that_needs_one():
    """`/metrics` without it answers 501."""
    assert README.index("`/metrics`") < README.index("fastgw[metrics]")


def test_ci_runs_the_readmes_test_command():
    """.ci/run calls what the README tells a newcomer to call."""
    _, demo, tests, _ = (block.strip() for block in blocks("sh"))
    script = (ROOT / ".ci" / "run").read_text()
    assert tests in script
    assert demo.endswith(".venv/bin/fastgw demo")
    assert ".venv/bin/fastgw demo" in script


def test_tests_without_their_extra_say_what_to_install(tmp_path):
    """One line and no traceback, where `pip install .` was all that was done before."""
    missing = "raise ModuleNotFoundError(\"No module named 'hypothesis'\", name='hypothesis')"
    (tmp_path / "hypothesis.py").write_text(missing)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:hypothesispytest", "tests/test_effort.py"],
        capture_output=True,
        text=True,
        timeout=scaled(60),
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
    )
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    (line,) = done.stderr.splitlines()
    assert line.startswith("No module named 'hypothesis'")
    assert "pip install '.[test]'" in line
