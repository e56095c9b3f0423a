/*
 * Walks over JSON text without building anything: where a value ends, where a key's value stands.
 *
 * The walks are depth-aware and understand strings, so what they find is certain for valid JSON.
 * They do not validate scalars. Every function takes a half-open range [p, end) and returns NULL
 * when the text breaks off or is not JSON; none reads at or beyond `end`.
 */
#ifndef FASTGW_SCAN_H
#define FASTGW_SCAN_H

#include <stdint.h>
#include <stddef.h>
#include <string.h>

#if defined(__SSE2__) || defined(_M_X64)
#include <emmintrin.h>
#define FASTGW_SSE2 1
#endif

#if defined(_MSC_VER)
#include <intrin.h>
static inline int fgw_ctz(unsigned mask) { unsigned long i; _BitScanForward(&i, mask); return (int)i; }
#else
static inline int fgw_ctz(unsigned mask) { return __builtin_ctz(mask); }
#endif

static inline const char *fgw_skip_space(const char *p, const char *end)
{
    while (p < end && (*p == ' ' || *p == '\n' || *p == '\r' || *p == '\t'))
        p++;
    return p;
}

/* p stands behind an opening quote; returns what stands behind the closing one. */
static inline const char *fgw_skip_string(const char *p, const char *end)
{
    while (p < end) {
#ifdef FASTGW_SSE2
        /* bench/test_feed.py "guild_id": 16 bytes a step, 2.4 times the byte loop on 1 KB */
        if (end - p >= 16) {
            __m128i block = _mm_loadu_si128((const __m128i *)p);
            unsigned mask = (unsigned)_mm_movemask_epi8(_mm_or_si128(
                _mm_cmpeq_epi8(block, _mm_set1_epi8('"')),
                _mm_cmpeq_epi8(block, _mm_set1_epi8('\\'))));
            if (mask == 0) {
                p += 16;
                continue;
            }
            p += fgw_ctz(mask);
        }
#endif
        if (*p == '"')
            return p + 1;
        if (*p == '\\') {
            if (end - p < 2)
                return NULL;
            p += 2;
        } else {
            p++;
        }
    }
    return NULL;
}

/* p stands behind an opening brace or bracket; returns what stands behind the one that closes it. */
static inline const char *fgw_skip_container(const char *p, const char *end)
{
    ptrdiff_t depth = 1;
    while (p < end) {
#ifdef FASTGW_SSE2
        /*
         * Brackets and braces differ from each other in one bit each way: or-ing 0x20 folds '[' on
         * '{' and ']' on '}'. Kinds are not matched against each other; that is orjson's work.
         */
        if (end - p >= 16) {
            __m128i block = _mm_loadu_si128((const __m128i *)p);
            __m128i folded = _mm_or_si128(block, _mm_set1_epi8(0x20));
            unsigned mask = (unsigned)_mm_movemask_epi8(_mm_or_si128(
                _mm_cmpeq_epi8(block, _mm_set1_epi8('"')),
                _mm_or_si128(_mm_cmpeq_epi8(folded, _mm_set1_epi8('{')),
                             _mm_cmpeq_epi8(folded, _mm_set1_epi8('}')))));
            if (mask == 0) {
                p += 16;
                continue;
            }
            p += fgw_ctz(mask);
        }
#endif
        switch (*p++) {
        case '"':
            p = fgw_skip_string(p, end);
            if (p == NULL)
                return NULL;
            break;
        case '{':
        case '[':
            depth++;
            break;
        case '}':
        case ']':
            if (--depth == 0)
                return p;
            break;
        default:
            break;
        }
    }
    return NULL;
}

/* p stands on the first byte of a value; returns what stands behind its last. */
static inline const char *fgw_skip_value(const char *p, const char *end)
{
    const char *start = p;
    if (p >= end)
        return NULL;
    switch (*p) {
    case '"':
        return fgw_skip_string(p + 1, end);
    case '{':
    case '[':
        return fgw_skip_container(p + 1, end);
    default:
        while (p < end && *p != ',' && *p != '}' && *p != ']' && *p != ' ' && *p != '\n' &&
               *p != '\r' && *p != '\t' && *p != '"' && *p != ':' && *p != '{' && *p != '[')
            p++;
        return p == start ? NULL : p;
    }
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

#endif
