"""
Many shards come up and idle: how long, how large, and what it costs.

1,024 shards of one gateway over TLS with zlib-stream, with 16 identify keys whose times are scaled
down; beside it as many bare picows connections to the same service.
"""

from __future__ import annotations

from .child import Child

COUNT = 1_024
MAX_CONCURRENCY = 16
INTERVAL_S = 0.1
IDLE_S = 30.0


def main(count: int = COUNT) -> None:
    """Measure, and print what was promised beside what was found."""
    limits = {"max_concurrency": MAX_CONCURRENCY, "identify_interval_s": INTERVAL_S}
    with Child("service", **limits) as service:
        where = service.said
        with Child("bare", count=count, **where) as bare:
            floor = bare.said["bytes_each"]
        with Child(
            "fleet", count=count, max_concurrency=MAX_CONCURRENCY, interval_s=INTERVAL_S, **where
        ) as fleet:
            up = fleet.said
            idle = fleet.ask("idle", seconds=IDLE_S)
            stats = service.ask("stats")
    above = (up["bytes_each"] - floor) / 1024
    cpu = idle["user_ms_a_second"] + idle["system_ms_a_second"]
    print(
        f"{count} shards READY in {up['ready_s']:.1f} s, {up['ready_cpu_s']:.1f} s of CPU, "
        f"worst lag {up['lag_worst_s'] * 1000:.0f} ms"
    )
    print(f"identifies {stats['identifies']}, refused (bucket violations) {stats['refused']}")
    print(
        f"resident: {up['bytes_each'] / 1024:.0f} KiB a shard, {floor / 1024:.0f} KiB a bare "
        f"connection: {above:+.0f} KiB (promised: at most 30)"
    )
    print(
        f"idle: {cpu:.1f} ms of CPU a second, {idle['user_ms_a_second']:.1f} of them user time "
        f"(promised: at most 30)"
    )
    print(f"threads: {up['watch_threads']} watch the loop, {up['threads']} in all")


if __name__ == "__main__":
    main()
