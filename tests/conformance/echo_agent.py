"""
An echo client on the real transport, for websocket conformance servers.

    await agent("ws://127.0.0.1:9001/runCase?case=1&agent=fastgw")

It connects with the frame layer in its strict mode (every text message is validated), sends every
complete message back with its own type, and returns when the peer has closed.
"""

from __future__ import annotations

import asyncio
from ssl import SSLContext

from settled import settled

from fastgw._decode import Assembler
from fastgw.connection.dial import Dial
from fastgw.connection.websocket import CloseInfo, Connection

# RFC 6455 sets no limit; conformance servers send 16 MiB at once, and 4 MiB in 64-byte pieces.
MAX_MESSAGE_BYTES = 64 * 1024 * 1024
MAX_FRAGMENTS = 1024 * 1024


class Echo:
    """The receiver: what comes in goes out."""

    def __init__(self) -> None:
        self.connection: Connection | None = None
        self.ended: asyncio.Future[CloseInfo] = asyncio.get_running_loop().create_future()
        self.messages = 0

    def connection_made(self, connection: Connection) -> None:
        self.connection = connection

    def message_received(self, message: tuple[int, bytes]) -> None:
        opcode, payload = message
        self.messages += 1
        assert self.connection is not None
        self.connection.send(payload, opcode)

    def connection_ended(self, info: CloseInfo) -> None:
        self.ended.set_result(info)


async def agent(url: str, ssl_context: SSLContext | None = None) -> CloseInfo:
    """
    Connect to `url`, echo until the peer has closed, and tell how it ended.

    Raises:
        ConnectFailed: the connection could not be opened.
    """
    echo = Echo()
    dial = Dial(
        Assembler(max_message_bytes=MAX_MESSAGE_BYTES, max_fragments=MAX_FRAGMENTS, strict=True),
        echo,  # type: ignore[arg-type]  # a bare Assembler gives (opcode, payload)
    )
    connection = await dial.open(url, ssl_context=ssl_context)
    info = await echo.ended
    await settled(connection)
    return info
