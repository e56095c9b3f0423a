"""
The one HTTP call of the library: `GET /gateway/bot`, and its answer as a value, `GatewayInfo`,
which users may pass instead.

Every answer other than gateway information becomes one typed error. `ask_until_answered` asks again
when that can help, and gives the rest to the caller.
"""

from __future__ import annotations

import asyncio
import json
import math
import socket
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ...connection.proxy import Proxies
from ...connection.tls import is_not_yet_valid
from ...errors import (
    AuthenticationFailed,
    CertificateRefused,
    ConnectFailed,
    ConnectTimeout,
    GatewayInfoError,
    UsageError,
)
from ...log import careful_logger
from ...protocol.token import redact_value
from ...protocol.wire import MAX_SHARDS, gateway_url
from ...quoting import counted, cut, quote, without_credentials
from ...shard.reconnect import Backoff, is_permanent
from ...version import USER_AGENT
from .http_get import Answer, NotHttp, http_get

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = [
    "GatewayInfo",
    "SessionStartLimit",
    "ask_api",
    "ask_until_answered",
    "fetch_gateway_info",
]

log = careful_logger("fastgw.api")

ROUTE = "/gateway/bot"
# Identifies a day, and milliseconds until the day is over: far more than either can be, and few
# enough for any timer.
_MOST = 2**31 - 1
# More than two days is no instruction any more (23 hours have been seen, discord-api-docs#8570).
_MAX_RETRY_AFTER_S = 172_800.0
# One reason is told again after so long: what nobody has mended by then may have been overlooked.
_AGAIN_S = 600.0


@dataclass(frozen=True, slots=True)
class SessionStartLimit:
    """
    How many identifies are left (Discord docs, "Session start limit object").

    Attributes:
        total: identifies a day.
        remaining: of these, still free.
        reset_after_s: seconds until remaining is total again.
        max_concurrency: identifies that may go at once; the modulus of the identify key.
    """

    total: int = 1000
    remaining: int = 1000
    reset_after_s: float = 0.0
    max_concurrency: int = 1


@dataclass(frozen=True, slots=True)
class GatewayInfo:
    """
    The answer of `GET /gateway/bot`, or what stands for it.

    Attributes:
        url: websocket URL, without our query.
        shards: recommended shard count.
        session_start_limit: None when unknown.
    Raises:
        UsageError: nothing can be connected to at `url`, or no bot has so many shards.
    """

    url: str
    shards: int = 1
    session_start_limit: SessionStartLimit | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.url, str):
            raise UsageError(f"url={self.url!r} is not a websocket URL such as 'wss://host'")
        gateway_url(self.url, None)
        limit = self.session_start_limit
        if not isinstance(limit, (SessionStartLimit, type(None))):
            raise UsageError(f"session_start_limit={limit!r} is not a SessionStartLimit")
        try:
            _whole(self.shards, 1, MAX_SHARDS)
        except ValueError as error:
            raise UsageError(f"shards: {error}") from None

    @classmethod
    def parse(cls, data: object) -> GatewayInfo:
        """
        Read the decoded JSON body; `GET /gateway` (url only) is accepted too.

        Raises:
            GatewayInfoError: it has another shape.
        """
        if not isinstance(data, Mapping):
            raise GatewayInfoError("gateway information is not a JSON object")
        try:
            limit = data.get("session_start_limit")
            return cls(
                url=data["url"],
                shards=data.get("shards", 1),
                session_start_limit=None
                if limit is None
                else SessionStartLimit(
                    total=_whole(limit["total"], 0, _MOST),
                    remaining=_whole(limit["remaining"], 0, _MOST),
                    # Milliseconds on the wire.
                    reset_after_s=_whole(limit["reset_after"], 0, _MOST) / 1000,
                    max_concurrency=_whole(limit.get("max_concurrency", 1), 1, MAX_SHARDS),
                ),
            )
        except (KeyError, TypeError, ValueError, AttributeError, UsageError) as error:
            raise GatewayInfoError(f"gateway information is malformed: {error}") from error


def _whole(value: object, least: int, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise ValueError(f"expected a whole number from {least} to {most}, got {quote(value)}")
    return value


async def fetch_gateway_info(
    api_url: str,
    token: str,
    *,
    timeout_s: float,
    ssl_context: ssl.SSLContext | None = None,
    proxies: Proxies | None = None,
    headers: Mapping[str, str] | None = None,
) -> GatewayInfo:
    """
    Ask the API which URL to connect to, how many shards it recommends and what is left to start.

    Args:
        api_url: base URL with version, such as "https://discord.com/api/v10".
        token: without its "Bot " prefix.
        timeout_s: for everything, from the name lookup to the last byte.
        ssl_context: for https; None means the system's certificates.
        proxies: which proxy leads there; None connects directly.
        headers: sent with the request, besides our own.
    Raises:
        AuthenticationFailed: HTTP 401.
        GatewayInfoError: any other status, or a body that is not what it must be.
        CertificateRefused, ConnectTimeout, ConnectFailed: there was no answer.
        UsageError: api_url is not an http or https URL.
    Cancelling returns at once.
    """
    data, _ = await ask_api(
        api_url,
        token,
        ROUTE,
        timeout_s=timeout_s,
        ssl_context=ssl_context,
        proxies=proxies,
        headers=headers,
    )
    info = GatewayInfo.parse(data)
    if api_url.lower().startswith("https:") and not info.url.lower().startswith("wss:"):
        # The token goes there next: whoever could make us speak plainly would have it.
        raise GatewayInfoError("the API was asked over https, and leads to a URL without TLS")
    return info


async def ask_api(
    api_url: str,
    token: str,
    route: str,
    *,
    timeout_s: float,
    ssl_context: ssl.SSLContext | None = None,
    proxies: Proxies | None = None,
    headers: Mapping[str, str] | None = None,
) -> tuple[Any, Mapping[str, str]]:
    """
    GET one route of the API, such as "/gateway/bot"; return its JSON and the answer's headers.

    Arguments and errors are those of `fetch_gateway_info`; header names are in lower case.
    """
    call = _Call.to(api_url, token, route)
    proxies = proxies or Proxies()
    try:
        answer = await http_get(
            call.host,
            call.port,
            call.resource,
            {**call.headers, **(headers or {})},
            is_secure=call.is_secure,
            ssl_context=ssl_context,
            limit_s=timeout_s,
            proxy=proxies.proxy_for(call.host, call.port, is_secure=call.is_secure),
        )
    except (NotHttp, OSError, asyncio.TimeoutError) as error:
        raise _failure(error, call.where, timeout_s) from error
    return _read_answer(answer, call.where, token, route), answer.headers


async def ask_until_answered(
    ask: Callable[[], Awaitable[GatewayInfo]],
    *,
    random: Callable[[], float],
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> GatewayInfo:
    """
    Ask, by `fetch_gateway_info`, again and again while the network or the API is down.

    One warning for each reason, and one more every ten minutes while it is the same. HTTP 429 is
    obeyed in full, however long (23 hours have been seen, discord-api-docs#8570), because asking
    earlier makes it longer.

    Raises:
        AuthenticationFailed, CertificateRefused, GatewayInfoError: asking again cannot help.
    """
    backoff, refrain = Backoff(random), _Refrain(clock)
    while True:
        try:
            info = await ask()
        except (ConnectFailed, GatewayInfoError) as error:
            if is_permanent(error):
                raise
            wait_s = backoff.next_delay_s()
            if isinstance(error, GatewayInfoError) and error.retry_after_s is not None:
                wait_s += error.retry_after_s
            refrain.say(str(error), wait_s)
        else:
            refrain.end()
            return info
        await sleep(wait_s)


class _Refrain:
    """Says why there is no answer, but not the same again and again."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._said = ""
        self._said_at = 0.0
        self._failures = 0

    def say(self, reason: str, wait_s: float) -> None:
        """Note a failure; log it where it is news."""
        now = self._clock()
        self._failures += 1
        if reason != self._said:
            log.warning("%s; asking again in %.1f s, and on until it answers", reason, wait_s)
        elif now - self._said_at >= _AGAIN_S:
            log.warning("%s, as %d times now; asking on", reason, self._failures)
        else:
            return
        self._said, self._said_at = reason, now

    def end(self) -> None:
        """Note the answer; log that it came after all."""
        if self._failures:
            log.info("the API answers, after %s", counted(self._failures, "failure"))


@dataclass(frozen=True, slots=True)
class _Call:
    """What to ask whom."""

    host: str
    port: int
    is_secure: bool
    where: str
    resource: str
    headers: dict[str, str] = field(repr=False)  # the token is one of them

    @classmethod
    def to(cls, api_url: str, token: str, route: str) -> _Call:
        try:
            parts = urlsplit(api_url)
            port = parts.port
            _ = (parts.hostname or "").encode("idna")  # a name that nobody could be asked for
            api_url.encode("ascii")
        except ValueError:
            parts, port = urlsplit(""), None
        if parts.scheme not in ("http", "https") or not parts.hostname:
            shown = without_credentials(api_url)
            raise UsageError(f"api_url {shown!r} must look like https://discord.com/api/v10")
        if "@" in parts.netloc:
            raise UsageError("api_url holds a user name or password, which nobody would be told")
        if not (token.isascii() and token.isprintable()):
            raise UsageError("the token has characters that no token has; copy it again")
        is_secure = parts.scheme == "https"
        return cls(
            parts.hostname,
            port or (443 if is_secure else 80),
            is_secure,
            f"{parts.scheme}://{parts.netloc}",
            parts.path.rstrip("/") + route,
            {
                "Host": parts.netloc,
                "Authorization": f"Bot {token}",
                "User-Agent": USER_AGENT,
                "Accept": "application/json",
            },
        )


def _failure(error: Exception, where: str, timeout_s: float) -> ConnectFailed | GatewayInfoError:
    if isinstance(error, NotHttp):
        return GatewayInfoError(f"{where} does not answer in HTTP ({error}); check api_url")
    if is_not_yet_valid(error):
        return ConnectFailed(
            f"the certificate of {where} is not valid yet; is the clock of this machine right?"
        )
    if isinstance(error, ssl.SSLCertVerificationError):
        return CertificateRefused(
            f"the certificate of {where} was refused ({error.verify_message}); if it is your "
            f"own, pass ssl_context=, else look for a proxy or a missing CA bundle"
        )
    if isinstance(error, (TimeoutError, asyncio.TimeoutError)):
        return ConnectTimeout(
            f"{where} gave no answer within {timeout_s:g} s; check network and api_url",
            timeout_s=timeout_s,
        )
    if isinstance(error, socket.gaierror):
        return ConnectFailed(
            f"the name of {where} could not be resolved ({error.strerror}); check network, "
            f"DNS and api_url"
        )
    if isinstance(error, ConnectionRefusedError):
        return ConnectFailed(f"{where} refused the connection; check api_url and firewall")
    return ConnectFailed(f"the request to {where} failed: {error}")


def _read_answer(response: Answer, where: str, token: str, route: str) -> Any:
    """Return the JSON of an HTTP answer, or raise what it means."""
    status, headers, body = response.status, response.headers, response.body
    try:
        answer: Any = json.loads(body)
    except (ValueError, RecursionError):
        answer = None
    if status == 200:
        if answer is None and body.lstrip().startswith(b"{") and not response.has_length:
            raise ConnectFailed(f"the request to {where} failed: its answer broke off")
        if answer is None:
            raise GatewayInfoError(
                f"GET {route} answered 200 with a body that is not JSON: something between us and "
                f"Discord answers in its place",
                status=200,
            )
        return answer
    if status == 401:
        raise AuthenticationFailed(
            "the token was refused (HTTP 401): check DISCORD_TOKEN or token=; if it was right, it "
            "was reset, and the developer portal has a new one"
        )
    said = answer.get("message") if isinstance(answer, dict) else None
    # 403 and 429 with HTML or "error code: 1015" come from Cloudflare (its docs, "Error 1015").
    detail = "" if answer is not None else ", without JSON: a proxy or Cloudflare answered"
    if said:
        detail = f": {cut(redact_value(str(said), token))}"
    if status == 429:
        retry_after_s = _retry_after_s(answer, headers)
        raise GatewayInfoError(
            f"GET {route} is rate limited (HTTP 429) for {retry_after_s:g} s{detail}",
            status=429,
            retry_after_s=retry_after_s,
        )
    if status == 403:
        detail += "; check that this address is not banned, and ask again later by hand"
    raise GatewayInfoError(f"GET {route} answered HTTP {status}{detail}", status=status)


def _retry_after_s(answer: Any, headers: dict[str, str]) -> float:
    """Return the longer of what body and header ask for, in seconds; a minute when neither does."""
    asked = [answer.get("retry_after")] if isinstance(answer, dict) else []
    asked += [headers.get("retry-after")]
    usable = [s for s in map(_seconds, asked) if s is not None and 0 <= s < math.inf]
    return min(max(usable, default=60.0), _MAX_RETRY_AFTER_S)


def _seconds(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return None  # a header may also hold an HTTP date; Discord sends seconds
