# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
"""The floor of zstd-stream on the zstd package, called as fastgw calls it: bytes in and out."""

from cpython.bytes cimport PyBytes_FromStringAndSize, PyBytes_GET_SIZE

from bench_floor cimport Base

try:
    from compression import zstd
except ImportError:
    from backports import zstd


cdef class Floor(Base):
    cdef object _decompress

    def __cinit__(self, *args):
        self._decompress = zstd.ZstdDecompressor().decompress

    cdef Py_ssize_t inflate(self, const char* data, Py_ssize_t size) except -1:
        cdef object text = self._decompress(PyBytes_FromStringAndSize(data, size))
        return PyBytes_GET_SIZE(text)
