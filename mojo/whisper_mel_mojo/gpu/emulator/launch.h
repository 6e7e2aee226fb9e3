/* A launch as the driver hands it to a translated kernel. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

enum order { FORWARDS, BACKWARDS, BY_WARPS, SHUFFLED };

struct memory {
    uint64_t base, size;
    uint64_t *stamps; /* of each half word: who wrote it; 0: nobody. NULL: a constant */
    bool writable;
};
#define WRITTEN_BY_HOST 1

struct launch {
    uint32_t grid, block, cluster, shared; /* blocks, threads, blocks, bytes */
    void **arguments;
    const struct memory *memory;
    uint32_t memory_count;
    uint32_t order;
    uint64_t seed;
    uint32_t variant; /* of a program that has some; 0: as it is */
    uint64_t most_jumps; /* of a thread; 0: any number */
    uint64_t time; /* grows from launch to launch of all kernels; the stamps are made of it */
};
