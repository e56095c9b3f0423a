"""The end of a gateway: close() in every state, from anywhere, and what it leaves behind."""

import asyncio
import contextlib
import traceback

import pytest
from deadline import scaled, until
from gateways import gateway_to
from inside import inside

from fastgw.errors import AuthenticationFailed, HandshakeRefused, Interrupted, UsageError
from fastgw.fleet.stores.sessions import MemorySessionStore, SessionWriter
from fastgw.fleet.turns.identify import LocalIdentifyQueue
from fastgw.protocol.states import State


async def test_close_ends_the_session(fake):
    """1000: the bot goes offline at once, the session is gone."""
    async with gateway_to(fake) as gateway:
        pass
    assert fake.service.sessions == {}
    assert gateway.shards[0].status is State.STOPPED
    await gateway.wait_closed()


async def test_no_other_end_uses_1000(fake):
    """case 33: reconnecting closes with 4000, so the session lives."""
    codes = []
    async with gateway_to(fake) as gateway:
        connection = fake.connection()
        fake.reconnect()
        await until(lambda: fake.resumes)
        await gateway.wait_ready()
        codes.append(connection.peer.close_code)
    assert codes == [4000]
    assert len(fake.identifies) == 1


async def test_close_waits_for_running_handlers(fake):
    """As long as drain_s says."""
    gateway = gateway_to(fake, drain_s=scaled(5.0))
    ended = []

    @gateway.on("MESSAGE_CREATE")
    async def handler(event):
        await asyncio.sleep(0.05)
        ended.append(event.sequence)

    await gateway.start()
    await gateway.wait_ready()
    fake.dispatch("MESSAGE_CREATE", {})
    await until(lambda: gateway.health().handlers_running)
    await gateway.close()
    assert ended == [2]


async def test_close_cancels_handlers_that_take_too_long(fake):
    """After drain_s seconds."""
    gateway = gateway_to(fake, drain_s=0.01)
    cancelled = []

    @gateway.on("MESSAGE_CREATE")
    async def handler(event):
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.append(event.sequence)

    await gateway.start()
    await gateway.wait_ready()
    fake.dispatch("MESSAGE_CREATE", {})
    await until(lambda: gateway.health().handlers_running)
    await gateway.close()
    assert cancelled == [2]


def _refused(gateway, fake):
    fake.close(4004)
    return AuthenticationFailed


def _exited(gateway, fake):
    @gateway.on("TYPING_START")
    def leave(event):
        raise SystemExit(3)

    fake.dispatch("TYPING_START", {})
    return Interrupted


@pytest.mark.parametrize("ends", [_refused, _exited])
async def test_handlers_have_the_same_grace_whatever_ends_it(fake, caplog, ends):
    """A refusal, or a handler that ends the program: drain_s is as the gateway was told."""
    gateway = gateway_to(fake, drain_s=0.25)

    @gateway.on("MESSAGE_CREATE")
    async def handler(event):
        await asyncio.Event().wait()

    await gateway.start()
    await gateway.wait_ready()
    fake.dispatch("MESSAGE_CREATE", {})
    await until(lambda: gateway.health().handlers_running)
    error = ends(gateway, fake)
    with pytest.raises(error):
        await gateway.wait_closed()
    assert "cancelled after 0.2 s of grace" in caplog.text


async def test_a_handler_may_close_the_gateway(fake):
    """It is not waited for by its own close()."""
    gateway = gateway_to(fake, drain_s=60.0)
    done = []

    @gateway.on("MESSAGE_CREATE")
    async def handler(event):
        await gateway.close()
        done.append(event.sequence)

    await gateway.start()
    await gateway.wait_ready()
    fake.dispatch("MESSAGE_CREATE", {})
    await asyncio.wait_for(gateway.wait_closed(), 5.0)
    await until(lambda: done)


async def test_a_handler_may_join_a_close_that_waits_for_it(fake):
    """Also after draining began: from then on nobody waits for that handler."""
    gateway = gateway_to(fake, drain_s=60.0)
    closing, done = asyncio.Event(), []

    @gateway.on("MESSAGE_CREATE")
    async def handler(event):
        await closing.wait()
        await gateway.close()
        done.append(event.sequence)

    await gateway.start()
    await gateway.wait_ready()
    fake.dispatch("MESSAGE_CREATE", {})
    await until(lambda: gateway.health().handlers_running)
    ending = asyncio.ensure_future(gateway.close())
    await until(lambda: gateway.shards[0].status is State.STOPPED)
    await asyncio.sleep(0.05)  # the socket is gone, and the handler is waited for
    assert not ending.done()
    closing.set()
    await asyncio.wait_for(ending, scaled(5.0))
    await until(lambda: done)


async def test_a_handler_that_joins_a_close_leaves_others_their_grace(fake):
    """Only the joining one is no longer waited for."""
    gateway = gateway_to(fake, drain_s=60.0)
    ended = []

    @gateway.on("MESSAGE_CREATE")
    async def closes(event):
        await gateway.close()
        ended.append("closes")

    @gateway.on("MESSAGE_CREATE")
    async def works(event):
        await asyncio.sleep(0.1)
        ended.append("works")

    await gateway.start()
    await gateway.wait_ready()
    fake.dispatch("MESSAGE_CREATE", {})
    await asyncio.wait_for(gateway.wait_closed(), scaled(5.0))
    await until(lambda: len(ended) == 2)
    assert ended == ["works", "closes"]


async def test_close_twice_at_once_and_again(fake):
    """All of them return when it is closed."""
    gateway = gateway_to(fake)
    await gateway.start()
    await gateway.wait_ready()
    await asyncio.gather(gateway.close(), gateway.close())
    await gateway.close()
    assert fake.service.sessions == {}


async def test_close_before_start(fake):
    """Nothing was begun: nothing happens, and start() is refused then."""
    gateway = gateway_to(fake)
    await gateway.close()
    with pytest.raises(UsageError, match="closed"):
        await gateway.start()


async def _while_asking(fake, gateway):
    fake.answer_api(503, times=None)
    await until(lambda: fake.api_requests)


async def _while_upgrading(fake, gateway):
    fake.ignore_upgrade(times=None)
    await until(lambda: gateway.shards and gateway.shards[0].status is State.CONNECTING)


async def _while_awaiting_hello(fake, gateway):
    fake.never_hello(times=None)
    await until(lambda: gateway.shards and gateway.shards[0].status is State.AWAITING_HELLO)


async def _while_identifying(fake, gateway):
    fake.mute("READY")
    await until(lambda: fake.identifies)


async def _while_backing_off(fake, gateway):
    fake.refuse_upgrade(503, times=None)
    await until(lambda: gateway.shards and gateway.shards[0].health().last_error)


async def _while_resuming(fake, gateway):
    fake.mute("RESUMED")
    await until(fake.is_ready)
    await gateway.wait_ready()
    fake.cut()
    await until(lambda: fake.resumes)


@pytest.mark.parametrize(
    "moment",
    [
        _while_asking, _while_upgrading, _while_awaiting_hello, _while_identifying,
        _while_backing_off, _while_resuming,
    ],
)  # fmt: skip
async def test_close_wins_in_every_state(fake, moment):
    """case 48: also while connecting: nothing connects or identifies after close()."""
    gateway = gateway_to(fake, info=None, api_url=fake.api_url)
    starting = asyncio.ensure_future(gateway.start())
    await moment(fake, gateway)
    await asyncio.wait_for(gateway.close(), 10.0)
    await asyncio.gather(starting, return_exceptions=True)
    upgrades, identifies = len(fake.upgrades), len(fake.identifies)
    await until(lambda: not fake.connections)
    await asyncio.sleep(0.05)
    assert (len(fake.upgrades), len(fake.identifies)) == (upgrades, identifies)


async def test_cancelling_start_leaves_nothing(fake):
    """Whoever waits may stop waiting."""
    fake.mute("READY")
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(_enter(gateway_to(fake)), 0.1)
    await until(lambda: not fake.connections)


async def _enter(gateway):
    async with gateway:
        raise AssertionError("never ready")


async def test_a_start_that_is_cancelled_twice_is_an_end_all_the_same(fake):
    """Once in the start, and once while the store is closed: who waits for the end sees it."""

    class Slow:
        is_durable, acknowledge = False, "received"

        async def open(self, _bot_id):
            return self

        async def take(self, *_):
            await asyncio.Event().wait()

        def save_sequences(self, _sequences):
            pass

        async def close(self):
            await asyncio.Event().wait()

    gateway = gateway_to(fake, store=Slow())
    starting = asyncio.ensure_future(gateway.start())
    await until(lambda: gateway._fleet._sessions is not None)
    for _ in range(2):
        await asyncio.sleep(0.05)
        starting.cancel()
    await asyncio.wait((starting,))
    await asyncio.wait_for(gateway.wait_closed(), scaled(5))


async def test_a_cancelled_owner_leaves_no_socket(fake):
    """When the loop ends under a gateway, its connection goes with it."""
    gateway = gateway_to(fake)
    await gateway.start()
    await gateway.wait_ready()
    for task in asyncio.all_tasks():
        if task.get_name() == "fastgw shard 0":
            task.cancel()
    await gateway.wait_closed()
    assert gateway.shards[0].status is State.STOPPED
    await until(lambda: not fake.connections)
    assert len(fake.service.sessions) == 1  # dropped without a word: it could be resumed


async def test_wait_closed_after_a_close_while_starting_is_clean(fake):
    """start() says that it was closed; close() is no failure for anybody else."""
    fake.answer_api(503, times=None)
    gateway = gateway_to(fake, info=None, api_url=fake.api_url)
    starting = asyncio.ensure_future(gateway.start())
    await until(lambda: fake.api_requests)
    await gateway.close()
    with pytest.raises(UsageError, match="closed while it was starting"):
        await starting
    await gateway.wait_closed()


async def test_close_wins_over_an_answer_that_comes_with_it(fake, monkeypatch):
    """case 48: the API answers in the very moment of close(): no shard is started any more."""
    closing = []

    async def answer_late(*_args, **_options):
        closing.append(asyncio.ensure_future(gateway.close()))
        await asyncio.sleep(0)
        return fake.info

    monkeypatch.setattr("fastgw.fleet.http.gateway_info.ask_until_answered", answer_late)
    gateway = gateway_to(fake, info=None)
    with pytest.raises(UsageError, match="closed while it was starting"):
        await gateway.start()
    assert gateway.shards == ()
    await closing[0]
    await gateway.wait_closed()


class _BadStore(MemorySessionStore):
    """A store of the user's, one of whose methods does something bad."""

    def __init__(self, method, deed):
        super().__init__()
        self._method = method
        self._deed = deed

    async def open(self, bot_id):
        opened = await super().open(bot_id)
        setattr(opened, self._method, self._deed)
        return opened


def _raises(*_args):
    raise OSError("the disk is full")


async def _raises_later(*_args):
    raise OSError("the disk is full")


async def _hangs(*_args):
    await asyncio.Event().wait()


@pytest.mark.parametrize(
    ("method", "deed"),
    [
        ("save", _raises), ("save_sequences", _raises), ("forget", _raises),
        ("close", _raises_later), ("close", _hangs),
    ],
)  # fmt: skip
async def test_a_bad_store_costs_no_connection_and_no_end(fake, caplog, monkeypatch, method, deed):
    """case 59: it is told, the bot runs on, and close() ends as always."""
    monkeypatch.setattr("fastgw.fleet.closing.STORE_CLOSE_S", 0.05)
    gateway = gateway_to(fake, store=_BadStore(method, deed))
    await gateway.start()
    await gateway.wait_ready()
    fake.dispatch("MESSAGE_CREATE", {})
    await until(lambda: gateway.shards[0].stats().dispatches == 2)
    await asyncio.wait_for(gateway.close(), scaled(5.0))
    await gateway.wait_closed()
    assert gateway.shards[0].stats().connections == 1
    assert fake.service.sessions == {}
    assert "store" in caplog.text


async def test_a_store_that_fails_every_second_is_told_once(fake, caplog):
    """Not in every tick."""
    writer = SessionWriter(_Refusing(), "{}", clock=lambda: 1_000.0)
    writer.watch(0, iter(range(100)).__next__)
    for _ in range(100):
        writer.tick()
    assert len(caplog.records) == 1


class _Refusing:
    is_durable = True

    def save_sequences(self, sequences):
        raise OSError("the disk is full")


async def test_a_store_that_neither_opens_nor_closes(fake):
    """The error of start() is what it failed with first, and the gateway is closed."""

    class Store(_BadStore):
        async def open(self, bot_id):
            opened = await super().open(bot_id)
            opened.take = _raises_of_take
            return opened

    async def _raises_of_take(*_args):
        raise KeyError("no such table")

    gateway = gateway_to(fake, store=Store("close", _raises_later))
    with pytest.raises(KeyError, match="no such table"):
        await gateway.start()
    with pytest.raises(KeyError, match="no such table"):
        await gateway.wait_closed()


async def test_a_store_is_closed_once_though_the_start_fails_because_of_the_end(fake):
    """Both tidy up; the second waits for the first, as what is not closed yet is no end."""
    closed, asked, may_close = [], asyncio.Event(), asyncio.Event()

    class Store(MemorySessionStore):
        async def open(self, bot_id):
            opened = await super().open(bot_id)

            async def take(*_args):
                asked.set()
                await may_close.wait()
                raise UsageError("it is closed")

            async def close():
                closed.append("begun")
                may_close.set()
                await asyncio.sleep(0.01)
                closed.append("done")

            opened.take, opened.close = take, close
            return opened

    gateway = gateway_to(fake, store=Store())
    start = asyncio.ensure_future(gateway.start())
    await asyncio.wait_for(asked.wait(), scaled(5.0))
    await asyncio.wait_for(gateway.close(), scaled(5.0))
    with pytest.raises(UsageError, match="it is closed"):
        await start
    assert closed == ["begun", "done"]


class _Publisher:
    """Closes what it opened in a task of the handlers', as that of Redis does."""

    is_closed = False

    async def open(self, handlers, shards):
        handlers.at_end(lambda: handlers.tasks.run_own(self._close))

    async def _close(self):
        for _ in range(10):
            await asyncio.sleep(0)
        self.is_closed = True


async def test_a_start_that_fails_leaves_no_publisher_open(fake):
    """It is closed when start() raises: a program that ends then leaves no connection."""

    async def refuse(*_args):
        raise UsageError("another runs it")

    publisher = _Publisher()
    gateway = gateway_to(fake, store=_BadStore("take", refuse), publish=publisher)
    with pytest.raises(UsageError, match="another runs it"):
        await gateway.start()
    assert publisher.is_closed
    with pytest.raises(UsageError, match="another runs it"):
        await gateway.wait_closed()


async def test_a_start_that_outlasts_the_close_leaves_no_publisher_open(fake):
    """The store was slow to open: all was over by then, and a publisher is opened all the same."""
    asked, may_open = asyncio.Event(), asyncio.Event()

    class Slow(MemorySessionStore):
        async def open(self, bot_id):
            asked.set()
            await may_open.wait()
            return await super().open(bot_id)

    publisher = _Publisher()
    gateway = gateway_to(fake, store=Slow(), publish=publisher)
    start = asyncio.ensure_future(gateway.start())
    await asyncio.wait_for(asked.wait(), scaled(5.0))
    await asyncio.wait_for(gateway.close(), scaled(5.0))
    may_open.set()
    with pytest.raises(UsageError, match="closed while it was starting"):
        await start
    assert publisher.is_closed


async def test_a_bug_in_one_shard_keeps_nobody_from_closing(fake, caplog, monkeypatch):
    """case 59: cLOSED is reached, others end in order, and the one does not live on."""

    def fails(*_args, **_options):
        raise RuntimeError("a bug")

    gateway = gateway_to(fake, shards=2)
    await gateway.start()
    await gateway.wait_ready()
    monkeypatch.setattr(inside(gateway).driver, "close", fails)
    await asyncio.wait_for(gateway.close(), scaled(10.0))
    await gateway.wait_closed()
    assert "a bug" in caplog.text
    assert gateway.shards[1].status is State.STOPPED
    await until(lambda: not fake.connections)


async def test_a_queue_that_swallows_cancellation_does_not_hold_the_end(fake):
    """What a shard waits for may be the user's."""
    leave, asked = asyncio.Event(), []

    class Queue(LocalIdentifyQueue):
        async def acquire(self, shard_id):
            asked.append(shard_id)
            while not leave.is_set():
                with contextlib.suppress(asyncio.CancelledError):
                    await leave.wait()
            raise OSError("gone")

    gateway = gateway_to(fake, identify_queue=Queue())
    await gateway.start()
    await until(lambda: asked)
    try:
        await asyncio.wait_for(gateway.close(), scaled(5.0))
    finally:
        leave.set()


async def test_the_end_comes_also_when_its_own_task_is_cancelled(fake):
    """A loop that ends cancels all of its tasks, that of close() among them."""
    gateway = gateway_to(fake, drain_s=60.0)

    @gateway.on("READY")
    async def waits(event):
        await asyncio.Event().wait()

    await gateway.start()
    await gateway.wait_ready()
    closing = asyncio.ensure_future(gateway.close())
    await until(lambda: gateway.shards[0].status is State.STOPPED)
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        if "Fleet._close" in repr(task) or "waits" in repr(task):
            task.cancel()
    await asyncio.wait_for(gateway.wait_closed(), scaled(5.0))
    with pytest.raises(asyncio.CancelledError):
        await closing


async def test_an_error_that_is_raised_again_does_not_grow(fake):
    """One object that is raised again and again would grow its traceback."""
    gateway = gateway_to(fake)
    await gateway.start()
    await gateway.wait_ready()
    fake.close(4004)
    sizes = set()
    for wait in [gateway.wait_closed, gateway.wait_ready] * 20:
        with pytest.raises(AuthenticationFailed) as raised:
            await wait()
        sizes.add((wait.__name__, len(traceback.extract_tb(raised.value.__traceback__))))
    assert len(sizes) == 2


async def test_a_wait_that_fails_takes_nothing_from_the_error(fake):
    """The last error of a shard is in its health, with its cause."""
    fake.refuse_upgrade(503, times=None)
    gateway = gateway_to(fake, backoff_s=(0.01, 0.01))
    await gateway.start()
    await until(lambda: gateway.shards[0].health().last_error)
    for _ in range(3):
        with pytest.raises(HandshakeRefused) as raised:
            await gateway.wait_ready(0.01)
        assert len(traceback.extract_tb(raised.value.__traceback__)) < 20
    await gateway.close()


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
async def test_an_interrupt_tears_no_other_task_down(fake, kind):
    """case 58: whoever waits has an error that a task may raise; the interrupt is its cause."""
    gateway = gateway_to(fake)

    @gateway.on("READY")
    def leaves(event):
        raise kind(3)

    await gateway.start()
    waiting = [asyncio.ensure_future(w()) for w in (gateway.wait_ready, gateway.wait_closed)]
    ended = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(error) for error in ended] == [Interrupted, Interrupted]
    assert {type(error.__cause__) for error in ended} == {kind}
