# The header of the decoding core: what connection/listener.pyx sees of it.

from libc.stdint cimport int64_t, uint64_t


cdef class Sequence:
    cdef int64_t _last              # -1: no dispatch yet in this session
    cdef int64_t _floor             # while replaying: dispatches up to here were already received
    cdef readonly bint replaying
    cdef readonly int64_t duplicates
    cdef readonly int64_t gaps
    cdef readonly int64_t missing
    cdef readonly int64_t replayed

    cdef bint _accept(self, int64_t sequence) noexcept


cdef class Route:
    cdef str name
    cdef bytes key                  # the name as it stands on the wire
    cdef const char* text           # and where: key's own bytes
    cdef Py_ssize_t size
    cdef uint64_t hash
    cdef object target              # whom the listener calls with the event, or None
    cdef bint wanted                # does anybody want it
    cdef bint plain                 # A-Z 0-9 _ only: stands on the wire as it stands here
    cdef bint internal              # the library needs the event too
    cdef bint session_event         # READY, RESUMED: never dropped as a duplicate
    cdef bint guild_is_id           # d.id is the guild's id
    cdef bint own                   # asked for by name, with `own_target`
    cdef object own_target
    cdef int64_t seen
    cdef int64_t delivered
    cdef int64_t bytes


cdef class Interests:
    cdef list _routes               # keeps alive what the table points to
    cdef void** _slots              # open addressing; NULL is free, else a borrowed Route
    cdef size_t _mask
    cdef bint _everything
    cdef object _everything_target

    cdef void* _lookup(self, const char* name, Py_ssize_t size) noexcept
    cdef Route _find(self, const char* name, Py_ssize_t size)
    cdef Route _route(self, bytes name, bint keep=*)
    cdef int _insert(self, Route route) except -1
    cdef void _place(self, Route route) noexcept
    cdef int _refresh(self, Route route) except -1


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
    cdef int _verify(self) except -1
    cdef int _find_guild(self) except -1


cdef class Message:
    cdef readonly int op
    cdef readonly object data
    cdef readonly object sequence
    cdef readonly object name


cdef class Assembler:
    cdef char* _buffer
    cdef Py_ssize_t _size
    cdef Py_ssize_t _capacity
    cdef int _opcode                # of the unfinished websocket message; 0: none
    cdef Py_ssize_t _fragments
    cdef bint _strict
    cdef readonly Py_ssize_t max_message_bytes
    cdef readonly Py_ssize_t max_fragments
    cdef readonly int64_t bytes_received
    cdef readonly int64_t messages
    cdef public double received_at

    cdef object _feed(self, const char* p, Py_ssize_t size, int opcode, bint fin)
    cdef object _complete(self, const char* p, Py_ssize_t size, int opcode)
    cdef object _joined(self, int opcode)
    cdef int _append(self, const char* p, Py_ssize_t size) except -1
    cdef void _give_back(self) noexcept


cdef class Inflater(Assembler):
    cdef readonly str compression
    cdef int _mode
    cdef Py_ssize_t _pending        # bytes in the buffer that belong to complete websocket messages
    cdef object _decompressor
    cdef bint _frame_ended          # the zstd frame is over: the next message begins another
    cdef object _decompress         # its bound method
    cdef object _cap                # max_message_bytes + 1, as the packages take it

    cdef object _message(self, const char* p, Py_ssize_t size, bytes owner)
    cdef bytes _inflate(self, const char* p, Py_ssize_t size)
    cdef bytes _inflate_one(self, const char* p, Py_ssize_t size)
    cdef bytes _unzstd(self, const char* p, Py_ssize_t size)


cdef class Decoder(Inflater):
    cdef readonly Interests interests
    cdef readonly Sequence sequence
    cdef readonly int shard_id
    cdef readonly int64_t dispatches
    cdef readonly int64_t delivered
    cdef readonly int64_t bytes_decoded

    cdef object _walk(self, const char* p, Py_ssize_t size, bytes owner)
    cdef object _parse_whole(self, const char* p, Py_ssize_t size)
    cdef object _dispatch(self, Route route, int64_t sequence, const char* p, Py_ssize_t size,
                          bytes owner, Py_ssize_t start, Py_ssize_t end, bint verified)
