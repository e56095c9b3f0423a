"""
The main gateway URL, asked for again when it keeps failing.

Discord retires gateway hosts, and the URL that `GET /gateway/bot` named at the start of a process
may be gone weeks later. The docs want it cached, and fetched anew when connecting fails; the
route's limit is harsh, so one process asks once for all of its shards, and not often.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from ...errors import FastgwError, GatewayInfoError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from .gateway_info import GatewayInfo

__all__ = ["UrlWatch"]

log = logging.getLogger("fastgw.api")

# One attempt may meet a bad moment and the second a bad host behind a good name; what fails a third
# time in a row is worth a question.
FAILURES = 3
# Between two questions, at least, and as much again at random: the processes of a bot lose their
# gateway in the same moment.
EVERY_S = 60.0


class UrlWatch:
    """
    Asks again for the gateway's URL.

    Args:
        ask: makes the request once; raises what it failed with.
        take: called with the answer.
        random: gives [0, 1).
    """

    def __init__(
        self,
        ask: Callable[[], Awaitable[GatewayInfo]],
        take: Callable[[GatewayInfo], None],
        *,
        random: Callable[[], float],
    ) -> None:
        self._ask = ask
        self._take = take
        self._random = random
        self._asking: asyncio.Task[None] | None = None
        self._ask_at = float("-inf")

    def look(self, failures: int, now: float) -> None:
        """
        Ask if it is time to; call once a second.

        Args:
            failures: the most in a row that any shard had at the main URL.
        """
        if failures < FAILURES or now < self._ask_at or self._asking is not None:
            return
        self._ask_at = now + EVERY_S * (1.0 + self._random())
        self._asking = asyncio.get_running_loop().create_task(
            self._ask_once(failures, now), name="fastgw GET /gateway/bot, again"
        )
        self._asking.add_done_callback(self._asked)

    def stop(self) -> None:
        """Ask no more."""
        self._ask_at = float("inf")
        if self._asking is not None:
            self._asking.cancel()

    async def _ask_once(self, failures: int, now: float) -> None:
        log.info("the gateway failed %d times in a row; asking for its URL again", failures)
        try:
            info = await self._ask()
        except FastgwError as error:
            log.warning("the gateway fails, and its URL could not be asked for: %s", error)
            if isinstance(error, GatewayInfoError) and error.retry_after_s is not None:
                # Asking earlier would make it longer (discord-api-docs#8570).
                self._ask_at = max(self._ask_at, now + error.retry_after_s)
        else:
            self._take(info)

    def _asked(self, asking: asyncio.Task[None]) -> None:
        self._asking = None
        if not asking.cancelled() and (bug := asking.exception()) is not None:
            log.error("asking for the gateway's URL failed in fastgw itself", exc_info=bug)
