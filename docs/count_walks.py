"""
List the four walks of docs/architecture.md: `python docs/count_walks.py [-v]`.

Counted are calls of our own Python functions (a coroutine counts each time it goes on), between the
cause and the end named below, with a fake gateway in the same process whose calls do not count. Nor
do those of the tick, which comes once a second whatever else happens.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from types import FrameType

import fastgw
from fastgw import Event, Gateway, Intents, Opcode
from fastgw.testing import FakeGateway

HOME = Path(fastgw.__file__).parent
TESTING = HOME / "testing"


class Walk:
    """What is called between `begin()` and `end()`."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.calls: list[tuple[str, str]] = []
        self._tick: FrameType | None = None  # while it runs

    def begin(self) -> None:
        """Count from here on."""
        sys.setprofile(self._profile)

    def end(self) -> None:
        """Count no further; may be called twice."""
        sys.setprofile(None)

    def _profile(self, frame: FrameType, what: str, _: object) -> None:
        code = frame.f_code
        path = Path(code.co_filename)
        if self._tick is not None:
            if what == "return" and frame is self._tick:
                self._tick = None
        elif what == "call" and path.is_relative_to(HOME) and not path.is_relative_to(TESTING):
            if path.name == "loopwatch.py" and code.co_name == "_tick":
                self._tick = frame
                return
            name = getattr(code, "co_qualname", code.co_name)  # since Python 3.11
            self.calls.append((str(path.relative_to(HOME)), name))

    def show(self, *, calls: bool) -> None:
        """Print the counts, and each call when asked to."""
        files = len({file for file, _ in self.calls})
        sys.stdout.write(f"{self.title}: {len(self.calls)} calls in {files} files\n")
        for file, name in self.calls if calls else ():
            sys.stdout.write(f"    {file:28} {name}\n")


async def take() -> list[Walk]:
    """Take the walks, one after the other, with one gateway."""
    event, command, lost, close = walks = [
        Walk("an event to a synchronous handler"),
        Walk("a command"),
        Walk("a lost connection, from the end of TCP to RESUMED"),
        Walk("close()"),
    ]
    heard, resumed = asyncio.Event(), asyncio.Event()
    async with FakeGateway() as fake:
        gateway = Gateway("test-token", intents=Intents.default(), info=fake.info)

        @gateway.on("MESSAGE_DELETE")
        def on_event(_: Event) -> None:
            event.end()
            heard.set()

        @gateway.on("RESUMED")
        def on_resumed(_: Event) -> None:
            lost.end()
            resumed.set()

        async with gateway:
            await asyncio.sleep(0.2)  # what follows READY is not part of a walk
            shard = gateway.shards[0]
            event.begin()
            fake.dispatch("MESSAGE_DELETE", {"id": "1", "channel_id": "2", "guild_id": "3"})
            await heard.wait()
            await asyncio.sleep(0.2)
            command.begin()
            await shard.send(Opcode.PRESENCE_UPDATE, {"status": "online"})
            command.end()
            await asyncio.sleep(0.2)
            lost.begin()
            fake.cut()
            await resumed.wait()
            await asyncio.sleep(0.2)
            close.begin()
            await gateway.close()
            close.end()
    return walks


if __name__ == "__main__":
    for walk in asyncio.run(take()):
        walk.show(calls="-v" in sys.argv)
