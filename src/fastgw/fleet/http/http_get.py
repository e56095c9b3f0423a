"""
One HTTP GET over the sockets that gateway connections use: every address of the host, one deadline.

`Answer` reads the response without IO (RFC 9112). Above all it tells an answer that was cut from
one that is whole: the first is asked for again, the second is judged.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Mapping
from enum import Enum

from ...connection.proxy import reach_through
from ...connection.reach import abandon_socket, transport_over
from ...connection.tcp import OwnSocket
from ...connection.tls import default_context
from ...connection.tunnel import Proxy

__all__ = ["Answer", "NotHttp", "http_get"]

_MAX_HEAD_BYTES = 32 * 1024
# The answer that is wanted has about 200 bytes; of an error page the beginning says enough.
_MAX_BODY_BYTES = 64 * 1024
_STATUS_LINE = re.compile(rb"HTTP/1\.\d (\d{3})(?: .*)?")
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,8})[ \t]*(?:;.*)?")


class NotHttp(Exception):
    """What came is no HTTP response; the text says what it is."""


class _Part(Enum):
    """What of the response comes next."""

    HEAD = "head"
    BODY = "body"  # as many bytes as its head says
    CHUNK = "chunk"  # the line with the size of one, or its bytes
    REST = "rest"  # everything until the peer hangs up
    DONE = "done"


class Answer:
    """
    One HTTP response, as far as it has come.

    Attributes:
        status: 0 before the head has come.
        headers: by lower-case name; of several with one name the last.
        is_whole: nothing more belongs to it.
        has_length: it said how long it is, so that a cut cannot be missed.
    """

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self._part = _Part.HEAD
        self._data = bytearray()  # not understood yet
        self._body = bytearray()
        self._left = 0  # bytes of body or chunk that are still to come
        self._seen = 0  # of _data, searched already

    @property
    def is_whole(self) -> bool:
        return self._part is _Part.DONE

    @property
    def has_length(self) -> bool:
        return "content-length" in self.headers or "transfer-encoding" in self.headers

    @property
    def body(self) -> bytes:
        """The body, as far as it has come and is kept."""
        return bytes(self._body)

    def feed(self, data: bytes) -> None:
        """
        Take what came; look at `is_whole` then.

        Raises:
            NotHttp: it is something else.
        """
        self._data += data
        while self._data and self._take():
            pass
        if len(self._body) >= _MAX_BODY_BYTES:
            self._part = _Part.DONE

    def end(self) -> None:
        """The peer has hung up; without a length, that is the end of the body."""
        if self._part is _Part.REST:
            self._part = _Part.DONE

    def _take(self) -> bool:
        """Take one step; False when more bytes are needed for the next."""
        if self._part is _Part.HEAD:
            return self._take_head()
        if self._part is _Part.BODY or (self._part is _Part.CHUNK and self._left):
            taken = self._data[: self._left]
            self._body += taken
            self._left -= len(taken)
            del self._data[: len(taken)]
            if not self._left and self._part is _Part.BODY:
                self._part = _Part.DONE
            return True
        if self._part is _Part.CHUNK:
            return self._take_chunk_size()
        if self._part is _Part.REST:
            self._body += self._data
        self._data.clear()
        return False

    def _line_end(self, mark: bytes) -> int:
        """Find a mark, and search no byte twice."""
        at = self._data.find(mark, max(0, self._seen - len(mark) + 1))
        self._seen = 0 if at >= 0 else len(self._data)
        return at

    def _take_head(self) -> bool:
        if not b"HTTP/1.".startswith(self._data[:7]):
            raise NotHttp(f"it says {bytes(self._data[:40])!r}")
        end = self._line_end(b"\r\n\r\n")
        if end < 0:
            if len(self._data) > _MAX_HEAD_BYTES:
                raise NotHttp(f"its head has over {_MAX_HEAD_BYTES} bytes")
            return False
        status_line, *lines = bytes(self._data[:end]).split(b"\r\n")
        del self._data[: end + 4]
        match = _STATUS_LINE.fullmatch(status_line)
        if match is None:
            raise NotHttp(f"it says {status_line[:40]!r}")
        if 100 <= int(match[1]) < 200:
            return True  # RFC 9110 15.2: an interim answer; the next head is another's
        self.status = int(match[1])
        for line in lines:
            name, _, value = line.decode("latin-1").partition(":")
            self.headers[name.strip().lower()] = value.strip()
        self._part = self._part_of_body()
        return True

    def _part_of_body(self) -> _Part:
        """RFC 9112 6.3, for the answer to a GET."""
        if self.status in (204, 304):
            return _Part.DONE
        if self.headers.get("transfer-encoding", "").lower().endswith("chunked"):
            return _Part.CHUNK
        length = self.headers.get("content-length")
        if length is None:
            return _Part.REST
        if not re.fullmatch(r"\d{1,15}", length):
            raise NotHttp(f"its Content-Length is {length[:40]!r}")
        self._left = int(length)
        return _Part.BODY if self._left else _Part.DONE

    def _take_chunk_size(self) -> bool:
        while self._data.startswith(b"\r\n"):  # the end of the chunk before
            del self._data[:2]
        end = self._line_end(b"\r\n")
        if end < 0:
            if len(self._data) > _MAX_HEAD_BYTES:
                raise NotHttp("a chunk without a size")
            return False
        match = _CHUNK_SIZE.fullmatch(bytes(self._data[:end]))
        if match is None:
            raise NotHttp(f"a chunk has the size {bytes(self._data[:40])!r}")
        del self._data[: end + 2]
        self._left = int(match[1], 16)
        if not self._left:
            self._part = _Part.DONE  # trailers mean nothing to us
        return True


class _Exchange(asyncio.Protocol):
    """Write a request, and read its answer."""

    def __init__(self, request: bytes) -> None:
        self.transport: asyncio.Transport | None = None
        self.done: asyncio.Future[Exception | None]
        self.done = asyncio.get_running_loop().create_future()
        self.answer = Answer()
        self._request = request

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]  # aiofastnet's has its own base
        transport.write(self._request)  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        if self.done.done():
            return
        try:
            self.answer.feed(data)
        except NotHttp as error:
            self.done.set_result(error)
        else:
            if self.answer.is_whole:
                self.done.set_result(None)

    def eof_received(self) -> None:
        self.answer.end()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.done.done():
            broken_off = ConnectionResetError("the answer broke off")
            self.done.set_result(None if self.answer.is_whole else error or broken_off)


async def http_get(
    host: str,
    port: int,
    resource: str,
    headers: Mapping[str, str],
    *,
    is_secure: bool,
    ssl_context: ssl.SSLContext | None,
    limit_s: float,
    proxy: Proxy | None = None,
) -> Answer:
    """
    Ask `host` for a resource, and return the answer once it is whole.

    Args:
        resource: path and query.
        headers: Host among them.
        ssl_context: for https; None means the system's certificates.
        limit_s: seconds for everything, from the name lookup on.
        proxy: what leads there; None connects directly.
    Raises:
        NotHttp: what answered does not speak HTTP.
        asyncio.TimeoutError: not within `limit_s`.
        OSError: no address answered, or each broke off (`ssl.SSLError` is one).
        ConnectFailed: the proxy cannot be reached, or refused (`ProxyRefused`).
    """
    lines = [f"GET {resource} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    request = "\r\n".join([*lines, "Connection: close", "", ""]).encode("latin-1")
    tls = (ssl_context or default_context()) if is_secure else None

    async def ask(sock: OwnSocket, share_s: float) -> Answer:
        exchange = _Exchange(request)
        try:
            await transport_over(
                sock,
                exchange,
                ssl_context=tls,
                server_hostname=host,
                limit_s=share_s,
                shutdown_s=share_s,
            )
            if (error := await exchange.done) is not None:
                raise error
            return exchange.answer
        finally:
            abandon_socket(sock, exchange.transport)

    return await reach_through(proxy, host, port, limit_s, ask)
