"""A service, or a proxy before it, that does not compress although it was asked to."""

from __future__ import annotations

import json

import pytest
from deadline import scaled
from gateways import TOKEN, quick_queue
from gateways import gateway_to as gateway_with
from raw_websocket import frame, raw_server

from fastgw import Gateway, GatewayInfo, Intents, NotCompressed
from fastgw.errors import DecodeError
from fastgw.protocol.timeouts import Timeouts
from fastgw.shard.compression import Compression
from fastgw.testing import FakeGateway

HELLO = b'{"t":null,"s":null,"op":10,"d":{"heartbeat_interval":41250}}'
READY = b'{"t":"READY","s":1,"op":0,"d":{"session_id":"a","guilds":[],"user":{}}}'


def in_text(seen):
    """Return a service that sends plain text, whatever it was asked for."""

    async def script(peer):
        await peer.upgrade(frame(1, HELLO))
        seen.append(peer.request.split(b"\r\n")[0])
        while (message := await peer.receive())[0] == 1:
            if json.loads(message[1])["op"] == 2:
                peer.send(frame(1, READY))
        await peer.at_end()

    return script


def gateway_to(url, **options):
    """Make a gateway that tries again at once, and does not wait for a CLOSE nobody answers."""
    return Gateway(
        TOKEN, intents=Intents.none(), info=GatewayInfo(url), identify_queue=quick_queue(),
        backoff_s=(0.001, 0.01), timeouts=Timeouts(close_s=0.05), **options
    )  # fmt: skip


async def test_auto_does_without_and_says_so_once(caplog):
    """All shards learn it from one, and ask for nothing more."""
    seen = []
    async with raw_server(in_text(seen)) as url, gateway_to(url, shards=3) as gateway:
        await gateway.wait_ready(scaled(10))
        asked_first, asked_last = seen[0], seen[-1]
        said = [r.message for r in caplog.records if "does not compress" in r.message]
        assert all(shard.health().is_ready for shard in gateway.shards)
    assert b"compress=zstd-stream" in asked_first
    assert b"compress" not in asked_last
    assert len(said) == 1
    assert 'compress="none"' in said[0]


@pytest.mark.parametrize("compress", ["zstd-stream", "zlib-stream"])
async def test_a_compression_that_was_named_fails_with_the_remedy(compress):
    """Who insists on it is told what to pass instead, and nothing is tried for ever."""
    seen = []
    async with raw_server(in_text(seen)) as url:
        gateway = gateway_to(url, compress=compress)
        await gateway.start()
        with pytest.raises(NotCompressed, match=f'not in {compress}.*compress="none"'):
            await gateway.wait_ready(scaled(10))
        await gateway.close()
    assert len(seen) == 1


async def test_payload_compression_takes_text():
    """There it is allowed: Discord compresses what is worth it."""
    seen = []
    async with raw_server(in_text(seen)) as url, gateway_to(url, compress="payload") as gateway:
        await gateway.wait_ready(scaled(10))
    assert len(seen) == 1


@pytest.mark.parametrize(
    ("chosen", "shards", "asked"),
    [
        (None, 1, "zstd-stream"), (None, 32, "zstd-stream"), (None, 33, "zlib-stream"),
        (None, 1024, "zlib-stream"), ("zstd-stream", 1024, "zstd-stream"),
        ("zlib-stream", 1, "zlib-stream"), ("none", 1024, None),
    ],
)  # fmt: skip
def test_many_shards_ask_for_what_holds_little_memory(chosen, shards, asked):
    """Unless the user named a compression: that is asked for however many there are."""
    assert Compression(chosen, shards=shards).in_url == asked


async def test_a_gateway_of_many_shards_asks_for_zlib(monkeypatch):
    """The shards that run here count, not those of the whole bot."""
    monkeypatch.setattr("fastgw.shard.compression.MAX_ZSTD_SHARDS", 2)
    async with FakeGateway(max_concurrency=8) as fake:
        for ids, asked in (([0, 1], "zstd-stream"), ([2, 3, 4], "zlib-stream")):
            async with gateway_with(fake, shards=ids, shard_count=8):
                assert {upgrade.get("compress") for upgrade in fake.upgrades[-2:]} == {asked}


def test_text_in_the_middle_of_a_stream_is_no_answer():
    """A broken stream is one, and the next connection may be whole again."""
    compression = Compression(None, shards=1)
    assert not compression.does_without(NotCompressed("zstd-stream"), messages=2)
    assert not compression.does_without(DecodeError("bad data"), messages=1)
    assert not compression.does_without(None, messages=0)
    assert compression.in_url == "zstd-stream"
    assert compression.does_without(NotCompressed("zstd-stream"), messages=1)
    assert (compression.mode, compression.in_url) == ("none", None)


def test_shards_that_asked_before_it_was_known_go_without_as_well(caplog):
    """They were on their way already; nobody is told twice."""
    compression = Compression(None, shards=1)
    assert compression.does_without(NotCompressed("zstd-stream"), messages=1)
    assert compression.does_without(NotCompressed("zstd-stream"), messages=1)
    assert len(caplog.records) == 1


def test_what_was_chosen_stays():
    """Nobody takes it away in silence."""
    compression = Compression("zlib-stream", shards=1)
    assert not compression.does_without(NotCompressed("zlib-stream"), messages=1)
    assert compression.in_url == "zlib-stream"
    assert Compression("payload", shards=1).in_url is None
