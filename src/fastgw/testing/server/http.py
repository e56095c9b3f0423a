"""The HTTP side of the fake gateway: requests, answers, and `GET /gateway/bot`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import formatdate
from http import HTTPStatus
from urllib.parse import parse_qsl, urlsplit

import orjson

from ...fleet.http.gateway_info import GatewayInfo
from ...protocol.wire import API_VERSION
from ...words import Intents
from ..service.identify import application, bot_user
from ..service.service import FakeService
from .frames import COMPRESSIONS

__all__ = ["Answer", "Request", "Silence", "answer_api", "check_upgrade"]

# Discontinued versions are refused at the upgrade; others are closed with 4012.
_REMOVED_VERSIONS = frozenset({"3", "4", "5"})

# What libraries ask for before they connect, by path.
_OWN: dict[str, Callable[[Intents], object]] = {
    "/applications/@me": application,
    "/oauth2/applications/@me": application,
    "/users/@me": lambda _: bot_user(),
}


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer. Status 0: `body` is sent as it is, as something that is not HTTP."""

    status: int
    body: bytes
    headers: Mapping[str, str]

    def to_bytes(self) -> bytes:
        """Encode it; the connection is closed afterwards."""
        if self.status == 0:
            return self.body
        try:
            phrase = HTTPStatus(self.status).phrase
        except ValueError:
            phrase = "Unknown"  # Cloudflare's 520 to 530, for example
        # RFC 9110 6.6.1: an origin server with a clock says what time it is.
        said = {"Content-Type": "application/json", "Date": formatdate(usegmt=True)}
        headers = {**said, **self.headers}
        headers |= {"Content-Length": str(len(self.body)), "Connection": "close"}
        lines = [f"HTTP/1.1 {self.status} {phrase}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        return "\r\n".join([*lines, "", ""]).encode() + self.body


@dataclass(frozen=True, slots=True)
class Silence:
    """No answer at all: TCP stays open and nothing is said."""


@dataclass(frozen=True, slots=True)
class Request:
    """
    An HTTP request.

    Attributes:
        path: without query; query: each name once, the last value counts.
        headers: names in lower case.
        is_upgrade: it asks for a websocket.
    """

    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    is_upgrade: bool

    @classmethod
    def parse(cls, target: bytes, headers: Mapping[str, str]) -> Request:
        """Read picows' request."""
        parts = urlsplit(target.decode("latin-1"))
        lower = {name.lower(): value for name, value in headers.items()}
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        return cls(parts.path, query, lower, lower.get("upgrade", "").lower() == "websocket")


def check_upgrade(request: Request, path: str) -> Answer | None:
    """Return the refusal of a websocket that asks for what there is not, or None."""
    query = request.query
    if request.path != path:
        return Answer(404, b"404: Not Found", {})
    version = query.get("v", "6")
    if version in _REMOVED_VERSIONS or not version.isascii() or not version.isdigit():
        return Answer(400, b"Bad Request", {})
    if query.get("encoding", "json") != "json":
        return Answer(400, b"this fake gateway speaks JSON only", {})
    if query.get("compress", COMPRESSIONS[0]) not in COMPRESSIONS:
        return Answer(400, b"Bad Request", {})
    return None


def answer_api(request: Request, service: FakeService, info: GatewayInfo) -> Answer:
    """Answer a call of the HTTP API: /gateway for anybody, what a bot logs in with to its token."""
    prefix = f"/api/v{API_VERSION}"
    if request.path == prefix + "/gateway":
        return Answer(200, orjson.dumps({"url": info.url}), {})
    if request.path not in (prefix + path for path in ("/gateway/bot", *_OWN)):
        return Answer(404, b'{"message": "404: Not Found", "code": 0}', {})
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme != "Bot" or not token or not service.check_token(token):
        return Answer(401, b'{"message": "401: Unauthorized", "code": 0}', {})
    if own := _OWN.get(request.path.removeprefix(prefix)):
        return Answer(200, orjson.dumps(own(service.allowed_intents)), {})
    limit = info.session_start_limit
    assert limit is not None
    body = {
        "url": info.url,
        "session_start_limit": {
            "total": limit.total,
            "reset_after": int(limit.reset_after_s * 1000),
            "remaining": limit.remaining,
            "max_concurrency": limit.max_concurrency,
        },
        "shards": info.shards,
    }
    return Answer(200, orjson.dumps(body), {})
