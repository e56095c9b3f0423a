"""
A Discord gateway for tests: on loopback (`FakeGateway`), without IO (`FakePeer`), and its traffic.

    async with FakeGateway() as fake, Gateway("token", intents=..., info=fake.info) as bot:
        await fake.wait_ready()
        fake.dispatch("MESSAGE_CREATE", {"content": "hi", "channel_id": "1"})

Nothing here needs the internet or a token. Names are imported when they are first used: the pytest
plugin, which every test run loads, must stay cheap.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .chaos.faults import ChaosPlan, Fault
    from .chaos.proxy import ChaosProxy
    from .server.connection import FakeConnection
    from .server.frames import Framing
    from .server.gateway import FakeGateway
    from .service.peer import Command, Cut, FakePeer, Moment
    from .service.service import FakeService
    from .service.session import FakeSession
    from .traffic.traffic import Dispatch, Traffic

__all__ = [
    "ChaosPlan",
    "ChaosProxy",
    "Command",
    "Cut",
    "Dispatch",
    "FakeConnection",
    "FakeGateway",
    "FakePeer",
    "FakeService",
    "FakeSession",
    "Fault",
    "Framing",
    "Moment",
    "Traffic",
]

_HOMES = {
    "ChaosPlan": "chaos.faults",
    "ChaosProxy": "chaos.proxy",
    "Command": "service.peer",
    "Cut": "service.peer",
    "Dispatch": "traffic.traffic",
    "FakeConnection": "server.connection",
    "FakeGateway": "server.gateway",
    "FakePeer": "service.peer",
    "FakeService": "service.service",
    "FakeSession": "service.session",
    "Fault": "chaos.faults",
    "Framing": "server.frames",
    "Moment": "service.peer",
    "Traffic": "traffic.traffic",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{home}", __name__), name)
