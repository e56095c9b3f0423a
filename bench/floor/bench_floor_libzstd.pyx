# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
"""The floor of zstd-stream: the system's libzstd, one reused output buffer."""

from libc.stdlib cimport free, malloc

from bench_floor cimport Base

cdef extern from "zstd.h" nogil:
    ctypedef struct ZSTD_DCtx:
        pass
    ctypedef struct ZSTD_inBuffer:
        const void* src
        size_t size
        size_t pos
    ctypedef struct ZSTD_outBuffer:
        void* dst
        size_t size
        size_t pos
    ZSTD_DCtx* ZSTD_createDCtx()
    size_t ZSTD_freeDCtx(ZSTD_DCtx*)
    size_t ZSTD_decompressStream(ZSTD_DCtx*, ZSTD_outBuffer*, ZSTD_inBuffer*)
    unsigned ZSTD_isError(size_t)
    const char* ZSTD_getErrorName(size_t)

cdef enum:
    OUT_BYTES = 256 * 1024


cdef class Floor(Base):
    cdef ZSTD_DCtx* _context
    cdef void* _out

    def __cinit__(self, *args):
        self._context = ZSTD_createDCtx()
        self._out = malloc(OUT_BYTES)
        if self._context == NULL or self._out == NULL:
            raise MemoryError()

    def __dealloc__(self):
        ZSTD_freeDCtx(self._context)
        free(self._out)

    cdef Py_ssize_t inflate(self, const char* data, Py_ssize_t size) except -1:
        cdef ZSTD_inBuffer source
        cdef ZSTD_outBuffer out
        cdef Py_ssize_t made = 0
        cdef size_t status
        source.src, source.size, source.pos = data, size, 0
        while True:
            out.dst, out.size, out.pos = self._out, OUT_BYTES, 0
            status = ZSTD_decompressStream(self._context, &out, &source)
            if ZSTD_isError(status):
                raise RuntimeError(ZSTD_getErrorName(status).decode())
            made += out.pos
            if source.pos == source.size and out.pos < OUT_BYTES:
                return made
