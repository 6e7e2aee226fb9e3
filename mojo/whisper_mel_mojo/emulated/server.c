/* Calls the library for C (its path is the only argument) for another process, which asks on
   standard input and is answered on standard output: library.py. Audio and features end where a page
   begins that must not be touched. */
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* A call: its arguments, then how many bytes of audio follow and where in them clip 0 begins, and
   how many bytes of features are answered. -1 bytes stand for NULL. With has_form it is a call of
   the functions `..._as`, with three arguments more. */
struct request {
    int64_t is_int16, clips, samples, clip_stride, pad_to, n_mels, smoothing, out_len, threads;
    int64_t audio_size, audio_start, out_size;
    int64_t has_form, maximum, dtype;
    double fixed;
};
/* The answer, followed by the bytes of the message and of the features. */
struct answer {
    int64_t status, message_size;
};

typedef int log_mel(const void *, int64_t, int64_t, int64_t, int64_t, int, int, float *, int64_t,
                    int);
typedef int log_mel_as(const void *, int64_t, int64_t, int64_t, int64_t, int, int, void *, int64_t,
                       int, int, double, int);
typedef const char *last_error(void);

static void fail(const char *what) {
    fprintf(stderr, "server: %s\n", what);
    exit(1);
}

/* Reads all bytes; returns 0 if there are none any more. */
static int take(void *to, size_t size) {
    for (size_t done = 0; done < size;) {
        ssize_t n = read(0, (char *)to + done, size - done);
        if (n == 0 && done == 0)
            return 0;
        if (n <= 0)
            fail("a request that is cut off");
        done += n;
    }
    return 1;
}

static void give(const void *from, size_t size) {
    for (size_t done = 0; done < size;) {
        ssize_t n = write(1, (const char *)from + done, size - done);
        if (n <= 0)
            fail("the answer cannot be written");
        done += n;
    }
}

/* Memory between two pages that cannot be touched; it ends at the second. */
struct memory {
    char *pages, *begin;
    size_t size, all;
};

static struct memory allocate(int64_t wanted) {
    size_t page = sysconf(_SC_PAGESIZE), size = wanted < 0 ? 0 : wanted;
    size_t inner = (size / page + 1) * page;
    struct memory made = {NULL, NULL, size, inner + 2 * page};
    if (wanted < 0)
        return made;
    made.pages = mmap(NULL, made.all, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (made.pages == MAP_FAILED ||
        mprotect(made.pages + page, inner, PROT_READ | PROT_WRITE) != 0)
        fail("no memory");
    made.begin = made.pages + page + inner - size;
    memset(made.begin, 0xFF, size); /* NaN, as floats */
    return made;
}

static void release(struct memory it) {
    if (it.pages)
        munmap(it.pages, it.all);
}

static void *symbol(void *library, const char *name) {
    void *found = dlsym(library, name);
    if (!found)
        fail(dlerror());
    return found;
}

int main(int count, char **arguments) {
    void *library = count == 2 ? dlopen(arguments[1], RTLD_NOW) : NULL;
    if (!library)
        fail(count == 2 ? dlerror() : "expected the path of the library");
    log_mel *floats = (log_mel *)symbol(library, "whisper_mel_log_mel_f32");
    log_mel *shorts = (log_mel *)symbol(library, "whisper_mel_log_mel_s16");
    log_mel_as *floats_as = (log_mel_as *)symbol(library, "whisper_mel_log_mel_f32_as");
    log_mel_as *shorts_as = (log_mel_as *)symbol(library, "whisper_mel_log_mel_s16_as");
    last_error *error = (last_error *)symbol(library, "whisper_mel_last_error");
    struct request it;
    while (take(&it, sizeof it)) {
        struct memory audio = allocate(it.audio_size), out = allocate(it.out_size);
        if (audio.size > 0 && !take(audio.begin, audio.size))
            fail("a request without its audio");
        char *begin = audio.begin ? audio.begin + it.audio_start : NULL;
        int status =
            it.has_form
                ? (it.is_int16 ? shorts_as : floats_as)(
                      begin, it.clips, it.samples, it.clip_stride, it.pad_to, it.n_mels,
                      it.smoothing, out.begin, it.out_len, it.threads, it.maximum, it.fixed, it.dtype)
                : (it.is_int16 ? shorts : floats)(
                      begin, it.clips, it.samples, it.clip_stride, it.pad_to, it.n_mels,
                      it.smoothing, (float *)out.begin, it.out_len, it.threads);
        const char *message = status ? error() : "";
        struct answer answer = {status, strlen(message)};
        give(&answer, sizeof answer);
        give(message, answer.message_size);
        give(out.begin, out.size);
        release(audio);
        release(out);
    }
    return 0;
}
