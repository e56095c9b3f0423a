"""
Everything that comes, as it came, in a file of lines. Needs DISCORD_TOKEN.

    python examples/archive.py events.jsonl

`event.raw` is the JSON text of the event's data: nothing is parsed here, and nothing is made of it
but the line. "*" stands for every event, also those that Discord does not document. A handler that
writes to a file blocks the loop for as long as the disk does; a buffer of a megabyte makes that
rare, and where it still matters, an iterator and a thread are the way (docs/handlers.md).
"""

import sys
from pathlib import Path
from typing import BinaryIO

from fastgw import Event, Gateway, Intents


def make_bot(file: BinaryIO, **options: object) -> Gateway:
    gateway = Gateway(intents=Intents.all(), **options)  # type: ignore[arg-type]

    @gateway.on("*")
    def keep(event: Event) -> None:
        head = b'{"t":"%s","s":%d,"shard":%d,"d":'
        file.write(head % (event.name.encode(), event.sequence, event.shard_id))
        file.write(event.raw)
        file.write(b"}\n")

    return gateway


if __name__ == "__main__":
    with Path(sys.argv[1]).open("ab", buffering=1 << 20) as file:
        make_bot(file).run()
