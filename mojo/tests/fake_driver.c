/* A stand-in for the CUDA driver and NVML, with two devices: writes down what it is asked for.

   What a program sends to the driver can be counted with it on a machine without a GPU. It keeps
   account of memory as a driver does, so that it can say what an address is. It says nothing about
   what a device would do: kernels do nothing, or, if FAKE_DRIVER_LOCKSTEP names the library of
   lockstep.mojo, they are run by that. Functions that need not answer are generated (see
   fake_driver.py). FAKE_DRIVER_LOG names the file that is written to. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

void note(const char *what) {
    FILE *log = fopen(getenv("FAKE_DRIVER_LOG"), "a");
    fprintf(log, "%s\n", what);
    fclose(log);
}

static int handle;

enum { OK = 0, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, NOT_FOUND = 500 };

int cuDriverGetVersion(int *version) { *version = 13000; return 0; }
int cuDeviceGetCount(int *count) { *count = 2; return 0; }
int nvmlDeviceGetCount_v2(unsigned *count) { *count = 2; return 0; }
int cuDeviceGet(int *device, int ordinal) { *device = ordinal; return 0; }
int cuDeviceGetName(char *name, int size, int device) { strncpy(name, "none", size); return 0; }
int nvmlDeviceGetName(void *device, char *name, unsigned size) { strncpy(name, "none", size); return 0; }
const char *nvmlErrorString(int error) { return "none"; }
int nvmlDeviceGetCudaComputeCapability(void *device, int *major, int *minor) {
    *major = 9;
    *minor = 0;
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
    case 75: *value = 9; break;      /* compute capability */
    case 76: *value = 0; break;
    case 97: *value = 232448; break; /* bytes of shared memory that a block can have */
    default: *value = 1;
    }
    return 0;
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
int cuCtxPushCurrent_v2(void *context) { stack[depth++] = context; return 0; }
int cuCtxPopCurrent_v2(void **context) { *context = stack[--depth]; return 0; }
int cuCtxPushCurrent(void *context) { return cuCtxPushCurrent_v2(context); }
int cuCtxPopCurrent(void **context) { return cuCtxPopCurrent_v2(context); }

/* Memory: pages that are there when they are touched. */
static struct memory {
    uintptr_t base;
    size_t size;
    int type, device; /* type 1: the host's, page-locked; 2: a device's */
} memory[1000];
static int memories;
static const size_t all_memory = (size_t)80 << 30;
static size_t used_memory(void) {
    size_t sum = 0;
    for (int i = 0; i < memories; i++)
        sum += memory[i].type == 2 && memory[i].device == current_device() ? memory[i].size : 0;
    return sum;
}
static struct memory *memory_at(uintptr_t address) {
    for (int i = 0; i < memories; i++)
        if (memory[i].base <= address && address < memory[i].base + memory[i].size)
            return &memory[i];
    return 0;
}
static void *pages(size_t size) {
    return mmap(0, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
}
static int allocate(void **address, size_t size, int type) {
    if (size == 0)
        return INVALID_VALUE;
    if (memories == 1000 || size > all_memory || (type == 2 && size > all_memory - used_memory()))
        return OUT_OF_MEMORY;
    void *base = pages(size + 4096); /* nothing follows immediately */
    if (base == MAP_FAILED)
        return OUT_OF_MEMORY;
    memory[memories++] = (struct memory){(uintptr_t)base, size, type, current_device()};
    *address = base;
    return OK;
}
int cuMemAddressReserve(void **address, size_t size, size_t alignment, uintptr_t wish, uint64_t flags) {
    note("cuMemAddressReserve");
    *address = pages(size);
    return *address == MAP_FAILED ? OUT_OF_MEMORY : OK;
}
/* Two ranges of 2 MiB one after the other, as cuMemMap makes them. */
void *fake_mapped(void) {
    const size_t granule = 2 << 20;
    uintptr_t base = ((uintptr_t)pages(4 * granule) / granule + 1) * granule;
    for (int i = 0; i < 2; i++)
        memory[memories++] = (struct memory){base + i * granule, granule, 2, current_device()};
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
    struct memory *it = memory_at(address);
    if (!it || it->base != address)
        return INVALID_VALUE;
    munmap((void *)it->base, it->size);
    *it = memory[--memories];
    return OK;
}
int cuPointerGetAttribute(int *value, int attribute, uintptr_t address) {
    struct memory *it = memory_at(address);
    if (!it)
        return INVALID_VALUE;
    *value = attribute == 2 ? it->type : it->device; /* MEMORY_TYPE, DEVICE_ORDINAL */
    return OK;
}
int cuMemGetAddressRange_v2(uintptr_t *base, size_t *size, uintptr_t address) {
    struct memory *it = memory_at(address);
    if (!it || it->type != 2 || !depth)
        return NOT_FOUND;
    *base = it->base;
    *size = it->size;
    return OK;
}
/* Copies are refused if the device's side of them is not the device's. */
static int on_device(uintptr_t address, size_t size) {
    struct memory *it = memory_at(address);
    return it && it->type == 2 && address + size <= it->base + it->size;
}
int cuMemsetD32_v2(uintptr_t to, unsigned value, size_t count) {
    note("cuMemsetD32");
    if (!on_device(to, 4 * count))
        return INVALID_VALUE;
    for (size_t i = 0; i < count; i++)
        ((unsigned *)to)[i] = value;
    return OK;
}
int cuMemcpyHtoD_v2(uintptr_t to, const void *from, size_t size) {
    note("cuMemcpyHtoD");
    if (!on_device(to, size))
        return INVALID_VALUE;
    memcpy((void *)to, from, size);
    return OK;
}
int cuMemcpyDtoH_v2(void *to, uintptr_t from, size_t size) {
    note("cuMemcpyDtoH");
    if (!on_device(from, size))
        return INVALID_VALUE;
    memcpy(to, (void *)from, size);
    return OK;
}
/* Nothing else is going on: what is asked for is done when the call returns. */
int cuMemcpyHtoDAsync_v2(uintptr_t to, const void *from, size_t size, void *stream) {
    note("cuMemcpyHtoDAsync");
    memcpy((void *)to, from, size);
    return OK;
}
int cuMemcpyDtoHAsync_v2(void *to, uintptr_t from, size_t size, void *stream) {
    note("cuMemcpyDtoHAsync");
    memcpy(to, (void *)from, size);
    return OK;
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
const char *nothing = "stand-in";
int cuGetErrorName(int error, const char **text) { *text = nothing; return 0; }
int cuGetErrorString(int error, const char **text) { *text = nothing; return 0; }
int cuMemGetInfo_v2(size_t *unused, size_t *all) {
    *all = all_memory;
    *unused = all_memory - used_memory();
    return 0;
}
int cuMemGetAllocationGranularity(size_t *size, void *properties, int option) {
    *size = 2 << 20;
    return 0;
}
/* Modules; a function is named by its module, which has but one. */
static struct module {
    long n_mels; /* 0: not ours */
} modules[256];
/* The number of bands whose last weight stands in a program's text, or 0. */
static long bands_of(const char *image) {
    const char *path = getenv("FAKE_DRIVER_LOCKSTEP");
    for (long n_mels = 80; path && n_mels <= 128; n_mels += 48) {
        unsigned (*weight)(long);
        char word[20];
        *(void **)&weight = dlsym(dlopen(path, RTLD_NOW), "whisper_mel_lockstep_weight");
        snprintf(word, sizeof word, "0f%08X", weight(n_mels));
        if (strstr(image, word))
            return n_mels;
    }
    return 0;
}
int cuModuleLoadDataEx(void **module, const char *image, unsigned n, int *options, void **values) {
    static int loaded;
    note("cuModuleLoadDataEx");
    if (loaded == 256)
        return OUT_OF_MEMORY;
    modules[loaded].n_mels = bands_of(image);
    *module = &modules[loaded++];
    return 0;
}
int cuModuleGetFunction(void **function, void *module, const char *name) { *function = module; return 0; }
int cuFuncGetAttribute(int *value, int attribute, void *function) { *value = 1024; return 0; }
static size_t size_of(size_t argument) { return (argument >= 3 && argument < 6) || argument == 9 ? 4 : 8; }
int cuFuncGetParamInfo(void *function, size_t i, size_t *offset, size_t *size) {
    /* audio, lengths, out; is_int16, ragged, smoothing; samples, clip_stride, pad_to; blocks */
    static const size_t offsets[] = {0, 8, 16, 24, 28, 32, 40, 48, 56, 64};
    if (i >= 10)
        return 1;
    if (offset)
        *offset = offsets[i];
    if (size)
        *size = size_of(i);
    return 0;
}
int cuFuncSetAttribute(void *function, int attribute, int value) {
    char line[100];
    snprintf(line, sizeof line, "cuFuncSetAttribute %d %d", attribute, value);
    note(line);
    return 0;
}

/* The arguments as whisper_mel_lockstep takes them; NaN stays in the output, as on a device. */
static int run_in_lockstep(long clips, unsigned cluster, struct module *module, void **arguments) {
    const char *path = getenv("FAKE_DRIVER_LOCKSTEP");
    if (!path)
        return OK;
    long (*run)(long, long, long, long, long, long, long, long, long, long, long, void *, long *);
    void *library = dlopen(path, RTLD_NOW);
    *(void **)&run = dlsym(library, "whisper_mel_lockstep");
    if (module->n_mels == 0)
        return OK; /* no kernel of ours */
    long session[12] = {cluster > 1, 0, *(int *)arguments[4] ? *(long *)arguments[1] : 0};
    long bad_sample;
    run(*(long *)arguments[0], *(int *)arguments[3], clips, *(long *)arguments[6],
        *(long *)arguments[7], *(long *)arguments[8], module->n_mels, *(int *)arguments[5],
        *(long *)arguments[2], 1L << 50, 1, session, &bad_sample);
    char line[100];
    snprintf(line, sizeof line, "lockstep phases=%ld faults=%ld", session[3],
             session[4] + session[5] + session[6] + session[7]);
    note(line);
    return OK;
}

/* One graph: the launches between the begin and the end of a capture, with their arguments. */
static struct launch {
    long clips;
    unsigned cluster;
    struct module *module;
    long values[10];
} launches[100];
static int captured, capturing;
int cuStreamIsCapturing(void *stream, int *status) { *status = capturing; return 0; }
int cuStreamBeginCapture_v2(void *stream, int mode) {
    note("cuStreamBeginCapture");
    capturing = 1;
    captured = 0;
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
static int capture(long clips, unsigned cluster, struct module *module, void **arguments) {
    struct launch *it = &launches[captured++];
    *it = (struct launch){clips, cluster, module};
    for (int i = 0; i < 10; i++)
        memcpy(&it->values[i], arguments[i], size_of(i));
    return captured < 100 ? OK : OUT_OF_MEMORY;
}

struct config {
    unsigned grid[3], block[3], shared;
    void *stream, *attributes;
    unsigned count;
};
int cuLaunchKernelEx(struct config *c, void *function, void **arguments, void **extra) {
    char line[500];
    unsigned cluster = 1;
    for (unsigned i = 0; i < c->count; i++) {
        unsigned *attribute = (unsigned *)((char *)c->attributes + 72 * i);
        if (attribute[0] == 4) /* CLUSTER_DIMENSION; its values begin after 8 bytes */
            cluster = attribute[2];
    }
    snprintf(line, sizeof line,
             "cuLaunchKernelEx grid=%u block=%u cluster=%u shared=%u stream=%#lx audio=%#lx "
             "lengths=%#lx out=%#lx int16=%d ragged=%d smoothing=%d samples=%ld stride=%ld pad=%ld",
             c->grid[0], c->block[0], cluster, c->shared, (long)c->stream, *(long *)arguments[0],
             *(long *)arguments[1], *(long *)arguments[2], *(int *)arguments[3],
             *(int *)arguments[4], *(int *)arguments[5], *(long *)arguments[6],
             *(long *)arguments[7], *(long *)arguments[8]);
    note(line);
    if (capturing)
        return capture(c->grid[0] / cluster, cluster, function, arguments);
    return run_in_lockstep(c->grid[0] / cluster, cluster, function, arguments);
}
int cuGraphLaunch(void *graph, void *stream) {
    note("cuGraphLaunch");
    for (int i = 0; i < captured; i++) {
        struct launch *it = &launches[i];
        void *arguments[10];
        for (int j = 0; j < 10; j++)
            arguments[j] = &it->values[j];
        run_in_lockstep(it->clips, it->cluster, it->module, arguments);
    }
    return 0;
}
