"""
A proxy, and the tunnel through it to the host that is meant.

Two kinds: HTTP CONNECT (RFC 9110 9.3.6), written here, and SOCKS5 (RFC 1928) by python-socks,
which picows brings. The host's name is resolved by the proxy.

Name and password of a proxy go into the tunnel's own handshake and nowhere else: no text of an
error, no `repr` and no log line holds them.
"""

from __future__ import annotations

import asyncio
import base64
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from ..errors import ProxyRefused, UsageError

if TYPE_CHECKING:
    from typing_extensions import Self

    from .tcp import OwnSocket

__all__ = ["Proxy", "authority"]

_MAX_HEAD_BYTES = 16 * 1024
_PORTS = {"http": 8080, "socks5": 1080}


@dataclass(frozen=True, slots=True)
class Proxy:
    """
    One proxy.

    Attributes:
        kind: "http" or "socks5".
        username, password: None without; not shown.
    """

    kind: str
    host: str
    port: int
    username: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)

    @classmethod
    def parse(cls, url: object, *, name: str = "proxy") -> Self:
        """
        Read `http://user:password@host:port` or `socks5://...`.

        Args:
            name: what holds the URL, for the error; the URL itself may hold a password.
        Raises:
            UsageError: it is none.
        """
        example = 'such as "http://127.0.0.1:8080" or "socks5://127.0.0.1:1080"'
        if not isinstance(url, str):
            raise UsageError(f"{name} is a URL {example}, not {type(url).__name__}")
        try:
            parts = urlsplit(url)
            port, host = parts.port, parts.hostname
            url.encode("ascii")
        except ValueError:
            raise UsageError(f"{name} is no URL {example}") from None
        kind = {"http": "http", "socks5": "socks5", "socks5h": "socks5"}.get(parts.scheme)
        if kind is None:
            raise UsageError(
                f"{name} has the scheme {parts.scheme[:20]!r}: it must be http, which also carries "
                f"TLS to the host, or socks5, {example}"
            )
        if not host or " " in url or parts.path not in ("", "/") or parts.query or parts.fragment:
            raise UsageError(f"{name} is more, or less, than a host and a port, {example}")
        username = None if parts.username is None else unquote(parts.username)
        password = None if parts.password is None else unquote(parts.password)
        if username is not None and kind == "http" and ":" in username:
            raise UsageError(f"{name} has a colon in its user name, which RFC 7617 2 forbids")
        return cls(kind, host, port or _PORTS[kind], username, password)

    @property
    def where(self) -> str:
        """Its host and port, for errors."""
        return authority(self.host, self.port)

    async def tunnel(self, sock: OwnSocket, host: str, port: int) -> None:
        """
        Have a connection made to `host`, over a socket that is connected to the proxy.

        Raises:
            ProxyRefused: it answered, and not with a tunnel.
            OSError: the connection to it broke.
        When it raises, the socket is the caller's to close.
        """
        if self.kind == "socks5":
            await self._tunnel_by_socks(sock, host, port)
        else:
            await self._tunnel_by_connect(sock, host, port)

    async def _tunnel_by_connect(self, sock: OwnSocket, host: str, port: int) -> None:
        target = authority(host, port)
        request = f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n"
        if self.username is not None:
            pair = f"{self.username}:{self.password or ''}".encode()  # RFC 7617 2.1: as UTF-8
            request += f"Proxy-Authorization: Basic {base64.b64encode(pair).decode()}\r\n"
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(sock, f"{request}\r\n".encode("ascii"))
        answer = b""
        while b"\r\n\r\n" not in answer:
            if len(answer) > _MAX_HEAD_BYTES:
                raise ProxyRefused(f"the proxy {self.where} does not answer in HTTP")
            data = await loop.sock_recv(sock, 4096)
            if not data:
                raise ProxyRefused(f"the proxy {self.where} hung up instead of an answer")
            answer += data
            if not b"HTTP/1.".startswith(answer[:7]):
                raise ProxyRefused(f"the proxy {self.where} does not answer in HTTP")
        head, _, rest = answer.partition(b"\r\n\r\n")
        status = head[9:12]
        if not status.isdigit():
            raise ProxyRefused(f"the proxy {self.where} does not answer in HTTP")
        if status[:1] != b"2":
            raise self._refused(int(status), target)
        if rest:  # the host does not speak before we do
            raise ProxyRefused(f"the proxy {self.where} sent more than its answer to CONNECT")

    def _refused(self, status: int, target: str) -> ProxyRefused:
        advice = ""
        if status == 407:  # RFC 9110 15.5.8
            wrong = "these" if self.username is not None else "a"
            advice = f": it does not take {wrong} user name and password"
            if self.username is None:
                advice = ": it wants a user name and password, http://user:password@host:port"
        return ProxyRefused(
            f"the proxy {self.where} answered HTTP {status} for {target}{advice}", status=status
        )

    async def _tunnel_by_socks(self, sock: OwnSocket, host: str, port: int) -> None:
        from python_socks import ProxyError, ProxyType
        from python_socks.async_.asyncio import Proxy as SocksProxy

        proxy = SocksProxy(
            ProxyType.SOCKS5,
            self.host,
            self.port,
            username=self.username,
            password=self.password,
            rdns=True,
            forward=_Connected(sock),  # type: ignore[arg-type]  # all that it calls is there
        )
        try:
            await proxy.connect(host, port, timeout=_NO_TIMEOUT_S)
        except ProxyError as error:
            raise ProxyRefused(
                f"the proxy {self.where} refused to connect to {authority(host, port)}: {error}"
            ) from None  # its frames hold the password


# The caller's limit is shorter.
_NO_TIMEOUT_S = 3600.0


class _Connected:
    """What python-socks asks for a socket to the proxy; ours has been connected already."""

    def __init__(self, sock: OwnSocket) -> None:
        self._sock = sock

    async def connect(self, **_target: Any) -> OwnSocket:
        return self._sock


def authority(host: str, port: int) -> str:
    """Return host and port as URLs and CONNECT have them (RFC 3986 3.2.2: IPv6 in brackets)."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
