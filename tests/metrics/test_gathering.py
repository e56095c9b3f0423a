"""The sum over processes."""

from gateways import gateway_to

from fastgw.durations import BOUNDS_S
from fastgw.metrics.document import document_of
from fastgw.metrics.gathering import Gathering, added
from fastgw.metrics.verdict import what_is_away
from fastgw.testing import FakeGateway


def told(shard_id, *, identifies, is_ready=True, refusal=None, remaining=900, seen_at=1.0):
    shard = {"shard_id": shard_id, "process": 0, "is_ready": is_ready, "away_for_s": None}
    one = {"identifies": identifies, "reconnects": {"replaced": 1}}
    return {
        "processes": [{"index": 0, "loop_lag_s": 0.5}],
        "shards": [shard],
        "identify_budget": {
            "total": 1000,
            "remaining": remaining,
            "reserve": 50,
            "seen_at": seen_at,
        },
        "refusal": refusal,
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


def test_the_budget_is_of_who_looked_last():
    """Not of who told last, nor the least: a new day begins with all of it."""
    gathering = Gathering()

    def remaining():
        document = gathering.document([process(0, 10, 0)], shard_count=2)
        return document["identify_budget"]["remaining"]

    gathering.look({11: told(1, identifies=2, remaining=996, seen_at=5.0)})
    gathering.look({10: told(0, identifies=2, remaining=998, seen_at=4.0)})
    assert remaining() == 996
    gathering.look({10: told(0, identifies=3, remaining=1000, seen_at=6.0)})
    assert remaining() == 1000


def test_before_anything_is_told():
    """It has its members, and is not ready."""
    document = Gathering().document([process(0, 10, 0)], shard_count=1)
    assert document["counts"]["events"] == {}
    assert what_is_away(document)


def test_a_shard_that_nobody_has_told_of_is_missed():
    """Where one of two workers never came up, its shards are away, and none is left out."""
    gathering = Gathering()
    gathering.look({10: told(0, identifies=1)})
    document = gathering.document([process(0, 10, 0), process(1, None, 1)], shard_count=2)
    assert [(s["shard_id"], s["process"]) for s in document["shards"]] == [(0, 0), (1, 1)]
    assert what_is_away(document) == ["shard 1: has not been READY yet"]


async def test_such_a_shard_has_every_member():
    """Those that a gateway tells of its own; whoever reads them need not ask which are there."""
    async with FakeGateway() as fake, gateway_to(fake) as gateway:
        real = document_of(gateway.health(), gateway.stats(), shard_count=1)["shards"][0]
    (shard,) = Gathering().document([process(0, 10, 0)], shard_count=1)["shards"]
    assert shard.keys() == real.keys()


def test_a_refusal_stands_as_long_as_its_process():
    """Whoever tells last, one that may identify does not take it back for another."""
    refused = told(0, identifies=1, refusal="DisallowedIntents")
    gathering = Gathering()
    both = [process(0, 10, 0), process(1, 11, 1)]
    gathering.look({10: refused, 11: told(1, identifies=1)})
    assert gathering.document(both, shard_count=2)["refusal"] == "DisallowedIntents"
    gathering.look({11: told(1, identifies=1)})
    assert gathering.document(both, shard_count=2)["refusal"] is None
