"""The pages of the site: their code runs as printed, and the reference has every public name."""

from __future__ import annotations

import asyncio
import dataclasses
import enum
import importlib
import importlib.util
import inspect
import re
import sys
import warnings
from pathlib import Path

import pytest
from deadline import scaled

import fastgw
import fastgw.testing
from fastgw import errors

DOCS = Path(__file__).parents[1] / "docs"
# docs/commands.md shows what stands in a coroutine: tests/gateway/test_commands_page.py runs it.
PAGES = sorted(page for page in DOCS.glob("*.md") if page.stem != "commands")
REFERENCE = "\n".join(page.read_text("utf-8") for page in DOCS.glob("reference/*.md"))
# Code of others, shown for comparison, and a program that ends in an error: compiled, and not run.
NOT_RUN = {' title="before"', ' title="asyncio"', ' title="without fastgw"'}
# Of other libraries: run where these are installed (they are by the extra `test`), else compiled.
LIBRARIES = {' title="discord.py"': "discord", ' title="hikari"': "hikari"}


def blocks_of(page):
    """Return the blocks of Python on a page: what stands behind the word, and the code."""
    return re.findall(r"^```python([^\n]*)\n(.*?)^```", page.read_text("utf-8"), re.M | re.S)


def run_page(page):
    """Run the blocks of a page, each on top of those before it; return what they left."""
    scope = {"__name__": page.stem}
    if any(kind in LIBRARIES for kind, _ in blocks_of(page)):
        scope["token"] = "MTIzNDU2Nzg5MDEyMzQ1Njc4.a.b"  # hikari reads the id of its bot in it
    for kind, block in blocks_of(page):
        code = compile(block, page.name, "exec", dont_inherit=True)
        if kind not in NOT_RUN and is_there(LIBRARIES.get(kind, "fastgw")):
            exec(code, scope)
    return scope


def is_there(package):
    """Tell whether this can be imported; what a library warns of then is not ours."""
    if importlib.util.find_spec(package) is None:
        return False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        importlib.import_module(package)
    return True


@pytest.fixture
def running_no_library(monkeypatch):
    """Bots of other libraries that do not run, and whose addresses are their own afterwards."""
    if is_there("discord"):
        monkeypatch.setattr(sys.modules["discord"].Client, "run", lambda bot, token: None)
        route = importlib.import_module("discord.http").Route
        monkeypatch.setattr(route, "BASE", route.BASE)
    if is_there("hikari"):
        monkeypatch.setattr(sys.modules["hikari"].GatewayBot, "run", lambda bot: None)


@pytest.mark.parametrize("page", [p for p in PAGES if blocks_of(p)], ids=lambda page: page.stem)
async def test_the_code_of_a_page_runs(page, monkeypatch, running_no_library):
    """As printed, with a token in the environment; `bot.run(token)` of other libraries ends."""
    monkeypatch.setenv("DISCORD_TOKEN", "test-token")
    run_page(page)


SHOWN_TESTS = re.findall(
    r"^async def (test_\w+)\(([^)]*)\)", (DOCS / "testing.md").read_text("utf-8"), re.M
)


@pytest.mark.parametrize("name", [name for name, takes in SHOWN_TESTS if "connected" not in takes])
async def test_the_tests_of_a_page_pass(name, fake_gateway):
    """docs/testing.md shows tests."""
    test = run_page(DOCS / "testing.md")[name]
    takes_fixture = "fake_gateway" in inspect.signature(test).parameters
    await asyncio.wait_for(test(*[fake_gateway] * takes_fixture), scaled(20.0))


@pytest.mark.parametrize("name", [name for name, takes in SHOWN_TESTS if "connected" in takes])
async def test_those_with_a_connected_gateway_pass(name, fake_gateway, connected_gateway):
    """The same, of those that take both fixtures."""
    test = run_page(DOCS / "testing.md")[name]
    await asyncio.wait_for(test(fake_gateway, connected_gateway), scaled(20.0))


def test_a_block_of_another_kind_is_noticed():
    """A test of the tests: every block of Python is run, or is said to be none of ours."""
    kinds = {kind for page in PAGES for kind, _ in blocks_of(page)}
    assert kinds == {"", *NOT_RUN, *LIBRARIES}
    assert len(SHOWN_TESTS) == 4


# ---------------------------------------------------------------------------- the reference


@pytest.mark.parametrize(
    ("module", "prefix"), [(fastgw, "fastgw."), (fastgw.testing, "fastgw.testing.")]
)
def test_every_public_name_has_its_place_in_the_reference(module, prefix):
    """On exactly one page."""
    shown = re.findall(rf"^::: {re.escape(prefix)}(\w+)$", REFERENCE, re.M)
    assert sorted(shown) == sorted(set(shown))
    assert set(module.__all__) - set(shown) == ({"__version__"} if module is fastgw else set())


def members_without_text(kind):
    """Yield the public members of a class that neither they nor the class's text explain."""
    texts = " ".join(inspect.getdoc(base) or "" for base in kind.__mro__ if is_ours(base))
    named = set(re.findall(r"\w+", texts))
    for base in kind.__mro__:
        if not is_ours(base):
            continue
        for name, member in vars(base).items():
            if name.startswith("_") or isinstance(member, enum.Enum):
                continue
            is_value = not callable(member) and not isinstance(member, (property, classmethod))
            is_told = bool(inspect.getdoc(member)) and hasattr(member, "__get__")
            if not is_told and not (is_value and name in named):
                yield name


def is_ours(kind):
    return kind.__module__.partition(".")[0] == "fastgw"


CLASSES = [
    getattr(module, name)
    for module in (fastgw, fastgw.testing)
    for name in module.__all__
    if isinstance(getattr(module, name), type)
]


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_every_public_member_has_its_text(kind):
    """A method its own, a value one of its own or a word in the text of its class."""
    assert inspect.getdoc(kind)
    assert list(members_without_text(kind)) == []
    if dataclasses.is_dataclass(kind):
        words = set(re.findall(r"\w+", inspect.getdoc(kind)))
        assert {field.name for field in dataclasses.fields(kind)} <= words


def test_a_member_without_text_is_found():
    """A test of the tests."""

    class Ours(errors.FastgwError):
        """Has nothing to say."""

        __module__ = "fastgw.errors"
        unexplained = 1

        def method(self):
            pass

    assert list(members_without_text(Ours)) == ["unexplained", "method"]
