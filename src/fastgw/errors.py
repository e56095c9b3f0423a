"""
The exception tree of fastgw.

Two sides under `FastgwError`: `ProtocolError` (the service broke a rule) and `UsageError` (the
caller did). Beside them stand what can happen to a healthy program: a connection that could not be
made or was lost, and the refusals that no retry can mend (`FatalError`).

Numbers are attributes as well as text. No text ever holds a token.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .words import Action, Initiator, Intents

__all__ = [
    "AuthenticationFailed",
    "CertificateRefused",
    "CommandTimeout",
    "CommandTooBig",
    "ConnectFailed",
    "ConnectTimeout",
    "ConnectionClosed",
    "DecodeError",
    "DisallowedIntents",
    "FastgwError",
    "FatalError",
    "GatewayInfoError",
    "HandshakeRefused",
    "IdentifyBudgetSpent",
    "Interrupted",
    "InvalidApiVersion",
    "InvalidIntents",
    "InvalidShard",
    "MembersRateLimited",
    "MessageTooBig",
    "NotAWebSocket",
    "NotCompressed",
    "ProtocolError",
    "ProxyRefused",
    "SendQueueFull",
    "SessionLost",
    "ShardNotHere",
    "ShardNotRunning",
    "ShardingRequired",
    "UsageError",
    "WaitFailed",
    "WorkerFailed",
]


class FastgwError(Exception):
    """
    Base of every error that fastgw raises on purpose.

    Can be pickled and copied, with its attributes; as with any exception the traceback and the
    cause stay behind.
    """

    def __reduce__(self) -> tuple[object, ...]:
        # Not by calling the class with args, as Exception does: numbers are keywords here.
        return _restore, (type(self), self.args, self.__dict__)


def _restore(kind: type[FastgwError], args: tuple[Any, ...], state: dict[str, Any]) -> FastgwError:
    error = kind.__new__(kind, *args)
    error.__dict__.update(state)
    return error


class UsageError(FastgwError):
    """The caller broke a rule of this library; the text says what to do instead."""


class CommandTooBig(UsageError):
    """
    A command is larger than the gateway accepts (it would close with 4002); nothing was sent.

    Attributes:
        size: of the encoded command, in bytes.
        limit: the limit, in bytes.
    """

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(f"command of {size} bytes is over the limit of {limit} bytes")
        self.size = size
        self.limit = limit


class ShardNotHere(UsageError):
    """
    Something is for a shard that does not run in this process, or does not run any more.

    Attributes:
        shard_id: the shard that it is for.
        running: the ids of those that run here.
        guild_id: the guild whose shard it is, None when a shard was named.
    """

    def __init__(
        self, shard_id: int, running: Sequence[int], *, guild_id: int | str | None = None
    ) -> None:
        here = "none"
        if running:
            here = f"{running[0]} to {running[-1]} ({len(running)} shards)"
        whose = "" if guild_id is None else f", on which guild {guild_id} is,"
        super().__init__(f"shard {shard_id}{whose} does not run here; of this bot's shards: {here}")
        self.shard_id = shard_id
        self.running = tuple(running)
        self.guild_id = guild_id


class ProtocolError(FastgwError):
    """
    The service broke a rule of RFC 6455 or of the gateway protocol.

    Attributes:
        close_code: the code the connection is closed with because of it.
    """

    def __init__(self, message: str, *, close_code: int = 4000) -> None:
        super().__init__(message)
        self.close_code = close_code


class DecodeError(ProtocolError):
    """
    Bytes that are not what they must be: a bad stream, bad JSON, bad UTF-8, or of another type.

    Attributes:
        offset: bytes into the data where decoding failed, or None when the decoder cannot know.
        name: the event's name when an event's own data is at fault, else None.
        sequence: that event's sequence, else None.
        path: where in the event's data it does not fit the type asked for, such as "author.id"; ""
            is the data itself, None is no such error.
    """

    def __init__(
        self,
        message: str,
        *,
        close_code: int = 4000,
        offset: int | None = None,
        name: str | None = None,
        sequence: int | None = None,
        path: str | None = None,
    ) -> None:
        super().__init__(message, close_code=close_code)
        self.offset = offset
        self.name = name
        self.sequence = sequence
        self.path = path


class NotCompressed(DecodeError):
    """A message came as text on a connection that was asked to be compressed as a whole."""

    def __init__(self, compression: str) -> None:
        super().__init__(
            f"the service answers in text, not in {compression}: it, or a proxy before it, does "
            f'not compress; pass compress="none"'
        )


class MessageTooBig(DecodeError):
    """
    A message exceeds a limit of ours (RFC 6455 7.4.1: 1009).

    Attributes:
        size: what was reached when the limit struck, in `unit`.
        limit: the limit, in `unit`.
        unit: "bytes", "fragments" or "zstd frames".
    """

    def __init__(self, size: int, limit: int, unit: str = "bytes") -> None:
        super().__init__(
            f"message of at least {size} {unit} is over the limit of {limit} {unit}",
            close_code=1009,
        )
        self.size = size
        self.limit = limit
        self.unit = unit


class ConnectFailed(FastgwError):
    """A connection could not be opened; worth another try unless a subclass says otherwise."""


class ConnectTimeout(ConnectFailed):
    """
    Opening a connection took longer than allowed.

    Attributes:
        timeout_s: the deadline that passed, in seconds.
    """

    def __init__(self, message: str, *, timeout_s: float) -> None:
        super().__init__(message)
        self.timeout_s = timeout_s


class CertificateRefused(ConnectFailed):
    """The server's TLS certificate was not accepted."""


class NotAWebSocket(ConnectFailed):
    """The peer answered with something that is not a websocket upgrade."""


class HandshakeRefused(ConnectFailed):
    """
    The server answered the websocket upgrade with an HTTP status other than 101.

    Attributes:
        status: the HTTP status.
        retry_after_s: what a Retry-After header asked for, in seconds, or None.
    """

    def __init__(self, message: str, *, status: int, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after_s = retry_after_s


class ProxyRefused(ConnectFailed):
    """
    A proxy was reached and made no connection for us.

    Attributes:
        status: its HTTP status, or None.
    """

    def __init__(self, message: str, *, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class GatewayInfoError(FastgwError):
    """
    `GET /gateway/bot` did not give a usable answer.

    Attributes:
        status: the HTTP status, or None when there was no answer.
        retry_after_s: seconds the service asked us to wait, or None.
    """

    def __init__(
        self, message: str, *, status: int | None = None, retry_after_s: float | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after_s = retry_after_s


class ConnectionClosed(FastgwError):
    """
    A connection has ended.

    Attributes:
        close_code: the code received or sent; None when there was no CLOSE frame.
        reason: its text.
        initiator: who began it.
        outcome: what the session needs next: resume, identify or stop.
    """

    def __init__(
        self,
        message: str,
        *,
        close_code: int | None,
        reason: str,
        initiator: Initiator,
        outcome: Action,
    ) -> None:
        super().__init__(message)
        self.close_code = close_code
        self.reason = reason
        self.initiator = initiator
        self.outcome = outcome


class SessionLost(FastgwError):
    """A session ended with a command that was not sent yet, or a request not answered in full."""


class SendQueueFull(FastgwError):
    """
    Too many commands wait for the send budget.

    Attributes:
        limit: how many may wait.
    """

    def __init__(self, message: str, *, limit: int) -> None:
        super().__init__(message)
        self.limit = limit


class ShardNotRunning(FastgwError):
    """
    No process that takes commands of a `Consumer` runs the shard at this moment; nothing was sent.

    Attributes:
        shard_id: the shard; None when not even the number of shards is known.
    """

    def __init__(self, message: str, *, shard_id: int | None) -> None:
        super().__init__(message)
        self.shard_id = shard_id


class CommandTimeout(FastgwError):
    """
    A command of a `Consumer` was not answered in time.

    Attributes:
        timeout_s: how long it could take, in seconds.
        may_be_sent: False: the process that has the shard took it back, as no budget was left to
            send it. True: nobody answered, so nobody knows; it is not sent again by itself.
    """

    def __init__(self, message: str, *, timeout_s: float, may_be_sent: bool) -> None:
        super().__init__(message)
        self.timeout_s = timeout_s
        self.may_be_sent = may_be_sent


class MembersRateLimited(FastgwError):
    """
    All members of a guild were asked for less than 30 seconds ago.

    Attributes:
        guild_id: whose.
        retry_after_s: seconds until they may be asked for again.
    """

    def __init__(self, guild_id: int, retry_after_s: float) -> None:
        super().__init__(
            f"the members of guild {guild_id} were asked for a moment ago; ask again in "
            f"{retry_after_s:.1f} s"
        )
        self.guild_id = guild_id
        self.retry_after_s = retry_after_s


class WaitFailed(FastgwError):
    """An event that was waited for cannot come: reading stopped, or the gateway was closed."""


class Interrupted(FastgwError):
    """
    A handler asked for the end of the program: its SystemExit or KeyboardInterrupt is the cause.

    `run()` raises that itself. Raised inside a task it would tear the event loop down.
    """


class IdentifyBudgetSpent(FastgwError):
    """
    The day's identifies are used up but for the reserve: shards without a session wait.

    Attributes:
        free_at: when identifies go on, in monotonic seconds.
        remaining: identifies left.
        total: identifies a day.
        reserve: how many of them are kept back.
    """

    def __init__(
        self, message: str, *, free_at: float, remaining: int, total: int, reserve: int
    ) -> None:
        super().__init__(message)
        self.free_at = free_at
        self.remaining = remaining
        self.total = total
        self.reserve = reserve


class WorkerFailed(FastgwError):
    """
    A process of a bot of several cannot be started, or was refused for good; all were ended.

    Attributes:
        at: "import", "start" or "run".
        details: more of it for who mends it, such as a traceback; may be empty.
    """

    def __init__(self, message: str, *, at: str, details: str = "") -> None:
        super().__init__(message)
        self.at = at
        self.details = details


class FatalError(FastgwError):
    """
    The service refused for good: no retry can help, somebody has to change something.

    Attributes:
        close_code: the gateway close code, or None when HTTP said it.
        shard_id: the shard that was refused, or None.
    """

    def __init__(
        self, message: str, *, close_code: int | None = None, shard_id: int | None = None
    ) -> None:
        super().__init__(message)
        self.close_code = close_code
        self.shard_id = shard_id


class AuthenticationFailed(FatalError):
    """The token was refused (close code 4004, HTTP 401)."""


class InvalidShard(FatalError):
    """Shard id and count do not go together for this bot (close code 4010)."""


class ShardingRequired(FatalError):
    """The bot is in too many guilds for this shard count (close code 4011)."""


class InvalidApiVersion(FatalError):
    """The gateway no longer speaks our API version (close code 4012)."""


class InvalidIntents(FatalError):
    """
    Intents hold undefined bits (close code 4013).

    Attributes:
        intents: what was asked for.
    """

    def __init__(
        self, message: str, *, intents: Intents, close_code: int | None = None,
        shard_id: int | None = None,
    ) -> None:  # fmt: skip
        super().__init__(message, close_code=close_code, shard_id=shard_id)
        self.intents = intents


class DisallowedIntents(InvalidIntents):
    """Privileged intents that are not enabled for the application (close code 4014)."""
