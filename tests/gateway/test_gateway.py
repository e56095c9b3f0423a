"""The public Gateway against the fake one: the ordinary path, handlers, commands."""

import asyncio
import itertools
import logging
import os

import pytest
from deadline import until
from gateways import TOKEN, gateway_to

from fastgw import field
from fastgw.errors import CertificateRefused, SessionLost, UsageError
from fastgw.gateway import Gateway
from fastgw.protocol.signals import Cause
from fastgw.protocol.states import State
from fastgw.protocol.wire import Opcode
from fastgw.testing import Cut, FakeGateway
from fastgw.words import Intents

PRESENCE = {"since": None, "activities": [], "status": "idle", "afk": True}


# ---------------------------------------------------------------------------- the way of an event


@pytest.mark.parametrize(
    "compress", ["auto", "zstd-stream", "zlib-stream", "payload", "none", None]
)
@pytest.mark.parametrize("tls", [False, True])
async def test_events_reach_their_handlers(compress, tls):
    """Over ws and wss, with every compression: wanted events come in order, others do not."""
    async with FakeGateway(tls=tls) as fake:
        gateway = gateway_to(fake, compress=compress)
        sync, asynchronous = [], []
        gateway.on("MESSAGE_CREATE")(lambda event: sync.append(event.data["n"]))

        @gateway.on("MESSAGE_UPDATE", "MESSAGE_DELETE")
        async def handler(event):
            asynchronous.append((event.name, event.guild_id))

        async with gateway:
            for n in range(20):
                fake.dispatch("MESSAGE_CREATE", {"n": n})
                fake.dispatch("TYPING_START", {"n": n})
            fake.dispatch("MESSAGE_UPDATE", {"guild_id": "7"})
            fake.dispatch("MESSAGE_DELETE", {})
            await until(lambda: len(asynchronous) == 2)
        assert sync == list(range(20))
        assert asynchronous == [("MESSAGE_UPDATE", 7), ("MESSAGE_DELETE", None)]
        typing = gateway.stats().events["TYPING_START"]
        assert (typing.seen, typing.delivered) == (20, 0)
    expected = {"auto": "zstd-stream", "payload": None, "none": None}.get(compress, compress)
    assert fake.upgrades[0].get("compress") == expected
    assert fake.identifies[0]["compress"] is (compress == "payload")


async def test_everything_goes_to_a_star_handler(fake):
    """case 45: "*" sees READY too, and names that nobody documented."""
    gateway = gateway_to(fake)
    names = []
    gateway.on("*")(lambda event: names.append(event.name))
    async with gateway:
        fake.dispatch("FROBNICATED", [1])
        await until(lambda: len(names) == 2)
    assert names == ["READY", "FROBNICATED"]


async def test_fields_and_filters_reach_the_listener(fake):
    """Values without an event, for those that pass; READY stays the library's own all the same."""
    gateway = gateway_to(fake)
    read, later, ready = [], [], []
    gateway.on("READY", where=field("user.id").exists(), fields=("v",))(ready.append)
    gateway.on("MESSAGE_CREATE", fields=("n",), guilds={7})(read.append)

    @gateway.on("MESSAGE_CREATE", fields=("n", "author.id"), where=field("n").is_in([1, 3]))
    async def handler(n, author_id):
        await asyncio.sleep(0)
        later.append((n, author_id))

    async with gateway:
        await gateway.wait_ready()
        for n in range(5):
            fake.dispatch("MESSAGE_CREATE", {"n": n, "guild_id": str(6 + n % 2)})
        fake.dispatch("MESSAGE_CREATE", {"n": 3, "author": {"id": "9"}})
        await until(lambda: len(later) == 3)
    assert read == [1, 3]
    assert later == [(1, None), (3, None), (3, "9")]
    assert ready == [10]
    assert gateway.stats().events["MESSAGE_CREATE"].filtered == 3


async def test_a_handler_may_be_added_while_connected(fake):
    """The next event sees it."""
    async with gateway_to(fake) as gateway:
        fake.dispatch("MESSAGE_CREATE", {"n": 1})
        await until(lambda: gateway.stats().shards[0].dispatches == 2)
        seen = []
        gateway.on("MESSAGE_CREATE")(lambda event: seen.append(event.data["n"]))
        fake.dispatch("MESSAGE_CREATE", {"n": 2})
        await until(lambda: seen)
        assert seen == [2]


async def test_a_failing_handler_does_not_disturb_the_connection(fake, caplog):
    """Logged, counted, and the next event comes all the same."""
    gateway = gateway_to(fake)
    seen = []

    @gateway.on("MESSAGE_CREATE")
    def handler(event):
        seen.append(event.sequence)
        raise RuntimeError("oh no")

    async with gateway:
        fake.dispatch("MESSAGE_CREATE", {})
        fake.dispatch("MESSAGE_CREATE", {})
        await until(lambda: len(seen) == 2)
        assert gateway.stats().handler_failures == {"MESSAGE_CREATE": 2}
        assert gateway.shards[0].status is State.READY
    assert len(fake.upgrades) == 1
    assert "oh no" in caplog.text


async def test_undecodable_data_does_not_disturb_the_connection(fake, caplog):
    """case 45: a payload that does not parse raises in the handler that looks, and nowhere else."""
    gateway = gateway_to(fake)
    seen = []
    gateway.on("MESSAGE_CREATE")(lambda event: seen.append(event.data))
    async with gateway:
        fake.dispatch("MESSAGE_CREATE", b'{"broken":"\xff"}')
        fake.dispatch("MESSAGE_CREATE", b"1")
        await until(lambda: seen)
    assert seen == [1]
    assert "MESSAGE_CREATE (sequence 2) is not JSON" in caplog.text
    assert len(fake.upgrades) == 1


async def test_what_identify_says(fake):
    """Every option arrives where Discord looks for it."""
    options = {
        "presence": PRESENCE,
        "properties": {"os": "beos", "browser": "b", "device": "d"},
        "large_threshold": 250,
        "capabilities": 1 << 15,
        "identify_extra": {"yet_to_come": [1]},
        "shards": [3],
        "shard_count": 16,
        "intents": Intents.GUILDS,
    }
    gateway = gateway_to(fake, **options)
    async with gateway:
        assert gateway.shards[0].id == 3
        assert gateway.shards[0].count == 16
    (sent,) = fake.identifies
    assert sent["shard"] == [3, 16]
    assert sent["intents"] == 1
    assert sent["presence"] == PRESENCE
    assert sent["properties"]["os"] == "beos"
    assert (sent["large_threshold"], sent["capabilities"]) == (250, 1 << 15)
    assert sent["yet_to_come"] == [1]


@pytest.mark.parametrize("given", [TOKEN, f"Bot {TOKEN}", f"  bot {TOKEN}\n"])
@pytest.mark.parametrize("where", ["argument", "environment"])
async def test_the_token_with_or_without_prefix(given, where, monkeypatch):
    """HTTP gets it with "Bot ", the gateway without; the environment is as good as an argument."""
    monkeypatch.delenv("DISCORD_TOKEN", raising=False)
    if where == "environment":
        monkeypatch.setenv("DISCORD_TOKEN", given)
    async with FakeGateway(token=TOKEN) as fake:
        token = given if where == "argument" else None
        async with Gateway(token, intents=Intents.all(), api_url=fake.api_url):
            assert fake.api_requests == 1
            assert fake.is_ready()


# ---------------------------------------------------------------------------- cut and resumed


@pytest.mark.parametrize("how", list(Cut))
async def test_a_cut_connection_is_resumed_without_loss(fake, how):
    """case 6: all that was dispatched meanwhile is replayed, in order, once."""
    gateway = gateway_to(fake)
    seen = []
    gateway.on("MESSAGE_CREATE")(lambda event: seen.append(event.data))
    async with gateway:
        for n in range(10):
            fake.dispatch("MESSAGE_CREATE", n)
        fake.cut(how)
        for n in range(10, 20):
            fake.dispatch("MESSAGE_CREATE", n)
        await until(lambda: len(seen) == 20)
        await gateway.wait_ready()
        stats = gateway.shards[0].stats()
    assert seen == list(range(20))
    assert (stats.identifies, stats.resumes_won, stats.resumes_lost) == (1, 1, 0)
    assert stats.duplicates == stats.gaps == 0
    assert stats.reconnects == {Cause.CONNECTION_LOST.value: 1}


async def test_status_changes_are_reported(fake):
    """Each transition once, in order, with its cause; sync and async handlers."""
    gateway = gateway_to(fake)
    changes, also = [], []
    gateway.on_status(changes.append)

    @gateway.on_status
    async def handler(change):
        also.append(change)

    async with gateway:
        fake.reconnect()
        await until(lambda: len(fake.resumes) == 1)
        await gateway.wait_ready()
    assert changes == also
    assert all(change.shard is gateway.shards[0] for change in changes)
    assert all(a.new is b.old for a, b in itertools.pairwise(changes))
    assert [(change.new.value, change.cause) for change in changes] == [
        ("connecting", None),
        ("awaiting hello", None),
        ("identifying", None),
        ("ready", None),
        ("closing", Cause.RECONNECT_ASKED),
        ("disconnected", Cause.RECONNECT_ASKED),
        ("connecting", None),
        ("awaiting hello", None),
        ("resuming", None),
        ("ready", None),
        ("closing", Cause.STOPPED),
        ("stopped", Cause.STOPPED),
    ]


async def test_one_log_line_for_each_transition(fake, caplog):
    """INFO, bound to the shard, with the cause."""
    caplog.set_level(logging.INFO, logger="fastgw")
    async with gateway_to(fake) as gateway:
        fake.close(4000, "so it is")
        await until(lambda: len(fake.resumes) == 1)
        await gateway.wait_ready()
    lines = [r for r in caplog.records if " -> " in r.message]
    assert all(r.levelno == logging.INFO and r.shard_id == 0 for r in lines)
    assert len(lines) == 11
    assert "ready -> disconnected (closed by service: code 4000: so it is)" in caplog.text


async def test_a_failing_status_handler_is_logged(fake, caplog):
    """It disturbs nobody."""
    gateway = gateway_to(fake)

    @gateway.on_status
    def broken(change):
        raise RuntimeError("oh no")

    async with gateway:
        assert gateway.shards[0].status is State.READY
    assert "broken failed on StatusChange" in caplog.text


async def test_on_status_tells_why_a_shard_stopped():
    """The last transition of a shard that stops for good carries its error."""
    async with FakeGateway(tls=True) as fake:
        gateway = Gateway(TOKEN, intents=Intents.none(), info=fake.info)  # knows no certificate
        changes = []
        gateway.on_status(changes.append)
        await gateway.start()
        with pytest.raises(CertificateRefused) as caught:
            await gateway.wait_closed()
    assert (changes[-1].new, changes[-1].error) == (State.STOPPED, caught.value)


# ---------------------------------------------------------------------------- commands


async def test_a_command_is_sent(fake):
    """send() returns when it is written."""
    async with gateway_to(fake) as gateway:
        await gateway.shards[0].send(Opcode.PRESENCE_UPDATE, PRESENCE)
        command = await fake.wait_command(Opcode.PRESENCE_UPDATE)
    assert command.data == PRESENCE


async def test_commands_are_held_until_the_session_is_up(fake):
    """case 37: sent while disconnected, they arrive after RESUMED, in order."""
    gateway = gateway_to(fake)
    gateway.on_status(lambda change: states.append(change.new))
    states = []
    async with gateway:
        fake.refuse_upgrade(503)
        fake.cut()
        await until(lambda: State.DISCONNECTED in states)
        shard = gateway.shards[0]
        await asyncio.gather(
            *(shard.send(Opcode.REQUEST_GUILD_MEMBERS, {"n": n}) for n in range(3))
        )
        assert shard.status is State.READY
        await fake.wait_command(Opcode.REQUEST_GUILD_MEMBERS, count=3)
    commands = [(c.op, c.data.get("n")) for c in fake.received]
    assert commands[-4][0] == Opcode.RESUME
    assert commands[-3:] == [(8, 0), (8, 1), (8, 2)]


async def test_commands_fail_when_the_session_is_lost(fake):
    """case 37: they belong to a session that no longer is."""
    gateway = gateway_to(fake)
    lost = []
    gateway.on_status(lambda change: lost.append(change) if change.cause else None)
    async with gateway:
        fake.mute("RESUMED")
        fake.cut()
        await until(lambda: fake.resumes)
        sending = asyncio.ensure_future(gateway.shards[0].send(4, {}))
        await asyncio.sleep(0)
        fake.service.kill_sessions()
        fake.invalid_session(resumable=False)
        with pytest.raises(SessionLost, match="session of shard 0 was lost"):
            await sending


async def test_commands_fail_when_the_shard_stops(fake):
    """Waiting or new."""
    gateway = gateway_to(fake)
    async with gateway:
        fake.ignore_upgrade(times=None)
        fake.cut()
        shard = gateway.shards[0]
        await until(lambda: shard.status is not State.READY)
        sending = asyncio.ensure_future(shard.send(4, {}))
        await asyncio.sleep(0)
    with pytest.raises(SessionLost):
        await sending
    with pytest.raises(SessionLost, match="is stopped"):
        await shard.send(4, {})


@pytest.mark.parametrize(
    ("op", "data", "text"),
    [
        (Opcode.IDENTIFY, {}, "sent by fastgw itself"),
        (Opcode.HEARTBEAT, None, "sent by fastgw itself"),
        (Opcode.PRESENCE_UPDATE, {"x": object()}, "cannot be written as JSON"),
        (Opcode.PRESENCE_UPDATE, {"x": "y" * 4096}, "4096"),
    ],
)
async def test_commands_that_would_break_the_session_are_refused(fake, op, data, text):
    """Before anything is sent."""
    async with gateway_to(fake) as gateway:
        with pytest.raises(UsageError, match=text):
            await gateway.shards[0].send(op, data)
    assert len(fake.received) == 1


async def test_the_send_budget_holds(fake):
    """200 commands at once: 117 go, no 4008 comes, the rest waits and can be taken back."""
    async with gateway_to(fake) as gateway:
        shard = gateway.shards[0]
        sending = [
            asyncio.ensure_future(shard.send(Opcode.VOICE_STATE_UPDATE, n)) for n in range(200)
        ]
        await fake.wait_command(Opcode.VOICE_STATE_UPDATE, count=117)
        await asyncio.sleep(0.05)
        assert sum(future.done() for future in sending) == 117
        assert shard.health().commands_waiting == 83
        for future in sending:
            future.cancel()
        assert shard.status is State.READY
        fake.cut()
        await until(lambda: fake.resumes)
        await gateway.wait_ready()
        await shard.send(Opcode.VOICE_STATE_UPDATE, 200)  # a new connection, a new budget
        await fake.wait_command(Opcode.VOICE_STATE_UPDATE, count=118)
    assert [c.data for c in fake.received if c.op == 4][-1] == 200


async def test_what_tls_holds_comes_after_a_pause_in_its_midst():
    """A handler pauses in the middle of a read; reading again needs nothing more from the peer."""
    async with FakeGateway(tls=True) as fake:
        gateway = gateway_to(fake, ssl_context=fake.client_ssl_context)
        seen = []

        @gateway.on("MESSAGE_CREATE")
        def look(event):
            seen.append(event.data["n"])
            if len(seen) == 5:
                shard = gateway.shards[0]
                shard.pause_reading()
                asyncio.get_running_loop().call_later(0.05, shard.resume_reading)

        async with gateway:
            for n in range(100):  # 60 kB: several records of TLS, and one read
                fake.dispatch("MESSAGE_CREATE", {"n": n, "content": os.urandom(300).hex()})
            await until(lambda: len(seen) == 100)
        assert seen == list(range(100))
