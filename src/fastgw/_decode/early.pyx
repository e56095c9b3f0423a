# Part of _decode: where one value is enough to reject an event, its walk ends there. Takes _Tests from
# filters, the check of _walk.h from fields.
#
# 12 % fewer instructions for an event of the mix that `content` and `author.bot` reject.

from cpython.mem cimport PyMem_Realloc
from libc.stdint cimport int32_t
from libc.string cimport memchr


cdef int _require(_Tests tests, int32_t number) except -1:
    """
    Let the walk end where a value alone makes this test false: one of several that all must
    hold, or the only one.
    """
    cdef int32_t node
    cdef fgw_required* required
    if tests._tests[number].kind == ALL:
        number = tests._tests[number].first
        while number >= 0:
            _require(tests, number)
            number = tests._tests[number].next
        return 0
    node = _only_node(tests, number)
    if node >= 0:
        required = <fgw_required*>PyMem_Realloc(
            tests._required, (tests._required_count + 1) * sizeof(fgw_required))
        if required == NULL:
            raise MemoryError
        tests._required = required
        required[tests._required_count].node = node
        required[tests._required_count].test = number
        tests._required_count += 1
        tests._tree._nodes[node].is_checked = True
    return 0


cdef int32_t _only_node(_Tests tests, int32_t number):
    """The node whose value decides a test; -1 if there are others, or Python may have to run."""
    cdef const fgw_test* test = &tests._tests[number]
    cdef int32_t node = -1, other
    if test.kind > NOT:
        return -1 if test.kind == CONTAINS_ID else test.node
    number = test.first
    while number >= 0:
        other = _only_node(tests, number)
        if other < 0 or node >= 0 and other != node:
            return -1
        node = other
        number = tests._tests[number].next
    return node


cdef int _refuses(const void* context, int32_t node, const fgw_span* spans) noexcept:
    """
    Whether a value fails what `_require` wants of it. Called during the walk: no Python runs here,
    so strings with escapes are left for `_holds`.
    """
    cdef _Tests tests = <_Tests>context
    cdef const fgw_required* required = tests._required
    cdef const char* p = spans[node].start
    cdef int32_t i
    if p[0] == c'"' and memchr(p, c"\\", spans[node].end - p) != NULL:
        return False
    for i in range(tests._required_count):
        if required[i].node == node and not tests._holds(required[i].test, spans):
            return True
    return False
