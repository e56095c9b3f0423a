"""The table of close codes, and what it makes of an end."""

from __future__ import annotations

import pytest

from fastgw import errors
from fastgw.errors import FatalError, UsageError
from fastgw.protocol.close_codes import (
    CLOSE_RULES,
    FINAL_CLOSE_CODE,
    RESUMABLE_CLOSE_CODE,
    action_for,
    fatal_error,
    rule_for,
)
from fastgw.words import Action, Intents


@pytest.mark.parametrize("code", [None, 1005, 1006, 1000, 1001, 1002, 1011, 1015, 3000, 4000, 4002,
                                  4008, 4015, 4999])  # fmt: skip
def test_these_close_codes_resume(code):
    """No code, the service's 1000 and 1001, transport codes and unknown ones keep the session."""
    assert action_for(code) is Action.RESUME


@pytest.mark.parametrize("code", [4001, 4003, 4005, 4006, 4007, 4009])
def test_these_close_codes_identify(code):
    """The session is gone, a new one may be had."""
    assert action_for(code) is Action.IDENTIFY


@pytest.mark.parametrize(
    ("code", "name"),
    [(4004, "AuthenticationFailed"), (4010, "InvalidShard"), (4011, "ShardingRequired"),
     (4012, "InvalidApiVersion"), (4013, "InvalidIntents"), (4014, "DisallowedIntents")],
)  # fmt: skip
def test_these_close_codes_stop(code, name):
    """No retry can help; each has a typed error with numbers and advice."""
    assert action_for(code) is Action.STOP
    error = fatal_error(code, intents=Intents.all(), shard_id=3, shard_count=4)
    assert type(error) is getattr(errors, name)
    assert (error.close_code, error.shard_id) == (code, 3)
    assert str(error).startswith(f"close code {code}: ")
    assert not str(error).endswith(".")


def test_too_few_shards_are_answered_with_who_knows_how_many():
    """4011 names the option that asks."""
    error = fatal_error(4011, intents=Intents.none(), shard_id=0, shard_count=1)
    assert str(error).endswith("; use more shards: shards='auto' asks Discord how many")


def test_a_rule_has_an_error_exactly_when_it_stops():
    """The table is consistent with itself."""
    for rule in CLOSE_RULES.values():
        assert (rule.action is Action.STOP) == (rule.error is not None) == bool(rule.advice)
        assert rule.error is None or issubclass(rule.error, FatalError)
        assert 0 <= rule.wait_s[0] <= rule.wait_s[1]


def test_only_fatal_codes_make_fatal_errors():
    """Asking for the error of a code that does not stop is our mistake."""
    with pytest.raises(UsageError, match="4000 is not fatal"):
        fatal_error(4000, intents=Intents.none())


def test_fatal_errors_name_shard_or_intents():
    """The text says which shard, which bits, which privileged intents."""
    asked = Intents.GUILDS | Intents.GUILD_PRESENCES
    assert "shard 3 of 4" in str(fatal_error(4010, intents=asked, shard_id=3, shard_count=4))
    assert str(fatal_error(4014, intents=asked)).endswith(": GUILD_PRESENCES")
    assert "GUILDS, GUILD_PRESENCES" in str(fatal_error(4013, intents=asked))


@pytest.mark.parametrize("code", [None, 1005, 1006])
def test_no_code_is_told_from_an_unknown_one(code):
    """RFC 6455 7.4.1: these two stand for what never was in a frame."""
    assert rule_for(code).name == "no close code"
    assert rule_for(1007).name == "unknown close code"


def test_our_close_codes():
    """1000 and 1001 end a session, so only the final close may be one of them."""
    assert FINAL_CLOSE_CODE == 1000
    assert RESUMABLE_CLOSE_CODE not in (1000, 1001)
    assert 4000 <= RESUMABLE_CLOSE_CODE < 5000
    assert rule_for(4998).name == "unknown close code"
