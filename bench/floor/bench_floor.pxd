from picows.picows cimport WSListener

cdef class Base(WSListener):
    cdef object _identify
    cdef object _reached
    cdef long long _target
    cdef readonly long long messages
    cdef readonly long long plain_bytes
    cdef Py_ssize_t inflate(self, const char* data, Py_ssize_t size) except -1
