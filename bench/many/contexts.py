"""
What a decompression context holds, fresh and used, measured over many in one process.

For each compression a process of its own makes 256 decoders as connections have them, feeds each
the same session (a start-up burst and the usual mix, 1 MB of JSON), and looks at its resident
memory before, between and after.
"""

from __future__ import annotations

import json
import subprocess
import sys

from fastgw._decode import Decoder
from fastgw.testing.traffic.traffic import Traffic, encode

from ..rig.streams import compressor
from .resident import resident_bytes

COUNT = 256
PLAIN_BYTES = 1_000_000
KINDS = {"zlib": "zlib-stream", "zstd": "zstd-stream", "none": "none"}


def session(kind: str, plain_bytes: int = PLAIN_BYTES) -> list[bytes]:
    """Return the websocket messages of one session: guilds for half of it, then the usual mix."""
    traffic = Traffic(20_250_101, guilds=200)
    compress = compressor(kind)
    messages: list[bytes] = []
    plain = sequence = 0
    burst = iter(traffic.startup())
    while plain < plain_bytes:
        dispatch = next(burst, None) if plain < plain_bytes // 2 else None
        dispatch = dispatch or next(iter(traffic.dispatches(1)))
        sequence += 1
        message = encode(dispatch.name, sequence, dispatch.data)
        plain += len(message)
        messages.append(compress(message))
    return messages


def measure(kind: str) -> dict[str, float]:
    """Return KiB by decoder, fresh and used, in this process."""
    messages = session(kind)
    opcode = 1 if kind == "none" else 2
    # Whatever the process keeps for all of them, such as an output buffer, is there before.
    warm = Decoder(compression=KINDS[kind])
    for message in messages:
        warm.feed(message, opcode, True)
    before = resident_bytes()
    decoders = [Decoder(compression=KINDS[kind]) for _ in range(COUNT)]
    fresh = resident_bytes()
    for decoder in decoders:
        for message in messages:
            decoder.feed(message, opcode, True)
    used = resident_bytes()
    return {
        "fresh_kib": (fresh - before) / COUNT / 1024,
        "used_kib": (used - before) / COUNT / 1024,
        "wire_bytes": sum(map(len, messages)),
    }


def main() -> None:
    """Measure each compression in a process of its own, and print a table."""
    print(f"{COUNT} decoders each, {PLAIN_BYTES / 1e6:g} MB of JSON through every one")
    print(f"{'':12}{'fresh':>10}{'used':>10}{'on the wire':>14}")
    for kind in KINDS:
        child = [sys.executable, "-m", "bench.many.contexts", kind]
        answer = json.loads(subprocess.run(child, check=True, capture_output=True).stdout)
        print(
            f"{KINDS[kind]:12}{answer['fresh_kib']:>6.0f} KiB{answer['used_kib']:>6.0f} KiB"
            f"{answer['wire_bytes'] / 1024:>10.0f} KiB"
        )


if __name__ == "__main__":
    if sys.argv[1:]:
        print(json.dumps(measure(sys.argv[1])))
    else:
        main()
