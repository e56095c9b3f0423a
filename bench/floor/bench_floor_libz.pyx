# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
"""The floor of zlib-stream: the system's libz, one reused output buffer."""

from libc.stdlib cimport free, malloc

from bench_floor cimport Base

cdef extern from "zlib.h" nogil:
    ctypedef struct z_stream:
        const unsigned char* next_in
        unsigned int avail_in
        unsigned char* next_out
        unsigned int avail_out
    enum:
        Z_OK
        Z_BUF_ERROR
        Z_SYNC_FLUSH
    int inflateInit(z_stream*)
    int inflate_c "inflate"(z_stream*, int)
    int inflateEnd(z_stream*)

cdef enum:
    OUT_BYTES = 256 * 1024


cdef class Floor(Base):
    cdef z_stream _stream
    cdef unsigned char* _out

    def __cinit__(self, *args):
        self._out = <unsigned char*>malloc(OUT_BYTES)
        if self._out == NULL or inflateInit(&self._stream) != Z_OK:
            raise MemoryError()

    def __dealloc__(self):
        inflateEnd(&self._stream)
        free(self._out)

    cdef Py_ssize_t inflate(self, const char* data, Py_ssize_t size) except -1:
        cdef Py_ssize_t made = 0
        cdef int status
        self._stream.next_in = <const unsigned char*>data
        self._stream.avail_in = <unsigned int>size
        while True:
            self._stream.next_out = self._out
            self._stream.avail_out = OUT_BYTES
            status = inflate_c(&self._stream, Z_SYNC_FLUSH)
            if status != Z_OK and status != Z_BUF_ERROR:
                raise RuntimeError(f"inflate failed with {status}")
            made += OUT_BYTES - self._stream.avail_out
            # A full output may hide more; anything less means that the input is used up.
            if self._stream.avail_out:
                return made
