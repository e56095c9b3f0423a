"""`fastgw record` and `fastgw replay`: what a bot received once, it receives again."""

from __future__ import annotations

import json
import stat

import pytest
from command import TOKEN, fastgw, finished, next_line, started
from deadline import scaled, until

from fastgw import Gateway, Intents
from fastgw.testing import FakeGateway, Recording, RecordingWriter, Traffic

pytestmark = pytest.mark.one_loop  # the command runs in a process of its own

SECRETS = {"token", "session_id", "_trace", "resume_gateway_url"}


async def record(fake, tmp_path, send, *arguments):
    """Record while these are sent, until Ctrl-C; return how it ended."""
    file = tmp_path / "recording"
    state = {"XDG_STATE_HOME": str(tmp_path)}
    options = ("--api-url", fake.api_url, "--intents", "all", *arguments)
    async with started("record", file, *options, **state) as process:
        await fake.wait_ready(timeout_s=scaled(20))
        fake.dispatch_many(send)
        await fake.wait_sent()
        fake.request_heartbeat()  # its answer comes when all before it was received
        session, (peer,) = fake.service.session(0), fake.service.peers
        await until(lambda: peer.last_heartbeat == session.sequence, 20)
        return await finished(process, interrupt=True)


async def received(api_url, **options):
    """Return the events that a bot gets from a replay, until it ends."""
    seen = []
    gateway = Gateway(TOKEN, intents=Intents.all(), api_url=api_url, **options)
    gateway.on("*")(lambda event: seen.append((event.name, event.raw)))
    await gateway.start()
    return seen, gateway


async def test_a_recording_is_replayed_as_it_came(tmp_path):
    """All events but those of the session, byte by byte, from a file without its secrets."""
    send = Traffic(seed=11, guilds=20).dispatches(400)
    async with FakeGateway(token=TOKEN) as fake:
        done = await record(fake, tmp_path, send)
        assert fake.service.sessions == {}  # Discord was told that it ends
    file = tmp_path / "recording"
    assert done.returncode == 130, done.stderr
    assert "costs one identify" in done.stderr.splitlines()[0]
    assert done.stderr.splitlines()[-1].startswith("fastgw: 401 messages, ")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    recording = Recording(file)
    recorded = [item.dispatch for item in recording]
    assert recording.is_whole
    assert [item.name for item in recorded] == ["READY", *(item.name for item in send)]
    same = [ours.data == theirs.data for ours, theirs in zip(recorded[1:], send, strict=True)]
    secret = [any(b'"%b"' % name.encode() in item.data for name in SECRETS) for item in send]
    assert all(is_same or is_secret for is_same, is_secret in zip(same, secret, strict=True))

    async with started("replay", file, "--speed", "max", "--json") as process:
        api_url = json.loads(await next_line(process.stdout))["api_url"]
        seen, gateway = await received(api_url)
        done = await finished(process)
        await gateway.close()
    assert (done.returncode, done.stderr) == (0, "")
    assert seen[0][0] == "READY"
    assert seen[1:] == [(item.name, item.data) for item in recorded[1:]]


async def test_content_is_replaced_where_it_is_asked_for(tmp_path):
    """The file says so, and holds nothing of it."""
    send = Traffic(seed=12, guilds=5, mix={"MESSAGE_CREATE": 1}).dispatches(50)
    async with FakeGateway() as fake:
        await record(fake, tmp_path, send, "--redact-content")
    recording = Recording(tmp_path / "recording")
    contents = [json.loads(item.data)["content"] for item in send]
    kept = [json.loads(item.dispatch.data)["content"] for item in list(recording)[1:]]
    assert {character for text in kept for character in text} == {"x"}
    assert [bool(text) for text in kept] == [bool(text) for text in contents]
    assert "what people wrote" in recording.facts["replaced"]


def make_recording(path, *, seconds=1.0, shards=1):
    """Write a recording of 20 messages a shard; return its messages by shard."""
    messages = {shard_id: [] for shard_id in range(shards)}
    with RecordingWriter(path, shard_ids=tuple(messages), shard_count=shards) as writer:
        for number in range(20):
            for shard_id in messages:
                data = b'{"channel_id":"%d","user_id":"%d"}' % (number, shard_id)
                message = b'{"t":"TYPING_START","s":%d,"op":0,"d":%b}' % (number, data)
                writer.write_message(number / 20 * seconds, shard_id, message)
                messages[shard_id].append(data)
    return messages


async def test_each_shard_gets_its_own_in_its_time(tmp_path):
    """At ten times the speed, to a bot with as many shards as were recorded."""
    messages = make_recording(tmp_path / "r", seconds=5.0, shards=2)
    async with started("replay", tmp_path / "r", "--speed", "10") as process:
        lines = [await next_line(process.stdout) for _ in range(13)]
        assert max(map(len, lines)) <= 81
        seen = {0: [], 1: []}
        gateway = Gateway(
            TOKEN, intents=Intents.all(), api_url=lines[3].split('api_url="')[1].split('"')[0]
        )
        gateway.on("TYPING_START")(lambda event: seen[event.shard_id].append(event.raw))
        await gateway.start()
        done = await finished(process)
        await gateway.close()
    assert seen == messages
    assert done.returncode == 0
    assert done.stdout.startswith("40 messages sent and acknowledged in ")


async def test_what_the_intents_of_the_bot_withhold_is_named(tmp_path):
    """By event, with the intent that would let it through: else the figures do not add up."""
    with RecordingWriter(tmp_path / "r", shard_ids=(0,), shard_count=1) as writer:
        for number, name in enumerate(["TYPING_START"] * 2 + ["PRESENCE_UPDATE"] * 3 + ["RESUMED"]):
            message = b'{"t":"%s","s":%d,"op":0,"d":{}}' % (name.encode(), number + 2)
            writer.write_message(0.0, 0, message)
    async with started("replay", tmp_path / "r", "--speed", "max") as process:
        lines = [await next_line(process.stdout) for _ in range(13)]
        gateway = Gateway(
            TOKEN,
            intents=Intents.GUILD_PRESENCES,
            api_url=lines[3].split('api_url="')[1].split('"')[0],
        )
        async with gateway:
            done = await finished(process)
    assert done.returncode == 0
    first, *others = done.stdout.splitlines()
    assert first.startswith("3 messages sent and acknowledged in ")
    assert max(map(len, others)) < 80
    assert " ".join(line.strip() for line in others) == (
        "2 were not sent, for the bot did not ask for their intents: 2 TYPING_START "
        "(GUILD_MESSAGE_TYPING or DIRECT_MESSAGE_TYPING)"
    )


async def test_a_replay_waits_for_its_bot_and_ctrl_c_ends_it(tmp_path):
    """Exit code 130."""
    make_recording(tmp_path / "r")
    async with started("replay", tmp_path / "r") as process:
        await next_line(process.stdout)
        done = await finished(process, interrupt=True)
    assert (done.returncode, done.stderr) == (130, "")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["replay", "nothing"], "nothing cannot be read"),
        (["replay", "here"], "here is no recording of fastgw"),
        (["replay", "here", "--speed", "fast"], "'fast' is no speed"),
        (["record", "here"], "here is there already"),
        (["record", "new", "--seconds", "0"], "'0' is no number between 0.1 and"),
        (["record", "new/file"], "new/file cannot be made: new is no directory"),
        (["record", "new"], "there is no token"),
    ],
)
async def test_what_cannot_be_is_told(tmp_path, monkeypatch, arguments, says):
    """Exit code 2, and one clear line at the end."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").write_text("text")
    done = await fastgw(*arguments, token=None)
    assert done.returncode == 2
    assert says in done.stderr.splitlines()[-1]
    assert not (tmp_path / "new").exists()
