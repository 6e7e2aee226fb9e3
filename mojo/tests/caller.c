/* Calls the kernel for tests that need more than ctypes: in a floating-point mode of the caller's,
 * and on a stack whose use is measured. */

#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define UNUSED 0xA5
#define STACK (256 * 1024)

typedef intptr_t (*log_mel)(intptr_t, intptr_t, intptr_t, intptr_t, intptr_t, intptr_t, intptr_t,
                            intptr_t, intptr_t, intptr_t, intptr_t, intptr_t, intptr_t);

static intptr_t call(log_mel f, const intptr_t *a) {
    return f(a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7], a[8], a[9], a[10], a[11], a[12]);
}

/* The control word: rounding, denormals, traps. */
static uint64_t mode(void) {
#if defined(__x86_64__)
    uint32_t word;
    __asm__ volatile("stmxcsr %0" : "=m"(word));
    return word;
#elif defined(__aarch64__)
    uint64_t word;
    __asm__ volatile("mrs %0, fpcr" : "=r"(word));
    return word;
#endif
}

static void set_mode(uint64_t wanted) {
#if defined(__x86_64__)
    uint32_t word = (uint32_t)wanted;
    __asm__ volatile("ldmxcsr %0" : : "m"(word));
#elif defined(__aarch64__)
    __asm__ volatile("msr fpcr, %0" : : "r"(wanted));
#endif
}

/* The status of a call in a mode; `after`: the mode when it returned. */
intptr_t call_in_mode(uint64_t wanted, uint64_t *after, log_mel f, const intptr_t *arguments) {
    uint64_t before = mode();
    set_mode(wanted);
    intptr_t status = call(f, arguments);
    *after = mode();
    set_mode(before);
    return status;
}

/* The product of two floats in a mode. */
float product_in_mode(uint64_t wanted, float a, float b) {
    volatile float x = a, y = b, product;
    uint64_t before = mode();
    set_mode(wanted);
    product = x * y;
    set_mode(before);
    return product;
}

struct measured {
    log_mel f;
    const intptr_t *arguments;
    size_t offset;
    unsigned char *top;
    intptr_t status;
};

static void *run(void *argument) {
    struct measured *m = argument;
    volatile unsigned char *space = __builtin_alloca(m->offset + 1);
    space[0] = 0;
    m->top = (unsigned char *)space;
    m->status = call(m->f, m->arguments);
    return NULL;
}

/* Bytes of stack that a call uses, which begins `offset` bytes further down than another; 0 if the
 * call fails. */
size_t stack_used(log_mel f, const intptr_t *arguments, size_t offset) {
    unsigned char *stack = aligned_alloc(4096, STACK);
    memset(stack, UNUSED, STACK);
    struct measured m = {f, arguments, offset, NULL, -1};
    pthread_attr_t attributes;
    pthread_t thread;
    pthread_attr_init(&attributes);
    pthread_attr_setstack(&attributes, stack, STACK);
    size_t used = 0;
    if (pthread_create(&thread, &attributes, run, &m) == 0) {
        pthread_join(thread, NULL);
        unsigned char *lowest = stack;
        while (*lowest == UNUSED)
            lowest++;
        used = m.status == 0 ? (size_t)(m.top - lowest) : 0;
    }
    pthread_attr_destroy(&attributes);
    free(stack);
    return used;
}
