"""Every row of the policies in docs/specification.md, and what memory the kernel touches."""

from __future__ import annotations

import ctypes
import mmap
import re
from typing import Any

import numpy as np
import pytest
from clips import noise
from numpy.typing import NDArray
from whisper_mel_mojo import log_mel
from whisper_mel_mojo.library import library

Array = NDArray[Any]
SECOND = 16000


# --------------------------------------------------------------------- rejected input


@pytest.mark.parametrize(
    "value", [np.nan, -np.nan, np.inf, -np.inf], ids=["nan", "negative nan", "inf", "-inf"]
)
@pytest.mark.parametrize("n", [SECOND, SECOND + 119, SECOND + 159])
@pytest.mark.parametrize("threads", [1, 2])
def test_not_finite(n: int, value: float, threads: int) -> None:
    """Wherever it is; also among the last samples, which no frame reaches."""
    for at in (0, 1, 199, 200, 1000, n // 2, n - 161, n - 120, n - 2, n - 1):
        audio = noise(n)
        audio[at:][:3] = value
        message = rf"audio\[{at}\] is {re.escape(str(np.float32(value)))}: expected finite samples"
        with pytest.raises(ValueError, match=message):
            log_mel(audio, threads=threads)


def test_not_finite_in_a_batch() -> None:
    """The first index is named; the clips concerned become NaN, the others are right."""
    batch = np.stack([noise(3000, seed) for seed in range(4)])
    expected = log_mel(batch)
    batch[2, 77] = np.nan
    batch[1, 2999] = np.inf
    out = np.zeros_like(expected)
    with pytest.raises(ValueError, match=r"audio\[\(1, 2999\)\] is inf: expected finite samples"):
        log_mel(batch, out=out)
    np.testing.assert_array_equal(out[[0, 3]], expected[[0, 3]])
    assert np.isnan(out[[1, 2]]).all()


def test_not_finite_in_float64() -> None:
    audio = noise(SECOND).astype(np.float64)
    audio[123] = np.nan
    with pytest.raises(ValueError, match=r"audio\[123\] is nan"):
        log_mel(audio)


@pytest.mark.parametrize("smoothing", [None, "valid", "same"])
@pytest.mark.parametrize("amplitude", [1e18, 1e25, 3e37])
def test_overflow(amplitude: float, smoothing: Any) -> None:
    audio = noise(SECOND) * np.float32(10 * amplitude)
    with pytest.raises(ValueError, match=r"audio has amplitudes up to .*: its power overflows"):
        log_mel(audio, smoothing=smoothing)


def test_float64_beyond_float32() -> None:
    with pytest.raises(ValueError, match=r"up to 1e\+300: its power overflows float32"):
        log_mel(np.full(SECOND, 1e300))


def test_largest_amplitudes_that_are_fine() -> None:
    loud = log_mel(noise(SECOND) * np.float32(2.0**53))
    np.testing.assert_allclose(loud, log_mel(noise(SECOND)) + 53 * np.log10(2) / 2, atol=1e-5)


CLIP = noise(SECOND)

REJECTED: dict[str, tuple[type[Exception], str, Any, dict[str, Any]]] = {
    "empty": (ValueError, r"audio is empty \(shape \(0,\)\)", CLIP[:0], {}),
    "empty with pad_to": (ValueError, "audio is empty", CLIP[:0], {"pad_to": 480_000}),
    "no clips": (ValueError, "audio is empty", np.zeros((0, 400), np.float32), {}),
    "200 samples": (ValueError, "audio has 200 samples: expected at least 201", CLIP[:200], {}),
    "1 sample": (ValueError, "audio has 1 samples: expected at least 201", CLIP[:1], {}),
    "pad_to 200": (ValueError, "^pad_to=200: expected at least 201$", CLIP[:100], {"pad_to": 200}),
    "longer than pad_to": (
        ValueError,
        "audio has 16000 samples: expected at most pad_to=15999",
        CLIP,
        {"pad_to": 15_999},
    ),
    "pad_to 0": (ValueError, "pad_to=0: expected at least 201", CLIP, {"pad_to": 0}),
    "pad_to negative": (ValueError, "pad_to=-1: expected at least 201", CLIP, {"pad_to": -1}),
    "pad_to float": (TypeError, "pad_to=480000.0: expected an int", CLIP, {"pad_to": 480_000.0}),
    "pad_to bool": (TypeError, "pad_to=True: expected an int", CLIP, {"pad_to": True}),
    "rank 0": (ValueError, r"audio has shape \(\)", np.float32(1), {}),
    "rank 3": (ValueError, r"audio has shape \(1, 1, 400\)", CLIP[:400].reshape(1, 1, 400), {}),
    "n_mels 81": (ValueError, "n_mels=81: expected 80 or 128", CLIP, {"n_mels": 81}),
    "n_mels 0": (ValueError, "n_mels=0: expected 80 or 128", CLIP, {"n_mels": 0}),
    "n_mels float": (TypeError, "n_mels=80.0: expected an int", CLIP, {"n_mels": 80.0}),
    "pad_to 2**48 + 1": (
        ValueError,
        f"pad_to={2**48 + 1}: expected at most {2**48}",
        CLIP,
        {"pad_to": 2**48 + 1},
    ),
    "pad_to 2**63": (ValueError, f"pad_to={2**63}: expected at most", CLIP, {"pad_to": 2**63}),
    "pad_to 2**64 + 480000": (
        ValueError,
        f"pad_to={2**64 + 480_000}: expected at most",
        CLIP,
        {"pad_to": 2**64 + 480_000},
    ),
    "n_mels 2**64 + 80": (
        ValueError,
        f"n_mels={2**64 + 80}: expected 80 or 128",
        CLIP,
        {"n_mels": 2**64 + 80},
    ),
    "smoothing": (ValueError, "smoothing='full': expected None", CLIP, {"smoothing": "full"}),
    "smoothing list": (
        TypeError,
        r"smoothing=\['same'\]: expected None, 'valid' or 'same'",
        CLIP,
        {"smoothing": ["same"]},
    ),
    "smoothing int": (TypeError, "smoothing=1: expected None", CLIP, {"smoothing": 1}),
    "smoothing array": (
        TypeError,
        r"smoothing=array\(\[1, 2\]\): expected None",
        CLIP,
        {"smoothing": np.array([1, 2])},
    ),
    "valid, 2 frames": (
        ValueError,
        "audio gives 2 frames: smoothing='valid' needs at least 3",
        CLIP[:479],
        {"smoothing": "valid"},
    ),
    "threads 0": (ValueError, "threads=0: expected at least 1", CLIP, {"threads": 0}),
    "threads negative": (ValueError, "threads=-2: expected at least 1", CLIP, {"threads": -2}),
    **{
        f"threads {name}": (
            ValueError,
            f"threads={threads}: expected at least 1 and at most {2**31 - 1}",
            CLIP,
            {"threads": threads},
        )
        for name, threads in (
            ("2**31", 2**31),
            ("2**64 + 1", 2**64 + 1),
            ("1 - 2**64", 1 - 2**64),
            ("10**30", 10**30),
        )
    },
    "threads float": (TypeError, "threads=1.0: expected an int", CLIP, {"threads": 1.0}),
    **{
        str(dtype): (TypeError, f"audio has dtype {dtype}", CLIP.astype(dtype), {})
        for dtype in ("int8", "uint8", "uint16", "int32", "int64", "bool", "float16")
    },
    "complex": (TypeError, "audio has dtype complex64", CLIP.astype(np.complex64), {}),
    "text": (TypeError, "expected samples", "x", {}),
    "ragged": (ValueError, "audio, a list, cannot be read as an array", [[0.0], [0.0, 0.0]], {}),
}


@pytest.mark.parametrize("name", REJECTED)
def test_rejected(name: str) -> None:
    error, message, audio, arguments = REJECTED[name]
    log_mel(CLIP)  # what equals an accepted argument, and is of another type, is refused as well
    with pytest.raises(error, match=message):
        log_mel(audio, **arguments)


def _read_only(shape: tuple[int, ...]) -> Array:
    array = np.ones(shape, np.float32)
    array.flags.writeable = False
    return array


def _unaligned(shape: tuple[int, ...], dtype: type) -> Array:
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    return np.zeros(size + 1, np.uint8)[1:].view(dtype).reshape(shape)


OUTS: dict[str, tuple[type[Exception], str, Any]] = {
    "list": (TypeError, "out is a list: expected a numpy.ndarray", [0.0]),
    "float64": (TypeError, "out has dtype float64: expected float32", np.ones((80, 100))),
    "bands": (ValueError, r"out has shape \(128, 100\): expected", np.ones((128, 100), np.float32)),
    "frames": (ValueError, r"out has shape \(80, 101\): expected", np.ones((80, 101), np.float32)),
    "rank": (ValueError, r"out has shape \(1, 80, 100\)", np.ones((1, 80, 100), np.float32)),
    "strided": (ValueError, "out has strides", np.ones((80, 200), np.float32)[:, ::2]),
    "transposed": (ValueError, "out has strides", np.ones((100, 80), np.float32).T),
    "unaligned": (ValueError, "out has strides", _unaligned((80, 100), np.float32)),
    "read-only": (ValueError, "out is read-only", _read_only((80, 100))),
}


@pytest.mark.parametrize("name", OUTS)
def test_rejected_out(name: str) -> None:
    error, message, out = OUTS[name]
    before = np.array(out, copy=True)
    with pytest.raises(error, match=message):
        log_mel(CLIP, out=out)
    np.testing.assert_array_equal(out, before)


@pytest.mark.parametrize("start", [0, 1, 7999, 15_999])
def test_overlap(start: int) -> None:
    memory = np.zeros(2 * SECOND, np.float32)
    memory[:SECOND] = CLIP
    out = memory[start : start + 8000].reshape(80, 100)
    with pytest.raises(ValueError, match="out overlaps audio"):
        log_mel(memory[:SECOND], out=out)
    np.testing.assert_array_equal(memory[:SECOND], CLIP)
    beside = memory[SECOND : SECOND + 8000].reshape(80, 100)
    np.testing.assert_array_equal(log_mel(memory[:SECOND], out=beside), log_mel(CLIP))


# --------------------------------------------------------------------- accepted input


def _with_strides(audio: Array) -> dict[str, Array]:
    interleaved = np.repeat(audio, 2)
    interleaved[1::2] = np.nan
    unaligned = _unaligned(audio.shape, audio.dtype.type)
    unaligned[:] = audio
    read_only = audio.copy()
    read_only.flags.writeable = False
    return {
        "every second": interleaved[::2],
        "backwards": audio[::-1].copy()[::-1],
        "unaligned": unaligned,
        "read-only": read_only,
        "big-endian": audio.astype(audio.dtype.newbyteorder(">")),
        "list": audio.tolist(),
    }


@pytest.mark.parametrize("kind", _with_strides(CLIP))
def test_any_layout_of_a_clip(kind: str) -> None:
    audio: Any = _with_strides(CLIP)[kind]
    np.testing.assert_array_equal(log_mel(audio), log_mel(CLIP))


@pytest.mark.parametrize("dtype", [np.float32, np.int16, np.float64])
def test_any_layout_of_a_batch(dtype: type) -> None:
    clips = np.stack([noise(2000, seed) for seed in range(3)])
    batch = (clips * 32767).astype(np.int16) if dtype is np.int16 else clips.astype(dtype)
    expected = log_mel(batch)
    wide: Array = np.zeros((3, 2500), dtype)
    wide[:, 250:2250] = batch
    for view in (
        wide[:, 250:2250],
        batch[::-1].copy()[::-1],
        batch.T.copy().T,
        batch[:, ::-1].copy()[:, ::-1],
        batch.astype(batch.dtype.newbyteorder(">")),
    ):
        np.testing.assert_array_equal(log_mel(view), expected)
    same = np.broadcast_to(batch[0], (3, 2000))
    np.testing.assert_array_equal(log_mel(same), np.stack([expected[0]] * 3))


def test_as_many_threads_as_c_can_count() -> None:
    np.testing.assert_array_equal(log_mel(CLIP, threads=2**31 - 1), log_mel(CLIP, threads=1))


def test_out_is_returned() -> None:
    out = np.full((80, 100), np.nan, np.float32)
    assert log_mel(CLIP, out=out) is out
    np.testing.assert_array_equal(out, log_mel(CLIP))
    assert log_mel(CLIP, np.int64(80), threads=np.int8(1)).shape == (80, 100)  # type: ignore[arg-type]


# --------------------------------------------------------------------- memory


class Guarded:
    """Bytes between two pages that nobody may touch; ``end`` puts an array at their end."""

    def __init__(self, size: int) -> None:
        page = mmap.PAGESIZE
        self.size = -(-size // page) * page
        self.map = mmap.mmap(-1, self.size + 2 * page)
        base = ctypes.addressof(ctypes.c_char.from_buffer(self.map))
        libc = ctypes.CDLL(None, use_errno=True)
        for address in (base, base + page + self.size):
            assert libc.mprotect(ctypes.c_void_p(address), page, 0) == 0  # PROT_NONE
        self.bytes = np.frombuffer(self.map, np.uint8)[page : page + self.size]

    def array(self, shape: tuple[int, ...], dtype: Any, *, end: bool) -> Array:
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        part = self.bytes[self.size - size :] if end else self.bytes[:size]
        return part.view(dtype).reshape(shape)


@pytest.mark.parametrize("smoothing", [None, "valid", "same"])
@pytest.mark.parametrize("dtype", [np.float32, np.int16])
@pytest.mark.parametrize("end", [False, True], ids=["start", "end"])
def test_nothing_outside_the_arrays_is_touched(end: bool, dtype: Any, smoothing: Any) -> None:
    """Input and output next to a page that may not be touched: a stray access kills the test."""
    memory_in, memory_out = Guarded(4 * 5000), Guarded(4 * 128 * 32)
    trim = 2 if smoothing == "valid" else 0
    for n in (480, 481, 1279, 1280, 1600, 1720, 2479, 2480, 4999, 5000):
        clip = noise(n)
        audio = memory_in.array((n,), dtype, end=end)
        audio[:] = clip if dtype is np.float32 else (clip * 32768).astype(np.int16)
        for n_mels, threads in ((80, 1), (128, 1), (80, 2)):
            shape = n_mels - trim, n // 160 - trim
            out = memory_out.array(shape, np.float32, end=end)
            memory_out.bytes[:] = 0xA5
            log_mel(audio, n_mels, smoothing=smoothing, threads=threads, out=out)
            np.testing.assert_array_equal(out, log_mel(audio, n_mels, smoothing=smoothing))
            used = np.zeros(memory_out.size, bool)
            used[memory_out.size - out.nbytes :] = end
            used[: out.nbytes] |= not end
            assert (memory_out.bytes[~used] == 0xA5).all()


# --------------------------------------------------------------------- C interface


def test_c_interface_reports_every_error_and_writes_nothing() -> None:
    """What Python has checked before, a C program may get wrong."""
    kernel = library()
    audio = noise(1000)
    out = np.full((80, 6), 7, np.float32)
    right = {
        "audio": audio.ctypes.data,
        "is_int16": 0,
        "clips": 1,
        "samples": 1000,
        "clip_stride": 1000,
        "pad_to": 0,
        "n_mels": 80,
        "smoothing": 0,
        "out": out.ctypes.data,
        "out_len": out.size,
        "threads": 1,
        "pool": 0,
        "bad_sample": 0,
    }
    wrong: list[tuple[dict[str, int], bytes]] = [
        ({"audio": 0}, b"audio or out is null"),
        ({"out": 0}, b"audio or out is null"),
        ({"n_mels": 79}, b"n_mels must be 80 or 128"),
        ({"smoothing": 3}, b"smoothing must be 0 (none), 1 (valid) or 2 (same)"),
        ({"smoothing": -1}, b"smoothing must be 0 (none), 1 (valid) or 2 (same)"),
        ({"clips": 0}, b"there must be at least one clip of at least one sample"),
        ({"clips": -1}, b"there must be at least one clip of at least one sample"),
        ({"samples": 0}, b"there must be at least one clip of at least one sample"),
        ({"pad_to": 999}, b"pad_to must be 0 or at least the number of samples"),
        ({"samples": 200}, b"at least 201 samples are needed, or pad_to"),
        ({"samples": 479, "smoothing": 1}, b"smoothing valid needs at least 3 frames"),
        ({"out_len": out.size - 1}, b"the features do not fit into out_len floats"),
        ({"clips": 2}, b"the features do not fit into out_len floats"),
        ({"clips": 2**61}, b"the features do not fit into out_len floats"),
        ({"pad_to": 2**62}, b"the features do not fit into out_len floats"),
        ({"n_mels": 128}, b"the features do not fit into out_len floats"),
        ({"threads": 0}, b"threads must be at least 1"),
    ]
    for change, message in wrong:
        status = kernel.log_mel(*{**right, **change}.values())
        assert kernel.message(status) == message
        assert (out == 7).all()
    assert kernel.message(kernel.log_mel(*right.values())) == b"success"
    np.testing.assert_array_equal(out, log_mel(audio))
    assert kernel.message(-1) == kernel.message(999) == b"unknown status"
    audio[5] = np.nan
    assert kernel.message(kernel.log_mel(*right.values())) == b"a sample is infinite or NaN"
    audio[5] = 1e30
    overflow = b"amplitudes are so large that float32 power overflows"
    assert kernel.message(kernel.log_mel(*right.values())) == overflow


def test_masked_arrays_are_refused() -> None:
    """Also without a masked sample; and as ``out``, whose mask would hide the features."""
    audio = np.ones(400, np.float32)
    for mask in (False, [True] + 399 * [False]):
        with pytest.raises(TypeError, match="audio is a masked array: expected samples without"):
            log_mel(np.ma.masked_array(audio, mask))
    with pytest.raises(TypeError, match=r"out is a MaskedArray: expected a numpy\.ndarray"):
        log_mel(audio, out=np.ma.zeros((80, 2), np.float32))
