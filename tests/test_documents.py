"""The pages for readers: their links lead somewhere, their decisions say when to look again."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob(".github/*.md")])
DECISIONS = re.findall(
    r"^\*\*.+?(?=\n\n|\Z)", (ROOT / "docs" / "decisions.md").read_text("utf-8"), re.M | re.S
)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page):
    """A file that moved takes its links along."""
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text("utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("decision", DECISIONS, ids=lambda text: text.split("**")[1])
def test_a_decision_has_its_date_and_its_end(decision):
    """Each says when it was taken, and what would make us look again."""
    words = " ".join(decision.split())
    assert re.search(r"\b20\d\d-\d\d-\d\d\b", words)
    assert re.search(r"\*Look again when\* \S", words)


def test_the_diagram_of_states_is_up_to_date():
    """docs/states.md is what docs/make_states.py writes for today's table."""
    drawn = runpy.run_path(str(ROOT / "docs" / "make_states.py"))["page"]()
    assert (ROOT / "docs" / "states.md").read_text(encoding="utf-8") == drawn


def test_no_line_of_the_changelog_stands_there_twice():
    """Merges of two entries at one place leave the ends of others behind."""
    lines = [line for line in (ROOT / "CHANGELOG.md").read_text("utf-8").splitlines() if line]
    assert [line for line in lines if lines.count(line) > 1] == []


def test_the_reader_of_decisions_reads():
    """A test of the tests: a paragraph in bold is a decision."""
    assert len(DECISIONS) > 20


def test_every_page_is_in_the_navigation():
    """A page of the site that nothing leads to is not read."""
    lines = (ROOT / "mkdocs.yml").read_text("utf-8").splitlines()
    listed = {line.rpartition(": ")[2] for line in lines if line.endswith(".md")}
    docs = ROOT / "docs"
    assert listed == {page.relative_to(docs).as_posix() for page in docs.rglob("*.md")}


@pytest.mark.parametrize("page", sorted(ROOT.glob("docs/**/*.md")), ids=lambda page: page.name)
def test_no_link_of_the_site_leads_out_of_it(page):
    """What stands beside docs/ is no page there; the strict build refuses it."""
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text("utf-8"))
    docs = ROOT / "docs"
    assert [x for x in links if not (page.parent / x).resolve().is_relative_to(docs)] == []


def test_the_table_of_floors_names_modules_that_are_there():
    """Who looks for a thing begins at this table; a module that was renamed takes it along."""
    text = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    rows = re.findall(r"^\| (`[^|]*) \|[^|]*\|([^|]*)\|$", text, re.M)
    assert len(rows) > 8
    source = ROOT / "src" / "fastgw"
    for floors, modules in rows:
        folders = [source, *(source / floor for floor in re.findall(r"`(\w+)/?`", floors))]
        for name in re.findall(r"`(\w+)/?`", modules):
            assert any(list(folder.glob(f"{name}*")) for folder in folders), (floors, name)


def test_every_logger_is_documented():
    """The tree in docs/operating.md is that of the sources."""
    sources = (path.read_text("utf-8") for path in (ROOT / "src" / "fastgw").rglob("*.py"))
    used = {name for text in sources for name in re.findall(r'careful_logger\("([a-z.]+)"\)', text)}
    page = (ROOT / "docs" / "operating.md").read_text("utf-8")
    listed = set(re.findall(r"^\| `(fastgw\.[a-z]+)` \|", page, re.M))
    assert used == listed


def _tests() -> set[str]:
    """Return the names of all test files, functions and classes."""
    names = set()
    for path in (ROOT / "tests").rglob("test_*.py"):
        names.update((path.name, *re.findall(r"(?:def|class) (\w+)", path.read_text("utf-8"))))
    return names


def _named_in_tables(page: Path) -> list[str]:
    """Return what the last column of each table that is headed by tests names as code."""
    found, is_ours = [], False
    before = ""
    for line in page.read_text("utf-8").splitlines():
        if not line.startswith("|"):
            is_ours = False
        elif not before.startswith("|"):
            head = line.strip("|").split("|")[-1]
            is_ours = "test" in head or "shown by" in head
        elif is_ours:
            found += re.findall(r"`((?:test_|Test|[a-z]+_)\w+(?:\.py)?)`", line.rsplit("|", 2)[-2])
        before = line
    return found


@pytest.mark.parametrize(("page", "least"), [("scaling-out", 15), ("scaling-proof", 45)])
def test_the_tests_that_a_page_names_are_there(page, least):
    """A guarantee whose test was renamed shows nothing."""
    named, there = _named_in_tables(ROOT / "docs" / f"{page}.md"), _tests()
    assert len(named) > least
    assert [name for name in named if not {name, f"test_{name}"} & there] == []
