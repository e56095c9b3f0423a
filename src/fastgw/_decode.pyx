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

cdef enum:
    NONE = 0
    ZLIB_STREAM = 1
    ZSTD_STREAM = 2
    PAYLOAD = 3

cdef dict _MODES = {
    "none": NONE, "zlib-stream": ZLIB_STREAM, "zstd-stream": ZSTD_STREAM, "payload": PAYLOAD,
}

# A buffer at or under this size is kept between messages; a larger one goes back after use.
cdef Py_ssize_t KEPT_BYTES = 16 * 1024
# Names beyond these are not entered in the table: nothing a peer sends may grow it for ever.
cdef Py_ssize_t MAX_NAMES = 2048
cdef Py_ssize_t MAX_NAME_BYTES = 128
# From here on a copy of d for orjson costs more than the memoryview that avoids it.
cdef Py_ssize_t VIEW_BYTES = 32 * 1024

cdef object _loads = orjson.loads
cdef object _JSONDecodeError = orjson.JSONDecodeError
cdef object _ZlibError = zlib_ng.error
cdef object _ZstdError = zstd.ZstdError
cdef object _ZstdDecompressor = zstd.ZstdDecompressor

# Events that end or begin a replay: never dropped, whatever their sequence (protocol.md, section 6).
cdef frozenset _SESSION_EVENTS = frozenset((b"READY", b"RESUMED"))
# The guild object itself is `d` (Discord docs, "Gateway Events").
cdef frozenset _GUILD_OBJECT_EVENTS = frozenset((b"GUILD_CREATE", b"GUILD_UPDATE", b"GUILD_DELETE"))


@cython.final
cdef class Sequence:
    """
    The sequence of one session: what a heartbeat and a RESUME carry.

    The protocol owns it and says when a session or a replay begins and ends; the decoder of the
    current connection advances it on every dispatch, wanted or not. It never moves backwards.

    Attributes:
        last: sequence of the newest dispatch of this session, None before the first.
        replaying: between RESUME and RESUMED.
        duplicates: dispatches dropped because they had been received before the drop.
        gaps: how often a sequence did not follow its predecessor; `missing`: by how much in all.
        replayed: dispatches accepted during replays.
    """

    def __cinit__(self):
        self._last = -1
        self._floor = -1

    def __init__(self, last=None):
        self.restore(last)

    @property
    def last(self):
        return None if self._last < 0 else self._last

    def clear(self):
        """Forget the sequence: a new session begins. The counters stay."""
        self._last = -1
        self.end_replay()

    def restore(self, last):
        """Continue a stored session whose newest dispatch was `last` (None: it had none)."""
        self._last = -1 if last is None else last
        self.end_replay()

    def start_replay(self):
        """From here until `end_replay`, drop dispatches up to today's `last` as duplicates."""
        self.replaying = True
        self._floor = self._last

    def end_replay(self):
        """The replay is over: from here on nothing is dropped by sequence."""
        self.replaying = False
        self._floor = -1

    def __repr__(self):
        return f"<Sequence last={self.last}{' replaying' if self.replaying else ''}>"

    cdef bint _accept(self, int64_t sequence) noexcept:
        if sequence <= self._last:
            # Outside a replay an old or repeated sequence is passed on: some servers start at 0
            # or repeat it, and delivery is "never, once or several times" by contract.
            if self.replaying and sequence <= self._floor:
                self.duplicates += 1
                return False
        else:
            if sequence != self._last + 1 and self._last >= 0:
                self.gaps += 1
                self.missing += sequence - self._last - 1
            self._last = sequence
        if self.replaying:
            self.replayed += 1
        return True


@cython.final
cdef class Route:
    """What is known of one event name: who wants it, and how often it came."""


cdef Route _new_route(bytes key):
    cdef Route route = Route.__new__(Route)
    route.key = key
    route.name = key.decode()
    route.hash = fgw_hash_name(PyBytes_AS_STRING(key), PyBytes_GET_SIZE(key))
    route.plain = _is_plain_name(PyBytes_AS_STRING(key), PyBytes_GET_SIZE(key))
    route.session_event = key in _SESSION_EVENTS
    route.guild_is_id = key in _GUILD_OBJECT_EVENTS
    return route


@cython.final
cdef class Interests:
    """
    Which dispatches are wanted, by whom, and how many of each name came.

    One table serves all decoders of a gateway. It may change at any time, also from a handler;
    the next message sees the change. Looking a name up makes no Python object.

    Args:
        names: names wanted from the start, without a target.
        internal: names the library itself needs: they stay wanted whatever users forget.
    """

    def __cinit__(self):
        self._routes = []
        self._mask = 255
        self._slots = <void**>PyMem_Malloc((self._mask + 1) * sizeof(void*))
        if self._slots == NULL:
            raise MemoryError
        memset(self._slots, 0, (self._mask + 1) * sizeof(void*))

    def __init__(self, names=(), *, internal=()):
        if isinstance(names, str):
            raise TypeError(f"names are a collection of strings, not the string {names!r}")
        for name in names:
            self.want(name)
        for name in internal:
            self.want(name, internal=True)

    def __dealloc__(self):
        PyMem_Free(self._slots)

    def want(self, str name not None, target=None, *, bint internal=False):
        """
        Want dispatches called `name`.

        Args:
            target: called by the listener with each Event, or None (the event is only returned).
            internal: for the library itself; independent of what users want, and permanent.
        """
        cdef Route route = self._route(name.encode(), True)
        if internal:
            route.internal = True
        else:
            route.own = True
            route.own_target = target
        self._refresh(route)

    def forget(self, str name not None):
        """Users no longer want `name` by itself; "everything" and internal wants stay."""
        cdef Route route = self._route(name.encode())
        route.own = False
        route.own_target = None
        self._refresh(route)

    def want_everything(self, target=None):
        """Want every dispatch; names wanted by themselves keep their own target."""
        self._everything = True
        self._everything_target = target
        for route in self._routes:
            self._refresh(route)

    def forget_everything(self):
        """Take `want_everything` back."""
        self._everything = False
        self._everything_target = None
        for route in self._routes:
            self._refresh(route)

    def is_wanted(self, str name not None):
        """Tell whether a dispatch called `name` would be delivered."""
        cdef bytes key = name.encode()
        cdef Route route = self._find(PyBytes_AS_STRING(key), PyBytes_GET_SIZE(key))
        return self._everything if route is None else route.wanted

    def counters(self):
        """
        Count what came, by name, dropped events included.

        Returns:
            {name: (seen, delivered, bytes)}; bytes are of whole decompressed messages. At most
            2048 names are told apart.
        """
        cdef Route route
        return {
            route.name: (route.seen, route.delivered, route.bytes)
            for route in self._routes if route.seen
        }

    cdef Route _find(self, const char* name, Py_ssize_t size):
        cdef uint64_t wanted_hash = fgw_hash_name(name, size)
        cdef size_t index = <size_t>wanted_hash & self._mask
        cdef Route route
        while self._slots[index] != NULL:
            route = <Route>self._slots[index]
            if (route.hash == wanted_hash and PyBytes_GET_SIZE(route.key) == size
                    and memcmp(PyBytes_AS_STRING(route.key), name, size) == 0):
                return route
            index = (index + 1) & self._mask
        return None

    cdef Route _route(self, bytes name, bint keep=False):
        """
        The route of `name`; entered in the table if somebody wants it (`keep`), else only while
        the table is not full and the name not too long: a peer may not grow it for ever.
        """
        cdef Route route = self._find(PyBytes_AS_STRING(name), PyBytes_GET_SIZE(name))
        if route is None:
            route = _new_route(name)
            self._refresh(route)
            if keep or (len(self._routes) < MAX_NAMES
                        and PyBytes_GET_SIZE(name) <= MAX_NAME_BYTES):
                self._insert(route)
        return route

    cdef int _insert(self, Route route) except -1:
        cdef size_t index, old
        cdef void** slots
        cdef Route other
        if 2 * <size_t>(len(self._routes) + 1) > self._mask:
            slots = <void**>PyMem_Malloc(2 * (self._mask + 1) * sizeof(void*))
            if slots == NULL:
                raise MemoryError
            memset(slots, 0, 2 * (self._mask + 1) * sizeof(void*))
            PyMem_Free(self._slots)
            self._slots = slots
            self._mask = 2 * self._mask + 1
            for other in self._routes:
                self._place(other)
        self._routes.append(route)
        self._place(route)
        return 0

    cdef void _place(self, Route route) noexcept:
        cdef size_t index = <size_t>route.hash & self._mask
        while self._slots[index] != NULL:
            index = (index + 1) & self._mask
        self._slots[index] = <void*>route

    cdef int _refresh(self, Route route) except -1:
        route.wanted = route.own or route.internal or self._everything
        route.target = route.own_target if route.own else self._everything_target
        return 0


@cython.final
@cython.freelist(64)
@cython.no_gc
cdef class Event:
    """
    A wanted dispatch. Read-only; its data is parsed when first looked at.

    Attributes:
        name: the dispatch's name, such as "MESSAGE_CREATE".
        sequence: its `s`; -1 when the service sent none.
        shard_id: the shard that received it.
        received_at: monotonic seconds (`time.monotonic`), one clock reading per socket read.

    Owns the bytes of its message; keeping an event keeps them. It is not tracked by the garbage
    collector: an event put into its own `data` would never be freed.
    """

    def __init__(self):
        raise TypeError("events come from a Decoder; pickle or keep one, but do not make one")

    @property
    def name(self):
        self._check()
        return self._route.name

    @property
    def raw(self):
        """The JSON text of `d` as bytes: copied out of the message at each call."""
        self._check()
        self._verify()
        return PyBytes_FromStringAndSize(
            PyBytes_AS_STRING(self._message) + self._start, self._end - self._start)

    @property
    def data(self):
        """
        `d`, parsed by orjson at the first call and kept.

        All handlers of the event see the same object: who changes it changes it for the others.

        Raises:
            DecodeError: `d` is not JSON; the error names event, sequence and byte offset in `d`.
                The connection does not mind.
        """
        if not self._decoded:
            self._check()
            self._data = self._loads()
            self._decoded = True
            self._verified = True
        return self._data

    @property
    def guild_id(self):
        """
        The guild the event belongs to, as int, or None.

        That is `d.guild_id`, or `d.id` where `d` is the guild (GUILD_CREATE, GUILD_UPDATE,
        GUILD_DELETE). Read off the end of the message where Discord appends it, else found by a
        walk over the members of `d`; the first member so called counts. Nothing is parsed.
        """
        if not self._guild_known:
            self._check()
            self._find_guild()
            self._guild_known = True
        return None if self._guild_id < 0 else self._guild_id

    def __repr__(self):
        return f"<Event {self.name} sequence={self.sequence} shard_id={self.shard_id}>"

    def __reduce__(self):
        return _restore_event, (
            self.name, self.sequence, self.shard_id, self.received_at, self.raw)

    cdef int _check(self) except -1:
        if self._route is None:
            raise TypeError("events come from a Decoder; Event.__new__ does not make one")
        return 0

    cdef object _loads(self):
        cdef const char* p = PyBytes_AS_STRING(self._message) + self._start
        cdef Py_ssize_t size = self._end - self._start
        try:
            if size < VIEW_BYTES:
                return _loads(PyBytes_FromStringAndSize(p, size))
            return _loads(PyMemoryView_FromMemory(<char*>p, size, PyBUF_READ))
        except _JSONDecodeError as error:
            failure = error
        if not self._verified:
            # The message fitted the template but `d` was not its last member.
            self._verify()
            if self._end - self._start != size:
                return self._loads()
        raw = PyBytes_FromStringAndSize(p, size)
        offset = _error_offset(raw, failure)
        raise DecodeError(
            f"data of {self.name} (sequence {self.sequence}) is not JSON at byte {offset}: "
            f"{failure.msg}",
            offset=offset, name=self.name, sequence=self.sequence,
        ) from failure

    cdef int _verify(self) except -1:
        """Make sure that the span is d's and no member follows: walk to the end of d's value."""
        if self._verified:
            return 0
        cdef const char* base = PyBytes_AS_STRING(self._message)
        cdef const char* stop = fgw_skip_value(base + self._start, base + self._end)
        if stop != NULL and fgw_skip_space(stop, base + self._end) != base + self._end:
            self._end = stop - base
        self._verified = True
        return 0

    cdef int _find_guild(self) except -1:
        cdef const char* base = PyBytes_AS_STRING(self._message)
        cdef const char* start = base + self._start
        cdef const char* end = base + self._end
        cdef const char* p
        cdef const char* wanted = b"guild_id"
        cdef Py_ssize_t wanted_size = 8
        cdef fgw_member member
        cdef bint first = True
        self._guild_id = -1
        if self._route.guild_is_id:
            wanted = b"id"
            wanted_size = 2
        elif end - start > 34 and (end - 1)[0] == c'}' and (end - 2)[0] == c'"':
            # `,"guild_id":"<digits>"}` closes d: quotes inside strings are escaped, and the last
            # brace of d closes d itself, so this member is d's own (protocol.md, section 2).
            p = end - 3
            while p > start and c'0' <= p[0] <= c'9':
                p -= 1
            if (p - start >= 12 and memcmp(p - 12, b',"guild_id":"', 13) == 0
                    and fgw_parse_snowflake(p + 1, end - 2, &self._guild_id)):
                return 0
        if start >= end or start[0] != c'{':
            return 0
        p = start + 1
        while fgw_next_member(&p, end, first, &member) == 1:
            first = False
            try:
                if not _is_key(&member, wanted, wanted_size):
                    continue
                self._guild_id = _snowflake(member.value, member.value_end)
            except DecodeError:
                pass  # bad escapes: `data` will say so
            return 0
        return 0


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


cdef bint _is_key(fgw_member* member, const char* wanted, Py_ssize_t wanted_size) except -1:
    cdef Py_ssize_t size = member.key_end - member.key
    if memchr(member.key, b"\\", size) != NULL:
        return _parse(member.key - 1, member.key_end + 1) == wanted[:wanted_size].decode()
    return size == wanted_size and memcmp(member.key, wanted, size) == 0


cdef Event _new_event(Route route, int64_t sequence, int shard_id, double received_at,
                      bytes message, Py_ssize_t start, Py_ssize_t end, bint verified):
    cdef Event event = Event.__new__(Event)
    event._route = route
    event._message = message
    event._start = start
    event._end = end
    event.sequence = sequence
    event.shard_id = shard_id
    event.received_at = received_at
    event._verified = verified
    return event


def _restore_event(str name, int64_t sequence, int shard_id, double received_at, bytes raw):
    """Make an unpickled event: its own name, and `raw` as its whole message."""
    return _new_event(_new_route(name.encode()), sequence, shard_id, received_at,
                      raw, 0, PyBytes_GET_SIZE(raw), True)


def _error_offset(bytes raw not None, error):
    """The byte at which orjson gave up: it counts characters, and says 0 for bad UTF-8."""
    try:
        text = raw.decode()
    except UnicodeDecodeError as bad:
        return bad.start
    return len(text[:error.pos].encode())


@cython.final
cdef class Message:
    """
    One gateway message that is not a dispatch: hello, ACK, invalid session and the like.

    Attributes:
        op: opcode.
        data: `d`, parsed.
        sequence, name: `s` and `t`, None where absent.
    """

    def __init__(self, int op, data=None, sequence=None, name=None):
        self.op = op
        self.data = data
        self.sequence = sequence
        self.name = name

    def __repr__(self):
        return f"<Message op={self.op}>"


cdef class Assembler:
    """
    Join the frames of websocket messages; the strict frame layer by itself.

    `feed` returns each complete message as `(opcode, bytes)`.

    Args:
        max_message_bytes: a message above this raises MessageTooBig (1009).
        max_fragments: so does one in more pieces than this.
        strict: validate the UTF-8 of text messages (RFC 6455 8.1: 1007). Without it what is
            delivered is validated when it is parsed, and what is dropped never is.
    """

    def __init__(self, *, Py_ssize_t max_message_bytes=67_108_864,
                 Py_ssize_t max_fragments=65_536, bint strict=False):
        if max_message_bytes < 1 or max_fragments < 1:
            raise ValueError("max_message_bytes and max_fragments must be at least 1")
        self.max_message_bytes = max_message_bytes
        self.max_fragments = max_fragments
        self._strict = strict

    def __dealloc__(self):
        PyMem_Free(self._buffer)

    @property
    def buffer_capacity(self):
        """Bytes held for joining fragments; falls back after a large message."""
        return self._capacity

    def feed(self, payload, int opcode, bint fin=True):
        """
        Take one data frame; return what it completed, if anyone wants it.

        Args:
            payload: 1-D contiguous buffer of n bytes, borrowed; not kept after return.
            opcode: 0 continuation, 1 text, 2 binary.
            fin: last frame of its websocket message.
        Returns:
            Assembler: (opcode, bytes). Decoder: Event or Message. None: the message is
            incomplete, or nobody wants it.
        Raises:
            ProtocolError: fragments out of order (1002), bad UTF-8 in strict mode (1007).
            MessageTooBig: over a limit (1009).
            DecodeError: bad stream, bad envelope, bad JSON in a message that is no dispatch.
            After an error the connection is to be closed; call `reset` to use the object again.
        Cost: O(n). A skipped plain-text dispatch allocates nothing.
        Source: RFC 6455 5.4; Discord docs, "Transport compression".
        """
        cdef Py_buffer view
        PyObject_GetBuffer(payload, &view, PyBUF_SIMPLE)
        try:
            return self._feed(<const char*>view.buf, view.len, opcode, fin)
        finally:
            PyBuffer_Release(&view)

    def reset(self):
        """Begin anew, as on a fresh connection: drop fragments, contexts and buffer."""
        self._opcode = 0
        self._fragments = 0
        self._size = 0
        PyMem_Free(self._buffer)
        self._buffer = NULL
        self._capacity = 0

    cdef object _feed(self, const char* p, Py_ssize_t size, int opcode, bint fin):
        self.bytes_received += size
        if opcode == 0:
            if self._opcode == 0:
                raise ProtocolError("continuation frame without a message to continue",
                                    close_code=1002)
        elif opcode != 1 and opcode != 2:
            raise ProtocolError(f"opcode {opcode} is not a data frame's", close_code=1002)
        elif self._opcode != 0:
            raise ProtocolError("new data frame inside an unfinished message", close_code=1002)
        elif fin:
            if size > self.max_message_bytes:
                raise MessageTooBig(size, self.max_message_bytes)
            self.messages += 1
            return self._complete(p, size, opcode)
        else:
            self._opcode = opcode
            self._fragments = 0

        self._fragments += 1
        if self._fragments > self.max_fragments:
            raise MessageTooBig(self._fragments, self.max_fragments, "fragments")
        self._append(p, size)
        if not fin:
            return None
        opcode = self._opcode
        self._opcode = 0
        self.messages += 1
        return self._joined(opcode)

    cdef object _joined(self, int opcode):
        """The buffer holds a complete message: pass it on and empty the buffer."""
        cdef Py_ssize_t size = self._size
        self._size = 0
        try:
            return self._complete(self._buffer, size, opcode)
        finally:
            self._give_back()

    cdef object _complete(self, const char* p, Py_ssize_t size, int opcode):
        if self._strict and opcode == 1:
            _validate_utf8(p, size)
        return opcode, PyBytes_FromStringAndSize(p, size)

    cdef int _append(self, const char* p, Py_ssize_t size) except -1:
        cdef Py_ssize_t capacity, needed = self._size + size
        cdef char* buffer
        if needed > self.max_message_bytes:
            raise MessageTooBig(needed, self.max_message_bytes)
        if needed > self._capacity:
            capacity = max(needed, 2 * self._capacity, 4096)
            buffer = <char*>PyMem_Realloc(self._buffer, capacity)
            if buffer == NULL:
                raise MemoryError
            self._buffer = buffer
            self._capacity = capacity
        if size:
            memcpy(self._buffer + self._size, p, size)
        self._size = needed
        return 0

    cdef void _give_back(self) noexcept:
        if self._size == 0 and self._capacity > KEPT_BYTES:
            PyMem_Free(self._buffer)
            self._buffer = NULL
            self._capacity = 0


cdef int _validate_utf8(const char* p, Py_ssize_t size) except -1:
    try:
        PyUnicode_DecodeUTF8(<char*>p, size, NULL)
    except UnicodeDecodeError as error:
        raise DecodeError(f"text message is not UTF-8 at byte {error.start}",
                          close_code=1007, offset=error.start) from None
    return 0


@cython.final
cdef class Decoder(Assembler):
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

    On a connection with a compressed stream text messages are errors: the service sends none.
    Public counters: `messages` (websocket messages), `dispatches`, `delivered`, `bytes_received`
    (in frames), `bytes_decoded` (after decompression). `received_at` is what events will carry.
    """

    def __init__(self, *, str compression="none", interests=None, Sequence sequence=None,
                 int shard_id=0, Py_ssize_t max_message_bytes=67_108_864,
                 Py_ssize_t max_fragments=65_536, bint strict=False):
        Assembler.__init__(self, max_message_bytes=max_message_bytes,
                           max_fragments=max_fragments, strict=strict)
        if compression not in _MODES:
            raise ValueError(f"compression {compression!r} is not one of {', '.join(_MODES)}")
        if interests is None:
            interests = Interests()
            interests.want_everything()
        elif not isinstance(interests, Interests):
            interests = Interests(interests)
        self.compression = compression
        self.interests = interests
        self.sequence = Sequence() if sequence is None else sequence
        self.shard_id = shard_id
        self._mode = _MODES[compression]
        self._cap = min(max_message_bytes, PY_SSIZE_T_MAX - 1) + 1
        self._renew_context()

    @property
    def dropped(self):
        """Dispatches that nobody wanted, or that a replay repeated."""
        return self.dispatches - self.delivered

    def reset(self):
        """Begin anew, as on a fresh connection: drop fragments, contexts and buffer."""
        Assembler.reset(self)
        self._pending = 0
        self._renew_context()

    def _renew_context(self):
        if self._mode == ZLIB_STREAM:
            self._decompressor = zlib_ng.decompressobj()
        elif self._mode == ZSTD_STREAM:
            self._decompressor = _ZstdDecompressor()
        else:
            return
        self._decompress = self._decompressor.decompress

    cdef object _complete(self, const char* p, Py_ssize_t size, int opcode):
        cdef bytes text
        if self._mode == NONE or (self._mode == PAYLOAD and opcode == 1):
            if self._strict and opcode == 1:
                _validate_utf8(p, size)
            return self._scan(p, size, None)
        if opcode == 1:
            raise DecodeError(f"text message on a connection with {self.compression}")
        if self._mode == ZSTD_STREAM:
            text = self._unzstd(p, size)
        elif self._mode == PAYLOAD:
            text = self._inflate_one(p, size)
        else:
            text = self._inflate(p, size)
        if text is None:
            return None
        return self._scan(PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text), text)

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
            text = self._decompress(_as_argument(p, size), self._cap)
        except _ZlibError as error:
            raise DecodeError(f"zlib stream is corrupt: {error}") from error
        finally:
            self._give_back()
        if PyBytes_GET_SIZE(text) > self.max_message_bytes:
            raise MessageTooBig(PyBytes_GET_SIZE(text), self.max_message_bytes)
        if PyBytes_GET_SIZE(text) == 0:
            if self._decompressor.eof:
                raise DecodeError("zlib stream has ended")
            return None
        return text

    cdef bytes _inflate_one(self, const char* p, Py_ssize_t size):
        decompressor = zlib_ng.decompressobj()
        try:
            text = decompressor.decompress(_as_argument(p, size), self._cap)
        except _ZlibError as error:
            raise DecodeError(f"zlib message is corrupt: {error}") from error
        if PyBytes_GET_SIZE(text) > self.max_message_bytes:
            raise MessageTooBig(PyBytes_GET_SIZE(text), self.max_message_bytes)
        if not decompressor.eof:
            raise DecodeError("zlib message breaks off")
        return text

    # zstd-stream: one websocket message is one gateway message. Discord's frame never ends; other
    # servers send a whole frame per message, so after the end of one a new decompressor takes over,
    # within the message (unused data) or with the next.

    cdef bytes _unzstd(self, const char* p, Py_ssize_t size):
        cdef bytes text
        cdef Py_ssize_t total
        try:
            if self._decompressor.eof:
                self._renew_context()
            text = self._decompress(_as_argument(p, size), self._cap)
            total = PyBytes_GET_SIZE(text)
            while self._decompressor.eof and total <= self.max_message_bytes:
                rest = self._decompressor.unused_data
                if not rest:
                    break
                self._renew_context()
                text += <bytes>self._decompress(rest, self._cap - total)
                total = PyBytes_GET_SIZE(text)
        except _ZstdError as error:
            raise DecodeError(f"zstd stream is corrupt: {error}") from error
        if total > self.max_message_bytes:
            raise MessageTooBig(total, self.max_message_bytes)
        return text if total else None

    # The envelope.

    cdef object _scan(self, const char* p, Py_ssize_t size, bytes owner):
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
            sequence = sequence * 10 + (cursor[0] - c'0')
            cursor += 1
            if cursor - digits > 18:
                return self._walk(p, size, owner)
        if cursor == digits or (digits[0] == c'0' and cursor - digits > 1):
            return self._walk(p, size, owner)
        if end - cursor < 14 or memcmp(cursor, b',"op":0,"d":', 12) != 0:
            return self._walk(p, size, owner)
        cursor += 12
        if fgw_skip_space(cursor, end) != cursor:
            return self._walk(p, size, owner)
        route = self.interests._find(name, name_size)
        if route is not None:
            if not route.plain:
                # A name on the wire may be escaped; the table holds names unescaped.
                return self._walk(p, size, owner)
        else:
            if not _is_plain_name(name, name_size):
                return self._walk(p, size, owner)
            route = self.interests._route(PyBytes_FromStringAndSize(name, name_size))
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


cdef bint _ends_with_flush(const char* p, Py_ssize_t size) noexcept:
    # Z_SYNC_FLUSH ends with an empty stored block (Discord docs, "Transport compression").
    return size >= 4 and memcmp(p + size - 4, b"\x00\x00\xff\xff", 4) == 0


cdef object _as_argument(const char* p, Py_ssize_t size):
    """Bytes for a decompressor: small ones copied, larger ones borrowed for the call."""
    if size < 4096:
        return PyBytes_FromStringAndSize(p, size)
    return PyMemoryView_FromMemory(<char*>p, size, PyBUF_READ)


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
