/* Judges Whisper features by the vector set, in its folder:
 *
 *     cc -O2 -o verify verify.c -lm && ./verify FEATURES [LIMIT] < cases.txt
 *
 * For each line of cases.txt, FEATURES/<case>.f32 has the features, raw little-endian float32, band by
 * band. The score of a case is its largest error in units of the bound: up to 1 is class A, up to 4
 * class B. Exit status: 0 if no score is above LIMIT (4), else 1. For little-endian machines. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What is in FOLDER/NAME.SUFFIX, in a .npy file after its header; NULL if it has another size. */
static void *load(const char *folder, const char *name, const char *suffix, size_t size) {
    char path[4096], *data = malloc(size + 1);
    unsigned char header[10] = {0};
    snprintf(path, sizeof path, "%s/%s.%s", folder, name, suffix);
    FILE *file = fopen(path, "rb");
    if (file && !strcmp(suffix, "npy") && fread(header, 1, 10, file) == 10)
        fseek(file, 10 + header[8] + 256 * header[9], SEEK_SET);
    int whole = file && data && fread(data, 1, size + 1, file) == size;
    if (file)
        fclose(file);
    if (whole)
        return data;
    printf("%s: %s\n", path, file ? "has another size" : "is missing");
    free(data);
    return NULL;
}

int main(int count, char **arguments) {
    const double limit = count > 2 ? atof(arguments[2]) : 4.0;
    char name[256], worst_name[256] = "none";
    size_t bands, frames;
    double worst = -1.0;
    int cases = 0, failed = 0;
    if (count < 2)
        return fprintf(stderr, "usage: verify FEATURES [LIMIT] < cases.txt\n"), 2;
    while (scanf("%255s %*s %*s %*s %*s %*s %*s %zu %zu", name, &bands, &frames) == 3) {
        size_t values = bands * frames;
        float *actual = load(arguments[1], name, "f32", 4 * values);
        float *bound = load("bounds", name, "npy", 4 * values);
        double *expected = load("expected", name, "npy", 8 * values);
        double score = actual && bound && expected ? 0.0 : INFINITY;
        for (size_t i = 0; isfinite(score) && i < values; i++) {
            double error = fabs(actual[i] - expected[i]) / bound[i];
            if (!(error <= score)) /* true for NaN */
                score = isfinite(error) ? error : INFINITY;
        }
        cases++;
        if (!(score <= limit))
            failed++, printf("%s: score %g, above %g\n", name, score, limit);
        if (score > worst)
            worst = score, strcpy(worst_name, name);
        free(actual), free(bound), free(expected);
    }
    printf("%d cases, %d failed; worst score %g (%s)\n", cases, failed, worst, worst_name);
    return cases == 0 || failed > 0;
}
