"""
Models of your own, decoded straight from the text. Needs msgspec, and DISCORD_TOKEN.

A model has the members that the bot uses, under the names and of the types that it likes; what else
comes is skipped. Times become datetimes without a line of code.
"""

from datetime import datetime
from typing import Any

import msgspec

from fastgw import Event, Gateway, HandlerFailure, Intents


class User(msgspec.Struct, frozen=True):
    id: str
    username: str
    is_bot: bool = msgspec.field(name="bot", default=False)


class Message(msgspec.Struct, frozen=True):
    id: str
    author: User
    content: str
    sent_at: datetime = msgspec.field(name="timestamp")
    edited_at: datetime | None = msgspec.field(name="edited_timestamp", default=None)


def make_bot(**options: Any) -> Gateway:
    gateway = Gateway(intents=Intents.GUILD_MESSAGES | Intents.MESSAGE_CONTENT, **options)

    @gateway.on("MESSAGE_CREATE", type=Message)
    def sent(message: Message) -> None:
        print(f"{message.sent_at:%H:%M} {message.author.username}: {message.content}", flush=True)

    @gateway.on("MESSAGE_UPDATE")
    def edited(event: Event) -> None:
        message = event.decode(Message)  # the same, when it is wanted
        if message.edited_at is not None:
            print(f"{message.edited_at:%H:%M} {message.author.username} edited", flush=True)

    @gateway.on_error
    def failed(failure: HandlerFailure) -> None:
        print(f"{failure.name}: {failure.error}", flush=True)  # with the path of what did not fit

    return gateway


if __name__ == "__main__":
    make_bot().run()
