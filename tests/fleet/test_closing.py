"""The end of a store, as one step of a fleet's: the others are taken whatever becomes of it."""

from __future__ import annotations

import asyncio

from deadline import scaled

from fastgw.fleet import closing
from fastgw.fleet.closing import close_store


class Sessions:
    """Those of a fleet: whether they were closed."""

    def __init__(self):
        self.is_closed = False

    async def close(self):
        self.is_closed = True


async def test_a_store_is_closed():
    """If there is one."""
    sessions = Sessions()
    await close_store(sessions)
    await close_store(None)
    assert sessions.is_closed


async def test_a_store_that_does_not_close_is_told(caplog):
    """And holds nothing up."""
    sessions = Sessions()

    async def fail():
        raise OSError("full")

    sessions.close = fail
    await close_store(sessions)
    assert "the session store did not close" in caplog.text


async def test_a_store_that_hangs_is_given_up(monkeypatch, caplog):
    """After its time."""
    monkeypatch.setattr(closing, "STORE_CLOSE_S", 0.01)
    sessions = Sessions()
    sessions.close = asyncio.Event().wait
    await asyncio.wait_for(close_store(sessions), scaled(5.0))
    assert "the session store did not close" in caplog.text
