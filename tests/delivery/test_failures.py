"""What becomes of a handler's error: logged, counted, and nobody else disturbed."""

import asyncio
import contextlib
import functools
import gc
import logging

import pytest

from fastgw.delivery.failures import FULL, QUIET_S, SUMMARY_S, HandlerFailures
from fastgw.delivery.handlers import Handlers
from fastgw.words import Intents


@pytest.mark.parametrize("others", [0, 1])
def test_a_failing_sync_handler_is_logged_and_counted(handlers, feed, caplog, others):
    """Handler, event and traceback are named; the other handlers run all the same."""
    ran = []

    def broken(event):
        raise RuntimeError("oh no")

    handlers.on(("A",), broken)
    for _ in range(others):
        handlers.on(("A",), ran.append)
    feed("A", b'{"secret":"text"}')
    (record,) = caplog.records
    assert "broken failed on A 1 of shard 0" in record.message
    assert record.exc_info[1].args == ("oh no",)
    assert "secret" not in caplog.text
    assert handlers.failures.counts == {"A": 1}
    assert len(ran) == others


@pytest.mark.parametrize("awaits", [False, True])
async def test_a_failing_async_handler_is_logged_and_counted(handlers, feed, caplog, awaits):
    """Whether it fails before or after its first await."""

    @functools.partial(handlers.on, ("A",))
    async def broken(event):
        if awaits:
            await asyncio.sleep(0)
        raise RuntimeError("oh no")

    feed("A")
    await handlers.tasks.drain(1.0)
    assert "broken failed on A 1" in caplog.text
    assert handlers.failures.counts == {"A": 1}


def test_nothing_is_logged_for_a_good_event(handlers, feed, caplog):
    """No log line per event."""
    caplog.set_level(logging.DEBUG)
    handlers.on(("A",), lambda event: None)
    feed("A")
    assert not caplog.records


@pytest.mark.parametrize("error", [asyncio.CancelledError, GeneratorExit, BaseException])
def test_a_strange_error_does_not_silence_the_next_handler(handlers, feed, error):
    """Test frameworks and cancelled code raise BaseExceptions that are no interrupts."""
    ran = []

    def first(event):
        raise error

    handlers.on(("A",), first)
    handlers.on(("A",), ran.append)
    feed("A")
    assert len(ran) == 1
    assert handlers.failures.counts == {"A": 1}


@pytest.mark.parametrize("others", [0, 1])
@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt()])
def test_an_interrupt_ends_the_gateway_and_silences_nobody(others, error):
    """The error itself goes to who ends it; it counts as no failure."""
    told, ran = [], []
    handlers = Handlers(Intents.all(), on_interrupt=told.append)

    def quits(event):
        raise error

    handlers.on(("A",), quits)
    for _ in range(others):
        handlers.on(("A",), ran.append)
    handlers.call(handlers.target_of("A"), "event")
    assert told == [error]
    assert len(ran) == others
    assert not handlers.failures.counts


@pytest.mark.parametrize("awaits", [False, True])
@pytest.mark.parametrize("library", ["asyncio", "uvloop"])
def test_an_interrupt_in_an_async_handler_is_told_once(library, awaits, caplog):
    """Where the loop raises it, too, it is told as soon as the loop goes on."""
    told = []
    handlers = Handlers(Intents.all(), on_interrupt=told.append)
    error = SystemExit(3)

    async def quits(event):
        if awaits:
            await asyncio.sleep(0)
        raise error

    async def main():
        handlers.call(quits, "event")
        await handlers.tasks.drain(5.0)

    loop = pytest.importorskip(library).new_event_loop()
    running = loop.create_task(main())
    for _ in range(2):
        with contextlib.suppress(SystemExit):
            loop.run_until_complete(running)
    loop.close()
    gc.collect()
    assert told == [error]
    # asyncio may say that nobody fetched the task's error: it was raised instead.
    assert not [record for record in caplog.records if record.name.startswith("fastgw")]


# ---------------------------------------------------------------------------- a flood of them


class Clock:
    now = 1_000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def failures(clock):
    return HandlerFailures(clock=clock)


def handle(event): ...


def other(event): ...


def fail(failures, times=1, error=RuntimeError, handler=handle):
    def fail_once():
        try:
            raise error("oh no")
        except BaseException as raised:
            failures.failed("an event", handler, raised)

    for _ in range(times):
        fail_once()


def test_a_handler_that_always_fails_is_logged_in_full_a_few_times(failures, caplog):
    """Then its failures only count: 10,000 of them are no more lines than a few."""
    fail(failures, 10_000)
    assert len(caplog.records) == FULL
    assert all(record.exc_info for record in caplog.records)
    assert "only counted" in caplog.records[-1].message
    assert failures.counts == {"str": 10_000}


def test_a_flood_is_told_in_numbers_now_and_then(failures, clock, caplog):
    """One line for all of a while, with the last error's text and no traceback."""
    fail(failures, FULL + 7)
    caplog.clear()
    clock.now += SUMMARY_S
    fail(failures)
    (record,) = caplog.records
    assert "handle failed 8 more times in 10 s, last on str: RuntimeError: oh no" in record.message
    assert record.exc_info is None
    fail(failures, 100)
    assert len(caplog.records) == 1


def test_after_a_quiet_while_a_failure_is_news_again(failures, clock, caplog):
    """With its traceback."""
    fail(failures, 100)
    caplog.clear()
    clock.now += QUIET_S
    fail(failures)
    assert caplog.records[-1].exc_info is not None


@pytest.mark.parametrize("kind", [{"error": KeyError}, {"handler": other}])
def test_another_error_or_handler_is_not_hidden_by_a_flood(failures, caplog, kind):
    """Each kind has its own count."""
    fail(failures, 100)
    caplog.clear()
    fail(failures, **kind)
    assert caplog.records[0].exc_info is not None


def test_the_kinds_told_apart_are_bounded(failures):
    """Lambdas made for each event do not grow a table for ever."""
    for number in range(1_000):
        fail(failures, error=type(f"Error{number}", (Exception,), {}))
    assert len(failures._kinds) <= 256


def test_names_that_the_service_makes_up_cost_little(handlers, feed, caplog):
    """Neither a table nor a log line grows by them."""

    def broken(event):
        raise RuntimeError

    handlers.on(("*",), broken)
    for number in range(1_500):
        feed(f"{'X' * 5_000}{number}" if number < 5 else f"NAME_{number}")
    assert sum(handlers.failures.counts.values()) == 1_500
    assert len(handlers.failures.counts) <= 1_025
    assert max(map(len, handlers.failures.counts)) <= 200
    assert all(len(record.message) < 500 for record in caplog.records)


def test_a_long_text_is_cut_where_failures_are_counted(failures, clock, caplog):
    """An error may quote a whole event."""
    fail(failures, FULL, error=lambda text: RuntimeError("x" * 1_000_000))
    caplog.clear()
    clock.now += SUMMARY_S
    fail(failures, error=lambda text: RuntimeError("x" * 1_000_000))
    assert len(caplog.records[0].message) < 1_000


def test_one_error_raised_again_and_again_does_not_grow(failures, clock):
    """Each raise adds to the traceback that the object carries; ours to keep it short."""
    error = RuntimeError("kept by the user")

    def depth():
        entry, length = error.__traceback__, 0
        while entry is not None:
            entry, length = entry.tb_next, length + 1
        return length

    for _ in range(1_000):
        try:
            raise error
        except RuntimeError:
            failures.failed("an event", handle, error)
        assert depth() <= 65
    fail(failures, error=lambda text: error)
    assert depth() > 0  # a short one is left as it is


def test_a_log_filter_that_raises_harms_nobody(failures, capsys):
    """As logging does with a log handler that raises: told on stderr."""

    class Broken(logging.Filter):
        def filter(self, record):
            raise ZeroDivisionError("the filter's own")

    log = logging.getLogger("fastgw.handlers")
    broken = Broken()
    log.addFilter(broken)
    try:
        fail(failures)
    finally:
        log.removeFilter(broken)
    assert "the filter's own" in capsys.readouterr().err
    assert failures.counts == {"str": 1}


class _Unprintable(Exception):
    def __str__(self):
        raise ValueError("no text")


class _NoName:
    def __call__(self, event): ...

    def __repr__(self):
        raise ValueError("no repr")


def test_what_cannot_be_printed_is_told_all_the_same(failures, clock, caplog):
    """Errors without a text, callables without a repr."""
    fail(failures, FULL, error=lambda _: _Unprintable(), handler=_NoName())
    clock.now += SUMMARY_S
    fail(failures, error=lambda _: _Unprintable(), handler=_NoName())
    assert "_NoName failed 1 more times" in caplog.text


# ---------------------------------------------------------------------------- handlers of errors


async def test_each_failure_is_told_to_handlers_of_errors(handlers, feed):
    """Sync and async ones: which error of which handler, on which event."""
    told = []

    async def later(failure):
        await asyncio.sleep(0)
        told.append(failure)

    def broken(event):
        raise RuntimeError("oh no")

    handlers.on_error(told.append)
    handlers.on_error(later)
    handlers.on(("A",), broken)
    event = feed("A")
    assert len(told) == 1
    await handlers.tasks.drain(1.0)
    assert told[0] is told[1]
    assert (told[0].handler, told[0].name, told[0].event) == (broken, "A", event)
    assert told[0].error.args == ("oh no",)


async def test_handlers_of_errors_hear_every_failure(handlers, feed, caplog):
    """Also those that are only counted in the log."""
    told = []

    async def broken(event):
        raise RuntimeError("oh no")

    handlers.on_error(told.append)
    handlers.on(("A",), broken)
    for _ in range(3 * FULL):
        feed("A")
    await handlers.tasks.drain(1.0)
    assert len(told) == 3 * FULL
    assert len(caplog.records) == FULL


async def test_what_a_handler_of_errors_raises_is_only_logged(handlers, feed, caplog):
    """It is not told of itself, and the next one hears the failure."""
    told = []

    def broken(event):
        raise RuntimeError("oh no")

    def worse(failure):
        raise ValueError("me too")

    async def worst(failure):
        await asyncio.sleep(0)
        raise ValueError("and I")

    for handler in (worse, worst, told.append):
        handlers.on_error(handler)
    handlers.on(("A",), broken)
    feed("A")
    await handlers.tasks.drain(1.0)
    assert len(told) == 1
    assert handlers.failures.counts == {"A": 1, "HandlerFailure": 2}
    assert "worse failed on HandlerFailure" in caplog.text
