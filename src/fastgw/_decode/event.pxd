# Header of event.pyx. Takes Route from routes.

from libc.stdint cimport int64_t


# A dispatch that somebody may want, as it stands in a borrowed buffer.
cdef struct fgw_dispatch:
    const char* message
    Py_ssize_t size
    Py_ssize_t start                # of d in it
    Py_ssize_t end
    bint verified                   # the span of d is certain
    int64_t sequence                # -1: it had none
    int shard_id
    double received_at


cdef class Event:
    cdef Route _route
    cdef bytes _message             # holds d at [_start:_end]
    cdef Py_ssize_t _start
    cdef Py_ssize_t _end
    cdef object _data
    cdef readonly double received_at
    cdef readonly int64_t sequence
    cdef readonly int shard_id
    cdef int64_t _guild_id
    cdef unsigned char _decoded
    cdef unsigned char _verified    # the span of d is certain
    cdef unsigned char _guild_known

    cdef int _check(self) except -1
    cdef object _loads(self)
    cdef object _text(self)
    cdef int _mismatch(self, kind, error) except -1
    cdef int _verify(self) except -1
    cdef int _find_guild(self) except -1


cdef class Message:
    cdef readonly int op
    cdef readonly object data
    cdef readonly object sequence
    cdef readonly object name
