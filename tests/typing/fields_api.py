"""
Checked by mypy --strict and pyright, and never run: fields and filters.

Each `type: ignore` stands where a checker must complain; one that is not needed is an error itself.
"""

from __future__ import annotations

from typing import Any

from fastgw import Event, EventStream, Fields, Filter, Gateway, Intents, ValueSet, field

gateway = Gateway("token", intents=Intents.GUILDS | Intents.GUILD_MESSAGES)

MESSAGE = Fields("channel_id", "author.id", "content")
COMPUTED = tuple(f"members.{name}" for name in ("a", "b"))
human: Filter = ~field("author.bot").is_true()
wanted: ValueSet = ValueSet({81384788765712384, "81384788765712385"})


@gateway.on("MESSAGE_CREATE", fields=("channel_id", "author.id", "content"), where=human)
def on_message(channel_id: str, author_id: str, content: str) -> None:
    print(channel_id, author_id, content)


@gateway.on("MESSAGE_CREATE", fields=MESSAGE, guilds=wanted, once=True, bound=2, policy="block")
async def on_compiled(channel_id: str, author_id: str, content: str) -> None:
    print(channel_id, author_id, content)


@gateway.on("GUILD_CREATE", fields=("id",), missing=0, guilds=[7, "8"])
def on_guild(guild_id: str, name: str = "") -> None:
    print(guild_id, name)


@gateway.on("MESSAGE_CREATE", fields=("id", "content"))  # type: ignore[type-var]
def takes_one(event: Event) -> None: ...


@gateway.on("MESSAGE_CREATE", fields=MESSAGE)  # type: ignore[type-var]
def takes_two(channel_id: str, author_id: str) -> None: ...


@gateway.on("X", fields=("a", "b", "c", "d", "e", "f", "g", "h"))
def takes_eight(a: Any, b: Any, c: Any, d: Any, e: Any, f: Any, g: Any, h: Any) -> None: ...


@gateway.on("X", fields=("a", "b", "c", "d", "e", "f", "g", "h"))  # type: ignore[type-var]
def takes_seven(a: Any, b: Any, c: Any, d: Any, e: Any, f: Any, g: Any) -> None: ...


@gateway.on("X", fields=("a", "b", "c", "d", "e", "f", "g", "h", "i"))
def takes_nine(a: Any, b: Any, c: Any, d: Any, e: Any, f: Any, g: Any, h: Any, i: Any) -> None: ...


@gateway.on("X", fields=COMPUTED)
def takes_any(*values: Any) -> None: ...


@gateway.on("X", fields=["a", "b"])
def takes_a_list(a: Any, b: Any) -> None: ...


@gateway.on("X", where=human & (field("content").startswith(("!", "?")) | field("id").exists()))
def takes_an_event(event: Event) -> None:
    channel_id, author_id, content = event.read(MESSAGE, missing="")
    print(channel_id, author_id, content, event.get("author.id"), event.get("x", missing=1))
    channel_id, author_id = event.read(MESSAGE)  # type: ignore[misc]


@gateway.on("X", where=human)  # type: ignore[type-var]
def takes_no_event(channel_id: str, content: str) -> None: ...


on_message("1", "2", "3")
takes_nine(1, 2, 3, 4, 5, 6, 7, 8, 9)


async def iterates() -> None:
    stream: EventStream[Event] = gateway.events("MESSAGE_CREATE", where=human, guilds={7})
    async for event in stream:
        print(event.guild_id)
    answer: Event = await gateway.wait_for(
        "MESSAGE_CREATE", where=human, guilds=wanted, timeout_s=1
    )
    print(answer)
    wanted.add(5)
    wanted.discard("5")
    print(len(wanted), 5 in wanted, field("member.roles").contains_id(5))
