"""
One entrant in a process of its own: `python -m bench.rig.client JOB`, JOB being a line of JSON.

It prints one line of JSON with the CPU seconds of the measured part, the sums of guild ids, the
peak memory and what the entrant adds. It ends without a clean shutdown on purpose: closing is not
what is measured.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import socket
import ssl
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from .meter import Meter


@dataclass(frozen=True)
class Job:
    """
    What an entrant is to do.

    Attributes:
        module: of the entrant, below `bench.entrants`.
        options: of the entrant.
        names: the event names it wants (or can deliver); everything else is dropped.
        everything: these are all names there are.
        reads: what the handlers add up; see `Entrant`.
        url: of the gateway, no query; its port is filled in when the server has told it.
        compression: none, zlib or zstd.
        ca_file: certificate to trust, when the URL is wss.
        control_port, control: where the server takes the line that names the session.
        prelude, measured: how many events of `names` each part has.
        prelude_messages, measured_messages: how many messages there are in all.
        settle_s: see `Meter`.
        built_dir: where that is which was compiled for the entrant, if anything.
        loop: "asyncio", or "" for uvloop where it is installed.
    """

    module: str
    options: dict[str, Any]
    names: list[str]
    everything: bool
    reads: str
    url: str
    compression: str
    ca_file: str
    control_port: int
    control: dict[str, Any]
    prelude: int
    measured: int
    prelude_messages: int
    measured_messages: int
    settle_s: float
    built_dir: str
    loop: str

    def ssl_context(self) -> ssl.SSLContext | None:
        """A context that trusts the benchmark's certificate; None for a plain URL."""
        if not self.url.startswith("wss:"):
            return None
        return ssl.create_default_context(cafile=self.ca_file)

    def gateway_url(self) -> str:
        """The URL with the query that a hand-written client adds itself."""
        query = "" if self.compression == "none" else f"&compress={self.compression}-stream"
        return f"{self.url}/?v=10&encoding=json{query}"


def gateway_compression(job: Job) -> str:
    """What `fastgw.Gateway` calls the compression of a job."""
    return job.compression if job.compression == "none" else f"{job.compression}-stream"


async def _run(job: Job) -> dict[str, Any]:
    control = socket.create_connection(("127.0.0.1", job.control_port))
    control.sendall(json.dumps(job.control).encode() + b"\n")
    job = replace(job, url=f"{job.url}:{int(control.makefile().readline())}")
    meter = Meter(job.prelude, job.measured, control, job.settle_s)
    entrant = importlib.import_module(f"bench.entrants.{job.module}")
    extra = await entrant.run(job, meter, **job.options)
    return {
        "cpu_s": meter.cpu_s,
        "wall_s": meter.wall_s,
        "checksums": meter.checksums,
        "peak_mb": _peak_mb(),
        **(extra or {}),
    }


def _peak_mb() -> float:
    """The largest resident size so far; 0 where the system does not tell."""
    # Not ru_maxrss: that one begins with the size of the process we were forked from.
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return 0.0
    line = next((line for line in status.splitlines() if line.startswith("VmHWM")), "VmHWM: 0 kB")
    return int(line.split()[1]) / 1024


def main() -> None:
    """Run the job given on the command line."""
    if hasattr(os, "sched_setaffinity") and len(os.sched_getaffinity(0)) > 1:
        # The server keeps to the first processor; moving between two would add noise.
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    job = Job(**json.loads(sys.argv[1]))
    if job.built_dir:
        sys.path.append(job.built_dir)
    try:
        import uvloop
    except ImportError:
        uvloop = None
    # What `bot.run()` of most libraries takes, whatever is installed.
    run = asyncio.run if uvloop is None or job.loop == "asyncio" else uvloop.run
    result = run(_run(job))
    print(json.dumps(result), flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()
