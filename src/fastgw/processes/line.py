"""
What supervisor and worker say to each other: JSON, one message a line, over a pair of sockets.

The supervisor's end closes when it dies, whatever kills it: that is how a worker knows. Neither end
waits for the other to read. What must arrive is kept until it does, which is bounded: each such
word is said once in the life of a worker. Of how a worker is, only the latest is kept.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

__all__ = ["Assignment", "Line", "Words", "decode", "encode", "socket_pair"]

# What a worker exits with whose supervisor is gone; nobody is left to read it.
SUPERVISOR_LOST = 70  # EX_SOFTWARE of sysexits.h
# How long a worker that ends waits for its supervisor to read why; less than that one's patience.
LAST_S = 3.0
# macOS has room for 8 KiB, which the figures of ten shards fill: what does not fit waits for the
# next word, a second later.
ROOM_BYTES = 1 << 20

Assignment = dict[str, Any]


def encode(kind: str, **facts: object) -> bytes:
    """Return one message as it is sent."""
    return json.dumps({"is": kind} | facts).encode() + b"\n"


def decode(line: bytes) -> dict[str, Any]:
    """
    Return one message.

    Raises:
        ValueError: the line is none.
    """
    try:
        message = json.loads(line)
    except RecursionError:
        raise ValueError("its brackets are too deep") from None
    if not isinstance(message, dict) or not isinstance(message.get("is"), str):
        raise ValueError("it does not say what it is")
    return message


def socket_pair() -> tuple[socket.socket, socket.socket]:
    """Return the supervisor's end of a line and its worker's, each with room for what it says."""
    pair = socket.socketpair()
    for sock in pair:
        with contextlib.suppress(OSError):  # more than this system allows: then it is as it was
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, ROOM_BYTES)
    return pair


class Words:
    """
    What a supervisor says to one worker, whole and in order.

    The line is heard elsewhere, by a transport that would hear no more once it could not write.

    Args:
        sock: of the pair; another descriptor of it is used, and closed by `close`.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock.dup()
        self._sock.setblocking(False)
        self._unsent = b""
        self._loop: asyncio.AbstractEventLoop | None = None  # while it waits for room

    def say(self, kind: str, **facts: object) -> None:
        """Send a message, or keep it until there is room; not to a worker that has ended."""
        self._unsent += encode(kind, **facts)
        if self._loop is None:
            self._send()

    def close(self) -> None:
        """Say no more."""
        self._wait_for_room(None)
        self._sock.close()

    def _send(self) -> None:
        try:
            while self._unsent:
                self._unsent = self._unsent[self._sock.send(self._unsent) :]
        except BlockingIOError:
            self._wait_for_room(asyncio.get_running_loop())
            return
        except OSError:  # it has ended, or has been closed: nobody hears it
            self._unsent = b""
        self._wait_for_room(None)

    def _wait_for_room(self, loop: asyncio.AbstractEventLoop | None) -> None:
        before, self._loop = self._loop, loop
        if loop is not None and before is None:
            loop.add_writer(self._sock, self._send)
        elif loop is None and before is not None:
            before.remove_writer(self._sock)


class Line:
    """
    The worker's end. A thread reads it, and ends the process when the supervisor is gone.

    Args:
        sock: of the pair; belongs to it from now on.
        supervisor_lost: called in the thread at the end of the supervisor; does not return.
    """

    def __init__(
        self,
        sock: socket.socket,
        *,
        supervisor_lost: Callable[[], object] = lambda: os._exit(SUPERVISOR_LOST),
    ) -> None:
        self._sock = sock
        self._supervisor_lost = supervisor_lost
        self._file = sock.makefile("rb")
        self._guard = threading.Lock()
        self._unsent = b""  # of it, the beginning of a message may be sent
        self._state: dict[str, object] = {}  # not among it yet
        self._heard: deque[str] = deque()
        self._hear: Callable[[str], object] = self._heard.append

    def first(self) -> Assignment:
        """Return the first message, what this worker is to do; then listen."""
        line = self._file.readline()
        if not line.endswith(b"\n"):  # not even a whole one
            self._supervisor_lost()
        threading.Thread(target=self._listen, name="fastgw supervisor", daemon=True).start()
        return decode(line)

    def hear(self, told: Callable[[str], object]) -> None:
        """Call `told` with each word that came and comes; in the thread."""
        with self._guard:
            for word in self._heard:
                told(word)
            self._hear = told

    def say(self, kind: str, **facts: object) -> None:
        """Send a message; later, when the supervisor does not read for a while."""
        with self._guard:
            self._say_state()
            self._unsent += encode(kind, **facts)
            self._send()

    def say_state(self, **facts: object) -> None:
        """Send how this worker is, in the place of the same facts that wait to be sent."""
        with self._guard:
            self._state.update(facts)
            self._send()

    def say_last(self, kind: str, **facts: object) -> None:
        """Send a message and what was not sent before it; nobody sends anything after it."""
        self.say(kind, **facts)
        room = select.poll()
        room.register(self._sock, select.POLLOUT)
        until = time.monotonic() + LAST_S
        while self._unsent and (left_s := until - time.monotonic()) > 0:
            if any(event & ~select.POLLOUT for _, event in room.poll(left_s * 1000)):
                return  # the supervisor is gone
            with self._guard:
                self._send()

    def _send(self) -> None:
        with contextlib.suppress(OSError):  # full, or gone: the thread sees to that
            while self._unsent or self._state:
                if not self._unsent:
                    self._say_state()
                sent = self._sock.send(self._unsent, socket.MSG_DONTWAIT)
                self._unsent = self._unsent[sent:]

    def _say_state(self) -> None:
        if self._state:
            self._unsent += encode("status", **self._state)
            self._state = {}

    def _listen(self) -> None:
        with contextlib.suppress(OSError):
            while (line := self._file.readline()).endswith(b"\n"):
                word = decode(line)["is"]
                with self._guard:
                    self._hear(word)
        self._supervisor_lost()
