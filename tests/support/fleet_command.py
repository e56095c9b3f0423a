"""`fastgw run` as an operator starts it, beside a fake gateway in the process of the test."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

from deadline import until
from stored import stored

SUPPORT = Path(__file__).parent
StartFleet = Callable[..., Awaitable["FleetCommand"]]
# Real processes, and both cores may be busy with something else.
PATIENCE_S = 40.0


class FleetCommand:
    """
    One command, its status lines and what its bots wrote down.

    Attributes:
        statuses: what it said, a JSON object a line.
        pids: of all workers that were seen.
    """

    def __init__(self, directory: Path) -> None:
        self.statuses: list[dict] = []
        self.pids: set[int] = set()
        self.path = directory / "state" / "fastgw.sqlite"
        self._directory = directory
        self._errors = directory / "stderr.txt"
        self._log = directory / "events.txt"
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task | None = None

    async def start(
        self, fake, *arguments, target="fleet_bot:gateway", stdin=None, stdout=None, stderr=None,
        form="--json", **environment,
    ):  # fmt: skip
        """Start it against a fake gateway; FleetCommand reads what it says, but from `stdout`."""
        self.path.parent.mkdir(exist_ok=True)
        environment = {
            "DISCORD_TOKEN": "not.a.token",
            "STATE_DIRECTORY": str(self.path.parent),
            "FLEET_BOT_LOG": str(self._log),
            "FLEET_BOT_QUEUE": str(self.path),
            "PYTHONPATH": str(SUPPORT),
            **environment,
        }
        with self._errors.open("ab") as errors:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "fastgw.cli", "run", target,
                form, "--api-url", fake.api_url, *arguments,
                stdin=asyncio.subprocess.DEVNULL if stdin is None else stdin,
                stdout=asyncio.subprocess.PIPE if stdout is None else stdout,
                stderr=errors if stderr is None else stderr,
                limit=1 << 20,
                env={k: v for k, v in (os.environ | environment).items() if v is not None},
                start_new_session=stdin is not None,
                preexec_fn=None if stdin is None else _take_terminal,
            )  # fmt: skip
        self._reading = asyncio.create_task(self._read())

    # --- what it says ----------------------------------------------------------------------------

    @property
    def pid(self) -> int:
        """Of the supervisor."""
        return self._process.pid

    @property
    def errors(self) -> str:
        """What supervisor and workers wrote to standard error."""
        return self._errors.read_text()

    @property
    def workers(self) -> list[dict]:
        """The workers, as last said."""
        return self.statuses[-1]["workers"] if self.statuses else []

    def lines(self, kind: str) -> list[list[str]]:
        """Return what the bots wrote of one kind, without that word."""
        if not self._log.exists():
            return []
        text = self._log.read_text()
        whole = text[: text.rfind("\n") + 1].splitlines()
        return [words[1:] for line in whole if (words := line.split(" "))[0] == kind]

    def is_ready(self, shards: int) -> bool:
        """Whether all shards are READY, by what it says."""
        return sum(w["ready"] for w in self.workers) == shards

    async def wait_ready(self, shards: int) -> None:
        """Wait until all shards are READY."""
        await until(lambda: self.is_ready(shards) or self.has_ended, PATIENCE_S)
        assert not self.has_ended, self.errors

    async def wait_stored(self, shards: int) -> None:
        """Wait until all shards are READY, and a kill costs none of them its session."""
        await self.wait_ready(shards)
        await until(lambda: stored(self.path) == shards, PATIENCE_S)

    # --- its end ---------------------------------------------------------------------------------

    @property
    def has_ended(self) -> bool:
        """Whether the supervisor is no more."""
        return self._process.returncode is not None

    def signal(self, number: int) -> None:
        """Send a signal to the supervisor."""
        self._process.send_signal(number)

    async def wait_ended(self) -> int:
        """Wait for the supervisor's end; return its exit code."""
        await until(lambda: self.has_ended, PATIENCE_S)
        await self._reading
        return self._process.returncode

    async def wait_workers_gone(self) -> None:
        """Wait until no process of a worker is left."""
        await until(lambda: not any(map(is_alive, self.pids)), PATIENCE_S)

    async def kill(self) -> None:
        """Kill all of it."""
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()
        await self._reading
        await self.wait_workers_gone()

    async def _read(self) -> None:
        stream = self._process.stdout
        while stream is not None and (line := await stream.readline()):
            status = json.loads(line)
            self.statuses.append(status)
            self.pids.update(w["pid"] for w in status["workers"] if w["pid"])


def is_alive(pid: int) -> bool:
    """Tell whether a process runs; one that nobody has waited for yet does not."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def kill(pid: int) -> None:
    """Kill a process at once, if it is there."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _take_terminal() -> None:
    """Make standard input the terminal of this session, as a login does."""
    import fcntl
    import termios

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
