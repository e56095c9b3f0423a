"""What is delivered in one turn of the loop: bounded, in order, shared, and never lost."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter
from contextlib import AsyncExitStack

from deadline import until
from raw_websocket import close_frame, frame, raw_server
from recorder import Recorder
from settled import settled

from fastgw._decode import Decoder
from fastgw.connection.dial import Dial
from fastgw.connection.listener import Turns
from fastgw.words import Initiator


def event(sequence):
    return frame(1, b'{"t":"X","s":%d,"op":0,"d":{}}' % sequence)


def events(count):
    return b"".join(event(sequence) for sequence in range(1, count + 1))


class Pace:
    """Stops reading while frames are kept, as a shard does, and writes down when."""

    def __init__(self):
        self.told = []

    def behind(self, connection, is_behind):
        self.told.append(is_behind)
        if is_behind:
            connection.pause_reading()
        else:
            connection.resume_reading()


class Client:
    """A connection whose events land in `seen`, with the number of the turn they came in."""

    def __init__(self, turns, seen, name=""):
        self.pace = Pace()
        self.receiver = Recorder()
        self.decoder = Decoder(interests=[])
        self.decoder.interests.want("X", lambda event: seen.append((name, event.sequence)))
        self.dial = Dial(
            self.decoder,
            self.receiver,
            delivery=self.receiver,
            close_timeout_s=0.1,
            turns=turns,
            reading=self.pace,
        )

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        self.dial.abandon()
        if self.dial.connection is not None:
            await settled(self.dial.connection)


def sends(data):
    """Return the script of a peer that sends all of it in one segment, and waits."""

    async def script(peer):
        await peer.upgrade()
        peer.send(data)
        await peer.at_end()

    return script


class Ticker:
    """Counts the turns of the loop."""

    def __init__(self):
        self.turns = 0
        self._task = asyncio.ensure_future(self._run())

    async def _run(self):
        while True:
            self.turns += 1
            await asyncio.sleep(0)

    async def stop(self):
        self._task.cancel()
        await asyncio.wait((self._task,))


async def test_beyond_the_bound_events_wait_for_the_next_turn():
    """With no time at all one goes a turn; others run between, and the order stays."""
    turns, seen = Turns(0.0), []
    async with raw_server(sends(events(200))) as url, Client(turns, seen) as client:
        ticker = Ticker()
        await client.dial.open(url)
        await until(lambda: len(seen) == 200)
        await ticker.stop()
        assert [sequence for _, sequence in seen] == list(range(1, 201))
        assert ticker.turns >= 200
        assert turns.cut >= 199
        await until(lambda: client.pace.told[-1:] == [False])
        assert turns.kept_bytes == 0
        assert not client.dial.connection.is_reading_paused


async def test_within_the_bound_nothing_is_kept():
    """Reading never stops, and nothing is counted."""
    turns, seen = Turns(3600.0), []
    async with raw_server(sends(events(200))) as url, Client(turns, seen) as client:
        await client.dial.open(url)
        await until(lambda: len(seen) == 200)
        assert client.pace.told == []
        assert turns.cut == 0


async def test_close_comes_after_the_events_before_it():
    """It is kept in its order; what it means is what it says."""
    turns, seen = Turns(0.0), []
    data = events(50) + close_frame(4000, b"later")
    async with raw_server(sends(data)) as url, Client(turns, seen) as client:
        await client.dial.open(url)
        await client.receiver.until(lambda: client.receiver.ended)
        assert len(seen) == 50
        (info,) = client.receiver.ended
        assert (info.close_code, info.reason, info.initiator) == (4000, "later", Initiator.SERVICE)


async def test_a_ping_is_answered_at_once():
    """It needs no order, and whoever asks wants to know that we live."""
    answered_after = []

    async def script(peer):
        await peer.upgrade()
        peer.send(events(100) + frame(9, b"ping"))
        while (await peer.receive()) != (10, b"ping"):
            pass
        answered_after.append(len(seen))
        await peer.at_end()

    turns, seen = Turns(0.0), []
    async with raw_server(script) as url, Client(turns, seen) as client:
        await client.dial.open(url)
        await until(lambda: answered_after and len(seen) == 100)
        assert answered_after[0] < 100


async def test_fragments_that_are_kept_are_joined():
    """A message in pieces is one, however many turns its pieces take."""
    turns, seen = Turns(0.0), []
    pieces = b'{"t":"X","s":2,"op":0,', b'"d":', b"{}}"
    data = event(1) + frame(1, pieces[0], fin=False) + frame(0, pieces[1], fin=False)
    async with (
        raw_server(sends(data + frame(0, pieces[2]) + event(3))) as url,
        Client(turns, seen) as client,
    ):
        await client.dial.open(url)
        await until(lambda: len(seen) == 3)
        assert [sequence for _, sequence in seen] == [1, 2, 3]


async def test_connections_take_turns():
    """Who is cut goes to the end of the line: no one waits until another is done."""
    both_are_open = asyncio.Event()

    async def script(peer):
        await peer.upgrade()
        await both_are_open.wait()
        peer.send(events(100))
        await peer.at_end()

    turns, seen = Turns(0.0), []
    async with (
        raw_server(script) as url,
        Client(turns, seen, "a") as a,
        Client(turns, seen, "b") as b,
    ):
        await asyncio.gather(a.dial.open(url), b.dial.open(url))
        both_are_open.set()
        await until(lambda: len(seen) == 200)
        for name in "ab":
            assert [s for n, s in seen if n == name] == list(range(1, 101))
        # They came within a few turns of each other, and were done within a few.
        ends = [max(i for i, (n, _) in enumerate(seen) if n == name) for name in "ab"]
        assert abs(ends[0] - ends[1]) < 50


async def test_of_many_connections_each_has_its_share():
    """One that sends much has no more turns than others, while those have any."""
    all_are_open = asyncio.Event()
    numbers = itertools.count()

    async def script(peer):
        number = next(numbers)
        await peer.upgrade()
        await all_are_open.wait()
        peer.send(events(400 if number == 0 else 40))
        await peer.at_end()

    turns, seen = Turns(0.0), []
    async with raw_server(script) as url, AsyncExitStack() as clients:
        for number in range(50):
            client = await clients.enter_async_context(Client(turns, seen, number))
            await client.dial.open(url)
        all_are_open.set()
        await until(lambda: len(seen) == 400 + 49 * 40)
        for number in range(1, 50):
            assert [s for n, s in seen if n == number] == list(range(1, 41))
        all_had_half = max(seen.index((number, 20)) for number in range(50))
        assert max(Counter(number for number, _ in seen[:all_had_half]).values()) <= 40
        others_were_done = max(i for i, (number, _) in enumerate(seen) if number != 0)
        assert Counter(number for number, _ in seen[:others_were_done])[0] <= 60


async def test_a_connection_that_ends_forgets_what_was_kept():
    """It was not decoded, so the sequence does not know it, and a resume replays it."""
    turns, seen = Turns(0.0), []
    async with raw_server(sends(events(200))) as url, Client(turns, seen) as client:
        await client.dial.open(url)
        await until(lambda: client.pace.told == [True])
        client.dial.connection.abandon()
        before = len(seen)
        await settled(client.dial.connection)
        await until(lambda: turns.kept_bytes == 0)
        assert len(seen) == before < 200
        assert client.decoder.sequence.last == before
        assert client.pace.told == [True, False]


async def test_after_our_close_what_was_kept_is_not_delivered():
    """We said that we want nothing more; the peer's answer still counts."""

    async def script(peer):
        await peer.upgrade()
        peer.send(events(200))
        while (await peer.receive())[0] != 8:
            pass
        peer.send(close_frame(4000))
        await peer.at_end()

    turns, seen = Turns(0.0), []
    async with raw_server(script) as url, Client(turns, seen) as client:
        await client.dial.open(url)
        await until(lambda: client.pace.told == [True])
        client.dial.connection.close(4000)
        before = len(seen)
        await client.receiver.until(lambda: client.receiver.ended)
        assert len(seen) == before
        assert client.receiver.ended[0].initiator is Initiator.CLIENT
        await until(lambda: turns.kept_bytes == 0)


async def test_a_broken_message_among_those_kept_closes_the_connection():
    """As it does in the turn it came in; what follows it is not looked at."""
    turns, seen = Turns(0.0), []
    data = events(20) + frame(1, b'{"op":') + event(21)
    async with raw_server(sends(data)) as url, Client(turns, seen) as client:
        await client.dial.open(url)
        await client.receiver.until(lambda: client.receiver.ended)
        assert len(seen) == 20
        assert client.receiver.ended[0].error is not None
        await until(lambda: turns.kept_bytes == 0)


async def test_many_dropped_events_are_bounded_too():
    """Nobody wants them, so the clock is looked at less often, but it is."""
    turns, seen = Turns(0.0), []
    data = events(1_000).replace(b'"X"', b'"Y"') + event(1_001)
    async with raw_server(sends(data)) as url, Client(turns, seen) as client:
        await client.dial.open(url)
        await until(lambda: len(seen) == 1)
        assert 10 <= turns.cut <= 40


async def test_slow_handlers_are_noticed_among_quick_ones():
    """Quick ones share a look at the clock; of slow ones four pass at most, then one a turn."""
    turns, cuts = Turns(0.032), []

    class Seen:
        def append(self, item):
            cuts.append(turns.cut)
            if len(cuts) > 40:
                ends_at = time.monotonic() + 0.04
                while time.monotonic() < ends_at:
                    pass

    async with raw_server(sends(events(52))) as url, Client(turns, Seen()) as client:
        await client.dial.open(url)
        await until(lambda: len(cuts) == 52)
    slow = cuts[40:]
    assert slow[4] > slow[0]
    assert slow[4:] == list(range(slow[4], slow[4] + 8))
