"""
The two processes of `test_netns.py`: a FakeGateway that dispatches all the time, and a client.

    python netns_ends.py serve ADDRESS
    python netns_ends.py connect URL LOOP

Each says what happens as one JSON object a line, and takes numbers and words on its standard input.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

INTERVAL_MS = 300


def say(**what: Any) -> None:
    print(json.dumps(what), flush=True)


async def told() -> str:
    """Wait for the next line on standard input; nothing means that the test is gone."""
    return (await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)).strip()


async def serve(address: str) -> None:
    from fastgw.testing import FakeGateway

    # The service's own patience would end the session with 4009 while the wire is cut.
    async with FakeGateway(
        host=address, heartbeat_interval_ms=INTERVAL_MS, heartbeat_patience=None
    ) as fake:
        say(url=fake.url)
        await fake.wait_ready(timeout_s=60.0)  # the client is a process that starts now
        stopped = asyncio.ensure_future(told())
        sent = 0
        while not stopped.done():
            fake.dispatch("MESSAGE_CREATE", {"n": sent})
            sent += 1
            await asyncio.sleep(0.005)
        say(sent=sent, identifies=len(fake.identifies), resumes=len(fake.resumes))
        await told()


async def connect(url: str) -> None:
    from fastgw.fleet.http.gateway_info import GatewayInfo
    from fastgw.gateway import Gateway
    from fastgw.protocol.timeouts import Timeouts
    from fastgw.words import Intents

    gateway = Gateway(
        "not.a.token",
        intents=Intents.default(),
        info=GatewayInfo(url),
        timeouts=Timeouts(open_s=0.5, hello_s=0.5, close_s=0.3, tls_shutdown_s=0.2),
        random=lambda: 0.1,  # the delays between attempts are drawn; short ones for a short test
    )
    seen: list[int] = []
    gateway.on("MESSAGE_CREATE")(lambda event: seen.append(event.data["n"]))

    @gateway.on_status
    def status_changed(change: Any) -> None:
        say(status=change.new.value, cause=change.cause and change.cause.value)

    async with gateway:
        expected = int(await told() or 0)
        for _ in range(1_000):
            if len(seen) >= expected:
                break
            await asyncio.sleep(0.02)
        stats = gateway.shards[0].stats()
        say(seen=seen, reconnects=stats.reconnects, identifies=stats.identifies)


def main(role: str, where: str, loop: str = "asyncio") -> None:
    work = serve(where) if role == "serve" else connect(where)
    if loop == "uvloop":
        import uvloop

        uvloop.run(work)
    else:
        asyncio.run(work)


if __name__ == "__main__":
    main(*sys.argv[1:])
