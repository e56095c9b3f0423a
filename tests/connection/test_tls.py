"""A TLS handshake that the peer does not finish, and the loop's exception handler."""

from __future__ import annotations

import asyncio
import gc
import ssl

import pytest
from deadline import until

from fastgw._decode import Decoder
from fastgw.connection.dial import Dial
from fastgw.connection.tls import quiet_handshake
from fastgw.errors import ConnectFailed


class Deaf:
    """A receiver that must hear nothing."""

    def __getattr__(self, name):
        raise AssertionError(name)


async def hang_up(reader, writer):
    """Read of the ClientHello, and end TCP."""
    await reader.read(100)
    writer.close()


async def test_tcp_that_ends_in_the_tls_handshake_is_a_failed_connect():
    """One error of ours; nothing goes to the loop (conftest fails on what does)."""
    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    async with server:
        handler = asyncio.get_running_loop().get_exception_handler()
        port = server.sockets[0].getsockname()[1]
        dial = Dial(Decoder(), Deaf())
        with pytest.raises(ConnectFailed, match=f"127.0.0.1:{port} closed .* TLS handshake"):
            await dial.open(f"wss://127.0.0.1:{port}", ssl_context=ssl.create_default_context())
        assert asyncio.get_running_loop().get_exception_handler() is handler


async def test_other_reports_pass():
    """To the handler of before, or to the loop's own."""
    loop = asyncio.get_running_loop()
    before, seen = loop.get_exception_handler(), []
    loop.set_exception_handler(lambda loop, context: seen.append(context))
    with quiet_handshake():
        loop.call_exception_handler({"message": "a", "exception": ConnectionResetError})
        loop.call_exception_handler({"message": "b", "exception": ConnectionResetError()})
    loop.call_exception_handler({"message": "c"})
    loop.set_exception_handler(before)
    assert [context["message"] for context in seen] == ["b", "c"]


async def test_the_loops_own_handler_stands_behind(caplog):
    """When the program has set none."""
    loop = asyncio.get_running_loop()
    before = loop.get_exception_handler()
    loop.set_exception_handler(None)
    with quiet_handshake():
        loop.call_exception_handler({"message": "what the program should see"})
    assert loop.get_exception_handler() is None
    loop.set_exception_handler(before)
    assert "what the program should see" in caplog.text


async def test_connects_overlap_in_any_order():
    """The last one to end puts the program's handler back."""
    loop = asyncio.get_running_loop()
    before = loop.get_exception_handler()
    first, second = quiet_handshake(), quiet_handshake()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert loop.get_exception_handler() is not before
    second.__exit__(None, None, None)
    assert loop.get_exception_handler() is before


async def test_a_handler_set_meanwhile_stays():
    """It is the program's business."""
    loop = asyncio.get_running_loop()
    before = loop.get_exception_handler()

    def mine(loop, context):
        raise AssertionError

    with quiet_handshake():
        loop.set_exception_handler(mine)
    assert loop.get_exception_handler() is mine
    loop.set_exception_handler(before)


async def test_a_tls_handshake_that_is_never_answered_is_forgotten_soon():
    """Not after the minute that aiofastnet gives it."""

    def transports():
        gc.collect()
        return [thing for thing in gc.get_objects() if "SSLTransport_" in type(thing).__name__]

    async def stay_silent(reader, writer):
        await reader.read()
        writer.close()

    before = len(transports())
    server = await asyncio.start_server(stay_silent, "127.0.0.1", 0)
    async with server:
        url = f"wss://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        dial = Dial(Decoder(), Deaf())
        with pytest.raises(ConnectFailed):
            await dial.open(url, ssl_context=ssl.create_default_context(), open_timeout_s=0.05)
        await until(lambda: len(transports()) <= before)
