# The compiled listener: the only place that knows picows' C layout.

from picows.picows cimport WSFrame, WSListener, WSTransport

from .._decode cimport Assembler


cdef enum:
    CLOSE_FRAME_BYTES = 127  # RFC 6455 5.5: two of header, and at most 125 of payload
    READ_BYTES = 262144  # the most that one read may bring; as many as aiofastnet reads of TLS
    TIMED_EVERY = 64  # deliveries
    UNTIMED_FRAMES = 64  # dropped frames between two looks at the clock: each takes 1 or 2 us
    FIN = 0x80  # RFC 6455 5.2: the bit beside an opcode


cdef class Tap:
    cdef object _get_buffer
    cdef object _buffer_updated
    cdef readonly object connection_lost
    cdef readonly object eof_received
    cdef readonly object pause_writing
    cdef readonly object resume_writing
    cdef char* _lent                # what picows lent last
    cdef char _tail[CLOSE_FRAME_BYTES]
    cdef Py_ssize_t _size
    cdef readonly Py_ssize_t buffer_bytes


cdef class Turns:
    cdef double _bound_s
    cdef object _timed              # called with the times of some deliveries; or None
    cdef double _began_at           # when the turn under way began, or the last few did
    cdef double _checked_at         # when the clock was looked at last
    cdef int _untimed               # frames since then; a delivery counts for several
    cdef int _delivery_frames       # for how many: all, if those before it took long
    cdef bint _is_marked            # the loop will call us in its next turn
    cdef bint _is_over              # nothing more is delivered in this one
    cdef object _behind             # listeners with frames kept, the next to go on first
    cdef readonly long long cut
    cdef readonly Py_ssize_t kept_bytes

    cdef int _begin(self) except -1
    cdef int _passed(self, int frames) except -1
    cdef int _check(self) except -1
    cdef int _mark(self) except -1


cdef class Listener(WSListener):
    cdef Assembler _assembler
    cdef object _receiver
    cdef object _dial               # until the upgrade
    cdef object _connection         # from then on
    cdef WSTransport _transport     # the same
    cdef object _failed
    cdef object _returned
    cdef bint _closed               # nothing is taken any more
    cdef bint _closing              # we sent CLOSE: only its answer is taken
    cdef bint _stamped              # this socket read has its time
    cdef bint _is_choked            # what we wrote has not gone out yet
    cdef bytes _owed                # payload of the latest PING since then
    cdef Turns _turns               # None: a turn of the loop may take what it takes
    cdef object _reading            # hears when frames are kept, and when none are any more
    cdef list _kept                 # frames for the next turn, each opcode and FIN in a byte, and
                                    # payload; None for those that went; or None: nothing
    cdef Py_ssize_t _next           # of them, the first that did not go
    cdef int _delivered             # since one was timed
    cdef bint _is_decoding          # the assembler has a frame: its errors are the peer's

    cdef int _take(self, WSTransport transport, WSFrame frame) except -1
    cdef int _data(self, const char* p, Py_ssize_t size, int opcode, bint fin) except -1
    cdef int _close_frame(self, const char* p, Py_ssize_t size) except -1
    cdef int _keep(self, WSTransport transport, WSFrame frame) except -1
    cdef int _deliver_timed(self, object result) except -1
    cdef int _deliver(self, object result) except -1
    cdef int _go_on(self) except -1
    cdef bint _is_behind(self) noexcept
    cdef int _forget_kept(self) except -1
    cdef int _broken(self, error) except -1
    cdef int _refuse(self, error) except -1
