"""`fastgw.testing.FakeGateway` on loopback, driven by a client that shares no code with fastgw."""

from __future__ import annotations

import asyncio
import json
import struct
import sys
import urllib.error
import urllib.request
from contextlib import asynccontextmanager

import pytest
from plain_client import PlainClient

from fastgw.errors import UsageError
from fastgw.fleet.http.gateway_info import GatewayInfo, SessionStartLimit
from fastgw.testing import (
    Cut,
    Dispatch,
    FakeGateway,
    FakeService,
    Framing,
    Moment,
    Traffic,
)
from fastgw.testing.server import certificates
from fastgw.testing.service.identify import BOT_ID

COMPRESSIONS = [None, "zlib-stream", "zstd-stream"]


@asynccontextmanager
async def connected(fake, *, compress=None, identify=True, **fields):
    """Connect a client; identify it and wait for READY, unless told not to."""
    client = await PlainClient.open(
        fake.url, compress=compress, ssl_context=fake.client_ssl_context
    )
    try:
        await client.upgraded()
        if identify:
            client.identify(**fields)
            client.ready = (await client.until("READY"))[-1]
        yield client
    finally:
        await client.aclose()


def get(url, headers=None, context=None):
    """Call the HTTP API with the standard library; return status, headers and body."""
    request = urllib.request.Request(url, headers=headers or {})
    try:
        with urllib.request.urlopen(request, timeout=10, context=context) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers, error.read()


@pytest.mark.parametrize("tls", [False, True], ids=["ws", "wss"])
async def test_nothing_is_written_to_a_client_that_is_gone(tls, caplog):
    """TCP was reset, and the loop has yet to say so: asyncio would warn of every write."""
    async with FakeGateway(tls=tls) as fake, connected(fake) as client:
        client.shut_down()
        for number in range(20):
            fake.dispatch("MESSAGE_CREATE", {"content": str(number)})
            fake.flush()
        await fake.wait_for(lambda: not fake.connections, what="the end")
        assert fake.service.session(0).sequence == 21  # all of it waits for a RESUME
    assert caplog.messages == []


async def test_a_slip_in_the_name_of_an_event_is_told_at_its_line():
    """It is sent all the same: Discord has events that it does not document."""
    async with FakeGateway() as fake, connected(fake):
        with pytest.warns(UserWarning, match=r"; did you mean MESSAGE_CREATE\?$") as said:
            assert fake.dispatch("MESSAGE_CREAT", {}) == 1
        assert said[0].filename == __file__
        assert fake.dispatch("BRAND_NEW", {}) == 1


@pytest.mark.parametrize("tls", [False, True], ids=["ws", "wss"])
@pytest.mark.parametrize("compress", COMPRESSIONS)
async def test_traffic_arrives_whole(tls, compress):
    """Every dispatch arrives, in order, unchanged, over each transport and compression."""
    dispatches = [*Traffic(1).dispatches(300), Traffic(2).dispatch("GUILD_CREATE")]
    async with FakeGateway(tls=tls) as fake, connected(fake, compress=compress) as client:
        wanted = [d for d in dispatches if fake.service.session().wants(d.name)]
        assert fake.dispatch_many(dispatches) == len(wanted)
        for sequence, dispatch in enumerate(wanted, 2):
            message = await client.next()
            assert (message["t"], message["s"]) == (dispatch.name, sequence)
            assert message["d"] == json.loads(dispatch.data)


@pytest.mark.parametrize(
    "framing",
    [
        Framing(fragment_bytes=7),
        Framing(empty_final_frame=True),
        Framing(fragment_bytes=20, empty_final_frame=True, ping_between=True),
        Framing(split_bytes=9),
        Framing(split_bytes=30, fragment_bytes=11, empty_final_frame=True),
        Framing(zstd_frame_per_message=True),
        Framing(level=1),
    ],
)
@pytest.mark.parametrize("compress", COMPRESSIONS)
async def test_framing(framing, compress):
    """However messages are split and fragmented, a client that follows the rules gets them."""
    dispatches = Traffic(3, mix={"INTERACTION_CREATE": 1}).dispatches(20)
    async with FakeGateway(framing=framing) as fake, connected(fake, compress=compress) as client:
        client.frames.clear()
        fake.dispatch_many(dispatches)
        for dispatch in dispatches:
            assert (await client.next())["d"] == json.loads(dispatch.data)
        data_frames = [entry for entry in client.frames if entry[0] < 8]
        if framing.fragment_bytes is not None:
            assert max(len(payload) for _, _, payload in data_frames) <= framing.fragment_bytes
            assert sum(1 for opcode, _, _ in data_frames if opcode == 0) > 20
        if framing.empty_final_frame:
            finals = [payload for _, fin, payload in data_frames if fin]
            assert set(finals) == {b""}
        if framing.ping_between:
            assert any(opcode == 9 for opcode, _, _ in client.frames)
        if framing.split_bytes is not None and compress == "zlib-stream":
            assert sum(1 for opcode, _, _ in data_frames if opcode == 2) > 20


async def test_frame_types():
    """Plain JSON is text, transport compression is binary."""
    async with FakeGateway() as fake:
        for compress, opcode in ((None, 1), ("zlib-stream", 2), ("zstd-stream", 2)):
            async with connected(fake, compress=compress) as client:
                assert {entry[0] for entry in client.frames} == {opcode}


async def test_payload_compression_mixes_text_and_binary():
    """After an IDENTIFY with `compress`, large messages are zlib blobs and small ones text."""
    async with FakeGateway() as fake, connected(fake, compress=None, identify=False) as client:
        await client.next()
        client.identify(compress=True)
        await client.until("READY")
        client.send({"op": 1, "d": 1})
        assert (await client.next())["op"] == 11
        assert [entry[0] for entry in client.frames] == [1, 2, 1]


async def test_zstd_stream_never_ends_its_frame():
    """All messages of a connection are one zstd frame; the option ends one with each."""
    magic = bytes.fromhex("28b52ffd")
    for per_message, count in ((False, 1), (True, 3)):
        framing = Framing(zstd_frame_per_message=per_message)
        async with (
            FakeGateway(framing=framing) as fake,
            connected(fake, compress="zstd-stream") as client,
        ):
            fake.dispatch("TYPING_START", {})
            await client.next()
            starts = [payload for _, _, payload in client.frames if payload.startswith(magic)]
            assert len(starts) == count


async def test_api_answers_who_has_the_token():
    """GET /gateway/bot: 200 with the token, 401 with another or without `Bot `; same port."""
    options = {"token": "secret", "recommended_shards": 4, "max_concurrency": 2}
    async with FakeGateway(tls=True, **options) as fake:

        async def ask(route, authorization):
            url, context = f"{fake.api_url}{route}", fake.client_ssl_context
            headers = {"Authorization": authorization}
            return await asyncio.to_thread(get, url, headers, context)

        status, _, body = await ask("/gateway/bot", "Bot secret")
        assert status == 200
        assert GatewayInfo.parse(json.loads(body)) == fake.info
        assert fake.info == GatewayInfo(fake.url, 4, SessionStartLimit(1_000, 1_000, 14_400.0, 2))
        for wrong in ("Bot other", "secret", "Bearer secret", ""):
            assert (await ask("/gateway/bot", wrong))[0] == 401
        assert json.loads((await ask("/gateway", ""))[2]) == {"url": fake.url}
        for route in ("/users/@me", "/applications/@me", "/oauth2/applications/@me"):
            assert (await ask(route, "Bot other"))[0] == 401
            assert json.loads((await ask(route, "Bot secret"))[2])["id"] == BOT_ID
        assert (await ask("/guilds/1", "Bot secret"))[0] == 404
        assert fake.api_requests == 13


async def test_api_answers_can_be_replaced():
    """Any status, header and body, as often as asked, then the ordinary answer again."""
    async with FakeGateway() as fake:
        fake.answer_api(429, b"error code: 1015", headers={"Retry-After": "3"}, times=2)
        fake.answer_api(520, b"<html>")
        answers = [
            await asyncio.to_thread(get, f"{fake.api_url}/gateway/bot", {"Authorization": "Bot x"})
            for _ in range(4)
        ]
        assert [status for status, _, _ in answers] == [429, 429, 520, 200]
        assert answers[0][1]["Retry-After"] == "3"
        assert answers[0][2] == b"error code: 1015"


async def test_remaining_identifies_are_reported():
    """`session_start_limit.remaining` falls with each IDENTIFY."""
    async with FakeGateway(identifies_total=5) as fake, connected(fake):
        assert fake.info.session_start_limit.remaining == 4


@pytest.mark.parametrize("how", [Cut.RESET, Cut.END])
@pytest.mark.parametrize("tls", [False, True], ids=["ws", "wss"])
async def test_cut_and_resume(how, tls):
    """After a cut the session is there: what was missed is replayed, then RESUMED."""
    async with FakeGateway(tls=tls) as fake:
        async with connected(fake) as client:
            assert fake.cut(how) == 1
            assert await client.ended() == -1
            ready = client.ready
        await fake.wait_for(lambda: not fake.connections, what="the end")
        fake.dispatch("TYPING_START", {"n": 1})
        async with connected(fake, compress="zstd-stream", identify=False) as client:
            await client.next()
            client.resume(ready, 1)
            messages = await client.until("RESUMED")
            assert [(m["t"], m["s"]) for m in messages] == [("TYPING_START", 2), ("RESUMED", 3)]
            await fake.wait_ready()
        assert len(fake.identifies) == len(fake.resumes) == 1


@pytest.mark.parametrize("close_code", [4000, 4009, 1000, None])
async def test_close_on_command(close_code):
    """The client sees the code, or a CLOSE without one (1005)."""
    async with FakeGateway() as fake, connected(fake) as client:
        fake.close(close_code, "because")
        assert await client.ended() == (1005 if close_code is None else close_code)


async def test_close_is_answered_and_decides_about_the_session():
    """The server echoes the client's code; 1000 ended the session, 4000 did not."""
    async with FakeGateway() as fake:
        for close_code, sessions in ((1000, 0), (4000, 1)):
            async with connected(fake) as client:
                client.close(close_code)
                assert await client.ended() == close_code
            assert len(fake.service.sessions) == sessions


async def test_muted_acks():
    """ACKs stay away on command and come back."""
    async with FakeGateway() as fake, connected(fake) as client:
        fake.mute(11)
        client.send({"op": 1, "d": 1})
        await fake.wait_for(lambda: fake.connection().peer.heartbeats == 1)
        fake.unmute()
        client.send({"op": 1, "d": 2})
        assert (await client.next())["op"] == 11
        assert len(client.frames) == 3  # HELLO, READY and one ACK


async def test_requests_of_the_service():
    """Op 1, 7 and 9 are sent on command."""
    async with FakeGateway() as fake, connected(fake) as client:
        fake.request_heartbeat()
        fake.reconnect()
        fake.invalid_session(resumable=True)
        assert [((m := await client.next())["op"], m["d"]) for _ in range(3)] == [
            (1, None), (7, None), (9, True),
        ]  # fmt: skip


async def test_never_hello():
    """The upgrade is answered, then nothing comes; the next connection is greeted."""
    async with FakeGateway() as fake:
        fake.never_hello()
        async with connected(fake, identify=False) as silent, connected(fake, identify=False) as ok:
            assert (await ok.next())["op"] == 10
            assert silent.status == 101
            assert silent.frames == []


async def test_instead_of_moments_on_the_socket():
    """Close before HELLO; TCP cut in answer to IDENTIFY."""
    async with FakeGateway() as fake:
        fake.instead_of(Moment.OPENED, lambda peer: peer.close(1011))
        async with connected(fake, identify=False) as client:
            assert await client.ended() == 1011
        fake.instead_of(Moment.IDENTIFY, lambda peer: peer.cut())
        async with connected(fake, identify=False) as client:
            client.identify()
            assert await client.ended() == -1


@pytest.mark.parametrize("status", [400, 403, 429, 503, 520])
async def test_refused_upgrade(status):
    """Any HTTP status, also those that are in no standard; then the ordinary upgrade."""
    async with FakeGateway() as fake:
        fake.refuse_upgrade(status, body=b"no", headers={"Retry-After": "2"})
        client = await (await PlainClient.open(fake.url)).upgraded()
        assert client.status == status
        assert b"Retry-After: 2\r\n" in client.head
        await client.aclose()
        async with connected(fake):
            assert len(fake.upgrades) == 1


async def test_garbage_and_hang_up_instead_of_an_upgrade():
    """Bytes that are no HTTP, or an empty answer."""
    async with FakeGateway() as fake:
        fake.garble_upgrade(b"SSH-2.0-OpenSSH_9.6\r\n")
        fake.garble_upgrade(b"")
        heads = []
        for _ in range(2):
            client = await (await PlainClient.open(fake.url)).upgraded()
            heads.append(client.head)
            await client.aclose()
        assert heads == [b"SSH-2.0-OpenSSH_9.6\r\n", b""]


async def test_ignored_upgrade_stays_silent():
    """TCP is taken, the upgrade never answered; others are served meanwhile."""
    async with FakeGateway(tls=True) as fake:
        fake.ignore_upgrade()
        silent = await PlainClient.open(fake.url, ssl_context=fake.client_ssl_context)
        reading = asyncio.ensure_future(silent.upgraded())
        async with connected(fake):
            assert not reading.done()
        reading.cancel()
        await silent.aclose()


@pytest.mark.parametrize(
    ("query", "status"),
    [("v=5", 400), ("v=x", 400), ("v=10&encoding=etf", 400), ("v=10&compress=br", 400)],
)
async def test_unknown_queries_are_refused(query, status):
    """What the service does not know fails at the upgrade."""
    async with FakeGateway() as fake:
        client = await (await PlainClient.open(fake.url, query=query)).upgraded()
        assert client.status == status
        await client.aclose()


@pytest.mark.parametrize("query", ["v=9", "encoding=json"])
async def test_other_versions_are_closed(query):
    """A version that is not 10 (without `v` it is 6) closes with 4012."""
    async with FakeGateway() as fake:
        client = await (await PlainClient.open(fake.url, query=query)).upgraded()
        assert await client.ended() == 4012
        await client.aclose()


async def test_many_shards_at_once():
    """Thirty shards are served side by side and each gets its own guilds."""
    async with FakeGateway() as fake:
        clients = [PlainClient() for _ in range(30)]
        for shard_id in range(30):
            clients[shard_id] = await (await PlainClient.open(fake.url)).upgraded()
            clients[shard_id].identify(shard=(shard_id, 30))
        await asyncio.gather(*(client.until("READY") for client in clients))
        await fake.wait_ready(29)
        for shard_id in range(30):
            fake.dispatch("TYPING_START", {"guild_id": str(shard_id << 22)})
        for shard_id, client in enumerate(clients):
            message = await client.next()
            assert message["d"] == {"guild_id": str(shard_id << 22)}
            assert message["s"] == 2
        assert fake.cut(shard_id=7) == 1
        assert await clients[7].ended() == -1
        with pytest.raises(UsageError, match="shard 7 is not connected"):
            fake.connection(7)
        for client in clients:
            await client.aclose()


async def test_resume_host_of_its_own():
    """Two gateways share a service: the session made at one is resumed at the other."""
    service = FakeService()
    async with FakeGateway(service=service) as other, FakeGateway(service=service) as fake:
        service.resume_url = other.url
        async with connected(fake) as client:
            ready = client.ready
        assert ready["d"]["resume_gateway_url"] == other.url
        async with connected(other, identify=False) as client:
            client.resume(ready, 1)
            assert (await client.until("RESUMED"))[-1]["s"] == 2
        assert (len(fake.upgrades), len(other.upgrades)) == (1, 1)


async def test_frozen_connection_is_silent_and_thaws():
    """Nothing is read or written while frozen, TCP stays up; afterwards everything comes."""
    async with FakeGateway() as fake, connected(fake) as client:
        fake.connection().freeze()
        fake.dispatch("TYPING_START", {})
        client.send({"op": 1, "d": 1})
        async with connected(fake, shard=(1, 2)):  # time passes: another client is served
            assert len(client.frames) == 2
            assert fake.connection().peer.heartbeats == 0
        fake.connection().thaw()
        opcodes = sorted([(await client.next())["op"] for _ in range(2)])
        assert opcodes == [0, 11]


async def test_backlog_waits_while_the_client_does_not_read():
    """The server stops at the client's window; `wait_sent()` says so, and later all arrives."""
    async with FakeGateway() as fake:
        client = await (await PlainClient.open(fake.url, limit=4_096)).upgraded()
        client.identify()
        await client.until("READY")
        # 16 MB: more than the sockets of both ends hold.
        dispatches = [Dispatch("INTERACTION_CREATE", b'"%b"' % (b"x" * 256_000), None)] * 64
        fake.dispatch_many(dispatches)
        with pytest.raises(TimeoutError, match="clients to read"):
            await fake.wait_sent(timeout_s=0.05)
        assert fake.connection().peer.backlog > 0
        for _ in dispatches:
            await client.next()
        await fake.wait_sent()
        assert fake.connection().peer.backlog == 0
        await client.aclose()


async def test_raw_bytes_go_below_framing():
    """`write_raw` sends what no sane server sends; here a frame with a reserved bit."""
    async with FakeGateway() as fake, connected(fake) as client:
        fake.connection().write_raw(struct.pack(">BB", 0xC1, 2) + b"{}")
        assert await client.next() == {}


async def test_waiting_for_commands():
    """`wait_command` returns the command; its time-out tells what did happen."""
    async with FakeGateway() as fake, connected(fake) as client:
        client.send({"op": 3, "d": {"status": "idle"}})
        command = await fake.wait_command(3)
        assert (command.data, command.shard_id) == ({"status": "idle"}, 0)
        with pytest.raises(TimeoutError, match="2 commands of op 3; 1 websockets were opened"):
            await fake.wait_command(3, count=2, timeout_s=0.01)


async def test_condition_that_raises_reaches_who_waits():
    """An error in a condition belongs to the waiting test, not to a connection."""
    async with FakeGateway() as fake, connected(fake) as client:

        def condition():
            if fake.connection().peer.heartbeats:
                raise KeyError("mine")
            return False

        waiting = asyncio.ensure_future(fake.wait_for(condition))
        await asyncio.sleep(0)
        client.send({"op": 1, "d": 1})
        with pytest.raises(KeyError, match="mine"):
            await waiting


async def test_error_in_an_instruction_is_raised_at_the_end():
    """A mistake inside an instruction is not swallowed."""
    fake = FakeGateway()
    await fake.start()
    fake.instead_of(Moment.HEARTBEAT, lambda peer: 1 // 0)
    async with connected(fake) as client:
        client.send({"op": 1, "d": 1})
        await fake.wait_for(lambda: fake.connection().peer.heartbeats == 1)
    with pytest.raises(ZeroDivisionError):
        await fake.stop()


async def test_stop_ends_connections_and_waiters():
    """Stopping drops every connection and tells who still waits; twice is harmless."""
    fake = FakeGateway()
    await fake.start()
    async with connected(fake) as client:
        waiting = asyncio.ensure_future(fake.wait_ready(5))
        await asyncio.sleep(0)
        await fake.stop()
        await fake.stop()
        with pytest.raises(UsageError, match="was stopped"):
            await waiting
        assert await client.ended() == -1
        assert fake.connections == []


async def test_misuse_is_a_usage_error():
    """Started twice; options beside a shared service; a piece of no bytes."""
    async with FakeGateway() as fake:
        with pytest.raises(UsageError, match="running already"):
            await fake.start()
    with pytest.raises(UsageError, match="FakeService"):
        FakeGateway(service=FakeService(), token="t")
    with pytest.raises(UsageError, match="at least one byte"):
        Framing(fragment_bytes=0)


def test_another_loop_is_told():
    """Started in a loop that stands still: whoever connects would wait for ever."""
    home, abroad = asyncio.new_event_loop(), asyncio.new_event_loop()
    fake = FakeGateway()

    async def read():
        with pytest.raises(UsageError, match="started in another event loop"):
            fake.info  # noqa: B018  the URL in it leads nowhere
        with pytest.raises(UsageError, match="same loop_scope"):
            await fake.wait_ready()

    home.run_until_complete(fake.start())
    abroad.run_until_complete(read())
    assert fake.url  # where no loop runs, looking is fine
    home.run_until_complete(fake.stop())
    home.close()
    abroad.close()


def test_missing_trustme_names_the_extra(monkeypatch):
    """Without trustme, TLS says what to install."""
    monkeypatch.setitem(sys.modules, "trustme", None)
    certificates.make_contexts.cache_clear()
    with pytest.raises(UsageError, match=r"pip install 'fastgw\[testing\]'"):
        FakeGateway(tls=True)


async def test_fixture(fake_gateway):
    """The plugin's fixture is a running gateway."""
    async with connected(fake_gateway) as client:
        assert client.ready["t"] == "READY"


@pytest.mark.parametrize("tls", [False, True])
async def test_a_cut_may_come_after_the_end(tls):
    """TCP has ended already, and the gateway has not heard of it yet."""
    async with FakeGateway(tls=tls) as fake:
        client = await PlainClient.open(fake.url, ssl_context=fake.client_ssl_context)
        await client.upgraded()
        connection = fake.connections[0]
        connection._transport.abort()
        await asyncio.sleep(0)
        connection.peer.cut()
        connection.flush()
        await fake.wait_for(lambda: not fake.connections)
        await client.aclose()
