"""Shards whose lease is over: put out, and taken again however often that fails."""

from __future__ import annotations

import pytest
from deadline import until

from fastgw.errors import UsageError
from fastgw.fleet import fencing
from fastgw.fleet.fencing import Fencing


class Leases:
    """Of one shard, over at the first look."""

    look_s = 0.01

    def __init__(self):
        self._over = [3]

    def fence(self):
        over, self._over = self._over, []
        return over


@pytest.mark.parametrize("error", [UsageError("another has it"), ConnectionError("away")])
async def test_a_shard_is_taken_again_when_the_store_gives_it(monkeypatch, caplog, error):
    """Whatever a store raises, ours or a user's, the next attempt follows; the first is told."""
    monkeypatch.setattr(fencing, "AGAIN_S", 0.01)
    running, attempts = {3}, []

    async def stop(shard_id):
        running.discard(shard_id)

    async def start(shard_id):
        attempts.append(shard_id)
        if len(attempts) < 3:
            raise error
        running.add(shard_id)

    fences = Fencing(stop, start, lambda shard_id: shard_id if shard_id in running else None)
    fences.begin(Leases(), takes_again=True)
    try:
        await until(lambda: len(attempts) == 3 and running)
        await until(lambda: "shard 3 is taken again" in caplog.messages)
    finally:
        fences.stop()
    assert caplog.messages.count(f"shard 3 is not taken again yet: {error}") == 1
