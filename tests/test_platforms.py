"""
What is done otherwise on macOS and Windows, with the platform substituted.

It proves that those branches run and say what they should, not that the system keeps its word: CI
runs the suite on the systems themselves.
"""

from __future__ import annotations

import asyncio
import ctypes
import errno
import importlib.util
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from deadline import scaled, until

from fastgw import Gateway, Intents, cli, runner
from fastgw.cli import demo
from fastgw.connection.tcp import OwnSocket
from fastgw.fleet.stores import boot_clock, file_locks, sqlite_file
from fastgw.processes.sd_notify import ServiceManager
from fastgw.protocol.identity import Identity
from fastgw.testing import FakeGateway

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="a POSIX system plays the others")

# What a Python on Windows does not have, of what we could touch.
NOT_ON_WINDOWS = {
    "os": ("register_at_fork", "fork", "sysconf", "getuid", "geteuid", "O_CLOEXEC", "statvfs"),
    "signal": ("SIGHUP", "SIGKILL", "SIGUSR1", "SIGUSR2", "pthread_kill", "setitimer"),
    "socket": ("AF_UNIX", "SOCK_CLOEXEC", "SOCK_NONBLOCK", "TCP_INFO"),
    "time": ("clock_gettime", "CLOCK_MONOTONIC", "CLOCK_BOOTTIME"),
}
NOT_ON_MACOS = {
    "socket": ("SOCK_CLOEXEC", "SOCK_NONBLOCK", "TCP_INFO"),
    "time": ("CLOCK_BOOTTIME",),
}
IMPORT_ALL = """
import importlib, pkgutil, sys, types
import asyncio, multiprocessing, pathlib, sqlite3, ssl, tempfile, uuid
import aiofastnet, msgspec, orjson, picows, python_socks.async_.asyncio, rich.console, rich.live
import rich.table, rich.progress_bar, trustme, prometheus_client.core, redis
platform, lacking, modules = {0!r}, {1!r}, {2!r}
for module, names in lacking.items():
    for name in names:
        vars(importlib.import_module(module)).pop(name, None)
for name in modules:
    sys.modules[name] = None  # an import of it is refused
sys.modules.setdefault("msvcrt", types.ModuleType("msvcrt"))
sys.platform = platform
import fastgw
# What works beside another library imports it, and that is not ours to judge.
beside = "fastgw.ext.discord_py", "fastgw.ext.hikari"
for found in pkgutil.walk_packages(fastgw.__path__, "fastgw.", onerror=lambda _name: None):
    is_program = found.name.endswith("__main__") or "hook-" in found.name
    if not is_program and not found.name.startswith(beside):
        try:
            importlib.import_module(found.name)
        except ImportError as error:
            if "fastgw[" not in str(error):  # else it names the extra that is not installed
                raise
print(len([name for name in sys.modules if name.startswith("fastgw")]))
"""


@pytest.mark.parametrize(
    ("platform", "lacking", "modules"),
    [
        pytest.param("win32", NOT_ON_WINDOWS, ("fcntl", "resource", "uvloop"), id="windows"),
        pytest.param("darwin", NOT_ON_MACOS, (), id="macos"),
    ],
)
def test_all_of_it_is_imported(platform, lacking, modules):
    """No module takes for granted what the system has not."""
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL.format(platform, lacking, modules)],
        capture_output=True, text=True, timeout=scaled(60),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 150


@pytest.fixture(params=["darwin", "win32"])
def elsewhere(request, monkeypatch):
    """The platform, as far as Python code asks for it."""
    lacking = NOT_ON_MACOS if request.param == "darwin" else NOT_ON_WINDOWS
    monkeypatch.setattr(sys, "platform", request.param)
    for name in {*lacking["socket"]} - {"AF_UNIX"}:  # asyncio's own loop of Linux needs that
        monkeypatch.delattr(socket, name, raising=False)
    return request.param


async def test_a_session_is_kept(elsewhere):
    """Events come, a cut is resumed, bytes are counted by frames where the kernel does not tell."""
    seen = []
    async with FakeGateway() as fake:
        gateway = Gateway("test-token", intents=Intents.GUILDS, info=fake.info)
        gateway.on("GUILD_CREATE")(lambda event: seen.append(event.data["id"]))
        async with gateway:
            fake.dispatch("GUILD_CREATE", {"id": "1"})
            fake.cut()
            fake.dispatch("GUILD_CREATE", {"id": "2"})
            await until(lambda: len(seen) == 2)
            (shard,) = gateway.stats().shards
            assert (shard.identifies, shard.resumes_won) == (1, 1)
            assert shard.bytes_received > 0
    assert seen == ["1", "2"]


def test_discord_is_told_the_system(elsewhere):
    """By the name that its documentation uses."""
    told = Identity(token="test-token", intents=0, shard_id=0, shard_count=1).properties
    assert told is None or told["os"] in ("macos", "windows")
    from fastgw.protocol.identity import _default_properties

    assert _default_properties()["os"] == {"darwin": "macos", "win32": "windows"}[elsewhere]


# ---------------------------------------------------------------------------- clocks


def test_macos_counts_the_sleep_by_its_monotonic_clock(monkeypatch):
    """`time.monotonic` stands still there while the machine sleeps, CLOCK_MONOTONIC does not."""
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(time, "clock_gettime", lambda number: {time.CLOCK_MONOTONIC: 7.0}[number])
    assert boot_clock._boot_seconds()() == 7.0


def test_windows_has_one_clock(monkeypatch):
    """It goes on during sleep."""
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.delattr(time, "CLOCK_MONOTONIC")
    assert boot_clock._boot_seconds() is time.monotonic


@pytest.fixture
def no_proc(monkeypatch):
    """No /proc."""
    real = open

    def opened(path, *args, **options):
        if str(path).startswith("/proc/"):
            raise FileNotFoundError(errno.ENOENT, "no such file", path)
        return real(path, *args, **options)

    monkeypatch.setattr("builtins.open", opened)


@pytest.mark.usefixtures("no_proc")
@pytest.mark.parametrize(
    ("platform", "answer", "boot_id"),
    [("darwin", 0, "7E9B"), ("darwin", -1, ""), ("darwin", None, ""), ("win32", 0, "")],
    ids=["macos", "macos refuses", "macos without it", "windows"],
)
def test_a_boot_has_the_name_that_the_system_gives_it(monkeypatch, platform, answer, boot_id):
    """macOS by sysctl; without a name ages are judged by other means."""

    class Library:
        def __init__(self, _name):
            if answer is None:
                raise OSError("no library")

        def sysctlbyname(self, name, text, _size, _new, _new_size):
            assert name == b"kern.bootsessionuuid"
            text.value = b"7E9B"
            return answer

    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(ctypes, "CDLL", Library)
    assert boot_clock._boot_id() == boot_id


# ---------------------------------------------------------------------------- files


class Msvcrt:
    """The C library of Windows, by POSIX locks: a byte at the position of the descriptor."""

    LK_NBLCK, LK_UNLCK = 2, 0

    @staticmethod
    def locking(descriptor, mode, count):
        import fcntl

        how = fcntl.LOCK_UN if mode == Msvcrt.LK_UNLCK else fcntl.LOCK_EX | fcntl.LOCK_NB
        fcntl.lockf(descriptor, how, count, os.lseek(descriptor, 0, os.SEEK_CUR))


def test_locks_of_windows_are_bytes_as_well(monkeypatch, tmp_path):
    """Each at the position of its number; another process sees one, and not its neighbour."""
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setitem(sys.modules, "msvcrt", Msvcrt)
    spec = importlib.util.spec_from_file_location("locks_of_windows", file_locks.__file__)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.undo()
    locks = module.ByteLocks(tmp_path / "locks")
    assert locks.take(3)
    assert not locks.take(3)
    code = (
        "import sys; from fastgw.fleet.stores.file_locks import ByteLocks\n"
        "locks = ByteLocks(sys.argv[1]); print([locks.is_held(n) for n in (2, 3)])"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "locks")]
    assert subprocess.run(command, capture_output=True, text=True).stdout == "[False, True]\n"
    locks.give_back(3)
    assert subprocess.run(command, capture_output=True, text=True).stdout == "[False, False]\n"
    assert not locks.is_held(3)
    locks.close()


@pytest.mark.usefixtures("no_proc")  # what this machine's own root is on decides nothing
@pytest.mark.parametrize(
    ("directory", "is_share"),
    [
        (r"\\server\bots", True), (r"\\?\UNC\server\bots", True), (r"\\?\C:\bots", False),
        (r"\\.\C:\bots", False), (r"C:\bots", False), ("/srv/bots", False),
    ],
)  # fmt: skip
def test_a_share_of_windows_is_a_network(monkeypatch, directory, is_share):
    """SQLite's write-ahead log must not be used there, and locks are not to be relied upon."""
    monkeypatch.setattr(os.path, "realpath", lambda _path: directory)
    assert (sqlite_file.network_file_system(Path("state.db")) is not None) is is_share


@pytest.mark.usefixtures("no_proc")
def test_without_mountinfo_nobody_tells_of_networks(tmp_path):
    """What cannot be known is not claimed."""
    assert sqlite_file.network_file_system(tmp_path / "state.db") is None


# ---------------------------------------------------------------------------- sockets and signals


@pytest.mark.parametrize("error", [NotImplementedError, RuntimeError])
def test_a_loop_without_descriptors_is_not_asked_again(monkeypatch, error):
    """That of Windows watches no descriptors, and a socket is closed all the same."""

    class Loop:
        def remove_reader(self, _descriptor):
            raise error

    monkeypatch.setattr(asyncio, "get_running_loop", Loop)
    sock = OwnSocket()
    sock.close()
    assert sock.fileno() == -1


@pytest.mark.parametrize(("lacking", "is_there"), [("SOCK_CLOEXEC", True), ("AF_UNIX", False)])
def test_no_service_manager_is_told_where_none_can_be(monkeypatch, tmp_path, lacking, is_there):
    """Where an environment that names one was handed on: nothing breaks."""
    monkeypatch.delattr(socket, lacking, raising=False)
    manager = ServiceManager({"NOTIFY_SOCKET": str(tmp_path / "notify")}, 1)
    assert manager.is_there is is_there
    manager.tell(READY=1)


def test_ctrl_break_ends_as_ctrl_c_does(monkeypatch):
    """So does Windows when it closes the console; the second one is urgent, like any other."""
    monkeypatch.setattr(signal, "SIGBREAK", signal.SIGUSR1, raising=False)
    before = signal.getsignal(signal.SIGUSR1)
    called = []
    signals = runner._Signals()
    with signals.calling(lambda: called.append("first"), lambda _error: called.append("second")):
        os.kill(os.getpid(), signal.SIGUSR1)
        assert called == ["first"]
        with pytest.raises(SystemExit):
            os.kill(os.getpid(), signal.SIGUSR1)
    assert called == ["first", "second"]
    assert signal.getsignal(signal.SIGUSR1) is before


@pytest.mark.parametrize(
    ("platform", "error", "is_closed"),
    [
        ("linux", BrokenPipeError(errno.EPIPE, "pipe"), True),
        ("win32", OSError(errno.EINVAL, "invalid argument"), True),
        ("linux", OSError(errno.EINVAL, "invalid argument"), False),
        ("win32", OSError(errno.ENOSPC, "no space"), False),
    ],
)
def test_a_pipe_that_was_closed_is_known(monkeypatch, platform, error, is_closed):
    """As in `fastgw demo | head`; a full disk is an error."""
    monkeypatch.setattr(sys, "platform", platform)
    assert cli._is_pipe_closed(error) is is_closed


# ---------------------------------------------------------------------------- figures


@pytest.mark.parametrize(("platform", "megabytes"), [("linux", 102.4), ("darwin", 0.1)])
def test_memory_is_told_in_the_unit_of_the_system(monkeypatch, platform, megabytes):
    """macOS counts bytes where others count kibibytes."""
    resource = pytest.importorskip("resource")

    class Usage:
        ru_maxrss = 100_000

    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(resource, "getrusage", lambda _who: Usage)
    assert demo._peak_mb() == pytest.approx(megabytes)


def test_memory_that_nobody_tells_is_none(monkeypatch):
    """Windows has neither /proc nor `resource`."""
    monkeypatch.setitem(sys.modules, "resource", None)

    def no_file(_path):
        raise FileNotFoundError

    monkeypatch.setattr(Path, "read_text", no_file)
    assert demo._resident_mb() == 0.0
