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

/* FASTGW_SIMD: 0 byte by byte, 1 what every processor of the target has, 2 newer ones as well. */
#ifndef FASTGW_SIMD
#define FASTGW_SIMD 2
#endif

#if FASTGW_SIMD >= 1 && (defined(__SSE2__) || defined(_M_X64))
#include <emmintrin.h>
#define FASTGW_SSE2 1
#endif

/* Where the compiler can, functions for newer processors stand beside; import asks which it is. */
#if FASTGW_SIMD >= 2 && defined(FASTGW_SSE2) && defined(__GNUC__)
#include <immintrin.h>
#define FASTGW_AVX2 1
static int fgw_has_avx2;
#endif

/* Call it before all others; says which instructions they will use. */
static inline const char *fgw_look_at_processor(void)
{
#ifdef FASTGW_AVX2
    fgw_has_avx2 = __builtin_cpu_supports("avx2") != 0;
    if (fgw_has_avx2)
        return "avx2";
#endif
#ifdef FASTGW_SSE2
    return "sse2";
#else
    return "none";
#endif
}

#if defined(_MSC_VER)
#include <intrin.h>
static inline int fgw_ctz(uint64_t bits)
{
    unsigned long index;
    _BitScanForward64(&index, bits);
    return (int)index;
}
#else
static inline int fgw_ctz(uint64_t bits) { return __builtin_ctzll(bits); }
#endif

/* Bit counting in words: baseline x86-64 has no instruction for it. */
static inline int fgw_popcount(uint64_t bits)
{
    bits -= bits >> 1 & UINT64_C(0x5555555555555555);
    bits = (bits & UINT64_C(0x3333333333333333)) + (bits >> 2 & UINT64_C(0x3333333333333333));
    bits = (bits + (bits >> 4)) & UINT64_C(0x0F0F0F0F0F0F0F0F);
    return (int)(bits * UINT64_C(0x0101010101010101) >> 56);
}

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
        /* A walk over the members of small events takes 8 to 27 % less than with a byte loop. */
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

/*
 * 64 bytes at a time, one bit a byte: which are quotes, backslashes, opening and closing brackets.
 * Brackets and braces differ in one bit: or-ing 0x20 folds '[' on '{' and ']' on '}'.
 */
typedef struct {
    uint64_t quotes, backslashes, opens, closes;
} fgw_block;

static inline fgw_block fgw_classify(const char *p)
{
    fgw_block block = {0, 0, 0, 0};
#ifdef FASTGW_SSE2
    for (int i = 0; i < 4; i++) {
        __m128i bytes = _mm_loadu_si128((const __m128i *)(p + 16 * i));
        __m128i folded = _mm_or_si128(bytes, _mm_set1_epi8(0x20));
        int shift = 16 * i;
        block.quotes |= (uint64_t)_mm_movemask_epi8(_mm_cmpeq_epi8(bytes, _mm_set1_epi8('"')))
                        << shift;
        block.backslashes |=
            (uint64_t)_mm_movemask_epi8(_mm_cmpeq_epi8(bytes, _mm_set1_epi8('\\'))) << shift;
        block.opens |= (uint64_t)_mm_movemask_epi8(_mm_cmpeq_epi8(folded, _mm_set1_epi8('{')))
                       << shift;
        block.closes |= (uint64_t)_mm_movemask_epi8(_mm_cmpeq_epi8(folded, _mm_set1_epi8('}')))
                        << shift;
    }
#else
    for (int i = 0; i < 64; i++) {
        block.quotes |= (uint64_t)(p[i] == '"') << i;
        block.backslashes |= (uint64_t)(p[i] == '\\') << i;
        block.opens |= (uint64_t)((p[i] | 0x20) == '{') << i;
        block.closes |= (uint64_t)((p[i] | 0x20) == '}') << i;
    }
#endif
    return block;
}

/* Every bit becomes the parity of the bits up to it: between two quotes all bits are set. */
static inline uint64_t fgw_parity(uint64_t bits)
{
    bits ^= bits << 1;
    bits ^= bits << 2;
    bits ^= bits << 4;
    bits ^= bits << 8;
    bits ^= bits << 16;
    bits ^= bits << 32;
    return bits;
}

/* Bits of the bytes that a backslash before them escapes. `*carry`: the block's first is one. */
static inline uint64_t fgw_escaped(uint64_t backslashes, uint64_t *carry)
{
    uint64_t escaped = *carry;
    backslashes &= ~escaped;
    while (backslashes) {
        uint64_t bit = backslashes & (0 - backslashes);
        *carry = bit >> 63;
        escaped |= bit << 1;
        /* A backslash that is escaped itself escapes nothing. */
        backslashes &= ~(bit | bit << 1);
        if (*carry)
            return escaped;
    }
    *carry = 0;
    return escaped;
}

/*
 * p stands behind an opening brace or bracket; returns what stands behind the one that closes it.
 * Kinds are not matched against each other; that is orjson's work.
 *
 * A block in which the container cannot end costs the same whatever is in it, about 0.1 ns a byte
 * (bench/test_feed.py, "name and guild_id"); stopping at every quote and bracket costs 0.5.
 */
static inline const char *fgw_skip_container(const char *p, const char *end)
{
    ptrdiff_t depth = 1;
    uint64_t in_string = 0, escape = 0;
    char tail[64];
    while (p < end) {
        fgw_block block;
        uint64_t string;
        if (end - p >= 64) {
            block = fgw_classify(p);
        } else {
            memset(tail, ' ', sizeof(tail));
            memcpy(tail, p, (size_t)(end - p));
            block = fgw_classify(tail);
        }
        if (block.backslashes | escape)
            block.quotes &= ~fgw_escaped(block.backslashes, &escape);
        string = fgw_parity(block.quotes) ^ in_string;
        in_string = 0 - (string >> 63);
        block.opens &= ~string;
        block.closes &= ~string;
        if (depth > fgw_popcount(block.closes)) {
            depth += fgw_popcount(block.opens) - fgw_popcount(block.closes);
        } else {
            uint64_t brackets = block.opens | block.closes;
            while (brackets) {
                uint64_t bit = brackets & (0 - brackets);
                if (block.opens & bit)
                    depth++;
                else if (--depth == 0)
                    return p + fgw_ctz(bit) + 1;
                brackets ^= bit;
            }
        }
        p += 64;
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
 * somebody has to look closer. What NAME and D are is not looked into, except that D is not empty
 * and does not begin with space; that D is the last member is likely, and not certain.
 */
static inline int fgw_match_envelope(const char *p, const char *end, fgw_envelope *found)
{
    const char *digits;
    int64_t sequence = 0;
    if (!FGW_TAKE(p, end, "{\"t\":\""))
        return 0;
    found->name = p;
    p = (const char *)memchr(p, '"', (size_t)(end - p));
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

/*
 * Says whether a second object may begin within [p, end): whether some opening brace stands behind
 * a closing one, space, or anything else that is 0x7D or above or 0x20 or below.
 *
 * In compact JSON a brace outside of strings stands behind a comma, a colon or a bracket only, so
 * "no" is certain. "Yes" may be a text of somebody's, and somebody has to look closer. It is the
 * only look at the data of an event that nobody wants: 0.03 ns a byte, 0.01 with AVX2
 * (bench/test_feed.py, "dropped").
 */
static inline int fgw_may_hold_two_bytewise(const char *p, const char *end)
{
    for (; end - p > 1; p++) {
        unsigned char before = (unsigned char)p[0];
        if (p[1] == '{' && (before <= 0x20 || before >= 0x7D))
            return 1;
    }
    return 0;
}

#ifdef FASTGW_SSE2
/* Of 17 bytes: which of the last 16 are such braces. */
static inline __m128i fgw_odd_braces(const char *p)
{
    __m128i before = _mm_loadu_si128((const __m128i *)p);
    __m128i at = _mm_loadu_si128((const __m128i *)(p + 1));
    /* Plus 3, 0x7D becomes the smallest signed byte there is, and 0x20 becomes 0x23. */
    before = _mm_cmplt_epi8(_mm_add_epi8(before, _mm_set1_epi8(3)), _mm_set1_epi8(0x24));
    return _mm_and_si128(before, _mm_cmpeq_epi8(at, _mm_set1_epi8('{')));
}
#endif

#ifdef FASTGW_AVX2
__attribute__((target("avx2"))) static inline __m256i fgw_odd_braces_avx2(const char *p)
{
    __m256i before = _mm256_loadu_si256((const __m256i *)p);
    __m256i at = _mm256_loadu_si256((const __m256i *)(p + 1));
    before = _mm256_cmpgt_epi8(_mm256_set1_epi8(0x24),
                               _mm256_add_epi8(before, _mm256_set1_epi8(3)));
    return _mm256_and_si256(before, _mm256_cmpeq_epi8(at, _mm256_set1_epi8('{')));
}

__attribute__((target("avx2"))) static int fgw_may_hold_two_avx2(const char *p, const char *end)
{
    __m256i found = _mm256_setzero_si256();
    const char *last = end - 33;
    for (; last - p >= 128; p += 128)
        for (int i = 0; i < 128; i += 32)
            found = _mm256_or_si256(found, fgw_odd_braces_avx2(p + i));
    for (; p < last; p += 32)
        found = _mm256_or_si256(found, fgw_odd_braces_avx2(p));
    return _mm256_movemask_epi8(_mm256_or_si256(found, fgw_odd_braces_avx2(last))) != 0;
}
#endif

static inline int fgw_may_hold_two(const char *p, const char *end)
{
#ifdef FASTGW_AVX2
    if (end - p > 128 && fgw_has_avx2)
        return fgw_may_hold_two_avx2(p, end);
#endif
#ifdef FASTGW_SSE2
    if (end - p > 16) {
        __m128i found = _mm_setzero_si128();
        const char *last = end - 17;
        for (; last - p >= 64; p += 64)
            for (int i = 0; i < 64; i += 16)
                found = _mm_or_si128(found, fgw_odd_braces(p + i));
        for (; p < last; p += 16)
            found = _mm_or_si128(found, fgw_odd_braces(p));
        return _mm_movemask_epi8(_mm_or_si128(found, fgw_odd_braces(last))) != 0;
    }
#endif
    return fgw_may_hold_two_bytewise(p, end);
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
