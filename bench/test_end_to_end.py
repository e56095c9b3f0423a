"""
Socket to handler: CPU of the client process by event, against what people use now.

steady: everything wanted. interactions: only INTERACTION_CREATE wanted, the same stream. startup:
the GUILD_CREATE burst. paced: one event per wake-up.
"""

from __future__ import annotations

import pytest

from .rig import endtoend
from .rig.replay import replayed_cpu_time

comparisons = endtoend.comparisons


@pytest.mark.benchmark(timer=replayed_cpu_time)
def test_end_to_end(case, replay):
    """Replay the CPU seconds by event of one client."""
    replay(case)
