"""Plans without a gateway: subscriptions that keep what they are called with."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from fastgw._decode import Calls, Decoder, Interests, Plan

TEXT = 1


@dataclass
class Wanting:
    """A subscription as a plan sees it, which keeps what it was called with."""

    where: Any = None
    form: Any = None
    missing: Any = None
    once: bool = False
    is_ours: bool = False
    fails: BaseException | None = None
    gives: Any = None
    called: list = field(default_factory=list)

    def __post_init__(self):
        self.handler = self.handle
        self.target = (lambda *what: self.handle(*what)) if self.is_ours else self.handler

    def handle(self, *what):
        self.called.append(what)
        if self.fails is not None:
            raise self.fails
        return self.gives


class Reports:
    """What a plan reports, kept."""

    def __init__(self):
        self.failures, self.results, self.spent = [], [], []

    def failed(self, what, handler, error):
        self.failures.append((what, handler, error))

    def returned(self, what, handler, result):
        self.results.append((what, handler, result))

    def spend(self, subscription):
        if subscription in self.spent:
            return False
        self.spent.append(subscription)
        return True


def message(data, name="MESSAGE_CREATE", sequence=7):
    data = data if isinstance(data, bytes) else json.dumps(data, separators=(",", ":")).encode()
    return b'{"t":"%s","s":%d,"op":0,"d":%s}' % (name.encode(), sequence, data)


def planned(*wanting, name="MESSAGE_CREATE", **options):
    """A decoder whose interest in a name is a plan of these, and what the plan reports."""
    reports, interests = Reports(), Interests(**options)
    plan = Plan(wanting, reports)
    if name == "*":
        interests.want_everything(plan)
    else:
        interests.want(name, plan)
    return Decoder(interests=interests, shard_id=3), reports


def deliver(decoder, text):
    """Feed one message, and make the calls that it leads to."""
    result = decoder.feed(text, TEXT)
    if isinstance(result, Calls):
        result.make()
        return None
    return result
