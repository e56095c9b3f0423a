"""
What a URL says of a server, and the one place that makes clients: for threads and for loops.

A server that Sentinel looks after has the URL of its sentinels:
`redis+sentinel://user:password@host:26379,host2:26379/mymaster/0`, `rediss+sentinel://` for TLS to
both. User, password and database are the server's; `?sentinel_username=` and `sentinel_password=`
are the sentinels'. Prefect and Redis-Sentinel-Url read it in the same way. Each connection asks
them anew for the master; one that became a replica counts as lost.

Commands are never repeated by redis-py: whoever sent one knows whether it may be said twice.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from ..quoting import without_credentials

__all__ = [
    "Redis",
    "clients_of",
    "is_url",
    "make_client",
    "make_loop_client",
    "refused_option",
    "shown_url",
]

Redis = Any  # redis.Redis; its stubs say Awaitable | Any of everything

SENTINEL_PORT = 26379
SENTINEL_S = 1.0  # to reach a sentinel, and to hear from it: there are others
_SCHEMES = ("redis", "rediss", "unix")
_BY_SENTINEL = ("redis+sentinel", "rediss+sentinel")
# What redis-py takes as objects of a program, and from a URL as a text that fails where it is used.
_NO_TEXT = frozenset({
    "cache_factory", "command_packer", "credential_provider", "event_dispatcher",
    "himport_registry", "maint_notifications_pool_handler", "redis_connect_func", "retry",
    "retry_on_error", "socket_keepalive_options", "socket_type",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Watched:
    """
    A server that Sentinel looks after.

    Attributes:
        url: of a server, with everything but the right host.
        sentinels: where they are.
        login: at the sentinels.
    """

    url: str
    master: str
    sentinels: list[tuple[str, int]]
    login: dict[str, str]


def is_url(url: str) -> bool:
    """Tell whether this can be the URL of a server."""
    try:
        parts = urlsplit(_watched(url).url if _is_watched(url) else url)
        database = parts.path.strip("/") if parts.scheme != "unix" else ""
        # redis-py takes database 0 where the path is no number, and who meant a name never knows.
        is_database = not database or database.isdecimal()
        return parts.scheme in _SCHEMES and is_database and (parts.port, True)[1]
    except ValueError:
        return False


def shown_url(url: str) -> str:
    """Return a URL as it may be shown: redis-py takes a password in its query as well."""
    return without_credentials(url).partition("?")[0].partition("#")[0]


def refused_option(url: str) -> str | None:
    """
    Return what redis-py has against the options of a URL, without its password; None for nothing.

    Nothing is connected: a client takes them when it is made, and some of them only when it makes
    its first connection.
    """
    from redis import RedisError

    for name, _ in parse_qsl(url.partition("?")[2].partition("#")[0], keep_blank_values=True):
        if name in _NO_TEXT:
            return f"{name!r} takes no text"
    try:
        make_client(url).connection_pool.make_connection()
    except TypeError as error:
        unknown = re.search(r"unexpected keyword argument '(\w+)'", str(error))
        return f"there is no option {unknown[1]!r}" if unknown else str(error)
    except (ValueError, RedisError) as error:
        return str(error).rstrip(".")
    except AttributeError:  # some are objects of a program, and only these are looked at
        return "one of them takes no text"
    return None


def make_client(url: str, **options: Any) -> Redis:
    """Make a client of redis-py, for a thread; it connects when it is first used."""
    from redis.backoff import NoBackoff
    from redis.retry import Retry
    from redis.sentinel import MasterNotFoundError, Sentinel

    import redis

    options["retry"] = Retry(NoBackoff(), 0)
    if not _is_watched(url):
        return redis.Redis.from_url(url, **options)

    class Sentinels(Sentinel):
        def discover_master(self, service_name: str) -> Any:
            try:
                return super().discover_master(service_name)  # type: ignore[no-untyped-call]
            except MasterNotFoundError as error:
                raise MasterNotFoundError(_no_master(error, service_name)) from None

    return _by_sentinel(_watched(url), redis.Redis, Sentinels, options)


def make_loop_client(url: str, **options: Any) -> Redis:
    """Make a client of redis.asyncio, for a loop; it connects when it is first used."""
    import redis.asyncio
    from redis.asyncio.retry import Retry
    from redis.asyncio.sentinel import MasterNotFoundError, Sentinel
    from redis.backoff import NoBackoff

    options["retry"] = Retry(NoBackoff(), 0)
    if not _is_watched(url):
        return redis.asyncio.Redis.from_url(url, **options)

    class Sentinels(Sentinel):
        async def discover_master(self, service_name: str) -> Any:
            try:
                return await super().discover_master(service_name)
            except MasterNotFoundError as error:
                raise MasterNotFoundError(_no_master(error, service_name)) from None

    return _by_sentinel(_watched(url), redis.asyncio.Redis, Sentinels, options)


def clients_of(client: Redis) -> list[Redis]:
    """Return a client and those of the sentinels that it asks: who closes it closes all."""
    manager = getattr(client.connection_pool, "sentinel_manager", None)
    return [client, *(() if manager is None else manager.sentinels)]


def _is_watched(url: str) -> bool:
    return url.partition("://")[0] in _BY_SENTINEL


def _watched(url: str) -> _Watched:
    """Take a URL of sentinels apart; raise ValueError for what is none."""
    scheme, _, rest = url.partition("://")
    rest, _, query = rest.partition("?")
    where, _, path = rest.partition("/")
    login, at, hosts = where.rpartition("@")
    master, _, database = path.rstrip("/").partition("/")
    # A slash that stands as it is in a password would make the rest of it a name, to be shown.
    if not master or "@" in path or "#" in url or (database and not database.isdecimal()):
        raise ValueError("behind the sentinels stand the name of a master, and the database")
    asked = parse_qsl(query, keep_blank_values=True)
    ours = {key[len("sentinel_") :]: value for key, value in asked if key.startswith("sentinel_")}
    if not ours.keys() <= {"username", "password"}:
        raise ValueError("sentinels have sentinel_username and sentinel_password")
    others = urlencode([pair for pair in asked if not pair[0].startswith("sentinel_")])
    return _Watched(
        f"{scheme.partition('+')[0]}://{login}{at}master/{database}" + (others and f"?{others}"),
        master,
        [_host(host) for host in hosts.split(",")],
        ours,
    )


def _host(text: str) -> tuple[str, int]:
    parts = urlsplit(f"//{text}")
    if not parts.hostname or parts.path:
        raise ValueError("a sentinel has no host")
    return parts.hostname, parts.port or SENTINEL_PORT


def _by_sentinel(watched: _Watched, client_class: Any, sentinels: Any, options: Any) -> Redis:
    # redis-py reads what belongs to the server out of a URL, certificates as well.
    settings = client_class.from_url(watched.url, **options).connection_pool.connection_kwargs
    settings = {key: value for key, value in settings.items() if key not in ("host", "port")}
    tls = {key: value for key, value in settings.items() if key.startswith("ssl_")}
    if watched.url.startswith("rediss:"):
        tls["ssl"] = True
    asking = {
        "retry": options["retry"], "socket_timeout": SENTINEL_S,
        "socket_connect_timeout": SENTINEL_S, **tls, **watched.login,
    }  # fmt: skip
    manager = sentinels(watched.sentinels, sentinel_kwargs=asking)
    return manager.master_for(watched.master, redis_class=client_class, **{**settings, **tls})


def _no_master(error: Exception, master: str) -> str:
    """Return what redis-py found, without what its clients say of themselves."""
    found = str(error)
    if "NOAUTH" in found or "WRONGPASS" in found or "uthentication" in found:
        return (
            "a sentinel refuses the user or the password: they are sentinel_username= and "
            "sentinel_password= in the query of the URL"
        )
    if " : " in found:
        return f"no sentinel that can be reached knows a master {master!r} that is up"
    return f"its sentinels know no master {master!r} that is up"
