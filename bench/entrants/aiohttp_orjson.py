"""A hand-written client on aiohttp and orjson."""

from __future__ import annotations

import asyncio

import aiohttp

from ..rig.client import Job
from ..rig.meter import Meter
from .handwritten import Client, decompressor


async def run(job: Job, meter: Meter) -> dict[str, str]:
    """Receive with `receive()`, no size limit."""
    client = Client(job, meter)
    tasks = set()
    session = aiohttp.ClientSession()
    websocket = await session.ws_connect(
        job.gateway_url(), ssl=job.ssl_context() or True, max_msg_size=0, compress=0
    )

    def send(command: bytes) -> None:
        task = asyncio.create_task(websocket.send_str(command.decode()))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    client.send = send
    decompress, take = decompressor(job.compression), client.take
    while not meter.done.is_set():
        message = await websocket.receive()
        if message.type is aiohttp.WSMsgType.BINARY or message.type is aiohttp.WSMsgType.TEXT:
            take(decompress(message.data))
        else:
            raise ConnectionError(f"the connection ended: {message}")
    return {"version": aiohttp.__version__}
