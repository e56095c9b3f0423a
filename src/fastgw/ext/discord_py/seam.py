"""The one attribute of the library that is replaced: `DiscordWebSocket.from_client`."""

from __future__ import annotations

import functools
from typing import Any, Protocol

from .library import Library

__all__ = ["install", "is_running", "link_of", "uninstall"]

_LINK = "_fastgw_link"  # in the client's own dict: it lives as long as the client, and no longer


class Opener(Protocol):
    """What makes the sockets of a client that is attached."""

    async def open(self, shard_id: int | None) -> Any:
        """Return the socket of a shard."""


def link_of(client: Any) -> Any:
    """Return what was installed in a client; None when nothing was."""
    return vars(client).get(_LINK)


def is_running(client: Any) -> bool:
    """Tell whether a client has sockets that are open."""
    sockets = [getattr(client, "ws", None)]
    for kind in type(client).__mro__:
        shards = getattr(client, f"_{kind.__name__}__shards", None)
        sockets += [shard.ws for shard in (shards or {}).values()]
    return any(socket is not None and socket.open for socket in sockets)


def uninstall(client: Any) -> None:
    """Let a client make the library's own sockets again."""
    vars(client).pop(_LINK, None)


def install(client: Any, library: Library, link: Opener) -> None:
    """Let a client get its sockets of us; the library's class is patched once."""
    vars(client)[_LINK] = link
    socket_class = library.socket_class
    original = socket_class.__dict__["from_client"].__func__
    if getattr(original, "_is_fastgw", False):
        return

    @functools.wraps(original)
    async def from_client(cls: type[Any], client: Any, **options: Any) -> Any:
        link: Opener | None = link_of(client)
        if link is None:
            return await original(cls, client, **options)
        return await link.open(options.get("shard_id"))

    seam: Any = from_client
    seam._is_fastgw = True
    socket_class.from_client = classmethod(seam)
