# Part of _decode: pieces of JSON text as values, keys, names, ids. Takes the walks of scan.pxd.

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.memoryview cimport PyMemoryView_FromMemory
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.stdint cimport int64_t
from libc.string cimport memchr, memcmp

import orjson

from .errors import DecodeError

cdef extern from "Python.h":
    const int PyBUF_READ

cdef object _loads = orjson.loads
cdef object _JSONDecodeError = orjson.JSONDecodeError


cdef object _parse(const char* p, const char* end):
    raw = PyBytes_FromStringAndSize(p, end - p)
    try:
        return _loads(raw)
    except _JSONDecodeError as error:
        offset = _error_offset(raw, error)
        raise DecodeError(f"message is not JSON at byte {offset}: {error.msg}",
                          offset=offset) from error


cdef object _parse_scalar(const char* p, const char* end):
    """The value, or None for a container: it could cost twenty times its bytes in memory."""
    return None if p[0] == c"{" or p[0] == c"[" else _parse(p, end)


cdef Py_ssize_t _error_offset(bytes raw, error) except -1:
    """The byte at which orjson gave up: it counts characters, and says 0 for bad UTF-8."""
    try:
        text = raw.decode()
    except UnicodeDecodeError as bad:
        return bad.start
    return len(text[:error.pos].encode())


cdef bint _is_key(fgw_member* member, const char* wanted, Py_ssize_t wanted_size) except -1:
    cdef Py_ssize_t size = member.key_end - member.key
    if memchr(member.key, b"\\", size) != NULL:
        return _parse(member.key - 1, member.key_end + 1) == wanted[:wanted_size].decode()
    return size == wanted_size and memcmp(member.key, wanted, size) == 0


cdef int64_t _snowflake(const char* p, const char* end) except? -2:
    """The snowflake in the JSON value [p, end): digits bare or in a string; -1 if it is none."""
    cdef int64_t number = -1
    cdef bytes text
    if p[0] == c'"':
        if memchr(p, c'\\', end - p) != NULL:
            # Digits may be escaped like any character; nobody does, so it may be slow.
            text = (<str>_parse(p, end)).encode()
            p = PyBytes_AS_STRING(text)
            end = p + PyBytes_GET_SIZE(text)
        else:
            p += 1
            end -= 1
    if not fgw_parse_snowflake(p, end, &number):
        return -1
    return number


cdef bint _is_plain_name(const char* p, Py_ssize_t size) noexcept:
    cdef Py_ssize_t i
    for i in range(size):
        if not (c'A' <= p[i] <= c'Z' or c'0' <= p[i] <= c'9' or p[i] == c'_'):
            return False
    return True


cdef bytes _encode_name(str name):
    try:
        return name.encode()
    except UnicodeEncodeError:
        raise DecodeError("event name is not valid Unicode") from None


cdef int _validate_utf8(const char* p, Py_ssize_t size) except -1:
    try:
        PyUnicode_DecodeUTF8(<char*>p, size, NULL)
    except UnicodeDecodeError as error:
        raise DecodeError(f"text message is not UTF-8 at byte {error.start}",
                          close_code=1007, offset=error.start) from None
    return 0


cdef str _shown(str name):
    """A name as errors and logs show it: a peer chooses how long it is."""
    return name if len(name) <= 100 else f"{name[:100]}..."


cdef object _borrowed(const char* p, Py_ssize_t size):
    """Bytes for a function of Python that does not keep them: small ones copied, others a view."""
    if size < 4096:
        return PyBytes_FromStringAndSize(p, size)
    return PyMemoryView_FromMemory(<char*>p, size, PyBUF_READ)
