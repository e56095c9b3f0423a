# The walks over JSON text: _scan.h as the parts see it.

from libc.stdint cimport int64_t, uint64_t

cdef extern from "_scan.h" nogil:
    ctypedef struct fgw_member:
        const char* key
        const char* key_end
        const char* value
        const char* value_end
    ctypedef struct fgw_envelope:
        const char* name
        Py_ssize_t name_size
        int64_t sequence
        const char* data
        const char* data_end
    const char* fgw_look_at_processor()
    const char* fgw_skip_space(const char* p, const char* end)
    const char* fgw_skip_value(const char* p, const char* end)
    int fgw_next_member(const char** cursor, const char* end, int first, fgw_member* member)
    int fgw_match_envelope(const char* p, const char* end, fgw_envelope* found)
    int fgw_may_hold_two(const char* p, const char* end)
    int fgw_parse_int(const char* p, const char* end, int64_t* out)
    int fgw_parse_snowflake(const char* p, const char* end, int64_t* out)
    uint64_t fgw_hash_name(const char* p, Py_ssize_t size)
    int fgw_is_same_name(const char* a, const char* b, Py_ssize_t size)
