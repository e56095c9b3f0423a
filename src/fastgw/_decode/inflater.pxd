# Header of inflater.pyx. Takes Assembler from assembler, _ZstdStream from zstd.


cdef class Inflater(Assembler):
    cdef readonly str compression
    cdef int _mode
    cdef Py_ssize_t _pending        # bytes in the buffer that belong to complete websocket messages
    cdef object _decompressor
    cdef object _decompress         # its bound method
    cdef _ZstdStream _zstd
    cdef bint _is_timed             # the message under way is
    cdef double _inflated_at
    cdef double _decompression_s    # of the messages that were timed
    cdef double _decode_s
    cdef object _cap                # max_message_bytes + 1, as the packages take it

    cdef object _time(self, const char* p, Py_ssize_t size, int opcode)
    cdef int _renew_context(self) except -1
    cdef object _message(self, const char* p, Py_ssize_t size, bytes owner)
    cdef bytes _inflate(self, const char* p, Py_ssize_t size)
    cdef bytes _inflate_one(self, const char* p, Py_ssize_t size)
    cdef object _unzstd(self, const char* p, Py_ssize_t size)
