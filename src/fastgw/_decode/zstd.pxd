# Header of zstd.pyx.


cdef class ZstdStream:
    cdef Py_ssize_t _max_bytes      # of a message, decompressed
    cdef object _context
    cdef object _decompress         # its bound method
    cdef bint _frame_ended          # the next byte begins a frame

    cdef int _renew(self) except -1
    cdef bytes _message(self, const char* p, Py_ssize_t size)
    cdef list _further_frames(self, const char* p, Py_ssize_t size, bytes first)
