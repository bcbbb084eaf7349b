/*
 * C that calls back: compiled by the oracle test with several flags, into one
 * library for each. `shape` chooses what the frames look like.
 */
#include <alloca.h>
#include <string.h>

typedef unsigned long (*callback_t)(void);

/* Not known to the compiler. */
static volatile unsigned long zero;

__attribute__((noinline)) static unsigned long plain(callback_t callback, int depth)
{
    unsigned long room[8] = {0};
    unsigned long found = depth == 0 ? callback() : plain(callback, depth - 1);
    return found + room[zero] + 1;
}

__attribute__((noinline)) static unsigned long variable(callback_t callback, int length)
{
    char *room = alloca(length + zero);
    memset(room, 1, length);
    unsigned long found = callback();
    return found + room[zero];
}

__attribute__((noinline)) static unsigned long aligned(callback_t callback, int depth)
{
    __attribute__((aligned(64))) char room[128];
    memset(room, depth, sizeof room);
    unsigned long found = depth == 0 ? callback() : aligned(callback, depth - 1);
    return found + room[zero];
}

static inline __attribute__((always_inline)) unsigned long innermost(callback_t callback)
{
    return callback() + zero;
}

static inline __attribute__((always_inline)) unsigned long inner(callback_t callback)
{
    return innermost(callback) * 2;
}

__attribute__((noinline)) static unsigned long inlined(callback_t callback)
{
    return inner(callback) + 1;
}

unsigned long c_enter(int shape, callback_t callback)
{
    switch (shape) {
    case 0:
        return plain(callback, 3) + 1;
    case 1:
        return variable(callback, 1000) + 1;
    case 2:
        return aligned(callback, 2) + 1;
    default:
        return inlined(callback) + 1;
    }
}
