"""The command ``./dev compare``: options, measurement, table."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from bench.cli import installed_peers
from bench.rows import BASELINE, OURS, SAMPLE_RATE
from bench.worker import Result, run_worker
from numpy.typing import NDArray
from tasks.columns import aligned
from tasks.paths import ROOT
from whisper_mel_conformance.cases.judging import grade
from whisper_mel_conformance.folder import write_whole
from whisper_mel_conformance.frontend.load import UnknownFrontEnd, require_known
from whisper_mel_conformance.run import known
from whisper_mel_mojo.audio_file import AudioError, load_audio
from whisper_mel_reference import WHISPER, Truth, truth
from whisper_mel_reference.bound import compare_with

Array = NDArray[Any]

ON_CUDA = ["compare.on_cuda:mojo_gpu", "compare.on_cuda:openai_whisper"]
NO_DEVICE = "no device"
HEADING = ["", "copies", "host MB", "+ call", "GPU MB", "ms", "to ours", "worst", "class"]
LEGEND = """copies: between host and device, as traced while the features get to the device
host MB: peak of the path's own process; + call: the rise during the call; GPU MB: the device's
ms: median, one thread; to ours: how many times as long as whisper-mel, in alternation (~: noisy)
worst: the largest error in units of the bound; class: A up to 1, B up to 4"""


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="./dev compare",
        description="Front-ends side by side on a recording: how often they copy between host and "
        "device, the memory they take (each in a process of its own), their time beside ours "
        "(alternating, one thread, medians), and how right they are. Writes compare.png (samples, "
        "features, difference) and compare.json.",
    )
    parser.add_argument("audio", metavar="AUDIO", type=Path, help="any file that libsndfile reads")
    parser.add_argument("--n-mels", type=int, choices=(80, 128), default=80)
    parser.add_argument(
        "--frontend", action="append", metavar="NAME", help="only these, beside ours; repeatable"
    )
    parser.add_argument(
        "--picture",
        default=BASELINE,
        metavar="NAME",
        help=f"the front-end shown beside ours ({BASELINE})",
    )
    parser.add_argument("--seconds", type=float, default=1.0, help="of timing, for each")
    parser.add_argument("--output", type=Path, default=ROOT / "report", metavar="DIR")
    return parser


def main(arguments: list[str]) -> int:
    """Run ``./dev compare``; return 0, 1 if ours is not of class A, 2 for unusable audio."""
    options = parser().parse_args(arguments)
    try:
        for name in options.frontend or ():
            require_known(name)
        audio = load_audio(options.audio)
        exact = truth(audio, WHISPER.replace(n_mels=options.n_mels))
    except (AudioError, UnknownFrontEnd) as error:
        print(f"compare: {error}", file=sys.stderr)
        return 2
    except ValueError as error:  # audio that is too short or too loud
        print(f"compare: {options.audio}: {error}", file=sys.stderr)
        return 2
    from compare import devices

    device = devices.device()
    print(f"{options.audio}: {audio.size / SAMPLE_RATE:.2f} s at 16 kHz, {options.n_mels} bands")
    print(f"device: {device}" if device else "no CUDA device: there is nothing to copy to, or from")
    paths = dict.fromkeys([OURS, *(options.frontend or installed_peers())])
    if device:
        paths.update(dict.fromkeys(ON_CUDA))
    task = {"n_mels": options.n_mels, "budget": options.seconds, "device": bool(device)}
    results, features = measure(list(paths), audio, task, exact)
    print(*table(results), "", LEGEND, sep="\n")
    record = {"audio": str(options.audio), "device": device, "paths": results}
    try:
        write_whole(options.output / "compare.json", json.dumps(record, indent=1).encode() + b"\n")
        print(f"\n{draw_beside(options, audio, features, exact)}")
    except OSError as error:
        print(f"compare: --output {options.output}: {error}", file=sys.stderr)
        return 2
    return 0 if results[OURS].get("class") == "A" else 1


def draw_beside(
    options: argparse.Namespace, audio: Array, features: dict[str, Array], truth: Truth
) -> str:
    """Write the picture, if there are features for it; return a sentence about it."""
    from compare.picture import draw

    other, path = options.picture, options.output / "compare.png"
    if not {OURS, other} <= features.keys():
        return f"no picture: there are no features of {other} to be shown beside ours"
    write_whole(path, draw(audio, features[OURS], features[other], truth.bound, other))
    return f"{path} shows ours beside {other}'s"


def measure(
    paths: list[str], audio: Array, task: dict[str, Any], truth: Truth
) -> tuple[dict[str, Result], dict[str, Array]]:
    """Return the result of each path, and the features of those with the right shape."""
    results, features = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        files = {name: str(Path(folder) / f"{name}.npy") for name in ("audio", "features")}
        np.save(files["audio"], audio)
        for path in paths:
            print(f"{path} …", file=sys.stderr, flush=True)
            Path(files["features"]).unlink(missing_ok=True)
            given = {**task, **files, "path": path, "threads": 1}
            try:
                [results[path]] = run_worker("compare.worker", path, given)
            except (RuntimeError, ValueError) as error:  # the process crashed
                results[path] = {"skipped": f"failed: {error}"}
            if "skipped" not in results[path]:
                output = np.load(files["features"])
                results[path].update(judged(output, truth))
                if output.shape == truth.features.shape:
                    features[path] = output
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
    measured = {path: it for path, it in results.items() if "skipped" not in it}
    lines = aligned([HEADING, *(row(path, it) for path, it in measured.items())])
    lines += [f"{path}: {it['skipped']}" for path, it in results.items() if "skipped" in it]
    lines += [f"{path}: {why(path, it)}" for path, it in measured.items() if it["class"] != "A"]
    return lines


def why(path: str, result: Result) -> str:
    """Return why a path is not of class A, with what is declared of it.

    The matrix leaves declared failures out of the class, which this table does not.
    """
    titles = [entry.title for entry in known.of_peers() if entry.front_end == path]
    if not titles:
        return str(result["reason"])
    declared = "; ".join(dict.fromkeys(titles))
    return (
        f"{result['reason']}. Declared of it, and left out of its class in the matrix: {declared}"
    )


def row(path: str, result: Result) -> list[str]:
    def megabytes(size: int | None, missing: str) -> str:
        return missing if size is None else f"{size / 1e6:.1f}"

    copies = result["copies"]
    return [
        path.rpartition(":")[2],
        NO_DEVICE if copies is None else ", ".join(f"{n} {way}" for way, n in copies.items()),
        megabytes(result["host_peak"], "?"),
        megabytes(result["host_rise"], "?"),
        megabytes(result["gpu_rise"], NO_DEVICE),
        f"{result['ms']:.3g}",
        f"{result['ratio']:.3g}x{' ~' if result['noisy'] else ''}",
        "-" if result["worst"] is None else f"{result['worst']:.2g}",
        result["class"],
    ]
