"""
The one door to what lies behind the public face of a gateway.

A test that must look behind it asks `inside(gateway)`, and only this module knows where things
lie. What a test can see from outside, it should look at from outside.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fastgw.gateway import Gateway
from fastgw.protocol.heartbeat import Heartbeat
from fastgw.shard.driver import ShardDriver
from fastgw.shard.link import Link
from fastgw.shard.reconnect import ReconnectPolicy


@dataclass(frozen=True, slots=True)
class Inside:
    """One shard of a started gateway, from behind."""

    driver: ShardDriver

    @property
    def heartbeat(self) -> Heartbeat:
        """The heartbeat of the connection that is up."""
        heartbeat = self.driver._protocol.heartbeat
        assert heartbeat is not None, "no connection has said HELLO"
        return heartbeat

    @property
    def link(self) -> Link:
        """The attempt under way."""
        assert self.driver._link is not None, "no attempt is under way"
        return self.driver._link

    @property
    def policy(self) -> ReconnectPolicy:
        """When it tries again."""
        return self.driver._policy

    @property
    def counters(self) -> Any:
        """What it counts."""
        return self.driver._counters


def inside(gateway: Gateway, shard_index: int = 0) -> Inside:
    """Look behind a gateway's public face, at one of its shards."""
    return Inside(list(gateway._fleet._roster.drivers.values())[shard_index])


def drivers(gateway: Gateway) -> dict[int, Any]:
    """Return what runs the shards, by id."""
    return dict(gateway._fleet._roster.drivers)


def innards(gateway: Gateway) -> list[Any]:
    """Return the objects inside whose repr must not show a secret."""
    return [gateway._fleet, *gateway._fleet._roster.drivers.values()]


async def pragma(owner: Any, text: str) -> Any:
    """Run a PRAGMA of SQLite where a store, or a table of turns, has its file open."""

    def work() -> Any:
        return owner._file.do(lambda db: db.execute(f"PRAGMA {text}").fetchone())

    return await owner._thread.call(work)
