"""
Some members of an event out of its JSON text: ours against what else reads only a part.

Without a socket: each entrant is given whole messages as they come out of decompression, one after
the other, and returns the same values. `event.read` makes an event of each message first, as the
gateway does; the others are spared the envelope and get `d` alone, cut out beforehand.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
import pytest

import fastgw
from fastgw._decode import Decoder, Interests
from fastgw.delivery.face import EventSource
from fastgw.delivery.handlers import Handlers
from fastgw.words import Intents

from .rig import inprocess
from .rig.comparison import Comparison, Target, UnavailableError
from .rig.inprocess import later
from .rig.replay import replayed_cpu_time

_TEXT = 1
ORJSON = "orjson.loads of d, and index"
READ = "fastgw, event.read"
CALLED = "fastgw, handler called with them"
MSGSPEC = "msgspec, Struct of these fields"
SIMDJSON = "pysimdjson, at_pointer"

# Event, size in bytes to look for, paths, distinct messages, messages of a batch.
_KINDS = (
    ("MESSAGE_CREATE", 1_200, ("channel_id", "author.id", "content"), 200, 10_000),
    ("INTERACTION_CREATE", 2_600, ("id", "token", "data.name", "member.user.id"), 100, 5_000),
    ("VOICE_STATE_UPDATE", 820, ("user_id", "channel_id", "session_id"), 200, 10_000),
    ("PRESENCE_UPDATE", 320, ("user.id", "status"), 200, 10_000),
    ("GUILD_CREATE", 94_000, ("id", "name", "member_count"), 10, 300),
)


def comparisons(size: Any, _runner: Any) -> list[Comparison]:
    """Return a comparison for each kind of event."""
    return [_comparison(size, *kind) for kind in _KINDS]


def _comparison(
    size: Any, name: str, wanted_size: int, paths: tuple[str, ...], count: int, batch: int
) -> Comparison:
    batch = batch if size.batches > 3 else max(count, batch // 20)

    def batched() -> list[bytes]:
        found = inprocess.messages(name, wanted_size, count)
        return (found * (batch // count + 1))[:batch]

    def of_messages(make: Callable[[], Callable[[bytes], Any]]) -> Any:
        return later(lambda: _each(make(), batched(), paths), batch)

    def of_data(make: Callable[[], Callable[[bytes], Any]]) -> Any:
        return later(lambda: _each(make(), batched(), paths, _data_of), batch)

    return Comparison(
        name=f"fields of {name}, {wanted_size} B: {', '.join(paths)}",
        baseline=(ORJSON,),
        entrants={
            ORJSON: of_data(lambda: _index(paths)),
            READ: of_messages(lambda: _read(name, paths)),
            CALLED: later(lambda: _called(name, paths, batched()), batch),
            MSGSPEC: of_data(lambda: _struct(paths)),
            SIMDJSON: of_data(lambda: _at_pointer(paths)),
        },
        rounds=size.batches,
        targets=tuple(Target(READ, 1.0, of=other) for other in (MSGSPEC, SIMDJSON, ORJSON)),
    )


def _data_of(text: bytes) -> bytes:
    return text[text.index(b'"d":') + 4 : -1]


def _each(
    read: Callable[[bytes], Any],
    messages: list[bytes],
    paths: tuple[str, ...],
    cut: Callable[[bytes], bytes] = bytes,
) -> Callable[[], int]:
    """A batch: read of each message; that it reads the same as all others is seen before."""
    index = _index(paths)
    for message in messages[:10]:
        assert read(cut(message)) == index(_data_of(message))
    texts = [cut(message) for message in messages]

    def run() -> int:
        for text in texts:
            read(text)
        return len(texts)

    return run


def _index(paths: tuple[str, ...]) -> Callable[[bytes], Any]:
    """What somebody writes: parse, then index; members that may be missing by get()."""
    lines = ["def read(text):", "    data = loads(text)"]
    values = []
    for path in paths:
        *above, last = path.split(".")
        where = "data" + "".join(f"[{key!r}]" for key in above)
        values.append(f"{where}.get({last!r})")
    lines.append(f"    return {', '.join(values)}")
    return _compiled(lines, loads=orjson.loads)


def _struct(paths: tuple[str, ...]) -> Callable[[bytes], Any]:
    """A Struct that has these members and no others."""
    try:
        import msgspec
    except ImportError:
        raise UnavailableError("msgspec is not installed") from None
    tree: dict[str, Any] = {}
    for path in paths:
        *above, last = path.split(".")
        node = tree
        for key in above:
            node = node.setdefault(key, {})
        node[last] = None

    def struct(name: str, members: dict[str, Any]) -> Any:
        fields = [
            (key, struct(key, below)) if below else (key, str | int | None, None)
            for key, below in sorted(members.items(), key=lambda item: not item[1])
        ]
        return msgspec.defstruct(name, fields, gc=False)

    decode = msgspec.json.Decoder(struct("Data", tree)).decode
    values = ", ".join(f"data.{path}" for path in paths)
    return _compiled(
        ["def read(text):", "    data = decode(text)", f"    return {values}"], decode=decode
    )


def _at_pointer(paths: tuple[str, ...]) -> Callable[[bytes], Any]:
    """One parser, whose document is left before the next is parsed."""
    try:
        import simdjson
    except ImportError:
        raise UnavailableError("pysimdjson is not installed") from None
    pointers = [f"/{path.replace('.', '/')}" for path in paths]
    values = ", ".join(f"at({pointer!r})" for pointer in pointers)
    return _compiled(
        ["def read(text):", "    at = parse(text).at_pointer", f"    return {values}"],
        parse=simdjson.Parser().parse,
    )


def _read(name: str, paths: tuple[str, ...]) -> Callable[[bytes], Any]:
    feed = Decoder(interests=Interests({name})).feed
    fields = fastgw.Fields(*paths)
    return lambda text: feed(text, _TEXT, True).read(fields)


def _called(name: str, paths: tuple[str, ...], texts: list[bytes]) -> Callable[[], int]:
    """The whole way from the message to the handler, as the listener goes it."""
    handlers, index = Handlers(Intents.all()), _index(paths)
    count, last = 0, None

    def handler(*values: Any) -> None:
        nonlocal count, last
        count += 1
        last = values

    EventSource(handlers).on(name, fields=paths)(handler)
    feed = Decoder(interests=handlers.interests).feed

    def run() -> int:
        nonlocal count
        count = 0
        for text in texts:
            feed(text, _TEXT, True).make()
        assert last == index(_data_of(texts[-1]))
        return count

    return run


def _compiled(lines: list[str], **names: Any) -> Callable[[bytes], Any]:
    """Code as it would stand in a program, without loops over paths."""
    exec("\n".join(lines), names)
    return names["read"]  # type: ignore[no-any-return]


@pytest.mark.benchmark(timer=replayed_cpu_time)
def test_fields(case, replay):
    """Replay the CPU seconds by event of one way to read its members."""
    replay(case)
