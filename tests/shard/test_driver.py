"""One shard kept connected: reconnects, turns, heartbeats and its figures, on loopback."""

import asyncio
import base64
import functools
import hashlib
import re
import socket
import struct
import threading
import time

import pytest
from deadline import scaled, until
from gateways import TOKEN, no_jitter
from gateways import gateway_to as gateway_with
from inside import inside
from raw_websocket import _GUID, frame

from fastgw.errors import ConnectFailed, ProtocolError
from fastgw.fleet.http.gateway_info import GatewayInfo
from fastgw.fleet.turns.identify import LocalIdentifyQueue
from fastgw.gateway import Gateway
from fastgw.protocol.signals import Cause
from fastgw.protocol.states import State
from fastgw.protocol.timeouts import Timeouts
from fastgw.protocol.wire import Opcode
from fastgw.testing import Cut, FakeGateway, FakeService, Moment
from fastgw.words import Intents

gateway_to = functools.partial(gateway_with, random=no_jitter)


class RecordingQueue(LocalIdentifyQueue):
    """An identify queue that writes down what becomes of its turns."""

    def __init__(self, log):
        super().__init__(interval_s=0.01, padding_s=(0.0, 0.0))
        self.log = log

    async def acquire(self, shard_id):
        turn = await super().acquire(shard_id)
        self.log.append("acquired")
        return RecordingTurn(turn, self.log)


class RecordingTurn:
    def __init__(self, turn, log):
        self.turn = turn
        self.log = log

    def written(self):
        self.log.append("written")
        self.turn.written()

    def release(self):
        self.log.append("released")
        self.turn.release()


async def resumed(gateway, count=1):
    """Wait until it has resumed that often and is ready."""
    await until(lambda: gateway.shards[0].stats().resumes_won == count, 10.0)
    await gateway.wait_ready(scaled(10.0))


# ---------------------------------------------------------------------------- identify turns


async def test_the_turn_is_taken_before_the_socket_is_opened(fake):
    """And released when READY came."""
    log = []
    fake.instead_of(Moment.OPENED, lambda peer: (log.append("opened"), peer.hello()))
    fake.instead_of(Moment.IDENTIFY, lambda peer: (log.append("identify"), peer.ready()))
    async with gateway_to(fake, identify_queue=RecordingQueue(log)):
        assert log == ["acquired", "opened", "written", "identify", "released"]


async def test_no_identify_without_a_turn(fake):
    """While somebody else holds the key, nothing connects."""
    queue = RecordingQueue([])
    gateway = gateway_to(fake, identify_queue=queue)
    turn = await queue.acquire(5)
    await gateway.start()
    await asyncio.sleep(0.05)
    assert fake.upgrades == []
    assert gateway.shards[0].status is State.DISCONNECTED
    turn.release()
    await gateway.wait_ready()
    await gateway.close()


async def test_closing_while_waiting_for_a_turn(fake):
    """The turn is not taken afterwards."""
    queue = RecordingQueue([])
    gateway = gateway_to(fake, identify_queue=queue)
    turn = await queue.acquire(5)
    await gateway.start()
    await asyncio.sleep(0.01)
    await gateway.close()
    turn.release()
    await asyncio.sleep(0.01)
    assert queue.log == ["acquired", "released"]
    assert fake.upgrades == []


async def test_a_turn_whose_socket_died_before_the_write_goes_back(fake):
    """case 40: nothing was written: the key is free at once, nothing is spent."""
    log = []
    fake.refuse_upgrade(503)
    fake.instead_of(Moment.OPENED, lambda peer: peer.cut(Cut.RESET))
    async with gateway_to(fake, identify_queue=RecordingQueue(log)):
        assert log == ["acquired", "released"] * 2 + ["acquired", "written", "released"]
    assert len(fake.identifies) == 1


async def test_a_resume_takes_no_turn(fake):
    """It is free."""
    log = []
    async with gateway_to(fake, identify_queue=RecordingQueue(log)) as gateway:
        fake.cut()
        await resumed(gateway)
    assert log.count("acquired") == 1


async def test_every_identify_takes_a_turn(fake):
    """case 7: a refused resume leads to a new session through the queue."""
    log = []
    async with gateway_to(fake, identify_queue=RecordingQueue(log)) as gateway:
        fake.service.kill_sessions()
        fake.cut()
        await until(lambda: len(fake.identifies) == 2, 10.0)
        await gateway.wait_ready()
        stats = gateway.shards[0].stats()
    assert log == ["acquired", "written", "released"] * 2
    assert (stats.resumes_lost, stats.sessions_lost, stats.identifies) == (1, 1, 2)


async def test_op_9_to_identify_waits_for_its_key(fake):
    """case 8: invalid session in answer to IDENTIFY: at least 5 seconds, not a loop."""
    log = []
    fake.instead_of(Moment.IDENTIFY, lambda peer: peer.invalid_session(resumable=False))
    gateway = gateway_to(fake, identify_queue=RecordingQueue(log))
    began = time.monotonic()
    await gateway.start()
    await until(lambda: log == ["acquired", "written", "released"])
    await asyncio.sleep(0.1)
    assert len(fake.upgrades) == 1
    assert inside(gateway).policy.attempt_at(resume=False) > began + 5.0
    await gateway.close()


async def test_an_identify_queue_that_fails_is_asked_again(fake, caplog):
    """A queue shared over the network may be away for a while; the shard outlives that."""
    log = []

    class Away(RecordingQueue):
        async def acquire(self, shard_id):
            log.append("asked")
            if log.count("asked") < 3:
                raise ConnectionError("the queue is away")
            return await super().acquire(shard_id)

    async with gateway_to(fake, identify_queue=Away(log)) as gateway:
        assert log[:4] == ["asked", "asked", "asked", "acquired"]
        assert gateway.health().is_ready
    assert caplog.text.count("the queue is away") >= 2


# ---------------------------------------------------------------------------- one reconnect


async def test_two_causes_at_once_make_one_reconnect(fake):
    """case 20: CLOSE and reset together, op 7 before both: one new connection."""
    async with gateway_to(fake) as gateway:
        fake.reconnect()
        fake.close(4000)
        fake.cut()
        await resumed(gateway)
        await asyncio.sleep(0.05)
        assert len(fake.upgrades) == 2
        assert len(fake.connections) == 1


async def test_what_an_old_connection_says_is_dropped(fake):
    """case 19: late messages and a late end of the old link change nothing."""
    async with gateway_to(fake) as gateway:
        old = inside(gateway).link
        fake.cut()
        await resumed(gateway)
        new = inside(gateway).link
        assert new is not old
        old.connection.peer_closed(4004, "late")
        old.connection.refused(ProtocolError("late"))
        assert gateway.shards[0].status is State.READY
        assert inside(gateway).link is new


@pytest.mark.parametrize(
    ("code", "resumes"),
    [
        (None, True), (1000, True), (1001, True), (1011, True), (4000, True), (4001, False),
        (4002, True), (4003, False), (4007, False), (4009, False), (4999, True),
    ],
)  # fmt: skip
async def test_what_follows_a_close_code(fake, code, resumes):
    """case 31: resume or identify, by the table; the code is counted."""
    async with gateway_to(fake) as gateway:
        fake.close(code)
        await until(lambda: len(fake.upgrades) == 2, 10.0)
        await gateway.wait_ready()
        assert len(fake.resumes) == int(resumes)
        assert len(fake.identifies) == 2 - resumes
        counted = {} if code is None else {code: 1}
        assert gateway.shards[0].stats().close_codes == counted


async def test_a_dead_resume_host_gives_way_to_the_main_url():
    """case 11: after two failures there, RESUME goes to the main URL."""
    service = FakeService()
    async with FakeGateway(service=service) as main, FakeGateway(service=service) as zonal:
        service.resume_url = zonal.url
        zonal.refuse_upgrade(503, times=None)
        async with gateway_to(main) as gateway:
            main.cut()
            await resumed(gateway)
        assert zonal.upgrades == []
        assert len(main.upgrades) == 2
        assert len(service.identifies) == 1


async def test_the_resume_url_gets_our_query():
    """case 14: version, encoding and compression are asked for again."""
    service = FakeService()
    async with FakeGateway(service=service) as main, FakeGateway(service=service) as zonal:
        service.resume_url = zonal.url
        async with gateway_to(main) as gateway:
            main.cut()
            await resumed(gateway)
            zonal.cut()  # RESUMED has no URL: the same host again (case 13)
            await resumed(gateway, 2)
        assert [dict(query) for query in zonal.upgrades] == [
            {"v": "10", "encoding": "json", "compress": "zstd-stream"}
        ] * 2


def serve_and_reset(listening, go):
    """In a thread: one session up to READY; at `go` an event and a reset in one breath."""
    sock, _ = listening.accept()
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # or the event waits for an ACK
    request = b""
    while b"\r\n\r\n" not in request:
        request += sock.recv(4096)
    key = re.search(rb"(?i)sec-websocket-key: *(\S+)", request)[1]
    accept = base64.b64encode(hashlib.sha1(key + _GUID).digest())
    sock.sendall(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
        + frame(1, b'{"t":null,"s":null,"op":10,"d":{"heartbeat_interval":41250}}')
    )  # fmt: skip
    sock.recv(4096)  # IDENTIFY
    ready = b'{"session_id":"s","resume_gateway_url":""}'
    sock.sendall(frame(1, b'{"t":"READY","s":1,"op":0,"d":%s}' % ready))
    go.wait(10.0)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.sendall(frame(1, b'{"t":"MESSAGE_CREATE","s":2,"op":0,"d":{}}'))
    sock.close()


async def test_a_reset_that_comes_with_data_is_noticed():
    """
    Both arrive while the loop is busy: the event is delivered, and the connection is gone.

    uvloop reports an error of the socket once, and the read it starts then ends with the data.
    """
    go, blocked = threading.Event(), threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = threading.Thread(target=serve_and_reset, args=(listening, go))
        server.start()
        info = GatewayInfo(f"ws://127.0.0.1:{listening.getsockname()[1]}")
        gateway = Gateway(
            TOKEN, intents=Intents.all(), info=info, compress="none", random=no_jitter
        )
        seen = []
        gateway.on("MESSAGE_CREATE")(seen.append)
        async with gateway:
            # A write would meet the reset first, and what was not read then comes by the replay.
            await until(lambda: inside(gateway).heartbeat.sent)
            go.set()
            server.join()
            blocked.wait(0.05)  # blocks the loop until both are there
            await until(lambda: gateway.shards[0].stats().reconnects, 10.0)
            assert len(seen) == 1
            assert Cause.CONNECTION_LOST.value in gateway.shards[0].stats().reconnects


# ---------------------------------------------------------------------------- heartbeats


@pytest.fixture
async def quick():
    """A service that wants a heartbeat every 200 ms: a process that waits for a core has time."""
    async with FakeGateway(heartbeat_interval_ms=round(scaled(200))) as fake:
        yield fake


async def test_heartbeats_keep_it_alive_and_measure_latency(quick):
    """Many intervals without any event: still the same connection."""
    async with gateway_to(quick) as gateway:
        shard, heartbeat = gateway.shards[0], inside(gateway).heartbeat
        await until(lambda: heartbeat.acked >= 3)
        assert shard.status is State.READY
        assert shard.latency > 0.0
        health = shard.health()
        assert health.latency_s == shard.latency or health.latency_age_s >= 0.0
        assert health.last_ack_age_s >= 0.0
    assert len(quick.upgrades) == 1


async def test_missing_acks_end_the_connection(quick):
    """case 18: no ACK and nothing else: zombied; closed with 4000 and resumed."""
    async with gateway_to(quick) as gateway:
        await until(lambda: gateway.shards[0].latency is not None)
        quick.mute(Opcode.HEARTBEAT_ACK)
        peer = quick.connection().peer
        await until(lambda: gateway.shards[0].stats().reconnects)
        quick.unmute()
        await resumed(gateway)
        assert gateway.shards[0].stats().reconnects == {Cause.ZOMBIED.value: 1}
        assert peer.close_code == 4000


async def test_an_ack_that_waits_behind_events_is_waited_for():
    """A beat is judged by the bytes that came, which no message of the protocol may be among."""
    interval_ms = round(scaled(200))
    async with FakeGateway(heartbeat_interval_ms=interval_ms) as fake, gateway_to(fake) as gateway:
        shard, heartbeat = gateway.shards[0], inside(gateway).heartbeat
        await until(lambda: shard.latency is not None)
        fake.instead_of(Moment.HEARTBEAT, lambda peer: fake.dispatch("TYPING_START", {}))
        sent = heartbeat.sent
        await until(lambda: heartbeat.sent == sent + 3 or shard.stats().reconnects, 10.0)
        assert shard.stats().reconnects == {}
        assert heartbeat.acked < heartbeat.sent


async def test_a_request_for_a_heartbeat_is_answered(fake):
    """case 22: op 1 from the service: one beat at once, also with nothing else due."""
    async with gateway_to(fake) as gateway:
        heartbeat = inside(gateway).heartbeat
        await until(lambda: heartbeat.acked == 1)  # the first beat, at once; the next in 41 s
        fake.request_heartbeat()
        await until(lambda: heartbeat.acked == 2)


async def test_heartbeats_go_on_while_the_budget_is_used_up(quick):
    """A user who sends all he may leaves the heartbeats their slots."""
    async with gateway_to(quick) as gateway:
        shard = gateway.shards[0]
        await until(lambda: shard.latency is not None)
        sending = [
            asyncio.ensure_future(shard.send(Opcode.VOICE_STATE_UPDATE, n)) for n in range(300)
        ]
        heartbeat = inside(gateway).heartbeat
        await until(lambda acked=heartbeat.acked: heartbeat.acked >= acked + 2)
        assert not all(future.done() for future in sending)
        for future in sending:
            future.cancel()
        await asyncio.gather(*sending, return_exceptions=True)
    assert len(quick.upgrades) == 1


async def test_a_machine_that_slept_resumes_at_once(fake):
    """case 26: the wall clock ran ahead of the monotonic one: nobody trusts the socket."""
    async with gateway_to(fake) as gateway:
        driver = inside(gateway).driver
        now = time.monotonic()
        driver.tick(now, 1_000_000.0)
        driver.tick(now + 1.0, 1_000_002.0)  # a second's drift is no sleep
        assert gateway.shards[0].status is State.READY
        driver.tick(now + 2.0, 1_003_600.0)
        assert gateway.shards[0].status is not State.READY
        await resumed(gateway)
        assert gateway.shards[0].stats().reconnects == {Cause.SLEPT.value: 1}


# ---------------------------------------------------------------------------- figures


async def test_duplicates_of_a_replay_are_dropped_and_counted():
    """case 34: the service repeats three events that we had."""
    async with FakeGateway(replay_overlap=3) as fake:
        gateway = gateway_to(fake)
        seen = []
        gateway.on("MESSAGE_CREATE")(lambda event: seen.append(event.data))
        async with gateway:
            for n in range(10):
                fake.dispatch("MESSAGE_CREATE", n)
            await until(lambda: len(seen) == 10)
            fake.cut()
            fake.dispatch("MESSAGE_CREATE", 10)
            await resumed(gateway)
            stats = gateway.shards[0].stats()
        assert seen == list(range(11))
        assert (stats.duplicates, stats.events_replayed) == (3, 1)


@pytest.mark.parametrize("sequence", [None, 1])
async def test_a_resumed_that_is_not_numbered_anew_is_in_no_figure(fake, sequence):
    """RESUMED is no replayed event, and no duplicate, whatever its sequence."""
    answer = {"t": "RESUMED", "s": sequence, "op": 0, "d": {}}
    async with gateway_to(fake) as gateway:
        fake.instead_of(Moment.RESUME, lambda peer: peer.send(answer))
        fake.cut()
        await resumed(gateway)
        stats = gateway.shards[0].stats()
    assert (stats.events_replayed, stats.duplicates) == (0, 0)


async def test_a_gap_is_counted_and_no_error(fake):
    """The sequence leaves five out."""
    async with gateway_to(fake) as gateway:
        fake.service.session().sequence += 5
        fake.dispatch("MESSAGE_CREATE", {})
        await until(lambda: gateway.shards[0].stats().gaps)
        shard = gateway.shards[0]
        assert (shard.stats().gaps, shard.stats().missing, shard.status) == (1, 5, State.READY)


async def test_health_before_and_after():
    """Unknown is None, and nothing is ready that is not."""
    async with FakeGateway() as fake:
        gateway = gateway_to(fake)
        assert not gateway.health().is_ready
        fake.mute("READY")
        await gateway.start()
        await until(lambda: fake.identifies)
        health = gateway.shards[0].health()
        assert not health.is_ready
        assert health.status is State.IDENTIFYING
        assert (health.ready_for_s, health.session_for_s) == (None, None)
        assert health.last_dispatch_age_s is None
        await gateway.close()
        health = gateway.shards[0].health()
        assert health.status is State.STOPPED
        assert health.latency_s is None


async def test_health_follows_the_connection(fake):
    """case 47: ready, gone, ready again: ages and causes are those of this moment."""
    async with gateway_to(fake) as gateway:
        fake.dispatch("MESSAGE_CREATE", {})
        await until(lambda: gateway.shards[0].stats().dispatches == 2)
        health = gateway.shards[0].health()
        assert gateway.health().is_ready
        assert gateway.health().ready == 1
        assert 0.0 <= health.last_dispatch_age_s <= scaled(1.0)
        assert 0.0 <= health.last_byte_age_s <= scaled(1.0)
        assert health.ready_for_s == pytest.approx(health.session_for_s, abs=0.1)

        fake.refuse_upgrade(503, times=None)
        fake.cut()
        await until(lambda: not gateway.health().is_ready)
        health = gateway.shards[0].health()
        assert health.ready_for_s is None
        assert health.session_for_s > 0.0
        await until(lambda: isinstance(gateway.shards[0].health().last_error, ConnectFailed))

        fake.forget_instructions()
        await resumed(gateway)
        health = gateway.shards[0].health()
        assert health.last_error is None
        assert health.ready_for_s < health.session_for_s
        stats = gateway.shards[0].stats()
        assert stats.reconnects[Cause.CONNECTION_LOST.value] == 1
        assert stats.connections == 2 + stats.reconnects[Cause.CONNECT_FAILED.value]
        assert stats.messages >= 5


async def test_a_deaf_connection_shows():
    """ACKs flow and dispatches do not: the age of the last dispatch grows (hermes#111178)."""
    async with FakeGateway(heartbeat_interval_ms=100) as fake, gateway_to(fake) as gateway:
        gateway.health()  # as the tick does every second: what moved since is seen at the next one

        def is_deaf():
            health = gateway.shards[0].health()
            least_s = max(0.25, health.last_ack_age_s or 0.25, health.last_byte_age_s)
            return health.last_dispatch_age_s > least_s

        await until(is_deaf)


async def test_a_frame_that_is_still_arriving_is_life(fake):
    """Bytes count as received before their message is whole."""
    async with gateway_to(fake) as gateway:
        counters, decoder = inside(gateway).counters, inside(gateway).link.decoder
        now = time.monotonic()
        counters.look(now, decoder, 5_000, None)
        counters.look(now + 1.0, decoder, 9_000, None)
        assert counters.last_byte_at == now + 1.0
        counters.look(now + 2.0, decoder, 9_000, None)
        assert counters.last_byte_at == now + 1.0


async def test_the_loop_lag_is_in_the_figures(fake):
    """From the watch that every started gateway has."""
    async with gateway_to(fake) as gateway:
        health = gateway.health()
        assert health.loop_lag_s >= 0.0
        assert health.loop_lag_worst_s >= health.loop_lag_s
        assert gateway.stats().loop_blocked == 0


# ---------------------------------------------------------------------------- deadlines and limits


async def test_a_close_that_is_never_answered(quick):
    """case 18: the service is frozen: the socket is dropped after close_s, and we resume."""
    timeouts = Timeouts(close_s=0.1, tls_shutdown_s=0.1)
    async with gateway_to(quick, timeouts=timeouts) as gateway:
        await until(lambda: gateway.shards[0].latency is not None)
        frozen = quick.connection()
        frozen.freeze()
        await until(lambda: len(quick.upgrades) == 2, 10.0)
        await resumed(gateway)


async def test_what_changed_in_a_backoff_counts_after_it():
    """The plan is made after the wait: the session may be too old by then, or the URL another."""
    async with FakeGateway() as old, FakeGateway(service=old.service) as new:
        wait_s = scaled(0.5)
        gateway = gateway_to(old, backoff_s=(wait_s, wait_s), random=lambda: 0.99)
        old.refuse_upgrade(503, times=None)
        await gateway.start()
        shard = gateway.shards[0]
        await until(lambda: shard.health().last_error)  # refused once; it waits now
        inside(gateway).driver.use_url(new.url)
        await gateway.wait_ready()
        assert shard.stats().connections == 2
        await gateway.close()


@pytest.mark.parametrize("end", ["cut", "close 4000"])
async def test_a_session_outlives_resumes_that_are_cut(fake, end):
    """case 9: the service has it still, and everything that happened meanwhile."""
    async with gateway_to(fake, backoff_s=(0.01, 0.05)) as gateway:
        fake.instead_of(
            Moment.RESUME, lambda peer: peer.cut() if end == "cut" else peer.close(4000), times=8
        )
        fake.cut()
        await resumed(gateway)
        assert len(fake.resumes) == 9
        assert len(fake.identifies) == 1
        assert gateway.shards[0].stats().sessions_lost == 0


async def test_resumes_that_are_not_answered_again_and_again_end(fake):
    """case 9: three, then a new session; never a loop."""
    async with gateway_to(fake, timeouts=Timeouts(resumed_s=scaled(0.2))) as gateway:
        fake.instead_of(Moment.RESUME, lambda peer: None, times=None)
        fake.cut()
        await until(lambda: len(fake.identifies) == 2, 20.0)
        await gateway.wait_ready()
        assert len(fake.resumes) == 3
        assert gateway.shards[0].stats().resumes_lost == 3
