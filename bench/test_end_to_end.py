"""
Socket to handler: CPU of the client process by event, against what people use now.

steady: everything wanted. interactions: only INTERACTION_CREATE wanted, the same stream. startup:
the GUILD_CREATE burst. paced: one event per wake-up.
"""

from __future__ import annotations

import pytest

from . import scenarios
from .comparison import replayed_cpu_time

groups = scenarios.end_to_end


@pytest.mark.benchmark(timer=replayed_cpu_time)
def test_end_to_end(case, replay):
    """Replay the CPU seconds by event of one client."""
    replay(case)
