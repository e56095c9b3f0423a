"""
What one fuzz input means, and what must hold for it: compiled == reference, and only
ProtocolError and its kin escape.

seeds.py says how an input is laid out.

    python tests/fuzz/decode_target.py FILE ...    plays inputs without libFuzzer
"""

from __future__ import annotations

import sys
import zlib
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))
sys.path.insert(0, str(Path(__file__).parents[1] / "decode"))

from reference_decoder import ReferenceDecoder, ReferenceSequence
from seeds import (
    COMPRESS,
    FEW,
    FIN,
    OTHER_ZSTD,
    REPLAY,
    SEPARATOR,
    SMALL,
    STRICT,
    WANT_ALL,
    WHOLE_FRAME,
)  # fmt: skip
from strategies import COMPRESSIONS, WANTED, Stream, zstd
from test_decode_differential import final_state, play
from zstd_kinds import KINDS

from fastgw._decode import Decoder, Sequence, use_zstd


class Compressor:
    """Compresses what the fuzzer wrote in plain, so that it gets past the decompressor."""

    def __init__(self, compression: str) -> None:
        self.compression = compression
        self.deflate = zlib.compressobj(1)
        self.zstd = zstd.ZstdCompressor(1)

    def __call__(self, data: bytes, whole: bool) -> bytes:
        if self.compression == "zlib-stream":
            return self.deflate.compress(data) + self.deflate.flush(zlib.Z_SYNC_FLUSH)
        if self.compression == "payload":
            return zlib.compress(data, 1)
        if self.compression == "zstd-stream":
            flush = zstd.ZstdCompressor.FLUSH_FRAME if whole else zstd.ZstdCompressor.FLUSH_BLOCK
            return self.zstd.compress(data, flush)
        return data


def one_input(view: memoryview) -> None:
    """Play one input to both decoders; raise if they differ or anything unexpected escapes."""
    if len(view) < 2:
        return
    options = view[0]
    compression = COMPRESSIONS[options & 3]
    compress = Compressor(compression)
    frames: list[tuple[Any, int, bool]] = []
    at = 1
    text = bytes(view)
    while at < len(text):
        end = text.find(SEPARATOR, at)
        end = len(text) if end < 0 else end
        kind, payload = text[at], view[at + 1 : end]
        if kind & COMPRESS:
            payload = compress(bytes(payload), bool(kind & WHOLE_FRAME))
        frames.append((payload, kind & 15, bool(kind & FIN)))
        at = end + 2
    arguments: dict[str, Any] = {
        "compression": compression,
        "interests": None if options & WANT_ALL else WANTED,
        "strict": bool(options & STRICT),
        "max_message_bytes": 64 if options & SMALL else 1 << 20,
        "max_fragments": 3 if options & FEW else 65_536,
    }
    sequences = Sequence(5), ReferenceSequence(5)
    if options & REPLAY:
        for sequence in sequences:
            sequence.start_replay()
    use_zstd(KINDS[-1 if options & OTHER_ZSTD else 0])
    decoder = Decoder(sequence=sequences[0], **arguments)
    reference = ReferenceDecoder(sequence=sequences[1], **arguments)
    stream = Stream(compression, frames, [])
    got = list(play(decoder, stream, lambda payload: payload))
    expected = list(play(reference, stream, bytes))
    if got != expected:
        raise AssertionError(f"compiled:  {got}\nreference: {expected}")
    got_state = final_state(decoder, sequences[0])
    expected_state = final_state(reference, sequences[1])
    if got_state != expected_state:
        raise AssertionError(f"compiled:  {got_state}\nreference: {expected_state}")
    if decoder.interests.counters() != reference.counters:
        raise AssertionError(f"{decoder.interests.counters()}\n{reference.counters}")


if __name__ == "__main__":
    for name in sys.argv[1:]:
        one_input(memoryview(Path(name).read_bytes()))
