"""
The pytest plugin: a started `FakeGateway` as a fixture.

    async def test_answers(fake_gateway):
        ...
        fake_gateway.dispatch("MESSAGE_CREATE", {"content": "!ping", "channel_id": "1"})

pytest loads this module in every run of everybody who has installed fastgw. So it stands outside
the package, and imports it only when a test asks for the fixture. The fixture needs pytest-asyncio
(any mode); with another runner write `async with FakeGateway() as fake:` in the test.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from typing import Any

    from fastgw.testing import FakeGateway

_fixture: Callable[[Any], Any]
try:
    from pytest_asyncio import fixture as _fixture
except ImportError:
    _fixture = pytest.fixture

__all__ = ["fake_gateway"]


@_fixture
async def fake_gateway() -> AsyncIterator[FakeGateway]:
    """Serve a `FakeGateway` on loopback (plain TCP) for one test."""
    from fastgw.testing import FakeGateway

    async with FakeGateway() as fake:
        yield fake
