# Header of filters.pyx. Takes _PathTree and the spans of the walk from fields.

from libc.stdint cimport int32_t, int64_t, uint64_t

cdef struct fgw_entry:
    uint64_t hash                   # its lowest two bits say what it is
    int64_t value                   # a number, or where the bytes object of a text is


cdef class ValueSet:
    cdef fgw_entry* _entries        # open addressing
    cdef size_t _mask
    cdef size_t _used               # entries that are not free: also those left behind
    cdef Py_ssize_t _texts
    cdef Py_ssize_t _numbers

    cdef fgw_entry* _find(self, uint64_t hash, int64_t number, const char* text,
                          Py_ssize_t size) noexcept
    cdef bint _has_number(self, int64_t number) noexcept
    cdef bint _has_text(self, const char* text, Py_ssize_t size) noexcept
    cdef int _make_room(self) except -1


cdef struct fgw_test:
    int kind
    int32_t node                    # of the path, for a test of one value
    int32_t first                   # of those that this one joins; they are linked by `next`
    int32_t next
    int64_t number
    void* constant                  # borrowed: bytes or ValueSet


cdef struct fgw_required:           # see early.pyx
    int32_t node
    int32_t test                    # of that node's value alone


cdef class _Tests:
    cdef fgw_test* _tests
    cdef int32_t _count
    cdef fgw_required* _required    # each of them, or everything is rejected
    cdef int32_t _required_count
    cdef _PathTree _tree
    cdef tuple _guild_keys          # of the path that leads to the guild
    cdef list _keys                 # of the tests' paths, for values that were parsed
    cdef list _alive                # what the tests borrow

    cdef int32_t _add(self, tuple spec, int depth=*) except -1
    cdef int _holds(self, int32_t number, const fgw_span* spans) except -1
    cdef int _holds_span(self, const fgw_test* test, const char* p, const char* stop) except -1
    cdef int _holds_string(self, const fgw_test* test, const char* p, Py_ssize_t size) except -1
    cdef int _holds_loaded(self, const fgw_test* test, const char* p, Py_ssize_t size) except -1
    cdef int _contains(self, const fgw_test* test, const char* p, const char* stop) except -1
    cdef int _holds_parsed(self, int32_t number, object data) except -1
    cdef int _holds_value(self, const fgw_test* test, object value) except -1
