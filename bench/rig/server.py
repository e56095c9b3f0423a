"""
The other end: sends prepared sessions to clients, from its own process.

    python -m bench.rig.server CERTIFICATE_CHAIN_PEM

It prints the port it listens on. A client connects there and says which session it wants, as a
line of JSON with `path`, `tls`, `per_second`; the answer is a line with the port of a websocket
for it alone. There it gets HELLO, and READY and the prelude when it has identified; its line "GO"
on the first connection starts the measured part. Plain blocking sockets: everything is encoded and
compressed beforehand, so the client's socket stays full.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import socket
import ssl
import sys
import threading
import time
from typing import Any

from .streams import Frames, load

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 1.3
_OP_IDENTIFY = 2
_PIECE_BYTES = 256 * 1024
_PATIENCE_S = 180.0
# A sleep overshoots by some 50 µs; the rest of the wait is spun.
_SPIN_S = 0.000_2


def main() -> None:
    """Serve until the parent ends us."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[1])
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    while True:
        control, _ = listener.accept()
        # A thread each, so that a client that died in the middle holds nobody up.
        threading.Thread(target=_attend, args=(control, context), daemon=True).start()


def _attend(control: socket.socket, context: ssl.SSLContext) -> None:
    """Serve the client behind one control connection."""
    control.settimeout(_PATIENCE_S)
    with control, control.makefile("rb") as lines:
        try:
            wanted = json.loads(lines.readline())
            with socket.create_server(("127.0.0.1", 0)) as listener:
                listener.settimeout(_PATIENCE_S)
                control.sendall(b"%d\n" % listener.getsockname()[1])
                peer, _ = listener.accept()
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            peer.settimeout(_PATIENCE_S)
            if wanted["tls"]:
                peer = context.wrap_socket(peer, server_side=True)
            with peer:
                _serve(peer, lines, load(wanted["path"]), wanted["per_second"])
        except (OSError, EOFError, ValueError) as error:
            # A client that died is its runner's business.
            print(f"server: {type(error).__name__}: {error}", file=sys.stderr, flush=True)


def _serve(
    peer: socket.socket, lines: Any, parts: tuple[Frames, Frames, Frames], per_second: int
) -> None:
    """Send one session; return when the client is gone."""
    hello, prelude, measured = parts
    _upgrade(peer)
    _send_all(peer, hello)
    while _read_command(peer)["op"] != _OP_IDENTIFY:
        pass
    _send_all(peer, prelude)
    if lines.readline() != b"GO\n":
        raise EOFError("the client went away during the prelude")
    if per_second:
        _send_paced(peer, measured, 1 / per_second)
    else:
        _send_all(peer, measured)
    lines.readline()  # the client's end


def _upgrade(peer: socket.socket) -> None:
    request = b""
    while not request.endswith(b"\r\n\r\n"):
        piece = peer.recv(4096)
        if not piece:
            raise EOFError("the client closed before its upgrade request was complete")
        request += piece
    key = re.search(rb"\r\nsec-websocket-key: *(\S+)", request, re.IGNORECASE)
    if key is None:
        raise EOFError("the client's request asks for no websocket")
    accept = base64.b64encode(hashlib.sha1(key[1] + _GUID).digest())
    peer.sendall(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
    )


def _read_command(peer: socket.socket) -> Any:
    """Read one masked frame from the client (RFC 6455 5.2) and parse its JSON."""
    first, second = _read_exactly(peer, 2)
    size = second & 0x7F
    if size == 126:
        size = int.from_bytes(_read_exactly(peer, 2), "big")
    elif size == 127:
        size = int.from_bytes(_read_exactly(peer, 8), "big")
    mask = _read_exactly(peer, 4)
    payload = bytes(b ^ mask[i % 4] for i, b in enumerate(_read_exactly(peer, size)))
    if first & 0x0F not in (1, 2):
        raise EOFError(f"the client sent a frame with opcode {first & 0x0F}: {payload!r}")
    return json.loads(payload)


def _read_exactly(peer: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = peer.recv(size - len(data))
        if not piece:
            raise EOFError("the client closed in the middle of a frame")
        data += piece
    return data


def _send_all(peer: socket.socket, part: Frames) -> None:
    for start in range(0, len(part.data), _PIECE_BYTES):
        peer.sendall(part.data[start : start + _PIECE_BYTES])


def _send_paced(peer: socket.socket, part: Frames, period_s: float) -> None:
    """One frame a period; when late, the schedule moves, so that no two frames come together."""
    start, due = 0, time.perf_counter()
    for end in part.ends:
        while (wait := due - time.perf_counter()) > 0:
            if wait > _SPIN_S:
                time.sleep(wait - _SPIN_S)
        peer.sendall(part.data[start:end])
        start, due = end, max(due, time.perf_counter() - period_s / 4) + period_s


if __name__ == "__main__":
    if hasattr(os, "sched_setaffinity") and len(os.sched_getaffinity(0)) > 1:
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    main()
