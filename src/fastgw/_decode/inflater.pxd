# Header of inflater.pyx. Takes Assembler from assembler.


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
