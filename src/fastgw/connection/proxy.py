"""
Which proxy leads to which host, and the way through it.

A proxy is reached as any host is, over all of its addresses. TLS and the websocket begin inside the
tunnel, so a proxy sees whom we talk to and nothing of what is said, and the certificate is that of
the host. What a proxy is, and its handshake, is in `tunnel`: most programs have none, and do not
import it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from ..errors import ConnectFailed, ProxyRefused
from .reach import reach

if TYPE_CHECKING:
    from typing_extensions import Self

    from .tcp import OwnSocket
    from .tunnel import Proxy

__all__ = ["Proxies", "reach_through"]

Result = TypeVar("Result")


class Proxies(NamedTuple):
    """
    Which proxy leads to which host.

    Attributes:
        always: the one for every host.
        by_scheme: others by "http" and "https", of the environment.
        no_proxy: hosts without one, as NO_PROXY names them.
    """

    always: Proxy | None = None
    by_scheme: Mapping[str, Proxy] = MappingProxyType({})
    no_proxy: str = ""

    @classmethod
    def of_environment(cls) -> Self:
        """
        Read HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY, also in small letters.

        Raises:
            UsageError: one of them cannot be used.
        """
        from urllib.request import getproxies_environment

        from .tunnel import Proxy

        found = getproxies_environment()
        by_scheme: dict[str, Proxy] = {}
        for scheme in ("http", "https"):
            name = scheme if found.get(scheme) else "all"
            if url := found.get(name):
                url = url if "://" in url else f"http://{url}"  # as curl reads it
                by_scheme[scheme] = Proxy.parse(url, name=f"{name.upper()}_PROXY")
        return cls(None, by_scheme, found.get("no", ""))

    def proxy_for(self, host: str, port: int, *, is_secure: bool) -> Proxy | None:
        """Return the proxy that leads to a host; None to connect to it directly."""
        if self.always is not None or not self.by_scheme:
            return self.always
        from urllib.request import proxy_bypass_environment  # type: ignore[attr-defined]

        from .tunnel import authority

        if self.no_proxy and proxy_bypass_environment(authority(host, port), {"no": self.no_proxy}):
            return None
        return self.by_scheme.get("https" if is_secure else "http")


async def reach_through(
    proxy: Proxy | None,
    host: str,
    port: int,
    limit_s: float,
    attempt: Callable[[OwnSocket, float], Awaitable[Result]],
    *,
    is_final: Callable[[Exception], bool] = lambda error: False,
) -> Result:
    """
    Do as `reach`, through a proxy if there is one.

    Raises:
        ProxyRefused: it makes no connection to this host, or not for us.
        ConnectFailed: the proxy cannot be reached.
        Whatever `reach` raises.
    """
    if proxy is None:
        return await reach(host, port, limit_s, attempt, is_final=is_final)
    is_through = False

    async def attempt_through(sock: OwnSocket, share_s: float) -> Result:
        nonlocal is_through
        try:
            await proxy.tunnel(sock, host, port)
        except BaseException:
            sock.close()
            raise
        is_through = True
        return await attempt(sock, share_s)

    try:
        return await reach(
            proxy.host,
            proxy.port,
            limit_s,
            attempt_through,
            is_final=lambda error: isinstance(error, ProxyRefused) or is_final(error),
        )
    except OSError as error:
        if is_through or isinstance(error, (TimeoutError, asyncio.TimeoutError)):
            raise
        reason = error.strerror or error
        raise ConnectFailed(f"cannot reach the proxy {proxy.where}: {reason}") from error
