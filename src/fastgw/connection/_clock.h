/*
 * Seconds of a clock that only goes on; half the time of calling time.monotonic(). For
 * differences among its own readings: it need not be the clock of time.monotonic(), which on
 * macOS stands still during sleep, and on Windows before Python 3.13 goes in steps of 15.6 ms.
 */
#ifndef FASTGW_CLOCK_H
#define FASTGW_CLOCK_H

#ifdef _WIN32
#include <windows.h>
static inline double fgw_now(void) {
    LARGE_INTEGER count, frequency;
    QueryPerformanceCounter(&count);
    QueryPerformanceFrequency(&frequency);
    return (double)count.QuadPart / (double)frequency.QuadPart;
}
#else
#include <time.h>
static inline double fgw_now(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}
#endif

#endif
