# Header of fields.pyx, and of the walk in _walk.h.

from libc.stdint cimport int32_t, int64_t

cdef extern from "_walk.h" nogil:
    ctypedef struct fgw_node:
        const char* key
        int32_t size
        int32_t child
        int32_t sibling
        int32_t wanted
        int32_t is_wanted
        int32_t is_checked
    ctypedef struct fgw_span:
        const char* start
        const char* end
    ctypedef struct fgw_check:
        int (*refuses)(const void* context, int32_t node, const fgw_span* spans)
        const void* context
        int is_refused


cdef class _PathTree:
    cdef fgw_node* _nodes
    cdef int32_t _count
    cdef int32_t _wanted            # values to be found
    cdef list _keys                 # of the nodes: keeps alive what they point to

    cdef int32_t _add(self, tuple keys) except -1
    cdef bytes _nodes_of(self, tuple paths)
    cdef int32_t _child_of(self, int32_t parent, bytes key) except -1
    cdef fgw_span* _walk(self, const char* p, const char* end, fgw_span* some,
                         fgw_check* check) except? NULL


cdef class Fields:
    cdef readonly tuple paths
    cdef tuple _keys                # of each path
    cdef _PathTree _tree
    cdef bytes _nodes               # of the paths, as an array of int32_t

    cdef tuple _read(self, const char* p, const char* end, object missing)
    cdef tuple _index(self, object data, object missing)
