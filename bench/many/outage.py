"""
An outage: all connections of a fleet are cut at once, and the gateway refuses for 40 seconds.

Once by TCP and once by 503. Then the time until all have resumed, the identifies that it cost, the
worst lag of the loop and the peak memory.
"""

from __future__ import annotations

from .child import Child
from .ready import COUNT, INTERVAL_S, MAX_CONCURRENCY

SECONDS = 40.0


def main(count: int = COUNT, seconds: float = SECONDS) -> None:
    """Measure both, and print them."""
    limits = {"max_concurrency": MAX_CONCURRENCY, "identify_interval_s": INTERVAL_S}
    with (
        Child("service", **limits) as service,
        Child(
            "fleet",
            count=count,
            max_concurrency=MAX_CONCURRENCY,
            interval_s=INTERVAL_S,
            **service.said,
        ) as fleet,
    ):
        begun = fleet.said["identifies"]
        print(f"{begun - count} identifies more than shards to become READY")
        for number, kind in enumerate(("tcp", "503"), 1):
            fleet.tell("recovery", resumes=number, timeout_s=seconds + 120.0)
            back_at = service.ask("outage", seconds=seconds, kind=kind)["back_at"]
            up = fleet.listen()
            print(
                f"{kind}: {up['ready']} of {count} up {up['up_at'] - back_at:.1f} s after its "
                f"return, {up['identifies'] - begun} identifies, worst lag "
                f"{up['lag_worst_s'] * 1000:.0f} ms, peak {up['peak_bytes'] / 2**20:.0f} MiB"
            )


if __name__ == "__main__":
    main()
