/*
 * What _scan.h asks of 16 or 64 bytes at once: by SSE2 or NEON, which every processor of the target
 * has, by AVX2 where import finds it, and byte by byte elsewhere.
 */
#ifndef FASTGW_SIMD_H
#define FASTGW_SIMD_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* FASTGW_SIMD: 0 byte by byte, 1 what every processor of the target has, 2 newer ones as well. */
#ifndef FASTGW_SIMD
#define FASTGW_SIMD 2
#endif

#if FASTGW_SIMD >= 1 && (defined(__SSE2__) || defined(_M_X64))
#include <emmintrin.h>
#define FASTGW_SSE2 1
#elif FASTGW_SIMD >= 1 && (defined(__aarch64__) || defined(_M_ARM64))
#include <arm_neon.h>
#define FASTGW_NEON 1
#endif

/* Functions for newer processors stand beside the others, where the compiler can do that. */
#if FASTGW_SIMD >= 2 && defined(FASTGW_SSE2) && defined(__GNUC__)
#include <immintrin.h>
#define FASTGW_AVX2 __attribute__((target("avx2,pclmul,popcnt")))
static int fgw_has_avx2;
#endif

/* Call it before all others; says which instructions they will use. */
static inline const char *fgw_look_at_processor(void)
{
#ifdef FASTGW_AVX2
    fgw_has_avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("pclmul") &&
                   __builtin_cpu_supports("popcnt");
    if (fgw_has_avx2)
        return "avx2";
#endif
#if defined(FASTGW_SSE2)
    return "sse2";
#elif defined(FASTGW_NEON)
    return "neon";
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
static inline ptrdiff_t fgw_popcount(uint64_t bits)
{
    bits -= bits >> 1 & UINT64_C(0x5555555555555555);
    bits = (bits & UINT64_C(0x3333333333333333)) + (bits >> 2 & UINT64_C(0x3333333333333333));
    bits = (bits + (bits >> 4)) & UINT64_C(0x0F0F0F0F0F0F0F0F);
    return (ptrdiff_t)(bits * UINT64_C(0x0101010101010101) >> 56);
}

/* Of 16 bytes: where the first quote or backslash stands, 16 if nowhere. */
static inline int fgw_find_quote_or_backslash(const char *p)
{
#if defined(FASTGW_SSE2)
    __m128i bytes = _mm_loadu_si128((const __m128i *)p);
    unsigned mask = (unsigned)_mm_movemask_epi8(_mm_or_si128(
        _mm_cmpeq_epi8(bytes, _mm_set1_epi8('"')), _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\\'))));
    return fgw_ctz(mask | 0x10000);
#elif defined(FASTGW_NEON)
    uint8x16_t bytes = vld1q_u8((const uint8_t *)p);
    uint8x16_t found = vorrq_u8(vceqq_u8(bytes, vdupq_n_u8('"')), vceqq_u8(bytes, vdupq_n_u8('\\')));
    /* Four bits a byte: NEON has no instruction that takes one of each. */
    uint64_t mask = vget_lane_u64(
        vreinterpret_u64_u8(vshrn_n_u16(vreinterpretq_u16_u8(found), 4)), 0);
    return mask == 0 ? 16 : fgw_ctz(mask) >> 2;
#else
    int i = 0;
    while (i < 16 && p[i] != '"' && p[i] != '\\')
        i++;
    return i;
#endif
}

/*
 * 64 bytes at a time, one bit a byte: which are quotes, backslashes, opening and closing brackets.
 * Brackets and braces differ in one bit: or-ing 0x20 folds '[' on '{' and ']' on '}'.
 */
typedef struct {
    uint64_t quotes, backslashes, opens, closes;
} fgw_block;

#ifdef FASTGW_NEON
static inline uint64_t fgw_mask64(uint8x16_t a, uint8x16_t b, uint8x16_t c, uint8x16_t d)
{
    static const uint8_t bit_of[16] = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
    uint8x16_t bits = vld1q_u8(bit_of);
    uint8x16_t low = vpaddq_u8(vandq_u8(a, bits), vandq_u8(b, bits));
    uint8x16_t high = vpaddq_u8(vandq_u8(c, bits), vandq_u8(d, bits));
    low = vpaddq_u8(low, high);
    return vgetq_lane_u64(vreinterpretq_u64_u8(vpaddq_u8(low, low)), 0);
}

static inline uint64_t fgw_equal64(const uint8x16_t *bytes, uint8_t folded, uint8_t value)
{
    uint8x16_t fold = vdupq_n_u8(folded), wanted = vdupq_n_u8(value);
    return fgw_mask64(vceqq_u8(vorrq_u8(bytes[0], fold), wanted),
                      vceqq_u8(vorrq_u8(bytes[1], fold), wanted),
                      vceqq_u8(vorrq_u8(bytes[2], fold), wanted),
                      vceqq_u8(vorrq_u8(bytes[3], fold), wanted));
}
#endif

static inline fgw_block fgw_classify(const char *p)
{
    fgw_block block = {0, 0, 0, 0};
#if defined(FASTGW_SSE2)
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
#elif defined(FASTGW_NEON)
    uint8x16_t bytes[4];
    for (int i = 0; i < 4; i++)
        bytes[i] = vld1q_u8((const uint8_t *)p + 16 * i);
    block.quotes = fgw_equal64(bytes, 0, '"');
    block.backslashes = fgw_equal64(bytes, 0, '\\');
    block.opens = fgw_equal64(bytes, 0x20, '{');
    block.closes = fgw_equal64(bytes, 0x20, '}');
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

#ifdef FASTGW_AVX2
FASTGW_AVX2 static inline uint64_t fgw_equal_avx2(__m256i low, __m256i high, char value)
{
    __m256i wanted = _mm256_set1_epi8(value);
    return (uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(low, wanted)) |
           (uint64_t)(uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(high, wanted)) << 32;
}

FASTGW_AVX2 static inline fgw_block fgw_classify_avx2(const char *p)
{
    __m256i low = _mm256_loadu_si256((const __m256i *)p);
    __m256i high = _mm256_loadu_si256((const __m256i *)(p + 32));
    __m256i fold = _mm256_set1_epi8(0x20);
    fgw_block block;
    __m256i backslash = _mm256_set1_epi8('\\');
    __m256i some = _mm256_or_si256(_mm256_cmpeq_epi8(low, backslash),
                                   _mm256_cmpeq_epi8(high, backslash));
    block.quotes = fgw_equal_avx2(low, high, '"');
    /* Most blocks have none: a guild of 94 KB is skipped in 6.3 us, not 7.4. */
    block.backslashes = _mm256_testz_si256(some, some) ? 0 : fgw_equal_avx2(low, high, '\\');
    low = _mm256_or_si256(low, fold);
    high = _mm256_or_si256(high, fold);
    block.opens = fgw_equal_avx2(low, high, '{');
    block.closes = fgw_equal_avx2(low, high, '}');
    return block;
}

/* The carry-less product with all ones is the parity of the bits up to each. */
FASTGW_AVX2 static inline uint64_t fgw_parity_avx2(uint64_t bits)
{
    return (uint64_t)_mm_cvtsi128_si64(
        _mm_clmulepi64_si128(_mm_set_epi64x(0, (long long)bits), _mm_set1_epi8(-1), 0));
}

FASTGW_AVX2 static inline ptrdiff_t fgw_popcount_avx2(uint64_t bits)
{
    return __builtin_popcountll(bits);
}
#endif

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

#ifdef FASTGW_NEON
static inline uint8x16_t fgw_odd_braces(const char *p)
{
    int8x16_t before = vld1q_s8((const int8_t *)p);
    uint8x16_t at = vld1q_u8((const uint8_t *)p + 1);
    uint8x16_t odd = vcltq_s8(vaddq_s8(before, vdupq_n_s8(3)), vdupq_n_s8(0x24));
    return vandq_u8(odd, vceqq_u8(at, vdupq_n_u8('{')));
}
#endif

#ifdef FASTGW_AVX2
FASTGW_AVX2 static inline __m256i fgw_odd_braces_avx2(const char *p)
{
    __m256i before = _mm256_loadu_si256((const __m256i *)p);
    __m256i at = _mm256_loadu_si256((const __m256i *)(p + 1));
    before = _mm256_cmpgt_epi8(_mm256_set1_epi8(0x24),
                               _mm256_add_epi8(before, _mm256_set1_epi8(3)));
    return _mm256_and_si256(before, _mm256_cmpeq_epi8(at, _mm256_set1_epi8('{')));
}

FASTGW_AVX2 static int fgw_may_hold_two_avx2(const char *p, const char *end)
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
#ifdef FASTGW_NEON
    if (end - p > 16) {
        uint8x16_t found = vdupq_n_u8(0);
        const char *last = end - 17;
        for (; p < last; p += 16)
            found = vorrq_u8(found, fgw_odd_braces(p));
        return vmaxvq_u8(vorrq_u8(found, fgw_odd_braces(last))) != 0;
    }
#endif
    return fgw_may_hold_two_bytewise(p, end);
}

#endif
