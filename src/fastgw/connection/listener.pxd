# The compiled listener: the only place that knows picows' C layout.

from picows.picows cimport WSFrame, WSListener, WSTransport

from .._decode cimport Assembler


cdef class Listener(WSListener):
    cdef Assembler _assembler
    cdef object _receiver
    cdef object _dial               # until the upgrade
    cdef object _connection         # from then on
    cdef object _failed
    cdef object _returned
    cdef bint _closed               # nothing is taken any more
    cdef bint _closing              # we sent CLOSE: only its answer is taken
    cdef bint _stamped              # this socket read has its time

    cdef int _data(self, WSFrame frame) except -1
    cdef int _close_frame(self, WSFrame frame) except -1
    cdef int _refuse(self, error) except -1
