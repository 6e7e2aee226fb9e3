"""The vectors' loaders: each judges a front-end in its language, with the archive alone.

The front-ends are those of the templates and examples, in a folder that has nothing else.
"""

from __future__ import annotations

import re
import shutil
import sys
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import pytest
from programs import ran
from whisper_mel_golden import golden_cases, vectors

pytestmark = [pytest.mark.compiles, pytest.mark.xdist_group("loaders")]

EXAMPLES = Path(__file__).parents[2] / "examples"
INPUTS = {"length-480", "length-8000-padded", "noise-pcm-faint"}
CASES = [case for case in golden_cases() if case.input_id in INPUTS]
JUDGED = sum(case.smoothing is None for case in CASES)


def template(language: str) -> str:
    """Return the part of a template that is its front-end, with what it imports before."""
    text = (EXAMPLES / "templates" / f"front_end.{language}").read_text()
    return text.partition("// ------")[2].partition("\n")[2].partition("\n// ------")[0]


C = """
#define _USE_MATH_DEFINES
#include "LOADERS/vectors.h"

static int calls;

static void log_mel(const float *audio, size_t n, int n_mels, size_t pad_to, float *out) {
    const double pi = acos(-1.0), step = log(6.4) / 27, top = 15 + log(8.0) / step;
    long length = (long)(pad_to > n ? pad_to : n), frames = length / 160;
    double edges[130], power[201], highest = -10;
    calls++;
    for (int i = 0; i < n_mels + 2; i++) {
        double mel = top * i / (n_mels + 1);
        edges[i] = mel < 15 ? 200 * mel / 3 : 1000 * exp((mel - 15) * step);
    }
    for (long t = 0; t < frames; t++) {
        for (int k = 0; k < 201; k++) {
            double re = 0, im = 0;
            for (int i = 0; i < 400; i++) {
                long at = labs(length - 1 - labs(length - 1 - labs(t * 160 + i - 200)));
                double x = at < (long)n ? audio[at] * (0.5 - 0.5 * cos(2 * pi * i / 400)) : 0.0;
                if (x == 0.0)
                    continue;
                re += x * cos(2 * pi * (k * i % 400) / 400);
                im += x * sin(2 * pi * (k * i % 400) / 400);
            }
            power[k] = re * re + im * im;
        }
        for (int band = 0; band < n_mels; band++) {
            double low = edges[band], mid = edges[band + 1], high = edges[band + 2], sum = 0;
            for (int k = 0; k < 201; k++) {
                double up = (k * 40 - low) / (mid - low), down = (high - k * 40) / (high - mid);
                double height = up < down ? up : down;
                sum += height > 0 ? height * 2 / (high - low) * power[k] : 0;
            }
            double value = log10(sum > 1e-10 ? sum : 1e-10);
            highest = value > highest ? value : highest;
            out[band * frames + t] = (float)value;
        }
    }
    for (long i = 0; i < n_mels * frames; i++)
        out[i] = (float)(((out[i] > highest - 8 ? out[i] : highest - 8) + 4) / 4);
}

int main(int count, char **arguments) {
    char worst[256];
    double score = count == 2 ? vectors_judge(arguments[1], log_mel, worst) : -1;
    printf("%d %g\\n", calls, score);
    return 0;
}
"""
CPP = """
#include "LOADERS/vectors.h"
#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <vector>

FRONT_END

static int calls;

static void mine(const float *audio, size_t n, int n_mels, size_t pad_to, float *out) {
    std::vector<float> padded(audio, audio + n);
    padded.resize(std::max(n, pad_to));
    const std::vector<float> features = log_mel(padded, n_mels);
    std::copy(features.begin(), features.end(), out);
    calls++;
}

int main(int, char **arguments) {
    char worst[256];
    const double score = vectors_judge(arguments[1], mine, worst);
    std::printf("%d %g\\n", calls, score);
}
"""
RUST = """
#[path = "LOADERS/vectors.rs"]
mod vectors;
use std::{cell::Cell, error::Error, path::Path};

FRONT_END

fn main() {
    let calls = Cell::new(0);
    let mine = |audio: &[f32], n_mels: usize, pad_to: usize| {
        calls.set(calls.get() + 1);
        let mut padded = audio.to_vec();
        padded.resize(pad_to.max(audio.len()), 0.0);
        log_mel(&padded, n_mels).unwrap()
    };
    let folder = std::env::args().nth(1).unwrap();
    let (score, _) = vectors::judge(Path::new(&folder), mine).unwrap();
    println!("{} {score}", calls.get());
}
"""
GO = """
package main

import (
	"errors"
	"fmt"
	"math"
	"os"

	"mine/vectors"
)

FRONT_END

func main() {
	calls := 0
	mine := func(audio []float32, nMels, padTo int) []float32 {
		calls++
		for len(audio) < padTo {
			audio = append(audio, 0)
		}
		features, err := logMel(audio, nMels)
		if err != nil {
			panic(err)
		}
		return features
	}
	score, _ := vectors.Judge(os.Args[1], mine)
	fmt.Println(calls, score)
}
"""
SWIFT = """
import Foundation

struct Refusal: Error { let why: String }

FRONT_END

@main struct Main {
    static func main() throws {
        var calls = 0
        let mine = { (audio: [Float], nMels: Int, padTo: Int) -> [Float] in
            calls += 1
            let zeros = [Float](repeating: 0, count: max(padTo - audio.count, 0))
            return try logMel(audio + zeros, nMels)
        }
        let folder = URL(fileURLWithPath: CommandLine.arguments[1])
        print(calls, try judgeVectors(folder, mine).score)
    }
}
"""
JAVASCRIPT = """
import { logMel } from "./log_mel.mjs";
import { judge } from "./LOADERS/vectors.mjs";

let calls = 0;
const { score } = judge(process.argv[2], (audio, nMels, padTo) => {
    calls++;
    const padded = new Float32Array(Math.max(padTo, audio.length));
    padded.set(audio);
    return logMel(padded, nMels).data;
});
console.log(calls, score);
"""
PYTHON = """
import sys
import numpy as np
sys.path.insert(0, "LOADERS")
from vectors import judge

calls = 0

def log_mel(audio, n_mels, pad_to):
    global calls
    calls += 1
    step = np.log(6.4) / 27
    mel = np.linspace(0, 15 + np.log(8) / step, n_mels + 2)
    hertz = np.where(mel < 15, 200 * mel / 3, 1000 * np.exp((mel - 15) * step))
    low, mid, high = hertz[:-2, None], hertz[1:-1, None], hertz[2:, None]
    bins = np.arange(201) * 40
    heights = np.minimum((bins - low) / (mid - low), (high - bins) / (high - mid))
    bank = heights.clip(0) * 2 / (high - low)
    x = np.pad(audio.astype(float), (0, max(pad_to - len(audio), 0)))
    frames = np.lib.stride_tricks.sliding_window_view(np.pad(x, 200, "reflect"), 400)[::160][:-1]
    angle = 2 * np.pi * np.arange(400) / 400
    power = abs(np.fft.rfft(frames[: len(x) // 160] * (0.5 - 0.5 * np.cos(angle)))) ** 2
    log = np.log10((bank @ power.T).clip(1e-10))
    return ((log.clip(log.max() - 8) + 4) / 4).astype(np.float32)

score, _ = judge(sys.argv[1], log_mel)
print(calls, score)
"""
NODE = shutil.which("node", path=str(Path(sys.executable).parent)) or shutil.which("node")


@dataclass(frozen=True)
class Language:
    """How a front-end is judged in a language.

    ``program`` is the source of file ``name``, ``commands`` compile and run it; the last one is
    given the vectors' folder. ``right`` is text of the front-end, and ``wrong`` what makes its
    window symmetric instead of periodic.
    """

    name: str
    program: str
    commands: tuple[str, ...]
    right: str
    wrong: str


WARN = "-O2 -Wall -Wextra -Wpedantic -Werror"
LANGUAGES = {
    "c": Language(
        "main.c",
        C,
        (f"gcc -std=c99 {WARN} main.c -o main -lm", "./main"),
        "cos(2 * pi * i / 400))",
        "cos(2 * pi * i / 399))",
    ),
    "c++": Language(
        "main.cpp",
        CPP.replace("FRONT_END", template("cpp")),
        (f"g++ -std=c++11 {WARN} main.cpp -o main", "./main"),
        "0.5 - 0.5 * cosine[i]",
        "0.5 - 0.5 * std::cos(2 * pi * i / 399)",
    ),
    "rust": Language(
        "main.rs",
        RUST.replace("FRONT_END", template("rs")),
        ("rustc --edition=2021 -O -D warnings main.rs -o main", "./main"),
        "0.5 - 0.5 * cosine[i]",
        "0.5 - 0.5 * (angle(i) * 400.0 / 399.0).cos()",
    ),
    "swift": Language(
        "main.swift",
        SWIFT.replace("FRONT_END", template("swift")),
        ("swiftc -O -parse-as-library main.swift LOADERS/vectors.swift -o main", "./main"),
        "0.5 - 0.5 * cosine[i]",
        "0.5 - 0.5 * cos(2 * Double.pi * Double(i) / 399)",
    ),
    "go": Language(
        "main.go",
        GO.replace("FRONT_END", template("go")),
        ("go build -o main .", "./main"),
        "0.5 - 0.5*cosine[i]",
        "0.5 - 0.5*math.Cos(2*math.Pi*float64(i)/399)",
    ),
    "javascript": Language(
        "main.mjs",
        JAVASCRIPT,
        (f"{NODE or 'node'} main.mjs",),
        "const WINDOW = COSINE.map((c) => 0.5 - 0.5 * c);",
        "const WINDOW = COSINE.map((_, n) => 0.5 - 0.5 * Math.cos((2 * Math.PI * n) / 399));",
    ),
    "python": Language(
        "main.py",
        PYTHON,
        (f"{sys.executable} -I main.py",),
        "np.arange(400) / 400",
        "np.arange(400) / 399",
    ),
}


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The vectors of some inputs, as in the archive."""
    folder = tmp_path_factory.mktemp("loaders")
    with tarfile.open(vectors.pack(folder, CASES)) as archive:
        archive.extraction_filter = getattr(tarfile, "data_filter", None)  # new Pythons
        archive.extractall(folder)
    return folder / vectors.STEM


Programs = Callable[[str, bool], Path]


@pytest.fixture(scope="module")
def program(unpacked: Path, tmp_path_factory: pytest.TempPathFactory) -> Programs:
    """Makes the program that judges a language's front-end, once; returns its folder."""

    @lru_cache
    def once(language: str, is_wrong: bool) -> Path:
        return made(language, is_wrong, unpacked, tmp_path_factory.mktemp("program"))

    return once


def made(language: str, is_wrong: bool, unpacked: Path, folder: Path) -> Path:
    """Compile a language's front-end and its loader in a folder of their own; return the folder."""
    it = LANGUAGES[language]
    for command in it.commands:
        program = command.split()[0]
        if not program.startswith("./") and shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
    shutil.copytree(unpacked / "loaders", folder / "loaders")
    files = {it.name: it.program.replace("LOADERS", "loaders")}
    if language == "javascript":
        files["log_mel.mjs"] = (EXAMPLES / "log_mel.mjs").read_text()
    if language == "go":
        files["go.mod"] = "module mine\n\ngo 1.18\n"
        (folder / "vectors").mkdir()
        shutil.copy(unpacked / "loaders" / "vectors.go", folder / "vectors")
    text = "".join(files.values())
    assert text.count(it.right) == 1
    for name, content in files.items():
        (folder / name).write_text(content.replace(it.right, it.wrong) if is_wrong else content)
    for command in it.commands[:-1]:
        done = ran(command.replace("LOADERS", "loaders").split(), cwd=folder)
        assert done.returncode == 0, done.stderr
    return folder


def result(program: Programs, language: str, vectors: Path, *, wrong: bool) -> tuple[int, float]:
    """Judge a language's front-end by vectors; return its calls and its worst score.

    Raises ``RuntimeError`` with what the program says if it fails.
    """
    words = LANGUAGES[language].commands[-1].split()
    done = ran([*words, vectors], cwd=program(language, wrong))
    if done.returncode != 0:
        raise RuntimeError(done.stdout + done.stderr)
    calls, score = done.stdout.split()
    return int(calls), float(score.replace("Infinity", "inf").replace("+Inf", "inf"))


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_right_front_end_conforms(language: str, unpacked: Path, program: Programs) -> None:
    calls, score = result(program, language, unpacked, wrong=False)
    assert calls == JUDGED
    assert 0 < score <= 1


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_wrong_window_does_not(language: str, unpacked: Path, program: Programs) -> None:
    _, score = result(program, language, unpacked, wrong=True)
    assert score > 4


def _empty(folder: Path) -> None:
    (folder / "cases.txt").write_text("")


def _cut(folder: Path) -> None:
    path = folder / "bounds" / "length-480--80.npy"
    path.write_bytes(path.read_bytes()[:200])


def _missing(folder: Path) -> None:
    (folder / "inputs" / "length-480.npy").unlink()


@pytest.mark.parametrize("damage", [_empty, _cut, _missing])
@pytest.mark.parametrize("language", LANGUAGES)
def test_a_damaged_set_is_no_success(
    language: str,
    damage: Callable[[Path], None],
    unpacked: Path,
    program: Programs,
    tmp_path: Path,
) -> None:
    shutil.copytree(unpacked, tmp_path / "set")
    damage(tmp_path / "set")
    try:
        _, score = result(program, language, tmp_path / "set", wrong=False)
    except RuntimeError:
        return
    assert score > 4


def test_a_loader_is_short() -> None:
    """Forty lines or a little more, not counting what it imports, comments and blank lines."""
    for path in sorted((Path(vectors.__file__).parent / "loaders").iterdir()):
        text = re.sub(
            r'^import \(.*?\)|/\*.*?\*/|""".*?"""', "", path.read_text(), flags=re.M | re.S
        )
        code = [line.strip() for line in text.splitlines()]
        other = ("//", "import ", "#include ", "use ", "package ")
        code = [line for line in code if line and not line.startswith(other)]
        assert len(code) <= 45, path.name


def test_the_quick_set_is_small(tmp_path: Path) -> None:
    """It has short clips, speech, PCM, padding and both numbers of bands."""
    cases = vectors.quick()
    path = vectors.pack(tmp_path, cases, vectors.QUICK)
    assert path.stat().st_size <= 5e6
    assert path.name == f"whisper-mel-vectors-{vectors.VERSION}-quick.tar.gz"
    with tarfile.open(path) as archive:
        assert {name.split("/")[0] for name in archive.getnames()} == {vectors.QUICK}
    assert 100 < len(cases) < len(list(golden_cases())) / 2
    assert {case.n_mels for case in cases} == {80, 128}
    assert {case.audio().dtype.name for case in cases} == {"float32", "int16"}
    assert {case.pad_to is None for case in cases} == {True, False}
    assert {case.smoothing for case in cases} == {None}
    assert "golden/reading/80" in {case.id for case in cases}
