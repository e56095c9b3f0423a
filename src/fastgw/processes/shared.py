"""What `--redis` says: the server that all processes of a bot share, on any number of machines."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import UsageError

if TYPE_CHECKING:
    from ..fleet.ports import Acknowledge, IdentifyQueue, SessionStore
    from ..gateway import Gateway
    from ..redis.sharing import Sharing

__all__ = ["LEASE_S", "PREFIX", "SharedRedis", "read_url"]

# As `RedisSessionStore` has them, which needs redis-py.
PREFIX = "fgw"
LEASE_S = 10.0


@dataclass(frozen=True, slots=True)
class SharedRedis:
    """
    A server, and what one bot has in it.

    Args:
        url, prefix, lease_s: see `RedisSessionStore`.
    Raises:
        UsageError: what cannot be one, without its password; or redis-py is not installed.
    """

    url: str = field(repr=False)  # it has a password
    prefix: str = PREFIX
    lease_s: float = LEASE_S

    def __post_init__(self) -> None:
        from ..redis.server import check_url

        check_url(self.url, "--redis")  # in the words of the command line; the store has its own
        self.store()

    def store(
        self, owner: str | None = None, acknowledge: Acknowledge = "received"
    ) -> SessionStore:
        """Return the store of one process; `owner` has its leases."""
        from ..redis import RedisSessionStore

        return RedisSessionStore(
            self.url, prefix=self.prefix, lease_s=self.lease_s, owner=owner, acknowledge=acknowledge
        )

    def identify_queue(self) -> IdentifyQueue:
        """Return the identify queue of one process."""
        from ..redis import RedisIdentifyQueue

        return RedisIdentifyQueue(self.url, prefix=self.prefix)

    def sharing(self, gateway: Gateway, owner: str, shard_count: int) -> Sharing:
        """Return the member that takes this process's share of the shards."""
        from ..redis.sharing import Sharing

        return Sharing(
            gateway, self.url, prefix=self.prefix, lease_s=self.lease_s, me=owner,
            shard_count=shard_count,
        )  # fmt: skip

    def as_json(self) -> dict[str, Any]:
        """Return it as a worker is told, over a socket that nobody else reads."""
        return {"url": self.url, "prefix": self.prefix, "lease_s": self.lease_s}


def read_url(text: str) -> str:
    """
    Return the URL that an option says: itself, or the first line of a file behind an @.

    A command line can be read by every user of a machine; a file need not be.

    Raises:
        UsageError: the file cannot be read, or is empty.
    """
    if not text.startswith("@"):
        return text
    path = Path(text[1:])
    try:
        url = path.read_text(encoding="utf-8").partition("\n")[0].strip()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is no text"
        raise UsageError(f"the Redis URL cannot be read from {path}: {why}") from None
    if not url:
        raise UsageError(f"the Redis URL cannot be read from {path}: its first line is empty")
    return url
