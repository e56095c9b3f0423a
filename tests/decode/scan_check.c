/*
 * Runs the walks of _scan.h over generated text and prints what they found, one line a check.
 *
 * Compiled once for each way in which _scan.h can be compiled: all must print the same. Every text
 * ends where its memory ends, so a sanitizer sees a read beyond it.
 */
#include "_scan.h"

#include <stdio.h>
#include <stdlib.h>

static uint64_t state = 88172645463325252u;

static unsigned next(unsigned below) /* xorshift64 */
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (unsigned)(state >> 33) % below;
}

/* Mostly the bytes that matter, so that quotes, escapes and brackets meet at every place. */
static void fill(char *text, size_t size, unsigned kind)
{
    static const char often[] = "\"\\{}[],: \n{}";
    for (size_t i = 0; i < size; i++) {
        unsigned roll = next(100);
        if (roll < (kind % 3 == 0 ? 60u : kind % 3 == 1 ? 10u : 3u))
            text[i] = often[next(sizeof(often) - 1)];
        else
            text[i] = roll < 98 ? (char)('a' + next(26)) : (char)next(256);
    }
}

static long at(const char *found, const char *text)
{
    return found == NULL ? -1 : (long)(found - text);
}

int main(void)
{
    uint64_t sum = 0;
    fgw_look_at_processor();
    for (unsigned round = 0; round < 60000; round++) {
        size_t size = round < 20000 ? round % 200 : next(900);
        char *text = malloc(size ? size : 1);
        fgw_member member;
        const char *cursor = text;
        long results[6];
        fill(text, size, round);
        results[0] = at(fgw_skip_string(text, text + size), text);
        results[1] = at(fgw_skip_container(text, text + size), text);
        results[2] = at(fgw_skip_value(text, text + size), text);
        results[3] = fgw_may_hold_two(text, text + size);
        results[4] = fgw_may_hold_two_bytewise(text, text + size);
        results[5] = fgw_next_member(&cursor, text + size, 1, &member);
        if (results[3] != results[4]) {
            printf("round %u: the two differ\n", round);
            return 1;
        }
        for (int i = 0; i < 6; i++)
            sum = sum * 31 + (uint64_t)results[i];
        if (round % 1000 == 0)
            printf("%u %llu\n", round, (unsigned long long)sum);
        free(text);
    }
    printf("%llu\n", (unsigned long long)sum);
    return 0;
}
