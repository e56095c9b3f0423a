"""
Fields and filters over many mutated payloads, against the oracles; meant for the sanitizer build.

    PYTHON=.venv/bin/python tests/run_sanitized.sh --script tests/fuzz/many_fields.py INPUTS SEED

Every input is one or more mutations of a payload as a service sends it, at the end of memory of its
own size. It goes through plans of several filters and fields. Prints what was compared; the same
seed plays the same inputs.
"""

from __future__ import annotations

import json
import random
import sys
import time
from array import array
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from filter_oracle import Agreement, random_filter
from payloads import PATHS, random_data
from strategies import JUNK, generate_message

from fastgw._decode import Fields
from fastgw.testing.traffic.traffic import Traffic, encode

# A new set of payloads and plans for as many inputs.
PER_ROUND = 20_000
PIECES = (
    *JUNK, b'"id":', b'"author":{', b'"bot":true', b'"list":["5"]', b'\\u0069d', b'"5"', b"null",
    b"true", b"-0", b"1e5", b"[]", b"{}", b'"\\n"', b",", b"}", b'"content":"h',
)  # fmt: skip


def exact(data: bytes) -> Any:
    """Memory of just this size: bytes have a NUL behind them that hides an overread of one."""
    return array("B", data)


def payloads(rng: random.Random) -> list[bytes]:
    """Texts of d: of synthetic traffic, of random values at the paths, of generated messages."""
    traffic = Traffic(rng.randrange(1 << 30), guilds=3)
    texts = [
        encode("X", 1, {**dispatch.data, **random_data(rng)})
        for dispatch in traffic.dispatches(60)
        if isinstance(dispatch.data, dict)
    ]
    texts = [text[text.index(b'"d":') + 4 : -1] for text in texts if len(text) < 4_000]
    for _ in range(200):
        separators = rng.choice(((",", ":"), (",", ":"), (", ", ": ")))
        texts.append(
            json.dumps(
                random_data(rng), ensure_ascii=rng.random() < 0.3, separators=separators
            ).encode()
        )
    for _ in range(40):
        text = generate_message(rng, 1)
        texts.append(text[text.find(b'"d":') + 4 : -1] or b"0")
    return texts


def mutate(rng: random.Random, text: bytes, others: list[bytes]) -> bytes:
    """Change one thing or a few; also pieces of another payload come in."""
    for _ in range(1 + int(rng.random() * rng.random() * 4)):
        if not text:
            return b"{"
        at, roll = int(rng.random() * len(text)), rng.random()
        if roll < 0.25:
            text = text[:at] + bytes((int(rng.random() * 256),)) + text[at + 1 :]
        elif roll < 0.5:
            text = text[:at] + rng.choice(PIECES) + text[at:]
        elif roll < 0.65:
            text = text[:at] + text[at + 1 + int(rng.random() * 6) :]
        elif roll < 0.75:
            text = text[:at]
        elif roll < 0.85:
            end = at + int(rng.random() * 30)
            text = text[:end] + text[at:]
        else:
            other = rng.choice(others)
            start = int(rng.random() * len(other))
            text = text[:at] + other[start : start + int(rng.random() * 60)] + text[at:]
    return text


def main(inputs: int, seed: int) -> None:
    """Play the inputs."""
    valid = done = 0
    began = time.monotonic()
    while done < inputs:
        rng = random.Random(seed * 1_000_003 + done)
        texts = payloads(rng)
        plans = [
            Agreement(
                [random_filter(rng) for _ in range(rng.randrange(1, 5))],
                Fields(*rng.sample(PATHS, rng.randrange(1, 5))),
                rng.choice(("X", "X", "GUILD_CREATE")),
            )
            for _ in range(30)
        ]
        for _ in range(min(PER_ROUND, inputs - done)):
            text = (
                mutate(rng, rng.choice(texts), texts) if rng.random() < 0.95 else rng.choice(texts)
            )
            valid += rng.choice(plans).check(text, exact)
            done += 1
    minutes = (time.monotonic() - began) / 60
    print(
        f"{done} inputs of seed {seed}: {valid} valid JSON, as the oracles say; {minutes:.1f} min"
    )


if __name__ == "__main__":
    numbers = [int(argument) for argument in sys.argv[1:]]
    main(*(numbers + [100_000, 1][len(numbers) :]))
