"""The one attribute of the library that is replaced: `DiscordWebSocket.from_client`."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from ...errors import UsageError
from ...gateway import Gateway
from ...log import careful_logger
from ..attachment import Attachment, Explanation
from .library import Library
from .link import Link

__all__ = ["attach_discord_py", "attachment_of_discord_py"]

log = careful_logger("fastgw.attach")

_LINK = "_fastgw_link"  # in the client's own dict: it lives as long as the client, and no longer


class _DiscordPyAttachment(Attachment):
    """A client of the discord.py family on our gateway."""

    def __init__(self, client: Any, link: Link) -> None:
        self._client = client
        self._link = link

    def __repr__(self) -> str:
        return f"<Attachment of a {type(self._client).__name__} of {self._link.library}>"

    @property
    def gateway(self) -> Any:
        return self._link.gateway

    def detach(self) -> None:
        if _is_running(self._client):
            raise UsageError("the bot runs: detach() comes before it is started, or after its end")
        vars(self._client).pop(_LINK, None)
        self._link.forget()

    def explain(self) -> Explanation:
        return self._link.explain()


def attach_discord_py(
    client: Any,
    keep: frozenset[str],
    drop: frozenset[str],
    is_filtering: bool,
    gateway_options: Mapping[str, Any],
) -> Attachment:
    """
    Put a client on our gateway; see `attach`.

    Raises:
        UsageError: it cannot work.
    """
    library = Library(client)
    if _LINK in vars(client):
        raise UsageError("this bot is attached already")
    if _is_running(client):
        raise UsageError("the bot runs already: call attach(bot) before bot.run() or bot.start()")
    if getattr(client, "_enable_debug_events", False):
        raise UsageError(
            "a bot with enable_debug_events=True hears every message of its own socket, which an "
            "attached bot has not; turn them off, or use on_socket_event_type"
        )
    if "store" in gateway_options:
        raise UsageError(
            f"attach(store=...) cannot be with {library.name}: a session that is resumed after a "
            "restart sends no GUILD_CREATE, and the guild cache would stay empty"
        )
    # Now: while it connects the library would take an error for a lost connection, and try again.
    Gateway("checked", intents=client.intents.value, shards=[0], shard_count=1, **gateway_options)
    if not library.is_tested:
        log.warning(
            "%s was not tested with fastgw: parsers that it does not know get every event", library
        )
    link = Link(client, library, keep, drop, is_filtering, gateway_options)
    vars(client)[_LINK] = link
    _patch(library)
    return _DiscordPyAttachment(client, link)


def attachment_of_discord_py(client: Any) -> Attachment | None:
    """Return the attachment of a client; None when it has none."""
    link: Link | None = vars(client).get(_LINK)
    return None if link is None else _DiscordPyAttachment(client, link)


def _is_running(client: Any) -> bool:
    """Tell whether a client has sockets that are open."""
    sockets = [getattr(client, "ws", None)]
    for kind in type(client).__mro__:
        shards = getattr(client, f"_{kind.__name__}__shards", None)
        sockets += [shard.ws for shard in (shards or {}).values()]
    return any(socket is not None and socket.open for socket in sockets)


def _patch(library: Library) -> None:
    """Make the library's sockets ask first whether their client is attached; once a class."""
    socket_class = library.socket_class
    original = socket_class.__dict__["from_client"].__func__
    if getattr(original, "_is_fastgw", False):
        return

    @functools.wraps(original)
    async def from_client(cls: type[Any], client: Any, **options: Any) -> Any:
        link: Link | None = vars(client).get(_LINK)
        if link is None:
            return await original(cls, client, **options)
        return await link.open(options.get("shard_id"))

    seam: Any = from_client
    seam._is_fastgw = True
    socket_class.from_client = classmethod(seam)
