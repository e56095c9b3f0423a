"""Alive, and ready, judged of a document."""

import pytest

from fastgw.metrics.verdict import what_is_away, what_is_stuck


def document(*, silent_for_s=0.0, phase="running", **figures):
    shard = {
        "shard_id": 3, "is_ready": True, "last_ack_age_s": 1.0, "heartbeat_interval_s": 40.0,
        "reading_paused_by": [], "away_for_s": None, **figures,
    }  # fmt: skip
    process = {"index": 1, "phase": phase, "silent_for_s": silent_for_s}
    return {"processes": [process], "shards": [shard]}


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({}, None),
        ({"silent_for_s": 9.0}, None),
        ({"silent_for_s": 11.0}, "process 1: its event loop has been silent for 11.0 s"),
        ({"silent_for_s": 11.0, "phase": "restarting"}, None),
        ({"last_ack_age_s": 94.0}, None),
        ({"last_ack_age_s": 96.0}, "shard 3: no ACK for 96.0 s"),
        ({"last_ack_age_s": 96.0, "reading_paused_by": ["others"]}, None),
        ({"last_ack_age_s": 96.0, "is_ready": False}, None),
        ({"last_ack_age_s": None}, None),
    ],
)
def test_stuck(changes, problem):
    """A loop that is silent, an ACK that is stale where one could have been read."""
    assert what_is_stuck(document(**changes)) == ([] if problem is None else [problem])


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({}, None),
        ({"is_ready": False}, "shard 3: has not been READY yet"),
        ({"is_ready": False, "away_for_s": 60.0}, None),
        ({"is_ready": False, "away_for_s": 61.0}, "shard 3: away for 61.0 s"),
    ],
)
def test_away(changes, problem):
    """Never READY, or away for longer than a minute."""
    assert what_is_away(document(**changes)) == ([] if problem is None else [problem])


def test_no_shards():
    """Before the start."""
    assert what_is_away({"shards": []}) == ["no shard has been started yet"]
