"""Many shards in one gateway: their start, their turns, one lost among others, and at run time."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from deadline import scaled, until
from gateways import gateway_to, no_jitter, quick_queue

from fastgw import (
    FatalError,
    MemorySessionStore,
    Placement,
    StartProgress,
    State,
    Timeouts,
    UsageError,
    shard_id_for,
)
from fastgw.connection.dial import Dial
from fastgw.fleet import setup as fleet_setup
from fastgw.testing import FakeGateway


def identified(fake):
    """Return the shard ids in the order in which they identified."""
    return [identify["shard"][0] for identify in fake.identifies]


async def test_auto_runs_what_is_recommended():
    """All shards that the API recommends, each with its id and the count."""
    async with FakeGateway(recommended_shards=5) as fake, gateway_to(fake) as gateway:
        assert [(shard.id, shard.count) for shard in gateway.shards] == [(i, 5) for i in range(5)]
        assert gateway.health().is_ready


@pytest.mark.parametrize(
    ("options", "ids"),
    [
        ({"shards": 3}, [0, 1, 2]),
        ({"shards": range(4, 8), "shard_count": 16}, [4, 5, 6, 7]),
        ({"shards": [9, 2], "shard_count": 16}, [2, 9]),
    ],
)
async def test_the_shards_that_were_asked_for(options, ids):
    """A number means all of them; a range or ids mean some of shard_count."""
    async with FakeGateway() as fake, gateway_to(fake, **options) as gateway:
        assert [shard.id for shard in gateway.shards] == ids
        assert {shard.count for shard in gateway.shards} == {options.get("shard_count", 3)}


async def test_shards_start_in_bucket_order():
    """With one key they identify one after another, by id."""
    async with FakeGateway() as fake, gateway_to(fake, shards=8) as gateway:
        assert gateway.health().ready == 8
        assert identified(fake) == list(range(8))


async def test_one_lost_shard_does_not_disturb_the_others():
    """Its connection is replaced by a resume; theirs stay."""
    async with FakeGateway() as fake, gateway_to(fake, shards=4) as gateway:
        fake.cut(shard_id=2)
        await until(lambda: gateway.shards[2].stats().resumes_won == 1, 10.0)
        assert [shard.stats().connections for shard in gateway.shards] == [1, 1, 2, 1]
        assert len(identified(fake)) == 4


async def test_after_an_outage_all_resume_without_turns():
    """An identify turn that somebody holds does not keep others from resuming."""
    async with FakeGateway() as fake, gateway_to(fake, shards=8, random=no_jitter) as gateway:
        fake.cut(shard_id=None)
        await until(lambda: sum(shard.stats().resumes_won for shard in gateway.shards) == 8, 10.0)
        assert len(identified(fake)) == 8


class Openings:
    """Counts the connections that are being opened; each takes a moment longer than usual."""

    def __init__(self, monkeypatch, *, hold=None):
        self.now = self.most = 0
        usual = Dial.open

        async def counted(dial, *arguments, **options):
            self.now += 1
            self.most = max(self.most, self.now)
            try:
                await (asyncio.sleep(0.01) if hold is None else hold.wait())
                return await usual(dial, *arguments, **options)
            finally:
                self.now -= 1

        monkeypatch.setattr(Dial, "open", counted)


async def test_connections_on_their_way_up_to_resume_are_bounded(monkeypatch):
    """After an outage never more than the bound are being opened, and all come up in the end."""
    monkeypatch.setattr(fleet_setup, "MAX_OPENING", 3)
    async with (
        FakeGateway(max_concurrency=16) as fake,
        gateway_to(fake, shards=12, identify_queue=quick_queue(16), random=no_jitter) as gateway,
    ):
        openings = Openings(monkeypatch)
        fake.cut()
        await until(lambda: sum(s.stats().resumes_won for s in gateway.shards) == 12, 10.0)
        assert openings.most == 3
        assert len(identified(fake)) == 12


async def test_those_that_identify_are_bounded_by_their_turns(monkeypatch):
    """Never more on their way up than there are identify keys."""
    openings = Openings(monkeypatch)
    async with (
        FakeGateway(max_concurrency=4) as fake,
        gateway_to(fake, shards=12, identify_queue=quick_queue(4)),
    ):
        assert openings.most == 4


async def test_an_identify_turn_waits_for_no_place(monkeypatch):
    """While all places are taken by resumes that hang, a new session is made all the same."""
    monkeypatch.setattr(fleet_setup, "MAX_OPENING", 2)
    async with (
        FakeGateway(max_concurrency=16) as fake,
        gateway_to(fake, shards=4, identify_queue=quick_queue(16), random=no_jitter) as gateway,
    ):
        await gateway.stop_shard(3)
        hold = asyncio.Event()
        openings = Openings(monkeypatch, hold=hold)
        fake.cut()
        await until(lambda: openings.now == 2)
        monkeypatch.undo()  # those that are under way hang, and no others
        await gateway.start_shard(3)
        await until(lambda: fake.is_ready(3), 10.0)
        assert openings.now == 2
        hold.set()
        await gateway.wait_ready(scaled(10.0))


async def test_progress_is_told_until_all_are_ready():
    """Once for each shard, with those of an earlier process apart; later moves are no start."""
    async with FakeGateway() as fake:
        told = []
        gateway = gateway_to(fake, shards=3)
        gateway.on_progress(told.append)
        async with gateway:
            assert told == [StartProgress(shards=3, ready=n, cold=0) for n in (1, 2, 3)]
            assert [progress.is_done for progress in told] == [False, False, True]
            fake.cut()
            await until(lambda: sum(s.stats().resumes_won for s in gateway.shards) == 3, 10.0)
        assert len(told) == 3


async def test_progress_tells_cold_sessions_apart():
    """They cost no identify, and no READY comes for them."""
    async with FakeGateway(max_concurrency=3) as fake:
        options = {"store": MemorySessionStore(), "shard_count": 3}
        first = gateway_to(fake, shards=[0, 1], **options)
        async with first:
            await first.close(end_session=False)
        told = []
        second = gateway_to(fake, shards=range(3), **options)
        second.on_progress(told.append)
        async with second:
            assert told[-1] == StartProgress(shards=3, ready=3, cold=2)


async def test_a_shard_is_stopped_and_started_again():
    """It leaves and comes back by a new session; the gateway goes on without it."""
    async with FakeGateway() as fake, gateway_to(fake, shards=3) as gateway:
        await gateway.stop_shard(1)
        assert [shard.id for shard in gateway.shards] == [0, 2]
        assert gateway.health().is_ready
        shard = await gateway.start_shard(1)
        await asyncio.wait_for(gateway.wait_ready(), scaled(10.0))
        assert gateway.shards[1] is shard
        assert shard.status is State.READY


async def test_a_shard_that_is_being_stopped_cannot_be_started():
    """What gives it up at the end of the stop would give up the new one, and others run it, too."""
    async with FakeGateway() as fake, gateway_to(fake, shards=2) as gateway:
        stopping = asyncio.create_task(gateway.stop_shard(1))
        await asyncio.sleep(0)  # it begins
        with pytest.raises(UsageError, match="shards 1 are being stopped: await stop_shard"):
            await gateway.start_shard(1)
        await stopping
        await gateway.start_shard(1)


async def test_a_gateway_without_shards_waits_for_some():
    """Placed so: whoever shares them out brings them one by one, and takes them away."""
    async with FakeGateway() as fake:
        gateway = gateway_to(fake)
        gateway.place(Placement(shard_ids=None, shard_count=4))
        await gateway.start()
        assert gateway.shards == ()
        assert fake.identifies == []
        for shard_id in (3, 0):
            await gateway.start_shard(shard_id)
        await asyncio.wait_for(gateway.wait_ready(), scaled(10.0))
        assert [(shard.id, shard.count) for shard in gateway.shards] == [(0, 4), (3, 4)]
        for shard_id in (0, 3):
            await gateway.stop_shard(shard_id)
        assert gateway.health().shards == ()
        await gateway.close()


async def test_the_last_shard_may_be_stopped_too():
    """Stopped one by one at run time, a gateway stays open for others to be started."""
    async with FakeGateway() as fake, gateway_to(fake, shards=1) as gateway:
        await gateway.stop_shard(0)
        assert gateway.shards == ()
        await gateway.start_shard(0)
        await asyncio.wait_for(gateway.wait_ready(), scaled(10.0))


async def refuse_shard(fake, gateway, shard_id):
    """Have Discord refuse one shard for good."""
    (shard,) = (shard for shard in gateway.shards if shard.id == shard_id)
    fake.close(4010, shard_id=shard_id)
    await until(lambda: shard.status is State.STOPPED)


async def test_what_is_left_has_stopped_for_good():
    """Nothing would ever come again: the gateway ends with the error, whichever came last."""
    async with FakeGateway() as fake, gateway_to(fake, shards=2) as gateway:
        await refuse_shard(fake, gateway, 0)
        await gateway.stop_shard(1)
        with pytest.raises(FatalError, match="4010"):
            await asyncio.wait_for(gateway.wait_closed(), scaled(10.0))


async def test_what_is_left_has_stopped_while_one_is_started(monkeypatch):
    """The gateway waits for that one, and ends with the error if the store does not give it."""
    store, may_answer = MemorySessionStore(), asyncio.Event()
    async with FakeGateway() as fake, gateway_to(fake, shards=2, store=store) as gateway:
        await gateway.stop_shard(1)

        async def take(*_):
            await may_answer.wait()
            raise UsageError("another runs it")

        monkeypatch.setattr(gateway._fleet._sessions._store, "take", take)
        starting = asyncio.ensure_future(gateway.start_shard(1))
        await refuse_shard(fake, gateway, 0)
        assert "running" in repr(gateway)
        may_answer.set()
        with pytest.raises(UsageError, match="another runs it"):
            await starting
        with pytest.raises(FatalError, match="4010"):
            await asyncio.wait_for(gateway.wait_closed(), scaled(10.0))


async def test_a_gateway_that_is_brought_its_shards_waits_for_others():
    """Whoever took the last good one away may bring another."""
    async with FakeGateway() as fake:
        gateway = gateway_to(fake)
        gateway.place(Placement(shard_ids=None, shard_count=3))
        await gateway.start()
        for shard_id in (0, 1):
            await gateway.start_shard(shard_id)
        await gateway.wait_ready(scaled(10.0))
        await refuse_shard(fake, gateway, 0)
        await gateway.stop_shard(1)
        assert "running" in repr(gateway)
        await gateway.close()


async def test_a_shard_gets_another_connection():
    """reconnect_shard() resumes; no session is spent."""
    async with FakeGateway() as fake, gateway_to(fake, shards=2) as gateway:
        gateway.reconnect_shard(1)
        await until(lambda: gateway.shards[1].stats().resumes_won == 1, 10.0)
        assert gateway.shards[1].stats().reconnects == {"replaced": 1}
        assert len(identified(fake)) == 2


async def test_shards_that_cannot_be_moved():
    """Each refusal says why."""
    async with FakeGateway() as fake, gateway_to(fake, shards=2) as gateway:
        with pytest.raises(UsageError, match="shard 0 runs already"):
            await gateway.start_shard(0)
        with pytest.raises(UsageError, match="shard 2 is not one of 0 to 1"):
            await gateway.start_shard(2)
        with pytest.raises(UsageError, match=r"shard 7 does not run here.*0 to 1 \(2 shards\)"):
            await gateway.stop_shard(7)
        with pytest.raises(UsageError, match="shard 7 does not run here"):
            gateway.reconnect_shard(7)
    with pytest.raises(UsageError, match="the gateway is closed"):
        await gateway.start_shard(0)


@pytest.mark.parametrize("shard_id", [True, 1.0, "1", None])
async def test_what_is_no_shard_id(shard_id):
    """It is refused before anything is touched, also where it equals the id of a shard."""
    async with FakeGateway() as fake, gateway_to(fake, shards=2) as gateway:
        for move in (gateway.stop_shard, gateway.start_shard, gateway.reconnect_shard):
            with pytest.raises(UsageError, match="is no shard id"):
                await move(shard_id)
        await gateway.stop_shard(1)
        with pytest.raises(UsageError, match="is no shard id"):
            await gateway.start_shard(shard_id)
        await gateway.start_shard(1)
        await gateway.wait_ready(scaled(10.0))


async def test_a_stop_whose_caller_is_cancelled_comes_to_its_end():
    """Else nobody could ever start the shard again."""
    async with FakeGateway() as fake, gateway_to(fake, shards=2) as gateway:
        stopping = asyncio.create_task(gateway.stop_shard(1))
        await asyncio.sleep(0)
        stopping.cancel()
        with pytest.raises(asyncio.CancelledError):
            await stopping
        await until(lambda: not fake.is_ready(1), scaled(10.0))

        async def start_when_free():
            while len(gateway.shards) < 2:
                with contextlib.suppress(UsageError):  # it still runs here
                    await gateway.start_shard(1)
                await asyncio.sleep(0.01)

        await asyncio.wait_for(start_when_free(), scaled(10.0))
        await gateway.wait_ready(scaled(10.0))


async def test_the_shard_of_a_guild():
    """By the formula of the documentation; None where it runs elsewhere."""
    guild = 175928847299117063
    assert shard_id_for(guild, 16) == (guild >> 22) % 16
    assert shard_id_for(str(guild), 16) == shard_id_for(guild, 16)
    async with FakeGateway() as fake, gateway_to(fake, shards=[0], shard_count=16) as gateway:
        here = next(g for g in range(1, 1 << 30, 1 << 22) if shard_id_for(g, 16) == 0)
        assert gateway.shard_for(here) is gateway.shards[0]
        assert gateway.shard_for(here + (1 << 22)) is None


@pytest.mark.parametrize("guild_id", ["", "abc", -1, 1.5, True, None, 1 << 64])
def test_what_is_not_a_guild(guild_id):
    """A clear error, not a wrong shard."""
    with pytest.raises(UsageError, match="is not the id of a guild"):
        shard_id_for(guild_id, 4)


async def test_a_timeout_names_how_many_are_missing():
    """Not a thousand names."""
    async with FakeGateway() as fake:
        fake.mute("READY")
        gateway = gateway_to(fake, shards=8)
        await gateway.start()
        with pytest.raises(Exception, match=r"8 of 8 shards .*\.\.\."):
            await gateway.wait_ready(0.05)
        await gateway.close()


async def test_a_close_waits_for_a_shard_that_is_being_stopped():
    """Its service does not answer our CLOSE; the gateway is closed when its socket is gone, too."""
    async with FakeGateway() as fake:
        gateway = gateway_to(fake, shards=2, timeouts=Timeouts(close_s=0.2))
        async with gateway:
            fake.connection(1).freeze()
            shard = gateway.shards[1]
            stopping = asyncio.create_task(gateway.stop_shard(1))
            await until(lambda: len(gateway.shards) == 1)
            await gateway.close()
            assert shard.status is State.STOPPED
            await stopping
