"""Components of messages and modals."""

from __future__ import annotations

import sys

if sys.version_info >= (3, 11):
    from typing import NotRequired, TypedDict
else:
    from typing_extensions import NotRequired, TypedDict

from .users import PartialEmoji

__all__ = [
    "Component",
    "MediaGalleryItem",
    "MediaItem",
    "SelectDefault",
    "SelectOption",
]


class MediaItem(TypedDict):
    """A picture, video or file that a component shows."""

    url: str
    proxy_url: NotRequired[str]
    height: NotRequired[int | None]
    width: NotRequired[int | None]
    placeholder: NotRequired[str]
    placeholder_version: NotRequired[int]
    content_type: NotRequired[str]
    flags: NotRequired[int]
    attachment_id: NotRequired[str]


class MediaGalleryItem(TypedDict):
    """One of a gallery."""

    media: MediaItem
    description: NotRequired[str | None]
    spoiler: NotRequired[bool]


class SelectOption(TypedDict):
    """One choice of a menu or group."""

    label: str
    value: str
    description: NotRequired[str]
    emoji: NotRequired[PartialEmoji]
    default: NotRequired[bool]


class SelectDefault(TypedDict):
    """What is chosen already."""

    id: str
    type: str


class Component(TypedDict):
    """A component of any type; which members there are depends on `type`."""

    type: int
    id: NotRequired[int]
    components: NotRequired[list[Component]]
    style: NotRequired[int]
    label: NotRequired[str]
    emoji: NotRequired[PartialEmoji]
    custom_id: NotRequired[str]
    sku_id: NotRequired[str]
    url: NotRequired[str]
    disabled: NotRequired[bool]
    options: NotRequired[list[SelectOption]]
    placeholder: NotRequired[str]
    min_values: NotRequired[int]
    max_values: NotRequired[int]
    required: NotRequired[bool]
    min_length: NotRequired[int]
    max_length: NotRequired[int]
    value: NotRequired[str]
    default_values: NotRequired[list[SelectDefault]]
    channel_types: NotRequired[list[int]]
    accessory: NotRequired[Component]
    content: NotRequired[str]
    media: NotRequired[MediaItem]
    description: NotRequired[str | None]
    spoiler: NotRequired[bool]
    items: NotRequired[list[MediaGalleryItem]]
    file: NotRequired[MediaItem]
    name: NotRequired[str]
    size: NotRequired[int]
    divider: NotRequired[bool]
    spacing: NotRequired[int]
    accent_color: NotRequired[int | None]
    component: NotRequired[Component]
    file_types: NotRequired[list[str]]
    default: NotRequired[bool]
