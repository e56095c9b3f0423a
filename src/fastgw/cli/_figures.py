"""What the demo measures: one moment of it, and its end."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Frame", "Summary"]


@dataclass(frozen=True, slots=True)
class Frame:
    """
    What the view shows: totals and rates at one moment. Bytes are decompressed JSON.

    Of several shards the figures are sums, the latency is the longest.
    """

    elapsed_s: float
    status: str
    events: int
    events_per_s: float
    megabytes_per_s: float
    dropped: int
    delivered: int
    decoded: int
    latency_ms: float | None
    cpu_us_per_event: float
    rss_mb: float
    ready: int = 1
    shards: int = 1


@dataclass(frozen=True, slots=True)
class Summary:
    """How the demo ended. `lost` and `duplicated` count dispatches, verified by sequence."""

    seconds: float
    events: int
    events_per_s: float
    megabytes: float
    compressed_megabytes: float
    dropped: int
    delivered: int
    decoded: int
    identifies: int
    resumes: int
    replayed: int
    lost: int
    duplicated: int
    checksum_matches: bool
    cpu_us_per_event: float
    peak_rss_mb: float
    shards: int = 1

    @property
    def holds(self) -> bool:
        """Whether everything the demo promises was seen."""
        return (
            self.events > 0
            # A busy machine may lose the connection once more; the session it must not lose.
            and self.identifies == self.shards
            and self.resumes >= self.shards
            and self.lost == 0
            and self.duplicated == 0
            and self.checksum_matches
        )
