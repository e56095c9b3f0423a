"""Zstd is decompressed by libzstd or by a package; what holds for one holds for the other."""

import pytest
from zstd_kinds import KINDS

from fastgw._decode import use_zstd


@pytest.fixture(params=KINDS)
def each_zstd(request):
    """Run a test once for each way in which this build can decompress zstd."""
    before = use_zstd(request.param)
    yield request.param
    use_zstd(before)
