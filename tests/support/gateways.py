"""Gateways that connect to a fake one, as most tests make them."""

from __future__ import annotations

from typing import Any

from fastgw.gateway import Gateway
from fastgw.shard.pacing import LocalIdentifyQueue
from fastgw.testing import FakeGateway
from fastgw.words import Intents

TOKEN = "not.a.token"
# Where a gateway takes its chance from; the fixture `no_jitter` puts the least chance there.
CHANCE = "fastgw.gateway.random"


def quick_queue(max_concurrency: int = 1) -> LocalIdentifyQueue:
    """Return an identify queue that does not make a test wait 5 seconds for a second IDENTIFY."""
    return LocalIdentifyQueue(max_concurrency, interval_s=0.02, padding_s=(0.0, 0.0))


def gateway_to(fake: FakeGateway, **options: Any) -> Gateway:
    """Make a gateway that connects to the fake one, at once and with all intents unless told."""
    options = {
        "intents": Intents.all(), "info": fake.info, "ssl_context": fake.client_ssl_context,
        "identify_queue": quick_queue(), **options,
    }  # fmt: skip
    return Gateway(TOKEN, **options)
