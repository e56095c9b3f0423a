"""
What a user passes to `Gateway`, checked when it is passed.

Each function returns the value that is meant, or raises a UsageError that says what to write. What
Identify says is checked by `identity`, the backoff by `reconnect`.
"""

from __future__ import annotations

import math
import os
import re
import ssl
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, cast
from urllib.parse import urlsplit

from .connection.proxy import Proxies
from .delivery.limits import DeliveryLimits
from .errors import UsageError
from .fleet.stores.sessions import MemorySessionStore
from .protocol.timeouts import Timeouts
from .protocol.token import normalise_token
from .protocol.wire import MAX_SHARDS
from .quoting import quote, without_credentials
from .words import Intents

if TYPE_CHECKING:
    from .fleet.http.gateway_info import GatewayInfo
    from .fleet.ports import IdentifyQueue, SessionStore
    from .fleet.publishing import EventPublisher

__all__ = [
    "DRAIN_S",
    "check_api_url",
    "check_compress",
    "check_drain",
    "check_early_heartbeat",
    "check_http_headers",
    "check_identify_queue",
    "check_info",
    "check_intents",
    "check_limits",
    "check_metrics",
    "check_on_fatal",
    "check_proxy",
    "check_publish",
    "check_random",
    "check_relief",
    "check_shards",
    "check_ssl_context",
    "check_store",
    "check_timeouts",
    "check_token",
    "token_of",
    "token_of_command",
    "token_or_refusal",
]

# How long running handlers may go on after the end has begun.
DRAIN_S = 5.0
# A read buffer begins with 16 KiB, and doubles; two sizes up it is nothing to speak of.
MIN_RELIEF_BYTES = 64 * 1024
# Stands where there is no token, and is never sent: what has it does not start.
NO_TOKEN = "there-is-no-token"  # noqa: S105
_THERE_IS_NONE = "there is no token: set DISCORD_TOKEN or DISCORD_TOKEN_FILE"
# What the Decoder calls it; "auto" is decided when the number of shards is known.
_COMPRESSIONS = {
    "auto": None,
    "zstd-stream": "zstd-stream",
    "zlib-stream": "zlib-stream",
    "payload": "payload",
    "none": "none",
    None: "none",
}


# A second one of these would contradict the first, or hand out what it must not.
_OUR_HEADERS = frozenset(
    {
        "accept", "authorization", "connection", "content-length", "host", "proxy-authorization",
        "transfer-encoding", "upgrade",
    }
)  # fmt: skip


def check_token(token: str | None) -> str:
    """Return the bare token; None takes the one of the environment: see `token_of`."""
    if token is None:
        token = token_of(os.environ)
    if token is None:
        raise UsageError(f"{_THERE_IS_NONE}, or pass token=")
    return normalise_token(token)


def token_of_command() -> str:
    """Return the bare token of a command, which no argument can hold: see `token_of`."""
    token = token_of(os.environ)
    if token is None:
        raise UsageError(_THERE_IS_NONE)
    return normalise_token(token)


def token_or_refusal(token: str | None) -> tuple[str, UsageError | None]:
    """
    Return the bare token; for one that the environment should have, also why it is none.

    That is a matter of whoever starts the program, and the program is imported by others as well:
    by its tests, for one. A token that the program passes is checked at once.
    """
    try:
        return check_token(token), None
    except UsageError as error:
        if token is not None:
            raise
        return NO_TOKEN, error


def token_of(environment: Mapping[str, str]) -> str | None:
    """
    Return the token that a process was started with; None when there is none.

    In this order: DISCORD_TOKEN, the file that DISCORD_TOKEN_FILE names (Docker and Kubernetes
    mount secrets so), the credential DISCORD_TOKEN of a systemd unit (systemd.exec(5),
    LoadCredential=).

    Raises:
        UsageError: the file cannot be read.
    """
    if (token := environment.get("DISCORD_TOKEN")) is not None:
        return token
    if (path := environment.get("DISCORD_TOKEN_FILE")) is not None:
        return _read_secret(path, "DISCORD_TOKEN_FILE")
    if credentials := environment.get("CREDENTIALS_DIRECTORY"):
        path = os.path.join(credentials, "DISCORD_TOKEN")
        if os.path.exists(path):
            return _read_secret(path, "the credential DISCORD_TOKEN")
    return None


def _read_secret(path: str, what: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read().strip()
    except UnicodeDecodeError:
        raise UsageError(f"{what}: {path} is not text") from None
    except OSError as error:
        raise UsageError(f"{what}: {path} cannot be read ({error.strerror})") from error


def check_compress(compress: str | None) -> str | None:
    """Return the decoder's name of a compression; None for "auto"."""
    if not isinstance(compress, (str, type(None))) or compress not in _COMPRESSIONS:
        known = ", ".join(repr(name) for name in _COMPRESSIONS)
        raise UsageError(f"compress={compress!r} is not one of {known}")
    return _COMPRESSIONS[compress]


def check_ssl_context(context: object) -> ssl.SSLContext | None:
    """
    Return the context for TLS; None is the usual one.

    One that verifies nothing is refused: it is what a bare `ssl.SSLContext()` is, and whoever sits
    between us and Discord would be given the token.
    """
    if context is None:
        return None
    if not isinstance(context, ssl.SSLContext):
        raise UsageError(f"ssl_context is a {type(context).__name__}, not an ssl.SSLContext")
    if context.verify_mode is not ssl.CERT_REQUIRED or not context.check_hostname:
        raise UsageError(
            "this ssl_context does not verify certificates and host names, so anybody on the way "
            "could take the token: begin with ssl.create_default_context(), and let it trust a "
            "certificate of your own with load_verify_locations()"
        )
    return context


def check_proxy(proxy: object) -> Proxies:
    """Return which proxies to use; None is none."""
    if proxy is None:
        return Proxies()
    if proxy == "environment":
        return Proxies.of_environment()
    from .connection.tunnel import Proxy

    return Proxies(always=Proxy.parse(proxy))


def check_http_headers(headers: object) -> dict[str, str]:
    """Return what is sent with every HTTP request, our own headers left alone."""
    if headers is None:
        return {}
    if not isinstance(headers, Mapping):
        raise UsageError(f"http_headers is a mapping, not {type(headers).__name__}")
    checked: dict[str, str] = {}
    for name, value in headers.items():
        if not isinstance(name, str) or not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name):
            raise UsageError(f"http_headers: {quote(name)} is not the name of a header")
        known = name.lower()
        if known in _OUR_HEADERS or known.startswith("sec-websocket-"):
            raise UsageError(f"http_headers: {name} is set by fastgw itself")
        # Not quoted: it may be a secret.
        if not isinstance(value, str) or not value.isascii() or not value.isprintable():
            raise UsageError(f"http_headers: the value of {name} must be printable ASCII text")
        checked["User-Agent" if known == "user-agent" else name] = value
    return checked


def check_api_url(url: object) -> str:
    """Return the base of the API, such as https://discord.com/api/v10."""
    try:
        parts = urlsplit(url) if isinstance(url, str) else None
        is_usable = (
            parts is not None
            and parts.scheme in ("http", "https")
            and bool(parts.hostname)
            and parts.port != 0  # or ValueError
            and not (parts.query or parts.fragment)
        )
    except ValueError:
        is_usable = False
    if not isinstance(url, str) or not is_usable or any(c.isspace() or c < " " for c in url):
        shown = quote(without_credentials(url) if isinstance(url, str) else url)
        raise UsageError(
            f"api_url={shown} is not the base of an API, such as 'https://discord.com/api/v10'"
        )
    if "@" in urlsplit(url).netloc:
        raise UsageError("api_url holds a user name or password, which nobody would be told")
    return url


def check_identify_queue(queue: object) -> IdentifyQueue | None:
    """Return who gives identify turns; None is one for this process."""
    if queue is not None and (
        isinstance(queue, type) or not callable(getattr(queue, "acquire", None))
    ):
        raise UsageError(
            f"identify_queue={queue!r} is not an identify queue such as SQLiteIdentifyQueue(path)"
        )
    return cast("IdentifyQueue | None", queue)


def check_metrics(metrics: object) -> tuple[str, int] | None:
    """Return host and port to serve metrics at; a port alone means loopback. None: nowhere."""
    if metrics is None:
        return None
    text = str(metrics) if isinstance(metrics, (str, int)) and metrics is not True else ""
    host, colon, port = text.rpartition(":")
    if port.isascii() and port.isdigit() and int(port) < 1 << 16 and (host or not colon):
        return host.strip("[]") or "127.0.0.1", int(port)
    raise UsageError(f'metrics={metrics!r} is not "host:port", such as "127.0.0.1:9100", or a port')


def check_on_fatal(on_fatal: str) -> str:
    """Return what a fatal refusal of one shard means for the others."""
    if on_fatal not in ("continue", "stop"):
        raise UsageError(f'on_fatal={on_fatal!r} is neither "continue" nor "stop"')
    return on_fatal


def check_relief(relief_bytes: object) -> int | None:
    """Return above which size a read buffer is worth a RESUME; None for never."""
    if relief_bytes is None:
        return None
    if not isinstance(relief_bytes, int) or relief_bytes < MIN_RELIEF_BYTES:
        raise UsageError(
            f"relief_bytes={relief_bytes!r} is not a number of bytes, at least {MIN_RELIEF_BYTES}: "
            f"every connection needs some"
        )
    return relief_bytes


def check_drain(drain_s: object) -> float:
    """Return the seconds of grace that handlers get."""
    if type(drain_s) not in (int, float) or not 0 <= drain_s < math.inf:  # type: ignore[operator]
        raise UsageError(f"drain_s={drain_s!r} is not a number of seconds, 0 or more")
    return float(drain_s)  # type: ignore[arg-type]


def check_early_heartbeat(early_heartbeat: object) -> bool:
    """Return whether a shard beats as soon as it is up."""
    if not isinstance(early_heartbeat, bool):
        raise UsageError(f"early_heartbeat={early_heartbeat!r} is neither True nor False")
    return early_heartbeat


def check_random(random: object) -> Callable[[], float]:
    """Return the source of chance."""
    if not callable(random):
        raise UsageError(f"random={random!r} is not a function that gives floats in [0, 1)")
    return random


def check_intents(intents: object) -> Intents:
    """Return Intents, also of a plain int."""
    if not isinstance(intents, int) or isinstance(intents, bool) or intents < 0:
        raise UsageError(f"intents={intents!r} is not an Intents, such as Intents.default()")
    return Intents(intents)


def check_info(info: object) -> GatewayInfo | None:
    """Return the answer of the API; None when it is to be asked."""
    if info is None:
        return None
    from .fleet.http.gateway_info import GatewayInfo

    if not isinstance(info, GatewayInfo):
        raise UsageError("info= is not a GatewayInfo; GatewayInfo.parse() makes one of an answer")
    return info


def check_store(store: object) -> SessionStore:
    """Return where sessions are kept; None keeps them in memory."""
    if store is None:
        return MemorySessionStore()
    if isinstance(store, (str, bytes, os.PathLike)):
        raise UsageError(f"store={store!r} is a path: pass SQLiteSessionStore({store!r})")
    if (
        isinstance(store, type)
        or not callable(getattr(store, "open", None))
        or not (hasattr(store, "is_durable") and hasattr(store, "acknowledge"))
    ):
        raise UsageError(f"store={store!r} is not a store such as SQLiteSessionStore(path)")
    return cast("SessionStore", store)


def check_publish(publish: object) -> EventPublisher | None:
    """Return where events go beside the handlers; None is nowhere."""
    if publish is None:
        return None
    if isinstance(publish, type) or not callable(getattr(publish, "open", None)):
        raise UsageError(
            f"publish={publish!r:.100} is not a publisher such as fastgw.redis.Publisher(url)"
        )
    return cast("EventPublisher", publish)


def check_timeouts(timeouts: object) -> Timeouts:
    """Return the deadlines; None means the usual ones."""
    if not isinstance(timeouts, (Timeouts, type(None))):
        raise UsageError(f"timeouts={timeouts!r} is not a Timeouts, such as Timeouts(hello_s=5)")
    return timeouts or Timeouts()


def check_limits(limits: object) -> DeliveryLimits:
    """Return limits of deliveries, or raise UsageError; None means the usual ones."""
    if limits is None:
        return DeliveryLimits()
    if not isinstance(limits, DeliveryLimits):
        raise UsageError(f"limits must be a DeliveryLimits, not {type(limits).__name__}")
    return limits


_NOT_SHARDS = 'shards={!r} is not "auto", a number of shards, or ids such as [0] or range(4)'


def check_shards(shards: object, shard_count: int | None) -> tuple[int, ...] | None:
    """Return the ids to run, None for what is recommended."""
    if isinstance(shards, str):
        if shards != "auto":
            raise UsageError(_NOT_SHARDS.format(shards))
        if shard_count is not None:
            raise UsageError(
                f"shard_count={shard_count} says nothing without ids: pass shards=[0] as well"
            )
        return None
    if isinstance(shards, int) and not isinstance(shards, bool):
        return _all_shards(shards, shard_count)
    if not isinstance(shards, Iterable) or isinstance(shards, (bytes, Mapping)):
        raise UsageError(_NOT_SHARDS.format(shards))
    if isinstance(shards, range) and len(shards) > MAX_SHARDS:
        raise UsageError(f"shards={shards!r} are more than the {MAX_SHARDS} that a bot may have")
    ids = tuple(dict.fromkeys(shards))
    if shard_count is None:
        raise UsageError(
            f"shards={_shown(ids)} says nothing without shard_count=, the number of all shards"
        )
    _check_count("shard_count", shard_count)
    strange = [i for i in ids if not isinstance(i, int) or isinstance(i, bool)]
    if not ids or strange or not (min(ids) >= 0 and max(ids) < shard_count):
        raise UsageError(f"shards={_shown(ids)} must be ids from 0 to {shard_count - 1}")
    return tuple(sorted(ids))


def _all_shards(shards: int, shard_count: int | None) -> tuple[int, ...]:
    """Return the ids of a bot all of whose shards run here."""
    _check_count("shards", shards)
    if shard_count not in (None, shards):
        raise UsageError(
            f"shards={shards} means all {shards} shards of the bot, and shard_count={shard_count} "
            f"says otherwise; to run some of them here pass their ids, such as range({shards})"
        )
    return tuple(range(shards))


def _check_count(name: str, count: object) -> None:
    if not isinstance(count, int) or isinstance(count, bool) or not 1 <= count <= MAX_SHARDS:
        raise UsageError(f"{name}={count!r} is not a number of shards from 1 to {MAX_SHARDS}")


def _shown(ids: tuple[object, ...]) -> str:
    """Return ids for a message, the first of them when they are many."""
    few = ", ".join(map(repr, ids[:8]))
    return f"[{few}, ... {len(ids)} in all]" if len(ids) > 8 else f"[{few}]"
