"""The scripts that begin a session in the streams and append to them."""

from __future__ import annotations

import pytest
from redis_server import RedisServer, needs_redis

pytest.importorskip("redis")
from redis.exceptions import ResponseError

from fastgw.redis.streams import ENTRY_BYTES, EventStreams

pytestmark = [pytest.mark.redis, needs_redis]
SOON = 10**14  # the end of a `begin`, ms


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """One server for all tests of the file; each has a prefix of its own."""
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server
    server.stop()


@pytest.fixture
async def streams(server, request):
    """The streams of one bot."""
    streams = EventStreams(server.url, request.node.name)
    streams.open()
    yield streams
    await streams.close()


def keys(streams, *groups):
    return [streams.shard(0), *(streams.mailbox(group, 0) for group in groups)]


async def begin(streams, session="s", groups=("bot",), epoch=0):
    begun = await streams.run("begin", keys(streams, *groups), [session, epoch, SOON])
    return [int(part) for part in begun]


async def append(
    streams, begun, expected, *sequences, mask=1, groups=("bot",), cap=1000, most=10**9, data=b"{}"
):
    arguments = [begun[0], begun[1], expected, cap, most]
    for sequence in sequences:
        arguments += [sequence, mask, "MESSAGE_CREATE", data]
    shard, *mailboxes = keys(streams, *groups)
    return await streams.run("append", [shard, streams.key("held"), *mailboxes], arguments)


async def finish(streams, *sequences, epoch, group="bot", size):
    arguments = [group, f"{epoch}-{sequences[-1]}"]
    for sequence in sequences:
        arguments += [f"{epoch}-{sequence}", size]
    shard, mailbox = keys(streams, group)
    return await streams.run("finish", [shard, streams.key("held"), mailbox], arguments)


async def ids(streams, epoch, group="bot"):
    """The sequences of one epoch in a mailbox, in its order."""
    found = await streams.client.xrange(streams.mailbox(group, 0))
    split = [entry_id.decode().split("-") for entry_id, _ in found]
    return [int(sequence) for of, sequence in split if int(of) == epoch]


async def test_a_new_session_says_so_first(streams):
    """The first entry of an epoch is SESSION_RESET, at sequence 0."""
    begun = await begin(streams)
    ((entry_id, values),) = await streams.client.xrange(streams.mailbox("bot", 0))
    assert entry_id == b"%d-0" % begun[1]
    assert (values[b"t"], values[b"d"]) == (b"SESSION_RESET", b"{}")


async def test_events_are_appended_once_and_in_order(streams):
    """A batch that is sent again, or overlaps another, adds nothing twice."""
    begun = await begin(streams)
    assert await append(streams, begun, 0, 1, 2, 3) == 3
    assert await append(streams, begun, 0, 1, 2, 3) == 3
    assert await append(streams, begun, 3, 3, 4, 7) == 7
    assert await ids(streams, begun[1]) == [0, 1, 2, 3, 4, 7]


async def test_the_same_session_goes_on_in_its_epoch(streams):
    """Another process that resumes the session learns how far it is."""
    first = await begin(streams)
    await append(streams, first, 0, 1, 2)
    claim, epoch, tail = await begin(streams)
    assert claim > first[0]
    assert (epoch, tail) == (first[1], 2)


async def test_another_session_is_a_higher_epoch(streams):
    """Sequences begin again, and ids go on growing."""
    first = await begin(streams)
    await append(streams, first, 0, 1, 2)
    second = await begin(streams, "another")
    assert second[1] > first[1]
    assert second[2] == 0
    assert await append(streams, second, 0, 1) == 1


async def test_a_session_that_the_server_lost_has_its_epoch_again(streams):
    """What is appended once more has the ids that it had."""
    first = await begin(streams)
    await append(streams, first, 0, 1, 2)
    await streams.client.flushdb()
    again = await begin(streams, epoch=first[1])
    assert again[1:] == [first[1], 0]
    await append(streams, again, 0, 1, 2)
    assert await ids(streams, first[1]) == [0, 1, 2]


async def test_no_epoch_is_below_what_a_mailbox_had(streams):
    """Whoever removed what is known of the shard: a new epoch begins, and can be appended to."""
    first = await begin(streams)
    await append(streams, first, 0, 1)
    high = first[1] + 10**6  # as a clock that went back leaves it
    await streams.client.xadd(streams.mailbox("bot", 0), {"t": "x", "d": "{}"}, id=f"{high}-7")
    await streams.client.delete(streams.shard(0))
    again = await begin(streams, epoch=first[1])
    assert again[1:] == [high + 1, 0]
    assert await append(streams, again, 0, 1) == 1


async def test_who_was_followed_is_fenced(streams):
    """A process whose shard another one took appends nothing any more."""
    old = await begin(streams)
    new = await begin(streams)
    with pytest.raises(ResponseError, match="FENCED"):
        await append(streams, old, 0, 1)
    await append(streams, new, 0, 1)
    assert await ids(streams, new[1]) == [0, 1]


async def test_lost_entries_are_noticed(streams):
    """A server that lost appended events says where it stands, and takes nothing behind the gap."""
    begun = await begin(streams)
    await append(streams, begun, 0, 1, 2, 3)
    await streams.client.hset(streams.shard(0), "seq", 1)  # as a failover would leave it
    with pytest.raises(ResponseError, match="TAIL 1"):
        await append(streams, begun, 3, 4)
    assert 4 not in await ids(streams, begun[1])


async def test_a_server_that_forgot_all_says_so(streams):
    """Nothing is appended under an epoch that the server does not know."""
    begun = await begin(streams)
    await streams.client.flushdb()
    with pytest.raises(ResponseError, match="GONE"):
        await append(streams, begun, 0, 1)


async def test_each_group_gets_what_its_bit_says(streams):
    """One call writes to several mailboxes, an event to those whose bit is set."""
    groups = ("bot", "logs")
    begun = await begin(streams, groups=groups)
    await append(streams, begun, 0, 1, mask=1, groups=groups)
    await append(streams, begun, 1, 2, mask=2, groups=groups)
    await append(streams, begun, 2, 3, mask=3, groups=groups)
    assert await ids(streams, begun[1], "bot") == [0, 1, 3]
    assert await ids(streams, begun[1], "logs") == [0, 2, 3]


async def test_a_full_mailbox_says_exactly_how_much_it_lost(streams):
    """The entry behind a hole has the number of events in it; other mailboxes have none."""
    groups = ("slow", "bot")
    begun = await begin(streams, groups=groups)
    await append(streams, begun, 0, 1, 2, 3, 4, 5, mask=1, groups=groups, cap=3)
    await append(streams, begun, 5, 6, 7, mask=3, groups=groups, cap=3)
    assert await ids(streams, begun[1], "bot") == [0, 6, 7]
    assert await ids(streams, begun[1], "slow") == [0, 1, 2]
    await streams.client.xtrim(streams.mailbox("slow", 0), maxlen=0, approximate=False)
    await append(streams, begun, 7, 8, 9, mask=1, groups=groups, cap=3)
    found = await streams.client.xrange(streams.mailbox("slow", 0))
    assert [values.get(b"l") for _, values in found] == [b"5", None]


SIZE = len("MESSAGE_CREATE") + 2 + ENTRY_BYTES


async def test_a_group_that_holds_too_many_bytes_loses_the_rest(streams):
    """Counted over all entries that are not handled; what is handled makes room, exactly once."""
    epoch = (begun := await begin(streams))[1]
    await append(streams, begun, 0, 1, 2, 3, 4, most=2 * SIZE)
    assert await ids(streams, epoch) == [0, 1, 2]
    await streams.client.xgroup_create(streams.mailbox("bot", 0), "bot", id="0")
    for _ in range(2):  # the answer of the first was lost
        await finish(streams, 1, epoch=epoch, size=SIZE)
    await append(streams, begun, 4, 5, 6, most=2 * SIZE)
    found = await streams.client.xrange(streams.mailbox("bot", 0))
    assert [(entry_id, values.get(b"l")) for entry_id, values in found][1:] == [
        (b"%d-2" % epoch, None), (b"%d-5" % epoch, b"2")
    ]  # fmt: skip
    assert int(await streams.client.hget(streams.key("held"), "bot")) == 2 * SIZE


async def test_a_mailbox_that_somebody_emptied_holds_no_bytes(streams):
    """Counts that went wrong do not close a mailbox for ever."""
    begun = await begin(streams)
    await append(streams, begun, 0, 1, 2, 3, most=3 * SIZE)
    await streams.client.xtrim(streams.mailbox("bot", 0), maxlen=0, approximate=False)
    await append(streams, begun, 3, 4, most=3 * SIZE)
    assert await ids(streams, begun[1]) == [4]
    assert int(await streams.client.hget(streams.key("held"), "bot")) == SIZE


async def test_an_event_that_is_too_big_is_a_hole(streams):
    """It comes without data, and is counted by the entry behind it."""
    begun = await begin(streams)
    await append(streams, begun, 0, 1, data=b"")
    await append(streams, begun, 1, 2)
    found = await streams.client.xrange(streams.mailbox("bot", 0))
    assert [values.get(b"l") for _, values in found] == [None, b"1"]


async def test_a_server_that_was_started_anew_is_sent_the_scripts(streams):
    """NOSCRIPT costs one more call, and nothing else."""
    await streams.load("begin", "append")
    await streams.client.script_flush()
    begun = await begin(streams)
    assert await append(streams, begun, 0, 1) == 1


async def test_a_sequence_that_comes_twice_in_a_batch_is_one_event(streams):
    """A RESUME brought again what waited: nothing is stuck behind it."""
    begun = await begin(streams)
    assert await append(streams, begun, 0, 1, 2, 3, 1, 2, 3) == 3
    assert (await ids(streams, begun[1]))[-3:] == [1, 2, 3]


async def test_who_is_heard_late_begins_nothing(streams):
    """Its shard may be another process's by now: that one is not fenced."""
    begun = await begin(streams)
    with pytest.raises(ResponseError, match="LATE"):
        await streams.run("begin", keys(streams, "bot"), ["s", 0, 1])
    assert await append(streams, begun, 0, 1) == 1
