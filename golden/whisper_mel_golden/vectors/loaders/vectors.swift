// Judges a front-end by the vectors.
import Foundation

struct VectorsError: Error { let why: String }

/// Returns the worst score, up to 4 conforms, and the name of its case.
///
/// `logMel(audio, nMels, padTo)` returns nMels rows of features, in one array, of samples that zeros follow
/// up to padTo; 0 stands for none.
func judgeVectors(
    _ folder: URL, _ logMel: ([Float], Int, Int) throws -> [Float]
) throws -> (score: Double, name: String) {
    func read<T>(_ kind: String, _ name: String, _ zero: T) throws -> [T] {
        let path = folder.appendingPathComponent(kind).appendingPathComponent("\(name).npy")
        let data = [UInt8](try Data(contentsOf: path))
        let values = data.dropFirst(10 + Int(data[8]) + 256 * Int(data[9]))
        var array = [T](repeating: zero, count: values.count / MemoryLayout<T>.stride)
        _ = array.withUnsafeMutableBytes { values.copyBytes(to: $0) }
        return array
    }
    var worst = (score: -1.0, name: "")
    let cases = try String(contentsOf: folder.appendingPathComponent("cases.txt"), encoding: .utf8)
    for line in cases.split(separator: "\n") {
        let fields = line.split(separator: " ").map(String.init)
        if fields[6] != "none" { continue }  // smoothing is no part of Whisper
        let audio = fields[2] == "int16"
            ? try read("inputs", fields[1], Int16(0)).map { Float($0) / 32768 }
            : try read("inputs", fields[1], Float(0))
        let features = try logMel(audio, Int(fields[4])!, Int(fields[5])!)
        let expected = try read("expected", fields[0], 0.0)
        let bound = try read("bounds", fields[0], Float(0))
        for i in expected.indices {
            let actual = features.count == expected.count ? Double(features[i]) : Double.nan
            let error = abs(actual - expected[i]) / Double(bound[i])
            if error <= worst.score { continue }  // which NaN is not
            worst = (error.isNaN ? Double.infinity : error, fields[0])
        }
    }
    guard worst.score >= 0 else { throw VectorsError(why: "nothing to judge by in cases.txt") }
    return worst
}
