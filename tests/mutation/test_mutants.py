"""The mutation tool itself: what it changes, how it names that, what it remembers."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from memory import Memory, reasons_of
from mutants import mutants_of

try:
    from run import Tracer
except ModuleNotFoundError:  # no `resource` on Windows
    Tracer = None

SOURCE = '''
class Shape:
    """An example."""

    def __init__(self, size=1):
        self.size = size

    @property
    def area(self):
        return self.size * self.size  # square

    @area.setter
    def area(self, value):
        self.size = value

    def fits(self, least, most):
        if not least <= max(self.size, 0) < most:
            raise ValueError(f"{self.size} is not within {least - 1}")
        return not self.size
'''


def changes_of(function):
    return [m.what for m in mutants_of("shape.py", SOURCE) if m.function == f"Shape.{function}"]


def test_each_part_of_a_chain_is_changed():
    """Both bounds, the extreme, the number, the condition, what is raised, what is returned."""
    assert changes_of("fits") == [
        "if not least <= max(self.size, 0) < most: ...  ->  if not not least <= max(self.size, 0) "
        "< most: ...",
        "least <= max(self.size, 0) < most  ->  least < max(self.size, 0) < most",
        "least <= max(self.size, 0) < most  ->  least <= max(self.size, 0) <= most",
        "max(self.size, 0)  ->  min(self.size, 0)",
        "0  ->  1",
        "raise ValueError(f'{self.size} is not within {least - 1}')  ->  pass",
        "not self.size  ->  not not self.size",
    ]


def test_defaults_and_words_are_left_alone():
    """A function's code does not hold its defaults; texts are for people."""
    assert changes_of("__init__") == ["self.size = size  ->  pass"]


def test_a_property_is_told_from_its_setter():
    """They have one name, and other code."""
    found = [m for m in mutants_of("shape.py", SOURCE) if m.function == "Shape.area"]
    assert [(m.accessor, m.text) for m in found] == [
        ("fget", "return self.size * self.size"), ("fset", "self.size = value")
    ]  # fmt: skip


def test_a_mutant_does_what_it_says():
    """Put in the place of the function's code."""
    (mutant,) = (m for m in mutants_of("shape.py", SOURCE) if m.accessor == "fget")
    space: dict = {}
    exec(SOURCE, space)
    shape = space["Shape"](4)
    space["Shape"].area.fget.__code__ = mutant.code
    assert shape.area == 1.0


def test_a_verdict_holds_until_the_function_changes(tmp_path):
    """The same change of another function is another mutant."""
    path = tmp_path / "build" / "mutants.jsonl"
    mutants, changed = (
        list(mutants_of("/base/shape.py", source))
        for source in (SOURCE, SOURCE.replace("return not self.size", "return self.size"))
    )
    memory = Memory(path, Path("/base"))
    for mutant in mutants:
        assert memory.verdict(mutant) is None
        memory.note(mutant, killed=mutant.function != "Shape.__init__")
    later = Memory(path, Path("/base"))
    assert {m.function: later.verdict(m) for m in changed} == {
        "Shape.__init__": False, "Shape.area": True, "Shape.fits": None
    }  # fmt: skip
    later.forget()
    assert Memory(path, Path("/base")).verdict(mutants[0]) is None


@pytest.mark.skipif(Tracer is None, reason="nothing forks here")
def test_a_line_that_a_forked_child_reaches_is_seen():
    """Beside those of the test itself, whose memory the child's lines never get into."""
    space: dict = {}
    exec(compile(SOURCE, "shape.py", "exec"), space)
    before = sys.gettrace()
    with tempfile.TemporaryFile() as forked:
        tracer = Tracer({"shape.py"}, forked.fileno())
        sys.settrace(tracer)
        try:
            shape = space["Shape"](4)
            child = os.fork()
            if not child:
                try:
                    assert shape.area
                finally:
                    os._exit(0)
        finally:
            sys.settrace(before)
        os.waitpid(child, 0)
        made, asked = ("shape.py", 6), ("shape.py", 10)
        assert made in tracer.lines
        assert asked not in tracer.lines
        children = tracer.lines_of_children()
        assert asked in children
        assert made not in children
        assert not tracer.lines_of_children()


@pytest.mark.parametrize("text", ["a mutant\n", "  a reason\n", "a mutant\nanother\n  a reason\n"])
def test_each_mutant_that_is_not_tried_has_a_reason(tmp_path, text):
    """One without is a mistake, and says where."""
    path = tmp_path / "not_tried.txt"
    path.write_text("# remark\n\na mutant [x] 0  ->  1\n    why\n")
    assert reasons_of(path) == {"a mutant [x] 0  ->  1": "why"}
    path.write_text(text)
    with pytest.raises(ValueError, match="reason"):
        reasons_of(path)


def test_our_own_list_is_well_formed():
    """The one that runs go by."""
    assert all(reasons_of(Path(__file__).parent / "not_tried.txt").values())
