"""
Start the server once and a fresh client process for each measurement, and check what it counted.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import trustme

from .. import twilight
from ..entrants import Entrant
from ..floor import Floors
from .client import Job
from .comparison import UnavailableError
from .streams import LAST, Session, Workload, build

_ROOT = Path(__file__).parents[2]
# A start of 1,000 guilds is 5 s of CPU, and several times that where others work as well.
_CLIENT_TIMEOUT_S = 180


class WrongCountError(AssertionError):
    """A client did not see exactly the events it should have seen, or did not finish."""


class Runner:
    """
    Runs measurements one after the other; there is one for a whole run of the benchmark.

    Args:
        directory: for streams and the certificate; ours alone.
    """

    def __init__(self, directory: Path) -> None:
        self.floors = Floors()
        self._directory = directory
        self._sessions: dict[tuple[Workload, str], Session] = {}
        authority = trustme.CA()
        self._ca_file = directory / "ca.pem"
        authority.cert_pem.write_to_path(str(self._ca_file))
        chain = directory / "server.pem"
        authority.issue_cert("127.0.0.1", "localhost").private_key_and_cert_chain_pem.write_to_path(
            str(chain)
        )
        self._server = subprocess.Popen(
            [sys.executable, "-m", "bench.rig.server", str(chain)],
            cwd=_ROOT,
            stdout=subprocess.PIPE,
        )
        assert self._server.stdout is not None
        self._port = int(self._server.stdout.readline())

    def close(self) -> None:
        """End the server."""
        self._server.kill()
        self._server.wait()

    def session(self, workload: Workload, compression: str) -> Session:
        """Return a session, made on first use."""
        key = (workload, compression)
        if key not in self._sessions:
            self._sessions[key] = build(workload, compression, self._directory)
        return self._sessions[key]

    def forget_sessions(self) -> None:
        """Drop the prepared streams: a group is over, and they are large."""
        for session in self._sessions.values():
            session.path.unlink()
        self._sessions.clear()

    def measure(
        self,
        entrant: Entrant,
        workload: Workload,
        compression: str,
        *,
        tls: bool,
        wanted: frozenset[str] | None,
    ) -> dict[str, Any]:
        """
        Run an entrant once and check its counts.

        Args:
            wanted: event names its handlers are for; None means all.
        Returns:
            What the client printed, with `per_event_s`: CPU seconds by measured event of the
            stream, wanted or not.
        Raises:
            UnavailableError: a package or a floor is missing.
            WrongCountError: it did not see what it should have seen.
        """
        self._check_available(entrant, compression)
        session = self.session(workload, compression)
        job = self._job(entrant, session, tls=tls, wanted=wanted)
        result = self._run(entrant, job)
        if entrant.reads == "nothing":
            seen = (result["messages"], result["plain_bytes"])
            should = (session.messages[1], session.plain_bytes)
        else:
            seen = result["checksums"]
            expected = session.expect(job.names)
            kind = {"sequence": "sequences", "content": "contents"}.get(entrant.reads, "guild_ids")
            should = [getattr(part, kind) for part in expected]
        if seen != should:
            raise WrongCountError(f"{entrant.label} counted {seen}, not {should}")
        dispatches = 1 + len(session.prelude) + len(session.measured)  # READY is the first
        if result.get("dispatches", dispatches) != dispatches:
            raise WrongCountError(
                f"{entrant.label} saw {result['dispatches']} of {dispatches} messages"
            )
        result["per_event_s"] = result["cpu_s"] / workload.events
        return result

    def _check_available(self, entrant: Entrant, compression: str) -> None:
        if missing := entrant.missing():
            raise UnavailableError(f"{missing} is not installed")
        kind = entrant.floor.get(compression)
        if kind and (problem := self.floors.problem(kind)):
            raise UnavailableError(problem)
        if entrant.cargo and (problem := twilight.problem()):
            raise UnavailableError(problem)

    def _built_dir(self, entrant: Entrant) -> str:
        if entrant.floor:
            return str(self.floors.directory)
        return str(twilight.directory()) if entrant.cargo else ""

    def _job(
        self, entrant: Entrant, session: Session, *, tls: bool, wanted: frozenset[str] | None
    ) -> Job:
        names = entrant.names(session.names() if wanted is None else sorted(wanted | {LAST}))
        prelude, measured = session.expect(names)
        return Job(
            module=entrant.module,
            options=entrant.options_for(session.compression),
            names=names,
            everything=wanted is None,
            reads=entrant.reads,
            url=f"{'wss' if tls else 'ws'}://127.0.0.1",
            compression=session.compression,
            ca_file=str(self._ca_file),
            control_port=self._port,
            control={
                "path": str(session.path),
                "tls": tls,
                "per_second": session.workload.per_second,
            },
            prelude=prelude.events,
            measured=measured.events,
            prelude_messages=session.messages[0],
            measured_messages=session.messages[1],
            settle_s=entrant.settle_s,
            built_dir=self._built_dir(entrant),
            loop=entrant.loop,
        )

    def _run(self, entrant: Entrant, job: Job) -> dict[str, Any]:
        command = [sys.executable, "-m", "bench.rig.client", json.dumps(asdict(job))]
        try:
            run = subprocess.run(
                command,
                cwd=_ROOT,
                capture_output=True,
                text=True,
                timeout=_CLIENT_TIMEOUT_S,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise WrongCountError(
                f"{entrant.label} had not counted its last event after {_CLIENT_TIMEOUT_S} s: "
                f"events were lost, or came twice\n{_said(error.stdout)}{_said(error.stderr)}"
            ) from None
        if run.returncode:
            raise WrongCountError(
                f"{entrant.label} failed:\n{_said(run.stdout)}{_said(run.stderr)}"
            )
        return json.loads(run.stdout.splitlines()[-1])


def _said(output: bytes | str | None) -> str:
    """The end of what a client printed; a timeout gives bytes even in text mode."""
    text = output.decode(errors="replace") if isinstance(output, bytes) else output or ""
    return text[-3000:]
