# Part of _decode: what user code and protocol see of a message. Takes _loads, _JSONDecodeError,
# _error_offset, _is_key, _snowflake and _shown from text, _new_route from routes,
# Fields from fields, _decoder_of and what tells of its errors from typed.

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.memoryview cimport PyMemoryView_FromMemory
from libc.string cimport memcmp

from types import GenericAlias

from .errors import DecodeError

# From here on a copy of d for orjson costs more than the memoryview that avoids it.
cdef Py_ssize_t VIEW_BYTES = 32 * 1024


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

    @classmethod
    def __class_getitem__(cls, item):
        return GenericAlias(cls, item)

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
    def message_bytes(self):
        """How many bytes of memory the event's message takes: all of it, after decompression."""
        self._check()
        return PyBytes_GET_SIZE(self._message)

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

    def read(self, Fields fields not None, *, missing=None):
        """
        Read the values of `fields` without parsing `d`; see `Fields` for what they are.

        Args:
            missing: stands for members that are not there; null is None in any case.
        Returns:
            A tuple with a value for each path.
        Raises:
            DecodeError: that of `event.data`, for what is wrong in or before the members read.
        Cost: a walk over the text up to the last of the members, and the values. An event whose
            `data` was looked at is not walked again: the values are those of that object.
        """
        self._check()
        cdef tuple values = None
        cdef const char* base
        if not self._decoded:
            base = PyBytes_AS_STRING(self._message)
            values = fields._read(base + self._start, base + self._end, missing)
        return fields._index(self.data, missing) if values is None else values

    def get(self, path, missing=None):
        """Read one value: `event.get("author.id")` is `event.read(Fields("author.id"))[0]`."""
        return self.read(_fields_of(path), missing=missing)[0]

    def decode(self, kind=None, *, bint lenient=False):
        """
        Make an object of the user's own type of `d`, straight from the text; needs msgspec.

        Args:
            kind: a msgspec Struct, a dataclass, a TypedDict such as those of `fastgw.types`, or
                whatever else msgspec decodes into; members that it does not have are skipped. None
                makes dicts and lists as `data` does, new ones at each call.
            lenient: read text with surrogates that are alone, and bytes that are not UTF-8, with
                U+FFFD for them; JSON parsers refuse both. Costs another pass over the text.
        Raises:
            DecodeError: `d` is not JSON, or does not fit the type: then `path` says where.
            UsageError: not a type to decode into, or msgspec is not installed.
        Cost: of an author's name and a channel, less than half of `data`. The decoder of a type is made
            once.
        """
        self._check()
        decode = _loads if kind is None else _decoder_of(kind)
        if lenient:
            text = _mended(self.raw)
        else:
            text = self._text()
        try:
            return decode(text)
        except Exception as error:
            failure = error
        if isinstance(failure, _mismatches):
            self._mismatch(kind, failure)
        if not isinstance(failure, _syntax_errors):
            raise failure  # of the type's own code
        if lenient:
            raise DecodeError(
                f"data of {_shown(self.name)} (sequence {self.sequence}) is not JSON: {failure}",
                name=self.name, sequence=self.sequence) from failure
        self._loads()  # says where, unless it was d's span that was wrong: now it is right
        return decode(self._text())

    @property
    def guild_id(self):
        """
        The guild the event belongs to, as int, or None.

        That is `d.guild_id`, or `d.id` where `d` is the guild (GUILD_CREATE, GUILD_UPDATE,
        GUILD_DELETE). Read off the end of the message where Discord appends it, else found by a
        walk over the members of `d`; the first member so called counts. Nothing is parsed.

        The first way trusts that `d` is the last member of a message that begins as Discord's do.
        A service that appends another object which itself ends with a `guild_id` would be believed.
        """
        if not self._guild_known:
            self._check()
            self._find_guild()
            self._guild_known = True
        return None if self._guild_id < 0 else self._guild_id

    def __repr__(self):
        return f"<Event {_shown(self.name)} sequence={self.sequence} shard_id={self.shard_id}>"

    def __reduce__(self):
        return _restore_event, (
            self.name, self.sequence, self.shard_id, self.received_at, self.raw)

    cdef int _check(self) except -1:
        if self._route is None:
            raise TypeError("events come from a Decoder; Event.__new__ does not make one")
        return 0

    cdef object _text(self):
        """`d` for a parser: a copy of a short one, or a view that keeps the message."""
        cdef Py_ssize_t size = self._end - self._start
        if size < VIEW_BYTES:
            return PyBytes_FromStringAndSize(PyBytes_AS_STRING(self._message) + self._start, size)
        return memoryview(self._message)[self._start:self._end]

    cdef int _mismatch(self, kind, error) except -1:
        problem, path = _place_of(error)
        raise DecodeError(
            f"data of {_shown(self.name)} (sequence {self.sequence}) is no "
            f"{_name_of_type(kind)}{' at ' + path if path else ''}: {problem}",
            name=self.name, sequence=self.sequence, path=path,
        ) from error

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
        advice = "; decode(lenient=True) reads it" if "surrogate" in failure.msg else ""
        raise DecodeError(
            f"data of {_shown(self.name)} (sequence {self.sequence}) is not JSON at byte {offset}: "
            f"{failure.msg}{advice}",
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
            # brace of d closes d itself, so this member is d's own (RFC 8259 section 7).
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


cdef Event _new_event(Route route, const fgw_dispatch* dispatch, bytes owner):
    """The event of a dispatch; `owner` holds its message, or is None: then it is copied."""
    cdef Event event = Event.__new__(Event)
    if owner is None:
        owner = PyBytes_FromStringAndSize(dispatch.message, dispatch.size)
    event._route = route
    event._message = owner
    event._start = dispatch.start
    event._end = dispatch.end
    event.sequence = dispatch.sequence
    event.shard_id = dispatch.shard_id
    event.received_at = dispatch.received_at
    event._verified = dispatch.verified
    return event


def _restore_event(str name, int64_t sequence, int shard_id, double received_at, bytes raw):
    """Make an unpickled event: its own name, and `raw` as its whole message."""
    cdef fgw_dispatch dispatch
    dispatch.message = PyBytes_AS_STRING(raw)
    dispatch.size = dispatch.end = PyBytes_GET_SIZE(raw)
    dispatch.start = 0
    dispatch.verified = True
    dispatch.sequence = sequence
    dispatch.shard_id = shard_id
    dispatch.received_at = received_at
    return _new_event(_new_route(name.encode()), &dispatch, raw)


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
