"""
What one fuzz input means for fields and filters: the first byte picks a plan, the rest is d.

On valid JSON the compiled plan and the oracles must agree; nothing but DecodeError may come else.

    python tests/fuzz/fields_target.py FILE ...    plays inputs without libFuzzer
"""

from __future__ import annotations

import random
import sys
from array import array
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from filter_oracle import Agreement, random_filter
from payloads import PATHS

from fastgw._decode import Fields

_rng = random.Random(11)
PLANS = [
    Agreement(
        [random_filter(_rng) for _ in range(1 + i % 4)],
        Fields(*_rng.sample(PATHS, 1 + i % 5)),
        "GUILD_CREATE" if i % 4 == 0 else "X",
    )
    for i in range(256)
]


def one_input(view: memoryview) -> None:
    """Play one input; raise if a plan and the oracles differ or anything unexpected escapes."""
    if len(view) > 1:
        PLANS[view[0]].check(bytes(view[1:]), lambda text: array("B", text))


if __name__ == "__main__":
    for name in sys.argv[1:]:
        one_input(memoryview(Path(name).read_bytes()))
