/* What a translated kernel runs in: threads, memory and barriers of a GPU, and a watcher.

   Each thread of a cluster of blocks is a fibre, which runs until it has to wait. A launch ends with
   the first finding: an access or a barrier that the PTX ISA does not allow, or does not define.

   Whether two accesses are ordered is known by vector clocks. A thread has a time of its own, which
   advances with each barrier at which it arrives, and knows times of other threads: what they had
   done until then is done before what it does now. Every half word of shared memory has the times of
   its last writer and of two of its last readers; a half word of global memory that of its last writer. */
#define _GNU_SOURCE
#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#include "launch.h"

#ifndef STACK
#define STACK 65536
#endif
#define NOT_A_SITE UINT32_MAX
#define NOBODY UINT32_MAX
#define BARRIERS 16
#define RANK_SHIFT 24 /* an address of the cluster's shared memory: (rank + 1) << 24 | offset */

/* Before this file, the generated part defines `sites` (each statement's text), `constants` (the
   module's own memory), `constant_count`, `static_shared` (bytes) and `most_threads` (of a block);
   after it, the kernel. */
static void kernel(void);

/* ------------------------------------------------------------------ arithmetic */

static inline float as_float(uint32_t bits) {
    float value;
    memcpy(&value, &bits, 4);
    return value;
}
/* Every NaN that is computed is the canonical one. */
static inline uint32_t as_bits(float value) {
    uint32_t bits;
    memcpy(&bits, &value, 4);
    return isnan(value) ? 0x7FFFFFFF : bits;
}
static inline float maximum(float a, float b) {
    if (isnan(a) || isnan(b))
        return isnan(a) ? b : a;
    return a == b ? (signbit(a) ? b : a) : a > b ? a : b;
}
static inline float minimum(float a, float b) {
    if (isnan(a) || isnan(b))
        return isnan(a) ? b : a;
    return a == b ? (signbit(a) ? a : b) : a < b ? a : b;
}
/* Rounded to nearest, ties to even. */
static inline uint16_t half_of(float value) {
    uint32_t bits = as_bits(value), sign = bits >> 16 & 0x8000, size = bits & 0x7FFFFFFF;
    if (size > 0x7F800000)
        return 0x7FFF;
    if (size >= 143u << 23) /* 2**16 */
        return sign | 0x7C00;
    if (size < 113u << 23) /* 2**-14: denormal; the sum is rounded */
        return sign | (as_bits(as_float(size) + 0.5f) - (126u << 23));
    return sign | (size + (size >> 13 & 1) + 0xFFF - (112u << 23)) >> 13;
}
static inline uint32_t permuted(uint32_t a, uint32_t b, uint32_t selector) {
    uint64_t bytes = (uint64_t)b << 32 | a;
    uint32_t result = 0;
    for (int i = 0; i < 4; i++) {
        uint32_t which = selector >> 4 * i & 15;
        uint32_t byte = bytes >> 8 * (which & 7) & 255;
        if (which & 8)
            byte = byte & 128 ? 255 : 0;
        result |= byte << 8 * i;
    }
    return result;
}
static inline uint32_t any_logic(uint32_t a, uint32_t b, uint32_t c, uint32_t table) {
    uint32_t result = 0;
    for (int i = 0; i < 8; i++)
        if (table >> i & 1)
            result |= (i & 4 ? a : ~a) & (i & 2 ? b : ~b) & (i & 1 ? c : ~c);
    return result;
}

/* ------------------------------------------------------------------ threads */

typedef uint64_t stamp; /* time << 16 | thread of the cluster; 0: never */

struct clocks {
    int uses;
    uint64_t of[];
};

enum state { READY, WAITS, DONE };
enum cluster_state { AWAY, ARRIVED, MAY_PASS };

struct copy {
    uint64_t to;
    uint32_t size, site;
    uint8_t bytes[16];
};

/* Where to go on. The compiler's own jumps are used: those of the C library look for what is to be
   cleaned up, each time. */
typedef void *place[5];

struct thread {
    ucontext_t start;
    place at;
    bool started;
    enum state state;
    uint64_t now;
    struct clocks *known;
    struct barrier *waits_for;
    uint32_t site; /* of the barrier at which it waits */
    uint32_t passed; /* barriers so far */
    uint64_t jumps;
    enum cluster_state cluster;
    struct copy *copies;
    uint32_t copy_count, copy_room, group_count;
    uint32_t group_ends[64]; /* number of copies at the end of each group that is under way */
};

struct half_word {
    stamp writer, readers[2]; /* readers[0] UNDER_WAY: a copy is writing it */
};
#define UNDER_WAY UINT64_MAX

struct barrier {
    uint32_t expected, arrived;
    struct clocks *pending, *joined;
    uint32_t *warp_sites; /* by warp: where its lanes are, or NOT_A_SITE */
};

struct block {
    uint8_t *shared;
    struct half_word *words;
    struct barrier barriers[BARRIERS];
    uint32_t left; /* threads that have ended */
    uint64_t *visits; /* by thread of the cluster: its time when it last used this block's memory */
    uint32_t *visit_sites;
};

static struct launch *launch;
static uint32_t block_threads, threads_in_all, cluster_size;
static struct thread *threads;
static struct block *blocks;
static struct barrier whole; /* the cluster's */
static struct clocks *agreed;
static uint32_t current, first_block, alive;
static uint64_t cluster_began, launch_began;
static place scheduler;
static bool found_any;
static char finding[2000];
static uint8_t *stacks;

#ifdef COUNT
#include "counting.h"
#else
#define AT(site)
#define COUNT_SHARED(at, size, site)
#define COUNT_GLOBAL(at, size, site)
#define COUNT_PHASE(block)
#define start_counting()
#endif

static inline uint32_t rank_of(uint32_t thread) { return thread / block_threads; }

__attribute__((noreturn, noinline)) static void leave(void) {
    __builtin_longjmp(scheduler, 1);
}
__attribute__((noreturn, noinline)) static void go_on(place at) { __builtin_longjmp(at, 1); }

static void describe(uint32_t site, uint32_t thread, const char *what, va_list arguments) {
    int n = vsnprintf(finding, sizeof finding, what, arguments);
    snprintf(finding + n, sizeof finding - n, "; block %u, thread %u, after %u barriers%s%s",
             first_block + rank_of(thread), thread % block_threads, threads[thread].passed,
             site == NOT_A_SITE ? "" : ": ", site == NOT_A_SITE ? "" : sites[site]);
    found_any = true;
}
__attribute__((noreturn, noinline, cold, format(printf, 2, 3))) static void
found(uint32_t site, const char *what, ...) {
    va_list arguments;
    va_start(arguments, what);
    describe(site, current, what, arguments);
    va_end(arguments);
    leave();
}
/* Outside of any thread. */
__attribute__((noinline, cold, format(printf, 3, 4))) static void
found_about(uint32_t thread, uint32_t site, const char *what, ...) {
    va_list arguments;
    va_start(arguments, what);
    describe(site, thread, what, arguments);
    va_end(arguments);
}
static const char *name_of(uint32_t thread) {
    static char text[2][60];
    static int which;
    which ^= 1;
    snprintf(text[which], sizeof text[0], "thread %u of block %u", thread % block_threads,
             first_block + rank_of(thread));
    return text[which];
}
#define divisor(b, site) ((b) == 0 ? (found(site, "division by zero"), (b)) : (b))

#define JUMP(site)                                                                                 \
    if (++threads[current].jumps == launch->most_jumps)                                            \
        found(site, "%lu jumps: perhaps an endless loop", (long)launch->most_jumps);

__attribute__((noinline)) static void suspend(enum state state) {
    threads[current].state = state;
    uint32_t self = current;
    if (!__builtin_setjmp(threads[self].at))
        leave();
}
static void fibre(void) {
    for (;;) {
        kernel();
        struct thread *me = &threads[current];
        if (me->copy_count)
            found_about(current, me->copies[0].site, "a copy that was not waited for");
        suspend(DONE);
    }
}
static void resume(uint32_t thread) {
    struct thread *me = &threads[thread];
    current = thread;
    if (__builtin_setjmp(scheduler))
        return;
    if (me->started)
        go_on(me->at);
    me->started = true;
    getcontext(&me->start);
    me->start.uc_stack.ss_sp = stacks + (size_t)STACK * thread;
    me->start.uc_stack.ss_size = STACK;
    me->start.uc_link = NULL;
    makecontext(&me->start, fibre, 0);
    setcontext(&me->start);
}

/* ------------------------------------------------------------------ order of accesses */

static struct clocks *own(struct clocks *it) {
    it->uses++;
    return it;
}
static void disown(struct clocks *it) {
    if (it && --it->uses == 0)
        free(it);
}
static struct clocks *copy_of(const struct clocks *it) {
    size_t size = sizeof *it + 8 * (size_t)threads_in_all;
    struct clocks *made = malloc(size);
    memcpy(made, it, size);
    made->uses = 1;
    return made;
}
static void merge(struct clocks *into, const struct clocks *from) {
    for (uint32_t i = 0; i < threads_in_all; i++)
        into->of[i] = from->of[i] > into->of[i] ? from->of[i] : into->of[i];
}
/* What this thread has done and knows is known to those who pass the barrier. */
static void release(struct barrier *it, uint32_t thread) {
    struct thread *me = &threads[thread];
    if (!it->pending)
        it->pending = copy_of(me->known);
    else if (it->joined != me->known)
        merge(it->pending, me->known);
    disown(it->joined);
    it->joined = own(me->known);
    it->pending->of[thread] = me->now++;
    me->passed++;
}
/* The last clocks that were joined: most threads that pass a barrier know the same before it. */
static struct {
    struct clocks *from, *known, *both;
} joined_last;
/* Returns the later of both times of each thread. `joined`: clocks that are contained in `from`. */
static struct clocks *joined_of(struct clocks *from, struct clocks *known, const struct clocks *joined) {
    if (joined_last.from == from && joined_last.known == known)
        return joined_last.both;
    bool is_more = true;
    for (uint32_t i = 0; i < threads_in_all && is_more && known != joined; i++)
        is_more = from->of[i] >= known->of[i];
    struct clocks *both = is_more ? own(from) : copy_of(from);
    if (!is_more)
        merge(both, known);
    /* They are kept, so that no others come to lie where they are. */
    own(from);
    own(known);
    disown(joined_last.from);
    disown(joined_last.known);
    disown(joined_last.both);
    joined_last.from = from;
    joined_last.known = known;
    joined_last.both = both;
    return both;
}
static void acquire(uint32_t thread, struct clocks *from, const struct clocks *joined) {
    struct thread *me = &threads[thread];
    struct clocks *known = own(joined_of(from, me->known, joined));
    disown(me->known);
    me->known = known;
}
static inline uint32_t thread_of(stamp it) { return it & 0xFFFF; }
static inline stamp stamp_now(void) { return threads[current].now << 16 | current; }
static inline bool is_of_cluster(stamp it) { return it >> 16 >= cluster_began; }
/* If another thread of the cluster did it, and not before what this thread does now. */
static inline bool collides(stamp it) {
    return is_of_cluster(it) && thread_of(it) != current &&
           threads[current].known->of[thread_of(it)] < it >> 16;
}
static inline bool is_copied(const struct half_word *it) {
    return it->readers[0] == UNDER_WAY && is_of_cluster(it->writer);
}

/* ------------------------------------------------------------------ shared memory */

static uint8_t *shared_at(uint64_t address, uint32_t size, uint32_t site, struct half_word **words) {
    uint32_t rank = rank_of(current), offset = address & ((1 << RANK_SHIFT) - 1);
    uint64_t which = address >> RANK_SHIFT;
    if (which > cluster_size)
        found(site, "shared memory: address %#lx is in no block of the cluster", (long)address);
    if (which)
        rank = which - 1;
    if (offset % size)
        found(site, "shared memory: address %u is no multiple of %u", offset, size);
    if (offset + size > launch->shared)
        found(site, "shared memory: %u bytes at %u are beyond the block's %u bytes", size, offset,
              launch->shared);
    struct block *it = &blocks[rank];
    if (rank != rank_of(current)) {
        if (threads[current].known->of[rank * block_threads] < cluster_began)
            found(site, "shared memory of block %u, which may not have begun", first_block + rank);
        it->visits[current] = threads[current].now;
        it->visit_sites[current] = site;
    }
    *words = it->words + offset / 2;
    return it->shared + offset;
}
static inline void read_shared(uint64_t address, void *to, uint32_t size, uint32_t site) {
    struct half_word *words;
    uint8_t *from = shared_at(address, size, site, &words);
    COUNT_SHARED(address, size, site);
    for (uint32_t i = 0; i < (size + 1) / 2; i++) {
        struct half_word *it = &words[i];
        if (is_copied(it))
            found(site, "shared memory: read of offset %lu while it is copied",
                  (long)(address & 0xFFFFFF) + 2 * i);
        if (!is_of_cluster(it->writer))
            found(site, "shared memory: read of offset %lu, which was not written",
                  (long)(address & 0xFFFFFF) + 2 * i);
        if (collides(it->writer))
            found(site, "race in shared memory: read of offset %lu, which %s wrote",
                  (long)(address & 0xFFFFFF) + 2 * i, name_of(thread_of(it->writer)));
        int which = !(thread_of(it->readers[0]) == current || !collides(it->readers[0]));
        it->readers[which] = stamp_now();
    }
    memcpy(to, from, size);
}
static void may_write(struct half_word *it, uint64_t address, uint32_t site) {
    stamp others[] = {it->writer, it->readers[0], it->readers[1]};
    if (!is_of_cluster(it->writer))
        return; /* what an earlier cluster left, perhaps in the middle of a copy */
    if (is_copied(it))
        found(site, "shared memory: write of offset %lu while it is copied",
              (long)(address & 0xFFFFFF));
    for (int i = 0; i < 3; i++)
        if (collides(others[i]))
            found(site, "race in shared memory: write of offset %lu, which %s %s",
                  (long)(address & 0xFFFFFF), name_of(thread_of(others[i])), i ? "read" : "wrote");
}
static inline void write_shared(uint64_t address, const void *from, uint32_t size, uint32_t site) {
    struct half_word *words;
    uint8_t *to = shared_at(address, size, site, &words);
    COUNT_SHARED(address, size, site);
    for (uint32_t i = 0; i < (size + 1) / 2; i++) {
        may_write(&words[i], address + 2 * i, site);
        words[i] = (struct half_word){stamp_now(), {0, 0}};
    }
    memcpy(to, from, size);
}
static inline uint32_t map_shared(uint32_t address, uint32_t rank, uint32_t site) {
    if (rank >= cluster_size)
        found(site, "block %u of a cluster of %u", rank, cluster_size);
    return (rank + 1) << RANK_SHIFT | (address & ((1 << RANK_SHIFT) - 1));
}

/* ------------------------------------------------------------------ global memory */

static const struct memory *memory_at(uint64_t address, uint32_t size, uint32_t site) {
    static const struct memory *last;
    static const struct launch *of;
    if (of == launch && last && address - last->base < last->size)
        goto inside;
    of = launch;
    last = NULL;
    for (uint32_t i = 0; i < launch->memory_count + constant_count && !last; i++) {
        const struct memory *it =
            i < constant_count ? &constants[i] : &launch->memory[i - constant_count];
        if (address - it->base < it->size)
            last = it;
    }
    if (!last)
        found(site, "global memory: address %#lx is in no memory of the device", (long)address);
inside:
    if (address % size)
        found(site, "global memory: address %#lx is no multiple of %u", (long)address, size);
    if (address + size > last->base + last->size)
        found(site, "global memory: %u bytes at offset %lu are beyond the allocation's %lu bytes",
              size, (long)(address - last->base), (long)last->size);
    return last;
}
static inline void read_global(uint64_t address, void *to, uint32_t size, uint32_t site) {
    const struct memory *it = memory_at(address, size, site);
    COUNT_GLOBAL(address, size, site);
    if (it->stamps) {
        uint64_t offset = address - it->base;
        for (uint64_t i = offset / 2; i < (offset + size + 1) / 2; i++) {
            stamp writer = it->stamps[i];
            if (!writer)
                found(site, "global memory: read of offset %lu, which was not written",
                      (long)(2 * i));
            if (writer >> 16 >= launch_began && (writer >> 16 < cluster_began || collides(writer)))
                found(site, "race in global memory: read of offset %lu, which %s wrote",
                      (long)(2 * i),
                      writer >> 16 < cluster_began ? "another cluster" : name_of(thread_of(writer)));
        }
    }
    memcpy(to, (const void *)(uintptr_t)address, size);
}
static inline void write_global(uint64_t address, const void *from, uint32_t size, uint32_t site) {
    const struct memory *it = memory_at(address, size, site);
    COUNT_GLOBAL(address, size, site);
    uint64_t offset = address - it->base;
    if (!it->writable)
        found(site, "global memory: write of offset %lu of memory that is only read", (long)offset);
    for (uint64_t i = offset / 2; i < (offset + size + 1) / 2; i++) {
        stamp writer = it->stamps[i];
        if (writer >> 16 >= launch_began && (writer >> 16 < cluster_began || collides(writer)))
            found(site, "race in global memory: write of offset %lu, which %s wrote", (long)(2 * i),
                  writer >> 16 < cluster_began ? "another cluster" : name_of(thread_of(writer)));
        it->stamps[i] = stamp_now();
    }
    memcpy((void *)(uintptr_t)address, from, size);
}

/* ------------------------------------------------------------------ a thread's own memory */

static inline void own_memory(uint64_t at, uint32_t size, const uint8_t *all, uint32_t all_size,
                              uint32_t site) {
    if (at - (uintptr_t)all > all_size || at - (uintptr_t)all + size > all_size || at % size)
        found(site, "local memory: %u bytes at %ld of %u", size, (long)(at - (uintptr_t)all),
              all_size);
}
static inline void read_local(uint64_t at, void *to, uint32_t size, const uint8_t *all,
                              const uint8_t *written, uint32_t all_size, uint32_t site) {
    own_memory(at, size, all, all_size, site);
    for (uint32_t i = 0; i < size; i++)
        if (!written[at - (uintptr_t)all + i])
            found(site, "local memory: read of offset %ld, which was not written",
                  (long)(at - (uintptr_t)all));
    memcpy(to, (const void *)(uintptr_t)at, size);
}
static inline void write_local(uint64_t at, const void *from, uint32_t size, const uint8_t *all,
                               uint8_t *written, uint32_t all_size, uint32_t site) {
    own_memory(at, size, all, all_size, site);
    memset(written + (at - (uintptr_t)all), 1, size);
    memcpy((void *)(uintptr_t)at, from, size);
}

/* ------------------------------------------------------------------ copies under way */

/* What a policy of the cache is, in place of a device's own numbers: it changes no value. */
#define CACHE_POLICY 0x706F6C696379
static void need_policy(uint64_t policy, uint32_t site) {
    if (policy != CACHE_POLICY)
        found(site, "a cache policy that no createpolicy has made");
}

/* They take place as late as they may: when the thread that asked for them waits for them. */
static void copy_async(uint64_t to, uint64_t from, uint32_t size, uint32_t source, uint32_t site) {
    struct thread *me = &threads[current];
    struct half_word *words;
    struct copy it = {to, size, site, {0}};
    if (source > size)
        found(site, "a copy of %u bytes to %u", source, size);
    if (source)
        read_global(from, it.bytes, source, site);
    shared_at(to, size, site, &words);
    COUNT_SHARED(to, size, site);
    for (uint32_t i = 0; i < size / 2; i++) {
        may_write(&words[i], to + 2 * i, site);
        words[i] = (struct half_word){stamp_now(), {UNDER_WAY, 0}};
    }
    if (me->copy_count == me->copy_room) {
        me->copy_room = 2 * me->copy_room + 64;
        me->copies = realloc(me->copies, me->copy_room * sizeof it);
    }
    me->copies[me->copy_count++] = it;
}
static void commit_group(uint32_t site) {
    struct thread *me = &threads[current];
    if (me->group_count == 64)
        found(site, "more than 64 groups of copies");
    me->group_ends[me->group_count++] = me->copy_count;
}
static void finish_copies(uint32_t count) {
    struct thread *me = &threads[current];
    for (uint32_t i = 0; i < count; i++) {
        struct copy *it = &me->copies[i];
        struct half_word *words;
        memcpy(shared_at(it->to, it->size, it->site, &words), it->bytes, it->size);
        for (uint32_t j = 0; j < it->size / 2; j++)
            words[j] = (struct half_word){stamp_now(), {0, 0}};
    }
    me->copy_count -= count;
    memmove(me->copies, me->copies + count, me->copy_count * sizeof *me->copies);
}
static void wait_group(uint32_t left) {
    struct thread *me = &threads[current];
    if (me->group_count <= left)
        return;
    uint32_t groups = me->group_count - left, count = me->group_ends[groups - 1];
    finish_copies(count);
    for (uint32_t i = 0; i < left; i++)
        me->group_ends[i] = me->group_ends[i + groups] - count;
    me->group_count = left;
}
static void wait_all_copies(void) {
    finish_copies(threads[current].copy_count);
    threads[current].group_count = 0;
}

/* ------------------------------------------------------------------ barriers */

static void clear(struct barrier *it, uint32_t count) {
    disown(it->pending);
    disown(it->joined);
    it->pending = it->joined = NULL;
    it->arrived = 0;
    for (uint32_t i = 0; i < (count + 31) / 32; i++)
        it->warp_sites[i] = NOT_A_SITE;
}
static void arrive_at(struct barrier *it, uint32_t count, uint32_t site) {
    uint32_t *warp = &it->warp_sites[current % block_threads / 32];
    if (*warp != NOT_A_SITE && *warp != site)
        found(site, "a barrier that the threads of a warp reach in different places; another is in "
                    "%s",
              sites[*warp]);
    *warp = site;
    if (it->arrived && it->expected != count)
        found(site, "a barrier for %u threads, at which others wait for %u", count, it->expected);
    it->expected = count;
    it->arrived++;
    release(it, current);
}
static struct barrier *barrier_of(uint32_t id, uint32_t *count, uint32_t site) {
    if (id >= BARRIERS)
        found(site, "barrier %u: there are %u", id, BARRIERS);
    if (*count == 0)
        *count = block_threads;
    if (*count % 32 || *count > block_threads)
        found(site, "a barrier for %u of %u threads", *count, block_threads);
    return &blocks[rank_of(current)].barriers[id];
}
static void pass_if_full(struct barrier *it) {
    if (it->arrived < it->expected)
        return;
    uint32_t first = rank_of(current) * block_threads;
    COUNT_PHASE(rank_of(current));
    for (uint32_t i = first; i < first + block_threads; i++)
        if (threads[i].state == WAITS && threads[i].waits_for == it) {
            acquire(i, it->pending, it->joined);
            threads[i].state = READY;
        }
    clear(it, block_threads);
}
/* count 0: all threads of the block */
static void barrier_sync(uint32_t id, uint32_t count, uint32_t site) {
    struct barrier *it = barrier_of(id, &count, site);
    arrive_at(it, count, site);
    threads[current].state = WAITS;
    threads[current].site = site;
    threads[current].waits_for = it;
    pass_if_full(it);
    suspend(threads[current].state);
}
static void barrier_arrive(uint32_t id, uint32_t count, uint32_t site) {
    struct barrier *it = barrier_of(id, &count, site);
    arrive_at(it, count, site);
    pass_if_full(it);
}

static void pass_cluster_if_full(void) {
    if (whole.arrived == 0 || whole.arrived < alive)
        return;
    for (uint32_t i = 0; i < cluster_size; i++)
        COUNT_PHASE(i);
    for (uint32_t i = 0; i < threads_in_all; i++) {
        struct thread *it = &threads[i];
        if (it->state == WAITS && it->waits_for == &whole) {
            acquire(i, whole.pending, whole.joined);
            it->state = READY;
            it->cluster = AWAY;
        } else if (it->cluster == ARRIVED)
            it->cluster = MAY_PASS;
    }
    disown(agreed);
    agreed = own(whole.pending);
    clear(&whole, threads_in_all);
}
static void cluster_arrive(bool releases, uint32_t site) {
    struct thread *me = &threads[current];
    if (me->cluster != AWAY)
        found(site, "a second arrival at the cluster's barrier without a wait");
    me->cluster = ARRIVED;
    whole.arrived++;
    if (releases)
        release(&whole, current);
    else if (!whole.pending)
        whole.pending = copy_of(me->known);
    pass_cluster_if_full();
}
static void cluster_wait(uint32_t site) {
    struct thread *me = &threads[current];
    if (me->cluster == AWAY)
        found(site, "a wait for the cluster's barrier without an arrival");
    if (me->cluster == MAY_PASS) {
        acquire(current, agreed, NULL);
        me->cluster = AWAY;
        suspend(READY);
        return;
    }
    me->site = site;
    me->waits_for = &whole;
    suspend(WAITS);
}

/* ------------------------------------------------------------------ launches */

static uint64_t random_state;
static uint32_t random_below(uint32_t n) {
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (random_state >> 33) % n;
}
static void shuffle(uint32_t *them, uint32_t n) {
    for (uint32_t i = n; i > 1; i--) {
        uint32_t j = random_below(i), kept = them[i - 1];
        them[i - 1] = them[j];
        them[j] = kept;
    }
}
static void in_order(uint32_t *them, uint32_t n) {
    for (uint32_t i = 0; i < n; i++)
        them[i] = launch->order == BACKWARDS ? n - 1 - i : i;
    if (launch->order >= BY_WARPS)
        shuffle(them, n);
}
/* Runs a thread until it waits. */
static void advance(uint32_t thread) {
    resume(thread);
    if (found_any || threads[thread].state != DONE)
        return;
    blocks[rank_of(thread)].left++;
    alive--;
    whole.arrived -= threads[thread].cluster == ARRIVED;
    pass_cluster_if_full();
}
/* Runs the threads of a block until all of them wait for others, or have ended: in the order that
   the launch asks for, in which a warp may go on as long as it can. Returns whether any ran. */
static bool advance_block(uint32_t rank, uint32_t *order) {
    uint32_t lanes = launch->order == BY_WARPS ? 32 : 1, n = block_threads / lanes;
    bool any = false, again = true;
    while (again) {
        again = false;
        in_order(order, n);
        for (uint32_t i = 0; i < n; i++) {
            uint32_t first = rank * block_threads + order[i] * lanes, lane = 0;
            while (lane < lanes) {
                if (threads[first + lane].state != READY) {
                    lane++;
                    continue;
                }
                advance(first + lane);
                if (found_any)
                    return false;
                any = again = true;
                lane = lanes > 1 ? 0 : 1;
            }
        }
    }
    return any;
}
/* Returns whether any thread ran. */
static bool advance_cluster(uint32_t *order) {
    uint32_t ranks[cluster_size];
    bool any = false;
    in_order(ranks, cluster_size);
    for (uint32_t i = 0; i < cluster_size && !found_any; i++)
        any |= advance_block(ranks[i], order);
    return any && !found_any;
}
static void stuck(void) {
    for (uint32_t i = 0; i < threads_in_all; i++) {
        struct thread *it = &threads[i];
        if (it->state == WAITS && it->waits_for == &whole)
            return found_about(i, it->site, "the cluster's barrier is reached by %u of %u threads",
                               whole.arrived, alive);
        if (it->state == WAITS)
            return found_about(i, it->site, "a barrier that not all threads reach; %u have ended",
                               blocks[rank_of(i)].left);
    }
}
static void look_at_visits(void) {
    for (uint32_t rank = 0; rank < cluster_size; rank++) {
        struct block *it = &blocks[rank];
        for (uint32_t i = 0; i < threads_in_all && !found_any; i++) {
            bool known = it->visits[i] < cluster_began;
            for (uint32_t j = 0; j < block_threads && !known; j++)
                known = threads[rank * block_threads + j].known->of[i] >= it->visits[i];
            if (!known)
                found_about(i, it->visit_sites[i], "shared memory of block %u, which may have ended",
                            first_block + rank);
        }
    }
}
static void run_cluster(uint32_t *order) {
    cluster_began = ++launch->time;
    struct clocks *nothing = calloc(1, sizeof *nothing + 8 * (size_t)threads_in_all);
    for (uint32_t i = 0; i < threads_in_all; i++) {
        struct thread *it = &threads[i];
        disown(it->known);
        it->known = own(nothing);
        it->now = cluster_began;
        it->state = READY;
        it->passed = it->copy_count = it->group_count = 0;
        it->cluster = AWAY;
        it->jumps = 0;
    }
    if (nothing->uses == 0)
        free(nothing);
    for (uint32_t rank = 0; rank < cluster_size; rank++) {
        blocks[rank].left = 0;
        for (uint32_t id = 0; id < BARRIERS; id++)
            clear(&blocks[rank].barriers[id], block_threads);
    }
    clear(&whole, threads_in_all);
    alive = threads_in_all;
    while (advance_cluster(order))
        ;
    if (!found_any && alive)
        stuck();
    if (!found_any)
        look_at_visits();
    for (uint32_t rank = 0; rank < cluster_size; rank++)
        COUNT_PHASE(rank);
    for (uint32_t i = 0; i < threads_in_all; i++)
        launch->time = threads[i].now > launch->time ? threads[i].now : launch->time;
}

/* Memory for threads and blocks: pages that are zero, and there when they are touched. */
static struct room {
    void *at;
    size_t size;
} rooms[8];
static int room_count;
static void leave_rooms(void) {
    while (room_count) {
        struct room *it = &rooms[--room_count];
        if (it->at != MAP_FAILED)
            munmap(it->at, it->size);
    }
}
static void *room(size_t count, size_t size) {
    const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    struct room it = {mmap(NULL, count * size, PROT_READ | PROT_WRITE, flags, -1, 0), count * size};
    return (rooms[room_count++] = it).at;
}
/* Makes threads and blocks for the launch. They stay for launches that need no more of anything.
   Returns whether there was memory for them. */
static bool make(uint32_t count, uint32_t cluster) {
    static struct {
        uint32_t threads, blocks, shared;
    } made;
    block_threads = count;
    cluster_size = cluster;
    threads_in_all = count * cluster;
    if (threads_in_all <= made.threads && cluster <= made.blocks && launch->shared <= made.shared)
        return true;
    for (uint32_t i = 0; i < made.threads; i++) {
        disown(threads[i].known);
        free(threads[i].copies);
    }
    leave_rooms();
    uint32_t most = threads_in_all > made.threads ? threads_in_all : made.threads;
    uint32_t most_blocks = cluster > made.blocks ? cluster : made.blocks;
    uint32_t most_shared = launch->shared > made.shared ? launch->shared : made.shared;
    uint32_t half_words = most_shared / 2 + 8, warps = (most + 31) / 32;
    memset(&made, 0, sizeof made);
    threads = room(most, sizeof *threads);
    blocks = room(most_blocks, sizeof *blocks);
    stacks = room(most, STACK);
    uint32_t *warp_sites = room(1 + most_blocks * BARRIERS, 4 * warps);
    uint8_t *shared = room(most_blocks, 2 * half_words);
    struct half_word *words = room(most_blocks, half_words * sizeof *words);
    uint64_t *visits = room(most_blocks, 8 * most);
    uint32_t *visit_sites = room(most_blocks, 4 * most);
    for (int i = 0; i < room_count; i++)
        if (rooms[i].at == MAP_FAILED)
            return false;
    made.threads = most;
    made.blocks = most_blocks;
    made.shared = most_shared;
    whole.warp_sites = warp_sites;
    for (uint32_t i = 0; i < most_blocks; i++) {
        struct block *it = &blocks[i];
        it->shared = shared + 2 * half_words * i;
        it->words = words + half_words * i;
        it->visits = visits + most * i;
        it->visit_sites = visit_sites + most * i;
        for (int j = 0; j < BARRIERS; j++)
            it->barriers[j].warp_sites = warp_sites + warps * (1 + i * BARRIERS + j);
    }
    return true;
}

/* Runs a launch; returns NULL, or what was found first. */
const char *run_launch(struct launch *it) {
    launch = it;
    found_any = false;
    uint32_t count = it->block;
    if (count == 0 || count % 32 || count > most_threads || it->cluster == 0 ||
        it->grid % it->cluster || (uint64_t)count * it->cluster > 0xFFFF ||
        it->shared < static_shared) {
        snprintf(finding, sizeof finding,
                 "a launch of %u blocks of %u threads in clusters of %u with %u bytes of shared "
                 "memory: the kernel has at most %u threads and %u bytes of its own",
                 it->grid, count, it->cluster, it->shared, most_threads, static_shared);
        return finding;
    }
    if (!make(count, it->cluster)) {
        snprintf(finding, sizeof finding, "the emulator has no memory for %u threads", threads_in_all);
        return finding;
    }
    start_counting();
    launch_began = ++it->time;
    random_state = it->seed;
    uint32_t *order = malloc(4 * threads_in_all);
    for (first_block = 0; first_block < it->grid && !found_any; first_block += cluster_size)
        run_cluster(order);
    free(order);
    if (found_any) /* the fibres are in the middle of something */
        for (uint32_t i = 0; i < threads_in_all; i++)
            threads[i].started = false;
    return found_any ? finding : NULL;
}
