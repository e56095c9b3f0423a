"""
The fake gateway's socket: picows' server, its callbacks and its HTTP answers.

picows answers what `accept` decides: a websocket with a `FakeConnection`, HTTP bytes, or nothing.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Callable
from http import HTTPStatus

from picows import (
    WSFrame,
    WSListener,
    WSTransport,
    WSUpgradeRequest,
    WSUpgradeResponse,
    WSUpgradeResponseWithListener,
    ws_create_server,
)

from .connection import FakeConnection
from .http import Answer, Request, Silence

__all__ = ["serve"]

# picows logs every connection at INFO and repeats errors that a test provokes on purpose.
_picows_log = logging.getLogger("fastgw.testing.picows")
_picows_log.setLevel(logging.CRITICAL)


async def serve(
    accept: Callable[[Request], FakeConnection | Answer | Silence],
    host: str,
    port: int,
    ssl_context: ssl.SSLContext | None,
    connections: list[FakeConnection],
) -> asyncio.Server:
    """
    Listen; ask `accept` about each request, keep the open websockets in `connections`.

    Args:
        accept: returns the websocket to open, an HTTP answer, or silence.
    """

    def answer(request: WSUpgradeRequest) -> WSUpgradeResponseWithListener:
        decided = accept(Request.parse(request.path, request.headers))
        if isinstance(decided, Answer):
            # picows sends the bytes and closes, as after any status but 101.
            raw = _raw(HTTPStatus.OK, decided.to_bytes())
            return WSUpgradeResponseWithListener(raw, None)
        if isinstance(decided, Silence):
            # picows takes it for an upgrade that was answered.
            raw = _raw(HTTPStatus.SWITCHING_PROTOCOLS, b"")
            return WSUpgradeResponseWithListener(raw, _Unanswered())
        upgrade = WSUpgradeResponse.create_101_response()
        return WSUpgradeResponseWithListener(upgrade, _Listener(decided, connections))

    return await ws_create_server(
        answer,
        host,
        port,
        ssl=ssl_context,
        logger_name=_picows_log,
        enable_auto_pong=False,
        # aiofastnet 1.2 hands a client that hangs up inside the TLS handshake to the loop's
        # exception handler; asyncio and uvloop, a little slower, know that clients do so.
        use_aiofastnet=False if ssl_context is not None else None,
    )


class _Listener(WSListener):
    """Hand picows' callbacks to the connection."""

    def __init__(self, connection: FakeConnection, connections: list[FakeConnection]) -> None:
        self._connection = connection
        self._connections = connections

    def on_ws_connected(self, transport: WSTransport) -> None:
        self._connections.append(self._connection)
        self._connection.connected(transport.underlying_transport)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        payload = frame.get_payload_as_bytes()
        self._connection.frame_received(frame.msg_type.value, payload, frame.fin)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self._connections.remove(self._connection)
        self._connection.disconnected()

    def pause_writing(self) -> None:
        self._connection.writing_paused(True)

    def resume_writing(self) -> None:
        self._connection.writing_paused(False)


class _Unanswered(WSListener):
    """A client that never gets an answer; what it sends is dropped."""

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        transport.underlying_transport.close()  # as in FakeConnection.disconnected


class _RawResponse(WSUpgradeResponse):
    """An answer in bytes of ours: statuses that picows does not know, or nothing at all."""

    raw: bytes

    def to_bytes(self) -> bytearray:
        return bytearray(self.raw)


def _raw(status: HTTPStatus, raw: bytes) -> _RawResponse:
    response = _RawResponse()
    response.version, response.status, response.body = b"HTTP/1.1", status, b""
    response.headers = WSUpgradeResponse.create_101_response().headers  # picows adds its own
    response.raw = raw
    return response
