"""When a shard tries again, with invented time."""

import random

import pytest

from fastgw.errors import (
    CertificateRefused,
    ConnectFailed,
    ConnectTimeout,
    GatewayInfoError,
    HandshakeRefused,
    NotAWebSocket,
    UsageError,
)
from fastgw.protocol.session import MAX_AGE_S
from fastgw.protocol.signals import Cause, Ended, Outcome, Ready
from fastgw.shard.reconnect import Backoff, ReconnectPolicy, check_backoff, is_permanent
from fastgw.words import Action


def ended(ready_for_s=None, *, delay_s=0.0, cause=Cause.CONNECTION_LOST):
    return Outcome(Action.RESUME, ready_for_s=ready_for_s, delay_s=delay_s, cause=cause)


def waits_of(policy, *, resume, times=9):
    """What so many attempts that fail one after another wait, each."""
    waits = []
    for _ in range(times):
        policy.connection_ended(ended(), 0.0)
        waits.append(policy.attempt_at(resume=resume))
    return waits


@pytest.fixture
def policy():
    return ReconnectPolicy(lambda: 1.0)  # the longest of every delay


def test_the_first_attempt_goes_at_once(policy):
    """Nothing has failed yet."""
    assert policy.attempt_at(resume=False) < 0


def test_the_end_of_a_stable_connection_is_followed_at_once(policy):
    """case 28: no backoff before the first resume after op 7 or a close."""
    policy.connection_ended(ended(600.0), 1000.0)
    assert policy.attempt_at(resume=True) == 1000.0


def test_failed_attempts_wait_longer_and_longer(policy):
    """case 28: connecting fails: 1, 2, 4 ... up to 60 seconds."""
    assert waits_of(policy, resume=False) == [1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_attempts_to_resume_never_wait_long(policy):
    """case 28: a session may be there still when the network is back; 10 seconds at most."""
    assert waits_of(policy, resume=True) == [1, 2, 4, 8, 10, 10, 10, 10, 10]


def test_waits_of_resumes_have_full_jitter():
    """A fleet that lost its network does not come back in one moment."""
    policy = ReconnectPolicy(lambda: 0.25)
    assert waits_of(policy, resume=True)[-1] == 2.5
    assert waits_of(policy, resume=False)[-1] == 15.0


@pytest.mark.parametrize(
    ("cause", "delay_s", "most"),
    [(Cause.PROTOCOL_ERROR, 0.0, 100), (Cause.INVALID_SESSION, 1.0, 300)],
)
def test_a_session_that_is_put_off_is_never_hot(cause, delay_s, most):
    """case 9: the 300 s of a session hold few RESUMEs, whatever answers them and whatever luck."""
    for seed in range(20):
        policy = ReconnectPolicy(random.Random(seed).random)
        now, resumes = 0.0, 0
        while now < MAX_AGE_S:
            policy.connection_ended(ended(cause=cause, delay_s=delay_s), now)
            now = policy.attempt_at(resume=True)
            resumes += 1
            assert resumes <= most


def test_a_policy_reads_the_ends_among_the_signals(policy):
    """Whatever else is reported says nothing about waiting."""
    policy.note(Ready({}), 3.0)
    assert policy.attempt_at(resume=True) < 0
    policy.note(Ended(ended()), 5.0)
    assert policy.attempt_at(resume=True) == 6.0


def test_ready_alone_does_not_end_the_backoff(policy):
    """case 10: a connection that comes up only to die grows the delay."""
    for at in (0.0, 10.0, 20.0, 30.0):
        policy.connection_ended(ended(0.5), at)
    assert policy.attempt_at(resume=True) == 30.0 + 8.0


def test_the_first_end_of_a_young_connection_is_followed_at_once(policy):
    """Op 7 right after READY: resume now."""
    policy.connection_ended(ended(0.1), 5.0)
    assert policy.attempt_at(resume=True) == 5.0


@pytest.mark.parametrize("resume", [True, False])
def test_a_connection_that_held_for_seconds_begins_every_backoff_anew(policy, resume):
    """case 10: 11 seconds of READY had left the next refused attempt a wait of 45."""
    for _ in range(9):
        policy.identify_written(0.0)
        policy.connection_ended(ended(), 0.0)
    policy.connection_ended(ended(5.0), 10.0)
    assert policy.attempt_at(resume=resume) == 10.0
    policy.connection_ended(ended(), 11.0)
    assert policy.attempt_at(resume=resume) == 12.0
    policy.identify_written(12.0)
    assert policy.attempt_at(resume=False) == 22.0


@pytest.mark.parametrize("resume", [True, False])
def test_a_connection_that_died_young_forgives_nothing(policy, resume):
    """case 10: under five seconds it is one more that came up only to die."""
    for _ in range(3):
        policy.connection_ended(ended(), 0.0)
    policy.connection_ended(ended(4.9), 10.0)
    assert policy.attempt_at(resume=resume) == 10.0 + 8.0


def test_what_the_service_asks_for_is_a_floor(policy):
    """case 8: 4008 or a Retry-After: the longer of it and the backoff counts, not their sum."""
    policy.connection_ended(ended(600.0, delay_s=3.0), 100.0)
    assert policy.attempt_at(resume=True) == 103.0
    for _ in range(4):
        policy.connection_ended(ended(delay_s=3.0), 200.0)
    assert policy.attempt_at(resume=True) == 208.0


@pytest.mark.parametrize("ready_for_s", [None, 1.0, 600.0])
def test_op_9_waits_what_it_says_whatever_failed_before(policy, ready_for_s):
    """case 8: refused attempts had left it a wait of 54 seconds instead of 1 to 5."""
    for _ in range(9):
        policy.connection_ended(ended(), 0.0)
    verdict = ended(ready_for_s, delay_s=3.0, cause=Cause.INVALID_SESSION)
    policy.connection_ended(verdict, 100.0)
    assert policy.attempt_at(resume=True) == 103.0
    assert policy.attempt_at(resume=False) == 103.0


def test_op_9_forgives_nothing_either(policy):
    """The host answered, but nothing has held."""
    for _ in range(3):
        policy.connection_ended(ended(), 0.0)
    policy.connection_ended(ended(delay_s=3.0, cause=Cause.INVALID_SESSION), 100.0)
    policy.connection_ended(ended(), 103.0)
    assert policy.attempt_at(resume=False) == 103.0 + 8.0


def test_repeated_identifies_wait_much_longer(policy):
    """case 41: a session that never comes: 10, 20 ... 600 s between identifies."""
    waits, now = [], 0.0
    for _ in range(9):
        policy.identify_written(now)
        policy.connection_ended(ended(), now)
        waits.append(policy.attempt_at(resume=False) - now)
        now = policy.attempt_at(resume=False)
    assert waits == [10, 20, 40, 80, 160, 320, 600, 600, 600]


def test_delays_can_be_scaled():
    """Connecting within what is given, identifying again within ten times that."""
    policy = ReconnectPolicy(lambda: 1.0, (0.25, 1.0))
    connects, identifies = [], []
    for _ in range(4):
        policy.identify_written(0.0)
        policy.connection_ended(ended(), 0.0)
        connects.append(policy.attempt_at(resume=True))
        identifies.append(policy.attempt_at(resume=False))
    assert connects == [0.25, 0.5, 1, 1]
    assert identifies == [2.5, 5, 10, 10]


@pytest.mark.parametrize(
    "bad",
    [
        None, 1.0, (1.0,), (0.0, 1.0), (2.0, 1.0), (1.0, float("inf")), ("a", "b"), (1, 2, 3),
        (1.0, "b"), ("a", 1.0), (True, 2.0), (0.5, True), (float("nan"), 1.0),
    ],
)  # fmt: skip
def test_a_backoff_that_cannot_work_is_refused(bad):
    """Zero would be a loop, and the text shows what is right."""
    with pytest.raises(UsageError, match=r"such as \(1\.0, 60\.0\)"):
        check_backoff(bad)


@pytest.mark.parametrize("good", [(0.5, 0.5), (1, 60), [0.001, 600.0]])
def test_a_backoff_that_can_work_is_taken(good):
    """Two numbers, the first of which may be the cap as well; as floats."""
    assert check_backoff(good) == tuple(good)
    assert {type(seconds) for seconds in check_backoff(good)} == {float}


def test_resumes_do_not_wait_for_identifies(policy):
    """The longer delay is for identifies alone."""
    policy.identify_written(0.0)
    policy.identify_written(0.0)
    policy.connection_ended(ended(), 0.0)
    assert policy.attempt_at(resume=True) == 1.0


def test_a_session_that_held_may_be_followed_by_a_new_one_at_once(policy):
    """However often IDENTIFY was needed before it."""
    for _ in range(6):
        policy.identify_written(0.0)
    policy.connection_ended(ended(40.0), 50.0)
    assert policy.attempt_at(resume=False) == 50.0


def test_a_session_that_died_young_keeps_the_delay(policy):
    """READY after READY burns the day's budget as well."""
    policy.identify_written(0.0)
    policy.connection_ended(ended(4.0), 5.0)
    assert policy.attempt_at(resume=False) == 10.0
    policy.identify_written(10.0)
    policy.connection_ended(ended(4.0), 15.0)
    assert policy.attempt_at(resume=False) == 30.0


@pytest.mark.parametrize(
    ("error", "permanent"),
    [
        (ConnectFailed("refused"), False),
        (ConnectTimeout("slow", timeout_s=1.0), False),
        (CertificateRefused("expired"), True),
        (NotAWebSocket("hello"), True),
        (HandshakeRefused("no", status=400), True),
        (HandshakeRefused("no", status=403), True),
        (HandshakeRefused("timed out", status=408), False),
        (HandshakeRefused("too early", status=425), False),
        (HandshakeRefused("slow down", status=429), False),
        (HandshakeRefused("a teapot", status=418), True),
        (HandshakeRefused("odd", status=499), True),
        (HandshakeRefused("down", status=500), False),
        (HandshakeRefused("down", status=503), False),
        (HandshakeRefused("down", status=520), False),
        (GatewayInfoError("odd"), True),
        (GatewayInfoError("no", status=403), True),
        (GatewayInfoError("slow down", status=429, retry_after_s=1.0), False),
        (GatewayInfoError("down", status=502), False),
        (GatewayInfoError("html", status=200), True),
        (None, False),
        (ValueError("a bug"), False),
    ],
)
def test_what_will_fail_again_until_somebody_acts(error, permanent):
    """One function decides what a gateway that never worked gives up on."""
    assert is_permanent(error) is permanent


# ---------------------------------------------------------------------------- backoff


def test_backoff_doubles_up_to_its_cap():
    """case 28: with the largest draw the delays are 1, 2, 4 ... 60, 60."""
    backoff = Backoff(lambda: 1.0)
    assert [backoff.next_delay_s() for _ in range(8)] == [1, 2, 4, 8, 16, 32, 60, 60]


def test_backoff_has_full_jitter():
    """The draw scales the whole delay, down to nothing."""
    assert Backoff(lambda: 0.0).next_delay_s() == 0.0
    assert Backoff(lambda: 0.25, first_s=8.0).next_delay_s() == 2.0


def test_a_backoff_that_is_reset_begins_anew():
    """With its first delay."""
    backoff = Backoff(lambda: 1.0)
    for _ in range(5):
        backoff.next_delay_s()
    backoff.reset()
    assert [backoff.next_delay_s() for _ in range(2)] == [1.0, 2.0]


def test_backoff_survives_years_of_failure():
    """The exponent is bounded: no overflow at the 2000th attempt."""
    backoff = Backoff(lambda: 1.0)
    assert [backoff.next_delay_s() for _ in range(2_000)][-1] == 60.0
