// The C library as a program that the conformance suite can judge, from C++.
//
//     ./dev build c
//     g++ -O2 -Idist examples/front_end.cpp -Ldist -lwhispermel -Wl,-rpath,'$ORIGIN' -o dist/front_end
//     ./dev conformance --frontend "cmd:dist/front_end {in} {out} {n_mels} {pad_to} {smoothing}"
//
// Reads raw float32 samples from IN, writes raw float32 features to OUT, prints their shape as JSON.

#include <whisper_mel.h>

#include <cstdlib>
#include <fstream>
#include <iostream>
#include <stdexcept>
#include <string>
#include <vector>

static std::vector<float> read(const char *path) {
    std::ifstream file(path, std::ios::binary | std::ios::ate);
    if (!file)
        throw std::runtime_error(std::string(path) + " cannot be opened");
    std::vector<float> values(static_cast<size_t>(file.tellg()) / sizeof(float));
    file.seekg(0);
    file.read(reinterpret_cast<char *>(values.data()), values.size() * sizeof(float));
    return values;
}

int main(int count, char **arguments) try {
    if (count != 6)
        throw std::runtime_error("usage: front_end IN OUT N_MELS PAD_TO SMOOTHING");
    auto audio = read(arguments[1]);
    audio.reserve(1); // so that even no samples have an address
    const auto samples = static_cast<int64_t>(audio.size());
    const int n_mels = std::atoi(arguments[3]);
    const int64_t pad_to = std::atoll(arguments[4]); // an empty word is 0
    const std::string mean = arguments[5];
    const int smoothing = mean == "valid"  ? WHISPER_MEL_SMOOTHING_VALID
                          : mean == "same" ? WHISPER_MEL_SMOOTHING_SAME
                          : mean.empty()   ? WHISPER_MEL_SMOOTHING_NONE
                                           : -1;
    const int64_t trim = smoothing == WHISPER_MEL_SMOOTHING_VALID ? 2 : 0;
    const int64_t bands = n_mels - trim, frames = whisper_mel_frames(samples, pad_to) - trim;
    std::vector<float> features(bands > 0 && frames > 0 ? bands * frames : 1);
    if (whisper_mel_log_mel_f32(audio.data(), 1, samples, samples, pad_to, n_mels, smoothing,
                                features.data(), features.size(), 1) != WHISPER_MEL_OK)
        throw std::runtime_error(whisper_mel_last_error());

    std::ofstream out(arguments[2], std::ios::binary);
    out.write(reinterpret_cast<char *>(features.data()), features.size() * sizeof(float));
    if (!out.flush())
        throw std::runtime_error(std::string(arguments[2]) + " cannot be written");
    std::cout << "{\"shape\": [" << bands << ", " << frames << "]}\n";
} catch (const std::exception &error) {
    std::cerr << error.what() << "\n";
    return 1;
}
