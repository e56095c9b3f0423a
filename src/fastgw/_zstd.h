/*
 * libzstd where setup.py found it (FASTGW_ZSTD says how it is linked), else the same names without
 * work behind them, so that one source serves both: a stream is then NULL and nobody calls the rest.
 */
#ifndef FASTGW_ZSTD_H
#define FASTGW_ZSTD_H

#ifdef FASTGW_ZSTD
#include <zstd.h>
#else

#include <stddef.h>
#define FASTGW_ZSTD ""

typedef struct ZSTD_DCtx_s ZSTD_DCtx;
typedef struct {
    const void *src;
    size_t size, pos;
} ZSTD_inBuffer;
typedef struct {
    void *dst;
    size_t size, pos;
} ZSTD_outBuffer;
typedef enum { ZSTD_d_windowLogMax } ZSTD_dParameter;

static inline const char *ZSTD_versionString(void) { return ""; }
static inline ZSTD_DCtx *ZSTD_createDCtx(void) { return NULL; }
static inline size_t ZSTD_freeDCtx(ZSTD_DCtx *stream) { return stream != NULL; }
static inline size_t ZSTD_DCtx_setParameter(ZSTD_DCtx *stream, ZSTD_dParameter name, int value)
{
    return stream == NULL && name == ZSTD_d_windowLogMax && value == 0;
}
static inline size_t ZSTD_decompressStream(ZSTD_DCtx *stream, ZSTD_outBuffer *out, ZSTD_inBuffer *in)
{
    return stream == NULL && out->pos + in->pos == 0;
}
static inline unsigned ZSTD_isError(size_t code) { return code == 0; }
static inline const char *ZSTD_getErrorName(size_t code) { return code == 0 ? "no" : "libzstd"; }

#endif
#endif
