/* Whisper's log-Mel features, from C and C++ (`./dev build c` makes libwhispermel.so).
 *
 *     float features[80 * 3000];
 *     int status = whisper_mel_log_mel_f32(audio, 1, n, n, 480000, 80, WHISPER_MEL_SMOOTHING_NONE,
 *                                          features, 80 * 3000, 1);
 *     if (status != WHISPER_MEL_OK)
 *         fprintf(stderr, "%s\n", whisper_mel_last_error());
 *
 * There is nothing to set up and nothing to free but streams, and every function may be called by
 * any threads at any time, also after fork; but each stream by one thread at a time. The library
 * needs libc only.
 */
#ifndef WHISPER_MEL_H
#define WHISPER_MEL_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The version of this header, and the version of the library that is loaded: the same text if they
 * belong together. Libraries of one soname, which ends in the first number, can replace each other. */
#define WHISPER_MEL_VERSION "0.1.0"
const char *whisper_mel_version(void);

/* What functions return; whisper_mel_last_error says it in words. */
enum whisper_mel_status {
    WHISPER_MEL_OK = 0,
    WHISPER_MEL_BAD_POINTER = 1,    /* audio or out is NULL */
    WHISPER_MEL_BAD_MELS = 2,       /* n_mels is neither 80 nor 128 */
    WHISPER_MEL_BAD_SMOOTHING = 3,  /* smoothing is none of the values below */
    WHISPER_MEL_BAD_SHAPE = 4,      /* clips or samples is less than 1 (of a stream: than 0) */
    WHISPER_MEL_BAD_PAD_TO = 5,     /* pad_to is neither 0 nor at least samples */
    WHISPER_MEL_TOO_SHORT = 6,      /* fewer than 201 samples, those of pad_to included */
    WHISPER_MEL_TOO_FEW_FRAMES = 7, /* smoothing "valid" needs 3 frames */
    WHISPER_MEL_BAD_OUT = 8,        /* out_len is less than the features need */
    WHISPER_MEL_BAD_THREADS = 9,    /* threads is less than 1 */
    WHISPER_MEL_NO_MEMORY = 10,     /* several threads, or smoothing, take a little memory */
    WHISPER_MEL_NOT_FINITE = 11,    /* a sample is infinite or NaN */
    WHISPER_MEL_OVERFLOWED = 12,    /* amplitudes so large (1e17) that float32 power overflows */
    WHISPER_MEL_BAD_MAXIMUM = 13,   /* maximum is none of the values below, or fixed not finite */
    WHISPER_MEL_BAD_DTYPE = 14      /* dtype is none of the values below */
};

/* The 3x3 mean of the finished features: none; "valid", where the neighbourhood is whole (two
 * bands and two frames fewer); "same", over those of the neighbours that exist. */
enum whisper_mel_smoothing {
    WHISPER_MEL_SMOOTHING_NONE = 0,
    WHISPER_MEL_SMOOTHING_VALID = 1,
    WHISPER_MEL_SMOOTHING_SAME = 2
};

/* Values more than 8 below the maximum, in units of log10, are raised to 8 below. It is the clip's
 * own; a number, above which values stay as they are; or that of every 3000 frames (30 s). */
enum whisper_mel_maximum {
    WHISPER_MEL_MAXIMUM_CLIP = 0,
    WHISPER_MEL_MAXIMUM_FIXED = 1,
    WHISPER_MEL_MAXIMUM_CHUNK = 2
};

/* The type of the features. The last two are float32 rounded once to nearest, ties to even. */
enum whisper_mel_dtype {
    WHISPER_MEL_FLOAT32 = 0,
    WHISPER_MEL_FLOAT16 = 1,
    WHISPER_MEL_BFLOAT16 = 2
};

/* The number of frames of a clip, before any smoothing. */
static inline int64_t whisper_mel_frames(int64_t samples, int64_t pad_to) {
    return (samples > pad_to ? samples : pad_to) / 160;
}

/* Log-Mel features of a batch of clips of equal length, as Whisper's models expect them.
 *
 * audio        clips x samples at 16 000 Hz, full scale 1; for s16, PCM, which is divided by 32768.
 *              Clip i begins clip_stride * i samples after the first (any sign). Only read.
 * pad_to       zeros are appended to each clip up to so many samples, before anything else; 0: none.
 *              Whisper's models are fed 30 s, which is 480000.
 * n_mels       80, or 128 for the large-v3 family.
 * smoothing    enum whisper_mel_smoothing.
 * out          [clips][n_mels][frames], frames = whisper_mel_frames(samples, pad_to); with
 *              smoothing "valid" [clips][n_mels - 2][frames - 2]. Must not overlap audio.
 * out_len      floats that fit into out; those beyond the features are not touched.
 * threads      at most so many work on it: 1 is the calling thread alone; more come from one pool
 *              of the process, which is started when first asked for. The features are the same.
 *
 * Returns WHISPER_MEL_OK or another status. Nothing is written on errors, except for NOT_FINITE
 * and OVERFLOWED: the features of the clips concerned are then NaN, and those of the others valid.
 */
int whisper_mel_log_mel_f32(const float *audio, int64_t clips, int64_t samples, int64_t clip_stride,
                            int64_t pad_to, int n_mels, int smoothing, float *out, int64_t out_len,
                            int threads);
int whisper_mel_log_mel_s16(const int16_t *audio, int64_t clips, int64_t samples,
                            int64_t clip_stride, int64_t pad_to, int n_mels, int smoothing,
                            float *out, int64_t out_len, int threads);

/* The same, with a choice of maximum and type.
 *
 * out_len      values of that type that fit into out.
 * maximum      enum whisper_mel_maximum.
 * fixed        the maximum in units of log10, if it is WHISPER_MEL_MAXIMUM_FIXED (1.5 for Voxtral
 *              Realtime); else not looked at.
 * dtype        enum whisper_mel_dtype.
 */
int whisper_mel_log_mel_f32_as(const float *audio, int64_t clips, int64_t samples,
                               int64_t clip_stride, int64_t pad_to, int n_mels, int smoothing,
                               void *out, int64_t out_len, int threads, int maximum, double fixed,
                               int dtype);
int whisper_mel_log_mel_s16_as(const int16_t *audio, int64_t clips, int64_t samples,
                               int64_t clip_stride, int64_t pad_to, int n_mels, int smoothing,
                               void *out, int64_t out_len, int threads, int maximum, double fixed,
                               int dtype);

/* Features of audio that comes in pieces, the same bits as of the whole audio.
 *
 *     whisper_mel_stream *stream = whisper_mel_stream_new(80, WHISPER_MEL_MAXIMUM_FIXED, 1.5);
 *     int64_t frames = whisper_mel_stream_final(stream, n);
 *     whisper_mel_stream_push_f32(stream, samples, n, out, room);    the next frames, [80][room]
 *
 * A frame is final when its samples are there: frame i with sample 160 i + 199, frame 0 with sample
 * 200. A stream keeps fewer than 400 samples, in 20 to 40 KB; no function but _new allocates. */
typedef struct whisper_mel_stream whisper_mel_stream;

/* A new stream, or NULL. maximum is _CLIP or _FIXED, and fixed as above. With _CLIP the values that
 * come are not raised yet: whoever has them all raises to their maximum minus 2 what is below. */
whisper_mel_stream *whisper_mel_stream_new(int n_mels, int maximum, double fixed);

/* Frees a stream, or nothing if it is NULL. */
void whisper_mel_stream_free(whisper_mel_stream *stream);

/* The number of frames that become final with so many more samples. */
int64_t whisper_mel_stream_final(const whisper_mel_stream *stream, int64_t samples);

/* Takes more samples (0 or more), and writes the frames that become final.
 *
 * out          [n_mels][stride], of which the first whisper_mel_stream_final columns are written;
 *              may be NULL if there are none.
 *
 * Returns a status. On errors nothing is taken, except for OVERFLOWED: then every call fails. */
int whisper_mel_stream_push_f32(whisper_mel_stream *stream, const float *audio, int64_t samples,
                                float *out, int64_t stride);
int whisper_mel_stream_push_s16(whisper_mel_stream *stream, const int16_t *audio, int64_t samples,
                                float *out, int64_t stride);

/* Writes the frames after those that are final as if the audio ended here, or after the zeros of
 * pad_to; more samples may follow nevertheless. There are whisper_mel_frames(all samples, pad_to)
 * minus those that are final: up to two, and more with pad_to. Returns a status. */
int whisper_mel_stream_rest(const whisper_mel_stream *stream, int64_t pad_to, float *out,
                            int64_t stride);

/* What was wrong with the last call of this thread that failed: argument, value, what was
 * expected. An empty string if none has. Valid until this thread's next call that fails. */
const char *whisper_mel_last_error(void);

#ifdef __cplusplus
}
#endif

#endif
