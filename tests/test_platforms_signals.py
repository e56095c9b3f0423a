"""
Sockets, signals and processes of macOS and Windows, with the platform substituted.

See test_platforms.
"""

from __future__ import annotations

import asyncio
import ctypes
import errno
import os
import signal
import socket
import subprocess
import sys
import threading

import pytest
from deadline import scaled

from fastgw import UsageError, cli, runner
from fastgw.cli import demo
from fastgw.cli._interrupts import run_to_the_end
from fastgw.connection.tcp import OwnSocket
from fastgw.metrics.endpoint import Endpoint
from fastgw.processes import lifeline
from fastgw.processes.line import Line, socket_pair
from fastgw.processes.sd_notify import ServiceManager

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="a POSIX system plays the others")


def test_a_line_has_room_for_the_figures_of_many_shards(monkeypatch):
    """macOS gives 8 KiB: figures would come in pieces, one with each word that is said."""
    real = socket.socketpair

    def of_macos():
        pair = real()
        for sock in pair:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8 << 10)
        return pair

    monkeypatch.setattr(socket, "socketpair", of_macos)
    ours, theirs = socket_pair()
    with ours, theirs, ours.makefile("rb") as heard:
        Line(theirs).say("status", figures="x" * 100_000)
        ours.settimeout(scaled(5.0))
        assert len(heard.readline()) > 100_000


def test_a_line_with_less_room_than_wanted_is_one(monkeypatch):
    """BSD refuses what is above its limit, where Linux gives what it can."""

    def refuse(*_args):
        raise OSError(errno.ENOBUFS, "no buffer space available")

    class Socket(socket.socket):
        setsockopt = refuse

    ours, theirs = socket.socketpair()
    pair = Socket(fileno=ours.detach()), Socket(fileno=theirs.detach())
    monkeypatch.setattr(socket, "socketpair", lambda: pair)
    ours, theirs = socket_pair()
    with ours, theirs:
        theirs.sendall(b"x")
        assert ours.recv(1) == b"x"


@pytest.mark.parametrize(("platform", "is_reused"), [("win32", False), ("darwin", True)])
def test_a_port_of_metrics_is_not_taken_from_another(monkeypatch, platform, is_reused):
    """Windows would give it to both; others refuse, and only skip the wait after a restart."""
    monkeypatch.setattr(sys, "platform", platform)
    endpoint = Endpoint("127.0.0.1", 0, dict)
    try:
        sock = endpoint._server.socket
        assert bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR)) is is_reused
        with pytest.raises(UsageError, match="choose another port"):
            Endpoint("127.0.0.1", endpoint._server.server_port, dict)
    finally:
        endpoint.close()


def test_elsewhere_the_kernel_ends_no_worker(monkeypatch):
    """Only Linux is asked to; elsewhere the end of the line does it (test_child)."""

    def no_library(_name, **_options):
        raise AssertionError("asked")

    monkeypatch.setattr(ctypes, "CDLL", no_library)
    monkeypatch.setattr(sys, "platform", "darwin")
    lifeline.end_with(os.getppid())


def test_ctrl_c_ends_a_program_whose_loop_hears_no_signals(monkeypatch):
    """As that of Windows: KeyboardInterrupt comes out of the loop, and all is closed."""
    closed = threading.Event()

    def refuse(*_args):
        raise NotImplementedError

    async def serve():
        asyncio.get_running_loop().call_soon(signal.raise_signal, signal.SIGINT)
        try:
            await asyncio.Event().wait()
        finally:
            closed.set()

    monkeypatch.setattr(asyncio.SelectorEventLoop, "add_signal_handler", refuse)
    monkeypatch.setattr(runner, "_new_loop", asyncio.new_event_loop)
    # What a shell runs in the background ignores it.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            run_to_the_end(serve())
    finally:
        signal.signal(signal.SIGINT, before)
    assert closed.is_set()


async def test_ctrl_c_does_not_reach_the_service_of_the_demo(monkeypatch):
    """By a session of its own, and by a group of its own on Windows."""
    asked = {}

    async def start(*_command, **options):
        asked.update(options)
        raise FileNotFoundError

    monkeypatch.setattr(asyncio, "create_subprocess_exec", start)
    for group in (None, 0x200):
        if group:
            monkeypatch.setattr(subprocess, "CREATE_NEW_PROCESS_GROUP", group, raising=False)
        with pytest.raises(FileNotFoundError):
            await demo._Service.start(1_000, 1, 0)
        assert (asked["start_new_session"], asked["creationflags"]) == (True, group or 0)


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
