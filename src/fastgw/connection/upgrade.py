"""
The websocket upgrade: the answer to our request, read and judged here rather than by picows.

picows takes an answer in one spelling only, and an extension or subprotocol that nobody offered; it
calls a peer that hangs up a success. So `Upgrade` stands in front of picows' protocol until the
answer is there, hands it on in the spelling that picows knows, and leaves the transport to it: what
follows takes no detour. `Sec-WebSocket-Accept` is checked by picows, which made the key.
"""

from __future__ import annotations

import asyncio
import re
from collections import defaultdict
from collections.abc import Collection
from contextlib import suppress
from typing import Any

from ..errors import ConnectFailed, HandshakeRefused, NotAWebSocket

__all__ = ["Upgrade"]

# An answer of picows' own limit; Discord's has 500 bytes, Cloudflare's longest some 2 KiB.
MAX_HEAD_BYTES = 16 * 1024
_STATUS_LINE = re.compile(rb"HTTP/1\.(\d) (\d{3})(?: [^\r\n]*)?")
_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*(.*?)[ \t]*")
# A Retry-After beyond two days is no instruction (and "inf" would be one to wait for ever).
_MAX_RETRY_AFTER_S = 172_800.0


class Upgrade(asyncio.BufferedProtocol):
    """
    The first protocol of a transport.

    Args:
        protocol: picows', which writes the request.
        successor: what takes the transport over then; it feeds picows'.
        offered: names of the headers in our request, in lower case.
        where: whom we talk to, for errors.

    Attributes:
        transport: None before `connection_made`.
        answered: done when picows has taken over; its result is the error if it never will.
    """

    def __init__(
        self, protocol: Any, successor: Any, *, offered: Collection[str], where: str
    ) -> None:
        self.transport: asyncio.Transport | None = None
        self.answered: asyncio.Future[Exception | None]
        self.answered = asyncio.get_running_loop().create_future()
        self._protocol = protocol
        self._successor = successor
        self._offered = offered
        self._where = where
        self._buffer = bytearray(MAX_HEAD_BYTES)
        self._size = 0

    # What the transport says.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Write the request."""
        self.transport = transport  # type: ignore[assignment]  # aiofastnet's has its own base
        try:
            self._protocol.connection_made(transport)
        except Exception as error:  # a socket that was reset may refuse its options
            self._fail(error)

    def get_buffer(self, _size_hint: int) -> memoryview:
        """Lend what is left of the buffer."""
        return memoryview(self._buffer)[self._size :]

    def buffer_updated(self, size: int) -> None:
        """Judge the answer as soon as it is whole."""
        self._size += size
        try:
            answer = self._answer()
        except ConnectFailed as error:
            self._fail(error)
            return
        if answer is None or self.transport is None:
            return
        self.transport.set_protocol(self._successor)
        while answer:
            room = self._successor.get_buffer(-1)
            taken = min(len(room), len(answer))
            room[:taken] = answer[:taken]
            answer = answer[taken:]
            self._successor.buffer_updated(taken)
        self.answered.set_result(None)

    def eof_received(self) -> bool:
        """Let the transport close itself."""
        return False

    def connection_lost(self, error: Exception | None) -> None:
        """TCP has ended before there was an answer, or because of it."""
        self._fail(
            error
            or ConnectFailed(f"{self._where} closed the connection before it answered the upgrade")
        )

    def pause_writing(self) -> None:
        """The request is all that we write."""

    def resume_writing(self) -> None:
        """The request is all that we write."""

    # The answer.

    def _fail(self, error: Exception) -> None:
        self._size = 0  # whatever still comes has room, and is nobody's
        if not self.answered.done():
            self.answered.set_result(error)
        if self.transport is not None:
            self.transport.abort()

    def _answer(self) -> bytes | None:
        """Return what picows shall read: the answer in its spelling, and what came behind it."""
        data = bytes(self._buffer[: self._size])
        while True:
            if not b"HTTP/1.".startswith(data[:7]):
                raise self._no_websocket(f"it says {data[:60]!r}")
            head, end, rest = data.partition(b"\r\n\r\n")
            if not end:
                if len(data) >= MAX_HEAD_BYTES:
                    raise self._no_websocket(f"its answer has over {MAX_HEAD_BYTES} bytes of head")
                return None
            status_line, *lines = head.split(b"\r\n")
            match = _STATUS_LINE.fullmatch(status_line)
            if match is None:
                raise self._no_websocket(f"it says {status_line[:60]!r}")
            status = int(match[2])
            if status == 101:
                if match[1] == b"0":  # RFC 9110 7.8: a protocol older than 1.1 knows no upgrade
                    raise self._no_websocket("its 101 is one of HTTP/1.0")
                return self._switch(self._fields(lines)) + rest
            if status >= 200:
                raise self._refused(status, lines)
            data = rest  # RFC 9110 15.2: any number of interim answers may come first

    def _switch(self, fields: dict[str, list[str]]) -> bytes:
        """Check the headers of a 101 (RFC 6455 4.1)."""
        if "websocket" not in _tokens(fields["upgrade"]):
            raise self._no_websocket("a 101 without 'Upgrade: websocket'")
        if "upgrade" not in _tokens(fields["connection"]):
            raise self._no_websocket("a 101 without 'Connection: Upgrade'")
        for name in ("sec-websocket-extensions", "sec-websocket-protocol"):
            if any(fields[name]) and name not in self._offered:
                chosen = fields[name][0][:60]
                raise self._no_websocket(f"it chose a {name} that nobody offered: {chosen!r}")
        if fields["transfer-encoding"] or fields["content-length"] not in ([], ["0"]):
            raise self._no_websocket("a 101 with a body")
        accept = "".join([f"Sec-WebSocket-Accept: {a}\r\n" for a in fields["sec-websocket-accept"]])
        return (
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"{accept}\r\n"
        ).encode("latin-1")

    def _fields(self, lines: list[bytes]) -> dict[str, list[str]]:
        fields = defaultdict[str, list[str]](list)
        for line in lines:
            match = _FIELD.fullmatch(line)
            if match is None or re.search(rb"[\0\r\n]", line):
                raise self._no_websocket(f"its answer has a broken header {line[:60]!r}")
            fields[match[1].decode("ascii").lower()].append(match[2].decode("latin-1"))
        return fields

    def _refused(self, status: int, lines: list[bytes]) -> HandshakeRefused:
        retry_after_s = None
        for line in lines:
            name, _, value = line.partition(b":")
            if name.strip().lower() == b"retry-after":
                with suppress(ValueError):  # it may also be a date; Cloudflare says seconds
                    asked_s = float(value)
                    if asked_s >= 0:  # not for NaN either
                        retry_after_s = min(asked_s, _MAX_RETRY_AFTER_S)
        return HandshakeRefused(
            f"{self._where} answered the websocket upgrade with HTTP {status}",
            status=status,
            retry_after_s=retry_after_s,
        )

    def _no_websocket(self, why: str) -> NotAWebSocket:
        return NotAWebSocket(f"{self._where} does not speak websocket: {why}")


def _tokens(values: list[str]) -> set[str]:
    """Split a list header, which may also come in several lines, into its tokens."""
    return {token.strip().lower() for value in values for token in value.split(",")}
