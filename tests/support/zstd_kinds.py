"""The ways in which this build can decompress zstd, for tests that play both."""

from __future__ import annotations

from fastgw._decode import zstd_library

KINDS = ("library", "package") if zstd_library() else ("package",)
