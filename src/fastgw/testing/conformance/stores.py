"""What every session store must do; see `fastgw.fleet.ports`."""

from __future__ import annotations

import asyncio
import threading
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from ...errors import UsageError
from ...fleet.ports import StoredSession
from ...protocol.session import Session
from .loops import OnLoops

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ...fleet.ports import OpenStore, SessionStore

__all__ = ["SessionStoreSuite"]

BOT, OTHER_BOT = 80351110224678912, 41771983423143937
TERMS = '{"intents": 513}'


def session_of(shard_id: int = 0, *, shard_count: int = 4, sequence: int = 7) -> StoredSession:
    """Return a session as a shard hands it over after READY."""
    return StoredSession(
        session=Session(
            f"session-of-{shard_id}", sequence, "wss://resume.invalid", shard_id, shard_count
        ),
        terms=TERMS,
        bot_id=BOT,
    )


@contextmanager
def refused(*parts: str) -> Iterator[None]:
    """Expect a UsageError that names these."""
    try:
        yield
    except UsageError as error:
        text = str(error)
    else:
        raise AssertionError(f"nothing was refused; expected {parts}")
    assert not [part for part in parts if part not in text], text


class SessionStoreSuite(OnLoops):
    """Inherit it in a class whose name begins with Test, and say how a store is made."""

    def make_store(self) -> SessionStore:
        """
        Return a store on the sessions of this test, which are none at its first call.

        Further calls of one test return another store on the same sessions, as another process
        would make it; or the same one, where nobody else can have it.
        """
        raise NotImplementedError

    async def opened(self, bot_id: int | None = BOT) -> OpenStore:
        """Open the store as another fleet would."""
        return await self.make_store().open(bot_id)

    async def left(self, *shard_ids: int, shard_count: int = 4) -> dict[int, StoredSession]:
        """Return what a fleet that starts now finds of these shards."""
        store = await self.opened()
        try:
            return await store.take(shard_ids, shard_count)
        finally:
            await store.close()

    def test_an_empty_store_has_nothing(self) -> None:
        """The first start finds no session."""
        assert self.run(self.left(0, 1)) == {}

    def test_a_session_is_found_by_the_next_start(self) -> None:
        """All of it, with its bot and a small age."""

        async def main() -> None:
            store = await self.opened()
            await store.take([1], 4)
            store.save(session_of(1))
            await store.close()
            found = await self.left(0, 1)
            assert list(found) == [1]
            age_s = found[1].age_s
            assert age_s is not None
            assert 0.0 <= age_s < 60.0
            assert replace(found[1], age_s=None) == session_of(1)

        self.run(main())

    def test_sequences_move_on(self) -> None:
        """What is stored is the highest that was noted."""

        async def main() -> None:
            store = await self.opened()
            await store.take([0, 1], 4)
            store.save(session_of(0))
            store.save(session_of(1))
            store.save_sequences({0: 9, 1: 8})
            store.save_sequences({0: 5_000_000_000})
            store.save_sequences({})
            await store.close()
            found = await self.left(0, 1)
            assert found[0].session.sequence == 5_000_000_000
            assert found[1].session.sequence == 8

        self.run(main())

    def test_a_lower_sequence_is_not_taken(self) -> None:
        """Within a session it only grows."""

        async def main() -> None:
            store = await self.opened()
            await store.take([0], 4)
            store.save(session_of(0, sequence=100))
            store.save_sequences({0: 99})
            await store.close()
            assert (await self.left(0))[0].session.sequence == 100

        self.run(main())

    def test_a_sequence_without_a_session_is_ignored(self) -> None:
        """A shard that has none yet cannot be resumed."""

        async def main() -> None:
            store = await self.opened()
            await store.take([0], 4)
            store.save_sequences({0: 3})
            await store.close()
            assert await self.left(0) == {}

        self.run(main())

    def test_sequences_of_a_session_that_was_taken(self) -> None:
        """A process that resumed it goes on where the last one stopped."""

        async def main() -> None:
            store = await self.opened()
            await store.take([0], 4)
            store.save(session_of(0, sequence=10))
            await store.close()
            store = await self.opened()
            await store.take([0], 4)
            store.save_sequences({0: 11})
            await store.close()
            assert (await self.left(0))[0].session.sequence == 11

        self.run(main())

    def test_a_new_session_replaces_the_old_one(self) -> None:
        """Also when its sequence is lower."""

        async def main() -> None:
            store = await self.opened()
            await store.take([0], 4)
            store.save(session_of(0, sequence=900))
            new = replace(session_of(0), session=Session("another", 1, "wss://b.invalid", 0, 4))
            store.save(new)
            store.save_sequences({0: 2})
            await store.close()
            found = (await self.left(0))[0].session
            assert (found.session_id, found.sequence) == ("another", 2)

        self.run(main())

    def test_a_session_that_ended_is_forgotten(self) -> None:
        """And what is noted of it afterwards does not bring it back."""

        async def main() -> None:
            store = await self.opened()
            await store.take([0, 1], 4)
            store.save(session_of(0))
            store.save(session_of(1))
            store.forget(0)
            store.forget(3)
            store.save_sequences({0: 8})
            await store.close()
            assert list(await self.left(0, 1)) == [1]

        self.run(main())

    def test_a_session_that_was_stored_is_forgotten(self) -> None:
        """Also one of an earlier process, which the service refused to resume."""

        async def main() -> None:
            store = await self.opened()
            await store.take([0, 1], 4)
            store.save(session_of(0))
            store.save(session_of(1))
            await store.close()
            store = await self.opened()
            await store.take([0, 1], 4)
            store.forget(0)
            await store.close()
            assert list(await self.left(0, 1)) == [1]

        self.run(main())

    def test_odd_text_comes_back_as_it_was(self) -> None:
        """Session ids and URLs are the service's, terms the user's."""

        async def main() -> None:
            odd = StoredSession(
                session=Session(
                    "é'\";--\x7f" + "x" * 4_000, 2**53 + 1, "wss://ü.invalid/?a=%00", 0, 1
                ),
                terms='{"identify_extra": {"name": "λ\\u0000"}}',
                bot_id=BOT,
            )
            store = await self.opened()
            await store.take([0], 1)
            store.save(odd)
            await store.close()
            assert replace((await self.left(0, shard_count=1))[0], age_s=None) == odd

        self.run(main())

    def test_a_thousand_shards(self) -> None:
        """Taken, saved, moved and found."""

        async def main() -> None:
            ids = range(1_000)
            store = await self.opened()
            await store.take(ids, 1_000)
            for shard_id in ids:
                store.save(session_of(shard_id, shard_count=1_000))
            store.save_sequences({shard_id: 1_000 + shard_id for shard_id in ids})
            await store.close()
            found = await self.left(*ids, shard_count=1_000)
            assert {i: s.session.sequence for i, s in found.items()} == {i: 1_000 + i for i in ids}

        self.run(main())

    # --- shards and their owners -----------------------------------------------------------------

    def test_sessions_of_another_shard_count_are_not_given_out(self) -> None:
        """case 42: they cannot be resumed."""

        async def main() -> None:
            store = await self.opened()
            await store.take([0], 4)
            store.save(session_of(0, shard_count=4))
            await store.close()
            assert await self.left(0, shard_count=8) == {}

        self.run(main())

    def test_a_shard_has_one_owner(self) -> None:
        """Who runs it already is not disturbed, and what was asked for with it stays free."""

        async def main() -> None:
            first, second = await self.opened(), await self.opened()
            await first.take([0, 1], 4)
            with refused("shard 1"):
                await second.take([2, 1], 4)
            first.save(session_of(1))
            await second.take([2], 4)
            await first.close()
            assert list(await second.take([0, 1], 4)) == [1]
            await second.close()

        self.run(main())

    def test_several_owners_share_a_store(self) -> None:
        """Each with shards of its own, at the same time."""

        async def main() -> None:
            stores = [await self.opened() for _ in range(4)]
            for shard_id, store in enumerate(stores):
                await store.take([shard_id], 4)
                store.save(session_of(shard_id))
            for step in range(20):
                for shard_id, store in enumerate(stores):
                    store.save_sequences({shard_id: 10 + step})
                await asyncio.sleep(0)
            for store in stores:
                await store.close()
            found = await self.left(0, 1, 2, 3)
            assert [found[i].session.sequence for i in range(4)] == [29] * 4

        self.run(main())

    def test_shards_are_handed_over_one_by_one(self) -> None:
        """Released, with all that was noted of it, while the others stay."""

        async def main() -> None:
            first, second = await self.opened(), await self.opened()
            await first.take([0, 1], 4)
            first.save(session_of(0))
            first.save_sequences({0: 50})
            await first.release([0])
            found = await second.take([0], 4)
            assert found[0].session.sequence == 50
            first.save_sequences({0: 60})
            await first.close()
            await second.close()
            assert (await self.left(0))[0].session.sequence == 50

        self.run(main())

    def test_two_shard_counts_at_once_are_refused(self) -> None:
        """One bot has one shard count; when the others are gone, another may begin."""

        async def main() -> None:
            first, second = await self.opened(), await self.opened()
            await first.take([0], 4)
            with refused("4", "8"):
                await second.take([1], 8)
            await first.close()
            assert await second.take([1], 8) == {}
            await second.close()

        self.run(main())

    def test_who_does_not_run_a_shard_has_no_say(self) -> None:
        """What it never took, or has released, is neither written nor moved nor forgotten."""

        async def main() -> None:
            first, second = await self.opened(), await self.opened()
            await second.take([0, 1], 4)
            second.save(session_of(0, sequence=40))
            await second.release([0])
            await first.take([0], 4)
            first.save(session_of(0, sequence=50))
            await first.release([])  # it is written
            for shard_id in (0, 2):
                second.save(session_of(shard_id, sequence=90))
                second.save_sequences({shard_id: 99})
                second.forget(shard_id)
            await second.close()
            await first.close()
            found = await self.left(0, 1, 2)
            assert {i: one.session.sequence for i, one in found.items()} == {0: 50}

        self.run(main())

    def test_several_threads_share_a_store(self) -> None:
        """Each with a loop, a fleet and shards of its own."""
        stores = [self.make_store() for _ in range(4)]
        failed: list[BaseException] = []

        async def life(store: SessionStore, shard_ids: range) -> None:
            for sequence in range(10, 13):
                opened = await store.open(BOT)
                await opened.take(shard_ids, 400)
                for shard_id in shard_ids:
                    opened.save(session_of(shard_id, shard_count=400, sequence=sequence))
                opened.save_sequences(dict.fromkeys(shard_ids, sequence + 5))
                opened.forget(shard_ids[0])
                await opened.release(shard_ids[1:])
                await opened.close()

        def in_thread(number: int) -> None:
            try:
                self.run(life(stores[number], range(100 * number, 100 * number + 100)))
            except BaseException as error:
                failed.append(error)

        threads = [threading.Thread(target=in_thread, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failed:
            raise failed[0]
        found = self.run(self.left(*range(400), shard_count=400))
        assert len(found) == 396
        assert {one.session.sequence for one in found.values()} == {17}

    # --- whose they are --------------------------------------------------------------------------

    def test_another_bot_is_refused_at_the_door(self) -> None:
        """The store is bound by the first READY."""

        async def main() -> None:
            store = await self.opened(None)
            await store.take([0], 4)
            store.save(session_of(0))
            await store.close()
            with refused(str(BOT), str(OTHER_BOT)):
                await self.opened(OTHER_BOT)
            assert list(await self.left(0)) == [0]

        self.run(main())

    def test_another_bot_is_refused_when_it_shows(self) -> None:
        """A token that tells no bot: READY does, and nothing of the other bot is lost."""

        async def main() -> None:
            store = await self.opened()
            await store.take([0, 1], 4)
            store.save(session_of(0))
            await store.close()
            store = await self.opened(None)
            await store.take([0, 1], 4)
            store.forget(0)  # the service refused to resume it
            with refused(str(BOT)):
                store.save(replace(session_of(0), bot_id=OTHER_BOT))
            await store.close()
            assert replace((await self.left(0))[0], age_s=None) == session_of(0)

        self.run(main())

    def test_what_may_be_another_bots_is_not_moved_once_it_is_over(self) -> None:
        """It stays as it was: neither its sequence nor its age is of the session that follows."""

        async def main() -> None:
            store = await self.opened()
            await store.take([0, 1], 4)
            store.save(session_of(0))
            store.save(session_of(1))
            await store.close()
            store = await self.opened(None)
            await store.take([0, 1], 4)
            store.forget(0)
            store.save_sequences({0: 900, 1: 900})
            await store.close()
            found = await self.left(0, 1)
            assert [found[i].session.sequence for i in (0, 1)] == [7, 900]

        self.run(main())

    # --- its life --------------------------------------------------------------------------------

    def test_it_says_which_sequence_it_wants(self) -> None:
        """That of the last event received, or handled."""
        assert self.make_store().acknowledge in ("received", "handled")

    def test_it_says_whether_it_is_durable(self) -> None:
        """The same when it is open, as long as nothing fails."""

        async def main() -> None:
            made = self.make_store()
            store = await made.open(BOT)
            assert isinstance(made.is_durable, bool)
            assert store.is_durable == made.is_durable
            await store.close()

        self.run(main())

    def test_it_may_be_closed_before_anything_was_taken(self) -> None:
        """A start that failed; and once more, by whoever tidies up."""

        async def main() -> None:
            store = await self.opened()
            await store.close()
            await store.close()

        self.run(main())

    def test_a_store_that_is_closed_gives_nothing(self) -> None:
        """Nobody would ever release it."""

        async def main() -> None:
            store = await self.opened()
            await store.close()
            with refused("closed"):
                await store.take([0], 4)

        self.run(main())

    def test_who_takes_while_it_is_closed_holds_nothing(self) -> None:
        """Whatever it is answered, others may take the shards at once."""

        async def main() -> None:
            store, other = await self.opened(), await self.opened()
            taking = asyncio.ensure_future(store.take([0, 1], 4))
            await asyncio.sleep(0)
            await store.close()
            (answer,) = await asyncio.gather(taking, return_exceptions=True)
            assert answer == {} or isinstance(answer, UsageError), answer
            assert await other.take([1, 0], 4) == {}
            await other.close()

        self.run(main())

    def test_one_store_serves_one_loop_after_another(self) -> None:
        """A program that calls `run()` again and again."""
        made = self.make_store()

        async def once(sequence: int) -> int | None:
            store = await made.open(BOT)
            found = await store.take([0], 4)
            store.save(session_of(0, sequence=sequence))
            await store.close()
            return found[0].session.sequence if found else None

        assert [self.run(once(sequence)) for sequence in (1, 2, 3)] == [None, 1, 2]
