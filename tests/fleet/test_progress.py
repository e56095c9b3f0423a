"""How far a start is, and why it is no further."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from fastgw.errors import ConnectFailed, ConnectTimeout
from fastgw.fleet.progress import StartProgress
from fastgw.fleet.readiness import why_not_ready
from fastgw.protocol.states import State


class Shard:
    """One with an id, and with what it failed with last."""

    def __init__(self, shard_id, last_error=None, *, is_ready=False):
        self.id = shard_id
        self.status = State.READY if is_ready else State.CONNECTING
        self._last_error = last_error

    def __repr__(self):
        return f"<{self.id}>"

    def health(self):
        return SimpleNamespace(last_error=self._last_error)


@pytest.mark.parametrize(("ready", "is_done"), [(0, False), (2, False), (3, True)])
def test_it_is_done_when_all_are_ready(ready, is_done):
    """That is the last that is told."""
    assert StartProgress(shards=3, ready=ready, cold=0).is_done == is_done


def test_the_last_error_of_a_shard_says_why():
    """The first that has one; what the API said before is over."""
    error = ConnectFailed("no route")
    shards = [Shard(0), Shard(1, error), Shard(2, ConnectFailed("later"))]
    assert why_not_ready(shards, 1.0, ConnectFailed("the API")) is error


def test_without_shards_the_api_says_why():
    """Nobody knows yet how many there are."""
    error = ConnectFailed("the API")
    assert why_not_ready((), 1.0, error) is error


@pytest.mark.parametrize(
    ("count", "ready", "said"),
    [
        (0, (), "no shard runs here yet"),
        (3, (0,), r"2 of 3 shards \(<1>, <2>\)"),
        (5, (1,), r"4 of 5 shards \(<0>, <2>, <3>, <4>\)"),
        (5, (), r"5 of 5 shards \(<0>, <1>, <2>, <3>, \.\.\.\)"),
    ],
)
def test_without_any_error_the_missing_ones_are_named(count, ready, said):
    """The first four of them."""
    shards = [Shard(i, is_ready=i in ready) for i in range(count)]
    error = why_not_ready(shards, 2.5, None)
    assert isinstance(error, ConnectTimeout)
    assert error.timeout_s == 2.5
    with pytest.raises(ConnectTimeout, match=f"^not ready after 2.5 s: {said}$"):
        raise error


def test_the_apis_error_is_not_that_of_shards():
    """It answered later, or there would be none."""
    error = why_not_ready([Shard(0)], 1.0, ConnectFailed("the API"))
    assert isinstance(error, ConnectTimeout)
