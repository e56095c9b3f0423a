"""`fastgw explain`: how it looks; tests/attach has what it says of bots."""

from __future__ import annotations

import sys

import pytest

from fastgw.cli import explain, main
from fastgw.ext.attachment import Explanation, Reason

LONG = ("on_message in cog Levels", "wait_for('message')", "max_messages=1000") * 4
EXPLANATION = Explanation(
    "discord.py 2.7.1",
    (
        Reason("MESSAGE_CREATE", True, False, LONG),
        Reason("GUILD_SCHEDULED_EVENT_USER_REMOVE", False, False, ("nobody listens to it",)),
    ),
    ("intents that open nothing that anybody needs: " + ", ".join(["GUILD_PRESENCES"] * 9),),
)


class Found:
    """An attachment, as far as the command asks it."""

    def explain(self):
        return EXPLANATION


@pytest.fixture
def explained(monkeypatch, capsys):
    """Run the command at 80 columns, in a terminal or not; return what it wrote, by lines."""

    async def find(target):
        return Found()

    def run(*, is_terminal):
        monkeypatch.setattr(explain, "_find", find)
        monkeypatch.setattr(sys.stdout, "isatty", lambda: is_terminal, raising=False)
        monkeypatch.setenv("COLUMNS", "80")
        assert main(["explain", "mine:bot"]) == 0
        return capsys.readouterr().out.splitlines()

    return run


def test_a_terminal_gets_lines_that_fit_it(explained):
    """Each reason goes on below where it began, and no word is lost."""
    lines = explained(is_terminal=True)
    assert max(map(len, lines)) < 80
    (first,) = (number for number, line in enumerate(lines) if line.startswith("MESSAGE_CREATE"))
    column = lines[first].index(LONG[0])
    assert lines[first + 1][:column].isspace()
    assert " ".join(" ".join(lines).split()) == " ".join(str(EXPLANATION).split())


def test_a_pipe_gets_a_line_for_each_event(explained):
    """For `grep` and `wc -l`."""
    lines = explained(is_terminal=False)
    assert lines == str(EXPLANATION).splitlines()
    assert len(lines) == 2 + 2 + 2


@pytest.mark.parametrize("width", [1, 39, 60, 79])
def test_counts_leave_little_room_for_reasons(width):
    """Of a bot that has run: what does not fit beside the counts stands below them."""
    ran = Reason("GUILD_SCHEDULED_EVENT_USER_REMOVE", True, False, LONG, seen=10, delivered=5)
    lines = Explanation("discord.py 2.7.1", (ran,), ()).text(width).splitlines()[2:]
    assert lines[0].endswith("5 of        10")
    assert max(map(len, lines[1:])) <= max(width, 24)
    assert "; ".join(LONG) == " ".join(line.strip() for line in lines[1:])


def test_a_gateway_of_our_own_needs_no_explanation(tmp_path, monkeypatch, capsys):
    """Whoever tries it is told so, and not what attach() takes."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    source = "import fastgw\ngateway = fastgw.Gateway('token', intents=fastgw.Intents.all())\n"
    (tmp_path / "bot_of_our_own.py").write_text(source)
    assert main(["explain", "bot_of_our_own:gateway"]) == 2
    told = capsys.readouterr().err
    assert told.startswith("fastgw: bot_of_our_own:gateway is a Gateway of fastgw, which gets")
