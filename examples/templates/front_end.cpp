// Template: lets the conformance suite judge a front-end in C++. Replace `log_mel` by your own.
//
//     g++ -O2 -std=c++17 front_end.cpp -o front_end
//     whisper-mel judge "cmd:./front_end"
//
// It serves: one line of JSON asks for one call, one line answers
// (docs/writing-a-front-end.md#programs).

#include <algorithm>
#include <cmath>
#include <fstream>
#include <iostream>
#include <stdexcept>
#include <string>
#include <vector>

// ---------------------------------------------------------------- replace this function

// Features of samples at 16 kHz, band by band: n_mels rows of samples / 160 frames.
std::vector<float> log_mel(const std::vector<float> &x, int n_mels) {
    const int size = 400, hop = 160, bins = size / 2 + 1;
    const double pi = std::acos(-1.0), step = std::log(6.4) / 27;
    const long last = static_cast<long>(x.size()) - 1, frames = (last + 1) / hop;
    if (last < size / 2) throw std::invalid_argument("expected at least 201 samples");
    for (float value : x)
        if (!std::isfinite(value)) throw std::invalid_argument("expected finite samples");
    std::vector<double> cosine(size), sine(size), window(size), edges(n_mels + 2);
    for (int i = 0; i < size; i++) {
        cosine[i] = std::cos(2 * pi * i / size);
        sine[i] = std::sin(2 * pi * i / size);
        window[i] = 0.5 - 0.5 * cosine[i];  // periodic
    }
    for (int i = 0; i < n_mels + 2; i++) {  // Slaney's mel scale, in hertz
        const double mel = (15 + std::log(8.0) / step) * i / (n_mels + 1);
        edges[i] = mel < 15 ? 200 * mel / 3 : 1000 * std::exp((mel - 15) * step);
    }
    std::vector<float> y(static_cast<size_t>(n_mels) * frames);
    std::vector<double> frame(size), power(bins);
    for (long t = 0; t < frames; t++) {
        for (int i = 0; i < size; i++)  // both ends are mirrored
            frame[i] = window[i] * x[last - std::labs(last - std::labs(t * hop + i - size / 2))];
        for (int k = 0; k < bins; k++) {
            double real = 0, imaginary = 0;
            for (int i = 0; i < size; i++) {
                real += frame[i] * cosine[k * i % size];
                imaginary -= frame[i] * sine[k * i % size];
            }
            power[k] = real * real + imaginary * imaginary;
        }
        for (int band = 0; band < n_mels; band++) {
            const double low = edges[band], mid = edges[band + 1], high = edges[band + 2];
            double sum = 0;
            for (int k = 0; k < bins; k++) {
                const double hertz = k * 40.0;
                const double height = std::min((hertz - low) / (mid - low), (high - hertz) / (high - mid));
                sum += std::max(height, 0.0) * 2 / (high - low) * power[k];
            }
            y[band * frames + t] = static_cast<float>(std::log10(std::max(sum, 1e-10)));
        }
    }
    const float floor = *std::max_element(y.begin(), y.end()) - 8;
    for (float &value : y) value = (std::max(value, floor) + 4) / 4;
    return y;
}

// ---------------------------------------------------------------- the rest stays as it is

// The value of a field of a request: a text without its quotes, a number, or null.
static std::string field(const std::string &line, const std::string &name) {
    const size_t key = line.find("\"" + name + "\": ");
    if (key == std::string::npos) throw std::runtime_error("no " + name + " in the request");
    size_t start = key + name.size() + 4;
    const bool is_text = line[start] == '"';
    start += is_text;
    return line.substr(start, line.find_first_of(is_text ? "\"" : ",}", start) - start);
}

static std::string answer(const std::string &line) {
    if (field(line, "smoothing") != "null") return "{\"unsupported\": \"smoothing\"}";
    if (field(line, "pad_to") != "null") return "{\"unsupported\": \"pad_to\"}";
    std::ifstream in(field(line, "in"), std::ios::binary | std::ios::ate);
    std::vector<float> x(static_cast<size_t>(in.tellg()) / sizeof(float));
    in.seekg(0).read(reinterpret_cast<char *>(x.data()), x.size() * sizeof(float));
    const int n_mels = std::stoi(field(line, "n_mels"));
    const std::vector<float> y = log_mel(x, n_mels);
    std::ofstream out(field(line, "out"), std::ios::binary);
    out.write(reinterpret_cast<const char *>(y.data()), y.size() * sizeof(float));
    const size_t frames = y.size() / n_mels;
    return "{\"shape\": [" + std::to_string(n_mels) + ", " + std::to_string(frames) + "]}";
}

int main() {
    for (std::string line; std::getline(std::cin, line);) {
        try {
            std::cout << answer(line) << std::endl;
        } catch (const std::exception &error) {
            std::cout << "{\"error\": \"" << error.what() << "\"}" << std::endl;
        }
    }
}
