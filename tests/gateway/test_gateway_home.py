"""One loop, one thread: whoever calls from elsewhere is refused at once, and does no damage."""

import asyncio
import gc
import inspect
import logging
import re
import threading
from pathlib import Path

import pytest
from deadline import scaled, until
from gateways import TOKEN, gateway_to

from fastgw import (
    Attachment,
    EventStream,
    LocalIdentifyQueue,
    MemberRequest,
    Opcode,
    Placement,
    Shard,
    SQLiteIdentifyQueue,
)
from fastgw.errors import UsageError
from fastgw.fleet.http.gateway_info import GatewayInfo
from fastgw.gateway import Gateway
from fastgw.protocol.states import State
from fastgw.redis import Consumer, RedisIdentifyQueue

DOCS = Path(__file__).parents[2] / "docs"


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


class OfOtherLibrary:
    """What `attach()` makes of a bot whose gateway this is."""

    library, intents, is_running, bot = "any", 0, False, None

    def __init__(self, gateway):
        self.made = gateway
        self.interests = self

    def of(self, _bot):
        return None

    def events(self):
        return []

    def advice(self):
        return []


COROUTINES = {
    "start": lambda g, s: g.start(),
    "__aenter__": lambda g, s: g.__aenter__(),
    "__aexit__": lambda g, s: g.__aexit__(None, None, None),
    "wait_ready": lambda g, s: g.wait_ready(1.0),
    "wait_closed": lambda g, s: g.wait_closed(),
    "close": lambda g, s: g.close(end_session=False),
    "stop_shard": lambda g, s: g.stop_shard(0),
    "start_shard": lambda g, s: g.start_shard(0),
    "wait_for": lambda g, s: g.wait_for("READY", timeout_s=0.1),
    "send": lambda g, s: g.send(3, {}, shard_id=0),
    "update_voice_state": lambda g, s: g.update_voice_state(1, None),
    "request_channel_info": lambda g, s: g.request_channel_info(1),
    "request_soundboard_sounds": lambda g, s: g.request_soundboard_sounds([1]),
    "Shard.send": lambda g, s: g.shards[0].send(3, {}),
    "Shard.send_encoded": lambda g, s: g.shards[0].send_encoded(b'{"op":3,"d":{}}'),
    "MemberRequest.__await__": lambda g, s: _await(lambda: g.asked),
    "MemberRequest.__aiter__": lambda g, s: anext(aiter(g.asked)),
    "EventStream.__anext__": lambda g, s: s.__anext__(),
    "EventStream.aclose": lambda g, s: s.aclose(),
    "EventStream.__aexit__": lambda g, s: s.__aexit__(None, None, None),
}
CALLS = {
    "on": lambda g, s: g.on("READY")(handler),
    "off": lambda g, s: g.off(handler),
    "route": lambda g, s: g.route("READY", None),
    "on_error": lambda g, s: g.on_error(handler),
    "on_status": lambda g, s: g.on_status(handler),
    "on_progress": lambda g, s: g.on_progress(handler),
    "events": lambda g, s: g.events("READY"),
    "request_members": lambda g, s: g.request_members(1, query="x", limit=1),
    "reconnect_shard": lambda g, s: g.reconnect_shard(0),
    "set_presence": lambda g, s: g.set_presence({"status": "idle"}),
    "place": lambda g, s: g.place(Placement(shard_ids=[0], shard_count=1)),
    "run": lambda g, s: g.run(drain_s=99.0),
    "Attachment.detach": lambda g, s: Attachment(OfOtherLibrary(g)).detach(),
    "Attachment.explain": lambda g, s: Attachment(OfOtherLibrary(g)).explain(),
    "Shard.pause_reading": lambda g, s: g.shards[0].pause_reading(),
    "Shard.resume_reading": lambda g, s: g.shards[0].resume_reading(),
}
# They refuse whoever calls once it was started, in whichever thread.
REFUSED_ANYWHERE = ("start", "__aenter__", "place", "run")
# In its own thread these need no loop that runs.
NEED_NO_LOOP = (
    "on",
    "off",
    "route",
    "on_error",
    "on_status",
    "on_progress",
    "events",
    "request_members",
    "Attachment.detach",
    "Attachment.explain",
)


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
    before = gateway._fleet.drain_s
    gateway.asked = gateway.request_members(1, query="x", limit=1)  # where it may be made
    if name in COROUTINES:
        error = in_thread(lambda: asyncio.run(_await(lambda: COROUTINES[name](gateway, stream))))
    else:
        error = in_thread(lambda: CALLS[name](gateway, stream))
    assert isinstance(error, UsageError)
    if name not in REFUSED_ANYWHERE:
        assert "call_threadsafe" in str(error)
    assert gateway._fleet.drain_s == before
    assert [command.op for command in fake.received] == [Opcode.IDENTIFY]
    fake.dispatch("MESSAGE_CREATE", {"content": "x"})
    event = await asyncio.wait_for(anext(stream), scaled(5.0))
    assert event.data == {"content": "x"}
    await asyncio.wait_for(gateway.close(), scaled(5.0))
    assert fake.service.sessions == {}


@pytest.mark.parametrize("name", sorted(CALLS.keys() - {"place", "run"}))
def test_a_call_from_outside_of_the_loop(fake_in_thread, name):
    """case 60: in the right thread, while the loop does not run: no connection is lost for it."""
    gateway, loop = fake_in_thread
    if name in NEED_NO_LOOP:
        CALLS[name](gateway, None)
    else:
        with pytest.raises(UsageError, match="event loop"):
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


PAGE = (DOCS / "reference/gateway.md").read_text("utf-8")
BORDER = dict(re.findall(r"^\| `(\w+)` \| (`.+`) \|$", PAGE, re.M))
OF_LOOP = (Gateway, Shard, EventStream, MemberRequest, Attachment)
CLASSES = (*OF_LOOP, LocalIdentifyQueue, SQLiteIdentifyQueue, RedisIdentifyQueue, Consumer)


def public(owner):
    """Yield what a program may call or look at: methods and properties, by name."""
    for name in dir(owner):
        member = inspect.getattr_static(owner, name)
        if name in ("__aenter__", "__aexit__", "__await__", "__aiter__", "__anext__") or (
            name[0] != "_" and (callable(member) or isinstance(member, property))
        ):
            yield name, getattr(owner, name)


def is_for_any_thread(member):
    """Tell whether a docstring says so."""
    return "rom any thread" in " ".join((inspect.getdoc(member) or "").split())


@pytest.mark.parametrize("owner", CLASSES, ids=lambda owner: owner.__name__)
def test_the_page_lists_what_any_thread_may_call(owner):
    """Its row and the docstrings say the same."""
    said = [name for name, member in public(owner) if is_for_any_thread(member)]
    assert said == re.findall(r"`(\w+)`", BORDER.get(owner.__name__, ""))


def test_the_page_lists_no_other():
    """Each row is of a class whose docstrings were looked at."""
    assert BORDER.keys() <= {owner.__name__ for owner in CLASSES}


@pytest.mark.parametrize("owner", OF_LOOP, ids=lambda owner: owner.__name__)
def test_all_else_is_called_from_another_thread_above(owner):
    """A new method is either for any thread, or tested to refuse."""
    tested = {*COROUTINES, *CALLS, "EventStream.__aiter__", "EventStream.__aenter__"}
    prefix = "" if owner is Gateway else f"{owner.__name__}."
    for name, member in public(owner):
        if not is_for_any_thread(member):
            assert f"{prefix}{name}" in tested


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


def test_an_attachment_may_be_asked_anywhere_when_the_loop_has_ended(fake_info):
    """A program that ran its bot in a thread prints what came of it."""
    gateway = Gateway(TOKEN, intents=0, info=fake_info)
    assert in_thread(lambda: asyncio.run(_start_and_close(gateway))) is None
    assert Attachment(OfOtherLibrary(gateway)).explain().reasons == ()


@pytest.fixture
def fake_info():
    return GatewayInfo("ws://127.0.0.1:1")


async def _start_and_close(gateway):
    await gateway.start()
    await gateway.close()


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
