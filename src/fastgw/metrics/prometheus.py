"""
The document as Prometheus reads it; needs the extra `metrics`.

Names and units are of its conventions: base units, `_total` for what only grows. A shard's figures
carry the label `shard`, those of an event name `event`, and none carries both: 2,000 names times
1,000 shards would be two million series.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from prometheus_client.core import (
    CollectorRegistry,
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from .streams import stream_families

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from prometheus_client.core import Metric

    from .document import Document

__all__ = ["CONTENT_TYPE", "FastgwCollector", "text_of"]

CONTENT_TYPE = CONTENT_TYPE_LATEST

# Figure of a shard now -> metric, what it is.
SHARD_NOW = {
    "is_ready": ("ready", "1 while it is READY"),
    "latency_s": ("latency_seconds", "Round trip of its last heartbeat"),
    "last_ack_age_s": ("last_ack_age_seconds", "Since a heartbeat was acknowledged"),
    "last_dispatch_age_s": ("last_event_age_seconds", "Since an event arrived"),
    "away_for_s": ("away_seconds", "Since it was READY last; absent while it is"),
    "commands_waiting": ("commands_waiting", "Commands that are not sent yet"),
    "send_room": ("send_room", "Commands that would be written at once"),
    "buffer_bytes": ("buffer_bytes", "Buffers of its connection"),
}
# Count of a shard -> metric, what it is.
SHARD_COUNTS = {
    "connections": ("connections", "Attempts to connect"),
    "identifies": ("identifies", "IDENTIFY commands written"),
    "resumes_won": ("resumes_won", "Attempts to resume that reached RESUMED"),
    "resumes_lost": ("resumes_lost", "Attempts to resume that did not"),
    "sessions_lost": ("sessions_lost", "Sessions that could not be resumed any more"),
    "events_replayed": ("events_replayed", "Events replayed after a resume"),
    "duplicates": ("duplicates", "Events dropped in a replay because they had come"),
    "messages": ("messages", "Gateway messages received"),
    "dispatches": ("events", "Events received"),
    "delivered": ("events_delivered", "Events handed to somebody"),
    "bytes_received": ("received_bytes", "Payload received, as it came"),
    "bytes_decoded": ("decoded_bytes", "Payload received, after decompression"),
    "commands_sent": ("commands_sent", "Commands written, heartbeats included"),
    "bytes_sent": ("sent_bytes", "Bytes of these commands"),
    "heartbeats": ("heartbeats", "Heartbeats answered"),
    "decompression_s": ("decompression_seconds", "Time for decompression, sampled"),
    "decode_s": ("decode_seconds", "Time for envelope and event, sampled"),
}
EVENT_COUNTS = {
    "seen": ("seen", "Events of the name that came"),
    "delivered": ("delivered", "Of these, that somebody was called for"),
    "filtered": ("filtered", "Of these, that every filter rejected"),
    "dropped": ("dropped", "Of these, that a policy dropped"),
    "bytes": ("bytes", "Size of all that came, after decompression"),
}
PROCESS_NOW = {
    "silent_for_s": ("loop_silent_seconds", "By how much the event loop's next tick is late"),
    "loop_lag_s": ("loop_lag_seconds", "By how much the event loop's last tick was late"),
    "loop_lag_worst_s": ("loop_lag_worst_seconds", "The worst of the last minute"),
    "handlers_running": ("handlers_running", "Async handlers that run"),
    "handlers_waiting": ("handlers_waiting", "Events that wait for an async handler"),
    "unhandled": ("unhandled_events", "Events that handlers and iterators have not finished"),
    "unhandled_bytes": ("unhandled_bytes", "What these hold"),
    "kept_bytes": ("kept_bytes", "Frames that wait for the next turn of the loop"),
}
# Of a process that takes a share of the shards by itself, now and counted.
SHARING_NOW = {
    "members": ("members", "Processes that share the shards out, as it sees them"),
    "share": ("share", "How many shards it should run"),
    "held": ("held", "How many it runs"),
    "answer_age_s": ("answer_age_seconds", "Since the server answered: leases are renewed, too"),
}
SHARING_COUNTS = {
    "taken": ("taken", "Shards that it took"),
    "handed_over": ("handed_over", "Shards that it gave up for others to take"),
    "fenced": ("fenced", "Shards that it put out because their leases were over"),
}
WHOLE_COUNTS = {
    "loop_blocked": ("loop_blocked", "How often the event loop stood still for 2.5 s"),
    "turns_cut": ("turns_cut", "How often events had to wait for the next turn of the loop"),
    "relieved": ("connections_relieved", "Connections replaced because of a large buffer"),
}


class FastgwCollector(Collector):
    """
    The metrics of a document, for a registry.

    Args:
        document: makes the document, each time that metrics are asked for.
    """

    def __init__(self, document: Callable[[], Document]) -> None:
        self._document = document

    def collect(self) -> Iterator[Metric]:
        """Return the metrics of this moment."""
        return _families(self._document())


def text_of(document: Document) -> bytes:
    """Return the exposition of a document."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(FastgwCollector(lambda: document))
    return generate_latest(registry)


def _families(document: Document) -> Iterator[Metric]:
    yield InfoMetricFamily("fastgw", "The program", {"version": document["fastgw"]})
    yield from _of_shards(document)
    yield from _of_processes(document["processes"])
    yield from _of_all(document["counts"], document["bounds_s"])
    yield from stream_families(document)
    if (budget := document["identify_budget"]) is not None:
        for name, text in (
            ("total", "Identifies a day"),
            ("remaining", "Of these, still free"),
            ("reserve", "Nothing identifies when this many are left"),
        ):
            yield GaugeMetricFamily(f"fastgw_identify_budget_{name}", text, budget[name])


def _of_shards(document: Document) -> Iterator[Metric]:
    shards = document["shards"]
    for figure, (name, text) in SHARD_NOW.items():
        family = GaugeMetricFamily(f"fastgw_shard_{name}", text, labels=["shard"])
        for shard in shards:
            if shard[figure] is not None:
                family.add_metric([str(shard["shard_id"])], float(shard[figure]))
        yield family
    counts = document["counts"]["shards"]
    missing = GaugeMetricFamily(
        "fastgw_shard_missing_events",
        "Sequences left out, that have not come late",
        None,
        ["shard"],
    )
    for shard_id, one in counts.items():
        missing.add_metric([shard_id], one["missing"])
    yield missing
    for count, (name, text) in SHARD_COUNTS.items():
        yield _counter(f"fastgw_shard_{name}", text, "shard", counts, count)
    for count, name, label, text in (
        ("reconnects", "reconnects", "cause", "Ends of connections"),
        ("close_codes", "close_codes", "code", "Close codes received"),
    ):
        ends = CounterMetricFamily(f"fastgw_shard_{name}", text, labels=["shard", label])
        for shard_id, one in counts.items():
            for value, number in one[count].items():
                ends.add_metric([shard_id, value], number)
        yield ends


def _of_processes(processes: list[dict[str, Any]]) -> Iterator[Metric]:
    for figure, (name, text) in PROCESS_NOW.items():
        family = GaugeMetricFamily(f"fastgw_{name}", text, labels=["process"])
        for process in processes:
            if process[figure] is not None:
                family.add_metric([str(process["index"])], process[figure])
        yield family
    restarts = {str(process["index"]): process for process in processes}
    sharing = {
        str(process["index"]): process["sharing"] for process in processes if process["sharing"]
    }
    if sharing:
        yield from _of_sharing(sharing)
    yield _counter("fastgw_restarts", "Workers started anew", "process", restarts, "restarts")


def _of_sharing(sharing: dict[str, dict[str, Any]]) -> Iterator[Metric]:
    for figure, (name, text) in SHARING_NOW.items():
        family = GaugeMetricFamily(f"fastgw_sharing_{name}", text, labels=["process"])
        for index, one in sharing.items():
            if one[figure] is not None:
                family.add_metric([index], one[figure])
        yield family
    for count, (name, text) in SHARING_COUNTS.items():
        yield _counter(f"fastgw_sharing_{name}", text, "process", sharing, count)


def _of_all(counts: dict[str, Any], bounds_s: list[float]) -> Iterator[Metric]:
    for count, (name, text) in EVENT_COUNTS.items():
        yield _counter(f"fastgw_events_{name}", text, "event", counts["events"], count)
    for count, (name, text) in WHOLE_COUNTS.items():
        yield CounterMetricFamily(f"fastgw_{name}", text, counts[count])
    for count, name, label, text in (
        ("handler_failures", "handler_failures", "event", "Handlers that raised"),
        ("events_dropped", "handler_dropped_events", "handler", "Events that a policy dropped"),
    ):
        family = CounterMetricFamily(f"fastgw_{name}", text, labels=[label])
        for value, number in counts[count].items():
            family.add_metric([value], number)
        yield family
    histogram = HistogramMetricFamily(
        "fastgw_latency_seconds",
        "Where the time goes, sampled: network, loop, delivery, queue, handler",
        labels=["part"],
    )
    for part, timing in counts["latency"].items():
        buckets, number = [], 0
        for bound, count in zip([*map(str, bounds_s), "+Inf"], timing["buckets"], strict=True):
            number += count
            buckets.append((bound, float(number)))
        histogram.add_metric([part], buckets, timing["total_s"])
    yield histogram


def _counter(
    name: str, text: str, label: str, entries: dict[str, dict[str, Any]], count: str
) -> CounterMetricFamily:
    family = CounterMetricFamily(name, text, labels=[label])
    for value, entry in entries.items():
        family.add_metric([value], entry[count])
    return family
