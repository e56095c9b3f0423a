"""A bot in a process of its own, which tells what happens to it in lines until it is killed."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

SUPPORT = Path(__file__).parent


class ChildBot:
    """
    Run one script of this folder.

    Attributes:
        lines: the whole lines that it wrote, each as its words.
    """

    def __init__(self, script: str, *arguments: str) -> None:
        self._command = [sys.executable, str(SUPPORT / script), *arguments]
        self.lines: list[list[str]] = []

    async def start(self) -> None:
        """Start the process; what it writes is read until its end."""
        self._process = await asyncio.create_subprocess_exec(
            *self._command, stdout=asyncio.subprocess.PIPE
        )
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            if line.endswith(b"\n"):  # else the kill came in the middle of it
                self.lines.append(line.decode().split())

    async def kill(self) -> None:
        """End it as nothing else does, and take in what it had written."""
        self._process.kill()
        await self._reading
        assert await self._process.wait() == -signal.SIGKILL

    def is_ready(self) -> bool:
        """Tell whether it was READY."""
        return any(words[:2] == ["status", "READY"] for words in self.lines)

    def numbers(self, word: str, at: int = 1) -> list[int]:
        """Return the numbers at one place of the lines that begin with a word."""
        return [int(words[at]) for words in self.lines if words[0] == word]
