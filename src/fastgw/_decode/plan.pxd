# Header of plan.pyx. Takes Route from routes, Event and fgw_dispatch from event, Fields from fields,
# _Tests from filters.

from libc.stdint cimport int32_t, int64_t


cdef class _Step:
    cdef object reports
    cdef object subscription
    cdef object target
    cdef object handler
    cdef bint once
    cdef bint spread                # the target takes the values one by one
    cdef Fields fields              # None: it takes the event, or an object of
    cdef object kind                # this type; None: of no type
    cdef object missing             # stands for values that are not there
    cdef bytes nodes                # of the fields, as an array of int32_t
    cdef int32_t test               # -1: it takes all


cdef class _Walk:
    cdef _PathTree tree
    cdef _Tests tests
    cdef list steps

    cdef object _found(self, _Step step, const fgw_span* spans, const char* end)
    cdef object _parsed(self, _Step step, Event event)


cdef class Plan:
    cdef _Walk _walk
    cdef _Walk _guild_walk          # for events whose d is the guild

    cdef object _prepare(self, Route route, const fgw_dispatch* dispatch, bytes owner)


cdef class Calls:
    cdef Route route
    cdef Event event                # None: nobody takes one
    cdef _Step _step                # the first that is called, and with what
    cdef object _made
    cdef list _more                 # those behind it, as pairs; None: there are none
    cdef int64_t _sequence
    cdef int _shard_id
    cdef double _received_at
    cdef Py_ssize_t _message_bytes

    cdef int run(self) except -1
    cdef int _call(self, _Step step, object made) except -1
    cdef object _reading(self, _Step step, tuple values)


cdef class Reading:
    cdef readonly str name
    cdef readonly int64_t sequence
    cdef readonly int shard_id
    cdef readonly double received_at
    cdef readonly Py_ssize_t message_bytes
    cdef readonly Fields fields
    cdef readonly tuple values
