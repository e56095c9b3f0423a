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
import select
import socket
import sqlite3
import struct
import subprocess
import sys
import time
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest
from deadline import scaled, until
from raw_websocket import raw_server
from recorder import opened
from settled import settled

from fastgw import Gateway, Intents
from fastgw.cli import _checks, demo
from fastgw.fleet.allocator import return_large_buffers
from fastgw.fleet.stores import boot_clock, file_locks, sqlite_file
from fastgw.processes import state_dir
from fastgw.protocol.identity import Identity
from fastgw.testing import FakeGateway

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="a POSIX system plays the others")

# What a Python on Windows does not have, of what we could touch.
NOT_ON_WINDOWS = {
    "os": (
        "register_at_fork", "fork", "sysconf", "getuid", "geteuid", "O_CLOEXEC", "statvfs",
        "openpty", "mkfifo", "killpg", "sched_getaffinity",
    ),
    "select": ("poll", "epoll"),
    "signal": ("SIGHUP", "SIGKILL", "SIGUSR1", "SIGUSR2", "SIGALRM", "pthread_kill", "setitimer"),
    "socket": ("AF_UNIX", "SOCK_CLOEXEC", "SOCK_NONBLOCK", "TCP_INFO", "MSG_DONTWAIT"),
    "time": ("clock_gettime", "CLOCK_MONOTONIC", "CLOCK_BOOTTIME"),
}  # fmt: skip
NO_MODULES_OF_WINDOWS = ("fcntl", "grp", "pty", "pwd", "resource", "termios", "uvloop")
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
        pytest.param("win32", NOT_ON_WINDOWS, NO_MODULES_OF_WINDOWS, id="windows"),
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


READ_ALL = """
import importlib, sys, types
import pytest
lacking, modules = {0!r}, {1!r}


class Windows:
    files = set()

    def pytest_collection(self):
        for module, names in lacking.items():
            for name in names:
                vars(importlib.import_module(module)).pop(name, None)
        for name in modules:
            sys.modules[name] = None
        sys.modules["msvcrt"] = types.ModuleType("msvcrt")
        sys.platform = "win32"

    def pytest_pycollect_makeitem(self, collector):
        self.files.add(collector.path)
        return []  # it is imported, and that will do


# As they are: to rewrite their assertions takes two thirds of the time, and none of them runs.
given = "--assert=plain -p no:cacheprovider --collect-only -q @tests/wheel_tests.txt".split()
code = pytest.main(given, plugins=[Windows()])
print(len(Windows.files), "files read")
sys.exit(code)
"""


def test_the_tests_of_a_wheel_can_be_read_on_windows():
    """A name that it lacks, said where a module is imported, would cost all tests of its file."""
    done = subprocess.run(
        [sys.executable, "-c", READ_ALL.format(NOT_ON_WINDOWS, NO_MODULES_OF_WINDOWS)],
        capture_output=True, text=True, timeout=scaled(60), cwd=Path(__file__).parents[1],
    )  # fmt: skip
    said = done.stdout[-3_000:] + done.stderr[-1_000:]
    assert done.returncode == pytest.ExitCode.NO_TESTS_COLLECTED, said
    assert int(done.stdout.split()[-3]) > 50


@pytest.fixture(params=["darwin", "win32"])
def elsewhere(request, monkeypatch):
    """The platform, as far as Python code asks for it."""
    lacking = NOT_ON_MACOS if request.param == "darwin" else NOT_ON_WINDOWS
    monkeypatch.setattr(sys, "platform", request.param)
    for name in {*lacking["socket"]} - {"AF_UNIX"}:  # asyncio's own loop of Linux needs it
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


@pytest.mark.usefixtures("elsewhere")
async def test_a_reset_that_the_loop_does_not_read_is_seen():
    """Where no system tells the state of TCP, the socket is asked whether it has an error."""
    reset = asyncio.Event()

    async def script(peer):
        await peer.upgrade()
        await reset.wait()
        sock = peer.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.writer.transport.abort()

    async with raw_server(script) as url:
        connection, receiver = await opened(url)
        connection.pause_reading()
        assert connection.look() == 0
        reset.set()
        await until(lambda: select.select([connection._socket], [], [], 0)[0])
        connection.look()
        await settled(connection)
    (info,) = receiver.ended
    assert info.close_code is None


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


def test_a_damaged_file_that_cannot_be_renamed_is_tried_again(monkeypatch, tmp_path):
    """Windows renames none that is open, by another thread say: a trouble that passes, no end."""

    def refuse(*_names):
        raise PermissionError(errno.EACCES, "the file is used by another process")

    path = tmp_path / "state.db"
    file = sqlite_file.SQLiteFile(path)
    file.do(lambda db: db.execute("SELECT 1"))
    file.close()
    path.write_bytes(path.read_bytes()[:100] + b"x" * 8_000)
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", refuse)
        with pytest.raises(sqlite3.OperationalError, match="used by another"):
            file.do(lambda db: db.execute("SELECT 1"))
    assert file.do(lambda db: db.execute("SELECT 1").fetchone()) == (1,)
    assert (tmp_path / "state.db.damaged-1").exists()
    file.close()


@pytest.mark.usefixtures("no_proc")
def test_without_mountinfo_nobody_tells_of_networks(tmp_path):
    """What cannot be known is not claimed."""
    assert sqlite_file.network_file_system(tmp_path / "state.db") is None


@pytest.mark.usefixtures("no_proc")
@pytest.mark.parametrize("is_inside", [True, False])
def test_without_mountinfo_only_a_container_is_fleeting(monkeypatch, is_inside):
    """As on macOS: what is in memory is not known; a container has marks of its own."""
    monkeypatch.setattr(state_dir, "in_container", lambda _environment: is_inside)
    said = state_dir.fleeting(Path("/x/fastgw.sqlite"), {}, device=lambda _path: 1)
    assert said is None or "mount a volume" in said
    assert (said is not None) is is_inside


# ---------------------------------------------------------------------------- figures


def test_a_system_without_limits_is_not_judged_by_them(monkeypatch):
    """Windows has no `resource`, and asks for none."""
    monkeypatch.setitem(sys.modules, "resource", None)
    check = _checks._descriptors(1_000)
    assert (check.verdict.value, check.found) == ("skip", "this system has no such limit")


@pytest.mark.parametrize(("platform", "verdict"), [("win32", "ok"), ("darwin", "warn")])
def test_uvloop_is_missed_only_where_it_exists(monkeypatch, platform, verdict):
    """Nobody is told to install what there is not."""

    def none(_name):
        raise PackageNotFoundError

    monkeypatch.setattr(_checks, "version", none)
    monkeypatch.setattr(sys, "platform", platform)
    assert _checks._event_loop().verdict.value == verdict


@pytest.mark.usefixtures("elsewhere")
def test_other_allocators_are_left_alone(monkeypatch):
    """Only glibc's is told what to give back."""
    for name in ("MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES"):
        monkeypatch.delenv(name, raising=False)
    assert return_large_buffers() is False


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
