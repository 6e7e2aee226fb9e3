/* A stand-in for the CUDA driver and NVML: writes down what it is asked for, and does nothing.

   What a program sends to the driver can be counted with it on a machine without a GPU; it says
   nothing about what a device would do. Functions that need not answer are generated (see
   test_mojo_launch.py). FAKE_DRIVER_LOG names the file. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void note(const char *what) {
    FILE *log = fopen(getenv("FAKE_DRIVER_LOG"), "a");
    fprintf(log, "%s\n", what);
    fclose(log);
}

static int handle;

int cuDriverGetVersion(int *version) { *version = 13000; return 0; }
int cuDeviceGetCount(int *count) { *count = 1; return 0; }
int nvmlDeviceGetCount_v2(unsigned *count) { *count = 1; return 0; }
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
int cuDevicePrimaryCtxRetain(void **context, int device) { *context = &handle; return 0; }
int cuCtxCreate_v2(void **context, unsigned flags, int device) { *context = &handle; return 0; }
int cuCtxGetCurrent(void **context) { *context = &handle; return 0; }
int cuStreamGetCtx(void *stream, void **context) { *context = &handle; return 0; }
int cuStreamCreateWithPriority(void **stream, unsigned flags, int priority) { *stream = &handle; return 0; }
int cuStreamCreate(void **stream, unsigned flags) { *stream = &handle; return 0; }
int cuStreamIsCapturing(void *stream, int *status) { *status = 0; return 0; }
int cuEventCreate(void **event, unsigned flags) { *event = &handle; return 0; }
int cuDeviceGetMemPool(void **pool, int device) { *pool = &handle; return 0; }
int cuMemGetInfo_v2(size_t *unused, size_t *all) { *unused = *all = (size_t)80 << 30; return 0; }
int cuMemGetAllocationGranularity(size_t *size, void *properties, int option) {
    *size = 2 << 20;
    return 0;
}
int cuModuleLoadDataEx(void **module, const char *image, unsigned n, int *options, void **values) {
    note("cuModuleLoadDataEx");
    *module = &handle;
    return 0;
}
int cuModuleGetFunction(void **function, void *module, const char *name) { *function = &handle; return 0; }
int cuFuncGetAttribute(int *value, int attribute, void *function) { *value = 1024; return 0; }
int cuFuncGetParamInfo(void *function, size_t i, size_t *offset, size_t *size) {
    /* audio, lengths, out; is_int16, ragged, smoothing; samples, clip_stride, pad_to */
    static const size_t offsets[] = {0, 8, 16, 24, 28, 32, 40, 48, 56};
    if (i >= 9)
        return 1;
    if (offset)
        *offset = offsets[i];
    if (size)
        *size = i >= 3 && i < 6 ? 4 : 8;
    return 0;
}
int cuFuncSetAttribute(void *function, int attribute, int value) {
    char line[100];
    snprintf(line, sizeof line, "cuFuncSetAttribute %d %d", attribute, value);
    note(line);
    return 0;
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
    return 0;
}
