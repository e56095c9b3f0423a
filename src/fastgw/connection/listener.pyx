"""
The compiled picows listener: frames in, events and messages out.

picows parses frames and does no more; the duties of a receiver are here. RSV bits are refused
(RFC 6455 5.2), PING is answered here because picows' own answer does not look at RSV bits, CLOSE is
checked and answered once (5.5.1, 7.4), and after CLOSE, an error or `stop` nothing is taken: picows
itself goes on delivering in all these cases.

The payload pointer is valid inside `on_ws_frame` only. C fields of WSTransport are not touched:
their order changed between releases of picows.
"""

cimport cython
from cpython.bytes cimport PyBytes_FromStringAndSize
from picows.picows cimport WSFrame, WSListener, WSMsgType, WSTransport

from .._decode cimport Assembler, Event, Message

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
cdef class Listener(WSListener):
    """
    Feed one connection's frames to its assembler and hand out what comes of them.

    Args:
        assembler: a Decoder, or a bare Assembler for the frame layer alone.
        receiver: a `Receiver`.
        dial: makes the `Connection` from the transport: `upgraded(transport)`.
        delivery: `failed(event, target, error)` of a target that raised, and
            `returned(event, target, result)` of one that gave back something that may run.

    Events go to the target that their interest names, called directly. Events that the library
    itself needs go to the receiver first.
    """

    def __init__(self, Assembler assembler not None, receiver, dial, delivery):
        self._assembler = assembler
        self._receiver = receiver
        self._dial = dial
        self._failed = delivery.failed
        self._returned = delivery.returned

    def closing(self):
        """We sent CLOSE: from here on take only the peer's."""
        self._closing = True

    def stop(self):
        """Take nothing any more."""
        self._closed = True

    def let_go(self):
        """Take nothing any more, and hold nothing."""
        self._closed = True
        self._receiver = self._dial = self._connection = None

    cpdef on_ws_connected(self, WSTransport transport):
        if not self._closed:
            self._connection = self._dial.upgraded(transport)
        if self._connection is None:  # given up meanwhile
            self.let_go()
            transport.disconnect(False)
        else:
            self._dial = None
            self._receiver.connection_made(self._connection)

    cpdef on_ws_disconnected(self, WSTransport transport):
        self._closed = True

    cpdef pause_writing(self):
        # What we may send is bounded by the send budget, far below what is worth stalling for.
        pass

    cpdef resume_writing(self):
        pass

    cpdef on_ws_frame(self, WSTransport transport, WSFrame frame):
        cdef int opcode
        if self._closed:
            return
        if frame.rsv1 or frame.rsv2 or frame.rsv3:
            self._refuse(ProtocolError("reserved bit set without an extension", close_code=1002))
            return
        opcode = <int>frame.msg_type
        if opcode <= 2:
            if not self._closing:
                self._data(frame)
        elif opcode == 8:
            self._close_frame(frame)
        elif opcode == 9:
            if not self._closing:
                transport.send_pong(frame.get_payload_as_bytes())
        if frame.last_in_buffer:
            self._stamped = False

    cdef int _data(self, WSFrame frame) except -1:
        cdef Event event
        cdef object result, target
        if not self._stamped:
            self._assembler.received_at = monotonic()
            self._stamped = True
        try:
            result = self._assembler._feed(
                frame.payload_ptr, frame.payload_size, <int>frame.msg_type, frame.fin)
        except ProtocolError as error:
            return self._refuse(error)
        if result is None:
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

    cdef int _close_frame(self, WSFrame frame) except -1:
        cdef const unsigned char* payload = <const unsigned char*>frame.payload_ptr
        cdef int code = 0
        reason = ""
        if frame.payload_size == 1:
            return self._refuse(ProtocolError("CLOSE with half a code", close_code=1002))
        if frame.payload_size >= 2:
            code = payload[0] << 8 | payload[1]
            if not _may_be_received(code):
                return self._refuse(
                    ProtocolError(f"CLOSE with the invalid code {code}", close_code=1002))
            try:
                reason = PyBytes_FromStringAndSize(
                    frame.payload_ptr + 2, frame.payload_size - 2).decode()
            except UnicodeDecodeError:
                return self._refuse(
                    ProtocolError("CLOSE with a reason that is not UTF-8", close_code=1007))
        self._closed = True
        self._connection.peer_closed(code or None, reason)
        return 0

    cdef int _refuse(self, error) except -1:
        self._closed = True
        self._connection.refused(error)
        return 0
