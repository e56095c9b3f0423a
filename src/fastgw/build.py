"""What this installation is built of: for bug reports, and for whoever wonders about speed."""

from __future__ import annotations

from dataclasses import dataclass

from ._decode import simd, zstd_library, zstd_package

__all__ = ["BuildInfo", "build_info"]


@dataclass(frozen=True, slots=True)
class BuildInfo:
    """
    How the compiled core was built, and with what it runs.

    Attributes:
        fastgw: its version.
        zstd: who decompresses: "static" or "shared" is libzstd inside the core, "package" the
            Python package, which costs a sixth more (set FASTGW_ZSTD when building).
        zstd_version: of libzstd, there or in the package.
        zlib: the package that inflates, with its version.
        simd: what scans: "avx2", "sse2", "neon" or "none".
        picows: its version.
    """

    fastgw: str
    zstd: str
    zstd_version: str
    zlib: str
    simd: str
    picows: str


def build_info() -> BuildInfo:
    """Tell what this installation of fastgw is built of."""
    library = zstd_library()
    linked, version = library if library is not None else ("package", zstd_package()[1])
    from importlib.metadata import version as installed  # brings the email package along

    return BuildInfo(
        fastgw=installed("fastgw"),
        zstd=linked,
        zstd_version=version,
        zlib=f"zlib-ng {installed('zlib-ng')}",
        simd=simd(),
        picows=installed("picows"),
    )
