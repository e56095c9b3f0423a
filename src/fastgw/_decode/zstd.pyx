# Part of _decode: the zstd frames of one connection, message by message. Takes _borrowed from text.

from cpython.bytes cimport PyBytes_GET_SIZE

import sys

from .errors import DecodeError, MessageTooBig

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

cdef extern from "Python.h":
    const Py_ssize_t PY_SSIZE_T_MAX

# RFC 8878 3.1.1.1.2: decoders should support windows of 8 MiB, encoders should not ask for more.
# Discord asks for 256 KiB. libzstd's own limit lets each connection allocate 128 MiB.
cdef int WINDOW_LOG_MAX = 23
# Discord's frame never ends, other servers send one a message. This lets a server through that ends
# one every 16 KiB of a guild of 2 MiB; each further one costs a context for as little as 9 bytes.
cdef Py_ssize_t MAX_FRAMES = 128

cdef object _ZstdError = zstd.ZstdError
cdef object _ZstdDecompressor = zstd.ZstdDecompressor
cdef object _frame_size = zstd.get_frame_size
cdef dict _OPTIONS = {zstd.DecompressionParameter.window_log_max: WINDOW_LOG_MAX}


cdef class ZstdStream:
    """
    Decompress what one connection receives: one websocket message is one gateway message.

    Discord's frame never ends. Other servers send a whole frame per message; so after the end of one
    a new context takes over, within the message or with the next.
    """

    def __cinit__(self, Py_ssize_t max_bytes):
        self._max_bytes = min(max_bytes, PY_SSIZE_T_MAX - 1)
        self._renew()

    cdef int _renew(self) except -1:
        self._context = _ZstdDecompressor(options=_OPTIONS)
        self._decompress = self._context.decompress
        self._frame_ended = False
        return 0

    cdef bytes _message(self, const char* p, Py_ssize_t size):
        """
        Decompress one message; cost and memory are bounded by its bytes on both sides.

        Returns:
            Its text; None if nothing came out.
        Raises:
            DecodeError: corrupt, or a window above 8 MiB.
            MessageTooBig: more than `max_bytes` come out, or more than 128 frames came in.
        """
        cdef bytes text
        cdef Py_ssize_t rest
        try:
            if self._frame_ended:
                self._renew()
            text = self._decompress(_borrowed(p, size), self._max_bytes + 1)
            if self._context.eof:
                self._frame_ended = True
                rest = len(self._context.unused_data)
                if rest and PyBytes_GET_SIZE(text) <= self._max_bytes:
                    text = b"".join(self._further_frames(p + size - rest, rest, text))
        except _ZstdError as error:
            raise DecodeError(f"zstd stream is corrupt: {error}") from error
        if PyBytes_GET_SIZE(text) > self._max_bytes:
            raise MessageTooBig(PyBytes_GET_SIZE(text), self._max_bytes)
        return text or None

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
                step = _frame_size(_borrowed(p, size))
            except _ZstdError:
                step = size  # it goes on in the next message, or is corrupt
            self._renew()
            text = self._decompress(_borrowed(p, step), self._max_bytes + 1 - total)
            self._frame_ended = self._context.eof
            pieces.append(text)
            total += PyBytes_GET_SIZE(text)
            p += step
            size -= step
        return pieces
