# Header of assembler.pyx.

from libc.stdint cimport int64_t


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
    cdef double (*_clock)() noexcept  # whoever owns it gives it one, or NULL: nothing is timed

    cdef object _feed(self, const char* p, Py_ssize_t size, int opcode, bint fin)
    cdef object _complete(self, const char* p, Py_ssize_t size, int opcode)
    cdef object _joined(self, int opcode)
    cdef int _append(self, const char* p, Py_ssize_t size) except -1
    cdef void _give_back(self) noexcept
