"""The command line in a process of its own, beside a fake gateway in this one."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from contextlib import asynccontextmanager
from dataclasses import dataclass

from deadline import scaled

FASTGW = [sys.executable, "-m", "fastgw.cli"]
TOKEN = "MTIzNDU2Nzg5MDEyMzQ1Njc4.a-token-of-a-test.0123456789abcdef"
BOT_ID = "123456789012345678"


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    returncode: int
    stdout: str
    stderr: str


@asynccontextmanager
async def started(*arguments, token=TOKEN, stdout=asyncio.subprocess.PIPE, **environment):
    """Start `fastgw ...`, its output to a pipe or a descriptor; kill what is left at the end."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("DISCORD_")}
    if token is not None:
        env["DISCORD_TOKEN"] = token
    process = await asyncio.create_subprocess_exec(
        *FASTGW, *map(str, arguments),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=stdout,
        stderr=asyncio.subprocess.PIPE,
        env=env | environment,
        limit=16 * 1024 * 1024,
        # A shell's background job ignores SIGINT, and hands that down to all it starts.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def finished(process, interrupt=False):
    """Wait for its end, after a Ctrl-C if it is to be interrupted."""
    if interrupt:
        process.send_signal(signal.SIGINT)
    stdout, stderr = await asyncio.wait_for(process.communicate(), scaled(60))
    return Done(process.returncode, (stdout or b"").decode(), stderr.decode())


async def fastgw(*arguments, **environment):
    """Run `fastgw ...` to its end."""
    async with started(*arguments, **environment) as process:
        return await finished(process)


async def next_line(stream):
    """Return the next line that a command writes."""
    return (await asyncio.wait_for(stream.readline(), scaled(60))).decode()
