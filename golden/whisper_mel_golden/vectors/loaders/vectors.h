/* Judges a front-end by the vectors, in C99 or C++11, on little-endian machines.
 *
 * vectors_judge returns the worst score, up to 4 conforms, and the name of its case (256 bytes). The
 * front-end writes n_mels rows of features of n samples, which zeros follow up to pad_to. */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
typedef void vectors_log_mel(const float *audio, size_t n, int n_mels, size_t pad_to, float *out);

static void *vectors_read(const char *folder, const char *kind, const char *name, size_t size) {
    char path[4096], *data = (char *)malloc(2 * size); /* int16 will be made float32 */
    unsigned char head[10];
    snprintf(path, sizeof path, "%s/%s/%s.npy", folder, kind, name);
    FILE *file = fopen(path, "rb");
    if (!file || fread(head, 1, 10, file) < 10 || fseek(file, 10 + head[8], SEEK_SET)
        || fread(data, 1, size, file) < size)
        fprintf(stderr, "%s cannot be read\n", path), exit(2);
    fclose(file);
    return data;
}

static double vectors_judge(const char *folder, vectors_log_mel *log_mel, char *worst) {
    char line[4096], name[256], input[256], dtype[9], smoothing[9];
    size_t n, pad_to, bands, frames;
    double score = -1;
    snprintf(line, sizeof line, "%s/cases.txt", folder);
    FILE *cases = fopen(line, "r");
    while (cases && fscanf(cases, "%255s %255s %8s %zu %*d %zu %8s %zu %zu", name, input, dtype, &n,
                           &pad_to, smoothing, &bands, &frames) == 8) {
        if (strcmp(smoothing, "none")) continue; /* no part of Whisper */
        size_t is_pcm = !strcmp(dtype, "int16"), count = bands * frames;
        float *audio = (float *)vectors_read(folder, "inputs", input, is_pcm ? 2 * n : 4 * n);
        double *expected = (double *)vectors_read(folder, "expected", name, 8 * count);
        float *bound = (float *)vectors_read(folder, "bounds", name, 4 * count);
        float *out = (float *)memset(malloc(4 * count), 0xFF, 4 * count); /* NaN until written */
        for (size_t i = n; is_pcm && i-- > 0;) audio[i] = ((int16_t *)audio)[i] / 32768.0f;
        log_mel(audio, n, (int)bands, pad_to, out);
        for (size_t i = 0; i < count; i++) {
            double error = fabs(out[i] - expected[i]) / bound[i];
            if (error <= score) continue; /* which NaN is not */
            score = isnan(error) ? INFINITY : error, strcpy(worst, name);
        }
        free(audio), free(expected), free(bound), free(out);
    }
    if (cases) fclose(cases);
    return score < 0 ? INFINITY : score; /* infinite, too, if nothing was judged */
}
