/* Computes the features of one clip of 30 s once, for callgrind to count:
 * callgrind_driver LIBRARY N_MELS SMOOTHING (as the C interface numbers it).
 * One thread, a clip from a generator: every run executes the same instructions.
 */
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define SAMPLES 480000
#define FRAMES 3000

typedef int64_t log_mel(const void *audio, int64_t is_int16, int64_t clips, int64_t samples,
                        int64_t clip_stride, int64_t pad_to, int64_t n_mels, int64_t smoothing,
                        void *out, int64_t out_len, int64_t threads, void *pool,
                        int64_t *bad_sample);

static float audio[SAMPLES];
static float features[128 * FRAMES];

int main(int count, char **arguments) {
    if (count != 4) return fprintf(stderr, "expected: LIBRARY N_MELS SMOOTHING\n"), 2;
    void *library = dlopen(arguments[1], RTLD_NOW);
    if (!library) return fprintf(stderr, "%s\n", dlerror()), 2;
    log_mel *compute = (log_mel *)dlsym(library, "whisper_mel_log_mel");
    if (!compute) return fprintf(stderr, "%s\n", dlerror()), 2;
    uint32_t state = 1;
    for (int i = 0; i < SAMPLES; i++) {
        state = 1664525u * state + 1013904223u; /* Numerical Recipes' generator */
        audio[i] = (float)(int32_t)state * 0x1p-34f;
    }
    int64_t n_mels = atoi(arguments[2]);
    int64_t status = compute(audio, 0, 1, SAMPLES, SAMPLES, 0, n_mels, atoi(arguments[3]), features,
                             n_mels * FRAMES, 1, NULL, NULL);
    /* Values that no clip of noise gives: nothing was computed. */
    float last = features[n_mels * FRAMES - 1];
    if (status == 0 && !(last > -1 && last < 2 && last != 0)) status = -1;
    if (status) fprintf(stderr, "whisper_mel_log_mel: status %lld\n", (long long)status);
    return status != 0;
}
