"""The end of a store, as one step of a fleet's: the others are taken whatever becomes of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..connection.time_limit import time_limit
from ..log import careful_logger

if TYPE_CHECKING:
    from .stores.sessions import SessionWriter

__all__ = ["STORE_CLOSE_S", "close_store"]

log = careful_logger("fastgw.gateway")

# A store that takes longer to close does not close at all.
STORE_CLOSE_S = 10.0


async def close_store(sessions: SessionWriter | None) -> None:
    """Close the store, which may be the user's: it cannot hold the end up."""
    if sessions is None:
        return
    try:
        with time_limit(STORE_CLOSE_S):
            await sessions.close()
    except Exception as error:
        log.error("the session store did not close", exc_info=error)
