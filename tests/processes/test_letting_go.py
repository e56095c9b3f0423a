"""A worker that lets go of its shards for a successor."""

from __future__ import annotations

import asyncio
import os
import socket

import pytest
from deadline import scaled
from gateways import gateway_to

from fastgw import MemorySessionStore
from fastgw.processes.line import Line, decode
from fastgw.processes.worker import _Work
from fastgw.testing import FakeGateway

pytestmark = pytest.mark.skipif(os.name != "posix", reason="workers need a POSIX system")


class Stubborn(MemorySessionStore):
    """A user's store, which fails to give shards back."""

    async def open(self, bot_id):
        opened = await super().open(bot_id)

        async def refuse(shard_ids):
            raise OSError("not now")

        opened.release = refuse
        return opened


async def heard(reader, kind):
    """Wait for a message of this kind."""
    while decode(await reader.readline())["is"] != kind:
        pass


async def test_it_says_so_when_all_are_gone_whatever_its_store_raises(caplog):
    """Else the supervisor waits for the word, and kills it in the middle of its handlers."""
    ours, theirs = socket.socketpair()
    async with FakeGateway(max_concurrency=2) as fake:
        gateway = gateway_to(fake, shards=2, store=Stubborn())
        line = Line(theirs)
        work = _Work(line, gateway, 2, sharing=None)
        await work.start()
        await gateway.wait_ready(scaled(10.0))
        reader, writer = await asyncio.open_connection(sock=ours, limit=1 << 20)
        try:
            work._told("release")
            await asyncio.wait_for(heard(reader, "released"), scaled(10.0))
            assert not fake.connections
        finally:
            await gateway.close()
            await work.wait_closed()
            writer.close()
            line._file.close()
            theirs.close()
    assert caplog.text.count("a shard was not let go of as it should be") == 2
