"""
One connection of the fake gateway: a `FakePeer` bound to a socket.

The listener of `server` calls in with frames; everything goes out through `flush()`. While the
client does not read, messages wait in the peer, as in a real server's queue: an ACK stands behind
the backlog.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from collections.abc import Callable, Mapping
from typing import Any

from ..service.peer import Cut, FakePeer
from .frames import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, Encoder, close_frame, frame

__all__ = ["FakeConnection"]

# About this much goes to the transport at once; the rest waits for the client to read.
_BATCH_BYTES = 256 * 1024
# How long the client may take to answer our CLOSE before TCP is cut.
_CLOSE_TIMEOUT_S = 3.0


class FakeConnection:
    """
    A client's connection, as the server sees it.

    Attributes:
        peer: the gateway half: heartbeats, session, faults.
        query: of the URL it connected to, each name once.
        headers: of its upgrade request.
        opened_at: monotonic seconds.
        bytes_sent: websocket bytes given to the transport.
        is_open: TCP is up.
    """

    def __init__(
        self,
        peer: FakePeer,
        encoder: Encoder,
        *,
        query: Mapping[str, str],
        headers: Mapping[str, str],
        changed: Callable[[], None],
        failed: Callable[[BaseException], None],
    ) -> None:
        self.peer = peer
        self.query = query
        self.headers = headers
        self.opened_at = time.monotonic()
        self.bytes_sent = 0
        self.is_open = False
        self._encoder = encoder
        self._changed = changed
        self._failed = failed
        self._loop = asyncio.get_running_loop()
        self._transport: Any = None  # picows gives asyncio's transport or aiofastnet's
        self._writing_paused = False
        self._is_frozen = False
        self._close_sent = False
        self._close_received = False
        self._fragments: list[bytes] = []
        self._timer: asyncio.TimerHandle | None = None
        self._closer: asyncio.TimerHandle | None = None
        self._flush_soon: asyncio.Handle | None = None

    def __repr__(self) -> str:
        session = self.peer.session
        shard = "no session" if session is None else f"shard {session.shard_id}"
        return f"<FakeConnection {shard}, {'open' if self.is_open else 'closed'}>"

    @property
    def shard_id(self) -> int | None:
        """The shard of its session, None before there is one."""
        return None if self.peer.session is None else self.peer.session.shard_id

    @property
    def has_sent_all(self) -> bool:
        """Whether everything was given to the transport and nothing holds it back."""
        return not self.is_open or (self.peer.backlog == 0 and not self._writing_paused)

    # --- what the listener reports ---------------------------------------------------------------

    def connected(self, transport: Any) -> None:
        """The upgrade is done."""
        self._transport = transport
        self.is_open = True
        self.flush()

    def frame_received(self, opcode: int, payload: bytes, fin: bool) -> None:
        """Take a frame of the client."""
        if self._close_received or self._is_frozen:
            return
        if opcode == PING:
            self._write(frame(PONG, payload))
        elif opcode == CLOSE:
            self._close_frame_received(payload)
        elif opcode in (TEXT, BINARY, CONTINUATION):
            self._fragments.append(payload)
            if fin:
                command = b"".join(self._fragments)
                self._fragments.clear()
                self._guard(self.peer.receive, command, time.monotonic())
                self._encoder.payload_compression = self.peer.payload_compression
        self.flush()

    def disconnected(self) -> None:
        """TCP is gone."""
        self.is_open = False
        if self._transport is not None:
            self._transport.close()  # Python 3.10 warns of TLS transports that only the peer closed
        self._guard(self.peer.closed, None, time.monotonic())
        for handle in (self._timer, self._closer, self._flush_soon):
            if handle is not None:
                handle.cancel()
        self._timer = self._closer = self._flush_soon = None
        self._changed()

    def writing_paused(self, paused: bool) -> None:
        """The transport's buffer crossed its high or its low mark."""
        self._writing_paused = paused
        if not paused:
            self.flush()

    # --- out -------------------------------------------------------------------------------------

    def flush_soon(self) -> None:
        """Flush at the end of this loop turn: many dispatches become one write."""
        if self._flush_soon is None and self.is_open:
            self._flush_soon = self._loop.call_soon(self.flush)

    def flush(self) -> None:
        """Send what the peer wants sent, close or cut as it says, and re-arm its timer."""
        if self._flush_soon is not None:
            self._flush_soon.cancel()
            self._flush_soon = None
        if self.is_open and not self._is_frozen:
            encode = self._encoder.encode
            while not self._writing_paused and not self._close_sent:
                messages = self.peer.messages_to_send(_BATCH_BYTES)
                if not messages:
                    break
                self._write(b"".join([encode(message) for message in messages]))
            if (close := self.peer.close_to_send()) is not None:
                self._send_close(*close)
            if (cut := self.peer.cut_to_make()) is not None:
                self._cut(cut)
        self._arm()
        self._changed()

    def write_raw(self, data: bytes) -> None:
        """Write bytes as they are, below websocket framing: for frames that break the rules."""
        self.flush()
        self._write(data)

    def freeze(self) -> None:
        """Fall silent and deaf with TCP up, as behind a dead route: nothing is read or written."""
        self._is_frozen = True
        if self.is_open:
            self._transport.pause_reading()

    def thaw(self) -> None:
        """End `freeze()`: what came meanwhile is read, what waits is sent."""
        self._is_frozen = False
        if self.is_open:
            self._transport.resume_reading()
            self.flush()

    def abort(self) -> None:
        """Drop TCP at once."""
        if self.is_open:
            self._transport.abort()

    # --- inside ----------------------------------------------------------------------------------

    def _write(self, data: bytes) -> None:
        if self.is_open and data and not self._is_lost():
            self.bytes_sent += len(data)
            self._transport.write(data)

    def _is_lost(self) -> bool:
        """
        Tell whether TCP has ended: the loop says it in its next turn, and warns of writes until
        then. asyncio's transports of TLS do not know it of the one below; the socket does.
        """
        if self._transport.is_closing():
            return True
        try:
            self._transport.get_extra_info("socket").getpeername()
        except (OSError, AttributeError):  # ENOTCONN; or there is no socket any more
            return True
        return False

    def _send_close(self, close_code: int | None, reason: str) -> None:
        self._write(close_frame(close_code, reason))
        self._close_sent = True
        if self._close_received:
            self._transport.close()
        else:
            self._closer = self._loop.call_later(_CLOSE_TIMEOUT_S, self.abort)

    def _close_frame_received(self, payload: bytes) -> None:
        self._close_received = True
        code = struct.unpack(">H", payload[:2])[0] if len(payload) >= 2 else None
        self._guard(self.peer.closed, code, time.monotonic())
        if not self._close_sent:
            self._close_sent = True
            self._write(frame(CLOSE, payload[:2]))
        # RFC 6455 7.1.1: the server closes TCP first.
        self._transport.close()

    def _cut(self, how: Cut) -> None:
        if how is Cut.RESET:
            sock = self._transport.get_extra_info("socket")
            if sock is not None:  # else TCP has ended, and this is about to be reported
                # Linger on with 0 seconds: close() sends RST and drops what is buffered.
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()

    def _arm(self) -> None:
        due = self.peer.timer_at() if self.is_open else None
        if due is None or self._timer is not None:
            return  # an older timer fires early, looks, and is armed again
        self._timer = self._loop.call_later(max(0.0, due - time.monotonic()), self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._guard(self.peer.timer, time.monotonic())
        self.flush()

    def _guard(self, call: Callable[..., None], *args: Any) -> None:
        """An instruction of the test may raise inside the peer: the gateway reports it at exit."""
        try:
            call(*args)
        except Exception as error:
            self._failed(error)
