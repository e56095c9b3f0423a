"""
The pytest plugin: a started `FakeGateway`, a `Gateway` that is connected to it, a virtual clock.

    async def test_answers(fake_gateway, connected_gateway):
        register(connected_gateway)  # the handlers under test
        fake_gateway.dispatch("MESSAGE_CREATE", {"content": "!join", "guild_id": "1"})
        await fake_gateway.expect(Opcode.VOICE_STATE_UPDATE, channel_id="2")

`@pytest.mark.fake_gateway(members={...})` gives options to the `FakeGateway` of a test, and
`@pytest.mark.connected_gateway(intents=...)` to its `Gateway`, which has all intents otherwise.

pytest loads this module in every run of everybody who has installed fastgw. So it stands outside
the package, and imports it only when a test asks for a fixture.

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

    from fastgw import Gateway
    from fastgw.testing import FakeGateway, VirtualClock

try:
    import pytest_asyncio
except ImportError:
    pytest_asyncio = None  # type: ignore[assignment]

__all__ = ["connected_gateway", "fake_gateway", "virtual_clock"]

# The loops of pytest-asyncio, by how long they last.
_LOOP_SCOPES = ("function", "class", "module", "package", "session")
_MARKERS = (
    "fake_gateway(**options): of the FakeGateway that the fixture of that name starts",
    "connected_gateway(**options): of the Gateway that the fixture of that name connects",
)


def pytest_configure(config: pytest.Config) -> None:
    """Make the markers known."""
    for marker in _MARKERS:
        config.addinivalue_line("markers", marker)


@pytest.fixture
def fake_gateway(request: pytest.FixtureRequest) -> FakeGateway:
    """Serve a `FakeGateway` on loopback (plain TCP) for one test, in the test's event loop."""
    fake: FakeGateway = request.getfixturevalue(f"_fake_gateway_{_runner(request)}")
    return fake


@pytest.fixture
def connected_gateway(request: pytest.FixtureRequest, fake_gateway: FakeGateway) -> Gateway:
    """Connect a `Gateway` to `fake_gateway`, READY with all of its shards; close it afterwards."""
    gateway: Gateway = request.getfixturevalue(f"_connected_gateway_{_runner(request)}")
    return gateway


@pytest.fixture
def virtual_clock() -> VirtualClock:
    """Return a clock whose time passes by `advance()` alone, for protocols without IO."""
    from fastgw.testing import VirtualClock

    return VirtualClock()


def _runner(request: pytest.FixtureRequest) -> str:
    """Say what runs the test: anyio, or one of pytest-asyncio's loops."""
    if "anyio_backend" in request.fixturenames:
        return "anyio"
    if pytest_asyncio is not None and request.config.pluginmanager.hasplugin("asyncio"):
        return _loop_scope(request)
    pytest.fail(
        f"the fixture {request.fixturename} needs pytest-asyncio, or anyio with "
        "pytest.mark.anyio; with another runner write `async with FakeGateway() as fake:` in the "
        "test",
        pytrace=False,
    )


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


def _options(request: pytest.FixtureRequest, name: str) -> dict[str, Any]:
    """Return what the test's marker of that name says, the nearest one's word last."""
    options: dict[str, Any] = {}
    for marker in reversed(list(request.node.iter_markers(name))):
        options.update(marker.kwargs)
    return options


def _fixtures(runner: str, make: Callable[..., Any], **options: Any) -> tuple[Any, Any]:
    # Functions of their own each: pytest-asyncio keeps the loop's scope in them.
    async def serve(request: pytest.FixtureRequest) -> AsyncIterator[FakeGateway]:
        from fastgw.testing import FakeGateway

        async with FakeGateway(**_options(request, "fake_gateway")) as fake:
            yield fake

    async def connect(request: pytest.FixtureRequest) -> AsyncIterator[Gateway]:
        from fastgw import Gateway, Intents, LocalIdentifyQueue

        fake: FakeGateway = request.getfixturevalue("fake_gateway")
        chosen: dict[str, Any] = {
            "token": fake.service.token or "not.a.token",
            "intents": Intents.all(),
            "info": fake.info,
            "ssl_context": fake.client_ssl_context,
            # A test does not wait five seconds for a second shard.
            "identify_queue": LocalIdentifyQueue(
                fake.service.max_concurrency, interval_s=0.02, padding_s=(0.0, 0.0)
            ),
            "backoff_s": (0.02, 0.1),
            **_options(request, "connected_gateway"),
        }
        async with Gateway(chosen.pop("token"), **chosen) as gateway:
            yield gateway

    return (
        make(name=f"_fake_gateway_{runner}", **options)(serve),
        make(name=f"_connected_gateway_{runner}", **options)(connect),
    )


def _fixtures_of_loop(scope: str) -> tuple[Any, Any]:
    try:
        return _fixtures(scope, pytest_asyncio.fixture, loop_scope=scope)
    except TypeError:  # pytest-asyncio before 0.24 knows one loop
        return _fixtures(scope, pytest_asyncio.fixture)


# pytest finds fixtures by the names of this module.
_fake_anyio, _connected_anyio = _fixtures("anyio", pytest.fixture)
if pytest_asyncio is not None:
    _fake_function, _connected_function = _fixtures_of_loop("function")
    _fake_class, _connected_class = _fixtures_of_loop("class")
    _fake_module, _connected_module = _fixtures_of_loop("module")
    _fake_package, _connected_package = _fixtures_of_loop("package")
    _fake_session, _connected_session = _fixtures_of_loop("session")
