"""Name lookups: one thread for each name in flight, and nobody waits for one that hangs."""

from __future__ import annotations

import asyncio
import socket
import threading

import pytest
from deadline import until

from fastgw.connection import lookup
from fastgw.connection.lookup import Address, resolve

ROW = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", 443))


class NameServer:
    """Stands in for `getaddrinfo`; silent until it is told to answer."""

    def __init__(self):
        self.go_on = threading.Event()
        self.asked = []
        self.answer = [ROW]

    def __call__(self, host, port, *, type, flags=0):
        if flags & socket.AI_NUMERICHOST:
            raise socket.gaierror(socket.EAI_NONAME, "not a number")
        self.asked.append((host, threading.current_thread()))
        self.go_on.wait()
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.fixture
def server(monkeypatch):
    """The name server of the test; it answers at the end, so that no thread is left."""
    server = NameServer()
    monkeypatch.setattr(lookup.socket, "getaddrinfo", server)
    yield server
    server.go_on.set()


async def test_all_who_ask_share_one_lookup(server):
    """case 50: a fleet that starts asks for one name, not a hundred times."""
    asking = [asyncio.ensure_future(resolve("a.test", 443)) for _ in range(100)]
    await until(lambda: server.asked)
    await asyncio.sleep(0)
    server.go_on.set()
    assert await asyncio.gather(*asking) == [[Address(ROW[0], ROW[4])]] * 100
    assert len(server.asked) == 1


async def test_lookups_that_hang_hold_nobody(server):
    """case 50: neither who gives up, nor other names, nor the loop's executor."""
    asking = [asyncio.ensure_future(resolve(f"{n}.test", 443)) for n in range(50)]
    await until(lambda: len(server.asked) == 50)
    assert all(thread.daemon for _, thread in server.asked)
    assert await asyncio.get_running_loop().run_in_executor(None, lambda: "free") == "free"
    for task in asking:
        task.cancel()
    done = await asyncio.gather(*asking, return_exceptions=True)
    assert all(isinstance(error, asyncio.CancelledError) for error in done)


async def test_who_gives_up_takes_it_from_nobody(server):
    """The others still get their answer, and a late asker joins them."""
    first, second = (asyncio.ensure_future(resolve("a.test", 443)) for _ in range(2))
    await until(lambda: server.asked)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    third = asyncio.ensure_future(resolve("a.test", 443))
    await asyncio.sleep(0)
    server.go_on.set()
    assert await second == await third
    assert len(server.asked) == 1


async def test_nothing_is_remembered(server):
    """Addresses change: each attempt asks anew."""
    server.go_on.set()
    await resolve("a.test", 443)
    await resolve("a.test", 443)
    assert len(server.asked) == 2


async def test_each_asker_has_an_error_of_his_own(server):
    """One error raised by two would collect the frames of both."""
    server.answer = socket.gaierror(socket.EAI_AGAIN, "try again")
    asking = [asyncio.ensure_future(resolve("a.test", 443)) for _ in range(2)]
    await until(lambda: server.asked)
    server.go_on.set()
    one, two = await asyncio.gather(*asking, return_exceptions=True)
    assert one is not two
    assert one.args == two.args == (socket.EAI_AGAIN, "try again")


@pytest.mark.parametrize(
    "host", ["x" * 64 + ".test", "a..test", "\0", "a b", "", "ü" * 70, "gateway.invalid"]
)
async def test_what_is_no_name_cannot_be_resolved(host):
    """Whatever `getaddrinfo` raises for it: a service may name any host for a resume."""
    with pytest.raises(OSError):  # noqa: PT011
        await resolve(host, 443)


async def test_addresses_need_no_lookup(server, monkeypatch):
    """A literal is taken as it is, in the thread of the loop."""
    monkeypatch.undo()
    assert await resolve("127.0.0.1", 80) == [Address(socket.AF_INET, ("127.0.0.1", 80))]
    assert await resolve("::1", 80) == [Address(socket.AF_INET6, ("::1", 80, 0, 0))]
    assert not [t for t in threading.enumerate() if t.name.startswith("fastgw looks up")]


async def test_a_system_without_threads_is_an_error_of_this_lookup(server, monkeypatch):
    """The next one may have more luck."""

    def start(thread):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        with pytest.raises(OSError, match="new thread"):
            await resolve("a.test", 443)
    server.go_on.set()
    assert await resolve("a.test", 443)


async def test_a_name_without_tcp_addresses_has_none(server):
    """Of other families nothing is tried."""
    unix = getattr(socket, "AF_UNIX", 1)  # Windows' Python has no name for it
    server.answer = [(unix, socket.SOCK_STREAM, 0, "", "/x")]
    server.go_on.set()
    with pytest.raises(socket.gaierror, match="no address"):
        await resolve("a.test", 443)
