"""
From websocket frames to events: assemble, decompress, scan the envelope, route.

Theory. `Assembler` joins the fragments of a websocket message (RFC 6455 5.4) in one reused buffer;
`Decoder` is an assembler that knows what a gateway message is. It inflates the message, reads the
envelope (`t`, `s`, `op` and where `d` stands) without parsing it, and looks the name up in
`Interests`, a hash table of byte strings. A dispatch that nobody wants ends there: its sequence is
stored, its counters move, no Python object was made. A wanted one becomes an `Event`, which owns
the message's bytes and parses `d` when somebody looks.

The scanner never guesses. The template `{"t":"NAME","s":N,"op":0,"d":...}`, which is what Discord
has sent since 2018, is matched from byte 0; everything else takes a depth-aware walk over the
envelope's members; what the walk cannot read is parsed whole, and only if that fails is it an error.

One decoder serves one connection and one thread: contexts are never reused. This module knows no
socket, loop or clock; tests/reference_decoder.py says the same in plain Python.
"""

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Free, PyMem_Malloc, PyMem_Realloc
from cpython.memoryview cimport PyMemoryView_FromMemory
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memchr, memcmp, memcpy, memset

import sys

import orjson
from zlib_ng import zlib_ng

from .errors import DecodeError, MessageTooBig, ProtocolError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

cdef extern from "_scan.h" nogil:
    ctypedef struct fgw_member:
        const char* key
        const char* key_end
        const char* value
        const char* value_end
    const char* fgw_skip_space(const char* p, const char* end)
    const char* fgw_skip_value(const char* p, const char* end)
    int fgw_next_member(const char** cursor, const char* end, int first, fgw_member* member)
    int fgw_parse_int(const char* p, const char* end, int64_t* out)
    int fgw_parse_snowflake(const char* p, const char* end, int64_t* out)
    uint64_t fgw_hash_name(const char* p, Py_ssize_t size)

cdef extern from "Python.h":
    const int PyBUF_READ
    const Py_ssize_t PY_SSIZE_T_MAX

# A buffer at or under this size is kept between messages; a larger one goes back after use.
cdef Py_ssize_t KEPT_BYTES = 16 * 1024
# Names beyond these are not entered in the table: nothing a peer sends may grow it for ever.
cdef Py_ssize_t MAX_NAMES = 2048
cdef Py_ssize_t MAX_NAME_BYTES = 128
# From here on a copy of d for orjson costs more than the memoryview that avoids it.
cdef Py_ssize_t VIEW_BYTES = 32 * 1024

cdef object _loads = orjson.loads
cdef object _JSONDecodeError = orjson.JSONDecodeError

# Events that begin a session or end a replay (Discord docs, "Resuming"): never dropped, whatever
# their sequence.
cdef frozenset _SESSION_EVENTS = frozenset((b"READY", b"RESUMED"))
# The guild object itself is `d` (Discord docs, "Gateway Events").
cdef frozenset _GUILD_OBJECT_EVENTS = frozenset((b"GUILD_CREATE", b"GUILD_UPDATE", b"GUILD_DELETE"))

include "_decode/routes.pyx"
include "_decode/event.pyx"
include "_decode/assembler.pyx"
include "_decode/inflater.pyx"


@cython.final
cdef class Decoder(Inflater):
    """
    Turn the data frames of one connection into events and messages.

    Args:
        compression: "none", "zlib-stream", "zstd-stream" (what the URL asked for), or "payload"
            (Identify with `compress`: binary messages are zlib, text is plain).
        interests: an `Interests` shared with others, names, or None for every dispatch.
        sequence: the session's `Sequence`; a new one when None.
        shard_id: what events carry.
        max_message_bytes, max_fragments, strict: see Assembler; the first also caps the
            decompressed size, while it is produced.
    Raises:
        ValueError: unknown compression, limits below 1.

    Public counters: `messages` (websocket messages), `dispatches`, `delivered`, `bytes_received`
    (in frames), `bytes_decoded` (after decompression). `received_at` is what events will carry.
    """

    def __init__(self, *, str compression="none", interests=None, Sequence sequence=None,
                 int shard_id=0, Py_ssize_t max_message_bytes=67_108_864,
                 Py_ssize_t max_fragments=65_536, bint strict=False):
        Inflater.__init__(self, compression=compression, max_message_bytes=max_message_bytes,
                          max_fragments=max_fragments, strict=strict)
        if interests is None:
            interests = Interests()
            interests.want_everything()
        elif not isinstance(interests, Interests):
            interests = Interests(interests)
        self.interests = interests
        self.sequence = Sequence() if sequence is None else sequence
        self.shard_id = shard_id

    @property
    def dropped(self):
        """Dispatches that nobody wanted, or that a replay repeated."""
        return self.dispatches - self.delivered

    cdef object _message(self, const char* p, Py_ssize_t size, bytes owner):
        """
        Read the envelope of one message and route it.

        Args:
            p, size: the JSON text.
            owner: the bytes object that holds it, or None while it stands in a borrowed buffer.
        """
        cdef const char* end = p + size
        cdef const char* name
        cdef const char* cursor
        cdef int64_t sequence = 0
        cdef const char* digits
        cdef Py_ssize_t name_size, rest
        cdef void* slot
        cdef Route route
        self.bytes_decoded += size
        # {"t":"X","s":1,"op":0,"d":0} is the shortest message that fits the template
        if size < 28 or memcmp(p, b'{"t":"', 6) != 0 or (end - 1)[0] != c'}':
            return self._walk(p, size, owner)
        name = p + 6
        cursor = <const char*>memchr(name, b'"', size - 6)
        if cursor == NULL:
            return self._walk(p, size, owner)
        name_size = cursor - name
        rest = end - cursor
        # `","s":` + one digit + `,"op":0,"d":` + one byte + `}`
        if rest < 6 + 1 + 12 + 2 or memcmp(cursor, b'","s":', 6) != 0:
            return self._walk(p, size, owner)
        cursor += 6
        digits = cursor
        while cursor < end and c'0' <= cursor[0] <= c'9':
            if cursor - digits == 18:
                return self._walk(p, size, owner)  # int64 holds any 18 digits, not any 19
            sequence = sequence * 10 + (cursor[0] - c'0')
            cursor += 1
        if cursor == digits or (digits[0] == c'0' and cursor - digits > 1):
            return self._walk(p, size, owner)
        if end - cursor < 14 or memcmp(cursor, b',"op":0,"d":', 12) != 0:
            return self._walk(p, size, owner)
        cursor += 12
        if fgw_skip_space(cursor, end) != cursor:
            return self._walk(p, size, owner)
        slot = self.interests._lookup(name, name_size)
        if slot == NULL:
            if not _is_plain_name(name, name_size):
                return self._walk(p, size, owner)
            route = self.interests._route(PyBytes_FromStringAndSize(name, name_size))
        elif not (<Route>slot).plain:
            # A name on the wire may be escaped; the table holds names unescaped.
            return self._walk(p, size, owner)
        elif not (<Route>slot).wanted:
            # What _dispatch does for one that nobody wants, without touching a reference count.
            self.dispatches += 1
            (<Route>slot).seen += 1
            (<Route>slot).bytes += size
            self.sequence._accept(sequence)
            return None
        else:
            route = <Route>slot
        return self._dispatch(route, sequence, p, size, owner,
                              cursor - p, size - 1, False)

    cdef object _dispatch(self, Route route, int64_t sequence, const char* p, Py_ssize_t size,
                          bytes owner, Py_ssize_t start, Py_ssize_t end, bint verified):
        """Count a dispatch and make its event, unless nobody wants it. `sequence` -1: it had none."""
        self.dispatches += 1
        route.seen += 1
        route.bytes += size
        if sequence >= 0 and not self.sequence._accept(sequence) and not route.session_event:
            return None
        if not route.wanted:
            return None
        route.delivered += 1
        self.delivered += 1
        if owner is None:
            owner = PyBytes_FromStringAndSize(p, size)
        return _new_event(route, sequence, self.shard_id, self.received_at,
                          owner, start, end, verified)

    cdef object _walk(self, const char* p, Py_ssize_t size, bytes owner):
        """The general walk: members in any order, white space, escapes, missing members."""
        cdef const char* end = p + size
        cdef const char* cursor = fgw_skip_space(p, end)
        cdef fgw_member member
        cdef const char* data = NULL
        cdef const char* data_end = NULL
        cdef int64_t op = -1, sequence = -1, number
        cdef int more
        cdef bint first = True
        cdef object name = None
        if cursor >= end or cursor[0] != c'{':
            return self._parse_whole(p, size)
        cursor += 1
        while True:
            more = fgw_next_member(&cursor, end, first, &member)
            if more <= 0:
                break
            first = False
            key = PyBytes_FromStringAndSize(member.key, member.key_end - member.key)
            if b"\\" in key:
                key = _parse(member.key - 1, member.key_end + 1).encode(errors="surrogatepass")
            # A repeated member: the last counts, as everywhere in Python.
            if key == b"d":
                data = member.value
                data_end = member.value_end
            elif key == b"op":
                if not fgw_parse_int(member.value, member.value_end, &op):
                    op = -1
            elif key == b"s":
                value = _parse(member.value, member.value_end)
                if type(value) is int and 0 <= value < 1 << 63:
                    sequence = value
                else:
                    sequence = -1
            elif key == b"t":
                name = _parse(member.value, member.value_end)
        if more < 0 or fgw_skip_space(cursor, end) != end:
            return self._parse_whole(p, size)
        if op < 0 or op > 0x7FFFFFFF:
            raise DecodeError("message has no op")
        if op != 0:
            return Message(
                <int>op,
                None if data == NULL else _parse(data, data_end),
                None if sequence < 0 else sequence,
                name if type(name) is str else None,
            )
        if type(name) is not str:
            # A dispatch without a name cannot be wanted, but its sequence counts.
            self.dispatches += 1
            if sequence >= 0:
                self.sequence._accept(sequence)
            return None
        if data == NULL:
            # Without `d` the event's data is null; it needs a message that says so.
            owner = b"null"
            return self._dispatch(self.interests._route(_encode_name(name)), sequence, p, size,
                                  owner, 0, 4, True)
        return self._dispatch(self.interests._route(_encode_name(name)), sequence, p, size, owner,
                              data - p, data_end - p, True)

    cdef object _parse_whole(self, const char* p, Py_ssize_t size):
        """The walk found no object: say what is wrong with the text."""
        value = _parse(p, p + size)
        if not isinstance(value, dict):
            raise DecodeError(f"message is a JSON {type(value).__name__}, not an object")
        # The walk is more lenient than orjson, so what orjson takes, it takes.
        raise DecodeError("message could not be read")


cdef object _parse(const char* p, const char* end):
    raw = PyBytes_FromStringAndSize(p, end - p)
    try:
        return _loads(raw)
    except _JSONDecodeError as error:
        offset = _error_offset(raw, error)
        raise DecodeError(f"message is not JSON at byte {offset}: {error.msg}",
                          offset=offset) from error


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
