# Part of _decode: values out of `d` without parsing it. Takes _loads from text, the walk of _walk.h.

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Free, PyMem_Malloc, PyMem_Realloc
from cpython.ref cimport Py_INCREF
from cpython.tuple cimport PyTuple_New, PyTuple_SET_ITEM
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.stdint cimport int32_t, int64_t
from libc.string cimport memcmp, memcpy

from array import array
from types import GenericAlias

from .errors import UsageError

cdef extern from "Python.h":
    object PyUnicode_New(Py_ssize_t size, Py_UCS4 maxchar)
    void* PyUnicode_DATA(object text)

cdef extern from "_walk.h" nogil:
    int FGW_NEEDS_PARSING
    int FGW_IS_ASCII
    int fgw_walk_paths(const fgw_node* nodes, int32_t count, int32_t wanted, const char* p,
                       const char* end, fgw_span* spans, fgw_check* check)
    int fgw_kind_of_text(const char* p, Py_ssize_t size, const char* end)
    int fgw_parse_canonical(const char* p, const char* end, int64_t* out)

cdef enum:
    # Spans for as many nodes stand on the C stack, where a walk that is interrupted by another (the
    # garbage collector runs any code) keeps its own.
    STACK_NODES = 64
    MAX_DEPTH = 32                  # keys in a path; the walk recurses once for each

# event.get() compiles a path once; programs that make up paths must not fill the memory.
cdef dict _known_paths = {}
cdef int MAX_KNOWN_PATHS = 1024


cdef tuple _keys_of(path):
    """The keys of a path: "author.id" is ("author", "id")."""
    if not isinstance(path, str):
        raise UsageError(f'a path is a str such as "author.id", not {type(path).__name__}')
    keys = tuple(path.split("."))
    if "" in keys:
        raise UsageError(f'{path!r} is not a path: those look like "author.id"')
    if len(keys) > MAX_DEPTH:
        raise UsageError(f"a path of {len(keys)} keys is over the limit of {MAX_DEPTH}")
    return keys


@cython.final
cdef class _PathTree:
    """The keys of some paths as a tree, as the walk takes it: each key once."""

    def __cinit__(self):
        self._keys = []

    def __dealloc__(self):
        PyMem_Free(self._nodes)

    cdef int32_t _add(self, tuple keys) except -1:
        """The number of the node whose value a path wants."""
        cdef int32_t node = -1
        cdef list above = []
        for key in keys:
            try:
                node = self._child_of(node, (<str>key).encode())
            except UnicodeEncodeError:
                raise UsageError(f"{key!r} is not a key: it is not valid Unicode") from None
            above.append(node)
        if not self._nodes[node].is_wanted:
            self._nodes[node].is_wanted = True
            self._wanted += 1
            for number in above:
                self._nodes[<int32_t>number].wanted += 1
        return node

    cdef bytes _nodes_of(self, tuple paths):
        """The numbers of the nodes of some paths, as an array of int32_t."""
        return array("i", [self._add(keys) for keys in paths]).tobytes()

    cdef int32_t _child_of(self, int32_t parent, bytes key) except -1:
        cdef int32_t node, last = -1
        cdef fgw_node* nodes
        if parent < 0:
            node = 0 if self._count else -1
        else:
            node = self._nodes[parent].child
        while node >= 0:
            if <bytes>self._keys[node] == key:
                return node
            last = node
            node = self._nodes[node].sibling
        nodes = <fgw_node*>PyMem_Realloc(self._nodes, (self._count + 1) * sizeof(fgw_node))
        if nodes == NULL:
            raise MemoryError
        self._nodes = nodes
        node = self._count
        nodes[node].key = PyBytes_AS_STRING(key)
        nodes[node].size = <int32_t>PyBytes_GET_SIZE(key)
        nodes[node].child = nodes[node].sibling = -1
        nodes[node].wanted = nodes[node].is_wanted = nodes[node].is_checked = 0
        self._keys.append(key)
        self._count += 1
        if last >= 0:
            nodes[last].sibling = node
        elif parent >= 0:
            nodes[parent].child = node
        return node

    cdef fgw_span* _walk(self, const char* p, const char* end, fgw_span* some,
                         fgw_check* check) except? NULL:
        """
        The spans of the nodes in the text at p: in `some`, which has room for STACK_NODES, or in
        memory that is the caller's to free if it is not `some`. NULL: somebody has to parse, or
        `check` has refused.
        """
        cdef fgw_span* spans = some
        if self._count > STACK_NODES:
            spans = <fgw_span*>PyMem_Malloc(self._count * sizeof(fgw_span))
            if spans == NULL:
                raise MemoryError
        if fgw_walk_paths(self._nodes, self._count, self._wanted, p, end, spans, check):
            return spans
        if spans != some:
            PyMem_Free(spans)
        return NULL


@cython.final
cdef class Fields:
    """
    Paths of members of `d`, compiled once, for `event.read(FIELDS)` and for handlers.

    Args:
        paths: each the keys from `d` downwards, joined by dots: "channel_id", "author.id".

    Attributes:
        paths: as given.

    Reading takes one walk over the text of `d`, which ends where the last value is found, and makes
    no other object than the values: 0.02 to 0.35 of what parsing `d` costs (docs/performance.md).

    - A member that is not there, one that is null, and a path through anything but an object all
      give None; `missing=` of `event.read` tells the first and the last from null.
    - Of repeated members the first counts (in `event.data` it is the last), unless the walk sees
      both before it ends: then `d` is parsed. So it is where a key has escapes.
    - What is wrong in members that nobody reads is not seen. What is wrong in those that are read
      raises the DecodeError of `event.data`.
    - Paths do not lead into lists; a list as a whole is a value like any other.
    """

    def __cinit__(self, *paths):
        if not paths:
            raise UsageError('name at least one path: Fields("author.id")')
        self.paths = paths
        self._keys = tuple([_keys_of(path) for path in paths])
        self._tree = _PathTree()
        self._nodes = self._tree._nodes_of(self._keys)

    @classmethod
    def __class_getitem__(cls, item):
        return GenericAlias(cls, item)

    def __len__(self):
        return len(self.paths)

    def __eq__(self, other):
        return type(other) is Fields and self.paths == (<Fields>other).paths

    def __hash__(self):
        return hash(self.paths)

    def __repr__(self):
        return f"Fields({', '.join(map(repr, self.paths))})"

    def __reduce__(self):
        return Fields, self.paths

    cdef tuple _read(self, const char* p, const char* end, object missing):
        """The values in the JSON text at p, which ends before `end`; None: somebody has to parse."""
        cdef fgw_span some[STACK_NODES]
        cdef fgw_span* spans = self._tree._walk(p, end, some, NULL)
        if spans == NULL:
            return None
        try:
            return _values_at(spans, self._nodes, missing, end)
        finally:
            if spans != some:
                PyMem_Free(spans)

    cdef tuple _index(self, object data, object missing):
        """The values in `d` as it was parsed."""
        return tuple([_value_in(data, keys, missing) for keys in self._keys])


cdef tuple _values_at(const fgw_span* spans, bytes nodes, object missing, const char* end):
    """The values of some nodes; None: one is bad, and somebody has to parse."""
    cdef const int32_t* numbers = <const int32_t*>PyBytes_AS_STRING(nodes)
    cdef Py_ssize_t i, count = PyBytes_GET_SIZE(nodes) // <Py_ssize_t>sizeof(int32_t)
    cdef const fgw_span* span
    cdef object value
    cdef tuple values = PyTuple_New(count)
    for i in range(count):
        span = &spans[numbers[i]]
        value = missing if span.start == NULL else _value_at(span.start, span.end, end)
        if value is _BAD:
            return None
        Py_INCREF(value)
        PyTuple_SET_ITEM(values, i, value)
    return values


cdef object _value_at(const char* p, const char* stop, const char* end):
    """The value of a span, or _BAD: the plain ones made here, all others by orjson."""
    cdef Py_ssize_t size = stop - p
    cdef int64_t number
    cdef int kind
    cdef object text
    if p[0] == c'"':
        kind = fgw_kind_of_text(p + 1, size - 2, end)
        if kind == FGW_IS_ASCII:
            text = PyUnicode_New(size - 2, 127)
            memcpy(PyUnicode_DATA(text), p + 1, size - 2)
            return text
        if kind != FGW_NEEDS_PARSING:
            return _decoded(p + 1, size - 2)
    elif size == 4 and memcmp(p, b"true", 4) == 0:
        return True
    elif size == 5 and memcmp(p, b"false", 5) == 0:
        return False
    elif size == 4 and memcmp(p, b"null", 4) == 0:
        return None
    elif fgw_parse_canonical(p, stop, &number):
        return number
    return _loaded(p, size)


# Apart, as to begin a `try` costs more than to make a short text: 25 instructions and a call.

cdef object _decoded(const char* p, Py_ssize_t size):
    try:
        return PyUnicode_DecodeUTF8(<char*>p, size, NULL)
    except ValueError:
        return _BAD


cdef object _loaded(const char* p, Py_ssize_t size):
    try:
        return _loads(PyBytes_FromStringAndSize(p, size))
    except ValueError:
        return _BAD


cdef object _value_in(object data, tuple keys, object missing):
    for key in keys:
        if not isinstance(data, dict):
            return missing
        data = (<dict>data).get(key, _ABSENT)
        if data is _ABSENT:
            return missing
    return data


cdef object _ABSENT = object()
cdef object _BAD = object()


cdef Fields _fields_of(path):
    """The path of one `event.get`, compiled at its first use."""
    if type(path) is not str:
        _keys_of(path)
        path = str.__str__(path)  # a member of an enum of strings
    fields = _known_paths.get(path)
    if fields is None:
        fields = Fields(path)
        if len(_known_paths) >= MAX_KNOWN_PATHS:
            _known_paths.clear()
        _known_paths[path] = fields
    return fields
