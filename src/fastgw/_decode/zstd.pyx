# Part of _decode: the zstd frames of one connection, message by message. Takes _borrowed from text,
# libzstd from _zstd.h if the build found it; else the Python package serves.

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from libc.string cimport memcpy

import sys

from .errors import DecodeError, MessageTooBig

cdef extern from "Python.h":
    const Py_ssize_t PY_SSIZE_T_MAX

cdef extern from "_zstd.h":
    const char* FASTGW_ZSTD
    ctypedef struct ZSTD_inBuffer:
        const void* src
        size_t size
        size_t pos
    ctypedef struct ZSTD_outBuffer:
        void* dst
        size_t size
        size_t pos
    ctypedef int ZSTD_dParameter
    ZSTD_dParameter ZSTD_d_windowLogMax
    const char* ZSTD_versionString()
    fgw_zstd_context* ZSTD_createDCtx()
    size_t ZSTD_freeDCtx(fgw_zstd_context* context)
    size_t ZSTD_DCtx_setParameter(fgw_zstd_context* context, ZSTD_dParameter name, int value)
    size_t ZSTD_decompressStream(
        fgw_zstd_context* context, ZSTD_outBuffer* output, ZSTD_inBuffer* input)
    unsigned ZSTD_isError(size_t code)
    const char* ZSTD_getErrorName(size_t code)

# RFC 8878 3.1.1.1.2: decoders should support windows of 8 MiB, encoders should not ask for more.
# Discord asks for 256 KiB. libzstd's own limit lets each connection allocate 128 MiB.
cdef int WINDOW_LOG_MAX = 23
# Discord's frame never ends, other servers send one a message. This lets a server through that ends
# one every 16 KiB of a guild of 2 MiB; each further one costs a context for as little as 9 bytes.
cdef Py_ssize_t MAX_FRAMES = 128
# Of the one buffer that the messages of a process are decompressed into. A larger message gets a
# larger one, which goes back after it; pages that nothing was written to cost nothing.
cdef Py_ssize_t OUTPUT_BYTES = 1024 * 1024

# The buffer, when it is not lent: it may be asked for while it is, as making an object can run the
# garbage collector, and that any code.
cdef char* _spare = NULL

cdef object _package = None         # the module, once somebody needs it
cdef bint _by_library = FASTGW_ZSTD[0] != 0


def zstd_library():
    """How libzstd is linked and its version, such as ("static", "1.5.4"); None without it."""
    if not FASTGW_ZSTD[0]:
        return None
    return FASTGW_ZSTD.decode(), ZSTD_versionString().decode()


def zstd_package():
    """Name and version of libzstd in the package that serves where this module has none."""
    package = _load_package()
    return package.__name__, package.zstd_version


def use_zstd(str kind not None):
    """
    Let streams made from here on be decompressed by "library" or "package": for tests.

    Returns:
        Which one it was.
    Raises:
        ValueError: neither, or the library that is not in.
    """
    global _by_library
    if kind not in ("library", "package") or (kind == "library" and not FASTGW_ZSTD[0]):
        raise ValueError(f"there is no zstd {kind!r} in this build")
    before = "library" if _by_library else "package"
    _by_library = kind == "library"
    return before


cdef object _load_package():
    global _package
    if _package is None:
        if sys.version_info >= (3, 14):
            from compression import zstd
        else:
            from backports import zstd
        _package = zstd
    return _package


cdef _ZstdStream _new_zstd_stream(Py_ssize_t max_bytes):
    return _LibraryZstd(max_bytes) if _by_library else _PackageZstd(max_bytes)


cdef class _ZstdStream:
    """
    What one connection receives, one websocket message being one gateway message.

    Discord's frame never ends. Other servers send a whole frame per message; so after the end of one
    the next begins, within the message or with the next.
    """

    def __cinit__(self, Py_ssize_t max_bytes):
        self._max_bytes = min(max_bytes, PY_SSIZE_T_MAX - 1)

    cdef int _decompress(self, const char* p, Py_ssize_t size) except -1:
        """
        Decompress one message; cost and memory are bounded by its bytes on both sides.

        Raises:
            DecodeError: corrupt, or a window above 8 MiB.
            MessageTooBig: more than `max_bytes` come out, or more than 128 frames came in.
            Call `_release` after an error, too.
        """
        raise NotImplementedError

    cdef void _release(self) noexcept:
        self._text = NULL
        self._size = 0
        self._owner = None


@cython.final
cdef class _LibraryZstd(_ZstdStream):
    """By libzstd itself, into the buffer of the process: 0.85 of the package's time a message."""

    def __cinit__(self, Py_ssize_t max_bytes):
        self._context = ZSTD_createDCtx()
        if self._context == NULL:
            raise MemoryError
        ZSTD_DCtx_setParameter(self._context, ZSTD_d_windowLogMax, WINDOW_LOG_MAX)

    def __dealloc__(self):
        ZSTD_freeDCtx(self._context)
        PyMem_Free(self._output)

    cdef int _decompress(self, const char* p, Py_ssize_t size) except -1:
        global _spare
        if size == 0:
            return 0  # libzstd takes a row of calls without progress for an error
        self._output = _spare
        self._capacity = OUTPUT_BYTES
        _spare = NULL
        if self._output == NULL:
            self._output = <char*>PyMem_Malloc(OUTPUT_BYTES)
            if self._output == NULL:
                raise MemoryError
        self._fill(p, size)
        self._text = self._output
        return 0

    cdef int _fill(self, const char* p, Py_ssize_t size) except -1:
        cdef ZSTD_inBuffer source
        cdef ZSTD_outBuffer output
        cdef Py_ssize_t frames = 1
        cdef size_t code
        source.src = p
        source.size = size
        source.pos = 0
        output.pos = 0
        while True:
            # One byte more than is allowed shows a message that is too big, and no more is made.
            output.dst = self._output
            output.size = min(self._capacity, self._max_bytes + 1)
            code = ZSTD_decompressStream(self._context, &output, &source)
            if ZSTD_isError(code):
                raise DecodeError(f"zstd stream is corrupt: {ZSTD_getErrorName(code).decode()}")
            if <Py_ssize_t>output.pos > self._max_bytes:
                raise MessageTooBig(output.pos, self._max_bytes)
            if code == 0:  # the end of a frame, and all of it is out
                if source.pos == source.size:
                    break
                frames += 1
                if frames > MAX_FRAMES:
                    raise MessageTooBig(frames, MAX_FRAMES, "zstd frames")
            elif output.pos == output.size:
                self._grow(output.pos)  # there may be more, also where all input was taken
            elif source.pos == source.size:
                break
        self._size = output.pos
        return 0

    cdef int _grow(self, Py_ssize_t used) except -1:
        cdef Py_ssize_t capacity = min(2 * self._capacity, self._max_bytes + 1)
        cdef char* output
        if capacity <= self._capacity:
            return 0
        output = <char*>PyMem_Malloc(capacity)
        if output == NULL:
            raise MemoryError
        memcpy(output, self._output, used)
        self._give_back()
        self._output = output
        self._capacity = capacity
        return 0

    cdef void _release(self) noexcept:
        self._text = NULL
        self._size = 0
        self._give_back()

    cdef void _give_back(self) noexcept:
        global _spare
        if self._capacity == OUTPUT_BYTES and _spare == NULL:
            _spare = self._output
        else:
            PyMem_Free(self._output)
        self._output = NULL


@cython.final
cdef class _PackageZstd(_ZstdStream):
    """By the package: `compression.zstd`, or `backports.zstd` before Python 3.14."""

    def __cinit__(self, Py_ssize_t max_bytes):
        self._renew()

    cdef int _renew(self) except -1:
        package = _load_package()
        options = {package.DecompressionParameter.window_log_max: WINDOW_LOG_MAX}
        self._context = package.ZstdDecompressor(options=options)
        self._frame_ended = False
        return 0

    cdef int _decompress(self, const char* p, Py_ssize_t size) except -1:
        cdef bytes text
        cdef Py_ssize_t rest
        try:
            if self._frame_ended:
                self._renew()
            text = self._context.decompress(_borrowed(p, size), self._max_bytes + 1)
            if self._context.eof:
                self._frame_ended = True
                rest = len(self._context.unused_data)
                if rest and PyBytes_GET_SIZE(text) <= self._max_bytes:
                    text = b"".join(self._further_frames(p + size - rest, rest, text))
        except _package.ZstdError as error:
            raise DecodeError(f"zstd stream is corrupt: {error}") from error
        if PyBytes_GET_SIZE(text) > self._max_bytes:
            raise MessageTooBig(PyBytes_GET_SIZE(text), self._max_bytes)
        self._text = PyBytes_AS_STRING(text)
        self._size = PyBytes_GET_SIZE(text)
        self._owner = text
        return 0

    cdef list _further_frames(self, const char* p, Py_ssize_t size, bytes first):
        # Each context gets its own frame and no more, as it would copy the rest: n frames would
        # cost n times the message.
        cdef list pieces = [first]
        cdef Py_ssize_t frames = 1, total = PyBytes_GET_SIZE(first), step
        cdef bytes text
        while size and total <= self._max_bytes:
            frames += 1
            if frames > MAX_FRAMES:
                raise MessageTooBig(frames, MAX_FRAMES, "zstd frames")
            try:
                step = _package.get_frame_size(_borrowed(p, size))
            except _package.ZstdError:
                step = size  # it goes on in the next message, or is corrupt
            self._renew()
            text = self._context.decompress(_borrowed(p, step), self._max_bytes + 1 - total)
            self._frame_ended = self._context.eof
            pieces.append(text)
            total += PyBytes_GET_SIZE(text)
            p += step
            size -= step
        return pieces
