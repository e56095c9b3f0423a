"""
twilight-gateway, a gateway library in Rust, in a program of its own: `bench/twilight`.

This process becomes that program, so it keeps its processor; the connection to the server is the
program's standard input. It trusts what SSL_CERT_FILE names, the benchmark's authority. (rustls
takes no authority's certificate for a server's own; the server's is none.)
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..rig.client import Job
from ..rig.meter import Meter


async def run(job: Job, meter: Meter, **_: Any) -> dict[str, Any]:
    """Hand the job over; the program prints what was measured."""
    program = Path(job.built_dir) / "bench-twilight"
    os.dup2(meter.control.fileno(), 0)
    environment = os.environ | {"SSL_CERT_FILE": job.ca_file}
    os.execve(program, [str(program), json.dumps(asdict(job))], environment)
