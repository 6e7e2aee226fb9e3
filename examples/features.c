/* Whisper's features of a recording, from C: reads a WAV file (PCM, 16 bits, mono, 16 kHz), writes
 * them as raw float32, band by band, and prints their shape.
 *
 *     ./dev build c
 *     gcc -O2 -Idist examples/features.c -Ldist -lwhispermel -Wl,-rpath,'$ORIGIN' -o dist/features
 *     dist/features speech.wav speech.f32 [n_mels]
 */
#include <whisper_mel.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void die(const char *what, const char *why) {
    fprintf(stderr, "%s: %s\n", what, why);
    exit(1);
}

static uint32_t little_endian(const uint8_t *bytes, int count) {
    uint32_t value = 0;
    while (count--)
        value = value << 8 | bytes[count];
    return value;
}

/* The samples of the file, to be freed. */
static int16_t *read_wav(const char *path, int64_t *samples) {
    FILE *file = fopen(path, "rb");
    uint8_t head[16];
    int known = 0;
    if (file == NULL)
        die(path, "cannot be opened");
    if (fread(head, 1, 12, file) != 12 || memcmp(head, "RIFF", 4) || memcmp(head + 8, "WAVE", 4))
        die(path, "is no WAV file");
    while (fread(head, 1, 8, file) == 8) {
        uint32_t size = little_endian(head + 4, 4);
        if (!memcmp(head, "data", 4)) {
            int16_t *audio = malloc(size + 2);
            if (!known)
                die(path, "has data before their format");
            if (audio == NULL || fread(audio, 1, size, file) != size)
                die(path, "is shorter than it says");
            fclose(file);
            *samples = size / 2;
            return audio;
        }
        if (!memcmp(head, "fmt ", 4)) {
            if (size < 16 || fread(head, 1, 16, file) != 16)
                die(path, "is cut off");
            known = little_endian(head, 2) == 1 && little_endian(head + 2, 2) == 1 &&
                    little_endian(head + 4, 4) == 16000 && little_endian(head + 14, 2) == 16;
            if (!known)
                die(path, "is not PCM of 16 bits, mono, at 16000 Hz");
            size -= 16;
        }
        fseek(file, size + size % 2, SEEK_CUR);
    }
    die(path, "has no data");
    return NULL;
}

int main(int count, char **arguments) {
    if (count < 3 || count > 4)
        die("usage", "features IN.wav OUT.f32 [n_mels]");
    int n_mels = count == 4 ? atoi(arguments[3]) : 80;
    int64_t samples;
    int16_t *audio = read_wav(arguments[1], &samples);
    int64_t frames = whisper_mel_frames(samples, 0);
    int64_t floats = n_mels > 0 ? n_mels * frames : 0;
    float *features = malloc(floats * sizeof *features + 1);
    if (features == NULL)
        die(arguments[1], "too long for this machine's memory");

    if (whisper_mel_log_mel_s16(audio, 1, samples, samples, 0, n_mels, WHISPER_MEL_SMOOTHING_NONE,
                                features, floats, 1) != WHISPER_MEL_OK)
        die(arguments[1], whisper_mel_last_error());

    FILE *out = fopen(arguments[2], "wb");
    if (out == NULL || fwrite(features, sizeof *features, floats, out) != (size_t)floats ||
        fclose(out))
        die(arguments[2], "cannot be written");
    printf("%d bands x %lld frames\n", n_mels, (long long)frames);
    free(features);
    free(audio);
    return 0;
}
