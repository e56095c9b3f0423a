"""Handlers of fields and filters: what they are called with, for which events, how they fare."""

import asyncio
import contextlib

import pytest
from deadline import until

from fastgw import Event, Fields, UsageError, ValueSet, field
from fastgw._decode import Reading
from fastgw.delivery.face import EventSource
from fastgw.delivery.ledger import OVERHEAD_BYTES


@pytest.fixture
def source(handlers):
    """What a program registers with."""
    return EventSource(handlers)


# ------------------------------------------------------------------------------------------ fields


def test_a_sync_handler_takes_the_values(source, feed):
    """One by one, in the order of the paths, and no event is made of them."""
    seen = []

    @source.on("A", fields=("channel_id", "author.id", "content"))
    def handler(channel_id, author_id, content):
        seen.append((channel_id, author_id, content))

    feed("A", b'{"content":"hi","author":{"id":"2"},"channel_id":"1"}')
    feed("A", b'{"content":null}')
    assert seen == [("1", "2", "hi"), (None, None, None)]


@pytest.mark.parametrize("fields", [("id", "x"), ["id", "x"], Fields("id", "x")])
def test_missing_stands_for_what_is_not_there(source, feed, fields):
    """Not for null; and fields may be compiled before, or a list."""
    seen = []
    source.on("A", fields=fields, missing=0)(lambda *values: seen.append(values))
    feed("A", b'{"id":null}')
    feed("A", b'{"x":[1]}')
    assert seen == [(None, 0), (0, [1])]


async def test_an_async_handler_takes_the_values(source, feed):
    """Also where it starts later than its event, or has to wait for its turn."""
    seen, gate = [], asyncio.Event()

    @source.on("A", fields=("id", "x"), missing="-", bound=1)
    async def handler(number, x):
        await gate.wait()
        seen.append((number, x))

    for number in range(3):
        feed("A", b'{"id":%d}' % number)
    gate.set()
    await until(lambda: len(seen) == 3)
    assert seen == [(0, "-"), (1, "-"), (2, "-")]


async def test_what_waits_stands_in_the_ledger(source, handlers, feed):
    """With its sequence and the bytes of its message, until it is done."""
    gate = asyncio.Event()

    @source.on("A", fields=("id",))
    async def handler(number):
        await gate.wait()

    feed("B")
    feed("A", b'{"id":1}')
    ledger = handlers.ledgers[0]
    (delivery,) = ledger.deliveries
    assert isinstance(delivery.origin, Reading)
    assert delivery.size == len('{"t":"A","s":2,"op":0,"d":{"id":1}}') + OVERHEAD_BYTES
    assert ledger.handled(2) == 1
    gate.set()
    await until(lambda: not ledger.deliveries)
    assert ledger.handled(2) == 2


async def test_a_policy_drops_values_as_it_drops_events(source, handlers, feed):
    """And counts them."""
    gate, seen = asyncio.Event(), []

    @source.on("A", fields=("id",), bound=1, policy="drop_newest")
    async def handler(number):
        await gate.wait()
        seen.append(number)

    for number in range(5):
        feed("A", b'{"id":%d}' % number)
        await asyncio.sleep(0)
    gate.set()
    await until(lambda: not handlers.ledgers.bytes)
    assert seen == [0, 1]
    assert list(handlers.drops.counts.values()) == [3]


def test_handlers_of_all_forms_stand_in_one_line(source, feed):
    """In the order in which they came, whatever they take; a route is before them."""
    seen = []
    source.on("A")(lambda event: seen.append(event))
    source.on("A", fields=("id",))(lambda value: seen.append(value))
    source.on("*", where=field("id").exists())(lambda event: seen.append(event))
    source.route("A", lambda event: seen.append("route"))
    feed("A", b'{"id":"5"}')
    route, event, value, same = seen
    assert (route, value) == ("route", "5")
    assert type(event) is Event
    assert same is event


def test_once_is_spent_by_the_first_that_passes(source, handlers, feed):
    """Then the name is not wanted any more."""
    seen = []
    source.on("A", "B", fields=("id",), where=field("id").exists(), once=True)(seen.append)
    feed("A")
    feed("B", b'{"id":1}')
    feed("A", b'{"id":2}')
    assert seen == [1]
    assert not handlers.interests.is_wanted("A")


def test_once_is_not_spent_by_what_is_no_json(source, feed, caplog):
    """Nobody could be called for it."""
    seen = []
    source.on("A", fields=("id",), once=True)(seen.append)
    feed("A", b'{"id":tru}')
    feed("A", b'{"id":1}')
    assert seen == [1]
    assert "failed on A 1 of shard 0" in caplog.text


def test_one_that_came_by_fields_is_taken_back(source, handlers, feed):
    """off() finds it as any other."""
    seen = []
    source.on("A", "B", fields=("id",))(seen.append)
    assert source.off(seen.append, "A")
    feed("A", b'{"id":1}')
    feed("B", b'{"id":2}')
    assert source.off(seen.append)
    assert seen == [2]
    assert not handlers.interests.is_wanted("B")


# ---------------------------------------------------------------------------------------- failures


@pytest.mark.parametrize("is_async", [False, True])
async def test_an_error_names_event_and_sequence(source, handlers, feed, caplog, is_async):
    """There is no event, and yet it says as much as ever; an error handler has the values."""
    failures = []
    source.on_error(failures.append)

    def fails(value):
        raise RuntimeError(f"boom {value}")

    async def fails_later(value):
        await asyncio.sleep(0)
        fails(value)

    handler = fails_later if is_async else fails
    source.on("A", fields=("id",))(handler)
    feed("A", b'{"id":"7"}')
    await until(lambda: failures)
    (failure,) = failures
    assert (failure.name, failure.handler, str(failure.error)) == ("A", handler, "boom 7")
    assert (failure.event.sequence, failure.event.values) == (1, ("7",))
    assert handlers.failures.counts == {"A": 1}
    assert f"{handler.__qualname__} failed on A 1 of shard 0" in caplog.text


async def test_a_coroutine_given_back_runs(source, feed):
    """That of a lambda around a coroutine function."""
    seen = []

    async def handler(value):
        await asyncio.sleep(0)
        seen.append(value)

    source.on("A", fields=("id",))(lambda value: handler(value))
    feed("A", b'{"id":"7"}')
    await until(lambda: seen == ["7"])


# ----------------------------------------------------------------------------------------- filters


def test_a_filter_decides_before_anything_is_made(source, handlers, feed):
    """What nobody takes leads to nothing, and is counted."""
    seen = []
    human = ~field("author.bot").is_true()
    source.on("A", where=human & field("content").startswith("!"))(
        lambda event: seen.append(event.sequence)
    )
    assert feed("A", b'{"author":{"bot":true},"content":"!x"}') is None
    assert feed("A", b'{"content":"x"}') is None
    feed("A", b'{"content":"!x"}')
    assert seen == [3]
    assert handlers.interests.filtered() == {"A": 2}
    assert handlers.interests.counters()["A"][:2] == (3, 1)


def test_guilds_are_an_id_more_to_look_at(source, feed):
    """Events without a guild are rejected; a set may change while it runs."""
    guilds, seen = ValueSet({7}), []
    source.on("A", "GUILD_CREATE", guilds=guilds, where=field("id").exists())(
        lambda event: seen.append(event.guild_id)
    )
    feed("A", b'{"id":"1","guild_id":"7"}')
    feed("A", b'{"id":"1","guild_id":"8"}')
    feed("A", b'{"id":"7"}')
    feed("A", b'{"guild_id":"7"}')
    feed("GUILD_CREATE", b'{"id":"7"}')
    guilds.add("8")
    guilds.discard(7)
    feed("GUILD_CREATE", b'{"id":"8"}')
    feed("GUILD_CREATE", b'{"id":"7"}')
    assert seen == [7, 7, 8]


async def test_an_iterator_has_what_passes(source, feed):
    """The rest does not even wait in it."""
    stream = source.events("A", where=field("x").equals(1), guilds=[7], bound=1)
    for x, guild in ((2, 7), (1, 8), (1, 7)):
        feed("A", b'{"x":%d,"guild_id":"%d"}' % (x, guild))
    async with stream:
        assert (await stream.__anext__()).sequence == 3


async def test_a_waiter_is_asked_of_what_passes(source, feed):
    """The check sees no other event."""
    asked = []

    def check(event):
        asked.append(event.sequence)
        return len(asked) == 2

    wait = source.wait_for("A", where=field("x").equals(1), guilds={7}, check=check)
    task = asyncio.ensure_future(wait)
    await asyncio.sleep(0)
    for x, guild in ((2, 7), (1, 7), (1, 8), (1, 7), (1, 7)):
        feed("A", b'{"x":%d,"guild_id":"%d"}' % (x, guild))
    assert (await task).sequence == 4
    assert asked == [2, 4]


async def test_waiters_and_handlers_of_one_name_share_a_plan(source, feed):
    """A waiter is served first, whatever the handlers' filters say."""
    order = []
    source.on("A", fields=("x",), where=field("x").equals(1))(order.append)
    task = asyncio.ensure_future(source.wait_for("A", check=lambda _: order.append("waiter") or 1))
    await asyncio.sleep(0)
    feed("A", b'{"x":1}')
    await task
    feed("A", b'{"x":2}')
    assert order == ["waiter", 1]


# ---------------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"fields": "content"}, r"such as \('content',\), not 'content'"),
        ({"fields": 5}, "fields= is a tuple of paths"),
        ({"fields": ()}, "name at least one path"),
        ({"fields": ("a", 5)}, "a path is a str"),
        ({"fields": ("a..b",)}, "is not a path"),
        ({"fields": ("a", "embeds[0].title")}, "leads into a list.*: take 'embeds', the whole"),
        ({"fields": ["embeds[].title"]}, "leads into a list"),
        ({"fields": ("d.content",)}, "begin below the `d`.*, so write 'content'"),
        ({"missing": 0}, "missing= goes with fields="),
        ({"where": True}, "where= is a filter such as"),
        ({"where": lambda event: True}, "where= is a filter such as"),
        ({"where": field("x")}, r"ask .is_true\(\)"),
        ({"guilds": 81384788765712384}, "collection of ids"),
        ({"guilds": "81384788765712384"}, "collection of ids"),
        ({"guilds": [None]}, "a value is an int or a str"),
        ({"guilds": {"abc"}}, "takes ids, .*'abc' is none"),
        ({"guilds": iter([7, ""])}, "takes ids, .*'' is none"),
        ({"guilds": (-7,)}, "takes ids, .*-7 is none"),
    ],
)
def test_options_that_cannot_work_are_refused(source, options, text):
    """At once: before there is a handler."""
    with pytest.raises(UsageError, match=text):
        source.on("A", **options)


@pytest.mark.parametrize("path", ["attachments[0]", "d.author.id"])
def test_paths_of_filters_are_looked_at_too(path):
    """As those of fields=."""
    with pytest.raises(UsageError, match="the path"):
        field(path)


def test_a_member_that_is_called_d_can_be_read(source, feed):
    """Fields takes any path, for events that Discord may come to send."""
    seen = []
    source.on("A", fields=Fields("d.x"))(seen.append)
    feed("A", b'{"d":{"x":1}}')
    assert seen == [1]


@pytest.mark.parametrize("options", [{"where": 5}, {"guilds": 5}])
async def test_filters_of_iterators_and_waits_are_checked(source, options):
    """As those of handlers."""
    with pytest.raises(UsageError):
        source.events("A", **options)
    with pytest.raises(UsageError):
        await source.wait_for("A", **options)


@pytest.mark.parametrize(
    ("handler", "fields", "text"),
    [
        (lambda event: None, ("a", "b"), "called with 2 arguments, the values of a, b"),
        (lambda a, b: None, ("a",), "called with 1 argument, the values of a"),
        (lambda: None, ("a",), "called with"),
        (lambda a, *, b: None, ("a",), "missing a required"),
    ],
)
def test_a_handler_must_take_so_many_values(source, handlers, handler, fields, text):
    """Its signature is looked at as it is registered."""
    with pytest.raises(UsageError, match=text):
        source.on("A", fields=fields)(handler)
    assert not handlers.interests.is_wanted("A")


def test_any_callable_of_so_many_is_a_handler(source, feed):
    """Defaults, stars and builtins."""
    seen = []
    source.on("A", fields=("x", "y"))(lambda x, y, z=3: seen.append((x, y, z)))
    source.on("A", fields=("x", "y"))(lambda *values: seen.append(values))
    source.on("A", fields=("x",))(seen.append)
    feed("A", b'{"x":1,"y":2}')
    assert seen == [(1, 2, 3), (1, 2), 1]


@pytest.mark.parametrize(
    "misused",
    [
        lambda one: one and one,
        lambda one: one or one,
        lambda one: not one,
        bool,
    ],
)
def test_a_filter_has_no_truth(misused):
    """The words of Python would drop half of what was meant."""
    with pytest.raises(UsageError, match=r"join filters with & \| ~"):
        misused(field("x").exists())


def test_a_filter_s_refusal_leaves_nothing_behind(source, handlers):
    """A handler that was refused is not half registered."""
    with contextlib.suppress(UsageError):
        source.on("A", where=field("x").exists(), bound=3)(lambda event: None)
    assert not handlers.interests.is_wanted("A")
