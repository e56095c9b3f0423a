"""The words for ends: a name that speaks of one uses a word of the table in CONTRIBUTING.md."""

import ast
import itertools
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
TABLE = (ROOT / ".github" / "CONTRIBUTING.md").read_text()

# Stem of a word as it stands in names: how the table calls it, or would.
STEMS = {
    "abandon": "abandoned", "abort": "aborted", "broke": "broken", "broken": "broken",
    "clos": "closed", "cut": "cut", "dead": "dead", "destroy": "destroyed", "die": "died",
    "drain": "drain", "drop": "dropped", "end": "ended",
    "fail": "failed", "finish": "finished", "forget": "forgotten", "gone": "gone",
    "kill": "killed", "linger": "lingering", "lose": "lost", "lost": "lost", "orphan": "orphaned",
    "quit": "quit", "reap": "reaped", "releas": "released", "settl": "settled",
    "stop": "stopped", "terminat": "terminated",
}  # fmt: skip
ENDINGS = {"", "d", "e", "ed", "ing", "es", "s", "ped", "ping", "ted", "ting"}
PHRASES = {("let", "go"), ("give", "up"), ("given", "up"), ("gave", "up")}
# What is not about an end of ours: a rule that was broken, a holder's process, asyncio's own name.
OTHERS = {"broke_rule", "broken_off", "_is_dead", "_log_destroy_pending"}


def names_of(source: str) -> set[str]:
    """Return what a module names itself: functions, classes, arguments, variables."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names.add(node.name)
        elif isinstance(node, ast.arg):
            names.add(node.arg)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            names.add(node.attr)
    return names


def ends_in(name: str) -> set[str]:
    """Return the words for ends in a name, as the table calls them."""
    words = [word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)]
    found = {" ".join(pair) for pair in itertools.pairwise(words) if pair in PHRASES}
    for word in words:
        found |= {
            noun for stem, noun in STEMS.items()
            if word.startswith(stem) and word[len(stem):] in ENDINGS
        }  # fmt: skip
    return found


def table_words() -> set[str]:
    """Return the words that have a row."""
    return {word.strip(" *") for word in re.findall(r"^\|([^|]+)\|", TABLE, re.MULTILINE)}


def test_every_word_for_an_end_has_a_row():
    """No name of the package speaks of an end in a word that the table does not define."""
    strange = {}
    for path in sorted((ROOT / "src" / "fastgw").rglob("*.py")):
        for name in names_of(path.read_text()) - OTHERS:
            if unknown := ends_in(name) - table_words():
                strange[f"{path.name}: {name}"] = unknown
    assert not strange, "use a word of the table in .github/CONTRIBUTING.md, or add a row"


def test_compiled_parts_use_the_same_words():
    """What stubs promise of the compiled modules keeps to the table, too."""
    strange = {}
    for path in sorted((ROOT / "src" / "fastgw").rglob("*.pyi")):
        for name in names_of(path.read_text()):
            if unknown := ends_in(name) - table_words():
                strange[f"{path.name}: {name}"] = unknown
    assert not strange, "use a word of the table in .github/CONTRIBUTING.md, or add a row"


def test_draining_is_said_of_handlers_alone():
    """`drain` is the wait for handlers and its option; nothing else is named so."""
    places = set()
    for path in (ROOT / "src" / "fastgw").rglob("*.py"):
        places |= {name for name in names_of(path.read_text()) if "drain" in ends_in(name)}
    assert places == {"drain", "drain_s", "check_drain", "DRAIN_S"}


def test_the_test_knows_what_people_reach_for():
    """Other words for ends are found however they are spelt in a name."""
    assert ends_in("_let_go_of_socket") == {"let go"}
    assert ends_in("_lingering") == {"lingering"}
    assert ends_in("SessionFinished") == {"finished"}
    assert ends_in("is_closing") == {"closed"}
    assert ends_in("endpoint_of") == set()
