"""The send budget, with invented time."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastgw.errors import UsageError
from fastgw.shard.budget import MAX_ANSWERS, SendBudget


def most_in_any_window(times, window_s):
    """Return how many of the sorted `times` lie in the fullest closed window of that length."""
    most, start = 0, 0
    for end, at in enumerate(times):
        while at - times[start] > window_s:
            start += 1
        most = max(most, end - start + 1)
    return most


def test_ordinary_commands_leave_room_for_heartbeats():
    """At Discord's usual interval 117 commands may go, and three urgent ones on top."""
    budget = SendBudget()
    budget.reset(heartbeat_interval_s=41.25)
    assert sum(budget.take(0.0) for _ in range(200)) == 117
    assert sum(budget.take_urgent(0.0) for _ in range(200)) == 3


def test_room_comes_back_after_the_window():
    """A full budget says when the next command may go, and it may go exactly then."""
    budget = SendBudget(limit=3, window_s=60.0)
    assert [budget.take(at) for at in (0.0, 10.0, 20.0, 30.0)] == [True, True, True, False]
    assert budget.free_at(30.0) == 60.0
    assert not budget.take(59.999)
    assert budget.take(60.0)
    assert budget.free_at(60.0) == 70.0


def test_a_new_connection_starts_with_a_whole_budget():
    """case 38: the count is per connection (hikari#1813)."""
    budget = SendBudget(limit=2)
    assert budget.take(0.0)
    assert budget.take(0.0)
    assert not budget.take(0.0)
    budget.reset()
    assert budget.take(0.0)


def test_a_short_heartbeat_interval_still_leaves_one_slot():
    """A test server that wants a beat every 10 ms must not forbid commands for ever."""
    budget = SendBudget()
    budget.reset(heartbeat_interval_s=0.01)
    assert budget.take(0.0)


def test_the_shortest_interval_leaves_exactly_one_slot():
    """All others are the heartbeats'."""
    budget = SendBudget(limit=5, window_s=60.0)
    budget.reset(heartbeat_interval_s=0.01)
    assert [budget.take(0.0) for _ in range(2)] == [True, False]


def test_before_hello_nothing_is_reserved():
    """What the last connection kept for its heartbeats is nobody's on the next."""
    budget = SendBudget(limit=5, window_s=60.0)
    budget.reset(heartbeat_interval_s=20.0)
    assert sum(budget.take(0.0) for _ in range(9)) == 1
    budget.reset()
    assert sum(budget.take(0.0) for _ in range(9)) == 5


@pytest.mark.parametrize(
    ("interval_s", "commands", "beats", "identifies", "answered"),
    [
        (60.0, 0, 0, 3, True),  # two are kept for the beats of a window
        (60.0, 0, 0, 4, False),
        (60.0, 2, 0, 1, True),
        (60.0, 2, 0, 2, False),
        (60.0, 0, 4, 0, True),  # beats take none of what is kept for them
        (None, 0, 0, 4, True),  # one at least is kept
        (None, 3, 0, 1, True),
        (None, 0, 5, 0, False),  # nothing is left at all
    ],
)
def test_an_answer_leaves_room_for_every_periodic_beat(
    interval_s, commands, beats, identifies, answered
):
    """Whatever is not periodic counts against it: commands, IDENTIFY and RESUME."""
    budget = SendBudget(limit=5, window_s=60.0)
    budget.reset(heartbeat_interval_s=interval_s)
    assert all(budget.take(0.0) for _ in range(commands))
    assert all(budget.take_urgent(0.0) for _ in range(beats))
    assert all(budget.take_urgent(0.0, is_beat=False) for _ in range(identifies))
    assert budget.take_answer(1.0) is answered


def test_a_window_has_only_so_many_answers():
    """A service that floods gets these, and more when they have left the window."""
    budget = SendBudget()
    assert sum(budget.take_answer(0.0) for _ in range(20)) == MAX_ANSWERS
    assert not budget.take_answer(budget.window_s - 0.1)
    assert budget.take_answer(budget.window_s)


def test_answers_count_as_commands_do():
    """In the whole limit, and in what users may send."""
    budget = SendBudget(limit=5, window_s=60.0)
    budget.reset(heartbeat_interval_s=60.0)
    assert all(budget.take_answer(0.0) for _ in range(2))
    assert [budget.take(0.0) for _ in range(2)] == [True, False]
    assert [budget.take_urgent(0.0) for _ in range(3)] == [True, True, False]


@pytest.mark.parametrize(
    ("commands", "beats", "now", "room"),
    [
        ([], [], 0.0, 3),
        ([0.0], [], 0.0, 2),
        ([0.0, 0.0, 0.0], [], 0.0, 0),
        ([], [0.0, 0.0], 0.0, 3),  # what is kept for them is theirs
        ([], [0.0, 0.0, 0.0, 0.0], 0.0, 1),  # they may take more
        ([0.0], [0.0, 0.0, 0.0], 0.0, 1),
        ([], [0.0] * 5, 0.0, 0),
        ([0.0, 30.0], [], 59.9, 1),
        ([0.0, 30.0], [], 60.0, 2),
        ([0.0, 30.0], [], 90.0, 3),
    ],
)
def test_the_room_is_what_may_still_go(commands, beats, now, room):
    """The lesser of what is left of the whole and of what users may have; asking changes none."""
    budget = SendBudget(limit=5, window_s=60.0)
    budget.reset(heartbeat_interval_s=60.0)
    assert all(budget.take(at) for at in commands)
    assert all(budget.take_urgent(at) for at in beats)
    assert [budget.room(now), budget.room(now)] == [room, room]
    assert sum(budget.take(now) for _ in range(9)) == room


def test_there_is_never_less_than_no_room():
    """HELLO may ask for more beats than commands have left."""
    budget = SendBudget(limit=5, window_s=60.0)
    assert all(budget.take(0.0) for _ in range(5))
    budget.reserve_heartbeats(20.0)
    assert budget.room(0.0) == 0


@pytest.mark.parametrize(("limit", "window_s"), [(0, 60.0), (-1, 60.0), (5, 0.0), (5, -1.0)])
def test_a_budget_has_a_limit_and_a_window(limit, window_s):
    """Nothing could ever be sent with less."""
    with pytest.raises(UsageError, match="at least 1 and a window above 0"):
        SendBudget(limit=limit, window_s=window_s)
    assert SendBudget(limit=1, window_s=0.5).take(0.0)


@pytest.mark.parametrize("interval_s", [0, -1.0])
def test_a_heartbeat_interval_must_be_positive(interval_s):
    """Zero or less is a usage error, not a division by zero."""
    with pytest.raises(UsageError, match="heartbeat interval"):
        SendBudget().reserve_heartbeats(interval_s)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["take", "urgent"]),
            st.one_of(st.just(0.0), st.floats(0.0, 2.0), st.floats(0.0, 90.0)),
            st.integers(1, 60),
        ),
        max_size=60,
    ),
    st.sampled_from([None, 0.5, 5.0, 41.25, 60.0, 300.0]),
)
def test_no_window_of_60_seconds_ever_holds_more_than_120(steps, interval_s):
    """case 38: whatever is asked for: 120 in 60 s is never exceeded, nor the reserve used up."""
    budget = SendBudget()
    budget.reset(heartbeat_interval_s=interval_s)
    now, sent, ordinary = 1e6, [], []
    for kind, pause, count in steps:
        now += pause
        for _ in range(count):
            if kind == "take" and budget.take(now):
                sent.append(now)
                ordinary.append(now)
            elif kind == "urgent" and budget.take_urgent(now):
                sent.append(now)
    assert most_in_any_window(sent, 60.0) <= 120
    assert most_in_any_window(ordinary, 60.0) <= 120 - budget.reserved


@given(st.integers(1, 400), st.floats(0.0, 1.0))
def test_a_greedy_sender_never_starves_the_heartbeat(count, phase):
    """Who sends whenever the budget allows still leaves every periodic heartbeat its slot."""
    interval_s = 41.25
    budget = SendBudget()
    budget.reset(heartbeat_interval_s=interval_s)
    now, beat_at = 0.0, phase * interval_s
    assert budget.take_urgent(now)  # identify
    for _ in range(count):
        free_at = budget.free_at(now)
        if beat_at <= free_at:
            now, beat_at = beat_at, beat_at + interval_s
            assert budget.take_urgent(now)
        else:
            now = free_at
            assert budget.take(now)


@given(st.lists(st.floats(0.0, 5.0), min_size=1, max_size=300), st.integers(1, 20))
def test_free_at_is_the_moment_it_becomes_free(pauses, limit):
    """A command is taken at `free_at`, never refused there and never taken before."""
    budget = SendBudget(limit=limit, window_s=60.0)
    now = 0.0
    for pause in pauses:
        now += pause
        free_at = budget.free_at(now)
        assert budget.take(now) == (free_at == now)
        if free_at > now:
            now = free_at
            assert budget.take(now)


def test_a_new_connection_owes_nothing_for_identifies_of_the_last():
    """What IDENTIFY and RESUME took of the old connection leaves answers to op 1 their room."""
    budget = SendBudget(limit=3, window_s=60.0)
    for _ in range(3):
        assert budget.take_urgent(0.0, is_beat=False)
    budget.reset()
    assert budget.take_answer(1.0)


def test_an_identify_is_over_with_its_window():
    """What a connection began with does not take room from answers to op 1 for ever."""
    budget = SendBudget(limit=3, window_s=60.0)
    for _ in range(3):
        assert budget.take_urgent(0.0, is_beat=False)
    assert not budget.take_answer(59.0)
    assert budget.take_answer(60.0)
