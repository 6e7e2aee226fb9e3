// Lets the conformance suite judge a front-end in JavaScript: any module that exports
// `logMel(samples, nMels)`, which returns `{ data, shape }`.
//
//     ./dev conformance --frontend "cmd:node examples/front_end.mjs examples/log_mel.mjs"
//
// It serves: one line of JSON asks for one call, one line answers.

import { readFileSync, writeFileSync } from "node:fs";
import { resolve } from "node:path";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

const { logMel } = await import(pathToFileURL(resolve(process.argv[2])));

function answer({ in: source, out, n_mels, pad_to, smoothing }) {
    if (pad_to || smoothing) return { unsupported: "pad_to and smoothing" };
    const samples = new Float32Array(new Uint8Array(readFileSync(source)).buffer);
    const { data, shape } = logMel(samples, n_mels);
    writeFileSync(out, Float32Array.from(data));
    return { shape };
}

for await (const line of createInterface({ input: process.stdin })) {
    let result;
    try {
        result = answer(JSON.parse(line));
    } catch (error) {
        result = { error: error.message };
    }
    console.log(JSON.stringify(result));
}
