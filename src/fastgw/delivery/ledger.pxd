# The ledger of a shard: its deliveries that are not finished.

from libc.stdint cimport int64_t


cdef class Delivery:
    cdef readonly object holder
    cdef readonly object origin
    cdef readonly tuple arguments
    cdef readonly Ledger ledger     # None: no event
    cdef readonly int64_t sequence  # -1: none of the current session
    cdef readonly Py_ssize_t size   # bytes it holds while it is open
    cdef readonly bint drops        # its holder drops events rather than let reading stop
    cdef double _timed_at           # when it was opened, or began after a wait; 0: nobody asks

    cpdef int open(self) except -1
    cpdef int begin(self) except -1
    cpdef int done(self) except -1
    cpdef int abandon(self) except -1

    cdef int _free(self) except -1


cdef class Ledger:
    cdef readonly Ledgers book
    cdef readonly int shard_id
    cdef readonly set deliveries
    cdef readonly Py_ssize_t bytes
    cdef readonly Py_ssize_t dropping_bytes
    cdef public Py_ssize_t rise_at
    cdef public Py_ssize_t fall_at
    cdef public object on_hold

    cdef int _rose(self) except -1
    cdef int _fell(self) except -1


cdef class Ledgers:
    cdef readonly Py_ssize_t bytes
    cdef readonly Py_ssize_t dropping_bytes
    cdef int64_t _opened            # deliveries
    cdef public object waited       # called with seconds, or None
    cdef public object took         # the same
    cdef public Py_ssize_t rise_at
    cdef public Py_ssize_t fall_at
    cdef public Py_ssize_t first_rise_at
    cdef public object crossed
    cdef dict _by_shard
