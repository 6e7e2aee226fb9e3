// transformers.js as a serving program: one line of JSON for each call, one line for each answer.

import { readFileSync, writeFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { WhisperFeatureExtractor } from "@huggingface/transformers";

const SETTINGS = { sampling_rate: 16000, n_fft: 400, hop_length: 160 };
const THIRTY_SECONDS = { n_samples: 480000, nb_max_frames: 3000 };
const extractors = new Map();

function extractor(n_mels) {
  if (!extractors.has(n_mels)) {
    const config = { ...SETTINGS, ...THIRTY_SECONDS, feature_size: n_mels };
    extractors.set(n_mels, new WhisperFeatureExtractor(config));
  }
  return extractors.get(n_mels);
}

async function answer({ in: source, out: target, n_mels, pad_to, smoothing }) {
  if (smoothing) return { unsupported: "no smoothing" };
  const bytes = readFileSync(source);
  const audio = new Float32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4);
  const options = { max_length: pad_to ?? audio.length };
  const { input_features } = await extractor(n_mels)(audio, options);
  writeFileSync(target, input_features.data);
  return { shape: input_features.dims.slice(1) };
}

for await (const line of createInterface({ input: process.stdin })) {
  const said = await answer(JSON.parse(line)).catch((error) => ({ error: String(error) }));
  process.stdout.write(JSON.stringify(said) + "\n");
}
