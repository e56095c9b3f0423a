"""The fixture `fake_gateway` in other people's test suites, whatever runs their coroutines."""

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
"""
ASYNCIO = """
import pytest
from connect import connect

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
from connect import connect

@pytest.fixture
def anyio_backend(): return "asyncio"

@pytest.mark.anyio
async def test_anyio(fake_gateway): await connect(fake_gateway)
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
        timeout=scaled(60),
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
    assert "4 passed" in done.stdout, done.stdout + done.stderr


def test_auto_mode_of_pytest_asyncio(tmp_path):
    """Without a marker, in a loop of the session."""
    options = ("asyncio_mode=auto", "asyncio_default_test_loop_scope=session")
    done = run(tmp_path, *(word for o in options for word in ("-o", o)), test_auto=AUTO)
    assert "1 passed" in done.stdout, done.stdout + done.stderr


def test_anyio_alone(tmp_path):
    """pytest-asyncio need not be there."""
    done = run(tmp_path, "-p", "no:asyncio", test_anyio=ANYIO)
    assert "1 passed" in done.stdout, done.stdout + done.stderr


def test_no_runner_is_told(tmp_path):
    """Neither of them: what is missing, and what to write instead."""
    done = run(
        tmp_path, "-p", "no:asyncio", "-p", "no:anyio", test_auto="def test(fake_gateway): pass"
    )
    assert done.returncode == 1
    assert "needs pytest-asyncio, or anyio" in done.stdout
