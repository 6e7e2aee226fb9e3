"""The library for C: what it exports and needs, its errors, its threads, the examples."""

from __future__ import annotations

import ctypes
import importlib.metadata
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import threading
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clips import noise
from numpy.typing import NDArray
from programs import ran
from whisper_mel_mojo import BuildError, builder, c_library, frontends, log_mel

EXAMPLES = Path(__file__).parents[2] / "examples"
HEADER = builder.C_SOURCE.with_suffix(".h")
STRICT = ("-O2", "-Wall", "-Wextra", "-Wpedantic", "-Werror")


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `./dev build c` makes."""
    from tasks import build

    folder = tmp_path_factory.mktemp("root")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build, "ROOT", folder)
        patch.setenv("WHISPER_MEL_TARGET_CPU", builder.target_cpu())  # that others are built for
        assert build.run(["c"]) == 0
    assert {path.name for path in (folder / "dist").iterdir()} == {
        "libwhispermel.so",
        "libwhispermel.so.0",
        "whisper_mel.h",
        "whisper_mel.pc",
        "whisper_melConfig.cmake",
        "whisper_melConfigVersion.cmake",
    }
    return folder / "dist"


def compiled(dist: Path, compiler: str, source: Path, *flags: str) -> Path:
    """A program that is linked as the examples say, and finds the library beside itself."""
    program = dist / source.stem
    link = ["-Ldist", "-lwhispermel", "-Wl,-rpath,$ORIGIN", "-o", str(program)]
    command = [compiler, *flags, *STRICT, "-Idist", str(source), *link]
    done = ran(command, cwd=dist.parent)
    assert done.returncode == 0, done.stderr
    return program


def test_exports_what_the_header_declares_and_needs_libc_only(dist: Path) -> None:
    library = str(dist / "libwhispermel.so")
    listing = ran(["nm", "-D", "--defined-only", library], check=True).stdout
    exported = {line.split()[-1] for line in listing.splitlines()}
    results = r"int|int64_t|void|const char \*|whisper_mel_stream \*"
    declared = re.findall(rf"^(?:{results})\s*(whisper_mel_\w+)\(", HEADER.read_text(), re.M)
    assert exported == set(declared)
    for path in (library, str(builder.built_library())):  # and what Python calls
        dynamic = ran(["readelf", "-d", path], check=True).stdout
        needed = re.findall(r"NEEDED.*\[(.*)\]", dynamic)
        assert needed
        for name in needed:  # parts of libc; the loader knows about thread-local memory
            assert re.match(r"(libc|libm|libpthread|ld-linux.*)\.so", name), name


@pytest.mark.parametrize(("compiler", "flags"), [("gcc", ("-std=c99",)), ("g++", ("-std=c++11",))])
def test_the_header_alone_compiles(
    dist: Path, tmp_path: Path, compiler: str, flags: tuple[str, ...]
) -> None:
    source = tmp_path / ("alone.c" if compiler == "gcc" else "alone.cpp")
    source.write_text("#include <whisper_mel.h>\nint main(void) { return WHISPER_MEL_OK; }\n")
    assert subprocess.run([compiled(dist, compiler, source, *flags)]).returncode == 0


FOREIGN = """
#include <whisper_mel.h>
#include <stdio.h>
#include <string.h>

int main(void) {
    static float audio[480], features[80 * 3];
    audio[100] = 0.5f;
    if (strcmp(whisper_mel_version(), WHISPER_MEL_VERSION))
        return 2;
    if (whisper_mel_log_mel_f32(audio, 1, 480, 480, 0, 80, 0, features, 80 * 3, 1))
        return 3;
    fwrite(features, sizeof *features, 80 * 3, stdout);
    return 0;
}
"""
CMAKE = """
cmake_minimum_required(VERSION 3.16)
project(foreign C CXX)
find_package(whisper_mel WANTED REQUIRED)
find_package(whisper_mel WANTED REQUIRED)  # as where two parts of a project need it
foreach(language c cpp)
  add_executable(in_${language} main.${language})
  target_link_libraries(in_${language} whisper_mel::whisper_mel)
endforeach()
"""


@pytest.fixture
def foreign(dist: Path, tmp_path: Path) -> Path:
    """A project that knows nothing of this one, beside a copy of what `./dev build c` makes."""
    shutil.copytree(dist, tmp_path / "lib rary", symlinks=True)
    for language in ("c", "cpp"):
        (tmp_path / f"main.{language}").write_text(FOREIGN)
    return tmp_path


def is_right(program: Path) -> bool:
    """The program has found the library, of its header's version, and it works."""
    clip = np.zeros(480, np.float32)
    clip[100] = 0.5
    done = subprocess.run([program], capture_output=True, check=True)
    return done.stdout == log_mel(clip).tobytes()


@pytest.mark.skipif(not shutil.which("cmake"), reason="cmake is not installed")
@pytest.mark.parametrize(
    ("wanted", "is_found"),
    [("", True), ("0.0.9", True), ("0.1.0 EXACT", True), ("0.2", False), ("1", False)],
)
def test_a_foreign_cmake_project_finds_it(wanted: str, is_found: bool, foreign: Path) -> None:
    (foreign / "CMakeLists.txt").write_text(CMAKE.replace("WANTED", wanted))
    command = ["cmake", "-B", "build", f"-DCMAKE_PREFIX_PATH={foreign / 'lib rary'}"]
    done = ran(command, cwd=foreign)
    assert (done.returncode == 0) == is_found, done.stdout + done.stderr
    if is_found and not wanted:  # the versions are about the finding
        done = ran(["cmake", "--build", "build"], cwd=foreign)
        assert done.returncode == 0, done.stdout + done.stderr
        assert is_right(foreign / "build" / "in_c")
        assert is_right(foreign / "build" / "in_cpp")


@pytest.mark.skipif(not shutil.which("pkg-config"), reason="pkg-config is not installed")
def test_a_foreign_makefile_finds_it(foreign: Path) -> None:
    environment = {**os.environ, "PKG_CONFIG_PATH": str(foreign / "lib rary")}

    def said(*options: str) -> str:
        command = ["pkg-config", *options, "whisper_mel"]
        return ran(command, env=environment, check=True).stdout.strip()

    assert said("--modversion") == importlib.metadata.version("whisper-mel-mojo")
    flags = said("--cflags", "--libs")
    link = ["gcc", "main.c", "-o", "main", *shlex.split(flags), "-Wl,-rpath,$ORIGIN/lib rary"]
    done = ran(link, cwd=foreign)
    assert done.returncode == 0, done.stderr
    assert is_right(foreign / "main")


def test_the_version_is_the_packages_and_the_soname_its_first_number(dist: Path) -> None:
    version = importlib.metadata.version("whisper-mel-mojo")
    assert f'#define WHISPER_MEL_VERSION "{version}"\n' in HEADER.read_text()
    dynamic = ran(["readelf", "-d", dist / "libwhispermel.so"], check=True).stdout
    first = version.partition(".")[0]
    assert re.findall(r"SONAME.*\[(.*)\]", dynamic) == [f"libwhispermel.so.{first}"]


def test_values_are_those_of_python() -> None:
    batch = np.stack([noise(4077, seed) for seed in range(3)])
    pcm = (batch * 32768).astype(np.int16)
    for audio in (batch, pcm, batch[0], batch[:, ::-1], batch[::-1], batch[:, 5:3000]):
        for options in (
            {},
            {"n_mels": 128},
            {"pad_to": 20_000},
            {"smoothing": "valid"},
            {"smoothing": "same", "pad_to": 480_000, "threads": 3},
        ):
            expected = log_mel(audio, **options)
            np.testing.assert_array_equal(c_library.log_mel(audio, **options), expected)


def call(**change: Any) -> tuple[int, str, NDArray[np.float32]]:
    """The status and message of a call that is right but for what is changed, and ``out``."""
    library = c_library.load()
    audio = change.pop("samples_are", noise(1000))
    out = np.full(80 * 6 + 1, 7, np.float32)
    right = {
        "audio": audio.ctypes.data,
        "clips": 1,
        "samples": 1000,
        "clip_stride": 0,
        "pad_to": 0,
        "n_mels": 80,
        "smoothing": 0,
        "out": out.ctypes.data,
        "out_len": 80 * 6,
        "threads": 1,
    }
    assert change.keys() <= right.keys()
    status = library.whisper_mel_log_mel_f32(*{**right, **change}.values())
    return status, library.whisper_mel_last_error().decode(), out


WRONG = [
    ("BAD_POINTER", {"audio": 0}, "audio is NULL: expected an address"),
    ("BAD_POINTER", {"out": 0}, "out is NULL: expected an address"),
    ("BAD_MELS", {"n_mels": 79}, "n_mels=79: expected 80 or 128"),
    (
        "BAD_SMOOTHING",
        {"smoothing": 3},
        "smoothing=3: expected 0 (none), 1 (valid) or 2 (same)",
    ),
    ("BAD_SHAPE", {"clips": -2}, "clips=-2: expected at least 1"),
    ("BAD_SHAPE", {"samples": 0}, "samples=0: expected at least 1"),
    (
        "BAD_PAD_TO",
        {"pad_to": 999},
        "audio has 1000 samples: expected at most pad_to=999, or 0 (none)",
    ),
    ("TOO_SHORT", {"samples": 200}, "audio has 200 samples: expected at least 201, or pad_to"),
    ("TOO_SHORT", {"samples": 9, "pad_to": 200}, "pad_to=200: expected at least 201"),
    (
        "TOO_FEW_FRAMES",
        {"samples": 479, "smoothing": 1},
        "audio gives 2 frames: smoothing=1 (valid) needs at least 3",
    ),
    (
        "BAD_OUT",
        {"out_len": 479},
        "out_len=479: expected at least 1 clips x 80 bands x 6 frames",
    ),
    (
        "BAD_OUT",
        {"clips": 2**61, "smoothing": 1},
        f"out_len=480: expected at least {2**61} clips x 78 bands x 4 frames",
    ),
    ("BAD_THREADS", {"threads": 0}, "threads=0: expected at least 1"),
]


@pytest.mark.parametrize(("name", "change", "message"), WRONG, ids=lambda value: str(value)[:20])
def test_errors_have_status_and_message_and_write_nothing(
    name: str, change: dict[str, int], message: str
) -> None:
    number = re.search(rf"WHISPER_MEL_{name} = (\d+)", HEADER.read_text())
    assert number
    status, said, out = call(**change)
    assert (status, said) == (int(number[1]), message)
    assert (out == 7).all()


def test_samples_that_are_not_finite_are_named_and_only_their_clip_is_lost() -> None:
    batch = np.stack([noise(500), noise(500, 1)])
    batch[1, 123] = np.inf
    change = {"clips": 2, "samples": 500, "clip_stride": 500, "samples_are": batch}
    status, said, out = call(**change)
    assert (status, said) == (
        11,
        "audio[123] of clip 1 is infinite or NaN: expected finite samples",
    )
    np.testing.assert_array_equal(out[: 80 * 3].reshape(80, 3), log_mel(batch[0]))
    assert np.isnan(out[80 * 3 : 80 * 6]).all()
    assert out[80 * 6] == 7
    batch[1, 123] = 1e30
    status, said, _ = call(**change)
    assert status == 12
    assert "overflows float32" in said


def test_each_thread_has_its_own_last_error() -> None:
    seen: dict[str, bytes] = {}
    library = c_library.load()
    call(n_mels=1)

    def other() -> None:
        seen["before"] = library.whisper_mel_last_error()
        call(n_mels=2)
        seen["after"] = library.whisper_mel_last_error()

    thread = threading.Thread(target=other)
    thread.start()
    thread.join()
    assert seen == {"before": b"", "after": b"n_mels=2: expected 80 or 128"}
    assert library.whisper_mel_last_error() == b"n_mels=1: expected 80 or 128"


def test_a_forked_child_has_a_pool_of_its_own() -> None:
    audio = noise(160_000)
    expected = c_library.log_mel(audio, threads=2)  # the parent's pool is running
    child = os.fork()
    if child == 0:
        code = 3  # an exception, which must not end in the child's going on with the other tests
        try:
            before = len(os.listdir("/proc/self/task"))  # others' libraries may start threads, too
            same = np.array_equal(c_library.log_mel(audio, threads=2), expected)
            started = len(os.listdir("/proc/self/task")) - before
            code = 0 if same and started == 1 else 2 if same else 1
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0  # 1: other values, 2: no thread, or several


def test_the_c_example(dist: Path, tmp_path: Path) -> None:
    program = compiled(dist, "gcc", EXAMPLES / "features.c", "-std=c11")
    pcm = (noise(16_000) * 32768).astype(np.int16)
    speech, target = tmp_path / "speech.wav", tmp_path / "speech.f32"

    def run(*words: str | Path) -> subprocess.CompletedProcess[str]:
        return ran([program, *words])

    with wave.open(str(speech), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(pcm.tobytes())
    for n_mels in (80, 128):
        done = run(speech, target, str(n_mels))
        assert (done.returncode, done.stdout) == (0, f"{n_mels} bands x 100 frames\n"), done.stderr
        np.testing.assert_array_equal(
            np.fromfile(target, np.float32).reshape(n_mels, 100), log_mel(pcm, n_mels)
        )
    target.unlink()
    speech.with_name("cut.wav").write_bytes(speech.read_bytes()[:1000])
    for words, message in (
        ((speech, target, "79"), "n_mels=79: expected 80 or 128"),
        ((tmp_path / "none.wav", target), "cannot be opened"),
        ((EXAMPLES / "features.c", target), "is no WAV file"),
        ((tmp_path / "cut.wav", target), "is shorter than it says"),
    ):
        done = run(*words)
        assert done.returncode == 1
        assert message in done.stderr
        assert not target.exists()


def judged(source: str, folder: Path) -> None:
    """A front-end passes some short cases, and refuses what it is to refuse."""
    few = "length-400 or length-480 or length-0 or rising-noise or errors or pad-37"
    judge = [sys.executable, "-m", "whisper_mel_conformance", "--frontend", source, "-k", few]
    done = ran(judge, cwd=folder)
    assert done.returncode == 0, done.stdout
    [front_end] = json.loads((folder / "report" / "report.json").read_text())["front_ends"]
    assert front_end["class"] == "A"
    assert front_end["worst"]["score"] > 0


def test_the_cpp_example_is_a_front_end(dist: Path, tmp_path: Path) -> None:
    program = compiled(dist, "g++", EXAMPLES / "front_end.cpp", "-std=c++11")
    judged(f"cmd:{program} {{in}} {{out}} {{n_mels}} {{pad_to}} {{smoothing}}", tmp_path)


@pytest.mark.skipif(not shutil.which("rustc"), reason="rustc is not installed")
def test_the_rust_example_is_a_front_end(dist: Path, tmp_path: Path) -> None:
    """Compiled as its first lines say."""
    source = (EXAMPLES / "front_end.rs").read_text()
    (command,) = re.findall(r"^// +(rustc .*)", source, re.MULTILINE)
    (dist.parent / "examples").symlink_to(EXAMPLES)
    subprocess.run(shlex.split(command), cwd=dist.parent, check=True)
    judged(f"cmd:{dist / 'front_end'} {{in}} {{out}} {{n_mels}} {{pad_to}}", tmp_path)


def test_a_missing_or_failing_c_compiler_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the suite once: the front-end is built when it is made, not by each call."""
    compiled = []
    monkeypatch.setenv("WHISPER_MEL_CACHE", str(tmp_path))
    monkeypatch.setattr(
        builder, "compile_mojo", lambda source, made, flags: compiled.append(made.write_bytes(b""))
    )
    c_library.load.cache_clear()
    for compiler, message in (("/no/such/cc -O1", "set CC"), ("false", "false .* failed")):
        monkeypatch.setenv("CC", compiler)
        for use in (builder.built_c_library, frontends.mojo_c):
            with pytest.raises(BuildError, match=message):
                use()
    assert len(compiled) == 2  # not for a compiler that is not there
    assert not list(tmp_path.glob("*.so"))


def test_every_source_is_in_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A changed header or shim is built anew."""
    monkeypatch.setenv("WHISPER_MEL_CACHE", str(tmp_path))
    monkeypatch.setattr(
        builder, "_build", lambda library, make: library.write_bytes(b"")
    )  # no digest: never intact
    copies = tmp_path / "sources"
    copies.mkdir()
    for suffix in (".c", ".h", ".map"):
        source = builder.C_SOURCE.with_suffix(suffix)
        (copies / source.name).write_bytes(source.read_bytes())
    monkeypatch.setattr(builder, "C_SOURCE", copies / builder.C_SOURCE.name)
    names = {builder.built_c_library()}
    for suffix in (".c", ".h", ".map"):
        with (copies / builder.C_SOURCE.name).with_suffix(suffix).open("a") as file:
            file.write("\n")
        names.add(builder.built_c_library())
    assert len(names) == 4


# --------------------------------------------------------------------------- streams


class CStream:
    """A stream of the library, with its functions' types."""

    def __init__(self, n_mels: int, maximum: int, fixed: float) -> None:
        self.library = library = c_library.load()
        library.whisper_mel_stream_new.restype = ctypes.c_void_p
        library.whisper_mel_stream_new.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_double]
        library.whisper_mel_stream_free.argtypes = [ctypes.c_void_p]
        library.whisper_mel_stream_free.restype = None
        library.whisper_mel_stream_final.argtypes = [ctypes.c_void_p, ctypes.c_int64]
        library.whisper_mel_stream_final.restype = ctypes.c_int64
        for kind in ("f32", "s16"):
            push = getattr(library, f"whisper_mel_stream_push_{kind}")
            push.argtypes = [
                *(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64),
                *(ctypes.c_void_p, ctypes.c_int64),
            ]
        library.whisper_mel_stream_rest.argtypes = [
            *(ctypes.c_void_p, ctypes.c_int64, ctypes.c_void_p, ctypes.c_int64)
        ]
        self.n_mels = n_mels
        self.address = library.whisper_mel_stream_new(n_mels, maximum, fixed)

    def push(self, samples: NDArray[Any], room: int = 0) -> NDArray[np.float32]:
        count = self.library.whisper_mel_stream_final(self.address, samples.size)
        out = np.full((self.n_mels, room or count), 7, np.float32)
        kind = "s16" if samples.dtype == np.int16 else "f32"
        status = getattr(self.library, f"whisper_mel_stream_push_{kind}")(
            *(self.address, samples.ctypes.data, samples.size),
            *(out.ctypes.data, out.shape[1]),
        )
        self.require(status)
        assert (out[:, count:] == 7).all()
        return out[:, :count]

    def rest(self, count: int, pad_to: int = 0) -> NDArray[np.float32]:
        out = np.empty((self.n_mels, count), np.float32)
        self.require(
            self.library.whisper_mel_stream_rest(self.address, pad_to, out.ctypes.data, count)
        )
        return out

    def require(self, status: int) -> None:
        if status != 0:
            raise ValueError(self.library.whisper_mel_last_error().decode())


@pytest.mark.parametrize("n_mels", [80, 128])
def test_streams_have_the_bits_of_the_whole(n_mels: int) -> None:
    audio = noise(7001)
    pcm = (audio * 32767).astype(np.int16)
    for samples in (audio, pcm):
        stream = CStream(n_mels, 1, 1.5)
        sizes = [1, 0, 199, 1, 160, 3200]
        cuts = np.cumsum([*sizes, *sizes])
        parts = [stream.push(piece, 30) for piece in np.split(samples, cuts)]
        made = sum(part.shape[1] for part in parts)
        padded = stream.rest(50 - made, 8000)
        parts.append(stream.rest(7001 // 160 - made))
        whole = log_mel(samples, n_mels, maximum=1.5)
        np.testing.assert_array_equal(np.concatenate(parts, 1), whole)
        expected = log_mel(samples, n_mels, maximum=1.5, pad_to=8000)
        np.testing.assert_array_equal(padded, expected[:, made:])
        stream.library.whisper_mel_stream_free(stream.address)
        stream.library.whisper_mel_stream_free(None)


def test_streams_with_the_clips_maximum_are_raised_by_whoever_has_them_all() -> None:
    audio = noise(5130)
    audio[:2500] *= np.float32(1e-5)
    stream = CStream(80, 0, 0)
    parts = [stream.push(audio), stream.rest(1)]
    values = np.concatenate(parts, 1)
    assert (values < values.max() - np.float32(2)).any()
    np.testing.assert_array_equal(np.maximum(values, values.max() - np.float32(2)), log_mel(audio))
    stream.library.whisper_mel_stream_free(stream.address)


def test_errors_of_streams() -> None:
    stream = CStream(80, 1, 1.5)
    for arguments, message in {
        (79, 0, 0.0): "n_mels=79: expected 80 or 128",
        (80, 2, 0.0): "maximum=2: expected 0 (clip) or 1 (fixed) for a stream",
        (80, 1, np.nan): "fixed=nan: expected a finite maximum, at most 1e38",
    }.items():
        assert CStream(*arguments).address is None
        assert stream.library.whisper_mel_last_error().decode() == message
    bad = noise(1000)
    bad[17] = np.inf
    with pytest.raises(ValueError, match=r"audio\[17\] is infinite or NaN"):
        stream.push(bad)
    with pytest.raises(ValueError, match="stride=3: expected at least as many floats"):
        stream.push(noise(1000), 3)
    with pytest.raises(ValueError, match="at least 201 samples are needed, or pad_to"):
        stream.rest(1)
    assert stream.push(noise(1000)).shape == (80, 6)  # nothing was taken before
    with pytest.raises(ValueError, match="pad_to must be 0 or at least the number of samples"):
        stream.rest(1, 300)
    push = stream.library.whisper_mel_stream_push_f32
    assert push(None, bad.ctypes.data, 1, None, 0) != 0
    assert stream.library.whisper_mel_last_error() == b"stream is NULL: expected an address"
    assert push(stream.address, bad.ctypes.data, -1, None, 0) != 0
    assert stream.library.whisper_mel_last_error() == b"samples=-1: expected at least 0"
    with pytest.raises(ValueError, match="power overflows"):
        stream.push(np.full(1000, 1e20, np.float32))
    with pytest.raises(ValueError, match="power overflows"):
        stream.push(np.zeros(1, np.float32))
    stream.library.whisper_mel_stream_free(stream.address)
