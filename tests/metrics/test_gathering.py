"""The sum over processes."""

from fastgw.durations import BOUNDS_S
from fastgw.metrics.gathering import Gathering, added
from fastgw.metrics.verdict import what_is_away


def told(shard_id, *, identifies, is_ready=True):
    shard = {"shard_id": shard_id, "process": 0, "is_ready": is_ready, "away_for_s": None}
    one = {"identifies": identifies, "reconnects": {"replaced": 1}}
    return {
        "processes": [{"index": 0, "loop_lag_s": 0.5}],
        "shards": [shard],
        "identify_budget": {"total": 1000, "remaining": 900, "reserve": 50},
        "refusal": None,
        "counts": {
            "total": one,
            "shards": {str(shard_id): one},
            "latency": {"loop": {"total_s": 1.0, "buckets": [1] * (len(BOUNDS_S) + 1)}},
        },
    }


def process(index, pid, shard_id):
    return {
        "index": index, "pid": pid, "phase": "running", "restarts": 0, "silent_for_s": 0.0,
        "shard_ids": (shard_id,),
    }  # fmt: skip


def test_counts_add_up():
    """Numbers, lists and what only one of them has."""
    assert added({"a": 1, "b": [1, 2]}, {"b": [1, 1], "c": {"d": 2}}) == {
        "a": 1, "b": [2, 3], "c": {"d": 2},
    }  # fmt: skip


def test_all_processes():
    """Shards of each, with the number of their process."""
    gathering = Gathering()
    gathering.look({10: told(0, identifies=1), 11: told(1, identifies=2)})
    document = gathering.document([process(0, 10, 0), process(1, 11, 1)], shard_count=2)
    assert document["counts"]["total"] == {"identifies": 3, "reconnects": {"replaced": 2}}
    assert [(s["shard_id"], s["process"]) for s in document["shards"]] == [(0, 0), (1, 1)]
    assert [p["loop_lag_s"] for p in document["processes"]] == [0.5, 0.5]
    assert document["counts"]["latency"]["loop"]["buckets"][0] == 2


def test_what_an_ended_process_counted_stays():
    """Its successor begins at nothing, and the sum does not fall."""
    now = [100.0]
    gathering = Gathering(lambda: now[0])
    gathering.look({10: told(0, identifies=5)})
    gathering.look({})
    now[0] += 30.0
    document = gathering.document([process(0, None, 0)], shard_count=1)
    assert document["counts"]["total"]["identifies"] == 5
    assert document["shards"][0]["is_ready"] is False
    assert document["shards"][0]["away_for_s"] == 30.0
    assert what_is_away(document) == []

    gathering.look({12: told(0, identifies=1, is_ready=False)})
    now[0] += 40.0
    document = gathering.document([process(0, 12, 0)], shard_count=1)
    assert document["counts"]["shards"]["0"]["identifies"] == 6
    assert what_is_away(document) == ["shard 0: away for 70.0 s"]


def test_before_anything_is_told():
    """It has its members, and is not ready."""
    document = Gathering().document([process(0, 10, 0)], shard_count=1)
    assert document["counts"]["events"] == {}
    assert what_is_away(document)
