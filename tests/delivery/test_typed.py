"""Handlers of types: `@gateway.on(..., type=T)` passes an object of the user's own type."""

import ast
import asyncio
import inspect

import msgspec
import pytest
from deadline import until

from fastgw import DecodeError, UsageError, field, types
from fastgw.delivery import pull
from fastgw.delivery.face import EventSource
from fastgw.protocol.events import EVENT_NAMES


class Author(msgspec.Struct):
    id: str


class Message(msgspec.Struct):
    content: str
    author: Author


DATA = b'{"content":"hi","author":{"id":"2","bot":true},"more":1}'


@pytest.fixture
def source(handlers):
    """What a program registers with."""
    return EventSource(handlers)


def test_a_sync_handler_takes_the_object(source, feed):
    """In place of the event."""
    seen = []
    source.on("A", type=Message)(seen.append)
    feed("A", DATA)
    assert seen == [Message("hi", Author("2"))]


async def test_an_async_handler_takes_the_object(source, feed):
    """Also when it has waited for its turn: the text is kept, the object made as it begins."""
    seen, gate = [], asyncio.Event()

    @source.on("A", type=Message, bound=1)
    async def handler(message):
        await gate.wait()
        seen.append(message.content)

    feed("A", DATA)
    feed("A", DATA.replace(b"hi", b"ho"))
    gate.set()
    await until(lambda: len(seen) == 2)
    assert seen == ["hi", "ho"]


def test_a_filter_decides_before_anything_is_decoded(source, feed):
    """What it rejects may be of any shape."""
    seen = []
    source.on("A", type=Message, where=field("content").equals("hi"))(seen.append)
    assert feed("A", b'{"content":"ho"}') is None
    feed("A", DATA)
    assert len(seen) == 1


def test_handlers_of_several_forms_stand_side_by_side(source, feed):
    """Event, fields and types, each its own."""
    seen = []
    source.on("A")(lambda event: seen.append(event.data["more"]))
    source.on("A", type=Message)(lambda message: seen.append(message.author.id))
    source.on("A", type=dict)(lambda data: seen.append(data["content"]))
    source.on("A", fields=("author.bot",))(seen.append)
    feed("A", DATA)
    assert seen == [1, "2", "hi", True]


@pytest.mark.parametrize("is_async", [False, True])
async def test_what_does_not_fit_is_an_error_of_the_handler(source, handlers, feed, is_async):
    """Told with the event, and the next one is delivered."""
    seen, failures = [], []
    source.on_error(failures.append)

    async def async_handler(message):
        seen.append(message.content)

    handler = async_handler if is_async else lambda message: seen.append(message.content)
    source.on("A", type=Message)(handler)
    feed("A", b'{"content":1}')
    feed("A", DATA)
    await until(lambda: seen == ["hi"])
    (failure,) = failures
    assert isinstance(failure.error, DecodeError)
    assert failure.error.path == "content"
    assert failure.handler is handler
    assert (failure.name, failure.event.sequence) == ("A", 1)
    assert handlers.failures.counts == {"A": 1}


@pytest.mark.parametrize("is_async", [False, True])
async def test_once_is_not_spent_by_an_event_that_does_not_fit(source, feed, is_async):
    """It is told as an error; the first event that fits is the one."""
    seen, failures = [], []
    source.on_error(failures.append)

    async def async_handler(message):
        seen.append(message)

    source.on("A", type=Message, once=True)(async_handler if is_async else seen.append)
    for data in (b"{}", b"[", DATA, DATA):
        feed("A", data)
    await until(lambda: seen)
    await asyncio.sleep(0)
    assert seen == [Message("hi", Author("2"))]
    assert [failure.event.sequence for failure in failures] == [1, 2]


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"type": 5}, "5 is not a type to decode into"),
        ({"type": Message, "fields": ("id",)}, "values of fields=, or an object of type="),
        ({"type": Message, "missing": 0}, "values of fields=, or an object of type="),
    ],
)
def test_bad_forms_are_refused(source, options, text):
    """When they are registered."""
    with pytest.raises(UsageError, match=text):
        source.on("A", **options)


def test_names_with_a_type_have_an_overload():
    """What `events` and `wait_for` say to type checkers is what `PAYLOADS` says."""
    said = {"events": {}, "wait_for": {}}
    for node in ast.walk(ast.parse(inspect.getsource(pull))):
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) or node.name not in said:
            continue
        name = next((a for a in node.args.posonlyargs if a.arg == "name"), None)
        if name is not None:
            (literal,) = ast.literal_eval(ast.unparse(name.annotation).removeprefix("Literal"))
            said[node.name][literal] = ast.unparse(node.returns)
    kinds = {name: kind.__name__ for name, kind in types.PAYLOADS.items()}
    assert said["wait_for"] == {n: f"Event[types.{kind}]" for n, kind in kinds.items()}
    assert said["events"] == {n: f"EventStream[Event[types.{k}]]" for n, k in kinds.items()}
    assert set(kinds) <= EVENT_NAMES
