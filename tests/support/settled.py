"""Waiting until nothing is left of a connection, its TCP included."""

from __future__ import annotations

import asyncio

from fastgw.connection.websocket import CloseInfo, Connection


async def settled(connection: Connection) -> CloseInfo | None:
    """Wait until TCP is gone, and tell how it ended."""
    await asyncio.shield(connection.settled)
    return connection._info
