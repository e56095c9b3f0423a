"""
The packages that could decompress a stream: one context, one flushed message after the other.

What fastgw uses is the baseline; the floors are the system's C libraries with a reused buffer.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import pytest

from .rig import inprocess
from .rig.comparison import Comparison, UnavailableError
from .rig.inprocess import later
from .rig.replay import replayed_cpu_time
from .rig.streams import compressor

# label -> module and what makes a decompressing object with `decompress(message)`.
_ZLIB = {
    "zlib_ng": ("zlib_ng.zlib_ng", "decompressobj"),
    "zlib (standard library)": ("zlib", "decompressobj"),
    "isal": ("isal.isal_zlib", "decompressobj"),
}
_ZSTD = {
    "zstd (standard library or backport)": ("", "ZstdDecompressor"),
    "zstandard": ("zstandard", "ZstdDecompressor"),
}


def comparisons(size: Any, _runner: Any) -> list[Comparison]:
    """Return a comparison for each compression and kind of traffic."""
    small = size.batches <= 3
    streams = {
        "mix": lambda: inprocess.mix(500 if small else 5_000),
        "GUILD_CREATE 79 KB": lambda: inprocess.messages("GUILD_CREATE", 79_000, 10),
        "GUILD_CREATE 250 KB": lambda: inprocess.messages("GUILD_CREATE", 250_000, 3),
    }
    return [
        _comparison(compression, packages, floor, kind, stream, size.batches)
        for compression, packages, floor in (("zlib", _ZLIB, "libz"), ("zstd", _ZSTD, "libzstd"))
        for kind, stream in streams.items()
    ]


def _comparison(
    compression: str,
    packages: dict[str, tuple[str, str]],
    floor: str,
    kind: str,
    stream: Callable[[], list[bytes]],
    rounds: int,
) -> Comparison:
    # Collecting needs the number of messages only, and making them takes a second: see below.
    counts = {"mix": 500 if rounds <= 3 else 5_000, "GUILD_CREATE 79 KB": 10}
    count = counts.get(kind, 3)

    def entrant(make: Callable[[], Callable[[list[bytes]], int]]) -> Any:
        def prepare() -> Callable[[], int]:
            plain = stream()
            assert len(plain) == count
            compress = compressor(compression)
            wire = [compress(message) for message in plain]
            total = sum(map(len, plain))

            def run() -> int:
                made = make()(wire)
                assert made == total, f"{made} bytes came out of {total}"
                return made

            return run

        return later(prepare, count)

    entrants = {
        label: entrant(lambda where=where: _package(*where)) for label, where in packages.items()
    }
    entrants[f"{floor}, reused buffer (C)"] = entrant(lambda: _floor(floor))
    return Comparison(
        name=f"compression {compression}, {kind}",
        baseline=(next(iter(packages)),),
        entrants=entrants,
        rounds=rounds,
    )


def _package(module: str, maker: str) -> Callable[[list[bytes]], int]:
    """Return a function that decompresses a stream with a fresh context of a package."""
    if not module:
        try:
            package = importlib.import_module("compression.zstd")
        except ImportError:
            package = importlib.import_module("backports.zstd")
    else:
        try:
            package = importlib.import_module(module)
        except ImportError:
            raise UnavailableError(f"{module} is not installed") from None
    context = getattr(package, maker)()
    if module == "zstandard":
        context = context.decompressobj()
    decompress = context.decompress

    def drain(wire: list[bytes]) -> int:
        made = 0
        for message in wire:
            made += len(decompress(message))
        return made

    return drain


def _floor(kind: str) -> Callable[[list[bytes]], int]:
    return inprocess.floor_module(kind).Floor(b"", -1, print).drain


@pytest.mark.benchmark(timer=replayed_cpu_time)
def test_compression(case, replay):
    """Replay the CPU seconds by message of one package."""
    replay(case)
