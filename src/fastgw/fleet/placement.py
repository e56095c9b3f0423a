"""
Which part of a bot runs in this process, as whoever starts several processes says it.

This is the one place where options come from somewhere else than the program: `Gateway.place()`
fills in what the gateway was not given. `fastgw run` does so in each of its workers, and a
supervisor of your own may.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import UsageError
from ..protocol.token import bot_id_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from .http.gateway_info import GatewayInfo
    from .ports import IdentifyQueue, SessionStore
    from .settings import FleetOptions

__all__ = ["Placement"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """
    The part of a bot that one process runs, and what it shares with the others.

    Attributes:
        shard_ids: the shards that run here, such as `range(0, 64)`; None for none at first, and
            those that `start_shard` brings.
        shard_count: how many the bot has in all.
        store: where sessions are kept, unless the gateway has one.
        publishing_store: instead of store, for a gateway that publishes its events, and must not
            pass over one that is not appended yet.
        identify_queue: who may identify when, unless the gateway has one.
        is_exclusive: all processes must share these two: a gateway that has its own is refused.
        bot_id: whose part it is, where that is known: a gateway of another bot is refused.
        api_url: base of the API; None for the gateway's.
        info: the answer of `GET /gateway/bot`, asked for all processes, unless the gateway has one.
        asked_at: when it was asked for, in monotonic seconds; None for now.
        may_take: called when the store is open, with whether it is durable, and awaited before
            shards are taken: another process may have to let go of them first.
        stopped: called with each shard that `stop_shard` takes out: it is not to be started here
            again before the program does so itself.
    """

    shard_ids: Iterable[int] | None
    shard_count: int
    store: SessionStore | None = None
    publishing_store: SessionStore | None = None
    identify_queue: IdentifyQueue | None = None
    is_exclusive: bool = False
    bot_id: int | None = None
    api_url: str | None = None
    info: GatewayInfo | None = None
    asked_at: float | None = None
    may_take: Callable[[bool], Awaitable[None]] | None = None
    stopped: Callable[[int], None] | None = None

    def fill_in(
        self, options: FleetOptions, shard_ids: tuple[int, ...], now: float
    ) -> FleetOptions:
        """
        Return the options of a gateway with those that it was not given taken from here.

        Args:
            options: of the gateway.
            shard_ids: those of here, checked.
            now: monotonic seconds.
        Raises:
            UsageError: the gateway names shards of its own, or a store where that is not wanted, or
                has the token of another bot.
        """
        bot_id = bot_id_of(options.identity.token)
        if None not in (bot_id, self.bot_id) and bot_id != self.bot_id:
            raise UsageError(
                f"the gateway has the token of bot {bot_id}, and who started it runs bot "
                f"{self.bot_id}: leave token= out, or give both the same"
            )
        if options.shard_ids is not None or options.shard_count is not None:
            raise UsageError(
                "the gateway was made with shards of its own, and here somebody else says which "
                "shards run: leave shards= and shard_count= out"
            )
        if self.is_exclusive and (options.is_store_chosen or options.identify_queue is not None):
            raise UsageError(
                "the gateway was made with a store or an identify queue of its own, and here all "
                "processes share those in Redis: leave store= and identify_queue= out"
            )
        asked_at = now if self.asked_at is None else self.asked_at
        ours = self.store if options.publish is None else self.publishing_store or self.store
        store = options.store if options.is_store_chosen else ours or options.store
        return options._replace(
            shard_ids=shard_ids,
            shard_count=self.shard_count,
            store=store,
            identify_queue=options.identify_queue or self.identify_queue,
            api_url=options.api_url if self.api_url is None else self.api_url,
            answer=None if self.info is None else (self.info, asked_at),
            may_take=self.may_take,
            stopped=self.stopped,
            is_shared=self.shard_ids is None,
            metrics=None,  # whoever starts the processes serves those of all of them
        )
