"""
What `fastgw doctor` looks at: this installation, this machine, the way to Discord, the bot.

Each check is one question with a verdict and, unless all is well, what to do. None of them opens a
websocket or spends an identify; the API is asked twice, for `/gateway/bot` and `/applications/@me`.
"""

from __future__ import annotations

import asyncio
import ipaddress
import platform
import socket
import ssl
import sys
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from enum import Enum
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ..build import build_info
from ..connection.lookup import resolve
from ..connection.proxy import Proxies, reach_through
from ..connection.tls import default_context
from ..errors import AuthenticationFailed, ConnectFailed, FastgwError, UsageError
from ..fleet.http.gateway_info import GatewayInfo, SessionStartLimit, ask_api
from ..fleet.turns.budget import default_reserve
from ..gateway import API_URL
from ..options import token_of_command
from ..protocol.token import bot_id_of, redact
from ..protocol.wire import IDENTIFY_INTERVAL_S

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..connection.tunnel import Proxy

__all__ = ["Check", "Verdict", "check_all"]

TIMEOUT_S = 10.0
# Beside the connections, of which each may be open twice while it is replaced: files, database,
# HTTP clients of the bot.
OTHER_DESCRIPTORS = 128
# Of the supervisor, for each worker and its successor: the line to it, and what tells of its end.
OF_A_WORKER = 4
# A certificate that ends sooner is not Discord's, whose are renewed a month before.
CERTIFICATE_DAYS = 7
# The clock matters for what is computed from ids and timestamps.
CLOCK_S = 5.0
# Nothing of the network is in between, and no proxy.
_NOBODY_HERE = (
    "nothing listens there, on this machine: start it (fastgw fake says where it listens), or "
    "correct --api-url"
)
# Discord docs, "Application flags": the intent, its bit, and that of bots in few guilds.
PRIVILEGED_FLAGS = {
    "GUILD_PRESENCES": 1 << 12 | 1 << 13,
    "GUILD_MEMBERS": 1 << 14 | 1 << 15,
    "MESSAGE_CONTENT": 1 << 18 | 1 << 19,
}


class Verdict(str, Enum):
    """How a check ended."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"
    SKIP = "skip"


@dataclass(frozen=True, slots=True)
class Check:
    """
    One question and its answer.

    Attributes:
        name: what was looked at.
        verdict: how it is.
        found: what was found.
        advice: what to do; empty when there is nothing.
    """

    name: str
    verdict: Verdict
    found: str
    advice: str = ""


async def check_all(
    api_url: str, *, proxies: Proxies | None = None, processes: int = 1
) -> AsyncIterator[Check]:
    """
    Look at everything, one after another; each check comes as soon as it is answered.

    Args:
        api_url: base of the API, with its version.
        proxies: which proxy leads where; None connects directly.
        processes: how many share the shards.
    Raises:
        UsageError: api_url is no URL.
    """
    for check in _installation():
        yield check
    token = ""
    try:
        token = token_of_command()
    except UsageError as error:
        yield Check("token", Verdict.FAIL, str(error), "set DISCORD_TOKEN, as the bot has it")
    proxies = proxies or Proxies()
    async for check in _network("API", api_url, proxies):
        yield check
    info = None
    if token:
        async for found in _api(api_url, token, proxies):
            if isinstance(found, GatewayInfo):
                info = found
            else:
                yield found
    else:
        for name in ("clock", "identifies", "shards", "privileged intents"):
            yield Check(name, Verdict.SKIP, "the API says it only to a bot")
    if info is not None:
        async for check in _network("gateway", info.url, proxies):
            yield check
    yield _descriptors(1 if info is None else info.shards, processes)


# --- this installation -----------------------------------------------------------------------


def _installation() -> Iterator[Check]:
    build = build_info()
    python = f"{platform.python_implementation()} {platform.python_version()} on {sys.platform}"
    yield Check("Python", Verdict.OK, python)
    if build.simd == "none":
        yield Check(
            "fastgw", Verdict.WARN, f"{build.fastgw}, scans without SIMD",
            "install a wheel, or build on a compiler that knows SSE2 or NEON",
        )  # fmt: skip
    else:
        yield Check("fastgw", Verdict.OK, f"{build.fastgw}, scans with {build.simd}")
    # Had its layout been another, the import of fastgw would have ended before this line.
    yield Check("picows", Verdict.OK, f"{build.picows}, with the layout fastgw was built for")
    yield Check("orjson", Verdict.OK, version("orjson"))
    if build.zstd == "package":
        yield Check(
            "zstd", Verdict.WARN, f"{build.zstd_version}, through its Python package",
            "install a wheel, or build with libzstd's headers (FASTGW_ZSTD=shared): a sixth less "
            "CPU per event",
        )  # fmt: skip
    else:
        yield Check("zstd", Verdict.OK, f"{build.zstd_version}, {build.zstd} in the core")
    yield Check("zlib", Verdict.OK, build.zlib)
    yield _event_loop()


def _event_loop() -> Check:
    try:
        return Check("event loop", Verdict.OK, f"uvloop {version('uvloop')}")
    except PackageNotFoundError:
        pass
    if sys.platform == "win32":
        return Check("event loop", Verdict.OK, "asyncio; uvloop does not exist for Windows")
    return Check(
        "event loop", Verdict.WARN, "asyncio; uvloop is not installed",
        'pip install "fastgw[uvloop]": sockets cost less',
    )  # fmt: skip


def _descriptors(shards: int, processes: int = 1) -> Check:
    """Check the limit, which is each process's own, for the one that needs most."""
    try:
        import resource
    except ImportError:
        return Check("file descriptors", Verdict.SKIP, "this system has no such limit")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    processes = min(processes, shards)
    own = -(-shards // processes)
    needed = 2 * own + OTHER_DESCRIPTORS
    who = f"{own} shards in one process need"
    if processes > 1:
        in_one = f"one of {processes} processes with {own} shards"
        if (supervisors := OF_A_WORKER * processes + OTHER_DESCRIPTORS) > needed:
            needed, in_one = supervisors, f"the supervisor of {processes} processes"
        who = f"{in_one} needs"
    if soft == resource.RLIM_INFINITY or soft >= needed:
        allowed = "no limit" if soft == resource.RLIM_INFINITY else f"{soft} allowed"
        each = f" for {in_one}" if processes > 1 else ""
        return Check("file descriptors", Verdict.OK, f"{allowed}, {needed} are enough{each}")
    raised = "" if hard == resource.RLIM_INFINITY or hard >= needed else " (as root: it is capped)"
    return Check(
        "file descriptors", Verdict.FAIL, f"{soft} allowed, and {who} {needed}",
        f"ulimit -n {needed}{raised}, or LimitNOFILE={needed} in the unit",
    )  # fmt: skip


# --- the way there ---------------------------------------------------------------------------


async def _network(what: str, url: str, proxies: Proxies) -> AsyncIterator[Check]:
    """Check the name of a URL's host, or of the proxy that leads there, and its certificate."""
    try:
        parts = urlsplit(url)
        is_secure = parts.scheme in ("https", "wss")
        host, port = parts.hostname, parts.port or (443 if is_secure else 80)
    except ValueError:
        host = None
    if not host:
        raise UsageError(f"{what} URL {url!r} names no host")
    proxy = proxies.proxy_for(host, port, is_secure=is_secure)
    name, by = (host, "") if proxy is None else (proxy.host, f"; the proxy resolves {host}")
    began = time.monotonic()
    try:
        addresses = await asyncio.wait_for(
            resolve(name, port if proxy is None else proxy.port), TIMEOUT_S
        )
    except (OSError, asyncio.TimeoutError) as error:
        yield Check(
            f"{what}: DNS", Verdict.FAIL, f"{name} cannot be resolved ({_said(error)})",
            "check network and DNS of this machine; in a container, its resolv.conf",
        )  # fmt: skip
        yield Check(f"{what}: TLS", Verdict.SKIP, "there is no address to connect to")
        return
    took_ms = (time.monotonic() - began) * 1e3
    count = f"{len(addresses)} address{'es' * (len(addresses) != 1)}"
    yield Check(f"{what}: DNS", Verdict.OK, f"{name}: {count} in {took_ms:.0f} ms{by}")
    if not is_secure:
        yield Check(f"{what}: TLS", Verdict.SKIP, f"{parts.scheme}:// has none")
        return
    yield await _tls(what, host, port, proxy)


async def _tls(what: str, host: str, port: int, proxy: Proxy | None) -> Check:
    name = f"{what}: TLS"
    began = time.monotonic()

    async def begin(sock: socket.socket, _share_s: float) -> asyncio.StreamWriter:
        try:
            _, writer = await asyncio.open_connection(
                sock=sock, ssl=default_context(), server_hostname=host
            )
        except BaseException:
            sock.close()
            raise
        return writer

    try:
        writer = await reach_through(proxy, host, port, TIMEOUT_S, begin)
    except ConnectFailed as error:
        return Check(
            name, Verdict.FAIL, str(error),
            "check the proxy: its address, name and password, and whether it lets through",
        )  # fmt: skip
    except ssl.SSLCertVerificationError as error:
        return Check(
            name, Verdict.FAIL, f"the certificate of {host} is refused ({error.verify_message})",
            "look for a proxy that opens TLS, a missing CA bundle (ca-certificates), a wrong clock",
        )  # fmt: skip
    except (OSError, asyncio.TimeoutError) as error:
        return Check(
            name, Verdict.FAIL, f"no connection to {host}:{port} ({_said(error)})",
            _NOBODY_HERE if _is_here(host) else
            "check firewall and network; bots behind a proxy set proxy=, and --proxy here",
        )  # fmt: skip
    took_ms = (time.monotonic() - began) * 1e3
    by = "" if proxy is None else " by the proxy"
    tls: ssl.SSLObject = writer.get_extra_info("ssl_object")
    spoken, certificate = tls.version(), tls.getpeercert() or {}
    writer.close()
    left = ssl.cert_time_to_seconds(str(certificate["notAfter"])) - time.time()
    found = (
        f"{spoken} with {host}{by} in {took_ms:.0f} ms, certificate good for {left / 86_400:.0f} d"
    )
    if left < CERTIFICATE_DAYS * 86_400:
        return Check(name, Verdict.WARN, found, "is this Discord, or a proxy in between?")
    return Check(name, Verdict.OK, found)


def _is_here(host: str) -> bool:
    """Tell whether a host is this machine, where no network is in between."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _said(error: BaseException) -> str:
    if isinstance(error, (TimeoutError, asyncio.TimeoutError)):
        return f"no answer within {TIMEOUT_S:g} s"
    return str(getattr(error, "strerror", None) or error)


# --- the bot ---------------------------------------------------------------------------------


async def _api(api_url: str, token: str, proxies: Proxies) -> AsyncIterator[Check | GatewayInfo]:
    """Ask the API; what it says of the gateway comes between the checks."""
    try:
        data, headers = await ask_api(
            api_url, token, "/gateway/bot", timeout_s=TIMEOUT_S, proxies=proxies
        )
        info = GatewayInfo.parse(data)
    except FastgwError as error:
        is_token = isinstance(error, AuthenticationFailed)
        yield Check(
            "token" if is_token else "API", Verdict.FAIL, redact(str(error), token),
            "take the token from the developer portal: Bot, Reset Token" if is_token else
            _advice_on(api_url, error),
        )  # fmt: skip
        for name in ("clock", "identifies", "shards", "privileged intents"):
            yield Check(name, Verdict.SKIP, "the API did not say")
        return
    bot_id = bot_id_of(token)
    # Not by the gateway: who asks that spends an identify.
    whose = "" if bot_id is None else f", of bot {bot_id}"
    yield Check("token", Verdict.OK, f"accepted by the API{whose}")
    yield _clock(headers)
    yield _identifies(info.session_start_limit, info.shards)
    yield _shards(info)
    yield await _intents(api_url, token, proxies)
    yield info


def _advice_on(api_url: str, error: FastgwError) -> str:
    """Return what to do about an API that did not answer, or not as it must."""
    host = urlsplit(api_url).hostname or ""
    if host == urlsplit(API_URL).hostname:
        return "see what it says; https://discordstatus.com tells whether Discord is down"
    if _is_here(host) and isinstance(error, ConnectFailed):
        return _NOBODY_HERE
    return "see what it says; --api-url is not Discord's"


def _clock(headers: Mapping[str, str]) -> Check:
    try:
        theirs = parsedate_to_datetime(headers["date"]).timestamp()
    except (KeyError, ValueError, TypeError):
        return Check("clock", Verdict.SKIP, "the API did not say what time it is")
    off_s = time.time() - theirs  # whole seconds there, and the way back
    if abs(off_s) <= CLOCK_S:
        return Check("clock", Verdict.OK, f"right within {CLOCK_S:g} s of the API's")
    return Check(
        "clock", Verdict.WARN, f"{abs(off_s):,.0f} s {'ahead of' if off_s > 0 else 'behind'} "
        "the API's",
        "let NTP set it (timedatectl set-ntp true): ages of ids and certificates depend on it",
    )  # fmt: skip


def _identifies(limit: SessionStartLimit | None, shards: int) -> Check:
    if limit is None:
        return Check("identifies", Verdict.SKIP, "the API did not say how many are left")
    reserve = default_reserve(limit.total)
    hours = limit.reset_after_s / 3600
    found = f"{limit.remaining} of {limit.total} left, all again in {hours:.1f} h"
    if limit.remaining <= reserve:
        return Check(
            "identifies", Verdict.FAIL, f"{found}; fastgw keeps {reserve} in reserve",
            "wait, and find what identifies again and again: one more spent token is reset",
        )  # fmt: skip
    if limit.remaining - reserve < shards:
        return Check(
            "identifies", Verdict.WARN, f"{found}: too few for a cold start of {shards} shards",
            "keep sessions (fastgw run, or store=SQLiteSessionStore): they are resumed for free",
        )  # fmt: skip
    return Check("identifies", Verdict.OK, found)


def _shards(info: GatewayInfo) -> Check:
    limit = info.session_start_limit
    at_once = 1 if limit is None else limit.max_concurrency
    takes_s = (info.shards - 1) // at_once * IDENTIFY_INTERVAL_S
    return Check(
        "shards", Verdict.OK, f"{info.shards} recommended, {at_once} identify at once: "
        f"a cold start takes {takes_s:.0f} s",
    )  # fmt: skip


async def _intents(api_url: str, token: str, proxies: Proxies) -> Check:
    name = "privileged intents"
    try:
        data, _ = await ask_api(
            api_url, token, "/applications/@me", timeout_s=TIMEOUT_S, proxies=proxies
        )
        flags: Any = data["flags"]
        allowed = {name: bool(flags & bits) for name, bits in PRIVILEGED_FLAGS.items()}
    except FastgwError as error:
        return Check(name, Verdict.WARN, redact(str(error), token), "ask again later")
    except (KeyError, TypeError):
        return Check(name, Verdict.SKIP, "the API did not say which are enabled")
    enabled = ", ".join(name for name, on in allowed.items() if on) or "none"
    if all(allowed.values()):
        return Check(name, Verdict.OK, f"all enabled: {enabled}")
    refused = ", ".join(name for name, on in allowed.items() if not on)
    return Check(
        name, Verdict.OK, f"enabled: {enabled}",
        f"a bot that asks for {refused} is closed with 4014; the developer portal enables them: "
        "Bot, Privileged Gateway Intents",
    )  # fmt: skip
