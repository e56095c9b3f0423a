/*
 * One walk over the members of an object that finds the values of many paths.
 *
 * The paths are a tree of keys: a node for each key of each path, children and siblings by number.
 * What the walk finds are spans of text; it builds nothing and validates no value. It stops as soon
 * as every path is decided, so of repeated members the first counts unless the second comes before
 * that: then, and with an escaped key in an object on a path, and where the text is not JSON, it says
 * that it does not understand, and somebody has to parse. It also stops where a value is enough to
 * say that nobody wants the rest.
 */
#ifndef FASTGW_WALK_H
#define FASTGW_WALK_H

#include "_scan.h"

typedef struct {
    const char *key;
    int32_t size;    /* of the key, in bytes */
    int32_t child;   /* the first child's number, or -1 */
    int32_t sibling; /* the next one's, or -1 */
    int32_t wanted;  /* how many values are wanted in this tree: of the node and below */
    int32_t is_wanted;
    int32_t is_checked; /* its value alone may refuse the object */
} fgw_node;

/* Where a value stands. NULL: there is none. */
typedef struct {
    const char *start, *end;
} fgw_span;

/* Who is asked during a walk whether a value of a checked node refuses the whole object. */
typedef struct {
    int (*refuses)(const void *context, int32_t node, const fgw_span *spans);
    const void *context;
    int is_refused; /* that is why the walk ended */
} fgw_check;

typedef struct {
    const fgw_node *nodes;
    fgw_span *spans;  /* one a node */
    const char *end;  /* of the text */
    int32_t left;     /* wanted values that are not decided yet */
    fgw_check *check; /* or NULL */
} fgw_walk;

static FGW_APART int32_t fgw_find_node(const fgw_node *nodes, int32_t node, const char *key,
                                       ptrdiff_t size)
{
    while (node >= 0 && (nodes[node].size != size || nodes[node].key[0] != key[0] ||
                         memcmp(nodes[node].key, key, (size_t)size) != 0))
        node = nodes[node].sibling;
    return node;
}

/* p stands behind a value, or behind the opening brace; returns the quote before the next key, the
 * closing brace, or NULL. */
static FGW_APART const char *fgw_seek_key(const char *p, const char *end, int is_first)
{
    p = fgw_skip_space(p, end);
    if (p >= end || *p == '}')
        return p < end ? p : NULL;
    if (!is_first) {
        if (*p != ',')
            return NULL;
        p = fgw_skip_space(p + 1, end);
    }
    return p < end && *p == '"' ? p : NULL;
}

/* p stands behind a key; returns where its value begins, or NULL. */
static FGW_APART const char *fgw_seek_value(const char *p, const char *end)
{
    p = fgw_skip_space(p, end);
    if (p >= end || *p != ':')
        return NULL;
    p = fgw_skip_space(p + 1, end);
    return p < end ? p : NULL;
}

static const char *fgw_walk_object(fgw_walk *walk, const char *p, int32_t first, int needs_end);

/* Takes the value at p for a node; returns what stands behind it, or NULL. */
static FGW_APART const char *fgw_take_value(fgw_walk *walk, const char *p, int32_t number,
                                            int needs_end)
{
    const fgw_node *node = &walk->nodes[number];
    fgw_span *span = &walk->spans[number];
    if (span->start != NULL)
        return NULL;
    span->start = p;
    if (node->child < 0 || *p != '{') {
        p = fgw_skip_value(p, walk->end);
        walk->left -= node->wanted; /* below what is no object there is nothing */
    } else {
        walk->left -= node->is_wanted;
        p = fgw_walk_object(walk, p + 1, node->child, needs_end | node->is_wanted);
    }
    if (p == NULL || p >= walk->end)
        return NULL; /* the text breaks off, perhaps inside a number */
    span->end = p;
    if (node->is_checked && walk->check != NULL &&
        walk->check->refuses(walk->check->context, number, walk->spans)) {
        walk->check->is_refused = 1;
        return NULL;
    }
    return p;
}

/*
 * Walks one object; p stands behind its opening brace, `first` is the first of its nodes.
 *
 * Returns what stands behind its closing brace (or, unless `needs_end`, where the walk stopped, when
 * nothing is left to be found anywhere), or NULL when it does not understand.
 */
static const char *fgw_walk_object(fgw_walk *walk, const char *p, int32_t first, int needs_end)
{
    const char *const end = walk->end;
    /*
     * Of keys that are looked for: most others differ from all in size. This, and the functions
     * apart, leave the loop its registers; together 16 % fewer instructions for an event that a
     * filter rejects, 9 % for values to a handler (bench/test_fields.py).
     */
    uint64_t sizes = 0;
    int32_t left_after = walk->left;
    for (int32_t node = first; node >= 0; node = walk->nodes[node].sibling) {
        left_after -= walk->nodes[node].wanted;
        sizes |= UINT64_C(1) << (walk->nodes[node].size & 63);
    }
    p = fgw_seek_key(p, end, 1);
    for (;;) {
        if (p == NULL)
            return NULL;
        if (*p == '}') {
            walk->left = left_after; /* what was not there is decided, too */
            return p + 1;
        }
        const char *key = p + 1;
        p = fgw_to_quote_or_backslash(key, end);
        if (p == NULL || *p != '"')
            return NULL; /* of a key with escapes nobody knows which it is */
        int is_candidate = sizes >> ((p - key) & 63) & 1;
        int32_t node = is_candidate ? fgw_find_node(walk->nodes, first, key, p - key) : -1;
        /* Compact JSON has no space: then one look at each of these places is enough. */
        if (end - p > 2 && p[1] == ':' && (unsigned char)p[2] > ' ')
            p += 2;
        else if ((p = fgw_seek_value(p + 1, end)) == NULL)
            return NULL;
        if (node < 0) {
            p = *p == '"' ? fgw_skip_string(p + 1, end) : fgw_skip_value(p, end);
            if (p == NULL)
                return NULL;
        } else {
            p = fgw_take_value(walk, p, node, needs_end);
            if (p == NULL)
                return NULL;
            if (walk->left == left_after) {
                if (left_after == 0 && !needs_end)
                    return p;
                return fgw_skip_container(p, end);
            }
        }
        if (end - p > 1 && p[0] == ',' && p[1] == '"')
            p++;
        else
            p = fgw_seek_key(p, end, 0);
    }
}

/*
 * Finds the values of a tree in the JSON text that begins at p and ends before `end`, where more text
 * may follow it. Returns 1 with `spans` filled, also for what is no object, and has none of the
 * paths; 0 when somebody has to parse, or when `check` (which may be NULL) says that it is refused.
 */
static inline int fgw_walk_paths(const fgw_node *nodes, int32_t count, int32_t wanted,
                                 const char *p, const char *end, fgw_span *spans,
                                 fgw_check *check)
{
    fgw_walk walk = {nodes, spans, end, wanted, check};
    memset(spans, 0, (size_t)count * sizeof(*spans));
    p = fgw_skip_space(p, end);
    if (p >= end)
        return 0;
    if (wanted == 0 || *p != '{')
        return 1;
    return fgw_walk_object(&walk, p + 1, 0, 0) != NULL;
}

/* What it takes to make a str of the bytes of a JSON string, without its quotes. */
enum { FGW_NEEDS_PARSING, FGW_IS_ASCII, FGW_IS_UTF8 };

/* [p, p + size) stands before `end`, and a quote stands behind it. */
static inline int fgw_kind_of_text(const char *p, ptrdiff_t size, const char *end)
{
    int kind = FGW_IS_ASCII;
    while (size > 0) {
#if defined(FASTGW_SSE2)
        if (end - p >= 16) {
            unsigned those = size >= 16 ? 0xFFFFu : (1u << size) - 1;
            __m128i bytes = _mm_loadu_si128((const __m128i *)p);
            __m128i control = _mm_cmpeq_epi8(_mm_min_epu8(bytes, _mm_set1_epi8(0x1F)), bytes);
            __m128i escape = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\\'));
            if ((unsigned)_mm_movemask_epi8(_mm_or_si128(control, escape)) & those)
                return FGW_NEEDS_PARSING;
            if ((unsigned)_mm_movemask_epi8(bytes) & those)
                kind = FGW_IS_UTF8;
            p += 16;
            size -= 16;
            continue;
        }
#elif defined(FASTGW_NEON)
        if (size >= 16) {
            uint8x16_t bytes = vld1q_u8((const uint8_t *)p);
            if (vminvq_u8(bytes) < 0x20 || vmaxvq_u8(vceqq_u8(bytes, vdupq_n_u8('\\'))))
                return FGW_NEEDS_PARSING;
            if (vmaxvq_u8(bytes) >= 0x80)
                kind = FGW_IS_UTF8;
            p += 16;
            size -= 16;
            continue;
        }
#endif
        if ((unsigned char)*p < 0x20 || *p == '\\')
            return FGW_NEEDS_PARSING;
        if ((unsigned char)*p >= 0x80)
            kind = FGW_IS_UTF8;
        p++;
        size--;
    }
    (void)end;
    return kind;
}

/* A decimal number as Python writes it, which fills [p, end): "-0", "007" and "+1" are none. */
static inline int fgw_parse_canonical(const char *p, const char *end, int64_t *out)
{
    const char *digits = p < end && *p == '-' ? p + 1 : p;
    uint64_t value = 0;
    if (end - digits < 1 || end - digits > 19 || (*digits == '0' && (end - p) > 1))
        return 0;
    for (const char *q = digits; q < end; q++) {
        if (*q < '0' || *q > '9')
            return 0;
        value = value * 10 + (uint64_t)(*q - '0');
    }
    if (value > (uint64_t)INT64_MAX)
        return 0; /* -2^63 as well: nobody's id */
    *out = digits == p ? (int64_t)value : -(int64_t)value;
    return 1;
}

/*
 * Reads the next element of a list, as fgw_next_member does the next member. `*cursor` stands behind
 * the opening bracket at first. Returns 1, 0 at the closing bracket, -1 if it is not JSON.
 */
static inline int fgw_next_element(const char **cursor, const char *end, int first, fgw_span *element)
{
    const char *p = fgw_skip_space(*cursor, end);
    if (p >= end)
        return -1;
    if (*p == ']') {
        *cursor = p + 1;
        return 0;
    }
    if (!first) {
        if (*p != ',')
            return -1;
        p = fgw_skip_space(p + 1, end);
        if (p >= end)
            return -1;
    }
    element->start = p;
    element->end = *cursor = fgw_skip_value(p, end);
    return element->end == NULL ? -1 : 1;
}

static inline uint64_t fgw_mixed(uint64_t h)
{
    h = (h ^ h >> 32) * UINT64_C(0xD6E8FEB86659FD93);
    h = (h ^ h >> 32) * UINT64_C(0xD6E8FEB86659FD93);
    return h ^ h >> 32;
}

static inline uint64_t fgw_hash_number(int64_t number) { return fgw_mixed((uint64_t)number); }

/* Of all bytes: unlike names of events, ids differ in the middle. */
static inline uint64_t fgw_hash_text(const char *p, ptrdiff_t size)
{
    uint64_t h = (uint64_t)size, rest = 0;
    for (; size >= 8; p += 8, size -= 8)
        h = fgw_mixed(h ^ fgw_load8(p));
    for (; size > 0; size--)
        rest = rest << 8 | (unsigned char)*p++;
    return fgw_mixed(h ^ rest);
}

#endif
