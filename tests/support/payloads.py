"""Payloads with values at the paths that the filters of tests look at. Knows nothing of fastgw."""

from __future__ import annotations

import random
from typing import Any

from strategies import TEXTS

PATHS = ("id", "guild_id", "author.id", "author.bot", "content", "list", "author")
IDS = ("5", "175928847299117063", "0", "x", "", "é", "a\nb", 5, 0, -7, 175928847299117063)


def random_data(rng: random.Random) -> dict[str, Any]:
    """Make values at the paths that decide one test or the other, now and then any at all."""

    def value() -> Any:
        return rng.choice((
            *IDS, *TEXTS, None, True, False, 1.5, 5.0, 2**63, [], {}, ["5", 0, "x", [5], "é"],
            list(map(str, range(7))), {"id": "5", "bot": True}, "hello",
        ))  # fmt: skip

    data = {path: value() for path in PATHS if "." not in path and rng.random() < 0.7}
    if rng.random() < 0.7:
        data["author"] = {key: value() for key in ("id", "bot", "name") if rng.random() < 0.8}
    items = list(data.items())
    rng.shuffle(items)
    return dict(items)
