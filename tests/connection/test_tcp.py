"""Addresses raced against each other, and sockets that leave nothing behind in the event loop."""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import socket
import struct
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from deadline import scaled, until
from recorder import opened

from fastgw.connection import tcp
from fastgw.connection.lookup import Address
from fastgw.connection.tcp import OwnSocket, connect_first, in_turns
from fastgw.connection.upgrade import Upgrade
from fastgw.errors import ConnectFailed

V4, V6 = socket.AF_INET, socket.AF_INET6
AF_UNIX = getattr(socket, "AF_UNIX", 1)  # not of Windows
STRESS = Path(__file__).parents[1] / "support" / "reset_stress.py"


@contextlib.contextmanager
def listening(host="127.0.0.1"):
    """Yield an address that answers, and its listening socket."""
    with socket.create_server((host, 0)) as sock:
        yield Address(V4, sock.getsockname())


@contextlib.contextmanager
def black_hole():
    """
    Yield an address that swallows what is sent to it: its queue of connections is full.

    A queue of 0 is one of 128 on macOS.
    """
    with contextlib.ExitStack() as stack:
        hole = stack.enter_context(socket.socket())
        hole.bind(("127.0.0.1", 0))
        hole.listen(1)
        for _ in range(8):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(hole.getsockname())
        yield Address(V4, hole.getsockname())


def refusing():
    """Return an address where nobody listens."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return Address(V4, sock.getsockname())


async def test_a_black_hole_costs_a_moment_and_stays_in_the_list():
    """case 49: it has not failed: the next address is tried beside it, and wins."""
    with black_hole() as hole, listening() as good:
        addresses = [hole, good]
        sock = await asyncio.wait_for(connect_first(addresses), 10)
        assert sock.getpeername() == good.sockaddr
        assert addresses == [hole]
        sock.close()


async def test_a_refusal_lets_the_next_one_begin_at_once(monkeypatch):
    """It does not wait for the delay between attempts, and is not tried again."""
    monkeypatch.setattr(tcp, "ATTEMPT_DELAY_S", 1_000.0)
    with listening() as good:
        addresses = [refusing(), good]
        sock = await asyncio.wait_for(connect_first(addresses), 10)
        assert addresses == []
        sock.close()


@pytest.mark.parametrize(
    "bad",
    [
        Address(AF_UNIX, "/nowhere"),
        Address(V6, ("::1", 1, 0, 0)),
        Address(V6, ("fe80::1", 1, 0, 4_000)),  # on an interface that is not there
        Address(V4, ("255.255.255.255", 1)),  # not permitted
        Address(999, ("x", 1)),  # a family that the system does not know
        Address(V4, ("127.0.0.1", 1 << 20)),  # OverflowError
    ],
    ids=["unix", "loopback6", "scope", "broadcast", "family", "port"],
)
async def test_no_error_of_one_address_ends_the_race(bad):
    """case 49: whatever is wrong with it, the others are tried."""
    with listening() as good:
        sock = await asyncio.wait_for(connect_first([bad, good]), 10)
        assert sock.getpeername() == good.sockaddr
        sock.close()


async def test_the_error_of_all_addresses_names_each():
    """So that nobody looks at the wrong one."""
    bad = Address(V4, ("255.255.255.255", 1))
    with pytest.raises(OSError, match=r"255\.255\.255\.255: .*; 127\.0\.0\.1: "):
        await connect_first([bad, refusing()])
    with pytest.raises(ConnectionRefusedError):
        await connect_first([refusing(), refusing()])
    with pytest.raises(OSError, match="no address is left"):
        await connect_first([])


async def test_a_cancelled_race_leaves_no_socket():
    """conftest counts them."""
    with black_hole() as hole:
        race = asyncio.ensure_future(connect_first([hole, hole]))
        await asyncio.sleep(0.3)
        race.cancel()
        with pytest.raises(asyncio.CancelledError):
            await race


async def test_the_one_that_comes_second_is_closed(monkeypatch):
    """Two may answer in the same turn of the loop."""
    made = []
    go_on = asyncio.Event()

    async def together(address):
        made.append(OwnSocket(address.family))
        await go_on.wait()
        return made[-1] if address == good else made[0]

    monkeypatch.setattr(tcp, "_connect", together)
    monkeypatch.setattr(tcp, "ATTEMPT_DELAY_S", 0.0)
    with listening() as other, listening() as good:
        race = asyncio.ensure_future(connect_first([other, good]))
        await until(lambda: len(made) == 2)
        go_on.set()
        winner = await race
        await until(lambda: [sock.fileno() == -1 for sock in made].count(True) == 1)
        assert winner.fileno() != -1
        winner.close()


def test_families_take_turns():
    """RFC 8305 4: the first family first, then one of each."""
    six, four = [Address(V6, str(n)) for n in range(3)], [Address(V4, str(n)) for n in range(2)]
    assert in_turns([*six, *four]) == [six[0], four[0], six[1], four[1], six[2]]
    assert in_turns([*four, *six]) == [four[0], six[0], four[1], six[1], six[2]]
    assert in_turns(four) == four
    assert in_turns([]) == []


needs_readers = pytest.mark.skipif(
    sys.platform == "win32", reason="asyncio's loop of Windows watches no descriptors"
)


@needs_readers
async def test_a_reset_while_the_transport_begins_leaves_no_descriptor_watched(monkeypatch):
    """
    case 51: the request meets the reset, and aiofastnet closes before it registers.

    The next socket gets the same number: it must be watched as if nothing had been.
    """
    begin = Upgrade.connection_made
    close = threading.Event()

    def accept_and_reset(server):
        accepted, _ = server.accept()
        close.wait()
        accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        accepted.close()

    def begin_when_reset(upgrade, transport):
        close.set()
        poll = select.poll()
        poll.register(transport.get_extra_info("socket").fileno(), 0)
        assert poll.poll(scaled(10_000)), "the reset does not come"
        begin(upgrade, transport)

    monkeypatch.setattr(Upgrade, "connection_made", begin_when_reset)
    with socket.create_server(("127.0.0.1", 0)) as server:
        peer = threading.Thread(target=accept_and_reset, args=(server,))
        peer.start()
        with pytest.raises(ConnectFailed):
            await opened(f"ws://127.0.0.1:{server.getsockname()[1]}/")
        peer.join()
    loop, ready = asyncio.get_running_loop(), asyncio.Event()
    pairs = [socket.socketpair() for _ in range(4)]
    for ours, theirs in pairs:
        ready.clear()
        loop.add_reader(ours.fileno(), ready.set)
        theirs.send(b"x")
        await asyncio.wait_for(ready.wait(), scaled(10))
        loop.remove_reader(ours.fileno())
    for sock in (sock for pair in pairs for sock in pair):
        sock.close()


@needs_readers
async def test_closing_forgets_what_the_loop_watches():
    """Whoever closes, and whatever was registered."""
    loop = asyncio.get_running_loop()
    ours, theirs = socket.socketpair()
    sock = OwnSocket(fileno=ours.detach())
    loop.add_reader(sock.fileno(), lambda: None)
    loop.add_writer(sock.fileno(), lambda: None)
    number = sock.fileno()
    sock.close()
    sock.close()
    theirs.close()
    assert not loop.remove_reader(number)
    assert not loop.remove_writer(number)


def test_closing_without_a_loop_closes():
    """After the end of the program's loop, say."""
    sock = OwnSocket()
    sock.close()
    assert sock.fileno() == -1


def run_stress(loop, seconds):
    """Run the program on one kind of loop, and return what it printed."""
    done = subprocess.run(
        [sys.executable, str(STRESS), loop, str(seconds)],
        capture_output=True, text=True, timeout=scaled(60) + seconds,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2_000:]
    return done.stdout


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_resets_hurt_no_other_connection(loop):
    """case 51: two seconds of them; without the care of OwnSocket one was enough."""
    if loop == "uvloop":
        pytest.importorskip("uvloop")
    assert "dials" in run_stress(loop, 2.0)


@pytest.mark.many
@pytest.mark.timeout(600)
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_many_resets_hurt_no_other_connection(loop):
    """The same for FASTGW_RESET_SECONDS."""
    print(run_stress(loop, float(os.environ.get("FASTGW_RESET_SECONDS", "60"))))
