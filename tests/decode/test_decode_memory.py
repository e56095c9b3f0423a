"""What the decoder holds on to: nothing of a large message once it is over."""

from __future__ import annotations

import sys
import tracemalloc
import zlib

import pytest

from fastgw._decode import Decoder

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

pytestmark = pytest.mark.usefixtures("each_zstd")


def streaming(compression):
    """Return a function that encodes one message after the other in one context."""
    if compression == "none":
        return bytes
    if compression == "zlib-stream":
        deflate = zlib.compressobj()
        return lambda text: deflate.compress(text) + deflate.flush(zlib.Z_SYNC_FLUSH)
    context = zstd.ZstdCompressor()
    return lambda text: context.compress(text, zstd.ZstdCompressor.FLUSH_BLOCK)


@pytest.mark.parametrize("compression", ["none", "zlib-stream", "zstd-stream"])
def test_burst_of_large_guilds_leaves_nothing_behind(compression):
    """After a burst of 2 MB guilds, fragmented and delivered, our memory is what it was before."""
    guild = b'{"t":"GUILD_CREATE","s":1,"op":0,"d":{"x":"' + b"guild" * 400_000 + b'","id":"1"}}'
    small = b'{"t":"GUILD_CREATE","s":1,"op":0,"d":{"id":"1"}}'
    encode = streaming(compression)
    opcode = 1 if compression == "none" else 2
    decoder = Decoder(compression=compression)

    def deliver(text):
        data = encode(text)
        cut = len(data) // 2
        assert decoder.feed(data[:cut], opcode, False) is None
        assert decoder.feed(data[cut:], 0, True).guild_id == 1

    tracemalloc.start()
    try:
        for _ in range(64):  # as many as the free list of events can hold
            deliver(small)
        before, _ = tracemalloc.get_traced_memory()
        for _ in range(20):
            deliver(guild)
        deliver(small)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 65_536
    assert decoder.buffer_capacity <= 16_384
