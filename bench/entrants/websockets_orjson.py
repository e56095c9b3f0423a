"""A hand-written client on websockets and orjson."""

from __future__ import annotations

import asyncio

import websockets

from ..rig.client import Job
from ..rig.meter import Meter
from .handwritten import Client, decompressor


async def run(job: Job, meter: Meter) -> dict[str, str]:
    """Receive with `async for`, permessage-deflate off, no size limit."""
    client = Client(job, meter)
    tasks = set()
    websocket = await websockets.connect(
        job.gateway_url(),
        ssl=job.ssl_context(),
        compression=None,
        max_size=None,
        ping_interval=None,
    )

    def send(command: bytes) -> None:
        task = asyncio.create_task(websocket.send(command, text=True))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    client.send = send
    decompress, take = decompressor(job.compression), client.take
    async for message in websocket:
        take(decompress(message))
        if meter.done.is_set():
            break
    return {"version": websockets.__version__}
