// Whisper's log-Mel front-end in plain JavaScript: what docs/specification.md says, and no faster than
// that. In float64, with a Fourier transform by its definition.

const SIZE = 400;
const HOP = 160;
const BINS = SIZE / 2 + 1;
const HERTZ_PER_BIN = 16000 / SIZE;
const turn = (f) => Float64Array.from({ length: SIZE }, (_, n) => f((2 * Math.PI * n) / SIZE));
const COSINE = turn(Math.cos);
const SINE = turn(Math.sin);
const WINDOW = COSINE.map((c) => 0.5 - 0.5 * c);

// Slaney's mel scale: linear up to 1000 Hz, which is 15 mel, then logarithmic.
const LOG_STEP = Math.log(6.4) / 27;
const toMel = (hertz) => (hertz < 1000 ? (3 * hertz) / 200 : 15 + Math.log(hertz / 1000) / LOG_STEP);
const toHertz = (mel) => (mel < 15 ? (200 * mel) / 3 : 1000 * Math.exp((mel - 15) * LOG_STEP));

/** Triangles of area 1, each a row of weights for the bins. */
function filterbank(nMels) {
    const edges = Array.from({ length: nMels + 2 }, (_, i) => toHertz((toMel(8000) * i) / (nMels + 1)));
    return Array.from({ length: nMels }, (_, band) => {
        const [low, centre, high] = edges.slice(band, band + 3);
        return Float64Array.from({ length: BINS }, (_, bin) => {
            const hertz = bin * HERTZ_PER_BIN;
            const height = Math.min((hertz - low) / (centre - low), (high - hertz) / (high - centre));
            return (Math.max(0, height) * 2) / (high - low);
        });
    });
}

function power(frame) {
    return Float64Array.from({ length: BINS }, (_, bin) => {
        let real = 0;
        let imaginary = 0;
        for (let n = 0; n < SIZE; n++) {
            const angle = (bin * n) % SIZE;
            real += frame[n] * COSINE[angle];
            imaginary -= frame[n] * SINE[angle];
        }
        return real * real + imaginary * imaginary;
    });
}

/** Features of samples at 16 kHz: `{ data, shape: [nMels, nFrames] }`, band by band. */
export function logMel(samples, nMels = 80) {
    const last = samples.length - 1;
    if (last < SIZE / 2) throw new RangeError(`${samples.length} samples: expected at least 201`);
    if (!samples.every(Number.isFinite)) throw new RangeError("expected finite samples");
    const mirrored = (i) => samples[last - Math.abs(last - Math.abs(i))];
    const bank = filterbank(nMels);
    const frames = Math.floor(samples.length / HOP);
    const data = new Float64Array(nMels * frames);
    for (let t = 0; t < frames; t++) {
        const spectrum = power(WINDOW.map((w, n) => w * mirrored(t * HOP + n - SIZE / 2)));
        bank.forEach((weights, band) => {
            const energy = weights.reduce((sum, weight, bin) => sum + weight * spectrum[bin], 0);
            data[band * frames + t] = Math.log10(Math.max(energy, 1e-10));
        });
    }
    const floor = data.reduce((a, b) => Math.max(a, b), -Infinity) - 8;
    return { data: data.map((value) => (Math.max(value, floor) + 4) / 4), shape: [nMels, frames] };
}
