"""Whose turn it is to ask for all members of a guild, in invented time."""

import asyncio

import pytest
from invented_time import run_in_invented_time

from fastgw._decode import Decoder
from fastgw.delivery.handlers import Handlers
from fastgw.delivery.ledger import OVERHEAD_BYTES, Delivery
from fastgw.delivery.limits import DeliveryLimits
from fastgw.errors import ShardNotHere, WaitFailed
from fastgw.fleet.commands.member_turns import INTERVAL_S, PADDING_S, MemberTurns
from fastgw.fleet.commands.members import MemberQuery, MemberRequests
from fastgw.protocol.states import State
from fastgw.shard.face import Shard
from fastgw.words import Intents

GUILD = 7


class Keeper:
    """A shard's driver that writes at once, `delay_s` later, and keeps what was written."""

    status, error = State.READY, None

    def __init__(self, delay_s=0.0):
        self.delay_s = delay_s
        self.written = []
        self.nonces = {}

    async def send(self, command, op=-1, d=None, *, wait=True):
        await asyncio.sleep(self.delay_s)
        self.nonces[d["guild_id"]] = d["nonce"]
        self.written.append((asyncio.get_running_loop().time(), d["guild_id"]))


def requests_to(keeper):
    return requests_of(lambda i: Shard(keeper, i, 1))


def requests_of(find):
    clock = asyncio.get_running_loop().time
    return MemberRequests(Handlers(Intents.all()), Intents.all(), find, clock=clock)


async def ask(requests, guild_id=GUILD, **data):
    """Ask, and wait for an answer that does not come."""
    data = {"guild_id": str(guild_id), **(data or {"query": "", "limit": 0})}
    try:
        await requests.request(MemberQuery(guild_id, 0, data, 0.001, True))
    except asyncio.TimeoutError:
        return


def test_requests_for_one_guild_are_thirty_seconds_apart():
    """Counted from when each is written; requests for others go at once."""
    keeper = Keeper(delay_s=1.0)

    async def main():
        requests = requests_to(keeper)
        asked = [ask(requests), ask(requests), ask(requests), ask(requests, 8)]
        await asyncio.gather(*asked, ask(requests, user_ids=["1"]))

    run_in_invented_time(main())
    at = [round(at, 2) for at, guild_id in keeper.written if guild_id == str(GUILD)]
    step = INTERVAL_S + PADDING_S + keeper.delay_s
    assert at == [1.0, 1.0, 1.0 + step, 1.0 + 2 * step]  # the first two: all, and by id
    assert [at for at, guild_id in keeper.written if guild_id == "8"] == [1.0]


def test_who_waits_for_a_turn_may_leave():
    """The next in line has it then."""
    keeper = Keeper()

    async def main():
        requests = requests_to(keeper)
        await ask(requests)
        leaving = asyncio.ensure_future(ask(requests))
        staying = asyncio.ensure_future(ask(requests))
        await asyncio.sleep(10)
        leaving.cancel()
        await staying

    run_in_invented_time(main())
    assert [round(at) for at, _ in keeper.written] == [0, round(INTERVAL_S + PADDING_S)]


def test_a_shard_that_left_meanwhile_is_told():
    """The turn comes when it does not run here any more."""
    shards = {0: Shard(Keeper(), 0, 1)}

    def find(shard_id):
        if shard_id not in shards:
            raise ShardNotHere(shard_id, list(shards))
        return shards[shard_id]

    async def main():
        requests = requests_of(find)
        await ask(requests)
        second = asyncio.ensure_future(ask(requests))
        await asyncio.sleep(10)
        shards.clear()
        with pytest.raises(ShardNotHere):
            await second

    run_in_invented_time(main())


def test_chunks_of_one_request_give_another_time():
    """The service answers one after the other; a silence of ten seconds is one of all of them."""
    keeper, handlers = Keeper(), Handlers(Intents.all())
    decoder = Decoder(interests=handlers.interests)

    def receive(nonce, index):
        data = b'{"nonce":"%s","chunk_index":%d,"chunk_count":4}' % (nonce.encode(), index)
        message = b'{"t":"GUILD_MEMBERS_CHUNK","s":%d,"op":0,"d":%s}' % (index + 1, data)
        handlers.target_of("GUILD_MEMBERS_CHUNK")(decoder.feed(message, 1, True))

    async def main():
        loop = asyncio.get_running_loop()
        requests = MemberRequests(
            handlers, Intents.all(), lambda i: Shard(keeper, i, 1), clock=loop.time
        )

        async def ask_for(guild_id):
            query = MemberQuery(guild_id, 0, {"guild_id": str(guild_id), "query": "a"}, 10.0, True)
            try:
                await requests.request(query)
            except asyncio.TimeoutError:
                return loop.time()
            return None

        silent, busy = asyncio.ensure_future(ask_for(7)), asyncio.ensure_future(ask_for(8))
        for index in range(3):
            await asyncio.sleep(9)
            receive(keeper.nonces["8"], index)
        return await silent, await busy

    assert run_in_invented_time(main()) == (37.0, 37.0)
    assert handlers.ledgers.bytes == 0


class Other:
    """An event of which only the size matters, open in a ledger for somebody."""

    name, sequence, received_at, shard_id = "A", 1, 0.0, 0

    def __init__(self, size, ledger):
        self.message_bytes = size - OVERHEAD_BYTES
        Delivery(self, self, (), ledger).open()


@pytest.mark.parametrize("in_hand", [False, True])
def test_who_leaves_makes_room_for_those_who_wait(in_hand):
    """At once, at the second mark; and its bytes are no excuse any more for those of others."""
    mark, keeper = 10_000, Keeper()
    limits = DeliveryLimits(shard_bytes=mark, gateway_bytes=10 * mark)
    handlers = Handlers(Intents.all(), limits=limits)
    decoder, ledger = Decoder(interests=handlers.interests), handlers.ledgers[0]

    def receive(index, size):
        told = b'"nonce":"%s","chunk_index":%d' % (keeper.nonces[str(GUILD)].encode(), index)
        data = b'{%s,"chunk_count":9,"x":"%s"}' % (told, b"x" * size)
        message = b'{"t":"GUILD_MEMBERS_CHUNK","s":%d,"op":0,"d":%s}' % (index + 1, data)
        handlers.target_of("GUILD_MEMBERS_CHUNK")(decoder.feed(message, 1, True))

    async def main():
        loop = asyncio.get_running_loop()
        requests = MemberRequests(
            handlers, Intents.all(), lambda i: Shard(keeper, i, 1), clock=loop.time
        )
        query = MemberQuery(GUILD, 0, {"guild_id": str(GUILD), "query": "a"}, None, True)
        chunks = aiter(requests.request(query))
        first = asyncio.ensure_future(anext(chunks))
        await asyncio.sleep(1)
        waiting = asyncio.ensure_future(handlers.waiters.wait(("MESSAGE_CREATE",), None, None))
        await asyncio.sleep(1)
        Other(mark * 3 // 2, ledger)
        receive(0, mark if in_hand else 1)
        await first
        if not in_hand:
            receive(1, mark)
        assert handlers.pressure.is_held(ledger)
        await chunks.aclose()
        assert not handlers.pressure.is_held(ledger)
        assert not waiting.done()
        Other(mark, ledger)
        with pytest.raises(WaitFailed, match="stopped reading"):
            await waiting

    run_in_invented_time(main())


def test_lines_in_which_nobody_waits_are_forgotten():
    """A bot in a million guilds keeps those of the last half minute."""
    turns = MemberTurns()
    for guild_id in range(10_000):
        turns.line(guild_id, float(guild_id)).written(float(guild_id))
    assert len(turns._lines) < 200
    assert turns.line(9_999, 9_999.0).wait_s(9_999.0) == INTERVAL_S + PADDING_S
