"""
Replays after RESUME: what was missed comes again, in order, until RESUMED.

The decoder counts dispatches as they pass (`Sequence`) and cannot know which of them is a RESUMED.
`ReplayCounts` takes those out again and lives as long as the shard; a `Replay` is one RESUME's.
"""

from __future__ import annotations

from .._decode import Sequence

__all__ = ["Replay", "ReplayCounts"]


class ReplayCounts:
    """
    How many dispatches were replayed, new to us or not, over all connections of a shard.

    Args:
        sequence: the decoder's, which does the counting.
    """

    __slots__ = ("_resumed_new", "_resumed_repeated", "_sequence")

    def __init__(self, sequence: Sequence) -> None:
        self._sequence = sequence
        self._resumed_new = 0  # RESUMED among those that the sequence counted as new ...
        self._resumed_repeated = 0  # ... and as repeated

    @property
    def replayed(self) -> int:
        """Dispatches that were new to us."""
        return self.both()[0]

    @property
    def duplicates(self) -> int:
        """Dispatches that we had, and dropped."""
        return self.both()[1]

    def both(self) -> tuple[int, int]:
        """Return how many dispatches were new to us, and how many were not."""
        sequence = self._sequence
        return (
            sequence.replayed - self._resumed_new, sequence.duplicates - self._resumed_repeated
        )  # fmt: skip

    def take_out_resumed(self, *, was_new: bool) -> None:
        """Note a RESUMED: the sequence counted it like any dispatch."""
        self._resumed_new += was_new
        self._resumed_repeated += not was_new


class Replay:
    """
    One replay; made when RESUME is written.

    Attributes:
        resumed_from: the sequence that RESUME named.
    """

    __slots__ = ("_begin", "_counts", "_seen", "resumed_from")

    def __init__(self, counts: ReplayCounts, resumed_from: int) -> None:
        self.resumed_from = resumed_from
        self._counts = counts
        self._begin = self._seen = counts.both()

    def has_moved(self) -> bool:
        """Tell whether anything was replayed since the last call."""
        before, self._seen = self._seen, self._counts.both()
        return self._seen != before

    def has_news(self) -> bool:
        """Tell whether it has brought anything that was new to us."""
        return self._counts.replayed > self._begin[0]

    def ends_with(self, sequence: int | None) -> bool:
        """
        Tell whether a RESUMED with this sequence is its end.

        One of an earlier resume may be replayed among the rest: it is older than what RESUME named.
        One that merely repeats that sequence, or has none, is ours: not all number it anew.
        """
        return sequence is None or not 0 < sequence < self.resumed_from

    def end(self, sequence: int | None) -> tuple[int, int]:
        """Take the RESUMED that ends it; return how many were replayed: new to us, and not."""
        if sequence is not None and sequence >= 0:  # then it was counted
            self._counts.take_out_resumed(was_new=sequence > self.resumed_from)
        (new, repeated), (new_before, repeated_before) = self._counts.both(), self._begin
        return new - new_before, repeated - repeated_before
