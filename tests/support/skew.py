"""
A wall clock that is wrong by FASTGW_TEST_SKEW_S seconds, for who imports this first.

The clocks that count since a start are as they were: no one can set those.
"""

from __future__ import annotations

import os
import time

_SKEW_S = float(os.environ.get("FASTGW_TEST_SKEW_S", "0"))

if _SKEW_S:
    _time, _time_ns = time.time, time.time_ns
    time.time = lambda: _time() + _SKEW_S
    time.time_ns = lambda: _time_ns() + int(_SKEW_S * 1e9)
