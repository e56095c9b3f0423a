"""
One Redis as one thread talks to it, and what its errors mean.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import UsageError
from .address import Redis, clients_of, is_url, make_client, refused_option, shown_url

__all__ = [
    "Server",
    "check_lease",
    "check_prefix",
    "check_url",
    "check_version",
    "explained",
    "is_for_good",
    "reaching",
    "with_advice",
]

LEAST_VERSION = (7, 0)
CONNECT_S = 2.0  # of TCP: a packet that is lost is sent again after one second
TIMEOUT_S = 5.0  # of an answer
_SCRIPTS = Path(__file__).parent / "scripts"


def check_url(url: object, name: str) -> str:
    """
    Return a URL that can be one of a Redis.

    Raises:
        UsageError: it cannot, or redis-py is not installed; no password is in the text.
    """
    if not isinstance(url, str) or not is_url(url):
        shown = shown_url(url) if isinstance(url, str) else repr(url)
        raise UsageError(
            f"{name}: {shown!r} is no URL such as redis://host:6379/0, rediss://host, "
            "unix:///run/redis.sock or redis+sentinel://host:26379,host2:26379/mymaster/0; in a "
            "password write / as %2F, # as %23, ? as %3F, [ as %5B"
        )
    try:
        import redis  # noqa: F401
    except ImportError as error:
        raise UsageError(f"{name} needs redis-py: pip install 'fastgw[redis]'") from error
    if (refused := refused_option(url)) is not None:
        raise UsageError(
            f"{name}: the options behind the ? of {shown_url(url)} cannot be: {refused}; they are "
            "those of redis-py, such as ?socket_timeout=5"
        )
    return url


def check_prefix(prefix: object) -> str:
    """Return what the keys of one bot begin with; raise UsageError for what cannot be it."""
    if not isinstance(prefix, str) or not prefix or set(prefix) & set("{}* \n"):
        raise UsageError(f"prefix={prefix!r} is no name for the keys of one bot, such as 'fgw'")
    return prefix


def check_lease(lease_s: object) -> float:
    """Return how long a lease is; raise UsageError for what none can be."""
    if not isinstance(lease_s, (int, float)) or not 0.1 <= lease_s <= 300.0:
        raise UsageError(f"lease_s={lease_s!r} is not a number of seconds from 0.1 to 300")
    return lease_s


@contextlib.contextmanager
def reaching(what: str) -> Iterator[None]:
    """Let what a server that is away raises be a UsageError that names what is there."""
    try:
        yield
    except UsageError:
        raise
    except Exception as error:
        raise UsageError(f"{what} cannot be reached: {with_advice(error)}") from error


def with_advice(error: Exception) -> str:
    """Return what an error says, and what to do where the server is away at the start."""
    from redis import exceptions

    said = str(error).rstrip(".")
    if isinstance(error, (exceptions.ConnectionError, exceptions.TimeoutError, OSError)):
        return f"{said}; check that a Redis runs there, and the host, port and TLS of its URL"
    return said


def is_for_good(error: Exception) -> bool:
    """Tell whether asking the server again cannot help."""
    from redis import exceptions

    if isinstance(error, (UsageError, exceptions.AuthenticationError, exceptions.MovedError)):
        return True
    refused = ("WRONGTYPE", "WRONGPASS", "NOAUTH", "NOPERM", "unknown command")
    return isinstance(error, exceptions.ResponseError) and any(r in str(error) for r in refused)


def check_version(info: dict[str, Any], shown: str) -> None:
    """Raise UsageError for a server that says in INFO that it is too old."""
    version = str(info.get("redis_version", "0"))
    if tuple(int(part) for part in version.split(".")[:2]) < LEAST_VERSION:
        raise UsageError(f"{shown} is Redis {version}; fastgw needs 7.0 or newer (or Valkey)")


def explained(error: Exception, url: str, tag: str) -> Exception:
    """Return what a user should read of an error: the server's name, never its password."""
    from redis import exceptions

    shown = shown_url(url)
    if not isinstance(error, (exceptions.RedisError, ValueError, OSError)):
        return error
    # What HELLO is told comes without the NOAUTH or WRONGPASS in front of it.
    wants = ("NOAUTH", "HELLO must be called with the client already", "username-password pair")
    if isinstance(error, exceptions.AuthenticationError) or any(w in str(error) for w in wants):
        return UsageError(f"{shown} refuses the user or the password of its URL")
    if "WRONGTYPE" in str(error):
        return UsageError(
            f"{shown} has something else under the keys {tag}:*: choose another prefix="
        )
    if isinstance(error, exceptions.MovedError):
        return UsageError(
            f"{shown} is a node of a cluster that has not the keys {tag}:*: name "
            "the node that has them"
        )
    if isinstance(error, exceptions.AskError):  # its keys are on their way there
        return exceptions.ResponseError(f"{shown}: its keys are moved to another node ({error})")
    if is_for_good(error) or isinstance(error, ValueError):
        return UsageError(f"{shown} cannot be used: {error}")
    said = str(error).replace(url, shown)
    return type(error)(f"{shown}: {said}")


class Server:
    """
    The server as one thread uses it; the connection is opened when it is first needed, and again
    when it was lost.

    Args:
        url: of the server.
        prefix: of the keys of one bot; it is their hash tag.
    Attributes:
        shown: the URL without its password.
    """

    def __init__(self, url: str, prefix: str) -> None:
        self.shown = shown_url(url)
        self._url = url
        self._tag = f"{{{prefix}}}"
        self._client: Redis = None
        self._is_checked = False  # it answered, and is one that can be used
        self._is_abandoned = False
        self._scripts: dict[str, Any] = {}

    def key(self, name: str) -> str:
        """Return the key of something: all of a bot's are in one slot of a cluster."""
        return f"{self._tag}:{name}"

    def script(self, name: str, keys: list[str], arguments: list[object]) -> Any:
        """
        Run `NAME.lua`; it is sent whole when the server does not know it.

        Raises:
            UsageError: the server cannot be used, and that will not change by itself.
            redis.RedisError: it is away, or refuses for now.
        """
        try:
            client = self._usable()
            if name not in self._scripts:
                text = (_SCRIPTS / f"{name}.lua").read_text(encoding="utf-8")
                self._scripts[name] = client.register_script(text)
            return self._scripts[name](keys=[self.key(key) for key in keys], args=arguments)
        except UsageError:
            raise
        except Exception as error:
            raise self._explained(error) from error

    def abandon(self) -> None:
        """
        Wait for no answer: what is asked now, and what is asked later, fails; from any thread.

        A connection that TCP just makes is waited for all the same, for CONNECT_S at most.
        """
        self._is_abandoned = True  # first: `_usable` looks at it last
        for client in () if self._client is None else clients_of(self._client):
            with contextlib.suppress(Exception):  # it is gone in any case
                client.connection_pool.disconnect()

    def _usable(self) -> Redis:
        """Return the client of a server that is known to be one that can be used."""
        if self._client is None:
            self._client = make_client(
                self._url,
                decode_responses=True,
                socket_timeout=TIMEOUT_S,
                socket_connect_timeout=CONNECT_S,
            )
        if self._is_abandoned:
            raise ConnectionError  # `_explained` says it
        if not self._is_checked:
            info = self._client.info("server")
            try:
                check_version(info, self.shown)
            except UsageError:
                self._client.close()
                raise
            self._is_checked = True
        return self._client

    def _explained(self, error: Exception) -> Exception:
        if self._is_abandoned:
            return ConnectionError(f"{self.shown} does not answer, and is not waited for")
        return explained(error, self._url, self._tag)

    def close(self) -> None:
        """Close the connection."""
        for client in () if self._client is None else clients_of(self._client):
            with contextlib.suppress(Exception):  # it is gone in any case
                client.close()
