"""What the demo measures and shows, in this process."""

from __future__ import annotations

import asyncio
import io
import ssl
import sys
from dataclasses import replace

import pytest
from deadline import scaled

from fastgw.cli import _prepare_output, _view, demo, main
from fastgw.cli._demo_service import _Sender
from fastgw.cli._figures import Frame, Summary
from fastgw.cli._pace import Pace
from fastgw.cli.demo import watch_bot
from fastgw.testing import FakeGateway, Traffic

FRAME = Frame(0.0, "ready", 10, 1.0, 1.0, 1, 1, 1, None, 1.0, 1.0)
HELD = Summary(1.0, 10, 1.0, 1.0, 1.0, 1, 1, 1, 1, 1, 1, 0, 0, True, 1.0, 1.0)


class Service:
    """The demo's service without a process of its own; it cuts again when asked to stop."""

    def __init__(self, fake):
        self.fake = fake
        self.sender = _Sender(fake, Traffic(1).dispatches(200), 1_000)

    @property
    def facts(self):
        (authority,) = self.fake.client_ssl_context.get_ca_certs(binary_form=True)
        return {"url": self.fake.url, "authority": ssl.DER_cert_to_PEM_cert(authority)}

    def tell(self, word):
        if word == "start":
            self.sending = asyncio.ensure_future(self.sender.run())
        else:
            self.fake.cut()

    async def ask(self, word):
        if word == "where":
            return {"sequence": self.fake.service.session(0).sequence}
        self.sender.stop()
        await self.sending
        self.fake.cut()
        self.fake.dispatch("TYPING_START", {})  # comes with the replay, and RESUMED behind it
        return {"wanted": self.sender.wanted, "checksum": self.sender.checksum}


async def test_a_resumed_after_the_stop_is_no_duplicate():
    """Each loss of the connection ends with a RESUMED, a dispatch that the service counts, too."""
    shown = []
    async with FakeGateway(tls=True) as fake:
        service = Service(fake)
        summary = await watch_bot(service, service.facts, 0.6, shown.append)
    # Of two cuts; the second may meet who is still on its way back from the first.
    assert (summary.lost, summary.duplicated, summary.resumes) in {(0, 0, 1), (0, 0, 2)}
    assert summary.holds
    assert 0.3 <= summary.cut_at_s < summary.seconds
    assert shown


async def test_handlers_that_still_run_are_waited_for(monkeypatch):
    """On a busy machine the last events are there before their tasks have run."""

    async def slow(bot, event):
        await asyncio.sleep(2.0)
        bot._note(event)

    monkeypatch.setattr(demo._Bot, "on_interaction", slow)
    async with FakeGateway(tls=True) as fake:
        service = Service(fake)
        summary = await watch_bot(service, service.facts, 0.6, lambda frame: None)
    assert summary.checksum_matches


@pytest.mark.parametrize(
    "fault",
    [{"lost": 1}, {"duplicated": 1}, {"resumes": 0}, {"identifies": 2}, {"events": 0},
     {"checksum_matches": False}],
)  # fmt: skip
def test_a_run_fails_by_what_it_promised(fault):
    """Not by a second resume, which a busy machine may need; by a session that was lost."""
    assert HELD.holds
    assert replace(HELD, resumes=2).holds
    failed = replace(HELD, **fault)
    assert not failed.holds
    assert len(failed.faults) == 1


def test_a_run_that_failed_says_why(capsys):
    """Whoever reads it need not look for the figure that is not as it should be."""
    _view.PlainView(quiet=False).summarise(replace(HELD, identifies=2, resumes=0))
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == "THIS IS NOT AS IT SHOULD BE: 2 sessions for 1 shards; 0 resumes for 1 cuts"


def test_a_sender_that_fell_behind_does_not_make_up_for_it():
    """It would be deaf meanwhile: no more than 50 ms of events at a time, and then at the rate."""
    pace = Pace(1_000, 100.0)
    assert pace.due(100.0) == 0
    assert pace.due(100.03125) == 31
    assert pace.due(105.0) == 50
    assert pace.due(105.0) == 0
    assert pace.due(105.015625) == 15


def test_a_slow_rate_is_kept_too():
    """One event at a time, and each of them."""
    pace = Pace(1, 0.0)
    assert [pace.due(second / 4) for second in range(1, 13)] == [0, 0, 0, 1] * 3


def test_each_shard_of_a_fleet_is_counted():
    """One session a shard, and one resume at least."""
    fleet = replace(HELD, shards=3, identifies=3, resumes=3)
    assert fleet.holds
    assert not replace(fleet, resumes=2).holds
    assert not replace(fleet, identifies=4).holds


def test_the_planned_cut_is_said_when_it_happens(capsys):
    """Who watches need not wonder whether that was an accident; once, and at the end again."""
    view = _view.PlainView(quiet=False)
    frames = (replace(FRAME, elapsed_s=number / 4) for number in range(8))
    for frame in frames:
        view.show(frame if frame.elapsed_s < 1.0 else replace(frame, cut_at_s=0.9))
    view.summarise(replace(HELD, cut_at_s=0.9))
    lines = capsys.readouterr().out.splitlines()
    assert lines.count("  0.9 s  all connections are cut, as planned") == 1
    assert "shards: 1, cut at 0.9 s as planned; sessions: 1, resumes: 1" in lines
    assert dict(_view._rows(FRAME))["planned cut"] == "to come"
    assert dict(_view._rows(replace(FRAME, cut_at_s=5.04)))["planned cut"] == "at 5.0 s"
    _view.PlainView(quiet=True).show(replace(FRAME, cut_at_s=0.9))
    assert capsys.readouterr().out == ""


def test_the_first_events_have_no_cost_of_their_own(capsys):
    """Of one event it would be the CPU of the whole start."""
    first = replace(FRAME, events=1, cpu_us_per_event=25_241.74)
    _view.PlainView(quiet=False).show(first)
    assert capsys.readouterr().out == "  0.0 s  ready, 1 events, 1/s, - each\n"
    assert dict(_view._rows(first))["CPU per event"] == "-"


def test_a_live_view_has_a_bar_while_shards_come_up():
    """It goes when all are READY."""
    view = _view.LiveView(1.0)
    assert type(view._view(replace(FRAME, ready=1, shards=4))).__name__ == "Group"
    assert type(view._view(FRAME)).__name__ == "Table"


async def test_the_service_ends_quietly_when_the_bot_has_left():
    """Ctrl-C ends the session; what is still due goes to nobody, and is no error."""
    async with FakeGateway() as fake:
        sender = _Sender(fake, Traffic(1).dispatches(200), 1_000)
        await asyncio.wait_for(sender.run(), scaled(5.0))
    assert sender.wanted == 0


def test_an_interrupt_that_meets_a_handler_is_one(monkeypatch, capsys):
    """Ctrl-C is raised wherever the program is, often in a handler; the exit code is SIGINT's."""

    def interrupted(_bot, _event):
        raise KeyboardInterrupt

    monkeypatch.setattr(demo._Bot, "on_message", interrupted)
    assert main(["demo", "--seconds", "2", "--rate", "1000", "--json"]) == 130
    assert capsys.readouterr() == ("", "")


def test_no_line_of_an_hour_is_wider_than_a_terminal(capsys):
    """80 columns, with the largest figures of the longest and widest demo."""
    view = _view.PlainView(quiet=False)
    large = {"events": 3_600_000_000, "delivered": 1_080_000_000, "events_per_s": 1_000_000.0}
    frame = replace(
        FRAME, status="1023 of 1024 ready", elapsed_s=3599.9, cpu_us_per_event=12.34, **large
    )
    view.show(frame)
    wide = {
        "shards": 1024,
        "identifies": 1024,
        "resumes": 1024,
        "replayed": 10**9,
        "cut_at_s": 1800.0,
    }
    size = {"megabytes": 3e6, "compressed_megabytes": 1e6, "peak_rss_mb": 9999.0, "seconds": 3600.0}
    view.summarise(replace(HELD, **large, **wide, **size, dropped=3 * 10**9, decoded=10**9))
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if len(line) > 80] == []


@pytest.mark.parametrize(("encoding", "unit"), [("ascii", "us"), ("cp437", "µs"), ("utf-8", "µs")])
def test_any_encoding_of_the_output_will_do(monkeypatch, encoding, unit):
    """The micro sign is written where it can be; what else is lacking is replaced."""
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding)
    monkeypatch.setattr(sys, "stdout", stream)
    _prepare_output()
    view = _view.PlainView(quiet=False)
    view.show(FRAME)
    view.summarise(HELD)
    print("\N{SNOWMAN}")
    stream.flush()
    shown = raw.getvalue().decode(encoding)
    assert shown.count(f"1.00 {unit}") == 2
    monkeypatch.undo()


@pytest.mark.parametrize(("term", "kind"), [("dumb", "PlainView"), ("xterm", "LiveView")])
def test_a_dumb_terminal_gets_lines(monkeypatch, term, kind):
    """It cannot redraw a table, and would show nothing until the end."""
    monkeypatch.setenv("TERM", term)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    assert type(_view.choose(plain=False, quiet=False, seconds=1.0)).__name__ == kind
