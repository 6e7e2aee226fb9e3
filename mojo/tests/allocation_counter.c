/* Preloaded before libc: counts the bytes that a process asks for between two marks, and those that
 * it then has.
 *
 * Thread stacks and malloc's own requests for memory go from libc to the kernel directly: what is
 * counted is what the program itself asks for, once.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <malloc.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);
extern void __libc_free(void *);

static atomic_int counting;
static atomic_size_t total, largest;
static atomic_llong living, peak; /* less than 0 if more is given back than was asked for since */

static void count(size_t bytes) {
    if (!atomic_load(&counting)) return;
    atomic_fetch_add(&total, bytes);
    size_t seen = atomic_load(&largest);
    while (bytes > seen && !atomic_compare_exchange_weak(&largest, &seen, bytes)) {}
}

static void live(long long bytes) {
    if (!atomic_load(&counting)) return;
    long long now = atomic_fetch_add(&living, bytes) + bytes;
    long long seen = atomic_load(&peak);
    while (now > seen && !atomic_compare_exchange_weak(&peak, &seen, now)) {}
}

static void *given(void *memory) {
    live((long long)malloc_usable_size(memory));
    return memory;
}

void counter_start(void) {
    atomic_store(&total, 0);
    atomic_store(&largest, 0);
    atomic_store(&living, 0);
    atomic_store(&peak, 0);
    atomic_store(&counting, 1);
}

void counter_stop(void) { atomic_store(&counting, 0); }
size_t counter_total(void) { return atomic_load(&total); }
size_t counter_largest(void) { return atomic_load(&largest); }
long long counter_living(void) { return atomic_load(&living); }
long long counter_peak(void) { return atomic_load(&peak); }

void *malloc(size_t size) {
    count(size);
    return given(__libc_malloc(size));
}

void *calloc(size_t members, size_t size) {
    count(members * size); /* if this overflows, libc refuses */
    return given(__libc_calloc(members, size));
}

void *realloc(void *old, size_t size) {
    count(size);
    long long before = (long long)malloc_usable_size(old);
    void *memory = __libc_realloc(old, size);
    if (memory || !size) live((long long)malloc_usable_size(memory) - before);
    return memory;
}

void free(void *memory) {
    live(-(long long)malloc_usable_size(memory));
    __libc_free(memory);
}

void *memalign(size_t alignment, size_t size) {
    count(size);
    return given(__libc_memalign(alignment, size));
}

void *aligned_alloc(size_t alignment, size_t size) {
    count(size);
    return given(__libc_memalign(alignment, size));
}

int posix_memalign(void **result, size_t alignment, size_t size) {
    count(size);
    void *memory = __libc_memalign(alignment, size);
    if (!memory) return ENOMEM;
    *result = given(memory);
    return 0;
}

void *mmap(void *address, size_t size, int protection, int flags, int file, off_t offset) {
    count(size);
    live((long long)size);
    return (void *)syscall(SYS_mmap, address, size, protection, flags, file, offset);
}

int munmap(void *address, size_t size) {
    live(-(long long)size);
    return (int)syscall(SYS_munmap, address, size);
}

void *mmap64(void *address, size_t size, int protection, int flags, int file, off64_t offset) {
    return mmap(address, size, protection, flags, file, offset);
}

void *mremap(void *old, size_t old_size, size_t size, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    void *place = va_arg(rest, void *);
    va_end(rest);
    count(size);
    live((long long)size - (long long)old_size);
    return (void *)syscall(SYS_mremap, old, old_size, size, flags, place);
}
