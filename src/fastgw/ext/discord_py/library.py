"""The library that a client is of: its modules, its version, and what of it we rely on."""

from __future__ import annotations

import importlib
import inspect
from typing import Any

from ...errors import UsageError

__all__ = ["Library"]

# Read and found to fit. Others work as well: what is not known is delivered.
_TESTED = {
    "discord.py": ("2.4", "2.7"),
    "disnake": ("2.12", "2.12"),
    "nextcord": ("2.6", "2.6"),
    "py-cord": ("2.8", "2.8"),
}
_TITLES = {"discord": "discord.py", "pycord": "py-cord"}
# What the seam is made of, and what reads it; see the docstring of the package.
_SOCKET = (
    "poll_event", "close", "open", "latency", "is_ratelimited", "send", "send_as_json",
    "change_presence", "request_chunks", "voice_state",
)  # fmt: skip
# Where the library's own client stands; a bot's class may have the same name.
_CLIENTS = frozenset({"discord.client", "disnake.client", "nextcord.client"})
_PARAMETERS = {"client", "shard_id", "gateway", "session", "sequence", "resume"}
_STATE = ("parsers", "shard_count", "_intents", "_activity", "_status", "_messages",
          "member_cache_flags", "_update_references")  # fmt: skip


class Library:
    """
    A library of the discord.py family.

    Args:
        client: one of its clients.
    Attributes:
        package: "discord", "disnake" or "nextcord".
        name: "discord.py", "py-cord", ...
        version: as it says.
        socket_class: its `DiscordWebSocket`.
        client_class: its `Client`.
    Raises:
        UsageError: it lacks something that we need; the text names it.
    """

    def __init__(self, client: Any) -> None:
        self.client_class: type[Any] = next(
            kind
            for kind in type(client).__mro__
            if kind.__name__ == "Client" and kind.__module__ in _CLIENTS
        )
        self.package = self.client_class.__module__.partition(".")[0]
        root = importlib.import_module(self.package)
        self.name = _TITLES.get(title := str(root.__title__), title)
        self.version = str(root.__version__)
        self._errors = importlib.import_module(f"{self.package}.errors")
        self._http = importlib.import_module(f"{self.package}.http")
        gateway = importlib.import_module(f"{self.package}.gateway")
        self.socket_class: type[Any] = getattr(gateway, "DiscordWebSocket", object)
        self._check(client)

    def __str__(self) -> str:
        return f"{self.name} {self.version}"

    def _check(self, client: Any) -> None:
        missing = [name for name in _SOCKET if not hasattr(self.socket_class, name)]
        seam = getattr(self.socket_class, "from_client", None)
        if seam is None or not inspect.iscoroutinefunction(seam):
            missing.append("from_client")
        else:
            missing += sorted(_PARAMETERS - inspect.signature(seam).parameters.keys() - {"cls"})
        state = getattr(client, "_connection", None)
        missing += [f"_connection.{name}" for name in _STATE if not hasattr(state, name)]
        if missing:
            raise UsageError(
                f"attach() does not fit {self}: it has no {', '.join(missing)}. Tested are "
                + ", ".join(f"{name} {low} to {high}" for name, (low, high) in _TESTED.items())
            )

    @property
    def is_tested(self) -> bool:
        """Whether its version is one that was tried."""
        low, high = (_numbers(version) for version in _TESTED.get(self.name, ("0", "0")))
        return low <= _numbers(self.version) <= high

    def connection_closed(self, socket: Any, shard_id: int | None, code: int | None) -> Exception:
        """Make the error by which the library learns of a close code."""
        error: Exception = self._errors.ConnectionClosed(socket, shard_id=shard_id, code=code)
        return error

    def has_own_hook(self, client: Any) -> bool:
        """Tell whether a client overrides `before_identify_hook`."""
        name = "before_identify_hook"
        return getattr(type(client), name) is not getattr(self.client_class, name)

    async def gateway_bot(self, client: Any) -> dict[str, Any]:
        """Ask `GET /gateway/bot` as the library does: with its token, its proxy, its base URL."""
        answer: dict[str, Any] = await client.http.request(self._http.Route("GET", "/gateway/bot"))
        return answer


def _numbers(version: str) -> tuple[int, ...]:
    """Return major and minor."""
    return tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
