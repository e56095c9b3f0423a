"""
One attempt at a connection: socket, decoder, plan and identify turn, from opening to the end.

Its connection reports to the link's owner directly, until the link ends: what an old connection
still says is ignored (docs/reliability.md, case 19).
"""

from __future__ import annotations

import asyncio
import traceback
from contextlib import nullcontext
from typing import TYPE_CHECKING, NamedTuple, Protocol

from .._decode import Decoder
from ..connection.dial import Dial
from ..connection.websocket import Receiver
from ..errors import FastgwError
from ..log import careful_logger

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Mapping

    from .._decode import Interests, Sequence
    from ..connection.dial import Turns
    from ..connection.proxy import Proxies
    from ..connection.websocket import Connection
    from ..delivery.handlers import Handlers
    from ..protocol.session import Plan
    from ..protocol.signals import Outcome
    from ..protocol.timeouts import Timeouts
    from .compression import Compression
    from .ports import IdentifyDoor, IdentifyTurn
    from .reading import Reading

__all__ = ["MAX_OPENING", "HeldTurn", "Link", "LinkOwner", "ShardSetup"]

log = careful_logger("fastgw.shard")

# Connections on their way up to resume, of all shards: after an outage a thousand TLS handshakes at
# the same moment would block the loop for seconds and fill the service's queue of half-open ones.
# Those that identify come on top: as many as there are identify turns at once (max_concurrency).
MAX_OPENING = 64


class ShardSetup(NamedTuple):
    """
    What all shards of a gateway have in common.

    Attributes:
        delivery: hears straight from the listener how what it called for an event fared, also
            from that of an old connection; and has the ledger of each shard.
        stores_handled: the store is told the sequence handled, not the one received.
        early_heartbeat: a shard beats as soon as it is up, and knows its latency.
        opening: how many connections that resume may be on their way up at once; a place is held
            from the first packet to the upgrade. Those that identify have their turns for it.
        turns: how long all of them together may deliver in one turn of the loop.
        may_speak: whether a shard is still ours; asked before anything is written.
    """

    url: str
    compression: Compression
    interests: Interests
    delivery: Handlers
    gate: IdentifyDoor
    timeouts: Timeouts
    ssl_context: ssl.SSLContext | None
    headers: Mapping[str, str]
    proxies: Proxies
    random: Callable[[], float]
    backoff_s: tuple[float, float]
    opening: asyncio.Semaphore
    turns: Turns
    stores_handled: bool
    early_heartbeat: bool
    may_speak: Callable[[int], bool]

    def __repr__(self) -> str:
        return "ShardSetup(...)"  # a header's value may be a secret


class LinkOwner(Receiver, Protocol):
    """What a link reports to; nothing comes after `connect_failed` or `connection_ended`."""

    def connect_failed(self, error: BaseException) -> None:
        """The connection could not be opened."""


class HeldTurn:
    """
    An identify turn as a shard holds it, given back once.

    The queue may be the user's: what it raises is logged, and costs nothing else.
    """

    __slots__ = ("_turn",)

    def __init__(self, turn: IdentifyTurn) -> None:
        self._turn: IdentifyTurn | None = turn

    def written(self) -> None:
        """Tell the queue that IDENTIFY is written."""
        if self._turn is not None:
            try:
                self._turn.written()
            except Exception as error:
                log.warning("the identify queue failed to note an IDENTIFY", exc_info=error)

    def release(self) -> None:
        """Give it back, the first time it is called."""
        turn, self._turn = self._turn, None
        if turn is not None:
            try:
                turn.release()
            except Exception as error:
                log.warning("the identify queue failed to take a turn back", exc_info=error)


class Link:
    """
    One attempt.

    Attributes:
        plan: where to, and whether to resume.
        turn: the identify turn it began with; None when it is a resume.
        decoder: its decoder, fresh.
        ended: its outcome.
    """

    __slots__ = ("_dial", "_owner", "decoder", "ended", "plan", "turn")

    def __init__(
        self,
        owner: LinkOwner,
        plan: Plan,
        turn: HeldTurn | None,
        *,
        setup: ShardSetup,
        sequence: Sequence,
        shard_id: int,
        reading: Reading,
    ) -> None:
        self._owner = owner
        self.plan = plan
        self.turn = turn
        self.decoder = Decoder(
            compression=setup.compression.mode,
            interests=setup.interests,
            sequence=sequence,
            shard_id=shard_id,
        )
        self._dial = Dial(
            self.decoder,
            owner,
            delivery=setup.delivery,
            close_timeout_s=setup.timeouts.close_s,
            turns=setup.turns,
            reading=reading,
        )
        self.ended: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()

    @property
    def connection(self) -> Connection | None:
        """Its connection; None before the upgrade."""
        return self._dial.connection

    async def run(self, setup: ShardSetup) -> Outcome:
        """Open it and wait for its end. Cancelling aborts it."""
        opening = asyncio.ensure_future(self._open(setup))
        try:
            await asyncio.wait((opening, self.ended), return_when=asyncio.FIRST_COMPLETED)
            if not self.ended.done() and (error := opening.exception()) is not None:
                _forget_locals(error)
                self._open_failed(error)
            return await self.ended
        except BaseException:  # cancelled; otherwise `end` was called
            self._dial.abandon()
            raise
        finally:
            if not opening.done():
                opening.cancel()
                await asyncio.wait((opening,))
            if not opening.cancelled():
                opening.exception()  # reported above, or of no interest any more

    async def _open(self, setup: ShardSetup) -> None:
        # Whoever holds an identify turn does not stand in this line, for all shards of its key
        # would stand with it; there are no more of them at once than keys.
        place = setup.opening if self.turn is None else nullcontext()
        async with place:  # the deadline begins when it is our turn
            await self._dial.open(
                self.plan.url,
                ssl_context=setup.ssl_context,
                headers=setup.headers,
                proxies=setup.proxies,
                open_timeout_s=setup.timeouts.open_s,
            )

    def end(self, outcome: Outcome) -> None:
        """The attempt is over: what its connection still says is ignored from here on."""
        self._dial.abandon()
        if not self.ended.done():
            self.ended.set_result(outcome)

    def abort(self) -> None:
        """End its TCP now, without CLOSE."""
        if (connection := self._dial.connection) is not None:
            connection.abort()
        else:
            self._dial.abandon()

    def bytes_received(self) -> int:
        """Count bytes that arrived since the upgrade began."""
        connection = self._dial.connection
        return 0 if connection is None else connection.bytes_received()

    @property
    def buffer_bytes(self) -> int:
        """What its connection kept for reading when it was looked at, and its decoder to join."""
        connection = self._dial.connection
        read_bytes = 0 if connection is None else connection.buffer_bytes
        return read_bytes + self.decoder.buffer_capacity

    def _open_failed(self, error: BaseException) -> None:
        if not isinstance(error, FastgwError):
            log.error("connecting failed by an error in fastgw itself", exc_info=error)
        self._owner.connect_failed(error)


def _forget_locals(error: BaseException | None) -> None:
    """
    Free what the frames of a failed connect hold: a socket, TLS state, a decoder with its buffers.

    The error outlives them, as `last_error`, and some of these frames hold an error themselves, a
    circle that only the garbage collector would break. Its traceback keeps its lines.

    Only for an error that nobody else has seen: who raises it again puts frames of his own into the
    traceback, and before Python 3.13 clearing the frame of a coroutine that waits would end it.
    """
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__
