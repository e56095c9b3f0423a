# The compiled listener: the only place that knows picows' C layout.

from picows.picows cimport WSFrame, WSListener, WSTransport

from .._decode cimport Assembler


cdef enum:
    CLOSE_FRAME_BYTES = 127  # RFC 6455 5.5: two of header, and at most 125 of payload


cdef class Tap:
    cdef object _get_buffer
    cdef object _buffer_updated
    cdef readonly object connection_lost
    cdef readonly object eof_received
    cdef readonly object pause_writing
    cdef readonly object resume_writing
    cdef object _view
    cdef char _tail[CLOSE_FRAME_BYTES]
    cdef Py_ssize_t _size


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

    cdef int _take(self, WSTransport transport, WSFrame frame) except -1
    cdef int _data(self, WSFrame frame) except -1
    cdef int _close_frame(self, WSFrame frame) except -1
    cdef int _broken(self, error) except -1
    cdef int _refuse(self, error) except -1
