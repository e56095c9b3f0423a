# Part of _decode: tests of values where they stand in the text. Takes _keys_of, _value_in, _loaded
# with _BAD and _PathTree from fields.

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Calloc, PyMem_Free, PyMem_Realloc
from cpython.ref cimport PyObject, Py_DECREF, Py_INCREF
from libc.stdint cimport int32_t, int64_t, intptr_t, uint64_t
from libc.string cimport memchr, memcmp

from .errors import UsageError

cdef extern from "_walk.h" nogil:
    uint64_t fgw_hash_number(int64_t number)
    uint64_t fgw_hash_text(const char* p, Py_ssize_t size)
    int fgw_next_element(const char** cursor, const char* end, int first, fgw_span* element)

# ------------------------------------------------------------------------------------------- sets

cdef enum:
    FREE = 0                        # an entry whose hash is 0
    LEFT = 1                        # something was here: a search goes on behind it
    A_NUMBER = 2
    A_TEXT = 3
    KIND = 3                        # the bits of a hash that say which


@cython.final
cdef class ValueSet:
    """
    A set of ids or texts for `field(...).is_in(...)` and `guilds=`, which may change at any time.

    Args:
        values: each an int or a str. An int is found where the JSON has that number, or a string
            of its digits, as Discord writes ids; a str only where it has that string.

    The next event sees a change. Looking a value up makes no Python object; 16 to 64 bytes a value.

    Raises:
        UsageError: a value that is neither, or an int beyond 63 bits.
    """

    def __cinit__(self, *args):
        self._mask = 15
        self._entries = <fgw_entry*>PyMem_Calloc(self._mask + 1, sizeof(fgw_entry))
        if self._entries == NULL:
            raise MemoryError

    def __init__(self, values=()):
        self.update(values)

    def __dealloc__(self):
        cdef size_t i
        if self._entries != NULL:
            for i in range(self._mask + 1):
                if self._entries[i].hash & KIND == A_TEXT:
                    Py_DECREF(<object><PyObject*><intptr_t>self._entries[i].value)
            PyMem_Free(self._entries)

    def add(self, value):
        """Add a value; one that is there already stays."""
        cdef int64_t number = 0
        cdef bytes text = _checked_value(value, &number)
        cdef fgw_entry* entry
        self._make_room()
        if text is None:
            entry = self._find(fgw_hash_number(number), number, NULL, 0)
        else:
            entry = self._find(fgw_hash_text(PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text)), 0,
                               PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text))
        if entry.hash != FREE:
            return
        self._used += 1
        if text is None:
            entry.hash = fgw_hash_number(number) & ~<uint64_t>KIND | A_NUMBER
            entry.value = number
            self._numbers += 1
        else:
            entry.hash = (fgw_hash_text(PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text))
                          & ~<uint64_t>KIND | A_TEXT)
            Py_INCREF(text)
            entry.value = <int64_t><intptr_t><PyObject*>text
            self._texts += 1

    def discard(self, value):
        """Remove a value if it is there."""
        cdef int64_t number = 0
        cdef bytes text = _checked_value(value, &number)
        cdef fgw_entry* entry
        if text is None:
            entry = self._find(fgw_hash_number(number), number, NULL, 0)
        else:
            entry = self._find(fgw_hash_text(PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text)), 0,
                               PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text))
        if entry.hash == FREE:
            return
        entry.hash = LEFT
        if text is None:
            self._numbers -= 1
        else:
            self._texts -= 1
            Py_DECREF(<object><PyObject*><intptr_t>entry.value)

    def update(self, values):
        """Add each of some values."""
        if isinstance(values, str):
            raise UsageError(f"values are a collection of ids or texts, not the string {values!r}")
        for value in values:
            self.add(value)

    def clear(self):
        """Remove all values."""
        for value in list(self):
            self.discard(value)

    def __contains__(self, value):
        cdef int64_t number = 0
        cdef bytes text = _checked_value(value, &number)
        if text is None:
            return self._has_number(number)
        return self._has_text(PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text))

    def __len__(self):
        return self._numbers + self._texts

    def __iter__(self):
        """The values as they were given, in no order; those of the moment of the call."""
        cdef size_t i
        values = []
        for i in range(self._mask + 1):
            if self._entries[i].hash & KIND == A_NUMBER:
                values.append(self._entries[i].value)
            elif self._entries[i].hash & KIND == A_TEXT:
                values.append((<bytes><PyObject*><intptr_t>self._entries[i].value).decode())
        return iter(values)

    def __repr__(self):
        return f"<ValueSet of {len(self)}>"

    cdef bint _has_number(self, int64_t number) noexcept:
        return (self._numbers > 0
                and self._find(fgw_hash_number(number), number, NULL, 0).hash != FREE)

    cdef bint _has_text(self, const char* text, Py_ssize_t size) noexcept:
        return (self._texts > 0
                and self._find(fgw_hash_text(text, size), 0, text, size).hash != FREE)

    cdef fgw_entry* _find(self, uint64_t hash, int64_t number, const char* text,
                          Py_ssize_t size) noexcept:
        """The entry of a text, or of a number if `text` is NULL; else the free one for it."""
        cdef uint64_t wanted = hash & ~<uint64_t>KIND | (A_NUMBER if text == NULL else A_TEXT)
        cdef size_t index = <size_t>(hash >> 2) & self._mask
        cdef fgw_entry* entry = &self._entries[index]
        cdef PyObject* held
        while entry.hash != FREE:
            if entry.hash == wanted:
                if text == NULL:
                    if entry.value == number:
                        break
                else:
                    held = <PyObject*><intptr_t>entry.value
                    if (PyBytes_GET_SIZE(<bytes>held) == size
                            and memcmp(PyBytes_AS_STRING(<bytes>held), text, size) == 0):
                        break
            index = (index + 1) & self._mask
            entry = &self._entries[index]
        return entry

    cdef int _make_room(self) except -1:
        """Keep half of the entries free, so that every search ends soon."""
        cdef fgw_entry* old = self._entries
        cdef size_t old_mask = self._mask, mask = 15, i, index
        if 2 * (self._used + 1) <= self._mask:
            return 0
        while mask < 4 * <size_t>len(self):
            mask = 2 * mask + 1
        self._entries = <fgw_entry*>PyMem_Calloc(mask + 1, sizeof(fgw_entry))
        if self._entries == NULL:
            self._entries = old
            raise MemoryError
        self._mask = mask
        self._used = len(self)
        for i in range(old_mask + 1):
            if old[i].hash & KIND >= A_NUMBER:
                index = <size_t>(old[i].hash >> 2) & mask
                while self._entries[index].hash != FREE:
                    index = (index + 1) & mask
                self._entries[index] = old[i]
        PyMem_Free(old)
        return 0


cdef bytes _checked_value(value, int64_t* number):
    """The text's bytes, or None with the number stored."""
    if isinstance(value, str):
        try:
            return (<str>value).encode()
        except UnicodeEncodeError:
            raise UsageError(f"{value!r} is not valid Unicode: no event can hold it") from None
    if isinstance(value, int) and not isinstance(value, bool):
        if not -(1 << 63) < value < 1 << 63:
            raise UsageError(f"{value} is no id: those have 63 bits")
        number[0] = value
        return None
    raise UsageError(f"a value is an int or a str, not {type(value).__name__}")


# ------------------------------------------------------------------------------------------- tests

cdef enum:
    ALL
    ANY
    NOT
    IS_TRUE
    EXISTS
    EQUALS_BOOL
    EQUALS_NUMBER
    EQUALS_TEXT
    IS_IN
    STARTS_WITH
    CONTAINS_ID

cdef enum:
    UNDECIDED = 2                   # beside True and False: somebody has to parse

cdef dict _JOINED = {"all": ALL, "any": ANY, "not": NOT}
cdef dict _SINGLE = {
    "is_true": IS_TRUE, "exists": EXISTS, "is_in": IS_IN, "startswith": STARTS_WITH,
    "contains_id": CONTAINS_ID, "guild_in": IS_IN,
}
# How deep tests may be joined: testing recurses. Who builds filters refuses deeper ones before.
cdef int MAX_NESTING = 200


@cython.final
cdef class _Tests:
    """
    Filters of one plan, compiled: numbered tests of values, and of other tests.

    A test is true or false. One of a member that is missing or null is false, as is one of a value
    of another type than its own. Spans are tested as they stand in the text; where that cannot
    decide (escapes), the span is parsed. For valid JSON without repeated members the result is that
    of the parsed value; errors in values that the text decides about are not seen.
    """

    def __cinit__(self, _PathTree tree not None, tuple guild_keys not None):
        self._tree = tree
        self._guild_keys = guild_keys
        self._keys = []
        self._alive = []

    def __dealloc__(self):
        PyMem_Free(self._tests)
        PyMem_Free(self._required)

    cdef int32_t _add(self, tuple spec, int depth=0) except -1:
        """
        Compile a filter; return its number.

        Args:
            spec: ("all" | "any" | "not", other, ...), or (kind, path) with a value for most kinds.
        """
        cdef fgw_test test
        cdef fgw_test* tests
        cdef int32_t number, last = -1
        cdef bytes text
        if depth > MAX_NESTING:
            raise UsageError(f"filters are joined more than {MAX_NESTING} deep")
        kind = spec[0]
        test.kind = _JOINED.get(kind, -1)
        test.node = test.first = test.next = -1
        test.number = 0
        test.constant = NULL
        keys = None
        if test.kind >= 0:
            for other in spec[1:]:
                number = self._add(other, depth + 1)
                if last < 0:
                    test.first = number
                else:
                    self._tests[last].next = number
                last = number
        else:
            keys = self._guild_keys if kind == "guild_in" else _keys_of(spec[1])
            test.node = self._tree._add(keys)
            value = spec[len(spec) - 1]
            if kind == "equals" and isinstance(value, bool):
                test.kind = EQUALS_BOOL
                test.number = value
            elif kind == "equals":
                text = _checked_value(value, &test.number)
                test.kind = EQUALS_NUMBER if text is None else EQUALS_TEXT
            else:
                test.kind = _SINGLE[kind]
                if test.kind == STARTS_WITH:
                    text = (<str?>value).encode()
                elif test.kind == CONTAINS_ID:
                    test.number = value
                elif test.kind == IS_IN:
                    test.constant = <void*><ValueSet?>value
                    self._alive.append(value)
            if test.kind in (EQUALS_TEXT, STARTS_WITH):
                test.constant = <void*>text
                self._alive.append(text)
        tests = <fgw_test*>PyMem_Realloc(self._tests, (self._count + 1) * sizeof(fgw_test))
        if tests == NULL:
            raise MemoryError
        self._tests = tests
        tests[self._count] = test
        self._keys.append(keys)
        self._count += 1
        return self._count - 1

    cdef int _holds(self, int32_t number, const fgw_span* spans) except -1:
        """Test the values of a walk; UNDECIDED where a span must be parsed and is bad."""
        cdef const fgw_test* test = &self._tests[number]
        cdef const fgw_span* span
        cdef int holds
        if test.kind > NOT:
            span = &spans[test.node]
            return 0 if span.start == NULL else self._holds_span(test, span.start, span.end)
        if test.kind == NOT:
            holds = self._holds(test.first, spans)
            return UNDECIDED if holds == UNDECIDED else not holds
        number = test.first
        while number >= 0:
            holds = self._holds(number, spans)
            if holds == UNDECIDED:
                return UNDECIDED
            if holds != (test.kind == ALL):
                return test.kind == ANY
            number = self._tests[number].next
        return test.kind == ALL

    cdef int _holds_span(self, const fgw_test* test, const char* p, const char* stop) except -1:
        cdef Py_ssize_t size = stop - p
        cdef int64_t number
        if p[0] == c'"':
            return self._holds_string(test, p, size)
        if size == 4 and memcmp(p, b"null", 4) == 0:
            return False
        if test.kind == EXISTS:
            return True
        if test.kind == IS_TRUE:
            return size == 4 and memcmp(p, b"true", 4) == 0
        if test.kind == EQUALS_BOOL:
            if test.number:
                return size == 4 and memcmp(p, b"true", 4) == 0
            return size == 5 and memcmp(p, b"false", 5) == 0
        if test.kind == CONTAINS_ID:
            return self._contains(test, p, stop) if p[0] == c"[" else False
        if test.kind != EQUALS_NUMBER and test.kind != IS_IN:
            return False
        if not fgw_parse_canonical(p, stop, &number):
            # Other spellings of an integer are -0 and those beyond 63 bits.
            if size != 2 or memcmp(p, b"-0", 2) != 0:
                return False
            number = 0
        if test.kind == EQUALS_NUMBER:
            return number == test.number
        return (<ValueSet>test.constant)._has_number(number)

    cdef int _holds_string(self, const fgw_test* test, const char* p, Py_ssize_t size) except -1:
        cdef const char* inner = p + 1
        cdef const char* constant
        cdef const char* escape
        cdef Py_ssize_t inner_size = size - 2, constant_size
        cdef int64_t number
        if test.kind == EXISTS:
            return True
        if test.kind == EQUALS_NUMBER or test.kind == IS_IN:
            if fgw_parse_canonical(inner, inner + inner_size, &number):
                if test.kind == EQUALS_NUMBER:
                    return number == test.number
                return ((<ValueSet>test.constant)._has_number(number)
                        or (<ValueSet>test.constant)._has_text(inner, inner_size))
            if memchr(inner, c"\\", inner_size) == NULL:
                return (test.kind == IS_IN
                        and (<ValueSet>test.constant)._has_text(inner, inner_size))
        elif test.kind == EQUALS_TEXT or test.kind == STARTS_WITH:
            constant = PyBytes_AS_STRING(<bytes>test.constant)
            constant_size = PyBytes_GET_SIZE(<bytes>test.constant)
            if inner_size < constant_size:
                return False  # an escape is longer than what it stands for
            escape = <const char*>memchr(
                inner, c"\\", constant_size if test.kind == STARTS_WITH else inner_size)
            if escape == NULL:
                return ((test.kind == STARTS_WITH or inner_size == constant_size)
                        and memcmp(inner, constant, constant_size) == 0)
            if (inner_size == constant_size and test.kind == EQUALS_TEXT
                    or memcmp(inner, constant, min(escape - inner, constant_size)) != 0):
                return False
        else:
            return False
        return self._holds_loaded(test, p, size)

    cdef int _holds_loaded(self, const fgw_test* test, const char* p, Py_ssize_t size) except -1:
        value = _loaded(p, size)
        return UNDECIDED if value is _BAD else self._holds_value(test, value)

    cdef int _contains(self, const fgw_test* test, const char* p, const char* stop) except -1:
        """Look for an id among the elements of a list of ids."""
        cdef fgw_span element
        cdef bint first = True
        cdef int64_t number
        cdef int more
        p += 1
        while True:
            more = fgw_next_element(&p, stop, first, &element)
            if more <= 0:
                break
            first = False
            if element.start[0] == c'"':
                if fgw_parse_canonical(element.start + 1, element.end - 1, &number):
                    if number == test.number:
                        return True
                elif memchr(element.start, c"\\", element.end - element.start) != NULL:
                    value = _loaded(element.start, element.end - element.start)
                    if value is _BAD:
                        return UNDECIDED
                    if _is_number(value, test.number):
                        return True
            elif fgw_parse_canonical(element.start, element.end, &number):
                if number == test.number:
                    return True
            elif test.number == 0 and element.end - element.start == 2:
                if memcmp(element.start, b"-0", 2) == 0:
                    return True
        return UNDECIDED if more < 0 else False

    cdef int _holds_parsed(self, int32_t number, object data) except -1:
        """Test `d` as it was parsed."""
        cdef const fgw_test* test = &self._tests[number]
        if test.kind > NOT:
            return self._holds_value(test, _value_in(data, self._keys[number], None))
        if test.kind == NOT:
            return not self._holds_parsed(test.first, data)
        number = test.first
        while number >= 0:
            if self._holds_parsed(number, data) != (test.kind == ALL):
                return test.kind == ANY
            number = self._tests[number].next
        return test.kind == ALL

    cdef int _holds_value(self, const fgw_test* test, object value) except -1:
        cdef bytes text
        if value is None:
            return False
        if test.kind == EXISTS:
            return True
        if test.kind == IS_TRUE:
            return value is True
        if test.kind == EQUALS_BOOL:
            return value is (True if test.number else False)
        if test.kind == EQUALS_NUMBER:
            return _is_number(value, test.number)
        if test.kind == CONTAINS_ID:
            return isinstance(value, list) and any(
                [_is_number(element, test.number) for element in value])
        if test.kind == IS_IN:
            if isinstance(value, str):
                return value in <ValueSet>test.constant or (
                    _is_canonical(value) and int(value) in <ValueSet>test.constant)
            return (type(value) is int and -(1 << 63) < value < 1 << 63
                    and value in <ValueSet>test.constant)
        if not isinstance(value, str):
            return False
        text = (<str>value).encode()
        if test.kind == EQUALS_TEXT:
            return text == <bytes>test.constant
        return text.startswith(<bytes>test.constant)


cdef bint _is_number(object value, int64_t number) except -1:
    if isinstance(value, str):
        return value == str(number)
    return type(value) is int and value == number


cdef bint _is_canonical(str text) except -1:
    cdef bytes digits = text.encode()
    cdef int64_t number
    return fgw_parse_canonical(
        PyBytes_AS_STRING(digits), PyBytes_AS_STRING(digits) + PyBytes_GET_SIZE(digits), &number)
