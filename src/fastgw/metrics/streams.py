"""
The metrics of events that go through Redis: `fastgw_stream_*`; see `prometheus`.

A publisher's figures of a group carry the label `group`, summed over the processes; so do a
consumer's, which is of one. No figure carries a shard: groups times shards would be thousands.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client.core import Metric

    from .document import Document

__all__ = ["stream_families"]

PUBLISHER_NOW = {
    "waiting": ("waiting_events", "Events that are not appended yet"),
    "waiting_bytes": ("waiting_bytes", "What these hold"),
    "answer_age_s": ("answer_age_seconds", "Since Redis answered"),
}
PUBLISHER_COUNTS = {
    "appended": ("appended_events", "Events that are in Redis, or lost to every group"),
    "fenced": ("fenced_events", "Events refused, as another process appends now"),
    "tails_lost": ("tails_lost", "How often Redis had lost what it acknowledged"),
    "commands": ("commands", "Commands of consumers"),
}
GROUP_NOW = {
    "entries": ("entries", "Entries that it has not handled"),
    "bytes": ("bytes", "What these hold"),
    "lost": ("untold_events", "Events that it lost and was not told of yet"),
    "oldest_age_s": ("oldest_age_seconds", "Since the first of its entries was appended"),
}
BOUNDS = {"lost_full": "full", "lost_too_big": "too_big"}
CONSUMER_NOW = {
    "share": ("share", "Mailboxes that it should have"),
    "lease_age_s": ("lease_age_seconds", "Since its leases were renewed"),
    "answer_age_s": ("answer_age_seconds", "Since Redis answered"),
    "backlog": ("backlog_events", "Events that were read and that no handler has got yet"),
}
CONSUMER_COUNTS = {
    "taken": ("taken_events", "Events handed out"),
    "handled": ("handled_events", "Events handled, and removed"),
    "redelivered": ("redelivered_events", "Events handed out that had been before"),
    "session_resets": ("session_resets", "Sessions that began anew"),
    "lost": ("lost_events", "Events that full mailboxes dropped, as LOST told"),
    "mailboxes_taken": ("mailboxes_taken", "How often a mailbox was leased"),
    "mailboxes_lost": ("mailboxes_lost", "How often one was another's before it was given back"),
}


def stream_families(document: Document) -> Iterator[Metric]:
    """Return the metrics of publishers and consumers, if the document has any."""
    processes, counts = document["processes"], document["counts"]
    if counts.get("publisher") is not None:
        yield from _of_publishers(processes, counts["publisher"])
    for process in processes:
        if process["consumer"] is not None and counts["consumer"] is not None:
            yield from _of_consumer(process["consumer"], counts["consumer"])


def _of_publishers(processes: list[dict[str, Any]], counts: dict[str, Any]) -> Iterator[Metric]:
    there = {str(p["index"]): p["publisher"] for p in processes if p["publisher"] is not None}
    for figure, (name, text) in PUBLISHER_NOW.items():
        family = GaugeMetricFamily(f"fastgw_stream_{name}", text, labels=["process"])
        for index, publisher in there.items():
            if publisher[figure] is not None:
                family.add_metric([index], publisher[figure])
        yield family
    groups: dict[str, list[dict[str, Any]]] = {}
    for publisher in there.values():
        for group, lag in publisher["groups"].items():
            groups.setdefault(group, []).append(lag)
    for figure, (name, text) in GROUP_NOW.items():
        family = GaugeMetricFamily(f"fastgw_stream_group_{name}", text, labels=["group"])
        for group, lags in groups.items():
            family.add_metric([group], _together(figure, lags))
        yield family
    for count, (name, text) in PUBLISHER_COUNTS.items():
        yield CounterMetricFamily(f"fastgw_stream_{name}", text, counts[count])
    lost = CounterMetricFamily(
        "fastgw_stream_lost_events",
        "Events that groups lost: they held all that they may, or the event was too big",
        labels=["group", "bound"],
    )
    for count, bound in BOUNDS.items():
        for group in counts[count].keys() | groups.keys():
            lost.add_metric([group, bound], counts[count].get(group, 0))
    yield lost


def _together(figure: str, lags: list[dict[str, Any]]) -> float:
    if figure == "oldest_age_s":  # nothing waits: it is not behind at all
        return max((lag[figure] or 0.0 for lag in lags), default=0.0)
    return float(sum(lag[figure] for lag in lags))


def _of_consumer(now: dict[str, Any], counts: dict[str, Any]) -> Iterator[Metric]:
    label = [now["group"]]
    figures = {
        "mailboxes": ("Mailboxes that it has", len(now["shard_ids"])),
        **{name: (text, now[figure]) for figure, (name, text) in CONSUMER_NOW.items()},
        **{
            f"lag_{name}": (text, _together(figure, [now["lag"]]))
            for figure, (name, text) in GROUP_NOW.items()
        },
    }
    for name, (text, value) in figures.items():
        family = GaugeMetricFamily(f"fastgw_stream_consumer_{name}", text, labels=["group"])
        if value is not None:
            family.add_metric(label, value)
        yield family
    for count, (name, text) in CONSUMER_COUNTS.items():
        counter = CounterMetricFamily(f"fastgw_stream_consumer_{name}", text, labels=["group"])
        counter.add_metric(label, counts[count])
        yield counter
