"""Messages, and what hangs on them."""

from __future__ import annotations

import sys

if sys.version_info >= (3, 11):
    from typing import NotRequired, TypedDict
else:
    from typing_extensions import NotRequired, TypedDict

from .channels import Channel
from .components import Component
from .users import (
    Mention,
    PartialApplication,
    PartialEmoji,
    PartialMember,
    Role,
    Sticker,
    StickerItem,
    User,
)

__all__ = [
    "Attachment",
    "ChannelMention",
    "Embed",
    "EmbedAuthor",
    "EmbedField",
    "EmbedFooter",
    "EmbedImage",
    "EmbedProvider",
    "EmbedVideo",
    "InteractionMetadata",
    "Message",
    "MessageActivity",
    "MessageCall",
    "MessageInteraction",
    "MessageReference",
    "MessageSnapshot",
    "Poll",
    "PollAnswer",
    "PollAnswerCount",
    "PollMedia",
    "PollResults",
    "Reaction",
    "ReactionCounts",
    "Resolved",
    "RoleSubscription",
    "SharedClientTheme",
    "SnapshotMessage",
]


class Attachment(TypedDict):
    """A file that hangs on a message."""

    id: str
    filename: str
    title: NotRequired[str]
    description: NotRequired[str]
    content_type: NotRequired[str]
    size: int
    url: str
    proxy_url: str
    height: NotRequired[int | None]
    width: NotRequired[int | None]
    placeholder: NotRequired[str]
    placeholder_version: NotRequired[int]
    ephemeral: NotRequired[bool]
    duration_secs: NotRequired[float]
    waveform: NotRequired[str]
    flags: NotRequired[int]
    clip_participants: NotRequired[list[User]]
    clip_created_at: NotRequired[str]
    application: NotRequired[PartialApplication | None]


class EmbedFooter(TypedDict):
    """The line below an embed."""

    text: str
    icon_url: NotRequired[str]
    proxy_icon_url: NotRequired[str]


class EmbedImage(TypedDict):
    """An image or thumbnail of an embed."""

    url: str
    proxy_url: NotRequired[str]
    height: NotRequired[int]
    width: NotRequired[int]
    content_type: NotRequired[str]
    placeholder: NotRequired[str]
    placeholder_version: NotRequired[int]
    description: NotRequired[str]
    flags: NotRequired[int]


class EmbedVideo(TypedDict):
    """A video of an embed."""

    url: NotRequired[str]
    proxy_url: NotRequired[str]
    height: NotRequired[int]
    width: NotRequired[int]
    content_type: NotRequired[str]
    placeholder: NotRequired[str]
    placeholder_version: NotRequired[int]
    description: NotRequired[str]
    flags: NotRequired[int]


class EmbedProvider(TypedDict):
    """Where an embed comes from."""

    name: NotRequired[str]
    url: NotRequired[str]


class EmbedAuthor(TypedDict):
    """The line above an embed."""

    name: str
    url: NotRequired[str]
    icon_url: NotRequired[str]
    proxy_icon_url: NotRequired[str]


class EmbedField(TypedDict):
    """A name and a value in an embed."""

    name: str
    value: str
    inline: NotRequired[bool]


class Embed(TypedDict):
    """A box of rich content."""

    title: NotRequired[str]
    type: NotRequired[str]
    description: NotRequired[str]
    url: NotRequired[str]
    timestamp: NotRequired[str]
    color: NotRequired[int]
    footer: NotRequired[EmbedFooter]
    image: NotRequired[EmbedImage]
    thumbnail: NotRequired[EmbedImage]
    video: NotRequired[EmbedVideo]
    provider: NotRequired[EmbedProvider]
    author: NotRequired[EmbedAuthor]
    fields: NotRequired[list[EmbedField]]
    flags: NotRequired[int]


class ReactionCounts(TypedDict):
    """How many reactions of which kind."""

    burst: int
    normal: int


class Reaction(TypedDict):
    """One emoji, and how many reacted with it."""

    count: int
    count_details: ReactionCounts
    me: bool
    me_burst: bool
    emoji: PartialEmoji
    burst_colors: list[str]


class ChannelMention(TypedDict):
    """A channel that a message names."""

    id: str
    guild_id: str
    type: int
    name: str


class MessageActivity(TypedDict):
    """An invitation to an activity."""

    type: int
    party_id: NotRequired[str]


class MessageReference(TypedDict):
    """Which message a reply, forward or pin is about."""

    type: NotRequired[int]
    message_id: NotRequired[str]
    channel_id: NotRequired[str]
    guild_id: NotRequired[str]
    fail_if_not_exists: NotRequired[bool]


class MessageCall(TypedDict):
    """A call in a private channel."""

    participants: list[str]
    ended_timestamp: NotRequired[str | None]


class RoleSubscription(TypedDict):
    """A subscription that was bought."""

    role_subscription_listing_id: str
    tier_name: str
    total_months_subscribed: int
    is_renewal: bool


class SharedClientTheme(TypedDict):
    """A theme that was shared."""

    colors: list[str]
    gradient_angle: int
    base_mix: int
    base_theme: NotRequired[int | None]


class PollMedia(TypedDict):
    """A question or an answer."""

    text: NotRequired[str]
    emoji: NotRequired[PartialEmoji]


class PollAnswer(TypedDict):
    """One answer of a poll."""

    answer_id: int
    poll_media: PollMedia


class PollAnswerCount(TypedDict):
    """How often an answer was chosen."""

    id: int
    count: int
    me_voted: bool


class PollResults(TypedDict):
    """How a poll stands."""

    is_finalized: bool
    answer_counts: list[PollAnswerCount]


class Poll(TypedDict):
    """A poll."""

    question: PollMedia
    answers: list[PollAnswer]
    expiry: str | None
    allow_multiselect: bool
    layout_type: int
    results: NotRequired[PollResults]


class MessageInteraction(TypedDict):
    """Deprecated: see InteractionMetadata."""

    id: str
    type: int
    name: str
    user: User
    member: NotRequired[PartialMember]


class InteractionMetadata(TypedDict):
    """Which interaction a message answers; what there is depends on `type`."""

    id: str
    type: int
    user: User
    authorizing_integration_owners: dict[str, str]
    original_response_message_id: NotRequired[str]
    target_user: NotRequired[User]
    target_message_id: NotRequired[str]
    interacted_message_id: NotRequired[str]
    triggering_interaction_metadata: NotRequired[InteractionMetadata]


class SnapshotMessage(TypedDict):
    """The part of a message that is forwarded with it."""

    type: int
    content: str
    embeds: list[Embed]
    attachments: list[Attachment]
    timestamp: str
    edited_timestamp: str | None
    flags: NotRequired[int]
    mentions: list[Mention]
    mention_roles: list[str]
    stickers: NotRequired[list[Sticker]]
    sticker_items: NotRequired[list[StickerItem]]
    components: NotRequired[list[Component]]


class MessageSnapshot(TypedDict):
    """A message that was forwarded."""

    message: SnapshotMessage


class Resolved(TypedDict):
    """What ids stand for, by id."""

    users: NotRequired[dict[str, User]]
    members: NotRequired[dict[str, PartialMember]]
    roles: NotRequired[dict[str, Role]]
    channels: NotRequired[dict[str, Channel]]
    messages: NotRequired[dict[str, Message]]
    attachments: NotRequired[dict[str, Attachment]]


class Message(TypedDict):
    """A message."""

    id: str
    channel_id: str
    author: User
    content: str
    timestamp: str
    edited_timestamp: str | None
    tts: bool
    mention_everyone: bool
    mentions: list[Mention]
    mention_roles: list[str]
    mention_channels: NotRequired[list[ChannelMention]]
    attachments: list[Attachment]
    embeds: list[Embed]
    reactions: NotRequired[list[Reaction]]
    nonce: NotRequired[int | str]
    pinned: bool
    webhook_id: NotRequired[str]
    type: int
    activity: NotRequired[MessageActivity]
    application: NotRequired[PartialApplication]
    application_id: NotRequired[str]
    flags: NotRequired[int]
    message_reference: NotRequired[MessageReference]
    message_snapshots: NotRequired[list[MessageSnapshot]]
    referenced_message: NotRequired[Message | None]
    interaction_metadata: NotRequired[InteractionMetadata]
    interaction: NotRequired[MessageInteraction]
    thread: NotRequired[Channel]
    components: NotRequired[list[Component]]
    sticker_items: NotRequired[list[StickerItem]]
    stickers: NotRequired[list[Sticker]]
    position: NotRequired[int]
    role_subscription_data: NotRequired[RoleSubscription]
    resolved: NotRequired[Resolved]
    poll: NotRequired[Poll]
    call: NotRequired[MessageCall]
    shared_client_theme: NotRequired[SharedClientTheme]
