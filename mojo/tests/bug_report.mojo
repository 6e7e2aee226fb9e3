"""A bug report, built as it was: CUDA_ERROR_ILLEGAL_ADDRESS from a log-Mel front-end's kernels.

Two kernels with a thread for each value, one after the other: energies of 80 bands, and their 3x3
mean. Two faults, each of the host's:

* it computes `(samples - 400) // 160` frames, 97 of a second, has memory for as many, and promises
  the second kernel one more;
* it hands the addresses of its own arrays to the device.

`bug_report` runs the threads on a CPU, as launches do on a device, so that a build with
`--sanitize address` sees what each thread does. `-D REPAIRED`: with as many frames as promised.
"""

from std.sys import is_defined

comptime Floats = Pointer[Float32, MutUntrackedOrigin]
comptime BANDS = 80
comptime N_FFT = 400
comptime HOP = 160


def energy(audio: Floats, mel: Floats, frames: Int, i: Int):
    """Thread i: the energy of five samples of a frame, in the place of a band's."""
    var band = i // frames
    var frame = i % frames
    var sum = Float32(0)
    for j in range(5):
        var sample = audio[unsafe_offset=HOP * frame + 5 * band + j]
        sum += sample * sample
    mel[unsafe_offset=i] = sum


def smooth(mel: Floats, out_: Floats, frames: Int, i: Int):
    """Thread i: the mean of nine neighbours, frame by frame."""
    var band = i // (frames - 2)
    var frame = i % (frames - 2)
    var sum = Float32(0)
    for near_band in range(band, band + 3):
        for near in range(frame, frame + 3):
            sum += mel[unsafe_offset=near_band * frames + near]
    out_[unsafe_offset=i] = sum * Float32(1.0 / 9.0)


@export
def bug_report_frames(samples: Int, promised: Int) abi("C") -> Int:
    """Frames that are computed, or `promised` to the one who uses them."""
    var computed = (samples - N_FFT) // HOP
    comptime if is_defined["REPAIRED"]():
        computed += 1
    return computed if promised == 0 else (samples - N_FFT) // HOP + 1


@export
def bug_report(audio: Int, samples: Int, mel: Int, out_: Int) abi("C"):
    """Both launches; `mel` has room for the frames that are computed."""
    var computed = bug_report_frames(samples, 0)
    var promised = bug_report_frames(samples, 1)
    var energies = Floats(unsafe_from_address=mel)
    for i in range(BANDS * computed):
        energy(Floats(unsafe_from_address=audio), energies, computed, i)
    for i in range((BANDS - 2) * (promised - 2)):
        smooth(energies, Floats(unsafe_from_address=out_), promised, i)
