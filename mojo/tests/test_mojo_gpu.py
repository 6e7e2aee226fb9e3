"""``log_mel`` for arrays in device memory: a stand-in for the driver executes the PTX.

What is shown: which arrays are taken and refused, what is launched on which stream, and that the
arguments which reach the driver give the right values. Not shown: what a GPU does with them.
"""

from __future__ import annotations

import ctypes
import importlib.util
import re
import shutil
import subprocess
from pathlib import Path

import fake_driver
import pytest
from whisper_mel_mojo import BuildError, gpu
from whisper_mel_mojo.builder import built_library
from whisper_mel_mojo.gpu import launcher
from whisper_mel_mojo.gpu.arrays import device_array
from whisper_mel_mojo.gpu.targets import NVIDIA, target_of

pytestmark = pytest.mark.torch

if importlib.util.find_spec("max") is None:
    pytest.skip("compiling for GPUs takes the package max", allow_module_level=True)


PRELUDE = """
import ctypes, sys
import numpy as np
from whisper_mel_mojo import gpu
from whisper_mel_mojo.gpu.cuda import driver
from whisper_mel_mojo.gpu.host import Buffer
from whisper_mel_reference import CLASS_A, WHISPER, score

cuda = driver()
def on_device(array):
    buffer = Buffer(array.shape, array.dtype)
    cuda.to_device(0, buffer.address, array.ctypes.data, array.nbytes)
    return buffer

def on_host(buffer):
    array = np.empty(buffer.shape, buffer.dtype)
    cuda.to_host(0, array.ctypes.data, buffer.address, buffer.size)
    return array

def same(features, audio, n_mels=80, lengths=None, **options):
    spec = WHISPER.replace(n_mels=n_mels, **options)
    assert score(features, audio, spec, lengths=lengths) <= CLASS_A

class Interface:
    def __init__(self, buffer, **changes):
        self.buffer = buffer
        self.__cuda_array_interface__ = {**buffer.__cuda_array_interface__, **changes}

def refused(expected, *arguments, **options):
    try:
        gpu.log_mel(*arguments, **options)
    except Exception as error:
        message = f"{type(error).__name__}: {error}"
        assert expected in message, message
    else:
        raise AssertionError(f"not refused, expected {expected!r}")

rng = np.random.default_rng(7)
pcm = rng.uniform(-0.1, 0.1, (3, 7000)).astype(np.float32)
audio = on_device(pcm)
out = Buffer((3, 80, 43), np.float32)
"""


def run(driver: Path, program: str, computes: bool = False) -> list[str]:
    """What reached the driver, as far as it is work."""
    fake_driver.run(driver, PRELUDE + program, computes=computes)
    work = ("cuLaunch", "nothing found", "cuStreamWait", "cuEventRecord")
    return [line for line in fake_driver.log(driver) if line.startswith(work)]


def test_values(driver: Path) -> None:
    """The kernel gets what was meant: float32 and int16, batches with gaps, lengths, smoothing."""
    log = run(
        driver,
        """
assert gpu.log_mel(audio, out=out) is out
same(on_host(out), pcm)

lengths = np.array([6000, 201, 7001])
padded = Buffer((3, 126, 48), np.float32)
gpu.log_mel(audio, 128, smoothing="valid", pad_to=8000, lengths=on_device(lengths), out=padded)
features = on_host(padded)
same(features[:2], pcm[:2], 128, smoothing="valid", pad_to=8000, lengths=lengths[:2])
assert np.isnan(features[2]).all()

whole = np.rint(pcm * 32768).astype(np.int16)
shorts = on_device(whole)
rows = Interface(shorts, shape=(2, 3000), strides=(28000, 2))
two = Buffer((2, 80, 18), np.float32)
gpu.log_mel(rows, out=two, smoothing="same")
same(on_host(two), whole[::2, :3000], smoothing="same")

one = Buffer((80, 43), np.float32)
flat = Interface(audio, shape=(7000,))
gpu.log_mel(flat, out=one)
same(on_host(one), pcm[0])
""",
        computes=True,
    )
    assert log.count("nothing found") == 4
    assert len([line for line in log if line.startswith("cuLaunch")]) == 4


def test_streams(driver: Path) -> None:
    """As given, in any form; it waits for the stream that the audio is made on."""
    log = run(
        driver,
        """
class Torch:
    cuda_stream = 0x111
class CuPy:
    ptr = 0x222
class Protocol:
    def __cuda_stream__(self):
        return 0, 0x333
anywhere = Interface(out, stream=None)
for stream in (0x4d2, Torch(), CuPy(), Protocol(), 0, None):
    gpu.log_mel(audio, out=anywhere, stream=stream)
made = Interface(audio, stream=0x555)
gpu.log_mel(made, out=anywhere)
gpu.log_mel(made, out=anywhere, stream=0x666)
gpu.log_mel(made, out=anywhere, stream=0)  # the legacy default stream, not the audio's
gpu.log_mel(Interface(audio, stream=None), out=anywhere, stream=0x777)
""",
    )
    made_elsewhere = ["cuEventRecord", "cuStreamWaitEvent"]
    # `audio` says that it is made on the legacy default stream, `made` on 0x555.
    expected = []
    for stream in ("0x4d2", "0x111", "0x222", "0x333"):
        expected += [*made_elsewhere, stream]
    expected += ["0x1", "0x1", "0x555", *made_elsewhere, "0x666", *made_elsewhere, "0x1", "0x777"]
    actual = [re.sub(r"cuLaunch.* stream=(\S+) .*", r"\1", line) for line in log]
    assert actual == expected


def test_what_is_refused(driver: Path) -> None:
    """With a reason, and without a launch."""
    log = run(
        driver,
        """
host = pcm.ctypes.data
# Of no device: arrays of the host by their type, addresses by what the driver knows.
refused("TypeError: audio is a ndarray in the memory of the host", pcm, out=out)
refused("TypeError: audio is a list: expected an array in a CUDA device", pcm.tolist(), out=out)
refused("TypeError: out is a ndarray in the memory of the host", audio, out=on_host(out))
refused("TypeError: lengths is a list", audio, out=out, lengths=[7000, 7000, 7000])
refused(f"ValueError: audio at {host:#x} is not in a device's memory, or has been freed",
        Interface(audio, data=(host, False)), out=out)
refused("ValueError: out is not in a device's memory, or has been freed (audio float32[3, 7000] at",
        audio, out=Interface(out, data=(host, False)))
gone = Buffer((3, 80, 43), np.float32)
freed = Interface(gone)
freed.buffer = None
cuda.free(0, gone.address)
del gone.address
refused("ValueError: out is not in a device's memory, or has been freed", audio, out=freed)

# Shorter than promised: the bug report's 97 frames where 98 are computed.
second = on_device(np.zeros(98 * 160 + 159, np.float32))
short = Buffer((80, 97), np.float32)
refused("ValueError: out has shape (80, 97): expected (80, 98)", second, out=short)
refused("ValueError: the features go beyond the end of out's allocation", second,
        out=Interface(short, shape=(80, 98)))
refused("ValueError: audio goes beyond the end of its allocation",
        Interface(audio, shape=(3, 7001)), out=out)

# Of the wrong kind.
refused("TypeError: audio has dtype float64: expected float32 or int16",
        Interface(audio, typestr="<f8", shape=(3, 3500)), out=out)
refused("TypeError: audio has dtype >f4", Interface(audio, typestr=">f4"), out=out)
refused("ValueError: audio has shape (1, 3, 7000)", Interface(audio, shape=(1, 3, 7000)), out=out)
refused("ValueError: audio is empty (shape (0, 7000))", Interface(audio, shape=(0, 7000)), out=out)
refused("ValueError: audio has strides (7000, 2): expected the samples of a clip side by side",
        Interface(audio, shape=(3, 3500), strides=(28000, 8)), out=out)
refused("ValueError: audio has strides (28001, 4): expected whole elements",
        Interface(audio, strides=(28001, 4)), out=out)
refused("expected it to be aligned",
        Interface(audio, data=(audio.address + 2, False), shape=(3, 6999)), out=out)
refused("ValueError: audio has 200 samples", Interface(audio, shape=(3, 200)), out=out)
refused("ValueError: audio has 7000 samples: expected at most pad_to=6999",
        audio, out=out, pad_to=6999)
refused("ValueError: n_mels=64: expected 80 or 128", audio, 64, out=out)
refused("TypeError: out has dtype int32", audio, out=Interface(out, typestr="<i4"))
refused("ValueError: out has shape (80, 43): expected (3, 80, 43)",
        audio, out=Interface(out, shape=(80, 43)))
refused("ValueError: out has strides", audio, out=Interface(out, strides=(4 * 80 * 43, 4, 4 * 80)))
refused("ValueError: out is read-only", audio, out=Interface(out, data=(out.address, True)))
refused("ValueError: out overlaps audio",
        audio, out=Interface(out, data=(audio.address + 83996, False)))
refused("TypeError: lengths has dtype float32", audio, out=out, lengths=audio)
refused("ValueError: out overlaps lengths", audio, out=out,
        lengths=Interface(on_device(np.full(3, 7000)), data=(out.address + 8, False)))
refused("ValueError: lengths has shape (2,)", audio, out=out, lengths=on_device(np.array([1, 2])))
refused("TypeError: out=None: expected an array, since audio is a Buffer", audio)
refused("TypeError: out=None: expected an array when a stream is given", audio, stream=7)
refused("TypeError: stream is a str", audio, out=out, stream="7")
refused("TypeError: stream is a bool", audio, out=out, stream=True)
refused("ValueError: stream=-7", audio, out=out, stream=-7)
""",
    )
    assert log == []


DLPACK = """
import ctypes

class Tensor(ctypes.Structure):
    _fields_ = [("data", ctypes.c_uint64), ("kind", ctypes.c_int32), ("device", ctypes.c_int32),
                ("ndim", ctypes.c_int32), ("code", ctypes.c_uint8), ("bits", ctypes.c_uint8),
                ("lanes", ctypes.c_uint16), ("shape", ctypes.POINTER(ctypes.c_int64)),
                ("strides", ctypes.POINTER(ctypes.c_int64)), ("offset", ctypes.c_uint64)]

class Managed(ctypes.Structure):
    _fields_ = [("tensor", Tensor), ("manager", ctypes.c_uint64), ("deleter", ctypes.c_uint64)]

class Versioned(ctypes.Structure):
    _fields_ = [("major", ctypes.c_uint32), ("minor", ctypes.c_uint32),
                ("manager", ctypes.c_uint64), ("deleter", ctypes.c_uint64),
                ("flags", ctypes.c_uint64), ("tensor", Tensor)]

new_capsule = ctypes.pythonapi.PyCapsule_New
new_capsule.restype = ctypes.py_object
new_capsule.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]

class Producer:
    '''An array of a library that speaks DLPack.'''

    def __init__(self, address, shape, code=2, bits=32, strides=None, offset=0, kind=2, flags=0,
                 versioned=True, major=1):
        self.numbers = (ctypes.c_int64 * len(shape))(*shape)
        self.steps = strides and (ctypes.c_int64 * len(shape))(*strides)
        tensor = Tensor(
            address, kind, 0, len(shape), code, bits, 1, self.numbers, self.steps, offset
        )
        self.versioned = versioned
        self.managed = (Versioned(major, 0, 0, 0, flags, tensor) if versioned
                        else Managed(tensor, 0, 0))
        self.kind = kind
        self.streams = []

    def __dlpack_device__(self):
        return self.kind, 0

    def __dlpack__(self, *, stream=None, **options):
        if options and not self.versioned:
            raise TypeError("unexpected keyword argument max_version")
        self.streams.append(stream)
        name = b"dltensor_versioned" if self.versioned else b"dltensor"
        return new_capsule(ctypes.addressof(self.managed), name, None)
"""


def test_dlpack(driver: Path) -> None:
    log = run(
        driver,
        DLPACK
        + """
for versioned in (False, True):
    producer = Producer(audio.address - 64, (3, 7000), offset=64, versioned=versioned)
    result = Buffer((3, 80, 43), np.float32)
    out = Producer(result.address, (3, 80, 43), versioned=versioned)
    gpu.log_mel(producer, out=out, stream=0x4d2)
    assert producer.streams == [0x4d2]  # on which the producer makes it ready
    same(on_host(result), pcm)
whole = Producer(audio.address, (2, 7000), strides=(14000, 1))
gpu.log_mel(whole, out=Producer(result.address, (2, 80, 43)))
same(on_host(result)[:2], pcm[::2])

refused("out is read-only", audio, out=Producer(result.address, (3, 80, 43), flags=1))
refused("in the memory of a ROCm device", Producer(audio.address, (3, 7000), kind=10), out=result)
refused("in the memory of the host (page-locked)", Producer(1, (3, 7000), kind=3), out=result)
refused("has DLPack's type code 4", Producer(audio.address, (3, 7000), code=4), out=result)
refused("audio has dtype float16", Producer(audio.address, (3, 7000), bits=16), out=result)
refused("audio comes by DLPack 2", Producer(audio.address, (3, 7000), major=2), out=result)
refused("audio is not in a device's memory, or has been freed (",
        Producer(pcm.ctypes.data, (3, 7000)), out=result)
""",
        computes=True,
    )
    assert len([line for line in log if line.startswith("cuLaunch")]) == 3


def test_samples_beyond_what_32_bits_count(driver: Path) -> None:
    """The second clip begins 2**31 samples after the first; nobody touches what lies between."""
    run(
        driver,
        """
stride = (1 << 31) + 160
memory = Buffer((stride + 7000,), np.int16)
shorts = np.rint(pcm * 32768).astype(np.int16)
for i in range(2):
    at = memory.address + 2 * i * stride
    cuda.to_device(0, at, shorts[i].ctypes.data, shorts[i].nbytes)
two = Buffer((2, 80, 43), np.float32)
gpu.log_mel(Interface(memory, shape=(2, 7000), strides=(2 * stride, 2)), out=two)
same(on_host(two), shorts[:2])
""",
        computes=True,
    )


@pytest.mark.parametrize("value", [None, b"FASTEST_FIRST"])
def test_the_order_of_devices_stays_as_it_is(
    driver: Path, value: bytes | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Child processes would inherit what Modular's library sets in C's environment."""
    if value is None:
        monkeypatch.delenv("CUDA_DEVICE_ORDER", raising=False)
    else:
        monkeypatch.setenv("CUDA_DEVICE_ORDER", value.decode())
    run(
        driver,
        f"""
get = ctypes.CDLL(None).getenv
get.restype = ctypes.c_char_p
gpu.log_mel(audio, out=out)
assert get(b"CUDA_DEVICE_ORDER") == {value!r}, get(b"CUDA_DEVICE_ORDER")
""",
    )


def test_arrays_of_other_libraries_are_not_imported(driver: Path) -> None:
    fake_driver.run(
        driver,
        PRELUDE + 'gpu.log_mel(audio, out=out)\nassert "torch" not in sys.modules\n',
    )


FAKE_TORCH = """
class FakeTorch:
    '''As much of PyTorch as gpu asks for, with memory of the stand-in.'''

    float32, bfloat16 = np.float32, object()

    class device:
        index = 0

    class Tensor(Buffer):
        is_cuda = True

        def __init__(self, shape, dtype):
            super().__init__(shape, dtype)
            self.device = FakeTorch.device

        @property
        def __cuda_array_interface__(self):
            interface = dict(super().__cuda_array_interface__, version=2)
            del interface["stream"]
            return interface

        def new_empty(self, shape, dtype):
            return FakeTorch.Tensor(shape, dtype)

    class cuda:
        stream = 0

        @classmethod
        def current_stream(cls, device):
            class Stream:
                cuda_stream = cls.stream

            return Stream

sys.modules["torch"] = FakeTorch
tensor = FakeTorch.Tensor(pcm.shape, pcm.dtype)
cuda.to_device(0, tensor.address, pcm.ctypes.data, pcm.nbytes)
result = gpu.log_mel(tensor)
assert type(result) is FakeTorch.Tensor
same(on_host(result), pcm)
FakeTorch.cuda.stream = 0x99
gpu.log_mel(tensor)
gpu.log_mel(tensor, out=result, stream=0x4d2)
"""


def test_torch_says_which_stream_and_makes_the_output(driver: Path) -> None:
    log = run(driver, FAKE_TORCH, computes=True)
    actual = [re.sub(r"cuLaunch.* stream=(\S+) .*", r"\1", line) for line in log]
    assert [line for line in actual if line != "nothing found"] == [
        *("0x1", "0x99"),
        *("cuEventRecord", "cuStreamWaitEvent", "0x4d2"),  # for what is done on 0x99
    ]


# PyTorch itself, and tensors in the stand-in's memory, which say what tensors of CUDA say. Where
# PyTorch would go to CUDA's kernels, and finds none in a build for CPUs, the dispatcher is told.
OPERATOR = """
import torch
from whisper_mel_mojo import torch as operator
from whisper_mel_mojo.drop_in import log_mel_spectrogram

op = torch.ops.whisper_mel.log_mel
CUDA, AUTOGRAD = torch._C.DispatchKey.CUDA, torch._C.DispatchKey.AutogradCUDA
ANY_AUTOGRAD = torch._C.DispatchKey.AutogradFunctionality
copies = []

class OnDevice(torch.Tensor):
    is_cuda = True
    device = torch.device("cuda", 0)

    @property
    def __cuda_array_interface__(self):
        if self.requires_grad:
            raise RuntimeError("Can't get __cuda_array_interface__ on Variable that requires grad.")
        size = self.element_size()
        return {"shape": tuple(self.shape), "strides": tuple(size * s for s in self.stride()),
                "typestr": {torch.float32: "<f4", torch.int16: "<i2"}[self.dtype],
                "data": (self.data_ptr(), False), "version": 2}

    @classmethod
    def __torch_function__(cls, function, types, args=(), options=None):
        if function in (op, op.default):
            below = torch._C._dispatch_tls_is_dispatch_key_excluded(ANY_AUTOGRAD)
            keys = torch._C.DispatchKeySet(CUDA if below else AUTOGRAD)
            return op.default.redispatch(keys, *args, **(options or {}))
        with torch._C.DisableTorchFunctionSubclass():
            result = function(*args, **(options or {}))
        if not isinstance(result, torch.Tensor):
            return result
        if result.numel() == 0 or cuda.device_of(result.data_ptr()) is not None:
            return result.as_subclass(cls)
        copies.append(function.__name__)
        return to_device(result)

buffers = []
stand_in = ctypes.CDLL("libcuda.so.1")
stand_in.fake_written.argtypes = 2 * [ctypes.c_size_t]

def to_device(tensor):
    buffers.append(Buffer((tensor.numel(),), f"V{tensor.element_size()}"))
    memory = (ctypes.c_char * buffers[-1].size).from_address(buffers[-1].address)
    result = torch.frombuffer(memory, dtype=tensor.dtype).view(tensor.shape)
    result.copy_(tensor)
    stand_in.fake_written(buffers[-1].address, buffers[-1].size)  # of which it cannot know
    return result.as_subclass(OnDevice)

class Stream:
    cuda_stream = 0x99

torch.cuda.current_stream = lambda device: Stream
clips = to_device(torch.from_numpy(pcm))
"""


def test_the_operator_of_torch(driver: Path) -> None:
    """One launch on the current stream; copies only where the operator's documentation has them."""
    pytest.importorskip("torch", reason="in the layer `test`")
    log = run(
        driver,
        OPERATOR
        + """
def there(features, *words, **options):
    assert type(features) is OnDevice and features.dtype == torch.float32
    same(features.numpy(), *words, **options)

there(op(clips), pcm)  # builds the kernel and loads it
there(operator.log_mel(clips[0], 128, pad_to=8000, smoothing="same"), pcm[0], 128, pad_to=8000,
     smoothing="same")
there(operator.LogMel(smoothing="valid")(clips[:, 5:4000:1]), pcm[:, 5:4000], smoothing="valid")
assert copies == ["new_empty"] * 3, copies
copies.clear()
there(op(clips.double()), pcm)
assert copies == ["double", "to", "new_empty"], copies
copies.clear()
there(op(clips[:, ::2]), pcm[:, ::2])
assert copies == ["clone", "new_empty"], copies
whole = np.rint(pcm * 32768).astype(np.int16)
there(op(to_device(torch.from_numpy(whole))), whole)
there(log_mel_spectrogram(clips, padding=1000), pcm, pad_to=8000)
""",
        computes=True,
    )
    launches = [line for line in log if line.startswith("cuLaunch")]
    assert len(launches) == 7
    assert all("stream=0x99 " in line for line in launches)
    asked = fake_driver.log(driver)
    later = {line.split()[0] for line in asked[asked.index(launches[0]) :]}
    assert {call for call in later if call.startswith("cu")} == {"cuLaunchKernelEx", "cuMemAlloc"}


def test_the_operator_of_torch_with_gradients_and_errors(driver: Path) -> None:
    pytest.importorskip("torch", reason="in the layer `test`")
    log = run(
        driver,
        OPERATOR
        + """
wanting = clips[:, :4000].requires_grad_()
with torch.no_grad():
    assert not op(wanting).requires_grad
assert op(wanting).grad_fn is not None

for audio, options, expected in (
    (clips[:, :200], {}, "audio has 200 samples: expected at least 201"),
    (clips[:, :0], {}, "audio is empty"),
    (clips.half(), {}, "audio has dtype torch.float16: expected float32, float64 or int16"),
    (clips.bfloat16(), {}, "audio has dtype torch.bfloat16: expected"),
    (clips[None], {}, "audio has shape (1, 3, 7000): expected"),
    (clips, {"n_mels": 81}, "n_mels=81: expected"),
    (clips, {"threads": 0}, "threads=0: expected at least 1"),
    (clips, {"pad_to": 6999}, "expected at most pad_to=6999"),
):
    try:
        op(audio, **options)
    except (TypeError, ValueError) as error:
        assert expected in str(error), error
    else:
        raise AssertionError(expected)
""",
    )
    assert len(log) == 2, log


def test_tensors_of_torch_on_the_host_are_refused() -> None:
    torch = pytest.importorskip("torch", reason="in the layer `test`")
    with pytest.raises(TypeError, match="audio is a Tensor in the memory of the host"):
        gpu.log_mel(torch.zeros(16000))


def test_arrays_that_lie_in_pieces() -> None:
    class Array:
        __cuda_array_interface__ = {
            "shape": (2, 3),
            "typestr": "<f4",
            "data": (1000, False),
            "version": 2,
            "strides": (-400, 8),
        }

    array = device_array("audio", Array(), 1)
    assert array.strides == (-100, 2)
    assert array.extent == (1000 - 400, 1000 + 16 + 4)
    assert not array.is_contiguous
    assert array._replace(strides=(3, 1)).is_contiguous
    assert array._replace(shape=(1, 3), strides=(7, 1)).is_contiguous


def test_without_a_device() -> None:
    """An error that says so, from the API and from the suite's front-end; nothing else breaks."""
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        pass
    else:
        pytest.skip("there is a CUDA driver here")
    from whisper_mel_mojo.frontends import mojo_gpu, mojo_max_gpu, mojo_torch_gpu

    class Array:
        __cuda_array_interface__ = {
            "shape": (16000,),
            "typestr": "<f4",
            "data": (4096, False),
            "version": 3,
        }

    class Out:
        __cuda_array_interface__ = {
            "shape": (80, 100),
            "typestr": "<f4",
            "data": (1 << 20, False),
            "version": 3,
        }

    uses = (mojo_gpu, mojo_torch_gpu, mojo_max_gpu, lambda: gpu.log_mel(Array(), out=Out()))
    for use in uses:
        with pytest.raises(gpu.DeviceError, match="there is no CUDA device"):
            use()


def test_the_kernel_is_built_for_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WHISPER_MEL_ACCELERATOR", raising=False)
    assert target_of((8, 9)).options == ("--target-accelerator", "sm_89")
    assert target_of((9, 0)).options == ("--target-accelerator", "sm_90a", "-D", "CLUSTERS")
    assert not target_of((12, 0)).clusters  # too little shared memory for ours
    with pytest.raises(BuildError, match=r"not built for .* capability 6\.1"):
        target_of((6, 1))
    monkeypatch.setenv("WHISPER_MEL_ACCELERATOR", "sm_80")
    assert target_of((6, 1)).name == "sm_80"
    monkeypatch.setenv("WHISPER_MEL_ACCELERATOR", "sm_1")
    with pytest.raises(BuildError, match="WHISPER_MEL_ACCELERATOR=sm_1: expected one of sm_75"):
        target_of((9, 0))


def test_the_front_end_of_the_suite(driver: Path) -> None:
    """Arrays of the host, there and back, held to the suite's error policy."""
    fake_driver.run(
        driver,
        PRELUDE
        + """
from whisper_mel_mojo.frontends import mojo_gpu

front_end = mojo_gpu()
assert (front_end.name, front_end.device) == ("mojo-gpu", "cuda")
backwards = pcm[::-1]
for options in ({}, {"pad_to": 7500, "smoothing": "same"}):
    same(front_end.log_mel(backwards, 128, **options), backwards, 128, **options)
pcm[1, 5] = np.nan
for wrong, message in ((pcm, "audio[(1, 5)] is nan"), (pcm[0] * 1e20, "its power overflows")):
    try:
        front_end.log_mel(wrong)
    except ValueError as error:
        assert message in str(error), error
    else:
        raise AssertionError(message)
try:
    cuda.allocate(0, 1 << 40)
except MemoryError as error:
    assert str(error) == f"device 0 has no {1 << 40} bytes of memory (error 2)"
else:
    raise AssertionError("there is not as much memory")
""",
        computes=True,
    )


IN_A_CHILD = """
import os, signal

def in_a_child(call):
    child = os.fork()
    if child == 0:
        signal.alarm(60)  # a child that waits for ever is killed
        try:
            call()
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
"""


def test_a_child_that_is_forked_after_the_first_call_gets_an_error(driver: Path) -> None:
    """CUDA serves no such child. It is told so even if another thread was in a call meanwhile."""
    run(
        driver,
        IN_A_CHILD
        + """
from whisper_mel_mojo.gpu import host, launcher

def call():
    message = "this process was forked from one that had used CUDA"
    refused(f"DeviceError: {message}", audio, out=out)
    try:
        host.log_mel(pcm)
    except gpu.DeviceError as error:
        assert message in str(error)
        os._exit(7)

gpu.log_mel(audio, out=out)
with launcher._lock:
    assert in_a_child(call) == 7
gpu.log_mel(audio, out=out)
""",
    )


def test_a_child_may_be_the_first_to_call(driver: Path) -> None:
    """The stand-in serves processes as a driver does: whoever initialises it."""
    fake_driver.run(
        driver,
        IN_A_CHILD
        + """
import ctypes
import numpy as np
from whisper_mel_mojo.gpu import cuda, host

def call():
    if host.log_mel(np.zeros(1600, np.float32)).shape == (80, 10):
        os._exit(7)

def served():
    os._exit(ctypes.CDLL("libcuda.so.1").cuInit(0))

assert in_a_child(call) == 7
assert in_a_child(served) == 0
cuda.driver()
assert in_a_child(served) == 3
""",
    )


def test_a_library_that_was_compiled_in_an_environment_that_is_gone(
    driver: Path, tmp_path: Path
) -> None:
    """Of those in the cache: they name the folder that Modular's libraries were in then."""
    library = tmp_path / "launch.so"
    shutil.copyfile(built_library(launcher.LAUNCH, *NVIDIA["sm_90a"].options), library)
    subprocess.run(["patchelf", "--set-rpath", "/environment/that/is/gone", library], check=True)
    program = """
import ctypes, pathlib, sys
from whisper_mel_mojo.gpu import launcher

try:
    ctypes.CDLL(sys.argv[1])
except OSError as error:
    print(error)
print(launcher.opened(pathlib.Path(sys.argv[1])).whisper_mel_launch_message(0))
"""
    alone, opened = fake_driver.run(driver, program, str(library)).splitlines()
    assert "cannot open shared object file" in alone
    assert opened.startswith("b'")
