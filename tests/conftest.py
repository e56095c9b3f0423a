"""
What every test runs under: both event loops, and no leaks.

A coroutine test runs once on asyncio's loop and once on uvloop. After it no task may be left
running and no exception may have gone unseen; after any test no socket and no thread of ours may be
open that was not before. What fastgw logs as an error of its own fails a test, too.
"""

from __future__ import annotations

import asyncio
import gc
import inspect
import json
import logging
import os
import re
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from deadline import scaled

try:
    import pytest_asyncio
    from effort import QUICK
    from hypothesis import HealthCheck, settings
except ModuleNotFoundError as error:  # pytest would show a traceback for any other error
    sys.stderr.write(f"{error}: the tests need what `pip install '.[test]'` brings\n")
    raise SystemExit(pytest.ExitCode.USAGE_ERROR) from None

from fastgw.testing import FakeGateway

try:
    import uvloop
except ImportError:  # not on Windows
    uvloop = None

# How long an example takes says how busy the machine is, and nothing about what is tested.
# `--hypothesis-profile thorough` is what `.ci/run fuzz` runs the same tests with, `few` what
# `.ci/aarch64` does, where everything takes ten times as long.
for profile, examples in (("few", QUICK // 10), ("quick", QUICK), ("thorough", 5 * QUICK)):
    settings.register_profile(
        profile, deadline=None, max_examples=examples,
        suppress_health_check=[HealthCheck.too_slow],
    )  # fmt: skip
settings.load_profile("quick")

LOOPS = {"asyncio": asyncio.new_event_loop}
if uvloop is not None:
    LOOPS["uvloop"] = uvloop.new_event_loop


def pytest_asyncio_loop_factories(config, item):
    """Name the loops that a coroutine test runs on: both, unless what it tests has its own."""
    if item.get_closest_marker("one_loop"):
        return {"asyncio": LOOPS["asyncio"]}
    return LOOPS


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config) -> None:
    """
    Run the whole suite in two processes a core: more than half of its time is waiting.

    Only where nothing was asked for: named tests, `-s`, `--pdb` and `-n` are as everywhere.
    """
    options = config.option
    if (
        getattr(options, "numprocesses", 0) is None  # pytest-xdist is there, and was told nothing
        and "PYTEST_XDIST_WORKER" not in os.environ
        and config.args_source is pytest.Config.ArgsSource.TESTPATHS
        and options.capture != "no"
        and not options.usepdb
    ):
        options.numprocesses = 2 * min(os.cpu_count() or 1, 4)
        options.dist = "worksteal"


class _OwnErrors(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.seen: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if "fastgw itself" in record.getMessage():
            self.seen.append(record.getMessage())


@pytest.fixture(autouse=True)
def _no_errors_of_our_own() -> Iterator[list[str]]:
    watch = _OwnErrors()
    logging.getLogger("fastgw").addHandler(watch)
    yield watch.seen
    logging.getLogger("fastgw").removeHandler(watch)
    assert not watch.seen


@pytest.fixture
def own_errors(_no_errors_of_our_own: list[str]) -> list[str]:
    """What was logged as an error of our own, for a test that makes one; to be taken out of it."""
    return _no_errors_of_our_own


@pytest.fixture(autouse=True)
def _leaves_nothing_in_the_loop(request) -> None:
    if inspect.iscoroutinefunction(request.function):
        request.getfixturevalue("_watched_loop")


@pytest_asyncio.fixture
async def _watched_loop():
    loop = asyncio.get_running_loop()
    unseen = []
    loop.set_exception_handler(lambda loop, context: unseen.append(context))
    before = asyncio.all_tasks()
    yield
    end = time.monotonic() + scaled(2.0)
    while (left := asyncio.all_tasks() - before - {asyncio.current_task()}) and (
        time.monotonic() < end
    ):
        await asyncio.wait(left, timeout=0.05)
    gc.collect()  # a task that failed reports it when it is collected
    await asyncio.sleep(0)
    assert not left, f"tasks left running: {left}"
    assert not unseen, f"exceptions nobody saw: {unseen}"


@pytest.fixture
async def fake() -> AsyncIterator[FakeGateway]:
    """Serve a fake gateway on loopback."""
    async with FakeGateway() as fake:
        yield fake


@pytest.fixture
async def rest_calls(monkeypatch):
    """A loopback REST API that writes down what is posted: (path, body)."""
    calls: asyncio.Queue[tuple[str, object]] = asyncio.Queue()

    async def serve(reader, writer):
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        size = int(re.search(r"content-length: (\d+)", head, re.IGNORECASE)[1])
        calls.put_nowait((head.split(" ", 2)[1], json.loads(await reader.readexactly(size))))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    monkeypatch.setenv("DISCORD_API", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("DISCORD_TOKEN", "token")
    yield calls
    server.close()
    await server.wait_closed()


def _sockets() -> set[str]:
    """Name the sockets this process has open, where the system tells."""
    if not sys.platform.startswith("linux"):
        return set()
    found = set()
    for descriptor in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{descriptor}")
        except OSError:
            continue  # the descriptor of the listing itself
        if target.startswith("socket:"):
            found.add(target)
    return found


def _threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name.startswith("fastgw")}


_BEFORE = pytest.StashKey[tuple[set[str], set[threading.Thread]]]()
_FILE = pytest.StashKey[Path]()


def _set_old_objects_aside(item: pytest.Item) -> None:
    """
    Let the collections after each test look only at what is younger than the first of its file.

    A collection takes as long as much is alive, some 0.1 s with all test modules loaded: after each
    coroutine test that was half of the suite's time.
    """
    if item.session.stash.get(_FILE, None) != item.path:
        item.session.stash[_FILE] = item.path
        gc.unfreeze()
        gc.collect()
        gc.freeze()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_setup(item) -> Iterator[None]:
    _set_old_objects_aside(item)
    item.stash[_BEFORE] = (_sockets(), _threads())
    return (yield)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item) -> Iterator[None]:
    result = yield  # the loop of the test is closed now
    sockets, threads = item.stash[_BEFORE]
    end = time.monotonic() + scaled(2.0)
    while (_sockets() - sockets or _threads() - threads) and time.monotonic() < end:
        gc.collect()
        time.sleep(0.01)
    assert not _sockets() - sockets, f"sockets left open: {_sockets() - sockets}"
    assert not _threads() - threads, f"threads left running: {_threads() - threads}"
    return result
