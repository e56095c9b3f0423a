"""The identify budget: what is left, what is kept back, and when it is free again."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastgw import IdentifyBudgetSpent, SessionStartLimit, UsageError
from fastgw.fleet.turns.budget import DAY_S, IdentifyLedger, check_budget, default_reserve

HOUR = 3_600.0


def limit(remaining=1_000, *, total=1_000, reset_after_s=4 * HOUR):
    return SessionStartLimit(total=total, remaining=remaining, reset_after_s=reset_after_s)


def ledger(remaining=1_000, *, at=0.0, reserve=None, **options):
    made = IdentifyLedger(reserve=reserve)
    made.learn(limit(remaining, **options), asked_at=at, is_fresh=True)
    return made


@pytest.mark.parametrize(
    ("total", "reserve"), [(1_000, 50), (2_000, 100), (5_000, 250), (100, 50), (10, 5), (0, 0)]
)
def test_the_reserve_is_fifty_or_five_percent(total, reserve):
    """Where both would be all there is (services in tests), half of it stays usable."""
    assert default_reserve(total) == reserve


def test_identifies_count_from_the_answer_on():
    """case 41: what is left is what the API said less what was written since."""
    made = ledger(700, at=10.0)
    for _ in range(3):
        made.spend(20.0)
    budget = made.budget(30.0)
    assert (budget.remaining, budget.total, budget.reserve, budget.free_at) == (
        697,
        1_000,
        50,
        None,
    )


def test_one_that_was_written_before_the_question_is_in_the_answer():
    """The API has counted it."""
    made = IdentifyLedger()
    made.spend(5.0)
    made.learn(limit(700), asked_at=10.0, is_fresh=True)
    assert made.budget(30.0).remaining == 700


def test_nothing_identifies_at_the_reserve():
    """case 41: the last 50 stay, and the reset is when it goes on."""
    made = ledger(52, at=100.0)
    assert made.budget(100.0).free_at is None
    made.spend(101.0)
    assert made.budget(101.0).free_at is None
    made.spend(102.0)
    assert made.budget(102.0).free_at == 100.0 + 4 * HOUR


def test_none_left_is_told_at_once():
    """case 41: `remaining` 0 at the start."""
    budget = ledger(0).budget(1.0)
    assert (budget.remaining, budget.free_at) == (0, 4 * HOUR)


def test_all_are_free_at_the_reset():
    """From then on our own log counts, a day of it."""
    made = ledger(60)
    for at in range(10):
        made.spend(float(at))
    assert made.budget(4 * HOUR - 1).free_at == 4 * HOUR
    budget = made.budget(4 * HOUR)
    assert (budget.remaining, budget.free_at) == (1_000, None)


def test_without_an_answer_a_day_of_our_own_log_counts():
    """A gateway that never asked the API has Discord's usual thousand."""
    made = IdentifyLedger()
    for at in range(950):
        made.spend(float(at))
    assert made.budget(1_000.0).free_at == DAY_S
    assert made.budget(DAY_S + 0.5).free_at is None


def test_an_answer_that_was_kept_never_raises_what_is_left():
    """case 41: a crash loop with `info=` of yesterday sees its own identifies."""
    made = IdentifyLedger()
    for restart in range(940):
        made.learn(limit(1_000), asked_at=float(restart), is_fresh=False)
        made.spend(restart + 0.5)
    assert made.budget(941.0).remaining == 60


def test_an_answer_that_was_kept_may_lower_what_is_left():
    """Who says that nothing is left is believed."""
    made = IdentifyLedger()
    made.learn(limit(0, reset_after_s=HOUR), asked_at=10.0, is_fresh=False)
    assert made.budget(11.0).free_at == 10.0 + HOUR


def test_an_answer_that_was_kept_does_not_put_the_reset_off():
    """Each restart says "in four hours" again; the first of them counts."""
    made = IdentifyLedger()
    for restart in range(4):
        made.learn(limit(0), asked_at=restart * HOUR, is_fresh=False)
    assert made.budget(3 * HOUR).free_at == 4 * HOUR


def test_an_answer_that_was_kept_counts_from_the_reset_on():
    """At the very moment of the last one's reset that one says nothing any more."""
    made = ledger(60)
    made.learn(limit(10), asked_at=4 * HOUR, is_fresh=False)
    budget = made.budget(4 * HOUR)
    assert (budget.remaining, budget.free_at) == (10, 8 * HOUR)


def test_a_fresh_answer_is_believed():
    """Discord counts for all machines; our own log is what we know of one."""
    made = ledger(60)
    made.spend(1.0)
    made.learn(limit(900), asked_at=2.0, is_fresh=True)
    assert made.budget(3.0).remaining == 900


@pytest.mark.parametrize("spent_at", [1.0, 2.0])
def test_one_that_was_never_written_goes_back(spent_at):
    """case 40: its socket died before the write; once, whichever it was."""
    made = ledger(700)
    made.spend(1.0)
    made.spend(2.0)
    made.take_back(spent_at)
    made.take_back(spent_at)
    assert made.budget(3.0).remaining == 699


def test_a_reserve_of_ones_own():
    """0 uses all of them."""
    assert ledger(1, reserve=0).budget(0.0).free_at is None
    assert ledger(0, reserve=0).budget(0.0).free_at is not None
    assert ledger(500, reserve=500).budget(0.0).free_at is not None


@pytest.mark.parametrize(("now", "free_at"), [(1.0, 4 * HOUR), (4 * HOUR, 4 * HOUR + DAY_S)])
def test_a_reserve_of_all_there_is_lets_nobody_identify(now, free_at):
    """Not even at the reset, when a whole day of nothing begins."""
    assert ledger(1_000, reserve=1_000).budget(now).free_at == free_at


def test_a_budget_that_is_free_by_now_is_not_waited_for():
    """It was spent when it was looked at."""
    budget = replace(ledger(7).budget(0.0), free_at=1_000.0)
    with pytest.raises(IdentifyBudgetSpent, match=r" in 0 s\. "):
        check_budget(budget, now=1_500.0, wall=1_790_000_000)


@pytest.mark.parametrize("reserve", [-1, 0.5, "50", True])
def test_a_reserve_is_a_count(reserve):
    """Anything else is told when it is passed."""
    with pytest.raises(UsageError, match="reserve="):
        IdentifyLedger(reserve=reserve)


@given(
    st.lists(
        st.tuples(st.floats(0.0, 5 * HOUR), st.sampled_from(["identify", "restart", "ask"])),
        max_size=300,
    ),
    st.integers(20, 60),
)
def test_no_service_day_goes_below_the_reserve(steps, total):
    """Against a service that counts days of 24 h: asked now and then, restarted at will."""
    service = {"left": total, "reset_at": DAY_S}
    made, now, reserve = IdentifyLedger(), 0.0, 10
    made._reserve = reserve

    def answer():
        return limit(service["left"], total=total, reset_after_s=service["reset_at"] - now)

    stale = answer()
    made.learn(stale, asked_at=now, is_fresh=True)
    for wait_s, step in steps:
        now += wait_s
        while now >= service["reset_at"]:
            service["left"], service["reset_at"] = total, service["reset_at"] + DAY_S
        if step == "identify":
            if made.budget(now).free_at is None:
                made.spend(now)
                service["left"] -= 1
                assert service["left"] >= reserve
        else:
            is_fresh = step == "ask"
            made.learn(answer() if is_fresh else stale, asked_at=now, is_fresh=is_fresh)


def test_the_error_says_when_and_why():
    """The time is wall time in words, monotonic seconds in `free_at`."""
    budget = replace(ledger(7).budget(0.0), free_at=1_000.0 + 3 * HOUR + 125)
    with pytest.raises(IdentifyBudgetSpent) as raised:
        check_budget(budget, now=1_000.0, wall=1_790_000_000)
    error = raised.value
    assert error.free_at == 1_000.0 + 3 * HOUR + 125
    assert (error.remaining, error.total, error.reserve) == (7, 1_000, 50)
    assert "7 of 1000 identifies are left, and 50 are kept back" in str(error)
    assert "before 2026-09-21 17:15:25 UTC, in 3 h 2 min" in str(error)
