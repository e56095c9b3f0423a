"""When all members of a guild may be asked for, with invented time."""

from __future__ import annotations

import pytest

from fastgw.fleet.commands.member_turns import INTERVAL_S, PADDING_S, GuildLine, MemberTurns


def test_a_guild_that_nobody_asked_for_is_free():
    """At any time."""
    assert GuildLine().wait_s(0.0) == 0.0
    assert GuildLine().wait_s(5.0) == 0.0


@pytest.mark.parametrize(
    ("now", "wait_s"), [(100.0, 30.5), (110.0, 20.5), (130.5, 0.0), (200.0, 0.0)]
)
def test_the_next_goes_thirty_seconds_after_the_write(now, wait_s):
    """And a little more, for two may arrive closer together than they left."""
    line = GuildLine()
    line.written(100.0)
    assert line.wait_s(now) == pytest.approx(wait_s)


def test_the_service_may_say_when():
    """Its time, and the same little more."""
    line = GuildLine()
    line.limited(100.0, 12.0)
    assert line.wait_s(100.0) == pytest.approx(12.0 + PADDING_S)


def test_a_request_that_did_not_arrive_costs_no_time():
    """The next may go at once."""
    line = GuildLine()
    line.written(100.0)
    line.forget()
    assert line.wait_s(100.0) == 0.0


@pytest.mark.parametrize(("now", "wait_s"), [(100.0, 60.5), (110.0, 50.5), (500.0, 30.0)])
async def test_who_comes_behind_another_waits_for_his_request_as_well(now, wait_s):
    """It is not written yet, and will keep the line for thirty seconds at least."""
    line = GuildLine()
    line.written(100.0)
    async with line.lock:
        assert line.wait_s(now) == pytest.approx(wait_s)


def test_a_line_is_one_guilds():
    """And the same for all who ask for it."""
    turns = MemberTurns()
    line = turns.line(1, 0.0)
    assert turns.line(1, 10.0) is line
    assert turns.line(2, 10.0) is not line


def test_lines_in_which_nobody_waits_are_not_kept():
    """A bot of many guilds asks for each once; those that are not free yet stay."""
    turns = MemberTurns()
    turns.line(0, 0.0).written(0.0)
    for guild_id in range(1, 1_000):
        turns.line(guild_id, 1.0)
    assert len(turns._lines) < 100
    assert turns.line(0, 1.0).wait_s(1.0) == pytest.approx(INTERVAL_S + PADDING_S - 1.0)


def test_lines_that_have_to_stay_are_not_looked_at_for_each_new_one():
    """The next sweep comes when as many again have come."""
    turns = MemberTurns()
    for guild_id in range(1_000):
        turns.line(guild_id, 1.0).written(1.0)
    assert len(turns._lines) == 1_000
    assert turns._sweep_at >= 1_000
