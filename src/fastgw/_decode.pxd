# The header of the decoding core: what connection/listener.pyx sees of it.
#
# Each part has its own, in the order in which they build on each other; here stands the Decoder.

from libc.stdint cimport int64_t

include "_decode/routes.pxd"
include "_decode/fields.pxd"
include "_decode/filters.pxd"
include "_decode/event.pxd"
include "_decode/plan.pxd"
include "_decode/assembler.pxd"
include "_decode/zstd.pxd"
include "_decode/inflater.pxd"


cdef class Decoder(Inflater):
    cdef readonly Interests interests
    cdef readonly Sequence sequence
    cdef readonly int shard_id
    cdef readonly int64_t dispatches
    cdef readonly int64_t delivered
    cdef readonly int64_t bytes_decoded

    cdef object _walk(self, const char* p, Py_ssize_t size, bytes owner)
    cdef object _parse_whole(self, const char* p, Py_ssize_t size)
    cdef object _dispatch(self, Route route, int64_t sequence, Py_ssize_t size, const char* p,
                          const char* data, const char* data_end, bytes owner, bint verified)
