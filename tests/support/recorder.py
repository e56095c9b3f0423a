"""A receiver that writes down what it hears, and a connection opened with it."""

from __future__ import annotations

import asyncio
from typing import Any

from fastgw._decode import Decoder
from fastgw.connection.dial import Dial
from fastgw.connection.websocket import Connection


class Recorder:
    """A receiver that writes down what it hears."""

    def __init__(self) -> None:
        self.connection: Connection | None = None
        self.messages: list[Any] = []
        self.failures: list[tuple[Any, Any, BaseException]] = []
        self.returns: list[tuple[Any, Any, Any]] = []
        self.ended: list[Any] = []
        self.heard = asyncio.Event()

    def connection_made(self, connection):
        assert not self.messages, "connection_made comes first"
        self.connection = connection

    def message_received(self, message):
        assert not self.ended, "nothing comes after the end"
        self.messages.append(message)
        self.heard.set()

    def failed(self, event, target, error):
        self.failures.append((event, target, error))

    def returned(self, event, target, result):
        self.returns.append((event, target, result))

    def connection_ended(self, info):
        self.ended.append(info)
        self.heard.set()

    async def until(self, condition):
        """Wait until `condition()` holds."""
        while not condition():
            self.heard.clear()
            await asyncio.wait_for(self.heard.wait(), 10)


async def opened(url, *, decoder=None, close_timeout_s=1.0, **options):
    """Open a connection; return it with its recorder."""
    receiver = Recorder()
    dial = Dial(
        decoder or Decoder(interests=[]),
        receiver,
        delivery=receiver,
        close_timeout_s=close_timeout_s,
    )
    return await dial.open(url, **options), receiver
