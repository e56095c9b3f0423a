# Header of zstd.pyx.

cdef extern from *:
    """
    typedef struct ZSTD_DCtx_s fgw_zstd_context; /* what zstd.h and _zstd.h call it */
    """
    ctypedef struct fgw_zstd_context:
        pass


cdef class _ZstdStream:
    cdef Py_ssize_t _max_bytes      # of a message, decompressed
    # The message last decompressed; it goes with `_release`.
    cdef const char* _text
    cdef Py_ssize_t _size
    cdef bytes _owner               # whose bytes they are; None: they stand in a lent buffer

    cdef int _decompress(self, const char* p, Py_ssize_t size) except -1
    cdef void _release(self) noexcept


cdef class _LibraryZstd(_ZstdStream):
    cdef fgw_zstd_context* _context
    cdef char* _output              # lent for one message
    cdef Py_ssize_t _capacity

    cdef int _fill(self, const char* p, Py_ssize_t size) except -1
    cdef int _grow(self, Py_ssize_t used) except -1
    cdef void _give_back(self) noexcept


cdef class _PackageZstd(_ZstdStream):
    cdef object _context
    cdef bint _frame_ended          # the next byte begins a frame

    cdef int _renew(self) except -1
    cdef list _further_frames(self, const char* p, Py_ssize_t size, bytes first)
