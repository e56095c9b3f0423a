"""What the demo measures: one moment of it, and its end."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Frame", "Summary"]


@dataclass(frozen=True, slots=True)
class Frame:
    """
    What the view shows: totals and rates at one moment. Bytes are decompressed JSON.

    Of several shards the figures are sums, the latency is the longest. `cut_at_s` is when all
    connections were cut, on purpose.
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
    cut_at_s: float | None = None


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
    cut_at_s: float | None = None

    @property
    def holds(self) -> bool:
        """Whether everything the demo promises was seen."""
        return not self.faults

    @property
    def faults(self) -> list[str]:
        """What of it was not, each in a few words."""
        # A busy machine may lose the connection once more; the session it must not lose.
        said = {
            "no event came": self.events == 0,
            f"{self.identifies} sessions for {self.shards} shards": self.identifies != self.shards,
            f"{self.resumes} resumes for {self.shards} cuts": self.resumes < self.shards,
            f"{self.lost} events were lost": self.lost != 0,
            f"{self.duplicated} events came twice": self.duplicated != 0,
            "handlers did not see what was sent": not self.checksum_matches,
        }
        return [fault for fault, is_so in said.items() if is_so]
