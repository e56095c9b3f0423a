"""
Sessions of a fleet: in memory, and on their way into whatever store there is.

`SessionWriter` is what shards report to: a session that began is stored at once, sequences about
once a second, one that is over is removed. `usable_sessions` decides which stored ones may be
resumed. `MemorySessionStore` is the store of a gateway that was given none.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import orjson

from ...errors import UsageError
from ...log import careful_logger
from ...protocol.session import MAX_AGE_S
from ...protocol.token import bot_id_of
from ...quoting import ranges
from ..ports import LeasingStore, Occupied, StoredSession, at_sequence
from .bot_binding import BotBinding, bot_id_in

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from typing import Any

    from ...protocol.identity import Identity
    from ...protocol.session import Session
    from ..ports import Acknowledge, OpenStore, SessionStore

__all__ = [
    "MemorySessionStore",
    "SessionWriter",
    "encode_terms",
    "open_sessions",
    "usable_sessions",
    "warn_of_cold_resumes",
]

log = careful_logger("fastgw.store")

# A store that fails does so every second; seconds between two lines about it.
FAILED_AGAIN_S = 60.0

# A session whose sequence stands still is seen alive this often: its age in the store is never more
# than this above the truth, and a quiet shard costs a row a quarter of a minute.
TOUCH_S = 15.0


def encode_terms(identity: Identity) -> str:
    """Return what IDENTIFY fixes for a session, as a store keeps it."""
    return orjson.dumps(identity.terms(), option=orjson.OPT_SORT_KEYS).decode()


def usable_sessions(
    stored: Mapping[int, StoredSession], identities: Mapping[int, Identity]
) -> dict[int, StoredSession]:
    """
    Return the stored sessions that are worth a RESUME, by shard; say why others are not.

    One line for each reason, with its shards. A session whose age nobody knows is tried: a RESUME
    that is refused costs nothing.
    """
    usable: dict[int, StoredSession] = {}
    refused: defaultdict[str, list[int]] = defaultdict(list)
    for shard_id, session in sorted(stored.items()):
        changed = _changed_terms(session.terms, encode_terms(identities[shard_id]))
        if changed:
            refused[f"{changed} changed, which RESUME cannot"].append(shard_id)
        elif session.age_s is not None and session.age_s > MAX_AGE_S:
            refused["the stored ones are too old"].append(shard_id)
        else:
            usable[shard_id] = session
    for reason, shard_ids in refused.items():
        log.info("shards %s begin new sessions: %s", ranges(shard_ids), reason)
    return usable


def _changed_terms(before: str, now: str) -> str:
    """Name what changed, with its values where they are numbers; "" when nothing did."""
    if before == now:
        return ""
    try:
        old, new = orjson.loads(before), orjson.loads(now)
        names = [name for name in {**old, **new} if old.get(name) != new.get(name)]
    except (ValueError, TypeError, AttributeError):
        return "everything"
    parts = []
    for name in names:
        values = old.get(name), new.get(name)
        plain = all(isinstance(value, (int, type(None))) for value in values)
        parts.append(f"{name} ({values[0]} -> {values[1]})" if plain else name)
    return ", ".join(parts)


def warn_of_cold_resumes(missed: list[str]) -> None:
    """Tell which of the events that handlers want stored sessions do not bring."""
    log.warning(
        "sessions are resumed from the store: no %s comes for them, which handlers want. A bot "
        "that cannot do without keeps its sessions in memory: no store=, or `fastgw run` with "
        "--in-memory and without --redis; any other learns from @gateway.on_status when a shard "
        "is READY (docs/sessions.md)",
        " and no ".join(missed),
    )


async def open_sessions(store: SessionStore, identity: Identity) -> SessionWriter:
    """
    Open the store of a fleet; `identity` is that of any of its shards.

    Raises:
        UsageError: see `SessionStore.open`.
    """
    opened = await store.open(bot_id_of(identity.token))
    return SessionWriter(opened, encode_terms(identity))


class SessionWriter:
    """
    Tells a store what becomes of the sessions of a fleet. One thread, the loop's.

    Args:
        store: opened.
        terms: what IDENTIFY fixes, as a store keeps it.
        clock: monotonic seconds.
    Attributes:
        is_durable: whether what is stored now outlives the process.
    """

    def __init__(
        self, store: OpenStore, terms: str, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._store = store
        self._terms = terms
        self._clock = clock
        self._suppliers: dict[int, Callable[[], int | None]] = {}
        self._told: dict[int, tuple[int, float]] = {}  # the sequence last stored, and when
        self._is_refused = False
        self._closed: asyncio.Event | None = None  # made by who closes, set when it is
        self._failed_at = -FAILED_AGAIN_S

    @property
    def is_durable(self) -> bool:
        """Whether what is stored now outlives the process."""
        return self._store.is_durable and not self._is_refused

    def watch(self, shard_id: int, sequence: Callable[[], int | None]) -> None:
        """
        Ask `sequence` about once a second for what shall be stored of a shard.

        It returns None while the shard has no session, or no connection that shows it is alive.
        """
        self._suppliers[shard_id] = sequence

    async def take(self, identities: Mapping[int, Identity]) -> dict[int, StoredSession]:
        """
        Become the only one who runs these shards; return the sessions that are worth a RESUME.

        Raises:
            UsageError: see `OpenStore.take`.
        """
        if not identities:
            return {}
        count = next(iter(identities.values())).shard_count
        taken = await self._store.take(tuple(identities), count)
        return usable_sessions(taken, identities)

    @property
    def look_s(self) -> float | None:
        """Seconds between two calls of `fence`; None where the store knows no leases."""
        return self._store.look_s if isinstance(self._store, LeasingStore) else None

    def expired(self) -> list[int]:
        """Return the shards whose lease is over, once; the store takes nothing of them any more."""
        return sorted(self._store.expired()) if isinstance(self._store, LeasingStore) else []

    async def release(self, shard_id: int) -> None:
        """Store the last of a shard's session, and let others run it."""
        if (sequence := self._suppliers.get(shard_id)) is not None:
            self._note({shard_id: sequence()})
        self.forget(shard_id)
        await self._store.release((shard_id,))

    def forget(self, shard_id: int) -> None:
        """Store nothing of a shard any more: it may be another process's."""
        self._suppliers.pop(shard_id, None)
        self._told.pop(shard_id, None)

    def began(self, session: Session, ready: Mapping[str, Any]) -> None:
        """READY came, with this `d`: store the session, at once."""
        self._told[session.shard_id] = (session.sequence, self._clock())
        if self._is_refused:
            return
        stored = StoredSession(session=session, terms=self._terms, bot_id=bot_id_in(ready))
        try:
            self._store.save(stored)
        except UsageError as error:
            self._is_refused = True
            log.error("sessions are kept in memory only, and the next start identifies: %s", error)
        except Exception as error:
            self._failed(error)

    def ended(self, shard_id: int) -> None:
        """The session of a shard is over."""
        if not self._is_refused:
            self._tell(self._store.forget, shard_id)

    def tick(self) -> None:
        """Store what moved; call it about once a second."""
        self._note({shard_id: ask() for shard_id, ask in self._suppliers.items()})

    async def close(self) -> None:
        """
        Store the last of it, and close the store: once.

        A start that fails closes it, and so does the end that made it fail; whoever comes second
        waits for the first.
        """
        if self._closed is not None:
            await self._closed.wait()
            return
        self._closed = asyncio.Event()
        try:
            self.tick()
            await self._store.close()
        finally:
            self._closed.set()

    def _note(self, sequences: Mapping[int, int | None]) -> None:
        now = self._clock()
        moved: dict[int, int] = {}
        for shard_id, sequence in sequences.items():
            if sequence is None:
                continue
            told, at = self._told.get(shard_id, (None, 0.0))
            if sequence != told or now - at >= TOUCH_S:
                moved[shard_id] = sequence
                self._told[shard_id] = (sequence, now)
        self._tell(self._store.save_sequences, moved)

    def _tell(self, tell: Callable[[Any], object], what: object) -> None:
        """Call the store, which may be the user's: what it raises costs no connection."""
        try:
            tell(what)
        except Exception as error:
            self._failed(error)

    def _failed(self, error: Exception) -> None:
        now = self._clock()
        if now - self._failed_at >= FAILED_AGAIN_S:
            self._failed_at = now
            log.error("the session store failed; the bot goes on without it", exc_info=error)


class MemorySessionStore:
    """
    Keeps sessions as long as it lives itself: for other gateways of the same process, in its thread
    or in others.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._guard = threading.Lock()  # of what follows
        self._rows: dict[int, tuple[StoredSession, float]] = {}
        self._owners: dict[int, _OpenMemory] = {}
        self._bot_id: int | None = None

    @property
    def is_durable(self) -> bool:
        """False: it ends with the process."""
        return False

    @property
    def acknowledge(self) -> Acknowledge:
        """What was received: there is no crash that it outlives."""
        return "received"

    async def open(self, bot_id: int | None) -> OpenStore:
        """
        Begin to use it; several fleets may, each with shards of its own.

        Raises:
            UsageError: it is another bot's.
        """
        bot = BotBinding(
            lambda bound, bot_id: (
                f"this MemorySessionStore holds the sessions of bot {bound}, and this is bot "
                f"{bot_id}: give each bot a store of its own"
            )
        )
        with self._guard:
            bot.opened(self._bot_id, bot_id)
        return _OpenMemory(self, bot)


class _OpenMemory:
    """The store as one fleet has it open."""

    is_durable = False

    def __init__(self, store: MemorySessionStore, bot: BotBinding) -> None:
        self._store = store
        self._bot = bot
        self._shard_count = 0
        self._known: set[int] = set()  # shards of ours whose sessions we have, and may move
        self._is_closed = False

    async def take(self, shard_ids: Collection[int], shard_count: int) -> dict[int, StoredSession]:
        store, now = self._store, self._store._clock()
        with store._guard:
            if self._is_closed:
                raise UsageError("this MemorySessionStore is closed")
            self._check_free(shard_ids, shard_count)
            self._shard_count = shard_count
            store._owners.update(dict.fromkeys(shard_ids, self))
            found = {
                shard_id: replace(stored, bot_id=store._bot_id, age_s=now - at)
                for shard_id, (stored, at) in store._rows.items()
                if shard_id in shard_ids and stored.session.shard_count == shard_count
            }
            self._known.update(found)
            return found

    def _check_free(self, shard_ids: Collection[int], shard_count: int) -> None:
        for shard_id, owner in self._store._owners.items():
            if shard_id in shard_ids:
                raise Occupied(f"another gateway of this process runs shard {shard_id} already")
            if owner._shard_count != shard_count:
                raise Occupied(
                    f"another gateway of this process runs shard {shard_id} of "
                    f"{owner._shard_count}, and here are {shard_count} shards: one bot has one "
                    f"shard count in a store"
                )

    def save(self, stored: StoredSession) -> None:
        store, shard_id = self._store, stored.session.shard_id
        with store._guard:
            self._bot.check(store._bot_id, stored.bot_id)  # another fleet may have said whose it is
            self._bot.ready(stored.bot_id)
            store._bot_id = self._bot.bot_id or store._bot_id
            if store._owners.get(shard_id) is self:
                self._known.add(shard_id)
                store._rows[shard_id] = (stored, store._clock())

    def save_sequences(self, sequences: Mapping[int, int]) -> None:
        store = self._store
        with store._guard:
            for shard_id in sequences.keys() & self._known:
                stored, _ = store._rows[shard_id]
                store._rows[shard_id] = (at_sequence(stored, sequences[shard_id]), store._clock())

    def forget(self, shard_id: int) -> None:
        with self._store._guard:
            if shard_id in self._known:
                self._known.discard(shard_id)
                if self._bot.is_ours:
                    del self._store._rows[shard_id]

    async def release(self, shard_ids: Collection[int]) -> None:
        with self._store._guard:
            self._leave(shard_ids)

    async def close(self) -> None:
        owners = self._store._owners
        with self._store._guard:
            self._is_closed = True
            self._leave([shard_id for shard_id, owner in owners.items() if owner is self])

    def _leave(self, shard_ids: Collection[int]) -> None:
        """Let others run these, if they are ours; under the guard."""
        for shard_id in shard_ids:
            if self._store._owners.get(shard_id) is self:
                del self._store._owners[shard_id]
                self._known.discard(shard_id)
