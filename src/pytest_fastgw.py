"""
The pytest plugin: a started `FakeGateway` as a fixture.

    async def test_answers(fake_gateway):
        ...
        fake_gateway.dispatch("MESSAGE_CREATE", {"content": "!ping", "channel_id": "1"})

pytest loads this module in every run of everybody who has installed fastgw. So it stands outside
the package, and imports it only when a test asks for the fixture.

The gateway must serve in the loop that runs during the test, or the test would wait for it for
ever. pytest-asyncio gives fixtures a loop by their own rules (`asyncio_default_fixture_loop_scope`)
and tests one by others, and anyio has a runner of its own; so there is a fixture for each, and
`fake_gateway` takes the one that belongs to the test. With another runner write
`async with FakeGateway() as fake:` in the test.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from typing import Any

    from fastgw.testing import FakeGateway

try:
    import pytest_asyncio
except ImportError:
    pytest_asyncio = None  # type: ignore[assignment]

__all__ = ["fake_gateway"]

# The loops of pytest-asyncio, by how long they last.
_LOOP_SCOPES = ("function", "class", "module", "package", "session")


@pytest.fixture
def fake_gateway(request: pytest.FixtureRequest) -> FakeGateway:
    """Serve a `FakeGateway` on loopback (plain TCP) for one test, in the test's event loop."""
    if "anyio_backend" in request.fixturenames:
        runner = "anyio"
    elif pytest_asyncio is not None and request.config.pluginmanager.hasplugin("asyncio"):
        runner = _loop_scope(request)
    else:
        pytest.fail(
            "the fixture fake_gateway needs pytest-asyncio, or anyio with pytest.mark.anyio; with "
            "another runner write `async with FakeGateway() as fake:` in the test",
            pytrace=False,
        )
    fake: FakeGateway = request.getfixturevalue(f"_fake_gateway_{runner}")
    return fake


def _loop_scope(request: pytest.FixtureRequest) -> str:
    """Say in which of pytest-asyncio's loops the test runs."""
    marker = request.node.get_closest_marker("asyncio")
    said = marker and (marker.kwargs.get("loop_scope") or marker.kwargs.get("scope"))
    if not said:
        try:
            said = request.config.getini("asyncio_default_test_loop_scope")
        except (KeyError, ValueError):  # pytest-asyncio before 0.26
            said = ""
    return said if said in _LOOP_SCOPES else "function"


def _fixture(runner: str, make: Callable[..., Any], **options: Any) -> Any:
    # A function each: pytest-asyncio keeps the loop's scope in it.
    async def serve() -> AsyncIterator[FakeGateway]:
        from fastgw.testing import FakeGateway

        async with FakeGateway() as fake:
            yield fake

    return make(name=f"_fake_gateway_{runner}", **options)(serve)


def _fixture_of_loop(scope: str) -> Any:
    try:
        return _fixture(scope, pytest_asyncio.fixture, loop_scope=scope)
    except TypeError:  # pytest-asyncio before 0.24 knows one loop
        return _fixture(scope, pytest_asyncio.fixture)


_fake_gateway_anyio = _fixture("anyio", pytest.fixture)
if pytest_asyncio is not None:
    _fake_gateway_function = _fixture_of_loop("function")
    _fake_gateway_class = _fixture_of_loop("class")
    _fake_gateway_module = _fixture_of_loop("module")
    _fake_gateway_package = _fixture_of_loop("package")
    _fake_gateway_session = _fixture_of_loop("session")
