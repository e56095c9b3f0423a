"""What one look of a member does in Redis: who is a member, and when the server has lost one."""

from __future__ import annotations

import contextlib
import json
from types import SimpleNamespace

import pytest
from deadline import until
from redis_server import needs_redis

import redis
from fastgw.redis.server import Server

pytestmark = [pytest.mark.redis, needs_redis]

KEYS = ["member", "who", "lease", "owner", "quiet"]
WHO = json.dumps({"count": "2", "name": "a process"})
LEASE_MS = 300_000


@pytest.fixture
def client(server):
    """See what is there."""
    with redis.Redis(unix_socket_path=str(server.socket), decode_responses=True) as client:
        yield client


def look(server, me, told, *, member_ms=150_000):
    """Let one member look; return what it is told."""
    arguments = [me, member_ms, LEASE_MS, told, WHO]
    with contextlib.closing(Server(server.url, "fgw")) as asked:
        answer = asked.script("share", KEYS, arguments)
    return SimpleNamespace(told=int(answer[0]), is_quiet=int(answer[1]) > 0, members=answer[2])


async def over(client, told):
    """Wait until a membership has run out, by the server's clock."""

    def is_over():
        seconds, micros = client.time()
        return seconds * 1000 + micros // 1000 > told

    await until(is_over)


def test_who_is_not_known_any_more_says_that_the_server_lost_its_memory(server, client):
    """It was told more than the server knows."""
    first = look(server, "a", 0)
    client.flushall()
    assert not first.is_quiet
    assert look(server, "a", first.told).is_quiet


async def test_a_server_that_was_away_for_longer_than_a_membership_has_lost_its_memory_too(
    server, client
):
    """Its members are none any more, and have leases still."""
    first = look(server, "a", 0, member_ms=1)
    await over(client, first.told)
    client.flushall()
    assert look(server, "a", first.told).is_quiet


async def test_who_was_silent_for_longer_than_its_membership_is_no_loss(server, client):
    """It is none until it looks again, and nobody waits because of it."""
    first = look(server, "a", 0, member_ms=1)
    await over(client, first.told)
    assert look(server, "b", 0).members == ["b"]
    again = look(server, "a", first.told)
    assert (sorted(again.members), again.is_quiet) == (["a", "b"], False)
