"""
One attempt at a connection: socket, decoder, plan and identify turn, from opening to the end.

A link is deaf as soon as its attempt has ended, so what an old connection still says is dropped
(docs/reliability.md, case 19).
"""

from __future__ import annotations

import asyncio
import logging
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from .._decode import Decoder
from ..connection.websocket import CloseInfo, Connection
from ..errors import FastgwError

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Mapping

    from .._decode import Event, Interests, Message, Sequence
    from ..connection.websocket import Delivery
    from ..protocol.protocol import Timeouts
    from ..protocol.session import Plan
    from ..protocol.signals import Outcome
    from .pacing import IdentifyGate, IdentifyTurn

__all__ = ["Link", "LinkOwner", "ShardSetup"]

log = logging.getLogger("fastgw.shard")


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardSetup:
    """
    What all shards of a gateway have in common. compression is the Decoder's word for it.

    Attributes:
        delivery: hears straight from the listener how what it called for an event fared, also
            from that of an old connection.
    """

    url: str
    compression: str
    interests: Interests
    delivery: Delivery
    gate: IdentifyGate
    timeouts: Timeouts
    ssl_context: ssl.SSLContext | None
    headers: Mapping[str, str]
    random: Callable[[], float]
    backoff_s: tuple[float, float]


class LinkOwner(Protocol):
    """What a link reports to; nothing comes after `connect_failed` or `connection_lost`."""

    def connection_made(self) -> None:
        """The upgrade is done."""

    def connect_failed(self, error: BaseException) -> None:
        """The connection could not be opened."""

    def message_received(self, message: Message | Event) -> None:
        """A message for the protocol came."""

    def connection_lost(self, info: CloseInfo) -> None:
        """The connection has ended."""


class Link:
    """
    One attempt.

    Attributes:
        plan: where to, and whether to resume.
        turn: the identify turn held for it; None when it is a resume, or given up.
        decoder: its decoder, fresh.
        connection: its connection.
        ended: its outcome; setting it makes the link deaf.
    """

    __slots__ = ("_owner", "connection", "decoder", "ended", "plan", "turn")

    def __init__(
        self,
        owner: LinkOwner,
        plan: Plan,
        turn: IdentifyTurn | None,
        *,
        setup: ShardSetup,
        sequence: Sequence,
        shard_id: int,
    ) -> None:
        self._owner = owner
        self.plan = plan
        self.turn = turn
        self.decoder = Decoder(
            compression=setup.compression,
            interests=setup.interests,
            sequence=sequence,
            shard_id=shard_id,
        )
        self.connection = Connection(
            self.decoder, self, delivery=setup.delivery, close_timeout_s=setup.timeouts.close_s
        )
        self.ended: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()

    async def run(self, setup: ShardSetup) -> Outcome:
        """Open it and wait for its end. Cancelling drops the socket."""
        opening = asyncio.ensure_future(
            self.connection.open(
                self.plan.url,
                ssl_context=setup.ssl_context,
                headers=setup.headers,
                open_timeout_s=setup.timeouts.open_s,
            )
        )
        try:
            await asyncio.wait((opening, self.ended), return_when=asyncio.FIRST_COMPLETED)
            if not self.ended.done() and (error := opening.exception()) is not None:
                _forget_locals(error)
                self._open_failed(error)
            return await self.ended
        finally:
            self.ended.cancel()  # no effect on an outcome; deaf when there is none
            opening.cancel()
            if self.connection.is_open:
                self.connection.abort()
            await asyncio.wait((opening,))
            if not opening.cancelled():
                opening.exception()  # reported above, or of no interest any more

    def release_turn(self) -> None:
        """Give the identify turn up, if it is held still."""
        turn, self.turn = self.turn, None
        if turn is not None:
            turn.release()

    def _open_failed(self, error: BaseException) -> None:
        if not isinstance(error, FastgwError):
            log.error("connecting failed by an error in fastgw itself", exc_info=error)
        self._owner.connect_failed(error)

    # What the connection reports.

    def connection_made(self, connection: Connection) -> None:
        if not self.ended.done():
            self._owner.connection_made()

    def message_received(self, message: Message | Event) -> None:
        if not self.ended.done():
            self._owner.message_received(message)

    def connection_lost(self, info: CloseInfo) -> None:
        if not self.ended.done():
            self._owner.connection_lost(info)


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
