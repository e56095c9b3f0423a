# Part of _decode: gateway messages from websocket messages, by the compression agreed on. Takes
# Assembler from assembler, _new_zstd_stream from zstd, _validate_utf8 and _borrowed from text.

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.string cimport memcmp

from zlib_ng import zlib_ng

from .errors import DecodeError, MessageTooBig, NotCompressed

cdef enum:
    TIMED_EVERY = 64                # messages; a power of two
    NONE = 0
    ZLIB_STREAM = 1
    ZSTD_STREAM = 2
    PAYLOAD = 3

cdef dict _MODES = {
    "none": NONE, "zlib-stream": ZLIB_STREAM, "zstd-stream": ZSTD_STREAM, "payload": PAYLOAD,
}

cdef object _ZlibError = zlib_ng.error
# Z_SYNC_FLUSH ends with an empty stored block (Discord docs, "Transport compression").
cdef bytes _SUFFIX = b"\x00\x00\xff\xff"


cdef class Inflater(Assembler):
    """
    An assembler that decompresses; by itself it returns each gateway message as bytes.

    Args:
        compression: "none", "zlib-stream", "zstd-stream" or "payload".
        max_message_bytes: also caps the decompressed size, while it is produced.
        max_fragments, strict: see Assembler.
    Raises:
        ValueError: unknown compression, limits below 1.

    On a connection with a compressed stream text messages are errors: the service sends none.
    """

    def __init__(self, *, str compression="none", Py_ssize_t max_message_bytes=67_108_864,
                 Py_ssize_t max_fragments=65_536, bint strict=False):
        Assembler.__init__(self, max_message_bytes=max_message_bytes,
                           max_fragments=max_fragments, strict=strict)
        if compression not in _MODES:
            raise ValueError(f"compression {compression!r} is not one of {', '.join(_MODES)}")
        self.compression = compression
        self._mode = _MODES[compression]
        self._cap = min(max_message_bytes, PY_SSIZE_T_MAX - 1) + 1
        self._renew_context()

    def reset(self):
        """Begin anew, as on a fresh connection: drop fragments, contexts and buffer."""
        Assembler.reset(self)
        self._pending = 0
        self._renew_context()

    cdef int _renew_context(self) except -1:
        if self._mode == ZLIB_STREAM:
            self._decompressor = zlib_ng.decompressobj()
            self._decompress = self._decompressor.decompress
        elif self._mode == ZSTD_STREAM:
            self._zstd = _new_zstd_stream(self.max_message_bytes)
        return 0

    @property
    def decompression_s(self):
        """Seconds of decompression, reckoned from one message in 64; 0 without a clock."""
        return TIMED_EVERY * self._decompression_s

    @property
    def decode_s(self):
        """Seconds of the rest, up to the event; reckoned alike."""
        return TIMED_EVERY * self._decode_s

    cdef object _complete(self, const char* p, Py_ssize_t size, int opcode):
        cdef bytes text
        if (self.messages & (TIMED_EVERY - 1)) == 0 and not self._is_timed and self._clock != NULL:
            return self._time(p, size, opcode)
        if self._mode == NONE or (self._mode == PAYLOAD and opcode == 1):
            if self._strict and opcode == 1:
                _validate_utf8(p, size)
            return self._message(p, size, None)
        if opcode == 1:
            raise NotCompressed(self.compression)
        if self._mode == ZSTD_STREAM:
            return self._unzstd(p, size)
        if self._mode == PAYLOAD:
            text = self._inflate_one(p, size)
        else:
            text = self._inflate(p, size)
        if text is None:
            return None
        if self._is_timed:
            self._inflated_at = self._clock()
        return self._message(PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text), text)

    cdef object _time(self, const char* p, Py_ssize_t size, int opcode):
        """Complete a message, and see how long it takes."""
        cdef double began_at = self._clock()
        self._inflated_at = began_at
        self._is_timed = True
        try:
            return self._complete(p, size, opcode)
        finally:
            self._is_timed = False
            self._decompression_s += self._inflated_at - began_at
            self._decode_s += self._clock() - self._inflated_at

    cdef object _message(self, const char* p, Py_ssize_t size, bytes owner):
        """Take one gateway message; `owner` holds it, or is None while the buffer is borrowed."""
        return PyBytes_FromStringAndSize(p, size) if owner is None else owner

    # zlib-stream: one context, a gateway message ends where the data ends with 00 00 FF FF; it may
    # span several websocket messages, and the suffix itself may be split between them. The parts
    # are gathered in the assembler's buffer.

    cdef object _joined(self, int opcode):
        cdef Py_ssize_t size
        if self._mode != ZLIB_STREAM or opcode == 1:
            return Assembler._joined(self, opcode)
        size = self._size
        if not _ends_with_flush(self._buffer, size):
            self._pending = size
            return None
        self._pending = 0
        return Assembler._joined(self, opcode)

    cdef bytes _inflate(self, const char* p, Py_ssize_t size):
        if p != self._buffer and (self._pending or not _ends_with_flush(p, size)):
            self._append(p, size)
            if not _ends_with_flush(self._buffer, self._size):
                self._pending = self._size
                return None
            p = self._buffer
            size = self._size
            self._size = 0
            self._pending = 0
        try:
            text = self._decompress(_borrowed(p, size), self._cap)
        except _ZlibError as error:
            raise DecodeError(f"zlib stream is corrupt: {error}") from error
        finally:
            self._give_back()
        if PyBytes_GET_SIZE(text) > self.max_message_bytes:
            raise MessageTooBig(PyBytes_GET_SIZE(text), self.max_message_bytes)
        if self._decompressor.eof:
            # What follows the end would be lost: it is no part of this stream. The message's own
            # suffix may follow, as without it nobody would have looked.
            if PyBytes_GET_SIZE(text) == 0 or self._decompressor.unused_data not in (b"", _SUFFIX):
                raise DecodeError("zlib stream has ended")
        return text or None

    cdef bytes _inflate_one(self, const char* p, Py_ssize_t size):
        decompressor = zlib_ng.decompressobj()
        try:
            text = decompressor.decompress(_borrowed(p, size), self._cap)
        except _ZlibError as error:
            raise DecodeError(f"zlib message is corrupt: {error}") from error
        if PyBytes_GET_SIZE(text) > self.max_message_bytes:
            raise MessageTooBig(PyBytes_GET_SIZE(text), self.max_message_bytes)
        if not decompressor.eof:
            raise DecodeError("zlib message breaks off")
        if decompressor.unused_data:
            raise DecodeError("zlib message goes on behind its end")
        return text

    cdef object _unzstd(self, const char* p, Py_ssize_t size):
        try:
            self._zstd._decompress(p, size)
            if self._zstd._size == 0:
                return None
            if self._is_timed:
                self._inflated_at = self._clock()
            return self._message(self._zstd._text, self._zstd._size, self._zstd._owner)
        finally:
            self._zstd._release()


cdef bint _ends_with_flush(const char* p, Py_ssize_t size) noexcept:
    return size >= 4 and memcmp(p + size - 4, PyBytes_AS_STRING(_SUFFIX), 4) == 0
