// Template: lets the conformance suite judge a front-end in Swift. Replace `logMel` by your own.
//
//     swiftc -O front_end.swift
//     whisper-mel judge "cmd:./front_end"
//
// It serves: one line of JSON asks for one call, one line answers
// (docs/writing-a-front-end.md#programs).

import Foundation

struct Refusal: Error { let why: String }

// ---------------------------------------------------------------- replace this function

/// Features of samples at 16 kHz, band by band: nMels rows of samples / 160 frames.
func logMel(_ x: [Float], _ nMels: Int) throws -> [Float] {
    let size = 400, hop = 160, bins = size / 2 + 1
    guard x.count > size / 2 else { throw Refusal(why: "expected at least 201 samples") }
    guard x.allSatisfy({ $0.isFinite }) else { throw Refusal(why: "expected finite samples") }
    let angles = (0..<size).map { 2 * Double.pi * Double($0) / Double(size) }
    let cosine = angles.map { cos($0) }, sine = angles.map { sin($0) }
    let step = log(6.4) / 27
    let edges: [Double] = (0..<(nMels + 2)).map { i in  // of Slaney's mel scale, in hertz
        let mel = (15 + log(8.0) / step) * Double(i) / Double(nMels + 1)
        return mel < 15 ? 200 * mel / 3 : 1000 * exp((mel - 15) * step)
    }
    let last = x.count - 1, frames = x.count / hop
    var logs = [Double](repeating: 0, count: nMels * frames)
    var frame = [Double](repeating: 0, count: size)
    var power = [Double](repeating: 0, count: bins)
    for t in 0..<frames {
        for i in 0..<size {  // both ends are mirrored; the Hann window is periodic
            let at = last - abs(last - abs(t * hop + i - size / 2))
            frame[i] = Double(x[at]) * (0.5 - 0.5 * cosine[i])
        }
        for k in 0..<bins {
            var real = 0.0, imaginary = 0.0
            for i in 0..<size {
                real += frame[i] * cosine[k * i % size]
                imaginary -= frame[i] * sine[k * i % size]
            }
            power[k] = real * real + imaginary * imaginary
        }
        for band in 0..<nMels {
            let low = edges[band], mid = edges[band + 1], high = edges[band + 2]
            var sum = 0.0
            for k in 0..<bins {
                let hertz = Double(k) * 40
                let height = min((hertz - low) / (mid - low), (high - hertz) / (high - mid))
                sum += max(height, 0) * 2 / (high - low) * power[k]
            }
            logs[band * frames + t] = log10(max(sum, 1e-10))
        }
    }
    let floor = (logs.max() ?? 0) - 8
    return logs.map { Float((max($0, floor) + 4) / 4) }
}

// ---------------------------------------------------------------- the rest stays as it is

func answer(_ line: String) throws -> [String: Any] {
    let parsed = try JSONSerialization.jsonObject(with: Data(line.utf8))
    guard let asked = parsed as? [String: Any], let source = asked["in"] as? String,
        let target = asked["out"] as? String, let nMels = asked["n_mels"] as? Int
    else { throw Refusal(why: "no request") }
    for name in ["pad_to", "smoothing"] where !(asked[name] is NSNull) {
        return ["unsupported": name]
    }
    let data = try Data(contentsOf: URL(fileURLWithPath: source))
    var x = [Float](repeating: 0, count: data.count / 4)
    _ = x.withUnsafeMutableBytes { data.copyBytes(to: $0) }
    let y = try logMel(x, nMels)
    try y.withUnsafeBytes { Data($0) }.write(to: URL(fileURLWithPath: target))
    return ["shape": [nMels, y.count / nMels]]
}

setvbuf(stdout, nil, _IONBF, 0)
while let line = readLine() {
    var result: [String: Any]
    do {
        result = try answer(line)
    } catch let refusal as Refusal {
        result = ["error": refusal.why]
    } catch {
        result = ["error": "\(error)"]
    }
    let text = try! JSONSerialization.data(withJSONObject: result)
    print(String(decoding: text, as: UTF8.self))
}
