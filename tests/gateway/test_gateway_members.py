"""Members of a guild, asked for over a real connection: whole, in parts, refused, cut, given up."""

import asyncio
import time
from collections import Counter

import pytest
from deadline import scaled, until
from gateways import gateway_to, quick_queue

from fastgw import (
    DeliveryLimits,
    Intents,
    MembersRateLimited,
    ProtocolError,
    SessionLost,
    ShardNotHere,
    UsageError,
    WaitFailed,
)
from fastgw.protocol.wire import Opcode
from fastgw.testing import FakeGateway, Moment

GUILD = 41771983423143937
OTHER = 81384788765712384
NAMES = ("Ada", "Bob", "Cyd", "Dee", "Eve", "Adam", "Fay")
MEMBERS = [
    {"user": {"id": str(GUILD + i), "username": name}, "nick": None} for i, name in enumerate(NAMES)
]
OTHERS = [{"user": {"id": "175928847299117063", "username": "Zoe"}, "nick": "adorable"}]


@pytest.fixture
async def fake():
    """Serve two guilds, of which one has more members than fit into a chunk."""
    async with FakeGateway(members={GUILD: MEMBERS, OTHER: OTHERS}, members_per_chunk=3) as fake:
        yield fake


@pytest.fixture
async def gateway(fake):
    async with gateway_to(fake) as gateway:
        yield gateway
        assert not is_asking(gateway)


def is_asking(gateway):
    """Tell whether anything is left of a request."""
    return bool(
        gateway._handlers.wanted_by_name(("GUILD_MEMBERS_CHUNK", "RATE_LIMITED"))
        or gateway.health().unhandled_bytes
    )


def requests(fake):
    return [command.data for command in fake.received if command.op == 8]


def names(members):
    return [member["user"]["username"] for member in members]


async def test_all_members_as_a_list(fake, gateway):
    """Of every chunk, by a request that says what Discord's rules want said."""
    assert names(await gateway.request_members(GUILD)) == list(NAMES)
    (asked,) = requests(fake)
    assert len(asked.pop("nonce").encode()) <= 32
    assert asked == {"guild_id": str(GUILD), "query": "", "limit": 0}


async def test_members_in_chunks(gateway):
    """Each knows its place among the others."""
    chunks = [chunk async for chunk in gateway.request_members(str(GUILD))]
    assert [(c.guild_id, c.index, c.count) for c in chunks] == [(GUILD, i, 3) for i in range(3)]
    assert [names(chunk.members) for chunk in chunks] == [
        ["Ada", "Bob", "Cyd"], ["Dee", "Eve", "Adam"], ["Fay"]
    ]  # fmt: skip
    assert [chunk.presences for chunk in chunks] == [[], [], []]


async def test_members_by_prefix(gateway):
    """User names and nick names, whatever their case."""
    assert names(await gateway.request_members(GUILD, query="ad", limit=5)) == ["Ada", "Adam"]
    assert names(await gateway.request_members(OTHER, query="ad", limit=5)) == ["Zoe"]
    assert await gateway.request_members(GUILD, query="nobody", limit=1) == []


async def test_members_by_id(gateway):
    """Who is none of them is named, also where Discord gives a number back."""
    ids = [MEMBERS[4]["user"]["id"], 123123, "613425648685547541"]
    (chunk,) = [c async for c in gateway.request_members(GUILD, user_ids=ids, presences=True)]
    assert names(chunk.members) == ["Eve"]
    assert chunk.not_found == ["123123", "613425648685547541"]
    assert [presence["user"]["id"] for presence in chunk.presences] == ids[:1]


async def test_requests_side_by_side(gateway):
    """Each gets what it asked for, and only that."""
    everyone, zoe, few = await asyncio.gather(
        gateway.request_members(GUILD),
        gateway.request_members(OTHER),
        gateway.request_members(GUILD, query="a", limit=100),
    )
    assert (names(everyone), names(zoe), names(few)) == (list(NAMES), ["Zoe"], ["Ada", "Adam"])


async def test_chunks_in_any_order(fake, gateway):
    """Each index counts once, and whoever else's chunk it is, it is not taken."""

    def answer(peer):
        nonce = requests(fake)[-1]["nonce"]
        for said, index in ((nonce, 1), ("other", 0), (nonce, 1), (None, 0), (7, 0), (nonce, 0)):
            data = {"guild_id": str(GUILD), "members": [index], "nonce": said}
            peer.dispatch("GUILD_MEMBERS_CHUNK", {**data, "chunk_index": index, "chunk_count": 2})

    fake.instead_of(Moment.COMMAND, answer)
    assert await gateway.request_members(GUILD) == [1, 0]


@pytest.mark.parametrize(("index", "count"), [(2, 2), (-1, 2), ("0", 1), (None, None), (True, 2)])
async def test_a_chunk_that_cannot_be(fake, gateway, index, count):
    """It would never be complete: that is told, and not waited for."""

    def answer(peer):
        nonce = requests(fake)[-1]["nonce"]
        data = {"nonce": nonce, "chunk_index": index, "chunk_count": count, "members": []}
        peer.dispatch("GUILD_MEMBERS_CHUNK", data)

    fake.instead_of(Moment.COMMAND, answer)
    with pytest.raises(ProtocolError, match="that cannot be"):
        await gateway.request_members(GUILD)


async def test_no_answer(gateway):
    """Discord says nothing about guilds that it does not know: the time for an answer ends it."""
    with pytest.raises(asyncio.TimeoutError, match=r"no chunk for request_members\(22\) in 0.05 s"):
        await gateway.request_members(22, timeout_s=0.05)
    assert not is_asking(gateway)


async def test_the_time_is_for_one_chunk(fake, gateway):
    """What came before the silence is kept by who took it."""

    def answer(peer):
        nonce = requests(fake)[-1]["nonce"]
        data = {"nonce": nonce, "chunk_index": 0, "chunk_count": 2, "members": [5]}
        peer.dispatch("GUILD_MEMBERS_CHUNK", data)

    fake.instead_of(Moment.COMMAND, answer)
    chunks = gateway.request_members(GUILD, timeout_s=0.5).__aiter__()
    assert (await chunks.__anext__()).members == [5]
    with pytest.raises(asyncio.TimeoutError, match="1 of 2 chunks had come"):
        await chunks.__anext__()


async def test_a_cancelled_request_leaves_nothing(fake, gateway):
    """Neither a subscription nor bytes; chunks that still come are dropped."""
    fake.mute("GUILD_MEMBERS_CHUNK")
    task = asyncio.ensure_future(collect(gateway.request_members(GUILD)))
    await fake.wait_command(Opcode.REQUEST_GUILD_MEMBERS)
    assert is_asking(gateway)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not is_asking(gateway)


async def test_a_list_that_cannot_be_made_leaves_nothing(fake, gateway):
    """Not even while somebody keeps the error, and with it all that its traceback holds."""

    def answer(peer):
        nonce = requests(fake)[-1]["nonce"]
        data = {"nonce": nonce, "chunk_index": 0, "chunk_count": 2, "members": 7}
        peer.dispatch("GUILD_MEMBERS_CHUNK", data)

    fake.instead_of(Moment.COMMAND, answer)
    (error,) = await asyncio.gather(gateway.request_members(GUILD), return_exceptions=True)
    assert isinstance(error, TypeError)
    assert not is_asking(gateway)


async def test_a_request_is_used_once(gateway):
    """A second use would silently ask again."""
    request = gateway.request_members(GUILD)
    await request
    with pytest.raises(UsageError, match="used once"):
        await request


async def test_a_request_that_nobody_uses_sends_nothing(fake, gateway):
    """Nor does it leave anything."""
    gateway.request_members(GUILD)
    await gateway.request_members(OTHER)
    assert [asked["guild_id"] for asked in requests(fake)] == [str(OTHER)]


async def test_leaving_the_iterator_frees_its_chunks(gateway):
    """Those that nobody took count as bytes until then."""
    chunks = gateway.request_members(GUILD).__aiter__()
    await chunks.__anext__()
    await until(lambda: gateway.health().unhandled_bytes > 3 * 512)
    await chunks.aclose()
    assert not is_asking(gateway)


async def test_break_ends_a_request(gateway):
    """Without a word more: nobody holds the iterator."""
    async for _ in gateway.request_members(GUILD):
        break
    await until(lambda: not is_asking(gateway))


# --- the 30-second rule --------------------------------------------------------------------------


async def test_all_members_twice_is_refused_here(fake, gateway):
    """By who would rather be told; nothing is sent that Discord would refuse."""
    await gateway.request_members(GUILD)
    with pytest.raises(MembersRateLimited, match=f"guild {GUILD}") as caught:
        await gateway.request_members(GUILD, on_rate_limit="raise")
    assert 25 < caught.value.retry_after_s < 31
    assert await gateway.request_members(OTHER, on_rate_limit="raise")
    assert await gateway.request_members(GUILD, query="a", limit=1, on_rate_limit="raise")
    assert len(requests(fake)) == 3


async def test_rate_limited_by_the_service_is_raised(fake, gateway):
    """Somebody else has asked, another process perhaps."""
    fake.service.roster.wait_s(GUILD, time.monotonic(), 30)
    with pytest.raises(MembersRateLimited) as caught:
        await gateway.request_members(GUILD, on_rate_limit="raise")
    assert 25 < caught.value.retry_after_s <= 30


@pytest.mark.parametrize("nonce", [True, False])
@pytest.mark.parametrize("query", [{}, {"query": "a", "limit": 100}])
async def test_rate_limited_by_the_service_is_waited_for(fake, gateway, nonce, query):
    """As long as it says, and then it is asked again, whether or not the refusal has our nonce."""

    def refuse(peer):
        meta = {"guild_id": str(GUILD), "nonce": requests(fake)[-1]["nonce"]}
        if not nonce:
            del meta["nonce"]
        peer.dispatch("RATE_LIMITED", {"opcode": 4, "retry_after": 0.0, "meta": meta})
        peer.dispatch("RATE_LIMITED", {"opcode": 8, "retry_after": 0.1, "meta": meta})

    fake.instead_of(Moment.COMMAND, refuse)
    assert "Ada" in names(await gateway.request_members(GUILD, **query))
    first, second = [command.at for command in fake.received if command.op == 8]
    assert second - first > 0.1


# --- connections and sessions that end -----------------------------------------------------------


async def test_a_request_survives_a_resume(fake, gateway):
    """Chunks that were on their way are replayed."""

    def answer(peer):
        peer.answer()
        peer.cut()

    fake.instead_of(Moment.COMMAND, answer)
    assert names(await gateway.request_members(GUILD)) == list(NAMES)
    assert len(fake.resumes) == 1
    assert len(requests(fake)) == 1


async def test_a_request_lost_with_its_connection_is_sent_again(fake, gateway):
    """The service never saw it: RESUME replays nothing of it."""
    fake.instead_of(Moment.COMMAND, lambda peer: peer.cut())
    assert names(await gateway.request_members(GUILD, timeout_s=0.8)) == list(NAMES)
    assert len(fake.resumes) == 1
    assert len(requests(fake)) == 2


async def test_the_time_for_an_answer_is_counted_while_the_session_is_up(fake, gateway):
    """A connection that takes long to come back is no silence of the service."""

    def answer(peer):
        peer.answer()
        fake.refuse_upgrade(503, headers={"Retry-After": "0.9"})
        peer.cut()

    fake.instead_of(Moment.COMMAND, answer)
    assert names(await gateway.request_members(GUILD, timeout_s=0.6)) == list(NAMES)


async def test_a_request_fails_with_its_session(fake, gateway):
    """The next session knows nothing of it."""
    fake.instead_of(Moment.COMMAND, lambda peer: peer.invalid_session(resumable=False))
    with pytest.raises(SessionLost, match="session of shard 0 was lost during request_members"):
        await gateway.request_members(GUILD)


async def test_a_request_fails_with_its_shard(fake, gateway):
    """Also one that waits for its turn."""
    await gateway.request_members(OTHER)
    fake.mute("GUILD_MEMBERS_CHUNK")
    both = [asyncio.ensure_future(collect(gateway.request_members(i))) for i in (GUILD, OTHER)]
    await fake.wait_command(Opcode.REQUEST_GUILD_MEMBERS, count=2)
    await gateway.stop_shard(0)
    for task in both:
        with pytest.raises(SessionLost, match=r"shard 0 (stopped|was lost)"):
            await task


async def collect(request):
    return await request


async def test_a_request_ends_with_the_gateway(fake):
    """Nobody waits for what cannot come."""
    async with gateway_to(fake) as gateway:
        fake.mute("GUILD_MEMBERS_CHUNK")
        task = asyncio.ensure_future(collect(gateway.request_members(GUILD)))
        await fake.wait_command(Opcode.REQUEST_GUILD_MEMBERS)
    with pytest.raises((SessionLost, WaitFailed)):
        await task


# --- what cannot be asked for --------------------------------------------------------------------


async def test_a_guild_of_another_shard(fake):
    """Where its events come, and where they do not."""
    async with gateway_to(fake, shards=[0, 1], shard_count=4) as gateway:
        with pytest.raises(ShardNotHere, match="shard 3, on which guild 12582912 is") as caught:
            gateway.request_members(3 << 22)
        assert (caught.value.shard_id, caught.value.running) == (3, (0, 1))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"query": 5}, "query=5 is not a str"),
        ({"query": "a"}, "say how many"),
        ({"query": "a", "limit": 101}, "1 to 100"),
        ({"limit": -1}, "limit=-1"),
        ({"limit": 1.5}, "limit=1.5"),
        ({"user_ids": []}, "0 user_ids"),
        ({"user_ids": range(1, 102)}, "101 user_ids"),
        ({"user_ids": "123"}, "pass a list"),
        ({"user_ids": [1], "query": "a"}, "not both"),
        ({"user_ids": ["me"]}, "'me' is not an id"),
        ({"timeout_s": 0}, "timeout_s=0"),
        ({"on_rate_limit": "ignore"}, "neither"),
        ({"query": "a" * 5000, "limit": 1}, "4096"),
    ],
)
async def test_what_discord_would_not_answer(gateway, options, message):
    """Told where it is asked for, and not as silence."""
    with pytest.raises(UsageError, match=message):
        gateway.request_members(GUILD, **options)


@pytest.mark.parametrize(
    ("options", "intent"),
    [({}, "GUILD_MEMBERS"), ({"limit": 5}, "GUILD_MEMBERS"),
     ({"user_ids": [1], "presences": True}, "GUILD_PRESENCES")],
)  # fmt: skip
async def test_an_intent_is_missing(fake, options, intent):
    """Named, because Discord says nothing."""
    async with gateway_to(fake, intents=Intents.default()) as gateway:
        with pytest.raises(UsageError, match=intent):
            gateway.request_members(GUILD, **options)
        assert await gateway.request_members(GUILD, user_ids=[GUILD])


async def test_before_the_start(fake):
    """Which shard is not known yet."""
    gateway = gateway_to(fake)
    with pytest.raises(UsageError, match="before start"):
        gateway.request_members(GUILD)


# --- pressure ------------------------------------------------------------------------------------


async def test_a_thousand_handlers_that_ask_cannot_deadlock():
    """A hundred run at a time, each waits for chunks, and all get theirs: 700 guilds, 10 shards."""
    guilds = {(n << 22) + 1: MEMBERS for n in range(1, 701)}
    got = Counter()
    async with FakeGateway(
        members=guilds, members_per_chunk=3, max_concurrency=10, recommended_shards=10
    ) as fake:
        gateway = gateway_to(
            fake,
            limits=DeliveryLimits(running=100, shard_bytes=100_000, gateway_bytes=600_000),
            identify_queue=quick_queue(10),
        )

        @gateway.on("MESSAGE_CREATE")
        async def ask(event):
            guild_id = event.guild_id
            async for chunk in gateway.request_members(guild_id, query="", limit=7, timeout_s=None):
                got[guild_id] += len(chunk.members)

        async with gateway:
            for n in range(1_000):
                guild_id = (n % 700 + 1 << 22) + 1
                fake.dispatch("MESSAGE_CREATE", {"content": "x" * 200, "guild_id": str(guild_id)})
            await until(lambda: got.total() == 7_000, 60)
            assert gateway.stats().handler_failures == {}
            await until(lambda: not is_asking(gateway))
    assert len(got) == 700


async def test_a_request_fails_at_the_second_mark(fake):
    """Reading went on for it as long as it might; then it is told why it cannot go on."""
    limits = DeliveryLimits(running=1, shard_bytes=20_000)
    release = asyncio.Event()
    async with gateway_to(fake, limits=limits, drain_s=0) as gateway:

        @gateway.on("MESSAGE_CREATE")
        async def slow(event):
            await release.wait()

        fake.mute("GUILD_MEMBERS_CHUNK")
        task = asyncio.ensure_future(collect(gateway.request_members(GUILD, timeout_s=None)))
        await fake.wait_command(Opcode.REQUEST_GUILD_MEMBERS)
        for _ in range(50):
            fake.dispatch("MESSAGE_CREATE", {"content": "x" * 1_000})
        with pytest.raises(WaitFailed, match="stopped reading"):
            await asyncio.wait_for(task, scaled(20))
        release.set()
