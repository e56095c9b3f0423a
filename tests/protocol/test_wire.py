"""Discord's numbers, limits, URL and commands."""

from __future__ import annotations

import contextlib

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastgw import errors
from fastgw.errors import CommandTooBig, FatalError, GatewayInfoError, ProtocolError, UsageError
from fastgw.protocol.wire import (
    CLOSE_RULES,
    EVENT_INTENTS,
    EVENT_NAMES,
    FINAL_CLOSE_CODE,
    LIBRARY_EVENTS,
    MAX_COMMAND_BYTES,
    PRIVILEGED,
    RESUMABLE_CLOSE_CODE,
    Action,
    GatewayInfo,
    Intents,
    Opcode,
    SessionStartLimit,
    action_for,
    encode_command,
    encode_heartbeat,
    encode_resume,
    fatal_error,
    gateway_url,
    normalise_token,
    read_hello,
    read_ready,
    redact,
    rule_for,
)

TOKEN = "MTk4.Cl2FMQ.ZnCjm1XVW7vRze4b7Cq4se7kKWs"


# --- close codes ---------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [None, 1005, 1006, 1000, 1001, 1002, 1011, 1015, 3000, 4000, 4002,
                                  4008, 4015, 4999])  # fmt: skip
def test_these_close_codes_resume(code):
    """No code, the service's 1000 and 1001, transport codes and unknown ones keep the session."""
    assert action_for(code) is Action.RESUME


@pytest.mark.parametrize("code", [4001, 4003, 4005, 4006, 4007, 4009])
def test_these_close_codes_identify(code):
    """The session is gone, a new one may be had."""
    assert action_for(code) is Action.IDENTIFY


@pytest.mark.parametrize(
    ("code", "name"),
    [(4004, "AuthenticationFailed"), (4010, "InvalidShard"), (4011, "ShardingRequired"),
     (4012, "InvalidApiVersion"), (4013, "InvalidIntents"), (4014, "DisallowedIntents")],
)  # fmt: skip
def test_these_close_codes_stop(code, name):
    """No retry can help; each has a typed error with numbers and advice."""
    assert action_for(code) is Action.STOP
    error = fatal_error(code, intents=Intents.all(), shard_id=3, shard_count=4)
    assert type(error) is getattr(errors, name)
    assert (error.close_code, error.shard_id) == (code, 3)
    assert str(error).startswith(f"close code {code}: ")
    assert not str(error).endswith(".")


def test_a_rule_has_an_error_exactly_when_it_stops():
    """The table is consistent with itself."""
    for rule in CLOSE_RULES.values():
        assert (rule.action is Action.STOP) == (rule.error is not None)
        assert rule.error is None or issubclass(rule.error, FatalError)
        assert 0 <= rule.wait_s[0] <= rule.wait_s[1]


def test_only_fatal_codes_make_fatal_errors():
    """Asking for the error of a code that does not stop is our mistake."""
    with pytest.raises(UsageError, match="4000 is not fatal"):
        fatal_error(4000, intents=Intents.none())


def test_fatal_errors_name_shard_or_intents():
    """The text says which shard, which bits, which privileged intents."""
    asked = Intents.GUILDS | Intents.GUILD_PRESENCES
    assert "shard 3 of 4" in str(fatal_error(4010, intents=asked, shard_id=3, shard_count=4))
    assert str(fatal_error(4014, intents=asked)).endswith(": GUILD_PRESENCES")
    assert "GUILDS, GUILD_PRESENCES" in str(fatal_error(4013, intents=asked))


def test_our_close_codes():
    """1000 and 1001 end a session, so only the final close may be one of them."""
    assert FINAL_CLOSE_CODE == 1000
    assert RESUMABLE_CLOSE_CODE not in (1000, 1001)
    assert 4000 <= RESUMABLE_CLOSE_CODE < 5000
    assert rule_for(4998).name == "unknown close code"


# --- URL -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("base", "url"),
    [
        ("wss://gateway.discord.gg", "wss://gateway.discord.gg/?v=10&encoding=json"),
        ("wss://gateway.discord.gg/", "wss://gateway.discord.gg/?v=10&encoding=json"),
        ("wss://x.gg/some/path", "wss://x.gg/?v=10&encoding=json"),
        ("wss://x.gg/?v=6&encoding=etf&compress=zlib-stream", "wss://x.gg/?v=10&encoding=json"),
        ("ws://127.0.0.1:8080/?shard=1#part", "ws://127.0.0.1:8080/?v=10&encoding=json&shard=1"),
        ("ws://[::1]:80", "ws://[::1]:80/?v=10&encoding=json"),
    ],
)
def test_gateway_url(base, url):
    """case 14: path "/", our query once, foreign items kept, fragments dropped; idempotent."""
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
    ],
)
def test_gateway_url_refuses_what_is_no_websocket(base):
    """Anything that could not be connected to is a usage error before it is tried."""
    with pytest.raises(UsageError, match="not a websocket URL"):
        gateway_url(base, None)


# --- GET /gateway/bot ----------------------------------------------------------------------------


def test_gateway_info_is_read():
    """Milliseconds become seconds, everything else stays."""
    info = GatewayInfo.parse({
        "url": "wss://gateway.discord.gg", "shards": 9,
        "session_start_limit":
            {"total": 1000, "remaining": 999, "reset_after": 14_400_000, "max_concurrency": 16},
    })  # fmt: skip
    assert info == GatewayInfo(
        "wss://gateway.discord.gg", 9, SessionStartLimit(1000, 999, 14_400.0, 16)
    )
    assert GatewayInfo.parse({"url": "ws://x"}) == GatewayInfo("ws://x", 1, None)


@pytest.mark.parametrize(
    "data",
    [None, [], "x", 7, {}, {"url": 7}, {"url": "http://x"}, {"url": "ws://x", "shards": 0},
     {"url": "ws://x", "shards": True}, {"url": "ws://x", "session_start_limit": []},
     {"url": "ws://x", "session_start_limit": {"total": 1}},
     {"url": "ws://x", "session_start_limit":
         {"total": 1, "remaining": -1, "reset_after": 0, "max_concurrency": 1}}],
)  # fmt: skip
def test_malformed_gateway_info_is_a_typed_error(data):
    """Whatever a proxy answers, it is one error."""
    with pytest.raises(GatewayInfoError, match="gateway information"):
        GatewayInfo.parse(data)


# --- HELLO and READY -----------------------------------------------------------------------------


@pytest.mark.parametrize(("interval_ms", "interval_s"), [(41_250, 41.25), (45_000.0, 45.0)])
def test_hello_gives_seconds(interval_ms, interval_s):
    """The interval is never assumed, and is milliseconds on the wire."""
    assert read_hello({"heartbeat_interval": interval_ms, "_trace": []}) == interval_s


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


# --- token ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("given_token", [TOKEN, f"Bot {TOKEN}", f" bot  {TOKEN}\n", f"BOT {TOKEN}"])
def test_a_token_is_taken_with_or_without_prefix(given_token):
    """HTTP wants "Bot ", the gateway does not; users paste both, and line ends too."""
    assert normalise_token(given_token) == TOKEN


@pytest.mark.parametrize("bad", ["", "  ", "Bot ", "Bot", "a b", "a\r\nb", "tökén", "a\0b"])
def test_an_impossible_token_is_refused_without_being_shown(bad):
    """The text says what to do and never holds what was given."""
    with pytest.raises(UsageError) as caught:
        normalise_token(bad)
    assert str(caught.value).startswith("the token ")
    assert "tökén" not in str(caught.value)


def test_redact():
    """Every occurrence goes; an empty token changes nothing."""
    assert redact(f"a {TOKEN} b {TOKEN}", TOKEN) == "a <token> b <token>"
    assert redact(f"a{TOKEN}b", TOKEN) == "a<token>b"
    assert redact("text", "") == "text"


def test_a_short_token_goes_only_as_a_word():
    """Real ones are far longer; the "t" of a test leaves words alone."""
    assert redact('the connection: t, "t" t', "t") == 'the connection: <token>, "<token>" <token>'
    assert redact("a.b a.bc xa.b axb", "a.b") == "<token> a.bc xa.b axb"


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


@pytest.mark.parametrize("data", [{1: 2}, {"a": {1, 2}}, {"a": "\ud800"}, object()])
def test_what_is_no_json_is_a_usage_error(data):
    """orjson's error is turned into ours, without the data."""
    with pytest.raises(UsageError, match="cannot be written as JSON"):
        encode_command(3, data)


# --- events and intents --------------------------------------------------------------------------


def test_intent_masks():
    """The masks Discord's docs give for all bits and for the unprivileged ones."""
    assert int(Intents.all()) == 53_608_447
    assert int(Intents.default()) == 53_575_421
    assert Intents.default() | PRIVILEGED == Intents.all()
    assert Intents.none() == 0


def test_intent_names():
    """Names of the bits set, undefined bits as numbers."""
    assert (Intents.GUILDS | Intents.GUILD_MEMBERS).names() == ["GUILDS", "GUILD_MEMBERS"]
    assert Intents((1 << 18) | 1).names() == ["GUILDS", "1<<18"]
    assert Intents.none().names() == []


def test_event_names():
    """79 documented names, ours among them, and every gate opens documented ones."""
    assert len(EVENT_NAMES) == 79
    assert LIBRARY_EVENTS <= EVENT_NAMES
    assert set(EVENT_INTENTS) <= EVENT_NAMES


def test_ungated_events():
    """What no intent gates, as the docs list it."""
    assert EVENT_NAMES - set(EVENT_INTENTS) == {
        "READY", "RESUMED", "RATE_LIMITED", "INTERACTION_CREATE", "VOICE_SERVER_UPDATE",
        "USER_UPDATE", "APPLICATION_COMMAND_PERMISSIONS_UPDATE", "GUILD_MEMBERS_CHUNK",
        "SOUNDBOARD_SOUNDS", "CHANNEL_INFO",
        *(f"{kind}_{what}" for kind in ("ENTITLEMENT", "SUBSCRIPTION")
          for what in ("CREATE", "UPDATE", "DELETE")),
    }  # fmt: skip


def test_some_events_have_several_gates():
    """Guild and direct messages are gated apart; any of the intents opens the name."""
    assert EVENT_INTENTS["MESSAGE_CREATE"] == Intents.GUILD_MESSAGES | Intents.DIRECT_MESSAGES
    assert EVENT_INTENTS["THREAD_MEMBERS_UPDATE"] == Intents.GUILDS | Intents.GUILD_MEMBERS
    every = Intents.none()
    for gates in EVENT_INTENTS.values():
        every |= gates
    assert every == Intents.all() & ~Intents.MESSAGE_CONTENT  # which gates fields, not events
