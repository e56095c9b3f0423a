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
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int64_t
from libc.string cimport memchr, memcmp

from .errors import DecodeError, MessageTooBig

# Of `d` in a message that is no dispatch. These are parsed at once, whoever sends them: 64 MB of
# empty objects would take 1.3 GB. The largest that Discord sends, HELLO, has 124 bytes.
cdef Py_ssize_t MAX_OTHER_BYTES = 1024 * 1024

# The parts are compiled into this one module, each after those that it takes from.
include "_decode/scan.pxd"
include "_decode/text.pyx"
include "_decode/routes.pyx"
include "_decode/fields.pyx"
include "_decode/filters.pyx"
include "_decode/early.pyx"
include "_decode/typed.pyx"
include "_decode/event.pyx"
include "_decode/plan.pyx"
include "_decode/assembler.pyx"
include "_decode/zstd.pyx"
include "_decode/inflater.pyx"

cdef str _simd = fgw_look_at_processor().decode()


def simd():
    """Which instructions scan: "avx2", "sse2", "neon" or "none"."""
    return _simd


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
        cdef fgw_envelope found
        cdef void* slot
        cdef Route route
        self.bytes_decoded += size
        if not fgw_match_envelope(p, p + size, &found) or fgw_may_hold_two(found.data, p + size):
            return self._walk(p, size, owner)
        slot = self.interests._lookup(found.name, found.name_size)
        if slot != NULL and (<Route>slot).plain and not (<Route>slot).wanted:
            # What _dispatch does for one that nobody wants, without touching a reference count.
            self.dispatches += 1
            (<Route>slot).seen += 1
            (<Route>slot).bytes += size
            self.sequence._accept(found.sequence)
            return None
        # A name on the wire may be escaped; the table holds names unescaped.
        if not (_is_plain_name(found.name, found.name_size) if slot == NULL
                else (<Route>slot).plain):
            return self._walk(p, size, owner)
        if slot == NULL:
            route = self.interests._route(PyBytes_FromStringAndSize(found.name, found.name_size))
        else:
            route = <Route>slot
        return self._dispatch(route, found.sequence, size, p, found.data, found.data_end, owner,
                              False)

    cdef object _dispatch(self, Route route, int64_t sequence, Py_ssize_t size, const char* p,
                          const char* data, const char* data_end, bytes owner, bint verified):
        """
        Count a dispatch and make what goes to the listener, unless nobody wants it.

        Args:
            sequence: -1: it had none.
            size: of the message as it came.
            p: the text in which d stands at [data, data_end); `owner` holds it, or is None.
        """
        self.dispatches += 1
        route.seen += 1
        route.bytes += size
        if sequence >= 0 and not self.sequence._accept(sequence) and not route.session_event:
            return None
        if not route.wanted:
            return None
        cdef object result
        cdef Plan plan
        cdef fgw_dispatch dispatch
        dispatch.message = p
        dispatch.size = size
        dispatch.start = data - p
        dispatch.end = data_end - p
        dispatch.verified = verified
        dispatch.sequence = sequence
        dispatch.shard_id = self.shard_id
        dispatch.received_at = self.received_at
        if route.plan is None:
            result = _new_event(route, &dispatch, owner)
        else:
            plan = <Plan>route.plan  # held: a finalizer may put another in its place
            result = plan._prepare(route, &dispatch, owner)
            if result is None:
                return None
        route.delivered += 1
        self.delivered += 1
        return result

    cdef object _walk(self, const char* p, Py_ssize_t size, bytes owner):
        """The general walk: members in any order, white space, escapes, missing members."""
        cdef const char* end = p + size
        cdef const char* cursor = fgw_skip_space(p, end)
        cdef fgw_member member
        cdef const char* data = NULL
        cdef const char* data_end = NULL
        cdef int64_t op = -1, sequence = -1
        cdef int more
        cdef bint first = True
        cdef const char* key
        cdef Py_ssize_t key_size
        cdef bytes escaped
        cdef object name = None
        if cursor >= end or cursor[0] != c'{':
            return self._parse_whole(p, size)
        cursor += 1
        while True:
            more = fgw_next_member(&cursor, end, first, &member)
            if more <= 0:
                break
            first = False
            key = member.key
            key_size = member.key_end - key
            if memchr(key, c"\\", key_size) != NULL:
                escaped = _parse(key - 1, member.key_end + 1).encode(errors="surrogatepass")
                key = PyBytes_AS_STRING(escaped)
                key_size = PyBytes_GET_SIZE(escaped)
            # A repeated member: the last counts, as everywhere in Python.
            if key_size == 2 and memcmp(key, b"op", 2) == 0:
                if not fgw_parse_int(member.value, member.value_end, &op):
                    op = -1
            elif key_size != 1:
                continue
            elif key[0] == c"d":
                data = member.value
                data_end = member.value_end
            elif key[0] == c"s":
                value = _parse_scalar(member.value, member.value_end)
                if type(value) is int and 0 <= value < 1 << 63:
                    sequence = value
                else:
                    sequence = -1
            elif key[0] == c"t":
                name = _parse_scalar(member.value, member.value_end)
        if more < 0 or fgw_skip_space(cursor, end) != end:
            return self._parse_whole(p, size)
        if op < 0 or op > 0x7FFFFFFF:
            raise DecodeError("message has no op")
        if op != 0:
            if data_end - data > MAX_OTHER_BYTES:
                raise MessageTooBig(data_end - data, MAX_OTHER_BYTES)
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
            p = data = PyBytes_AS_STRING(owner)
            data_end = data + 4
        return self._dispatch(self.interests._route(_encode_name(name)), sequence, size, p, data,
                              data_end, owner, True)

    cdef object _parse_whole(self, const char* p, Py_ssize_t size):
        """The walk found no object: say what is wrong with the text."""
        value = _parse(p, p + size)
        if not isinstance(value, dict):
            raise DecodeError(f"message is a JSON {type(value).__name__}, not an object")
        # The walk is more lenient than orjson, so what orjson takes, it takes.
        raise DecodeError("message could not be read")
