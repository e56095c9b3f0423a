"""One loop, one thread: whoever calls from elsewhere is refused at once, and does no damage."""

import asyncio
import gc
import logging
import threading

import pytest
from deadline import scaled, until
from gateways import TOKEN, gateway_to

from fastgw.errors import UsageError
from fastgw.fleet.http.gateway_info import GatewayInfo
from fastgw.gateway import Gateway
from fastgw.protocol.states import State


def in_thread(function):
    """Run a function in a thread of its own; return what it raised, or None."""
    raised = []

    def run():
        try:
            function()
        except Exception as error:
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(scaled(10.0))
    assert not thread.is_alive()
    return raised[0] if raised else None


def handler(event):
    """Take any event."""


COROUTINES = {
    "start": lambda g, s: g.start(),
    "wait_ready": lambda g, s: g.wait_ready(1.0),
    "wait_closed": lambda g, s: g.wait_closed(),
    "close": lambda g, s: g.close(end_session=False),
    "stop_shard": lambda g, s: g.stop_shard(0),
    "start_shard": lambda g, s: g.start_shard(0),
    "wait_for": lambda g, s: g.wait_for("READY", timeout=0.1),
    "shard.send": lambda g, s: g.shards[0].send(3, {}),
    "send": lambda g, s: g.send(3, {}, shard_id=0),
    "update_voice_state": lambda g, s: g.update_voice_state(1, None),
    "anext": lambda g, s: s.__anext__(),
    "aclose": lambda g, s: s.aclose(),
}
CALLS = {
    "on": lambda g, s: g.on("READY")(handler),
    "off": lambda g, s: g.off(handler),
    "route": lambda g, s: g.route("READY", None),
    "on_error": lambda g, s: g.on_error(handler),
    "on_status": lambda g, s: g.on_status(handler),
    "on_progress": lambda g, s: g.on_progress(handler),
    "events": lambda g, s: g.events("READY"),
    "reconnect_shard": lambda g, s: g.reconnect_shard(0),
    "set_presence": lambda g, s: g.set_presence({"status": "idle"}),
    "pause_reading": lambda g, s: g.shards[0].pause_reading(),
    "resume_reading": lambda g, s: g.shards[0].resume_reading(),
}


async def _await(call):
    """Await what it returns, as a program in another loop would."""
    await call()


@pytest.mark.parametrize("name", [*COROUTINES, *CALLS])
async def test_another_thread_is_refused_and_does_no_damage(fake, name):
    """case 60: at once, with the name of what helps; the gateway goes on, and can be closed."""
    gateway = gateway_to(fake, shards=1)
    stream = gateway.events("MESSAGE_CREATE")
    await gateway.start()
    await gateway.wait_ready()
    if name in COROUTINES:
        error = in_thread(lambda: asyncio.run(_await(lambda: COROUTINES[name](gateway, stream))))
    else:
        error = in_thread(lambda: CALLS[name](gateway, stream))
    assert isinstance(error, UsageError)
    if name != "start":  # which is refused for being the second
        assert "call_threadsafe" in str(error)
    fake.dispatch("MESSAGE_CREATE", {"content": "x"})
    event = await asyncio.wait_for(anext(stream), scaled(5.0))
    assert event.data == {"content": "x"}
    await asyncio.wait_for(gateway.close(), scaled(5.0))
    assert fake.service.sessions == {}


@pytest.mark.parametrize("name", CALLS)
def test_a_call_from_outside_of_the_loop(fake_in_thread, name):
    """case 60: in the right thread, while the loop does not run: no connection is lost for it."""
    gateway, loop = fake_in_thread
    if name in ("reconnect_shard", "set_presence", "pause_reading", "resume_reading"):
        with pytest.raises(UsageError, match="event loop"):
            CALLS[name](gateway, None)
    else:
        CALLS[name](gateway, None)
    loop.run_until_complete(asyncio.sleep(0.05))
    assert gateway.stats().shards[0].connections == 1


@pytest.fixture
def fake_in_thread():
    """A gateway that is READY, in a loop that runs when it is told to."""
    from fastgw.testing import FakeGateway

    loop = asyncio.new_event_loop()

    async def begin():
        fake = FakeGateway()
        await fake.__aenter__()
        gateway = gateway_to(fake, shards=1)
        await gateway.start()
        await gateway.wait_ready()
        return fake, gateway

    fake, gateway = loop.run_until_complete(begin())
    yield gateway, loop
    loop.run_until_complete(gateway.close())
    loop.run_until_complete(fake.__aexit__(None, None, None))
    loop.close()


async def test_health_may_be_read_anywhere(fake):
    """A page of figures is often served by a thread of its own."""
    async with gateway_to(fake, shards=1) as gateway:
        seen = []
        assert in_thread(lambda: seen.append((gateway.health(), gateway.shards[0].status))) is None
        assert seen[0][1] is State.READY


async def test_an_iterator_dropped_by_another_thread_is_left_in_the_loop(fake):
    """A garbage collection runs in any thread."""
    async with gateway_to(fake) as gateway:
        held = [gateway.events("MESSAGE_CREATE")]
        fake.dispatch("MESSAGE_CREATE", {})
        await until(lambda: gateway.health().unhandled_bytes)
        in_thread(held.clear)
        assert gateway.health().unhandled_bytes  # nothing moved in that thread
        await until(lambda: not gateway.health().unhandled_bytes)


def test_a_loop_that_ended_without_close_leaves_one_that_can_be_closed(caplog):
    """case 61: tasks and connections went with it; nothing warns, close() reaches CLOSED."""
    gateway = Gateway(TOKEN, intents=0, info=GatewayInfo("ws://127.0.0.1:1"))
    caplog.set_level(logging.WARNING)
    asyncio.run(gateway.start())
    asyncio.run(gateway.close())
    gc.collect()  # a task that was left says so when it is collected
    assert "closed" in repr(gateway)
    assert caplog.messages == []
    assert not any(thread.name == "fastgw loop watch" for thread in threading.enumerate())


async def test_a_closed_gateway_may_be_asked_from_anywhere(fake):
    """There is nothing left to damage."""
    gateway = gateway_to(fake)
    async with gateway:
        pass
    assert in_thread(lambda: asyncio.run(gateway.close())) is None
    assert in_thread(lambda: asyncio.run(gateway.wait_closed())) is None
