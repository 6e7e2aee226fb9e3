/* A stand-in for the CUDA driver and NVML, with two devices, on a machine without a GPU.

   It keeps account of memory as a driver does, so that it can say what an address is, and writes
   down what it is asked for. Environment variables:

   FAKE_DRIVER_LOG         the file that is written to; not set: none
   FAKE_DRIVER_TRANSLATOR  the command that makes a library of the PTX in a file, and prints its path
                           (__main__.py); kernels are run by that library. Not set: they do nothing
   FAKE_DRIVER_CAPABILITY  compute capability of the devices, such as 80; not set: 90
   FAKE_DRIVER_ORDER       of a kernel's threads: forwards, backwards, warps or shuffled, by default
                           forwards; the last two with a seed, as in shuffled:3
   FAKE_DRIVER_VARIANT     of a kernel, if it has some; not set: 0, as it is
   FAKE_DRIVER_JUMPS       of a thread, after which a loop is taken to be endless; not set: any number

   A launch in which something is found fails with CUDA_ERROR_LAUNCH_FAILED, and a copy of values
   that nothing wrote with CUDA_ERROR_INVALID_VALUE; cuGetErrorString then tells what was found.
   Functions that need not answer are generated (driver.py). */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "launch.h"

void note(const char *what) {
    const char *path = getenv("FAKE_DRIVER_LOG");
    FILE *log = path ? fopen(path, "a") : NULL;
    if (!log)
        return;
    fprintf(log, "%s\n", what);
    fclose(log);
}

static int handle;

enum {
    OK = 0,
    INVALID_VALUE = 1,
    OUT_OF_MEMORY = 2,
    NOT_INITIALIZED = 3,
    NO_BINARY = 209,
    INVALID_PTX = 218,
    NOT_FOUND = 500,
    LAUNCH_FAILED = 719
};
/* What was found last, for cuGetErrorString. */
static char problem[3000] = "stand-in";
__attribute__((format(printf, 2, 3))) static int refuse(int status, const char *what, ...) {
    va_list arguments;
    va_start(arguments, what);
    vsnprintf(problem, sizeof problem, what, arguments);
    va_end(arguments);
    note(problem);
    return status;
}
static int capability(void) {
    const char *chosen = getenv("FAKE_DRIVER_CAPABILITY");
    return chosen ? atoi(chosen) : 90;
}

int cuDriverGetVersion(int *version) { *version = 13000; return 0; }
int cuDeviceGetCount(int *count) { *count = 2; return 0; }
int nvmlDeviceGetCount_v2(unsigned *count) { *count = 2; return 0; }
int cuDeviceGet(int *device, int ordinal) { *device = ordinal; return 0; }
int cuDeviceGetName(char *name, int size, int device) { strncpy(name, "none", size); return 0; }
int nvmlDeviceGetName(void *device, char *name, unsigned size) { strncpy(name, "none", size); return 0; }
const char *nvmlErrorString(int error) { return "none"; }
int nvmlDeviceGetCudaComputeCapability(void *device, int *major, int *minor) {
    *major = capability() / 10;
    *minor = capability() % 10;
    return 0;
}
int nvmlDeviceGetPciInfo_v3(void *device, char *info) {
    /* After a name of 16 bytes: domain, bus and device, as cuDeviceGetAttribute has them. */
    unsigned place[] = {1, 1, 1};
    memcpy(info + 16, place, sizeof place);
    return 0;
}
int cuDeviceGetAttribute(int *value, int attribute, int device) {
    switch (attribute) {
    case 1: *value = 1024; break;    /* threads in a block */
    case 10: *value = 32; break;     /* in a warp */
    case 16: *value = 132; break;    /* multiprocessors */
    case 75: *value = capability() / 10; break;
    case 76: *value = capability() % 10; break;
    case 97: *value = 232448; break; /* bytes of shared memory that a block can have */
    default: *value = 1;
    }
    return 0;
}
/* As a driver does, it serves no child that was forked after cuInit. */
static int initialised, forked;
static void in_child(void) { forked = 1; }
static int served(void) { return forked ? refuse(NOT_INITIALIZED, "initialization error") : OK; }
int cuInit(unsigned flags) {
    note("cuInit");
    if (!initialised++)
        pthread_atfork(NULL, NULL, in_child);
    return served();
}
/* Contexts: one for each device, and a thread's stack of them. */
static int contexts[2];
static __thread void *stack[16];
static __thread int depth;
static int current_device(void) { return depth && stack[depth - 1] == &contexts[1]; }
int cuDevicePrimaryCtxRetain(void **context, int device) { *context = &contexts[device]; return 0; }
int cuCtxCreate_v2(void **context, unsigned flags, int device) { *context = &contexts[device]; return 0; }
int cuCtxGetCurrent(void **context) { *context = depth ? stack[depth - 1] : 0; return 0; }
int cuCtxSetCurrent(void *context) {
    depth += depth == 0;
    stack[depth - 1] = context;
    return 0;
}
int cuCtxPushCurrent_v2(void *context) { stack[depth++] = context; return served(); }
int cuCtxPopCurrent_v2(void **context) { *context = stack[--depth]; return 0; }
int cuCtxPushCurrent(void *context) { return cuCtxPushCurrent_v2(context); }
int cuCtxPopCurrent(void **context) { return cuCtxPopCurrent_v2(context); }

/* Memory: pages that are there when they are touched. */
static struct allocation {
    uintptr_t base;
    size_t size;
    int type, device; /* type 1: the host's, page-locked; 2: a device's */
    uint64_t *stamps; /* of a device's memory: who wrote each half word, see launch.h */
} memory[1000];
static int memories;
static const size_t all_memory = (size_t)80 << 30;
/* One thread at a time is in the accounts and on the device. */
static pthread_mutex_t turn = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;
static void end_of_scope(char *unused) { pthread_mutex_unlock(&turn); }
#define ALONE                                                                                      \
    __attribute__((cleanup(end_of_scope))) char alone;                                             \
    pthread_mutex_lock(&turn)

static size_t used_memory(void) {
    size_t sum = 0;
    for (int i = 0; i < memories; i++)
        sum += memory[i].type == 2 && memory[i].device == current_device() ? memory[i].size : 0;
    return sum;
}
static struct allocation *memory_at(uintptr_t address) {
    for (int i = 0; i < memories; i++)
        if (memory[i].base <= address && address < memory[i].base + memory[i].size)
            return &memory[i];
    return 0;
}
static void *pages(size_t size) {
    return mmap(0, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
}
static int allocate(void **address, size_t size, int type) {
    if (served() != OK)
        return NOT_INITIALIZED;
    ALONE;
    if (size == 0)
        return INVALID_VALUE;
    if (memories == 1000 || size > all_memory || (type == 2 && size > all_memory - used_memory()))
        return OUT_OF_MEMORY;
    void *base = pages(size + 4096); /* nothing follows immediately */
    if (base == MAP_FAILED)
        return OUT_OF_MEMORY;
    memory[memories++] = (struct allocation){(uintptr_t)base, size, type, current_device(),
                                             type == 2 ? pages(4 * size + 8) : NULL};
    *address = base;
    return OK;
}
int cuMemAddressReserve(void **address, size_t size, size_t alignment, uintptr_t wish, uint64_t flags) {
    note("cuMemAddressReserve");
    *address = pages(size);
    return *address == MAP_FAILED ? OUT_OF_MEMORY : OK;
}
/* Memory in a range of addresses that was reserved: MAX's engine takes all of it so. */
int cuMemMap(uintptr_t address, size_t size, size_t offset, uint64_t handle, uint64_t flags) {
    note("cuMemMap");
    ALONE;
    if (memories == 1000)
        return OUT_OF_MEMORY;
    memory[memories++] =
        (struct allocation){address, size, 2, current_device(), pages(4 * size + 8)};
    return OK;
}
int cuMemUnmap(uintptr_t address, size_t size) {
    note("cuMemUnmap");
    ALONE;
    struct allocation *it = memory_at(address);
    if (!it || it->base != address || it->size != size)
        return INVALID_VALUE;
    munmap(it->stamps, 4 * size + 8);
    *it = memory[--memories];
    return OK;
}
/* Two ranges of 2 MiB one after the other. */
void *fake_mapped(void) {
    const size_t granule = 2 << 20;
    uintptr_t base = ((uintptr_t)pages(4 * granule) / granule + 1) * granule;
    for (int i = 0; i < 2; i++)
        cuMemMap(base + i * granule, granule, 0, 0, 0);
    return (void *)base;
}
int cuMemAlloc_v2(void **address, size_t size) { note("cuMemAlloc"); return allocate(address, size, 2); }
int cuMemAllocAsync(void **address, size_t size, void *stream) {
    note("cuMemAllocAsync");
    return allocate(address, size, 2);
}
int cuMemHostAlloc(void **address, size_t size, unsigned flags) {
    note("cuMemHostAlloc");
    return allocate(address, size, 1);
}
int cuMemFree_v2(uintptr_t address) {
    note("cuMemFree");
    ALONE;
    struct allocation *it = memory_at(address);
    if (!it || it->base != address)
        return INVALID_VALUE;
    munmap((void *)it->base, it->size + 4096);
    if (it->stamps)
        munmap(it->stamps, 4 * it->size + 8);
    *it = memory[--memories];
    return OK;
}
int cuPointerGetAttribute(int *value, int attribute, uintptr_t address) {
    ALONE;
    struct allocation *it = memory_at(address);
    if (!it)
        return INVALID_VALUE;
    *value = attribute == 2 ? it->type : it->device; /* MEMORY_TYPE, DEVICE_ORDINAL */
    return OK;
}
int cuMemGetAddressRange_v2(uintptr_t *base, size_t *size, uintptr_t address) {
    ALONE;
    struct allocation *it = memory_at(address);
    if (!it || it->type != 2 || !depth)
        return NOT_FOUND;
    *base = it->base;
    *size = it->size;
    return OK;
}
/* Copies are refused if the device's side of them is not the device's, or was never written.
   Nothing else is going on: what is asked for is done when the call returns. */
static struct allocation *on_device(uintptr_t address, size_t size) {
    struct allocation *it = memory_at(address);
    return it && it->type == 2 && address + size <= it->base + it->size ? it : NULL;
}
static int written(struct allocation *it, uintptr_t address, size_t size) {
    size_t first = (address - it->base) / 2;
    for (size_t i = first; i < (address - it->base + size + 1) / 2; i++)
        it->stamps[i] = WRITTEN_BY_HOST;
    return OK;
}
/* For programs that write to a device's memory as if it were their own. */
void fake_written(uintptr_t address, size_t size) {
    ALONE;
    written(memory_at(address), address, size);
}
int cuMemsetD32_v2(uintptr_t to, unsigned value, size_t count) {
    note("cuMemsetD32");
    ALONE;
    struct allocation *it = on_device(to, 4 * count);
    if (!it)
        return INVALID_VALUE;
    for (size_t i = 0; i < count; i++)
        ((unsigned *)to)[i] = value;
    return written(it, to, 4 * count);
}
static int to_device(uintptr_t to, const void *from, size_t size) {
    ALONE;
    struct allocation *it = on_device(to, size);
    if (!it)
        return INVALID_VALUE;
    memcpy((void *)to, from, size);
    return written(it, to, size);
}
static int from_device(void *to, uintptr_t from, size_t size) {
    ALONE;
    struct allocation *it = on_device(from, size);
    if (!it)
        return INVALID_VALUE;
    size_t missing = 0, first = (from - it->base) / 2, end = (from - it->base + size + 1) / 2;
    for (size_t i = first; i < end; i++)
        missing += !it->stamps[i];
    memcpy(to, (void *)from, size);
    if (missing && getenv("FAKE_DRIVER_TRANSLATOR"))
        return refuse(INVALID_VALUE, "%zu of %zu half words that are copied were never written", missing,
                      end - first);
    return OK;
}
int cuMemcpyHtoD_v2(uintptr_t to, const void *from, size_t size) {
    note("cuMemcpyHtoD");
    return to_device(to, from, size);
}
int cuMemcpyDtoH_v2(void *to, uintptr_t from, size_t size) {
    note("cuMemcpyDtoH");
    return from_device(to, from, size);
}
int cuMemcpyHtoDAsync_v2(uintptr_t to, const void *from, size_t size, void *stream) {
    note("cuMemcpyHtoDAsync");
    return to_device(to, from, size);
}
int cuMemcpyDtoHAsync_v2(void *to, uintptr_t from, size_t size, void *stream) {
    note("cuMemcpyDtoHAsync");
    return from_device(to, from, size);
}
int cuMemcpyDtoDAsync_v2(uintptr_t to, uintptr_t from, size_t size, void *stream) {
    note("cuMemcpyDtoDAsync");
    return on_device(from, size) ? to_device(to, (const void *)from, size) : INVALID_VALUE;
}
int cuStreamGetCtx(void *stream, void **context) { *context = &handle; return 0; }
int cuStreamCreateWithPriority(void **stream, unsigned flags, int priority) { *stream = &handle; return 0; }
int cuStreamCreate(void **stream, unsigned flags) { *stream = &handle; return 0; }
/* Events: when they were recorded. */
int cuEventCreate(void **event, unsigned flags) { *event = calloc(1, sizeof(struct timespec)); return 0; }
int cuEventRecord(void *event, void *stream) {
    note("cuEventRecord");
    clock_gettime(CLOCK_MONOTONIC, event);
    return 0;
}
int cuEventElapsedTime(float *milliseconds, struct timespec *begin, struct timespec *end) {
    *milliseconds = 1e3 * (end->tv_sec - begin->tv_sec) + 1e-6 * (end->tv_nsec - begin->tv_nsec);
    return 0;
}
int cuEventDestroy_v2(void *event) { free(event); return 0; }
int cuDeviceGetMemPool(void **pool, int device) { *pool = &handle; return 0; }
int cuGetErrorName(int error, const char **text) { *text = problem; return 0; }
int cuGetErrorString(int error, const char **text) { *text = problem; return 0; }
int cuMemGetInfo_v2(size_t *unused, size_t *all) {
    ALONE;
    *all = all_memory;
    *unused = all_memory - used_memory();
    return 0;
}
int cuMemGetAllocationGranularity(size_t *size, void *properties, int option) {
    *size = 2 << 20;
    return 0;
}
/* A module with one kernel. `image` is what is not translated yet; with `run` NULL as well, the
   kernel does nothing. A process loads all kernels, and launches few. */
struct module {
    char *image;
    const char *(*run)(struct launch *);
    const uint32_t *parameters; /* their sizes, ended by 0 */
    unsigned most_shared;
};
static const uint32_t of_our_kernel[] = {8, 8, 8, 4, 4, 4, 8, 8, 8, 4, 4, 4, 4, 0};

/* The architecture's own code, such as sm_90a's, is for exactly one compute capability. LLVM IR is for
   other vendors' devices. */
static int fits(const char *image) {
    const char *target = strstr(image, ".target sm_");
    if (!target)
        return strstr(image, "\ntarget triple = ") != NULL;
    char *end;
    long wanted = strtol(target + strlen(".target sm_"), &end, 10);
    return *end == 'a' ? wanted == capability() : wanted <= capability();
}
static int translated(struct module *it) {
    char source[] = "/tmp/program-XXXXXX", command[2000], library[1000] = "";
    int file = mkstemp(source);
    size_t size = strlen(it->image);
    if (file < 0 || write(file, it->image, size) != (ssize_t)size || close(file))
        return refuse(INVALID_PTX, "the program cannot be written to %s", source);
    snprintf(command, sizeof command, "%s %s", getenv("FAKE_DRIVER_TRANSLATOR"), source);
    FILE *output = popen(command, "r");
    char *said = fgets(library, sizeof library, output);
    int status = pclose(output);
    unlink(source);
    if (!said || status)
        return refuse(INVALID_PTX, "the program could not be translated");
    library[strcspn(library, "\n")] = 0;
    void *loaded = dlopen(library, RTLD_NOW | RTLD_LOCAL);
    if (!loaded)
        return refuse(INVALID_PTX, "%s", dlerror());
    *(void **)&it->run = dlsym(loaded, "run_launch");
    it->parameters = dlsym(loaded, "parameter_sizes");
    free(it->image);
    it->image = NULL;
    return OK;
}
static int translate(struct module *it) {
    ALONE;
    return it->image ? translated(it) : OK;
}
int cuModuleLoadDataEx(void **module, const char *image, unsigned n, int *options, void **values) {
    note("cuModuleLoadDataEx");
    struct module *it = calloc(1, sizeof *it);
    *it = (struct module){NULL, NULL, of_our_kernel, 48 << 10};
    *module = it;
    if (!getenv("FAKE_DRIVER_TRANSLATOR"))
        return OK;
    if (!fits(image))
        return refuse(NO_BINARY, "the code is not for compute capability %d", capability());
    it->image = strdup(image);
    return OK;
}
int cuModuleLoadData(void **module, const char *image) {
    return cuModuleLoadDataEx(module, image, 0, NULL, NULL);
}
int cuModuleGetFunction(void **function, void *module, const char *name) {
    *function = module;
    return 0;
}
int cuFuncGetAttribute(int *value, int attribute, void *function) { *value = 1024; return 0; }
int cuFuncGetParamInfo(struct module *function, size_t i, size_t *offset, size_t *size) {
    int status = translate(function);
    if (status)
        return status;
    size_t at = 0;
    const uint32_t *sizes = function->parameters;
    for (size_t j = 0; sizes[j]; at += sizes[j++]) {
        at = (at + sizes[j] - 1) / sizes[j] * sizes[j];
        if (j < i)
            continue;
        if (offset)
            *offset = at;
        if (size)
            *size = sizes[j];
        return OK;
    }
    return INVALID_VALUE;
}
int cuFuncSetAttribute(struct module *function, int attribute, int value) {
    char line[100];
    snprintf(line, sizeof line, "cuFuncSetAttribute %d %d", attribute, value);
    note(line);
    if (attribute == 8) /* MAX_DYNAMIC_SHARED_SIZE_BYTES */
        function->most_shared = value;
    return 0;
}

static long number(const char *name) {
    const char *text = getenv(name);
    return text ? atol(text) : 0;
}
static void set_order(struct launch *it) {
    static const char *const names[] = {"forwards", "backwards", "warps", "shuffled"};
    const char *chosen = getenv("FAKE_DRIVER_ORDER");
    for (int i = 0; chosen && i < 4; i++) {
        size_t length = strlen(names[i]);
        if (strncmp(chosen, names[i], length))
            continue;
        it->order = i;
        it->seed = chosen[length] == ':' ? atol(chosen + length + 1) : 0;
    }
}
/* Of mel_kernel's arguments, audio and lengths are read only; the third is where it writes. */
enum { OUT = 2 };
static int execute(struct module *kernel, unsigned grid, unsigned block, unsigned cluster,
                   unsigned shared, void **arguments) {
    static uint64_t time = WRITTEN_BY_HOST;
    static struct memory seen[1000];
    if (!kernel->run)
        return OK;
    if (shared > kernel->most_shared)
        return refuse(INVALID_VALUE, "%u bytes of shared memory, %u were asked for", shared,
                      kernel->most_shared);
    ALONE;
    struct launch it = {grid, block, cluster, shared, arguments, seen};
    set_order(&it);
    it.time = time;
    it.most_jumps = number("FAKE_DRIVER_JUMPS");
    it.variant = number("FAKE_DRIVER_VARIANT");
    struct allocation *out = memory_at(*(uintptr_t *)arguments[OUT]);
    for (int i = 0; i < memories; i++)
        if (memory[i].type == 2)
            seen[it.memory_count++] = (struct memory){memory[i].base, memory[i].size,
                                                      memory[i].stamps, &memory[i] == out};
    const char *found = kernel->run(&it);
    time = it.time;
    int status = found ? refuse(LAUNCH_FAILED, "found: %s", found) : OK;
    if (!found)
        note("nothing found");
    return status;
}

/* One graph: the launches between the begin and the end of a capture, with their arguments. */
static struct captured {
    struct module *kernel;
    unsigned grid, block, cluster, shared;
    uint64_t values[32];
} captured[100];
static int captures, capturing;
int cuStreamIsCapturing(void *stream, int *status) { *status = capturing; return 0; }
int cuStreamBeginCapture_v2(void *stream, int mode) {
    note("cuStreamBeginCapture");
    capturing = 1;
    captures = 0;
    return 0;
}
int cuStreamEndCapture(void *stream, void **graph) {
    note("cuStreamEndCapture");
    capturing = 0;
    *graph = &handle;
    return 0;
}
int cuGraphInstantiateWithFlags(void **executable, void *graph, uint64_t flags) {
    *executable = &handle;
    return 0;
}
static int capture(struct module *kernel, unsigned grid, unsigned block, unsigned cluster,
                   unsigned shared, void **arguments) {
    if (captures == 100)
        return OUT_OF_MEMORY;
    struct captured *it = &captured[captures++];
    *it = (struct captured){kernel, grid, block, cluster, shared};
    for (int i = 0; i < 32 && kernel->parameters[i]; i++)
        memcpy(&it->values[i], arguments[i], kernel->parameters[i]);
    return OK;
}

struct config {
    unsigned grid[3], block[3], shared;
    void *stream, *attributes;
    unsigned count;
};
int cuLaunchKernelEx(struct config *c, struct module *kernel, void **arguments, void **extra) {
    int status = translate(kernel);
    if (status)
        return status;
    char line[500];
    unsigned cluster = 1;
    for (unsigned i = 0; i < c->count; i++) {
        unsigned *attribute = (unsigned *)((char *)c->attributes + 72 * i);
        if (attribute[0] == 4) /* CLUSTER_DIMENSION; its values begin after 8 bytes */
            cluster = attribute[2];
    }
    int n = snprintf(line, sizeof line,
                     "cuLaunchKernelEx grid=%u block=%u cluster=%u shared=%u stream=%#lx", c->grid[0],
                     c->block[0], cluster, c->shared, (long)c->stream);
    if (!memcmp(kernel->parameters, of_our_kernel, sizeof of_our_kernel))
        snprintf(line + n, sizeof line - n,
                 " audio=%#lx lengths=%#lx out=%#lx int16=%d ragged=%d smoothing=%d samples=%ld "
                 "stride=%ld pad=%ld",
                 *(long *)arguments[0], *(long *)arguments[1], *(long *)arguments[2],
                 *(int *)arguments[3], *(int *)arguments[4], *(int *)arguments[5],
                 *(long *)arguments[6], *(long *)arguments[7], *(long *)arguments[8]);
    note(line);
    int (*act)() = capturing ? capture : execute;
    return act(kernel, c->grid[0], c->block[0], cluster, c->shared, arguments);
}
int cuGraphLaunch(void *graph, void *stream) {
    note("cuGraphLaunch");
    for (int i = 0; i < captures; i++) {
        struct captured *it = &captured[i];
        void *arguments[32];
        for (int j = 0; j < 32; j++)
            arguments[j] = &it->values[j];
        int status = execute(it->kernel, it->grid, it->block, it->cluster, it->shared, arguments);
        if (status)
            return status;
    }
    return OK;
}
