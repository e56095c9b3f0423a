"""Discord's numbers, limits, URL and commands."""

from __future__ import annotations

import contextlib

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastgw.errors import CommandTooBig, ProtocolError, UsageError
from fastgw.protocol.wire import (
    MAX_COMMAND_BYTES,
    MAX_URL_CHARACTERS,
    Opcode,
    encode_command,
    encode_heartbeat,
    encode_resume,
    gateway_url,
    read_command,
    read_hello,
    read_ready,
)

TOKEN = "MTk4.Cl2FMQ.ZnCjm1XVW7vRze4b7Cq4se7kKWs"


# --- URL -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("base", "url"),
    [
        ("wss://gateway.discord.gg", "wss://gateway.discord.gg/?v=10&encoding=json"),
        ("wss://gateway.discord.gg/", "wss://gateway.discord.gg/?v=10&encoding=json"),
        ("wss://x.gg/some/path", "wss://x.gg/some/path?v=10&encoding=json"),
        ("wss://x.gg/?v=6&encoding=etf&compress=zlib-stream", "wss://x.gg/?v=10&encoding=json"),
        ("ws://127.0.0.1:8080/?shard=1#part", "ws://127.0.0.1:8080/?v=10&encoding=json&shard=1"),
        ("ws://[::1]:80", "ws://[::1]:80/?v=10&encoding=json"),
    ],
)
def test_gateway_url(base, url):
    """case 14: a path, our query once, foreign items kept, fragments dropped; idempotent."""
    assert gateway_url(base, None) == url
    assert gateway_url(url, None) == url


@pytest.mark.parametrize("compress", ["zlib-stream", "zstd-stream"])
def test_gateway_url_names_the_compression(compress):
    """case 14: compression is in the query exactly when it is used."""
    url = gateway_url("wss://x.gg/?compress=old", compress)
    assert url == f"wss://x.gg/?v=10&encoding=json&compress={compress}"
    assert gateway_url(url, None) == "wss://x.gg/?v=10&encoding=json"


@pytest.mark.parametrize(
    "base",
    [
        "",
        "gateway.discord.gg",
        "https://x.gg",
        "wss://",
        "wss:///",
        "wss://x:port/",
        "ws://[",
        "wss://a..b",
        f"wss://{'a' * 64}.gg",
        "wss://x.gg/" + "y" * 2_000,
    ],
)
def test_gateway_url_refuses_what_is_no_websocket(base):
    """Anything that could not be connected to is a usage error before it is tried."""
    with pytest.raises(UsageError, match="not a websocket URL"):
        gateway_url(base, None)


def test_the_longest_url_is_taken():
    """2,000 characters are, one more is not."""
    url = "wss://x.gg/" + "y" * (MAX_URL_CHARACTERS - len("wss://x.gg/"))
    assert gateway_url(url, None).startswith(url)
    with pytest.raises(UsageError, match="not a websocket URL"):
        gateway_url(url + "y", None)


@pytest.mark.parametrize("base", ["wss://me@x.gg", "wss://me:secret@x.gg/"])
def test_a_url_holds_no_password(base):
    """It would be told to nobody, and shown in logs."""
    with pytest.raises(UsageError, match="holds a user name or password") as caught:
        gateway_url(base, None)
    assert "secret" not in str(caught.value)


def test_a_huge_url_is_quoted_briefly():
    """The service may send one of megabytes as the resume URL."""
    with pytest.raises(UsageError) as caught:
        gateway_url("wss://" + "x" * 1_000_000, None)
    assert len(str(caught.value)) < 400


# --- HELLO and READY -----------------------------------------------------------------------------


@pytest.mark.parametrize(("interval_ms", "interval_s"), [(41_250, 41.25), (45_000.0, 45.0)])
def test_hello_gives_seconds(interval_ms, interval_s):
    """The interval is never assumed, and is milliseconds on the wire."""
    assert read_hello({"heartbeat_interval": interval_ms, "_trace": []}) == interval_s


@pytest.mark.parametrize("interval_ms", [10, 30, 3_600_000])
def test_an_interval_that_can_be_kept_is_taken(interval_ms):
    """Test servers beat every few milliseconds; an hour is the other end."""
    assert read_hello({"heartbeat_interval": interval_ms}) == interval_ms / 1000


@pytest.mark.parametrize("interval_ms", [9, 1e-305, 3_600_001, 1e308, 10**400])
def test_an_interval_that_no_timer_can_keep_is_told_with_its_bounds(interval_ms):
    """Too short is a timer that never stops, too long a moment that never comes."""
    with pytest.raises(ProtocolError, match="10 to 3600000 ms can be kept"):
        read_hello({"heartbeat_interval": interval_ms})


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(st.sampled_from(["heartbeat_interval", "session_id", "x"]), inner)
        ),
    )
)
def test_hello_and_ready_of_any_shape_only_raise_protocol_errors(data):  # fmt: skip
    """case 44: no `d` of these two makes anything but a value or a ProtocolError."""
    with contextlib.suppress(ProtocolError):
        assert read_hello(data) > 0
    with contextlib.suppress(ProtocolError):
        assert read_ready(data)[0]


# --- commands ------------------------------------------------------------------------------------


def test_commands_are_compact_json():
    """Only op and d are sent."""
    assert encode_command(Opcode.PRESENCE_UPDATE, {"a": 1}) == b'{"op":3,"d":{"a":1}}'
    assert encode_command(43, None) == b'{"op":43,"d":null}'


@pytest.mark.parametrize("sequence", [None, 0, 1, 2**31, 2**53 + 1, 2**63 - 1])
def test_heartbeat(sequence):
    """`d` is the sequence, of any size, or null."""
    assert orjson.loads(encode_heartbeat(sequence)) == {"op": 1, "d": sequence}


def test_resume():
    """Token, id and sequence, nothing else."""
    assert orjson.loads(encode_resume(TOKEN, "id", 7)) == {
        "op": 6, "d": {"token": TOKEN, "session_id": "id", "seq": 7}
    }  # fmt: skip


def test_the_command_limit_counts_encoded_bytes():
    """4096 bytes go, 4097 do not, and the error knows both numbers."""
    room = MAX_COMMAND_BYTES - len(encode_command(3, ""))
    assert len(encode_command(3, "x" * room)) == MAX_COMMAND_BYTES
    with pytest.raises(CommandTooBig, match="4097 bytes is over the limit of 4096") as caught:
        encode_command(3, "é" * (room // 2) + "x" * (room % 2 + 1))
    assert (caught.value.size, caught.value.limit) == (4097, 4096)


def test_a_command_that_somebody_else_has_encoded_is_read():
    """`op` and `d` as they stand, up to the limit of the service."""
    assert read_command(b'{"op":3,"d":{"a":1}}') == (3, {"a": 1})
    assert read_command(b'{"d":null,"op":43}') == (43, None)
    frame = len(b'{"op":3,"d":""}')
    most = b'{"op":3,"d":"%s"}' % (b"x" * (MAX_COMMAND_BYTES - frame))
    assert len(most) == MAX_COMMAND_BYTES
    assert read_command(most)[0] == 3
    with pytest.raises(CommandTooBig):
        read_command(most + b" ")


@pytest.mark.parametrize(
    ("command", "text"),
    [
        ('{"op":3,"d":1}', "is bytes, not"), (None, "is bytes, not"),
        (b"", "is JSON"), (b'{"op":3', "is JSON"),
        (b"[3,1]", "one JSON object"), (b"3", "one JSON object"), (b"null", "one JSON object"),
        (b'{"d":1}', "one JSON object"), (b'{"op":3}', "one JSON object"),
        (b'{"op":"3","d":1}', "one JSON object"), (b'{"op":true,"d":1}', "one JSON object"),
    ],
)  # fmt: skip
def test_what_is_no_command_is_told(command, text):
    """Before it is queued."""
    with pytest.raises(UsageError, match=text):
        read_command(command)


@pytest.mark.parametrize("op", ["2", 2.5, None, True, b"2"])
def test_an_opcode_is_a_number(op):
    """A text that looks like one would go round every check of an opcode."""
    with pytest.raises(UsageError, match="op is a number such as Opcode"):
        encode_command(op, {})


@pytest.mark.parametrize("data", [{1: 2}, {"a": {1, 2}}, {"a": "\ud800"}, object()])
def test_what_is_no_json_is_a_usage_error(data):
    """orjson's error is turned into ours, without the data."""
    with pytest.raises(UsageError, match="cannot be written as JSON"):
        encode_command(3, data)
