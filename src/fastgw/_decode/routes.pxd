# Header of routes.pyx.

from libc.stdint cimport int64_t, uint64_t


cdef enum:
    # What comes late comes soon: what is older than this many later gaps stays missing.
    MAX_GAPS = 16


cdef struct Gap:
    int64_t first                   # the sequences from first to last have not come
    int64_t last


cdef class Sequence:
    cdef int64_t _last              # -1: no dispatch yet in this session
    cdef int64_t _floor             # while replaying: dispatches up to here were already received
    cdef readonly bint replaying
    cdef readonly int64_t duplicates
    cdef readonly int64_t gaps
    cdef readonly int64_t missing
    cdef readonly int64_t replayed

    cdef Gap[MAX_GAPS] _open        # the newest gaps, oldest first
    cdef int _open_count

    cdef bint _accept(self, int64_t sequence) noexcept
    cdef void _leave_out(self, int64_t first, int64_t last) noexcept
    cdef bint _came_late(self, int64_t sequence) noexcept


cdef class Route:
    # What an event that nobody wants is compared with and counted in stands together: it is as long
    # as a line of the cache, and an object begins anywhere.
    cdef uint64_t hash
    cdef const char* text           # key's own bytes
    cdef Py_ssize_t size
    cdef bint wanted                # does anybody want it
    cdef bint plain                 # A-Z 0-9 _ only: stands on the wire as it stands here
    cdef int64_t seen
    cdef int64_t bytes
    cdef object target              # whom the listener calls with the event, or None
    cdef object plan                # or the Plan that says who is called, and with what
    cdef bint internal              # the library needs the event too
    cdef bint session_event         # READY, RESUMED: never dropped as a duplicate
    cdef bint guild_is_id           # d.id is the guild's id
    cdef bint own                   # asked for by name, with `own_target`
    cdef int64_t delivered
    cdef int64_t filtered           # every filter of the plan rejected it
    cdef str name
    cdef bytes key                  # the name as it stands on the wire
    cdef object own_target


cdef class Interests:
    cdef list _routes               # keeps alive what the table points to
    cdef void** _slots              # open addressing; NULL is free, else a borrowed Route
    cdef size_t _mask
    cdef size_t _farthest           # no route lies farther from where its hash points
    cdef bint _everything
    cdef object _everything_target

    cdef void* _lookup(self, const char* name, Py_ssize_t size) noexcept
    cdef Route _find(self, const char* name, Py_ssize_t size)
    cdef Route _route(self, bytes name, bint keep=*)
    cdef int _insert(self, Route route) except -1
    cdef size_t _distance(self, Route route) noexcept
    cdef void _place(self, Route route) noexcept
    cdef int _refresh(self, Route route) except -1
