"""
The way to the streams: keys, scripts, and a connection of the program's own loop.

A repeat of redis-py's own, of which nobody knows, could come after a failover and hide that
appended events were lost: there are none.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import UsageError
from ..log import careful_logger
from .address import Redis, clients_of, make_loop_client, shown_url
from .outage import SharedOutage, outage
from .server import check_prefix, check_version, explained, with_advice

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["EventStreams", "entries_of"]

log = careful_logger("fastgw.streams")

TIMEOUT_S = 5.0  # of a connection, and of an answer
ENTRY_BYTES = 48  # of an entry beside name and data; append.lua reckons with the same
# Of commands of consumers, and their answers.
ANSWERS_KEPT = 10_000  # for one consumer
ANSWER_KEPT_MS = 60_000
MEMBER_WINDOW = 4  # chunks on their way, each of up to some hundred kilobytes
_SCRIPTS = Path(__file__).parent / "scripts"


class EventStreams:
    """
    The keys of one bot's streams, and what runs its scripts.

    Args:
        url: of the server.
        prefix: of all keys; it is their hash tag.
        meanwhile: what happens while the server is away; see `outage`.
        again: what happens from then on.
    Attributes:
        outage: hears of each loop that uses the server whether it answers.
        prefix, shown: as they were given, the URL without its password.
        client: redis-py's, after `open`.
    """

    def __init__(
        self,
        url: str,
        prefix: str,
        *,
        meanwhile: str = "what uses it waits",
        again: str = "it is used",
    ) -> None:
        self.shown = shown_url(url)
        self.outage = SharedOutage(
            outage(
                log,
                self.shown,
                what="the Redis of event streams cannot be used",
                meanwhile=meanwhile,
                again=again,
                read=lambda error: explained(error, self._url, self._tag),
            )
        )
        self.client: Redis = None
        self._url = url
        self.prefix = check_prefix(prefix)
        self._tag = f"{{{prefix}}}"
        self._scripts: dict[str, str] = {}  # by name, its SHA1

    def key(self, *parts: object) -> str:
        """Return the key of something: all of a bot's are in one slot of a cluster."""
        return ":".join((self._tag, *map(str, parts)))

    def shard(self, shard_id: int) -> str:
        """Return the key of what is known of a shard: claim, epoch, session, sequence."""
        return self.key("shard", shard_id)

    def mailbox(self, group: str, shard_id: int) -> str:
        """Return the key of the stream that a group reads of a shard."""
        return self.key("mailbox", group, shard_id)

    def open(self) -> None:
        """Make the client; it connects when it is first used."""
        self.client = make_loop_client(
            self._url, socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S
        )

    async def check(self) -> None:
        """Connect; raise UsageError for a server that is too old."""
        check_version(await self.client.info("server"), self.shown)

    def refusal(self, error: Exception) -> UsageError:
        """Return why nothing can begin, as a user should read it, without the password."""
        told = explained(error, self._url, self._tag)
        if isinstance(told, UsageError):
            return told
        return UsageError(f"{self.shown} cannot be used: {with_advice(error)}")

    async def load(self, *names: str) -> None:
        """Send scripts whole: to begin with, and when the server has forgotten them."""
        for name in names:
            text = (_SCRIPTS / f"{name}.lua").read_text(encoding="utf-8")
            self._scripts[name] = await self.client.script_load(text)

    async def run(self, name: str, keys: list[str], arguments: list[Any]) -> Any:
        """Run `NAME.lua`."""
        return (await self.run_all(name, [(keys, arguments)], is_raised=True))[0]

    async def run_all(
        self, name: str, calls: list[tuple[list[str], list[Any]]], *, is_raised: bool = False
    ) -> list[Any]:
        """
        Run `NAME.lua` so often, in one go; return the answers, errors of the script among them.

        Raises:
            redis.RedisError: the server is away; with `is_raised` also the script's.
        """
        from redis.exceptions import NoScriptError

        if name not in self._scripts:
            await self.load(name)
        for is_last in (False, True):
            pipeline = self.client.pipeline(transaction=False)
            for keys, arguments in calls:
                pipeline.evalsha(self._scripts[name], len(keys), *keys, *arguments)
            answers: list[Any] = await pipeline.execute(raise_on_error=False)
            if is_last or not any(isinstance(answer, NoScriptError) for answer in answers):
                break
            await self.load(name)  # no script ran at all: they are all the same
        for answer in answers if is_raised else ():
            if isinstance(answer, Exception):
                raise answer
        return answers

    async def close(self) -> None:
        """Close the connections."""
        for client in () if self.client is None else clients_of(self.client):
            await client.aclose()


def entries_of(found: Any) -> Iterable[tuple[bytes, list[tuple[bytes, dict[bytes, bytes]]]]]:
    """Return streams with their entries, as RESP2 has them and as RESP3."""
    if isinstance(found, dict):
        return [(key, [e for part in parts for e in part]) for key, parts in found.items()]
    return found or ()
