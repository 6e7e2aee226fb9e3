"""The command ``whisper-mel compare``: options, measurement, table."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from whisper_mel_golden.speech import read_wav
from whisper_mel_reference import WHISPER, Truth, truth
from whisper_mel_reference.bound import compare_with

from whisper_mel_conformance.cases.judging import grade
from whisper_mel_conformance.compare.process import Result, run_worker
from whisper_mel_conformance.compare.worker import ABSENT
from whisper_mel_conformance.folder import write_whole
from whisper_mel_conformance.frontend.load import UnknownFrontEnd, peers, require_known
from whisper_mel_conformance.options import settings_of
from whisper_mel_conformance.report.columns import aligned
from whisper_mel_conformance.run import known

Array = NDArray[Any]

READERS = "whisper_mel.audio"
"""The group of entry points whose functions return the samples of a recording in any format."""
ON_CUDA = "whisper_mel.on_cuda"
"""The group of entry points whose functions leave features in the memory of a CUDA device."""
BASELINE = "openai-whisper"
NO_DEVICE = "no device"
HEADING = ["", "copies", "host MB", "+ call", "GPU MB", "ms", "ratio", "worst", "class"]
LEGEND = """copies: between host and device, as traced while the features get to the device
host MB: peak of the path's own process; + call: the rise during the call; GPU MB: the device's
ms: median, one thread; ratio: how many times as long as the first, in alternation
  (=: no difference was measured, 1 lies within the spread; ~: noisy)
worst: the largest error in units of the bound; class: A up to 1, B up to 4"""


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="whisper-mel compare",
        description="Front-ends side by side on a recording: how often they copy between host and "
        "device, the memory they take (each in a process of its own), their time beside the first "
        "one's (alternating, one thread, medians), and how right they are. Writes compare.png "
        "(samples, features, difference) and compare.json.",
        epilog="The exit status is 0; 1 if the first front-end is not of class A; 2 for wrong "
        "usage and for audio that cannot be used.",
    )
    parser.add_argument(
        "audio",
        metavar="AUDIO",
        type=Path,
        help="WAV of 16 bits, mono, 16,000 samples a second; with whisper-mel-mojo[audio] any file",
    )
    parser.add_argument("--n-mels", type=int, choices=(80, 128), default=80)
    parser.add_argument("--frontend", **settings_of("frontend"))
    parser.add_argument("--peers", **settings_of("peers"))
    parser.add_argument(
        "--picture",
        metavar="SOURCE",
        help=f"the front-end shown beside the first ({BASELINE} if it is measured, else the next)",
    )
    parser.add_argument("--seconds", type=float, default=1.0, help="of timing, for each (1)")
    parser.add_argument(
        "--output", type=Path, default=Path("report"), metavar="DIR", help="where both files go"
    )
    return parser


def main(arguments: list[str]) -> int:
    """Run ``whisper-mel compare``; return its exit status."""
    options = parser().parse_args(arguments)
    try:
        for name in options.frontend:
            require_known(name)
        audio = read(options.audio)
        exact = truth(audio, WHISPER.replace(n_mels=options.n_mels))
    except UnknownFrontEnd as error:
        return _unusable(str(error))
    except (ValueError, OSError, ImportError) as error:  # too short, too loud, not to be read
        name = str(options.audio)
        return _unusable(str(error) if name in str(error) else f"{name}: {error}")
    from whisper_mel_conformance.compare import devices  # which imports PyTorch

    device = devices.device()
    seconds = audio.size / WHISPER.sample_rate
    print(f"{options.audio}: {seconds:.2f} s at 16 kHz, {options.n_mels} bands")
    print(f"device: {device}" if device else "no CUDA device: there is nothing to copy to, or from")
    task = {"n_mels": options.n_mels, "budget": options.seconds, "device": bool(device)}
    results, features = measure(sources(options, device), audio, task, exact)
    print(*table(results), "", LEGEND, sep="\n")
    record = {"audio": str(options.audio), "device": device, "paths": results}
    try:
        write_whole(options.output / "compare.json", json.dumps(record, indent=1).encode() + b"\n")
        print(f"\n{draw_beside(options, audio, features, exact)}")
    except OSError as error:
        return _unusable(f"--output {options.output}: {error}")
    first = options.frontend[0] if options.frontend else next(iter(features), "")
    return 0 if results.get(first, {}).get("class") == "A" else 1


def _unusable(sentence: str) -> int:
    print(f"compare: {sentence}", file=sys.stderr)
    return 2


def read(path: Path) -> Array:
    """Return the samples of a recording: float32 of shape ``(n,)``.

    Raises ``ValueError`` with the path if it cannot be read, or is not what a reader expects.
    """
    for reader in entry_points(group=READERS):
        samples: Array = reader.load()(path)
        return samples
    if not path.is_file():
        raise ValueError(f"{path} {'is no file' if path.exists() else 'does not exist'}")
    try:
        return read_wav(path) / np.float32(32768)
    except ValueError as error:
        reads = 'pip install "whisper-mel-mojo[audio]" lets this command read any format and rate'
        raise ValueError(f"{error}; {reads}") from error


def sources(options: argparse.Namespace, device: str | None) -> dict[str, str]:
    """Return the sources of the front-ends to be measured, by their names in the table."""
    which = options.peers if options.frontend or options.peers != "none" else "all"
    found = {source: source for source in (*options.frontend, *peers(which))}
    if device:
        found.update({f"{it.name} on CUDA": it.value for it in entry_points(group=ON_CUDA)})
    return found


def draw_beside(
    options: argparse.Namespace, audio: Array, features: dict[str, Array], truth: Truth
) -> str:
    """Write the picture, if there are features for it; return a sentence about it."""
    first, *others = features or [""]
    other = options.picture or next(iter([*({BASELINE} & {*others}), *others]), None)
    if other not in others:
        return f"no picture: there are no features of {other or 'another front-end'} to be shown"
    try:
        from whisper_mel_conformance.compare.picture import draw
    except ImportError:
        return 'no picture: pip install "whisper-mel-conformance[compare]" brings matplotlib'
    path = options.output / "compare.png"
    shown = {name: features[name] for name in (first, other)}
    write_whole(path, draw(audio, shown, truth.bound))
    return f"{path} shows {first} beside {other}"


def measure(
    paths: dict[str, str], audio: Array, task: dict[str, Any], truth: Truth
) -> tuple[dict[str, Result], dict[str, Array]]:
    """Return the result of each path, and the features of those with the right shape.

    The first path that can be measured is the one whose time the others' are divided by.
    """
    results, features = {}, {}
    beside = None
    with tempfile.TemporaryDirectory() as folder:
        files = {name: str(Path(folder) / f"{name}.npy") for name in ("audio", "features")}
        np.save(files["audio"], audio)
        for name, path in paths.items():
            print(f"{name} …", file=sys.stderr, flush=True)
            Path(files["features"]).unlink(missing_ok=True)
            given = {**task, **files, "path": path, "beside": beside or path, "threads": 1}
            try:
                [results[name]] = run_worker("whisper_mel_conformance.compare.worker", name, given)
            except (RuntimeError, ValueError) as error:  # the process crashed
                results[name] = {"skipped": f"failed: {error}"}
            if "skipped" not in results[name]:
                beside = beside or path
                output = np.load(files["features"])
                results[name].update(judged(output, truth))
                if output.shape == truth.features.shape:
                    features[name] = output
    return results, features


def judged(output: Array, truth: Truth) -> Result:
    """Return the worst score and the class of a path's features, with the reason."""
    if output.shape != truth.features.shape:
        expected = truth.features.shape
        return {"worst": None, "class": "fails", "reason": f"shape {output.shape}, not {expected}"}
    worst = compare_with(output, truth.features, truth.bound)
    score = worst.score if np.isfinite(worst.score) else None
    return {"worst": score, "class": grade(worst.score), "reason": worst.reason}


def table(results: dict[str, Result]) -> list[str]:
    """Return the lines to print: measurements, paths that could not run, scores outside class A."""
    measured = {name: it for name, it in results.items() if "skipped" not in it}
    lines = aligned([HEADING, *(row(name, it) for name, it in measured.items())])
    absent = [
        name for name in peers() if results.get(name, {}).get("skipped", "").startswith(ABSENT)
    ]
    lines += [f"not installed: {', '.join(absent)}"] if absent else []
    lines += [
        f"{name}: {it['skipped']}"
        for name, it in results.items()
        if "skipped" in it and name not in absent
    ]
    lines += [f"{name}: {why(name, it)}" for name, it in measured.items() if it["class"] != "A"]
    return lines


def why(name: str, result: Result) -> str:
    """Return why a front-end is not of class A, with what is declared of it.

    The matrix leaves declared failures out of the class, which this table does not.
    """
    titles = [entry.title for entry in known.of_peers() if entry.front_end == name]
    if not titles:
        return str(result["reason"])
    declared = "; ".join(dict.fromkeys(titles))
    return (
        f"{result['reason']}. Declared of it, and left out of its class in the matrix: {declared}"
    )


def row(name: str, result: Result) -> list[str]:
    def megabytes(size: int | None, missing: str) -> str:
        return missing if size is None else f"{size / 1e6:.1f}"

    copies = result["copies"]
    marks = {" =": result["undecided"], " ~": result["noisy"]}
    return [
        name,
        NO_DEVICE if copies is None else ", ".join(f"{n} {way}" for way, n in copies.items()),
        megabytes(result["host_peak"], "?"),
        megabytes(result["host_rise"], "?"),
        megabytes(result["gpu_rise"], NO_DEVICE),
        f"{result['ms']:.3g}",
        f"{result['ratio']:.3g}x" + "".join(mark for mark, is_so in marks.items() if is_so),
        "-" if result["worst"] is None else f"{result['worst']:.2g}",
        result["class"],
    ]
