"""
Memory after the start-up burst, and after connections with a large read buffer were replaced.

Every shard gets guilds for 1 MB of JSON and the usual mix, and some a guild that their read buffer
has to double for again and again. Ten seconds between two looks are scaled down to a tenth of one.
The option lets large buffers go back to the system as well: docs/many-shards.md. A number of shards
may follow the name.
"""

from __future__ import annotations

import sys

from .child import Child
from .ready import INTERVAL_S, MAX_CONCURRENCY

COUNT = 256
PLAIN_BYTES = 1_000_000
RELIEF_BYTES = 64 * 1024


def main() -> None:
    """Measure, and print what was promised beside what was found."""
    count = int(sys.argv[2]) if sys.argv[2:] else COUNT
    limits = {"max_concurrency": MAX_CONCURRENCY, "identify_interval_s": INTERVAL_S}
    with Child("service", **limits) as service:
        where = service.said
        with Child("bare", count=count, **where) as bare:
            floor = bare.said["bytes_each"] / 1024
        with Child(
            "fleet",
            count=count,
            max_concurrency=MAX_CONCURRENCY,
            interval_s=INTERVAL_S,
            relief_bytes=RELIEF_BYTES,
            look_s=0.1,
            **where,
        ) as fleet:
            ready = fleet.said["bytes_each"] / 1024
            service.ask("burst", plain_bytes=PLAIN_BYTES)
            burst = fleet.ask("memory")["bytes_each"] / 1024
            quiet = fleet.ask("relief", timeout_s=600.0)
            after = quiet["bytes_each"] / 1024
    print(
        f"bare connection {floor:.0f} KiB; a shard when READY {ready:.0f}, after the burst "
        f"{burst:.0f}, after its relief {after:.0f}: {after - floor:+.0f} (promised: at most 60)"
    )
    print(
        f"{quiet['relieved']} of {count} connections replaced, {quiet['identifies'] - count} "
        f"identifies more"
    )


if __name__ == "__main__":
    main()
