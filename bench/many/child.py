"""Processes of a measurement: how they are started, told, and asked."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Coroutine
from typing import Any


class Child:
    """
    A module of this package in a process of its own, which talks in lines of JSON.

    Args:
        module: below `bench.many`.
        job: what it is told first.
    """

    def __init__(self, module: str, **job: Any) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", f"bench.many.{module}", json.dumps(job)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.said: dict[str, Any] = self.listen()

    def tell(self, do: str, **what: Any) -> None:
        """Tell it what to do next."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": do, **what}) + "\n")
        self._process.stdin.flush()

    def listen(self) -> dict[str, Any]:
        """Wait for its next line."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._process.args!r} ended with {self._process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def ask(self, do: str, **what: Any) -> dict[str, Any]:
        """Tell it what to do, and wait for the answer."""
        self.tell(do, **what)
        return self.listen()

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(60.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def loop_run(main: Coroutine[Any, Any, None]) -> None:
    """Run it on uvloop where that is installed."""
    try:
        import uvloop
    except ImportError:
        asyncio.run(main)
    else:
        uvloop.run(main)
