"""Gateways that connect to a fake one, as most tests make them."""

from __future__ import annotations

from typing import Any

from fastgw.fleet.turns.identify import LocalIdentifyQueue
from fastgw.gateway import Gateway
from fastgw.testing import FakeGateway
from fastgw.words import Intents

TOKEN = "not.a.token"


def no_jitter() -> float:
    """Give the least chance there is: the shortest delays, and the first heartbeat at once."""
    return 0.0


def quick_queue(max_concurrency: int = 1) -> LocalIdentifyQueue:
    """Return an identify queue that does not make a test wait 5 seconds for a second IDENTIFY."""
    return LocalIdentifyQueue(max_concurrency, interval_s=0.02, padding_s=(0.0, 0.0))


def gateway_to(fake: FakeGateway, **options: Any) -> Gateway:
    """Make a gateway that connects to the fake one, at once and with all intents unless told."""
    options = {
        "intents": Intents.all(), "info": fake.info, "ssl_context": fake.client_ssl_context,
        "identify_queue": quick_queue(), **options,
    }  # fmt: skip
    return Gateway(options.pop("token", TOKEN), **options)
