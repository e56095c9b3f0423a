"""
The compiled picows listener: frames in, events and messages out.

picows parses frames and does no more; the duties of a receiver are here. RSV bits are refused
(RFC 6455 5.2), PING is answered here because picows' own answer does not look at RSV bits, CLOSE is
checked and answered once (5.5.1, 7.4), and after CLOSE, an error or `stop` nothing is taken: picows
itself goes on delivering in all these cases.

An exception never leaves `on_ws_frame`, where picows would close with 1011 and tell nobody: it is
our own, and the connection hears of it.

The payload pointer is valid inside `on_ws_frame` only. C fields of WSTransport are not touched:
their order changed between releases of picows.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.buffer cimport PyBUF_WRITE
from cpython.memoryview cimport PyMemoryView_FromMemory, PyMemoryView_GET_BUFFER
from libc.string cimport memcpy, memmove
from picows.picows cimport WSFrame, WSListener, WSMsgType, WSTransport

from .._decode cimport Assembler, Calls, Event

from asyncio import get_running_loop
from collections import deque
from time import monotonic

from ..errors import ProtocolError

cdef extern from *:
    """
    #ifndef FASTGW_PICOWS_VERSION
    #error "build fastgw with its setup.py, which records the picows it compiles against"
    #endif

    /* A coroutine, or another awaitable; a generator of either kind. */
    static inline int fgw_may_run(PyObject* result) {
        PyAsyncMethods* kinds = Py_TYPE(result)->tp_as_async;
        return (kinds != NULL && (kinds->am_await != NULL || kinds->am_anext != NULL))
            || PyGen_CheckExact(result);
    }
    """
    const char* FASTGW_PICOWS_VERSION
    const char* FASTGW_PICOWS_LAYOUT
    bint fgw_may_run(object result)

cdef extern from "_clock.h":
    double fgw_now() noexcept

# What this module was compiled against, for gate.py: version, digest of picows.pxd, object sizes.
BUILT_WITH = (
    FASTGW_PICOWS_VERSION.decode(),
    FASTGW_PICOWS_LAYOUT.decode(),
    {
        "WSFrame": sizeof(WSFrame),
        "WSListener": sizeof(WSListener),
        "WSTransport": sizeof(WSTransport),
    },
)


cdef bint _may_be_received(int code) noexcept:
    # RFC 6455 7.4.1 and the IANA registry: 1004 is reserved, 1005, 1006 and 1015 are never sent.
    return 1000 <= code <= 1003 or 1007 <= code <= 1014 or 3000 <= code <= 4999


@cython.final
cdef class Tap:
    """
    Stand between a transport and picows' protocol, and keep the last bytes: a CLOSE frame whole.

    picows refuses a CLOSE whose reason is no UTF-8 before anybody has seen its code, and a service
    that cuts a long reason inside a character still means the code. Costs 0.1 us a read.

    Attributes:
        buffer_bytes: the most that picows' buffer has lent; it never shrinks.
    """

    def __init__(self, protocol):
        self._get_buffer = protocol.get_buffer
        self._buffer_updated = protocol.buffer_updated
        self.connection_lost = protocol.connection_lost
        self.eof_received = protocol.eof_received
        self.pause_writing = protocol.pause_writing
        self.resume_writing = protocol.resume_writing

    def is_buffered_protocol(self):
        """Tell aiofastnet to call `get_buffer`."""
        return True

    def get_buffer(self, size_hint):
        """
        Lend picows' buffer, but not all of it.

        picows doubles it whenever a read filled nine tenths: a peer that sends faster than we
        take made it as large as the kernel's buffer (32 MB), and one read as long.
        """
        # The view is not kept: with many connections, freeing the last one of this is a cache miss.
        view = self._get_buffer(size_hint)
        cdef Py_buffer* whole = PyMemoryView_GET_BUFFER(view)
        self._lent = <char*>whole.buf  # picows moves it inside its buffer_updated only
        self.buffer_bytes = max(self.buffer_bytes, whole.len)
        if whole.len > READ_BYTES:
            return PyMemoryView_FromMemory(self._lent, READ_BYTES, PyBUF_WRITE)
        return view

    def buffer_updated(self, Py_ssize_t size):
        """Keep the end of what came; it is copied because picows may move its buffer now."""
        cdef const char* end = self._lent + size
        cdef Py_ssize_t old, new = min(size, CLOSE_FRAME_BYTES)
        old = min(self._size, CLOSE_FRAME_BYTES - new)  # the frame may have come in pieces
        memmove(self._tail, self._tail + self._size - old, old)
        memcpy(self._tail + old, end - new, new)
        self._size = old + new
        self._buffer_updated(size)

    def refused_close(self):
        """Return code and reason of the CLOSE frame that picows refused; None: it was none."""
        return refused_close_in(PyBytes_FromStringAndSize(self._tail, self._size))


cpdef refused_close_in(bytes tail):
    """
    Find a CLOSE frame with a valid code and a reason that is no UTF-8 in the last bytes received.

    Its end need not be theirs: what a peer sends behind CLOSE means nothing.
    """
    cdef Py_ssize_t at, size
    cdef const unsigned char* p = <const unsigned char*><char*>tail
    for at in range(len(tail) - 4, -1, -1):
        size = p[at + 1]
        if p[at] == 0x88 and 2 < size <= 125 and at + 2 + size <= len(tail):
            code = p[at + 2] << 8 | p[at + 3]
            if _may_be_received(code):
                reason = tail[at + 4:at + 2 + size]
                try:
                    reason.decode()
                except UnicodeDecodeError:
                    return code, reason.decode(errors="replace")
    return None


@cython.final
cdef class Turns:
    """
    How long all connections of a gateway together may deliver in one turn of the event loop.

    Theory. A turn begins when a read finds that none is under way, and a call that the loop owes us
    marks its end; so that a quiet gateway pays for no such call, reads within a quarter of the
    bound count as the same turn. When the time is up, each connection keeps what else comes (it
    stops reading, so that is one buffer at most) and stands in line. In the next turn they go on,
    one after the other; who is cut again goes to the end of the line, so that all get their share.
    The rest of each turn is everybody else's.

    Args:
        bound_s: seconds.
        timed: called for one delivery in 64, with the seconds from its read to the call of its
            handlers, and the seconds that they took.
    Attributes:
        cut: how often the time was up.
        kept_bytes: what the frames hold that wait for the next turn.
    """

    def __init__(self, double bound_s, timed=None):
        self._bound_s = bound_s
        self._timed = timed
        self._behind = deque()
        self._delivery_frames = UNTIMED_FRAMES

    cdef int _begin(self) except -1:
        """A read brings its first frame."""
        cdef double now
        if not self._is_marked:
            now = fgw_now()
            if now - self._began_at > self._bound_s / 4:
                self._began_at = now
                self._mark()
        return 0

    cdef int _passed(self, int frames) except -1:
        """Note that so many dropped frames came, or what took as long; look at the clock in time."""
        self._untimed += frames
        if self._untimed >= UNTIMED_FRAMES:
            self._check()
        return 0

    cdef int _check(self) except -1:
        """Look whether the time is up, and how soon to look again."""
        cdef double now
        cdef bint is_quick
        self._untimed = 0
        if self._is_over:
            return 0
        now = fgw_now()
        # A look costs as much as 1 % of receiving an event: four deliveries share one while each
        # four take less than a sixteenth of the bound. When handlers become slow, a turn lasts
        # for three of them more, of whatever connections, until that is noticed.
        is_quick = now - self._checked_at < self._bound_s / 16
        self._delivery_frames = UNTIMED_FRAMES // 4 if is_quick else UNTIMED_FRAMES
        self._checked_at = now
        if now - self._began_at > self._bound_s:
            self._is_over = True
            self.cut += 1
            self._mark()
        return 0

    cdef int _mark(self) except -1:
        if not self._is_marked:
            get_running_loop().call_soon(self._next_turn)
            self._is_marked = True
        return 0

    def _next_turn(self):
        """The loop has turned: go on with what was kept."""
        cdef Listener listener
        self._is_marked = self._is_over = False
        if not self._behind:
            return
        self._began_at = fgw_now()
        self._mark()
        while self._behind and not self._is_over:
            listener = self._behind.popleft()
            try:
                if not listener._go_on():
                    self._behind.append(listener)
            except Exception as error:
                listener._broken(error)
                listener._forget_kept()


@cython.final
cdef class Listener(WSListener):
    """
    Feed one connection's frames to its assembler and hand out what comes of them.

    Args:
        assembler: a Decoder, or a bare Assembler for the frame layer alone.
        receiver: a `Receiver`.
        dial: makes the `Connection` from the transport: `upgraded(transport)`.
        delivery: `failed(event, target, error)` of a target that raised, and
            `returned(event, target, result)` of one that gave back something that may run.
        turns: bounds the work of a turn of the loop; None does not.
        reading: `behind(connection, is_behind)` hears when frames are kept for the next turn.

    Events go to the target that their interest names, called directly, or to those whom its Plan
    calls. Events that the library itself needs go to the receiver first.
    """

    def __init__(self, Assembler assembler not None, receiver, dial, delivery,
                 Turns turns=None, reading=None):
        self._assembler = assembler
        assembler._clock = fgw_now
        self._receiver = receiver
        self._dial = dial
        self._failed = delivery.failed
        self._returned = delivery.returned
        self._turns = turns
        self._reading = reading

    def closing(self):
        """We sent CLOSE: from here on take only the peer's."""
        self._closing = True

    def stop(self):
        """Take nothing any more."""
        self._closed = True

    def settle(self):
        """Take nothing any more, and hold nothing."""
        self._closed = True
        self._forget_kept()
        self._receiver = self._dial = self._connection = self._transport = None

    cpdef on_ws_connected(self, WSTransport transport):
        if not self._closed:
            self._connection = self._dial.upgraded(transport)
        if self._connection is None:  # abandoned meanwhile
            self.settle()
            transport.disconnect(False)
            return
        self._dial, self._transport = None, transport
        try:
            self._receiver.connection_made(self._connection)
        except Exception as error:
            self._broken(error)

    cpdef on_ws_disconnected(self, WSTransport transport):
        self._closed = True

    cpdef pause_writing(self):
        # Commands are bounded by the send budget, far below what is worth stalling for. PONGs are
        # not: a peer that floods with PING and does not read would have them all kept for it.
        self._is_choked = True

    cpdef resume_writing(self):
        self._is_choked = False
        if self._owed is not None and not self._closed:
            self._transport.send_pong(self._owed)
        self._owed = None

    cpdef on_ws_frame(self, WSTransport transport, WSFrame frame):
        if self._closed:
            return
        try:
            if self._kept is None and (self._turns is None or not self._turns._is_over):
                self._take(transport, frame)
            else:
                self._keep(transport, frame)
        except Exception as error:
            self._broken(error)

    cdef int _take(self, WSTransport transport, WSFrame frame) except -1:
        cdef int opcode
        if frame.rsv1 or frame.rsv2 or frame.rsv3:
            return self._refuse(
                ProtocolError("reserved bit set without an extension", close_code=1002))
        opcode = <int>frame.msg_type
        if opcode <= 2:
            if not self._closing:
                if not self._stamped:
                    self._assembler.received_at = monotonic()
                    self._stamped = True
                    if self._turns is not None:
                        self._turns._begin()
                self._data(frame.payload_ptr, frame.payload_size, opcode, frame.fin)
        elif opcode == 8:
            self._close_frame(frame.payload_ptr, frame.payload_size)
        elif opcode == 9:  # picows drops what is sent after CLOSE
            if self._is_choked:
                self._owed = frame.get_payload_as_bytes()  # RFC 6455 5.5.3: the latest is enough
            else:
                transport.send_pong(frame.get_payload_as_bytes())
        if frame.last_in_buffer:
            self._stamped = False
        return 0

    cdef int _keep(self, WSTransport transport, WSFrame frame) except -1:
        """Put a frame off until the next turn, in its order; PING is answered at once."""
        cdef int opcode = <int>frame.msg_type
        if (opcode > 2 and opcode != 8) or frame.rsv1 or frame.rsv2 or frame.rsv3:
            return self._take(transport, frame)
        if not self._stamped:
            self._assembler.received_at = monotonic()
        self._stamped = not frame.last_in_buffer
        # One object a frame, and none that the garbage collector counts.
        cdef bytes kept = PyBytes_FromStringAndSize(NULL, frame.payload_size + 1)
        PyBytes_AS_STRING(kept)[0] = opcode | FIN if frame.fin else opcode
        memcpy(PyBytes_AS_STRING(kept) + 1, frame.payload_ptr, frame.payload_size)
        if self._kept is None:
            self._kept, self._next = [], 0
            self._turns._behind.append(self)
            self._turns._mark()
            self._reading.behind(self._connection, True)
        self._kept.append(kept)
        self._turns.kept_bytes += frame.payload_size
        return 0

    cdef int _go_on(self) except -1:
        """Deliver what was kept until the turn is over; tell whether that was all."""
        cdef bytes kept
        cdef const char* payload
        cdef Py_ssize_t size
        cdef int opcode
        while self._is_behind():
            kept = <bytes>self._kept[self._next]
            self._kept[self._next] = None
            self._next += 1
            opcode = <unsigned char>PyBytes_AS_STRING(kept)[0] & ~FIN
            payload = PyBytes_AS_STRING(kept) + 1
            size = PyBytes_GET_SIZE(kept) - 1
            self._turns.kept_bytes -= size
            if opcode == 8:
                self._close_frame(payload, size)
            elif not self._closing:
                self._data(payload, size, opcode, <unsigned char>PyBytes_AS_STRING(kept)[0] >= FIN)
            if self._turns._is_over:
                break
        if self._is_behind():
            return False
        self._forget_kept()
        return True

    cdef bint _is_behind(self) noexcept:
        return self._kept is not None and self._next < len(self._kept) and not self._closed

    cdef int _forget_kept(self) except -1:
        """Nothing is kept any more."""
        if self._kept is not None:
            kept, self._kept = self._kept, None
            self._turns.kept_bytes -= sum([len(frame) - 1 for frame in kept if frame is not None])
            self._reading.behind(self._connection, False)
        return 0

    cdef int _data(self, const char* p, Py_ssize_t size, int opcode, bint fin) except -1:
        cdef object result
        # For `_broken`: to begin a `try` of its own for each frame costs 30 instructions.
        self._is_decoding = True
        result = self._assembler._feed(p, size, opcode, fin)
        self._is_decoding = False
        if result is None:
            if self._turns is not None:
                self._turns._passed(1)
            return 0
        self._delivered += 1
        if self._delivered >= TIMED_EVERY:
            self._deliver_timed(result)
        else:
            self._deliver(result)
        if self._turns is not None:
            self._turns._passed(self._turns._delivery_frames)
        return 0

    cdef int _deliver_timed(self, object result) except -1:
        cdef double waited_s, began_at
        if self._turns is None or self._turns._timed is None:
            self._delivered = 0
            return self._deliver(result)
        if type(result) is not Calls and type(result) is not Event:
            return self._deliver(result)
        self._delivered = 0
        waited_s = <double>monotonic() - self._assembler.received_at  # the clock of both
        began_at = fgw_now()
        self._deliver(result)
        self._turns._timed(waited_s, fgw_now() - began_at)
        return 0

    cdef int _deliver(self, object result) except -1:
        cdef Event event
        cdef Calls calls
        cdef object target
        if type(result) is Calls:
            calls = <Calls>result
            if calls.route.internal:
                self._receiver.message_received(calls.event)
            calls.run()
            return 0
        if type(result) is not Event:
            self._receiver.message_received(result)
            return 0
        event = <Event>result
        if event._route.internal:
            self._receiver.message_received(event)
        target = event._route.target  # held: a handler may put another in its place
        if target is not None:
            try:
                result = target(event)
            except BaseException as error:
                self._failed(event, target, error)
            else:
                if result is not None and fgw_may_run(result):
                    self._returned(event, target, result)
        return 0

    cdef int _close_frame(self, const char* p, Py_ssize_t size) except -1:
        cdef const unsigned char* payload = <const unsigned char*>p
        cdef int code = 0
        reason = ""
        if size == 1:
            return self._refuse(ProtocolError("CLOSE with half a code", close_code=1002))
        if size >= 2:
            code = payload[0] << 8 | payload[1]
            if not _may_be_received(code):
                return self._refuse(
                    ProtocolError(f"CLOSE with the invalid code {code}", close_code=1002))
            # picows lets no other reason through; see FrameProtocol.
            reason = PyBytes_FromStringAndSize(p + 2, size - 2).decode(errors="replace")
        self._closed = True
        self._connection.peer_closed(code or None, reason)
        return 0

    cdef int _broken(self, error) except -1:
        """Close: what the decoder says of the bytes is the peer's fault, all else is ours."""
        cdef bint is_theirs = self._is_decoding and isinstance(error, ProtocolError)
        self._closed = True
        self._is_decoding = False
        if is_theirs:
            try:
                return self._refuse(error)
            except Exception as failure:
                error = failure
        if self._connection is not None:
            self._connection.failed(error)
        return 0

    cdef int _refuse(self, error) except -1:
        self._closed = True
        self._connection.refused(error)
        return 0
