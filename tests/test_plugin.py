"""The fixtures of the pytest plugin in other people's suites, whatever runs their coroutines."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from deadline import scaled

CONNECT = """
from fastgw import Gateway

async def connect(fake_gateway):
    async with Gateway("t" * 20, intents=0, info=fake_gateway.info):
        assert fake_gateway.is_ready()

async def converse(fake, gateway):
    \"\"\"A bot that joins a channel when it is told to.\"\"\"
    @gateway.on("MESSAGE_CREATE")
    async def join(event):
        await gateway.update_voice_state(event.guild_id, event.data["content"])

    assert len(gateway.shards) == fake.service.recommended_shards
    fake.dispatch("MESSAGE_CREATE", {"content": "5", "guild_id": "1"})
    command = await fake.expect(4, channel_id="5")
    assert command.data["guild_id"] == "1"
"""
ASYNCIO = """
import pytest
from connect import connect, converse

@pytest.mark.asyncio
@pytest.mark.fake_gateway(recommended_shards=2, max_concurrency=2)
@pytest.mark.connected_gateway(intents=1 << 9)
async def test_both(fake_gateway, connected_gateway):
    await converse(fake_gateway, connected_gateway)

@pytest.mark.asyncio(loop_scope="session")
async def test_both_in_session(connected_gateway, fake_gateway):
    await converse(fake_gateway, connected_gateway)

@pytest.mark.asyncio
async def test_default(fake_gateway): await connect(fake_gateway)

@pytest.mark.asyncio(loop_scope="session")
async def test_session(fake_gateway): await connect(fake_gateway)

@pytest.mark.asyncio(loop_scope="module")
class TestClass:
    async def test_module(self, fake_gateway): await connect(fake_gateway)
"""
ANYIO = """
import pytest
from connect import connect, converse

@pytest.fixture
def anyio_backend(): return "asyncio"

@pytest.mark.anyio
async def test_anyio(fake_gateway): await connect(fake_gateway)

@pytest.mark.anyio
@pytest.mark.fake_gateway(recommended_shards=2)
async def test_both(fake_gateway, connected_gateway):
    await converse(fake_gateway, connected_gateway)
"""
AUTO = """
from connect import connect

async def test_auto(fake_gateway): await connect(fake_gateway)
"""


def run(folder, *arguments, **files):
    """Run pytest on these files, with nothing of our own set-up."""
    for name, text in {"connect": CONNECT, **files}.items():
        (folder / f"{name}.py").write_text(text)
    (folder / "pytest.ini").write_text("[pytest]\n")
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments],
        cwd=folder,
        timeout=scaled(100),
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(folder)},
    )


@pytest.mark.parametrize(
    ("fixtures", "tests"),
    [
        ("function", "function"),
        ("session", "function"),
        ("session", "session"),
        ("module", "class"),
    ],
)
def test_any_loop_scopes_of_pytest_asyncio(tmp_path, fixtures, tests):
    """The fixture runs in the loop of the test, not in that of other fixtures."""
    done = run(
        tmp_path,
        *("-o", f"asyncio_default_fixture_loop_scope={fixtures}"),
        *("-o", f"asyncio_default_test_loop_scope={tests}"),
        test_asyncio=ASYNCIO,
        test_anyio=ANYIO,
    )
    assert "7 passed" in done.stdout, done.stdout + done.stderr


def test_auto_mode_of_pytest_asyncio(tmp_path):
    """Without a marker, in a loop of the session."""
    options = ("asyncio_mode=auto", "asyncio_default_test_loop_scope=session")
    done = run(tmp_path, *(word for o in options for word in ("-o", o)), test_auto=AUTO)
    assert "1 passed" in done.stdout, done.stdout + done.stderr


def test_anyio_alone(tmp_path):
    """pytest-asyncio need not be there."""
    done = run(tmp_path, "-p", "no:asyncio", test_anyio=ANYIO)
    assert "2 passed" in done.stdout, done.stdout + done.stderr


SYNC = """
def test_time(virtual_clock):
    virtual_clock.advance(5)
    assert virtual_clock() == 1_005.0

def test_sync(connected_gateway): pass
"""
MODULES = """
import sys

def test_modules():
    with open("modules.txt", "w") as file:
        file.write(" ".join(sys.modules))
"""


def test_a_clock_needs_no_runner(tmp_path):
    """And a test that is no coroutine can have a gateway as well."""
    done = run(tmp_path, test_sync=SYNC)
    assert "2 passed" in done.stdout, done.stdout + done.stderr


def test_a_project_that_does_not_use_it_pays_nothing(tmp_path):
    """With the plugin, one module more than without it is imported: its own."""
    found = []
    for arguments in ((), ("-p", "no:fastgw")):
        done = run(tmp_path, *arguments, test_modules=MODULES)
        assert "1 passed" in done.stdout, done.stdout + done.stderr
        found.append(set((tmp_path / "modules.txt").read_text().split()))
    assert found[0] - found[1] == {"pytest_fastgw"}


def test_the_markers_are_known(tmp_path):
    """Also where unknown ones are errors."""
    done = run(tmp_path, "--strict-markers", test_asyncio=ASYNCIO)
    assert "5 passed" in done.stdout, done.stdout + done.stderr


def test_no_runner_is_told(tmp_path):
    """Neither of them: what is missing, and what to write instead."""
    done = run(
        tmp_path, "-p", "no:asyncio", "-p", "no:anyio", test_auto="def test(fake_gateway): pass"
    )
    assert done.returncode == 1
    assert "needs pytest-asyncio, or anyio" in done.stdout
