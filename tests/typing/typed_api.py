"""
Checked by mypy --strict and pyright, and never run: event names and what their events carry.

Each `type: ignore` stands where a checker must complain; one that is not needed is an error itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from fastgw import Event, EventName, EventStream, Gateway, Intents, types

gateway = Gateway("token", intents=Intents.GUILDS | Intents.GUILD_MESSAGES)


@dataclass
class Message:
    """A model of the user's own."""

    id: str
    content: str


# --- handlers: the annotation says what the event carries ----------------------------------------


@gateway.on("MESSAGE_CREATE")
def on_message(event: Event[types.MessageCreate]) -> None:
    name: str = event.data["author"]["username"]
    bot: bool = event.data["author"].get("bot", False)
    event.data["contents"]  # type: ignore
    print(name, bot)


@gateway.on("MESSAGE_CREATE", "GUILD_CREATE")
async def on_any(event: Event) -> None:
    data: dict[str, Any] = event.data
    print(data)


@gateway.on("MESSAGE_CREATE", type=Message, once=True)
def on_model(message: Message) -> None:
    print(message.content)


@gateway.on("MESSAGE_CREATE", type=types.MessageCreate, bound=3)
async def on_typed_dict(message: types.MessageCreate) -> None:
    print(message["content"])


def takes_an_event(event: Event) -> None: ...


gateway.on("MESSAGE_CREATE", type=Message)(takes_an_event)  # type: ignore
gateway.on("MESSAGE_CREATE", type=Message, fields=("id",))(on_model)  # type: ignore
gateway.on("SOMETHING_NEW")(takes_an_event)  # Discord adds events
gateway.on("*")(takes_an_event)


# --- iterators and waiting: the name says it -----------------------------------------------------


async def iterates() -> None:
    async for event in gateway.events("GUILD_MEMBER_ADD", bound=100):
        guild_id: str = event.data["guild_id"]
        event.data["guild"]  # type: ignore
        print(guild_id)
    stream: EventStream[Event[types.TypingStart]] = gateway.events("TYPING_START")
    await stream.aclose()
    async for either in gateway.events("MESSAGE_CREATE", "MESSAGE_DELETE"):
        print(either.data["anything"])
    async for other in gateway.events("SOMETHING_NEW", policy="drop_oldest"):
        print(other.data["anything"])


def is_component(event: Event[types.InteractionCreate]) -> bool:
    return event.data["type"] == 3


async def waits(name: EventName) -> None:
    interaction = await gateway.wait_for("INTERACTION_CREATE", check=is_component, timeout_s=1.0)
    token: str = interaction.data["token"]
    interaction.data["tokens"]  # type: ignore
    ready = await gateway.wait_for("READY", check=lambda event: event.data["v"] == 10)
    ready.data["sessions_id"]  # type: ignore
    any_of_them = await gateway.wait_for(name)
    print(token, ready.data["session_id"], any_of_them.data["anything"])


# --- decoding ------------------------------------------------------------------------------------


def decodes(event: Event) -> None:
    message: Message = event.decode(Message)
    print(message.contents)  # type: ignore
    state = event.decode(types.VoiceStateUpdate)
    channel: str | None = state["channel_id"]
    ids: Any = event.decode(list[str] | None)
    plain: Any = event.decode(lenient=True)
    print(channel, ids, plain)


class Channel(Protocol):
    """What a function of the user's own asks for."""

    def __call__(self, channel: types.Channel) -> None: ...


def on_channel(event: Event[types.ChannelUpdate], take: Channel) -> None:
    take(event.data)  # what an event carries is also the object that it is about
