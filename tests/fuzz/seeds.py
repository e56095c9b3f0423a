"""
The layout of a fuzz input, and the first inputs, from the generated streams of the tests.

An input is one byte of options, then frames, separated by ff fe (which no UTF-8 text and hardly a
compressed piece holds). Each frame begins with one byte: opcode, FIN, and whether the target is to
compress it, so that what the fuzzer writes gets past the decompressor.

    python tests/fuzz/seeds.py DIRECTORY [decode_target | fields_target]
"""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from payloads import random_data
from strategies import COMPRESSIONS, generate_stream

SEPARATOR = b"\xff\xfe"
# options: bits 0-1 are the compression, then
WANT_ALL, STRICT, REPLAY, SMALL, FEW, OTHER_ZSTD = 4, 8, 16, 32, 64, 128
# frames: bits 0-3 are the opcode, then
FIN, COMPRESS, WHOLE_FRAME = 16, 32, 64


def write_seeds(directory: Path, count: int = 400) -> None:
    """Write generated streams: plain messages, whole and cut off, and frames as they are."""
    directory.mkdir(parents=True, exist_ok=True)
    for seed in range(count):
        stream = generate_stream(seed)
        options = bytes([COMPRESSIONS.index(stream.compression) | OTHER_ZSTD * (seed & 1)])
        kind = bytes([FIN | COMPRESS | (1 if stream.compression == "none" else 2)])
        plain = SEPARATOR.join(kind + message for message in stream.messages)
        (directory / f"plain-{seed}").write_bytes(options + plain)
        frames = SEPARATOR.join(bytes([fin * FIN | op & 15]) + p for p, op, fin in stream.frames)
        (directory / f"frames-{seed}").write_bytes(options + frames[:4000])
        # Text that breaks off where the memory ends: here an overread of one byte shows.
        message = stream.messages[0]
        for cut in {len(message) * i // 7 for i in range(8)}:
            (directory / f"cut-{seed}-{cut}").write_bytes(bytes([0, FIN | 1]) + message[:cut])


def write_field_seeds(directory: Path, count: int = 400) -> None:
    """Write payloads with values at the paths that plans look at; the first byte picks a plan."""
    directory.mkdir(parents=True, exist_ok=True)
    rng = random.Random(12)
    for i in range(count):
        text = json.dumps(random_data(rng), ensure_ascii=i % 3 == 0).encode()
        (directory / f"fields-{i}").write_bytes(bytes((i % 256,)) + text)


if __name__ == "__main__":
    if "fields_target" in sys.argv[2:]:
        write_field_seeds(Path(sys.argv[1]))
    else:
        write_seeds(Path(sys.argv[1]))
