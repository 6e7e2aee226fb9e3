/* What C users need beside the kernel, and Mojo has no words for: a message of each thread's own,
 * and one pool of threads that belongs to the process. */

#include "whisper_mel.h"

#include <pthread.h>
#include <stdio.h>

/* The kernel: described in mel_kernel.mojo. */
extern intptr_t whisper_mel_pool_new(void);
extern intptr_t whisper_mel_log_mel_as(intptr_t audio, intptr_t is_int16, intptr_t clips,
                                       intptr_t samples, intptr_t clip_stride, intptr_t pad_to,
                                       intptr_t n_mels, intptr_t smoothing, intptr_t out,
                                       intptr_t out_len, intptr_t threads, intptr_t pool,
                                       intptr_t bad_sample, intptr_t maximum, double fixed,
                                       intptr_t dtype);
extern const char *whisper_mel_message(intptr_t status);
extern intptr_t whisper_mel_stream_of(intptr_t n_mels, intptr_t maximum, double fixed);
extern void whisper_mel_stream_drop(intptr_t stream);
extern intptr_t whisper_mel_stream_ready(intptr_t stream, intptr_t samples);
extern intptr_t whisper_mel_stream_take(intptr_t stream, intptr_t audio, intptr_t is_int16,
                                        intptr_t samples, intptr_t out, intptr_t stride,
                                        intptr_t bad_sample);
extern intptr_t whisper_mel_stream_tail(intptr_t stream, intptr_t pad_to, intptr_t out,
                                        intptr_t stride);

static _Thread_local char last_error[160];

const char *whisper_mel_last_error(void) { return last_error; }

const char *whisper_mel_version(void) { return WHISPER_MEL_VERSION; }

static pthread_once_t pool_once = PTHREAD_ONCE_INIT;
static intptr_t pool; /* 0 without memory: the kernel then does with one thread */

static void make_pool(void) { pool = whisper_mel_pool_new(); }

/* The pool's threads stay in the parent. */
static void make_pools(void) {
    make_pool();
    pthread_atfork(NULL, NULL, make_pool);
}

#define SAY(...) snprintf(last_error, sizeof last_error, __VA_ARGS__)

static void describe(int status, const void *audio, int64_t clips, int64_t samples, int64_t pad_to,
                     int n_mels, int smoothing, int64_t out_len, int threads, int64_t bad_sample,
                     int maximum, double fixed, int dtype) {
    long long n = samples, padded = pad_to, frames = whisper_mel_frames(samples, pad_to);
    int trim = smoothing == WHISPER_MEL_SMOOTHING_VALID ? 2 : 0;
    switch (status) {
    case WHISPER_MEL_BAD_POINTER:
        SAY("%s is NULL: expected an address", audio == NULL ? "audio" : "out");
        break;
    case WHISPER_MEL_BAD_MELS:
        SAY("n_mels=%d: expected 80 or 128", n_mels);
        break;
    case WHISPER_MEL_BAD_SMOOTHING:
        SAY("smoothing=%d: expected 0 (none), 1 (valid) or 2 (same)", smoothing);
        break;
    case WHISPER_MEL_BAD_SHAPE:
        SAY("%s=%lld: expected at least 1", clips < 1 ? "clips" : "samples",
            clips < 1 ? (long long)clips : n);
        break;
    case WHISPER_MEL_BAD_PAD_TO:
        SAY("audio has %lld samples: expected at most pad_to=%lld, or 0 (none)", n, padded);
        break;
    case WHISPER_MEL_TOO_SHORT:
        if (padded == 0)
            SAY("audio has %lld samples: expected at least 201, or pad_to", n);
        else
            SAY("pad_to=%lld: expected at least 201", padded);
        break;
    case WHISPER_MEL_TOO_FEW_FRAMES:
        SAY("audio gives %lld frames: smoothing=%d (valid) needs at least 3", frames, smoothing);
        break;
    case WHISPER_MEL_BAD_OUT:
        SAY("out_len=%lld: expected at least %lld clips x %d bands x %lld frames",
            (long long)out_len, (long long)clips, n_mels - trim, frames - trim);
        break;
    case WHISPER_MEL_BAD_THREADS:
        SAY("threads=%d: expected at least 1", threads);
        break;
    case WHISPER_MEL_NOT_FINITE:
        SAY("audio[%lld] of clip %lld is infinite or NaN: expected finite samples",
            (long long)bad_sample % n, (long long)bad_sample / n);
        break;
    case WHISPER_MEL_OVERFLOWED:
        SAY("audio has amplitudes so large that its power overflows float32: expected at most 1e17");
        break;
    case WHISPER_MEL_BAD_MAXIMUM:
        if (maximum == WHISPER_MEL_MAXIMUM_FIXED)
            SAY("fixed=%g: expected a finite maximum, at most 1e38", fixed);
        else
            SAY("maximum=%d: expected 0 (clip), 1 (fixed) or 2 (chunk)", maximum);
        break;
    case WHISPER_MEL_BAD_DTYPE:
        SAY("dtype=%d: expected 0 (float32), 1 (float16) or 2 (bfloat16)", dtype);
        break;
    default:
        SAY("%s", whisper_mel_message(status));
    }
}

static int log_mel(const void *audio, int is_int16, int64_t clips, int64_t samples,
                   int64_t clip_stride, int64_t pad_to, int n_mels, int smoothing, void *out,
                   int64_t out_len, int threads, int maximum, double fixed, int dtype) {
    int64_t bad_sample = 0;
    intptr_t workers = 0;
    if (threads > 1) {
        pthread_once(&pool_once, make_pools);
        workers = pool;
    }
    int status = (int)whisper_mel_log_mel_as(
        (intptr_t)audio, is_int16, clips, samples, clip_stride, pad_to, n_mels, smoothing,
        (intptr_t)out, out_len, threads, workers, (intptr_t)&bad_sample, maximum, fixed, dtype);
    if (status != WHISPER_MEL_OK)
        describe(status, audio, clips, samples, pad_to, n_mels, smoothing, out_len, threads,
                 bad_sample, maximum, fixed, dtype);
    return status;
}

#define PLAIN WHISPER_MEL_MAXIMUM_CLIP, 0, WHISPER_MEL_FLOAT32

int whisper_mel_log_mel_f32(const float *audio, int64_t clips, int64_t samples, int64_t clip_stride,
                            int64_t pad_to, int n_mels, int smoothing, float *out, int64_t out_len,
                            int threads) {
    return log_mel(audio, 0, clips, samples, clip_stride, pad_to, n_mels, smoothing, out, out_len,
                   threads, PLAIN);
}

int whisper_mel_log_mel_s16(const int16_t *audio, int64_t clips, int64_t samples,
                            int64_t clip_stride, int64_t pad_to, int n_mels, int smoothing,
                            float *out, int64_t out_len, int threads) {
    return log_mel(audio, 1, clips, samples, clip_stride, pad_to, n_mels, smoothing, out, out_len,
                   threads, PLAIN);
}

int whisper_mel_log_mel_f32_as(const float *audio, int64_t clips, int64_t samples,
                               int64_t clip_stride, int64_t pad_to, int n_mels, int smoothing,
                               void *out, int64_t out_len, int threads, int maximum, double fixed,
                               int dtype) {
    return log_mel(audio, 0, clips, samples, clip_stride, pad_to, n_mels, smoothing, out, out_len,
                   threads, maximum, fixed, dtype);
}

int whisper_mel_log_mel_s16_as(const int16_t *audio, int64_t clips, int64_t samples,
                               int64_t clip_stride, int64_t pad_to, int n_mels, int smoothing,
                               void *out, int64_t out_len, int threads, int maximum, double fixed,
                               int dtype) {
    return log_mel(audio, 1, clips, samples, clip_stride, pad_to, n_mels, smoothing, out, out_len,
                   threads, maximum, fixed, dtype);
}

whisper_mel_stream *whisper_mel_stream_new(int n_mels, int maximum, double fixed) {
    intptr_t stream = whisper_mel_stream_of(n_mels, maximum, fixed);
    if (stream != 0)
        return (whisper_mel_stream *)stream;
    if (n_mels != 80 && n_mels != 128)
        SAY("n_mels=%d: expected 80 or 128", n_mels);
    else if (maximum == WHISPER_MEL_MAXIMUM_FIXED && !(fixed >= -1e38 && fixed <= 1e38))
        SAY("fixed=%g: expected a finite maximum, at most 1e38", fixed);
    else if (maximum != WHISPER_MEL_MAXIMUM_CLIP && maximum != WHISPER_MEL_MAXIMUM_FIXED)
        SAY("maximum=%d: expected 0 (clip) or 1 (fixed) for a stream", maximum);
    else
        SAY("out of memory");
    return NULL;
}

void whisper_mel_stream_free(whisper_mel_stream *stream) {
    whisper_mel_stream_drop((intptr_t)stream);
}

int64_t whisper_mel_stream_final(const whisper_mel_stream *stream, int64_t samples) {
    return whisper_mel_stream_ready((intptr_t)stream, samples);
}

/* A status of a stream's function, with its message. */
static int of_stream(intptr_t status, const void *stream, int64_t samples, int64_t stride,
                     int64_t bad_sample) {
    switch (status) {
    case WHISPER_MEL_OK:
        break;
    case WHISPER_MEL_BAD_POINTER:
        SAY("%s is NULL: expected an address", stream == NULL ? "stream" : "audio or out");
        break;
    case WHISPER_MEL_BAD_SHAPE:
        SAY("samples=%lld: expected at least 0", (long long)samples);
        break;
    case WHISPER_MEL_BAD_OUT:
        SAY("stride=%lld: expected at least as many floats as frames are written",
            (long long)stride);
        break;
    case WHISPER_MEL_NOT_FINITE:
        SAY("audio[%lld] is infinite or NaN: expected finite samples", (long long)bad_sample);
        break;
    default:
        SAY("%s", whisper_mel_message(status));
    }
    return (int)status;
}

static int push(whisper_mel_stream *stream, const void *audio, int is_int16, int64_t samples,
                float *out, int64_t stride) {
    int64_t bad_sample = 0;
    intptr_t status = whisper_mel_stream_take((intptr_t)stream, (intptr_t)audio, is_int16, samples,
                                              (intptr_t)out, stride, (intptr_t)&bad_sample);
    return of_stream(status, stream, samples, stride, bad_sample);
}

int whisper_mel_stream_push_f32(whisper_mel_stream *stream, const float *audio, int64_t samples,
                                float *out, int64_t stride) {
    return push(stream, audio, 0, samples, out, stride);
}

int whisper_mel_stream_push_s16(whisper_mel_stream *stream, const int16_t *audio, int64_t samples,
                                float *out, int64_t stride) {
    return push(stream, audio, 1, samples, out, stride);
}

int whisper_mel_stream_rest(const whisper_mel_stream *stream, int64_t pad_to, float *out,
                            int64_t stride) {
    intptr_t status =
        whisper_mel_stream_tail((intptr_t)stream, pad_to, (intptr_t)out, stride);
    return of_stream(status, stream, 0, stride, 0);
}
