// Judges a front-end by the vectors.
import { readFileSync } from "node:fs";
import { join } from "node:path";

const TYPES = { int16: Int16Array, float32: Float32Array, float64: Float64Array };

/** Returns the worst `score`, up to 4 conforms, and the `name` of its case.
 *
 * `logMel(audio, nMels, padTo)` returns nMels rows of features, in one array, of samples that zeros follow
 * up to padTo; 0 stands for none. */
export function judge(folder, logMel) {
    const read = (kind, name, type) => {
        const file = readFileSync(join(folder, kind, `${name}.npy`));
        return new TYPES[type](Uint8Array.from(file.subarray(10 + file.readUInt16LE(8))).buffer);
    };
    let worst = { score: -1 };
    for (const line of readFileSync(join(folder, "cases.txt"), "utf8").trim().split("\n")) {
        const [name, input, dtype, , nMels, padTo, smoothing] = line.split(" ");
        if (smoothing !== "none") continue; // no part of Whisper
        let audio = read("inputs", input, dtype);
        if (dtype === "int16") audio = Float32Array.from(audio, (sample) => sample / 32768);
        const features = logMel(audio, Number(nMels), Number(padTo));
        const [expected, bound] = [read("expected", name, "float64"), read("bounds", name, "float32")];
        const hasSize = features.length === expected.length;
        expected.forEach((value, i) => {
            const error = hasSize ? Math.abs(Math.fround(features[i]) - value) / bound[i] : NaN;
            if (error <= worst.score) return; // which NaN is not
            worst = { score: Number.isNaN(error) ? Infinity : error, name };
        });
    }
    if (worst.score < 0) throw new Error(`${folder}: nothing to judge by in cases.txt`);
    return worst;
}
