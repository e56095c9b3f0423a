/*
 * Walks over JSON text without building anything: where a value ends, where a key's value stands.
 *
 * The walks are depth-aware and understand strings, so what they find is certain for valid JSON.
 * They do not validate scalars. Every function takes a half-open range [p, end) and returns NULL
 * when the text breaks off or is not JSON; none reads at or beyond `end`.
 */
#ifndef FASTGW_SCAN_H
#define FASTGW_SCAN_H

#include "_simd.h"

/* Keeps what is seldom needed out of loops that have few registers. */
#if defined(__GNUC__)
#define FGW_APART __attribute__((noinline, unused))
#elif defined(_MSC_VER)
#define FGW_APART __declspec(noinline)
#else
#define FGW_APART
#endif

static inline const char *fgw_skip_space(const char *p, const char *end)
{
    while (p < end && (*p == ' ' || *p == '\n' || *p == '\r' || *p == '\t'))
        p++;
    return p;
}

static FGW_APART const char *fgw_seek_quote_or_backslash(const char *p, const char *end)
{
    for (; end - p >= 16; p += 16) {
        int at = fgw_find_quote_or_backslash(p);
        if (at < 16)
            return p + at;
    }
    for (; p < end; p++) {
        if (*p == '"' || *p == '\\')
            return p;
    }
    return NULL;
}

/*
 * p stands in a string; returns its next quote or backslash.
 *
 * A walk over the members of small events takes 8 to 27 % less than with a byte loop.
 */
static inline const char *fgw_to_quote_or_backslash(const char *p, const char *end)
{
    if (end - p >= 16) {
        int at = fgw_find_quote_or_backslash(p);
        if (at < 16)
            return p + at;
        p += 16;
    }
    return fgw_seek_quote_or_backslash(p, end);
}

/* p stands behind an opening quote; returns what stands behind the closing one. */
static inline const char *fgw_skip_string(const char *p, const char *end)
{
    while ((p = fgw_to_quote_or_backslash(p, end)) != NULL) {
        if (*p == '"')
            return p + 1;
        if (end - p < 2)
            return NULL;
        p += 2;
    }
    return NULL;
}

/*
 * p stands behind an opening brace or bracket; returns what stands behind the one that closes it.
 * Kinds are not matched against each other; that is orjson's work.
 *
 * A block in which the container cannot end costs the same whatever is in it, about 0.1 ns a byte
 * (bench/test_feed.py, "name and guild_id"), 0.06 with AVX2; stopping at every quote and bracket costs
 * 0.5. `classify` stands there once, as its constants then stay in registers: 0.93 of the time.
 */
#define FGW_SKIP_CONTAINER(name, classify, parity, popcount)                                     \
    static inline const char *name(const char *p, const char *end)                               \
    {                                                                                            \
        ptrdiff_t depth = 1;                                                                     \
        uint64_t in_string = 0, escape = 0;                                                      \
        char tail[64];                                                                           \
        for (; p < end; p += 64) {                                                               \
            const char *at = p;                                                                  \
            fgw_block block;                                                                     \
            uint64_t string;                                                                     \
            if (end - p < 64) {                                                                  \
                memset(tail, ' ', sizeof(tail));                                                 \
                memcpy(tail, p, (size_t)(end - p));                                              \
                at = tail;                                                                       \
            }                                                                                    \
            block = classify(at);                                                                \
            if (block.backslashes | escape)                                                      \
                block.quotes &= ~fgw_escaped(block.backslashes, &escape);                        \
            string = parity(block.quotes) ^ in_string;                                           \
            in_string = 0 - (string >> 63);                                                      \
            block.opens &= ~string;                                                              \
            block.closes &= ~string;                                                             \
            if (depth > popcount(block.closes)) {                                                \
                depth += popcount(block.opens) - popcount(block.closes);                         \
            } else {                                                                             \
                uint64_t brackets = block.opens | block.closes;                                  \
                while (brackets) {                                                               \
                    uint64_t bit = brackets & (0 - brackets);                                    \
                    if (block.opens & bit)                                                       \
                        depth++;                                                                 \
                    else if (--depth == 0)                                                       \
                        return p + fgw_ctz(bit) + 1;                                             \
                    brackets ^= bit;                                                             \
                }                                                                                \
            }                                                                                    \
        }                                                                                        \
        return NULL;                                                                             \
    }

FGW_SKIP_CONTAINER(fgw_skip_container_everywhere, fgw_classify, fgw_parity, fgw_popcount)
#ifdef FASTGW_AVX2
FASTGW_AVX2 FGW_SKIP_CONTAINER(fgw_skip_container_avx2, fgw_classify_avx2, fgw_parity_avx2,
                               fgw_popcount_avx2)
#endif

static FGW_APART const char *fgw_skip_container(const char *p, const char *end)
{
#ifdef FASTGW_AVX2
    if (fgw_has_avx2)
        return fgw_skip_container_avx2(p, end);
#endif
    return fgw_skip_container_everywhere(p, end);
}

/* The bytes at which a number or a name ends, whatever it is. */
static const unsigned char fgw_ends_scalar[256] = {
    [' '] = 1, ['\n'] = 1, ['\r'] = 1, ['\t'] = 1, [','] = 1, ['}'] = 1,
    [']'] = 1, ['"'] = 1,  [':'] = 1,  ['{'] = 1,  ['['] = 1,
};

/* p stands on the first byte of a number or a name, before the end; returns what stands behind it. */
static inline const char *fgw_skip_scalar(const char *p, const char *end)
{
    const char *start = p;
    if (end - p > 5) {
        if (fgw_ends_scalar[(unsigned char)p[4]] &&
            (memcmp(p, "null", 4) == 0 || memcmp(p, "true", 4) == 0))
            return p + 4;
        if (fgw_ends_scalar[(unsigned char)p[5]] && memcmp(p, "false", 5) == 0)
            return p + 5;
    }
    while (p < end && !fgw_ends_scalar[(unsigned char)*p])
        p++;
    return p == start ? NULL : p;
}

/* p stands on the first byte of a value; returns what stands behind its last. */
static inline const char *fgw_skip_value(const char *p, const char *end)
{
    if (p >= end)
        return NULL;
    if (*p == '"')
        return fgw_skip_string(p + 1, end);
    if (*p == '{' || *p == '[') {
        if (end - p > 1 && p[1] == *p + 2) /* "[]" and "{}" are frequent */
            return p + 2;
        return fgw_skip_container(p + 1, end);
    }
    return fgw_skip_scalar(p, end);
}

/* One member of an object: its key without quotes, its value, both as ranges. */
typedef struct {
    const char *key, *key_end, *value, *value_end;
} fgw_member;

/*
 * Reads the next member. `*cursor` stands behind the opening brace at first and is moved along.
 * Returns 1 with `member` filled, 0 at the closing brace (`*cursor` behind it), -1 if it is not JSON.
 */
static inline int fgw_next_member(const char **cursor, const char *end, int first, fgw_member *member)
{
    const char *p = fgw_skip_space(*cursor, end);
    if (p >= end)
        return -1;
    if (*p == '}') {
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
    if (*p != '"')
        return -1;
    member->key = p + 1;
    p = fgw_skip_string(p + 1, end);
    if (p == NULL)
        return -1;
    member->key_end = p - 1;
    p = fgw_skip_space(p, end);
    if (p >= end || *p != ':')
        return -1;
    p = fgw_skip_space(p + 1, end);
    member->value = p;
    p = fgw_skip_value(p, end);
    if (p == NULL)
        return -1;
    member->value_end = p;
    *cursor = p;
    return 1;
}

/*
 * A JSON integer that fills [p, end) exactly, 18 digits at most. Returns 1 and stores it, else 0.
 */
static inline int fgw_parse_int(const char *p, const char *end, int64_t *out)
{
    int64_t value = 0;
    int negative = 0;
    if (p < end && *p == '-') {
        negative = 1;
        p++;
    }
    if (p >= end || end - p > 18 || (*p == '0' && end - p > 1))
        return 0;
    for (; p < end; p++) {
        if (*p < '0' || *p > '9')
            return 0;
        value = value * 10 + (*p - '0');
    }
    *out = negative ? -value : value;
    return 1;
}

/* A snowflake: decimal digits that fill [p, end), below 2^63. Returns 1 and stores it, else 0. */
static inline int fgw_parse_snowflake(const char *p, const char *end, int64_t *out)
{
    uint64_t value = 0;
    if (p >= end || end - p > 19)
        return 0;
    for (; p < end; p++) {
        if (*p < '0' || *p > '9')
            return 0;
        value = value * 10 + (uint64_t)(*p - '0');
    }
    if (value > (uint64_t)INT64_MAX)
        return 0;
    *out = (int64_t)value;
    return 1;
}

/* The template: {"t":"NAME","s":N,"op":0,"d":D}. The span of D ends before the last brace. */
typedef struct {
    const char *name;
    ptrdiff_t name_size;
    int64_t sequence;
    const char *data, *data_end;
} fgw_envelope;

/* If [p, end) begins with the literal `text`, moves p behind it; says whether it did. */
#define FGW_TAKE(p, end, text)                           \
    ((end) - (p) >= (ptrdiff_t)(sizeof(text) - 1) &&     \
     memcmp((p), (text), sizeof(text) - 1) == 0          \
         ? ((p) += sizeof(text) - 1, 1)                  \
         : 0)

/*
 * Matches a whole message byte for byte with the template, which is what Discord has sent since
 * 2018; N has 18 digits at most, as an int64_t holds any 18. Returns 1 with `found` filled, or 0: then
 * somebody has to look closer. What NAME and D are is not looked into, except that NAME has no escapes
 * and that D is not empty and does not begin with space; that D is the last member is likely, and not
 * certain.
 */
static inline int fgw_match_envelope(const char *p, const char *end, fgw_envelope *found)
{
    const char *digits;
    int64_t sequence = 0;
    if (!FGW_TAKE(p, end, "{\"t\":\""))
        return 0;
    found->name = p;
    p = fgw_to_quote_or_backslash(p, end);
    if (p == NULL)
        return 0;
    found->name_size = p - found->name;
    if (!FGW_TAKE(p, end, "\",\"s\":"))
        return 0;
    for (digits = p; p < end && *p >= '0' && *p <= '9'; p++) {
        if (p - digits == 18)
            return 0;
        sequence = sequence * 10 + (*p - '0');
    }
    if (p == digits || (*digits == '0' && p - digits > 1))
        return 0;
    found->sequence = sequence;
    if (!FGW_TAKE(p, end, ",\"op\":0,\"d\":"))
        return 0;
    found->data = p;
    found->data_end = end - 1;
    return found->data_end > found->data && *found->data_end == '}' &&
           fgw_skip_space(p, end) == p;
}

static inline uint64_t fgw_load8(const char *p)
{
    uint64_t word;
    memcpy(&word, p, 8);
    return word;
}

/* Names share long prefixes and suffixes; first and last 8 bytes with the length tell all apart. */
static inline uint64_t fgw_hash_name(const char *p, ptrdiff_t size)
{
    uint64_t h;
    if (size >= 8) {
        h = fgw_load8(p) * UINT64_C(0x9E3779B97F4A7C15) ^ fgw_load8(p + size - 8);
    } else {
        h = 0;
        for (ptrdiff_t i = 0; i < size; i++)
            h = h << 8 | (unsigned char)p[i];
    }
    h = (h ^ (uint64_t)size) * UINT64_C(0xD6E8FEB86659FD93);
    return h ^ h >> 32;
}

/* Whether two names of a size are the same: words, as to call memcmp costs more than most names. */
static inline int fgw_is_same_name(const char *a, const char *b, ptrdiff_t size)
{
    if (size < 8)
        return memcmp(a, b, (size_t)size) == 0;
    for (ptrdiff_t i = 0; i < size - 8; i += 8) {
        if (fgw_load8(a + i) != fgw_load8(b + i))
            return 0;
    }
    return fgw_load8(a + size - 8) == fgw_load8(b + size - 8);
}

#endif
