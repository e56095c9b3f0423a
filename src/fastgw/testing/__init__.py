"""
A Discord gateway for tests: on loopback (`FakeGateway`), without IO (`FakePeer`), and its traffic.

    async with FakeGateway() as fake, Gateway("token", intents=..., info=fake.info) as bot:
        await fake.wait_ready()
        fake.dispatch("MESSAGE_CREATE", {"content": "hi", "channel_id": "1"})

Nothing here needs the internet or a token. `FakeGateway(tls=True)` needs trustme, which the extra
`fastgw[testing]` brings. The pytest fixtures stand in the module `pytest_fastgw`.
"""

from .chaos.faults import ChaosPlan, Fault
from .chaos.proxy import ChaosProxy
from .recording.file import Recorded, Recording, RecordingWriter
from .recording.play import play, replaying_gateway
from .server.connection import FakeConnection
from .server.frames import Framing
from .server.gateway import FakeGateway
from .service.clock import VirtualClock
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
    "Recorded",
    "Recording",
    "RecordingWriter",
    "Traffic",
    "VirtualClock",
    "play",
    "replaying_gateway",
]
