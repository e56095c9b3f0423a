"""What goes wrong, from outside or by mistake: one typed error each, that says what to do."""

import asyncio
import contextlib
import functools
import io
import logging
import socket
import traceback

import pytest
from deadline import scaled, until
from gateways import TOKEN, no_jitter, quick_queue
from gateways import gateway_to as gateway_with
from inside import innards
from raw_websocket import close_frame, frame, raw_server

from fastgw.errors import (
    AuthenticationFailed,
    CertificateRefused,
    ConnectFailed,
    ConnectionClosed,
    ConnectTimeout,
    DisallowedIntents,
    FatalError,
    GatewayInfoError,
    HandshakeRefused,
    InvalidApiVersion,
    InvalidIntents,
    InvalidShard,
    NotAWebSocket,
    ProtocolError,
    ShardingRequired,
    UsageError,
)
from fastgw.fleet.http.gateway_info import GatewayInfo
from fastgw.gateway import Gateway
from fastgw.protocol.signals import Cause
from fastgw.protocol.states import State
from fastgw.protocol.timeouts import Timeouts
from fastgw.testing import FakeGateway, Moment
from fastgw.words import Intents

gateway_to = functools.partial(gateway_with, random=no_jitter)


async def refused(gateway, error, text):
    """Enter the gateway; expect this error, from wait_closed() too, and a clean end."""
    with pytest.raises(error, match=text) as caught:
        await asyncio.wait_for(_enter(gateway), scaled(10.0))
    with pytest.raises(error):
        await gateway.wait_closed()
    return caught.value


async def _enter(gateway):
    async with gateway:
        pytest.fail("it became ready")


# ---------------------------------------------------------------------------- the constructor


@pytest.mark.parametrize(
    ("token", "text"),
    [
        ("", "token is empty"),
        ("Bot ", "token is empty"),
        ("two words", "white space"),
        ("line\r\nbreak", "white space"),
    ],
)
def test_no_usable_token(token, text):
    """Empty, or not what a token looks like: the program passes it, so it is told where it does."""
    with pytest.raises(UsageError, match=text):
        Gateway(token, intents=Intents.all())


NO_TOKENS = {
    "none": ({}, "there is no token: set DISCORD_TOKEN"),
    "empty": ({"DISCORD_TOKEN": ""}, "token is empty"),
    "in quotes": ({"DISCORD_TOKEN": '"a.b.c"'}, "stands in quotes"),
    "no such file": ({"DISCORD_TOKEN_FILE": "/nowhere/token"}, "cannot be read"),
}


@pytest.fixture(params=NO_TOKENS)
def without_token(request, monkeypatch):
    """An environment without a token that can be used; what is said of it."""
    environment, text = NO_TOKENS[request.param]
    for name in ("DISCORD_TOKEN", "DISCORD_TOKEN_FILE", "CREDENTIALS_DIRECTORY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return text


async def test_a_gateway_without_a_token_can_be_made_and_not_started(without_token):
    """Tests import a bot's module as well; what is missing is said when it matters, each time."""
    gateway = Gateway(intents=Intents.all())
    for _ in range(2):
        with pytest.raises(UsageError, match=without_token):
            await gateway.start()
    with pytest.raises(UsageError, match=without_token):
        async with gateway:
            pytest.fail("it was started")


def test_a_program_without_a_token_ends_with_one_line(without_token):
    """No traceback leads whoever starts it to what is missing: SystemExit shows its text alone."""
    with pytest.raises(SystemExit, match=f"^fastgw: .*{without_token}"):
        Gateway(intents=Intents.all()).run()


def test_a_gateway_that_was_not_made_can_be_shown():
    """A traceback with values, as debuggers print it, shows half a gateway."""
    half = Gateway.__new__(Gateway)
    with pytest.raises(UsageError):
        half.__init__("", intents=Intents.all())
    assert repr(half) == "<Gateway not made>"


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"shards": [0]}, r"shards=\[0\] says nothing without shard_count="),
        ({"shard_count": 4}, r"shard_count=4 says nothing without ids"),
        ({"shards": range(17), "shard_count": 16}, r"must be ids from 0 to 15"),
        ({"shards": range(10**9), "shard_count": 16}, "are more than the 65536"),
        ({"shards": 10**9}, "is not a number of shards from 1 to 65536"),
        ({"shards": 0}, "is not a number of shards from 1"),
        ({"shards": True}, 'shards=True is not "auto"'),
        ({"shards": [0], "shard_count": 1.5}, "shard_count=1.5 is not a number of shards"),
        ({"shards": [4], "shard_count": 4}, "must be ids from 0 to 3"),
        ({"shards": [-1], "shard_count": 4}, "must be ids from 0 to 3"),
        ({"shards": [], "shard_count": 4}, "must be ids from 0 to 3"),
        ({"shards": ["0"], "shard_count": 4}, "must be ids from 0 to 3"),
        ({"shards": "all"}, 'is not "auto", a number of shards'),
        ({"shards": 1, "shard_count": 4}, "means all 1 shards of the bot, and shard_count=4"),
        ({"compress": "gzip"}, "is not one of 'auto', 'zstd-stream'"),
        ({"on_fatal": "retry"}, 'neither "continue" nor "stop"'),
        ({"intents": "GUILDS"}, "such as Intents.default()"),
        ({"large_threshold": 10}, "not within 50 to 250"),
        ({"identify_extra": {"token": "x"}}, "has an option of its own"),
        ({"presence": {"activities": ["x" * 4096]}}, "4096"),
        ({"properties": {"os": 5}}, "properties holds text alone"),
        ({"properties": "linux"}, "properties is a mapping"),
        ({"presence": "online"}, "presence is a mapping"),
        ({"large_threshold": "100"}, "not within 50 to 250"),
        ({"capabilities": "all"}, "capabilities is a number"),
        ({"identify_extra": ["x"]}, "identify_extra is a mapping"),
        ({"token": b"bytes"}, "token is a str"),
        ({"info": {"url": "wss://x.gg"}}, "GatewayInfo.parse"),
        ({"timeouts": 5.0}, "timeouts=5.0 is not a Timeouts"),
        ({"drain_s": -1.0}, "drain_s=-1.0 is not a number of seconds"),
        ({"drain_s": float("nan")}, "drain_s=nan is not a number of seconds"),
        ({"drain_s": "5"}, "drain_s='5' is not a number of seconds"),
        ({"random": 0.5}, r"random=0.5 is not a function that gives floats in \[0, 1\)"),
        ({"shards": [0, "1"], "shard_count": 2}, "must be ids from 0 to 1"),
        ({"shards": [0], "shard_count": "2"}, "shard_count='2' is not a number of shards"),
    ],
)
def test_options_that_cannot_work(options, text):
    """Told when the gateway is made, not at the first connection."""
    with pytest.raises(UsageError, match=text):
        Gateway(**{"token": TOKEN, "intents": Intents.all(), **options})


def test_a_bare_on():
    """@gateway.on without the name of an event."""
    gateway = Gateway(TOKEN, intents=Intents.all())
    with pytest.raises(UsageError, match=r'write @gateway.on\("MESSAGE_CREATE"\)'):

        @gateway.on
        def handler(event): ...


# ---------------------------------------------------------------------------- calls out of turn


async def test_start_twice(fake):
    """A gateway lives once."""
    gateway = gateway_to(fake)
    async with gateway:
        with pytest.raises(UsageError, match=r"start\(\) works once.*running"):
            await gateway.start()
    with pytest.raises(UsageError, match="closed"):
        await gateway.start()


@pytest.mark.parametrize("way_in", ["async with", "start()"])
async def test_async_with_of_a_running_gateway(fake, way_in):
    """The second entry is refused and the first life goes on: shards, handlers, session."""
    gateway, seen = gateway_to(fake), []
    gateway.on("GUILD_CREATE")(lambda event: seen.append(event.data["id"]))
    async with contextlib.AsyncExitStack() as first:
        if way_in == "async with":
            await first.enter_async_context(gateway)
        else:
            await gateway.start()
            first.push_async_callback(gateway.close)
            await gateway.wait_ready()
        with pytest.raises(UsageError, match=r"start\(\) works once.*running"):
            async with gateway:
                pass
        fake.dispatch("GUILD_CREATE", {"id": "1"})
        await until(lambda: seen == ["1"])
        assert gateway.health().ready == len(gateway.shards)
    with pytest.raises(UsageError, match="closed"):
        async with gateway:
            pass


async def test_start_while_starting(fake):
    """The second call is refused, the first goes on."""
    gateway = gateway_to(fake, info=None, api_url=fake.api_url)
    first = asyncio.ensure_future(gateway.start())
    await asyncio.sleep(0)
    with pytest.raises(UsageError, match=r"start\(\) works once.*starting"):
        await gateway.start()
    await first
    await gateway.wait_ready()
    await gateway.close()


async def test_waiting_for_what_was_not_started(fake):
    """It would wait for ever."""
    gateway = gateway_to(fake)
    with pytest.raises(UsageError, match=r"call start\(\) first"):
        await gateway.wait_ready()
    with pytest.raises(UsageError, match=r"call start\(\) first"):
        await gateway.wait_closed()


async def test_run_inside_a_loop(fake):
    """run() makes its own loop."""
    with pytest.raises(UsageError, match=r"await start\(\) instead"):
        gateway_to(fake).run()


# ---------------------------------------------------------------------------- the API's answers


@pytest.mark.parametrize(
    ("status", "error", "text"),
    [
        (401, AuthenticationFailed, "DISCORD_TOKEN"),
        (403, GatewayInfoError, "HTTP 403"),
    ],
)
async def test_the_api_refuses(fake, status, error, text):
    """start() raises, and so does wait_closed(); nothing is retried."""
    fake.answer_api(status, times=None)
    await refused(gateway_to(fake, info=None, api_url=fake.api_url), error, text)
    assert fake.api_requests == 1
    assert fake.upgrades == []


async def test_the_api_is_down_for_a_while(fake):
    """5xx and 429 are waited out; a gateway comes up by itself."""
    fake.answer_api(502, b"<html>", times=2)
    fake.answer_api(429, b'{"retry_after": 0.01}')
    async with gateway_to(fake, info=None, api_url=fake.api_url):
        assert fake.api_requests == 4


# ---------------------------------------------------------------------------- refused for good


@pytest.mark.parametrize(
    ("service", "options", "error", "text"),
    [
        ({"token": "another"}, {}, AuthenticationFailed, "4004: the token was refused"),
        (
            {"shard_counts": {16}},
            {"shards": [3], "shard_count": 5},
            InvalidShard,
            "4010: shard 3 of 5",
        ),
        (
            {"allowed_intents": Intents.default()},
            {},
            DisallowedIntents,
            "4014.*developer portal.*GUILD_MEMBERS, GUILD_PRESENCES, MESSAGE_CONTENT",
        ),
        ({}, {"intents": 1 << 40}, InvalidIntents, "4013.*1<<40"),
    ],
)  # fmt: skip
async def test_a_fatal_close(service, options, error, text, caplog):
    """case 29: one attempt, one loud error with its cause; run() and wait_closed() raise it."""
    async with FakeGateway(**service) as fake:
        gateway = gateway_to(fake, **options)
        caught = await refused(gateway, error, text)
        assert len(fake.upgrades) == 1
    assert caught.close_code in (4004, 4010, 4013, 4014)
    assert caught.shard_id == options.get("shards", [0])[0]
    loud = [record for record in caplog.records if record.levelno == logging.CRITICAL]
    assert len(loud) == 1
    assert str(caught) in loud[0].message
    assert gateway.health().refusal is caught
    assert gateway.shards[0].error is caught
    assert gateway.shards[0].status is State.STOPPED


@pytest.mark.parametrize(
    ("code", "error"),
    [(4004, AuthenticationFailed), (4011, ShardingRequired), (4012, InvalidApiVersion)],
)
async def test_a_fatal_close_of_a_running_session(fake, code, error):
    """case 29: it stops as well, without another attempt."""
    gateway = gateway_to(fake)
    await gateway.start()
    await gateway.wait_ready()
    fake.close(code)
    with pytest.raises(error):
        await asyncio.wait_for(gateway.wait_closed(), scaled(10.0))
    assert len(fake.upgrades) == 1


async def two_shards(fake, **options):
    """Start a gateway with two shards."""
    gateway = gateway_to(fake, identify_queue=quick_queue(2), shards=2, **options)
    await gateway.start()
    return gateway


async def test_a_fatal_close_leaves_running_sessions_alone():
    """case 29: the gate shuts, the other shard goes on and resumes; without it all ends."""
    async with FakeGateway(max_concurrency=2) as fake:
        gateway = await two_shards(fake)
        await gateway.wait_ready()
        fake.service.allowed_intents = Intents.default()
        fake.service.kill(fake.service.session(0))
        fake.cut(shard_id=None)  # 0 must identify and is refused with 4014; 1 resumes
        await until(lambda: gateway.shards[0].status is State.STOPPED, 10.0)
        await until(lambda: gateway.shards[1].stats().resumes_won)
        assert isinstance(gateway.health().refusal, DisallowedIntents)
        identifies = len(fake.identifies)

        # The session of 1 is lost as well: nobody may identify any more.
        fake.service.kill_sessions()
        fake.cut()
        with pytest.raises(DisallowedIntents):
            await asyncio.wait_for(gateway.wait_closed(), scaled(20.0))
        assert len(fake.identifies) == identifies
        assert isinstance(gateway.shards[1].error, DisallowedIntents)


@pytest.mark.parametrize(("code", "options"), [(4004, {}), (4010, {"on_fatal": "stop"})])
async def test_a_fatal_close_that_stops_all(code, options):
    """case 30: a refused token is refused for all; on_fatal="stop" treats every refusal so."""
    async with FakeGateway(max_concurrency=2) as fake:
        gateway = await two_shards(fake, **options)
        await gateway.wait_ready()
        fake.close(code, shard_id=0)
        with pytest.raises(FatalError):
            await asyncio.wait_for(gateway.wait_closed(), scaled(10.0))
        assert [shard.status for shard in gateway.shards] == [State.STOPPED] * 2
        assert fake.connections == []


# ---------------------------------------------------------------------------- no connection


def unused_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


async def test_connection_refused_is_retried_and_told():
    """case 27: it goes on trying; who waits with a deadline gets the reason."""
    info = GatewayInfo(f"ws://127.0.0.1:{unused_port()}")
    gateway = Gateway(TOKEN, intents=Intents.all(), info=info, random=no_jitter)
    await gateway.start()
    with pytest.raises(ConnectFailed, match="refused the connection"):
        await gateway.wait_ready(timeout_s=0.2)
    assert gateway.shards[0].stats().connections >= 2
    await gateway.close()


async def test_who_waits_while_the_api_is_away_is_told_so(caplog):
    """There are no shards yet whose errors could be told: the reason is the API's."""
    api_url = f"http://127.0.0.1:{unused_port()}/api/v10"
    gateway = Gateway(TOKEN, intents=Intents.all(), api_url=api_url)
    starting = asyncio.create_task(gateway.start())
    await until(lambda: "asking again" in caplog.text)
    with pytest.raises(ConnectFailed, match="refused the connection; check api_url"):
        await gateway.wait_ready(0.01)
    await gateway.close()
    with pytest.raises(UsageError):
        await starting


async def test_who_waits_where_no_shard_runs_is_told_so(fake):
    """Not of "0 of 0 shards"."""
    async with gateway_to(fake) as gateway:
        await gateway.stop_shard(0)
        with pytest.raises(
            ConnectTimeout, match=r"not ready after 0\.01 s: no shard runs here yet"
        ):
            await gateway.wait_ready(0.01)


async def test_a_service_that_closes_every_identify_is_told(fake):
    """Whoever waits with a deadline, looks at the health or hears of changes knows the reason."""
    fake.instead_of(Moment.IDENTIFY, lambda peer: peer.close(4000, "no room"), times=None)
    changes = []
    gateway = gateway_to(fake)
    gateway.on_status(changes.append)
    await gateway.start()
    with pytest.raises(ConnectionClosed, match="closed by service: code 4000: no room") as caught:
        await gateway.wait_ready(timeout_s=scaled(0.3))
    assert caught.value.close_code == 4000
    assert str(gateway.shards[0].health().last_error) == str(caught.value)
    down = [change for change in changes if change.new is State.DISCONNECTED]
    assert {str(change.error) for change in down} == {str(caught.value)}
    await gateway.close()


async def test_a_name_that_does_not_resolve_is_retried(monkeypatch, fake):
    """case 27: DNS failure is never fatal."""
    failures, usual = 3, socket.getaddrinfo

    def getaddrinfo(host, *args, flags=0, **kwargs):
        nonlocal failures
        if host != "gateway.test" or flags & socket.AI_NUMERICHOST:
            return usual(host, *args, flags=flags, **kwargs)
        failures -= 1
        if failures >= 0:
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", fake.port))]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    info = GatewayInfo(url=f"ws://gateway.test:{fake.port}")
    async with gateway_to(fake, info=info) as gateway:
        stats = gateway.shards[0].stats()
    assert stats.connections == 4
    assert stats.sessions_lost == 0


async def test_a_refused_certificate_at_the_start():
    """It will not get better by itself: the first start raises."""
    async with FakeGateway(tls=True) as fake:
        gateway = Gateway(TOKEN, intents=Intents.all(), info=fake.info, random=no_jitter)
        await refused(gateway, CertificateRefused, "pass an ssl_context")


@pytest.mark.parametrize("data", [b"SSH-2.0-OpenSSH_9.7\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\nhello"])
async def test_no_websocket_at_the_start(fake, data):
    """Garbage, or a web page, where the gateway should be."""
    fake.garble_upgrade(data, times=None)
    await refused(gateway_to(fake), (NotAWebSocket, HandshakeRefused), "127.0.0.1")
    assert fake.upgrades == []


@pytest.mark.parametrize("status", [400, 403])
async def test_a_refused_upgrade_at_the_start(fake, status):
    """4xx: raised, with the status."""
    fake.refuse_upgrade(status, times=None)
    caught = await refused(gateway_to(fake), HandshakeRefused, f"HTTP {status}")
    assert caught.status == status


@pytest.mark.parametrize("status", [429, 500, 503, 520])
async def test_an_upgrade_that_fails_for_a_while(fake, status):
    """429 and 5xx, Cloudflare's own too, are retried."""
    fake.refuse_upgrade(status, headers={"Retry-After": "0"}, times=2)
    async with gateway_to(fake) as gateway:
        assert gateway.shards[0].stats().connections == 3


@pytest.mark.parametrize(
    "fault",
    [
        lambda fake: fake.refuse_upgrade(403),
        lambda fake: fake.garble_upgrade(b"hello\r\n\r\n"),
        lambda fake: fake.garble_upgrade(b""),
    ],
)
async def test_what_is_fatal_at_the_start_is_retried_later(fake, fault):
    """A gateway that has worked does not give up: it was a bad moment of the network."""
    async with gateway_to(fake) as gateway:
        fault(fake)
        fake.cut()
        await until(lambda: gateway.shards[0].stats().resumes_won)
    assert len(fake.identifies) == 1


async def test_an_upgrade_that_is_never_answered(fake):
    """case 2: the deadline of opening: a typed error, and another attempt."""
    fake.ignore_upgrade()
    gateway = gateway_to(fake, timeouts=Timeouts(open_s=0.1))
    errors = []
    gateway.on_status(lambda change: errors.append(change.error) if change.error else None)
    async with gateway:
        assert [type(error) for error in errors] == [ConnectTimeout]


# ---------------------------------------------------------------------------- odd beginnings


@pytest.mark.parametrize(
    ("first", "cause", "error", "text"),
    [
        (
            frame(1, b'{"op":11,"d":null,"s":null,"t":null}'),
            Cause.PROTOCOL_ERROR,
            ProtocolError,
            "first message has op 11, not HELLO",
        ),
        (frame(1, b"hello"), Cause.PROTOCOL_ERROR, ProtocolError, "JSON"),
        (
            frame(1, b'{"op":10,"d":{"heartbeat_interval":"soon"},"s":null,"t":null}'),
            Cause.PROTOCOL_ERROR,
            ProtocolError,
            "heartbeat_interval",
        ),
        (close_frame(4000, b"not now"), Cause.CLOSED_BY_SERVICE, None, "not now"),
        (close_frame(1000), Cause.CLOSED_BY_SERVICE, None, ""),
        (None, Cause.CONNECTION_LOST, None, ""),
    ],
)
async def test_odd_beginnings(first, cause, error, text, caplog):
    """case 1: no HELLO, CLOSE as the first frame, the end before HELLO: tried again."""
    caplog.set_level(logging.INFO, logger="fastgw")
    changes = []

    async def peer(raw):
        await raw.upgrade()
        if first is not None:
            raw.send(first)
            await asyncio.sleep(0.02)

    async with raw_server(peer) as url:
        gateway = Gateway(
            TOKEN, intents=Intents.all(), info=GatewayInfo(url), compress="none", random=no_jitter
        )
        gateway.on_status(changes.append)
        await gateway.start()
        await until(lambda: gateway.shards[0].stats().connections >= 3)
        stats = gateway.shards[0].stats()
        await gateway.close()
    ends = [c for c in changes if c.new is State.DISCONNECTED]
    assert {change.cause for change in ends} == {cause}
    if error is not None:
        assert isinstance(ends[0].error, error)
        assert text in str(ends[0].error)
    assert text in caplog.text
    assert set(stats.reconnects) == {cause.value}


async def test_hello_that_never_comes(fake):
    """case 2: its own deadline; then another attempt."""
    fake.never_hello()
    causes = []
    gateway = gateway_to(fake, timeouts=Timeouts(hello_s=0.1))
    gateway.on_status(lambda change: causes.append(change.cause) if change.cause else None)
    async with gateway:
        assert set(causes) == {Cause.HELLO_TIMEOUT}
        assert len(fake.upgrades) == 2


async def test_ready_that_never_comes(fake):
    """case 4: its own, long deadline; the next identify takes a new turn."""
    fake.instead_of(Moment.IDENTIFY, lambda peer: None)
    gateway = gateway_to(fake, timeouts=Timeouts(ready_s=0.1))
    async with gateway:
        assert gateway.shards[0].stats().identifies == 2


# ---------------------------------------------------------------------------- the token


async def test_the_token_is_nowhere(fake, caplog):
    """Not in reprs, logs at DEBUG, errors, health, or tracebacks, whatever happened."""
    caplog.set_level(logging.DEBUG)
    said = io.StringIO()
    changes = []
    gateway = gateway_to(fake)
    gateway.on_status(changes.append)

    @gateway.on("*")
    def broken(event):
        raise RuntimeError(f"failed on {event!r}")

    async with gateway:
        fake.dispatch("MESSAGE_CREATE", {})
        fake.close(4000, f"echo {TOKEN}")
        await until(lambda: gateway.shards[0].stats().resumes_won)
        fake.service.token = "another"
        fake.service.kill_sessions()
        print(repr(gateway), gateway.shards, gateway.health(), changes, file=said)
        fake.cut()
        try:
            await asyncio.wait_for(gateway.wait_closed(), scaled(20.0))
        except AuthenticationFailed as error:
            traceback.print_exception(error, file=said)
    print(innards(gateway), changes, gateway.health(), file=said)
    assert "4004" in said.getvalue()
    assert TOKEN not in said.getvalue()
    assert TOKEN not in caplog.text
    assert "<token>" in caplog.text


async def test_the_token_is_in_no_error_of_the_api(fake):
    """Not in the text, the causes, or the frames' own words."""
    fake.answer_api(401, b'{"message": "401: Unauthorized"}')
    gateway = gateway_to(fake, info=None, api_url=fake.api_url)
    caught = await refused(gateway, AuthenticationFailed, "401")
    text = "".join(traceback.format_exception(caught))
    assert TOKEN not in text


@pytest.mark.parametrize("is_outage", [False, True])
async def test_a_lost_session_is_told(fake, caplog, is_outage):
    """case 55: by a warning, whether its RESUME was refused or op 9 came out of the blue."""
    caplog.set_level(logging.WARNING, "fastgw")
    async with gateway_to(fake):
        if is_outage:
            fake.service.kill_sessions()
            fake.cut()
        else:
            fake.invalid_session(resumable=False)
        await until(lambda: caplog.records)
        (told,) = caplog.messages
        assert told.startswith("shard 0 lost its session (invalid session): events from ")


async def test_an_outage_is_told_and_its_end(fake, caplog, monkeypatch):
    """case 55: by a warning, which Python's own logging shows as well; and once when it is over."""
    caplog.set_level(logging.WARNING, "fastgw")
    async with gateway_to(fake, backoff_s=(0.01, 0.02)):
        fake.refuse_upgrade(503, times=3)
        fake.cut()
        await until(lambda: caplog.records)
        (told,) = caplog.messages
        assert "shard 0 has been away" in told
        assert "503" in told
        monkeypatch.setattr("fastgw.fleet.outages.STABLE_S", 0.0)  # a test need not wait for it
        await until(lambda: len(caplog.records) > 1)
    assert "the shard is back" in caplog.messages[1]
