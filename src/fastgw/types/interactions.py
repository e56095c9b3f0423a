"""Interactions: commands, components and modals that somebody used."""

from __future__ import annotations

import sys

if sys.version_info >= (3, 11):
    from typing import NotRequired, TypedDict
else:
    from typing_extensions import NotRequired, TypedDict

from .channels import Channel
from .messages import Message, Resolved
from .users import Member, User

__all__ = [
    "CommandOption",
    "Entitlement",
    "Interaction",
    "InteractionData",
    "InteractionGuild",
    "SubmittedComponent",
]


class Entitlement(TypedDict):
    """What somebody has bought."""

    id: str
    sku_id: str
    application_id: str
    user_id: NotRequired[str]
    type: int
    deleted: bool
    starts_at: str | None
    ends_at: str | None
    guild_id: NotRequired[str]
    consumed: NotRequired[bool]


class CommandOption(TypedDict):
    """An argument of a command, or a subcommand with its own."""

    name: str
    type: int
    value: NotRequired[str | int | float | bool]
    options: NotRequired[list[CommandOption]]
    focused: NotRequired[bool]


class SubmittedComponent(TypedDict):
    """What somebody entered into one component of a modal."""

    type: int
    component_type: NotRequired[int]
    id: int
    custom_id: NotRequired[str]
    values: NotRequired[list[str]]
    value: NotRequired[str | bool | None]
    resolved: NotRequired[Resolved]
    component: NotRequired[SubmittedComponent]


class InteractionData(TypedDict):
    """What was invoked; what there is depends on the interaction's `type`."""

    id: NotRequired[str]
    name: NotRequired[str]
    type: NotRequired[int]
    resolved: NotRequired[Resolved]
    options: NotRequired[list[CommandOption]]
    guild_id: NotRequired[str]
    target_id: NotRequired[str]
    custom_id: NotRequired[str]
    component_type: NotRequired[int]
    values: NotRequired[list[str]]
    components: NotRequired[list[SubmittedComponent]]


class InteractionGuild(TypedDict):
    """As much of the guild as an interaction says."""

    id: str
    features: list[str]
    locale: NotRequired[str]
    preferred_locale: NotRequired[str]


class Interaction(TypedDict):
    """
    Somebody used a command, a component or a modal: `d` of INTERACTION_CREATE.

    `data` is optional in the documentation for the sake of PING, which no gateway sends.
    """

    id: str
    application_id: str
    type: int
    data: InteractionData
    guild: NotRequired[InteractionGuild]
    guild_id: NotRequired[str]
    channel: NotRequired[Channel]
    channel_id: NotRequired[str]
    member: NotRequired[Member]
    user: NotRequired[User]
    token: str
    version: int
    message: NotRequired[Message]
    app_permissions: str
    locale: NotRequired[str]
    guild_locale: NotRequired[str]
    entitlements: list[Entitlement]
    authorizing_integration_owners: dict[str, str]
    context: NotRequired[int]
    attachment_size_limit: int
