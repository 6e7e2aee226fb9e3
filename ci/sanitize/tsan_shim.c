/* Mojo's compiler calls these where gcc's run-time library for ThreadSanitizer has other names. */
#include <string.h>

void *__tsan_memcpy(void *to, const void *from, size_t n) { return memcpy(to, from, n); }
void *__tsan_memset(void *to, int value, size_t n) { return memset(to, value, n); }
void *__tsan_memmove(void *to, const void *from, size_t n) { return memmove(to, from, n); }
