"""
`GET /gateway/bot` as one fleet asks it: until it is answered at the start, once later on.

The HTTP of it is imported by the first question: who passes `info=` asks none.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from ...errors import FastgwError

if TYPE_CHECKING:
    from ..settings import FleetOptions
    from .gateway_info import GatewayInfo

__all__ = ["ApiQuestion"]


class ApiQuestion:
    """
    The question, with what the fleet was told.

    Attributes:
        options: of the fleet.
        is_stopped: nobody wants the answer any more.
        error: why it was not answered when it was asked last.
    """

    def __init__(self, options: FleetOptions) -> None:
        self.is_stopped = False
        self.options = options
        self.error: FastgwError | None = None
        self._asking: asyncio.Task[GatewayInfo] | None = None

    async def first(self) -> tuple[GatewayInfo, float]:
        """
        Return the answer, and the monotonic seconds at which it was asked for.

        What the user or a supervisor knows already is not asked; else the API, until it answers.

        Raises:
            asyncio.CancelledError: also after `stop()`.
        """
        options = self.options
        if options.info is not None:
            return options.info, time.monotonic()
        if options.answer is not None:
            return options.answer
        from .gateway_info import ask_until_answered

        asked_at = time.monotonic()
        self._asking = asyncio.ensure_future(ask_until_answered(self.again, random=options.random))
        return await self._asking, asked_at  # who cancels this cancels that

    async def again(self) -> GatewayInfo:
        """Ask the API once."""
        from .gateway_info import fetch_gateway_info

        options = self.options
        try:
            info = await fetch_gateway_info(
                options.api_url,
                options.identity.token,
                timeout_s=options.timeouts.open_s,
                ssl_context=options.ssl_context,
                proxies=options.proxies,
                headers=options.http_headers,
            )
        except FastgwError as error:
            self.error = error
            raise
        self.error = None
        return info

    def stop(self) -> None:
        """Let the first question end."""
        self.is_stopped = True
        if self._asking is not None:
            self._asking.cancel()
