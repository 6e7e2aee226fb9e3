"""The kernel as an operation of MAX graphs; `max.py` puts it into one."""

from extensibility import InputTensor, OutputTensor, register
from max.gpu.host import DeviceContext, Dim, FuncAttribute
from max.gpu.host.info import is_cpu
from std.ffi import external_call
from std.memory import bitcast
from std.sys.info import _accelerator_arch

from .mel_kernel import (
    BAD_PAD_TO,
    BFLOAT16,
    DIRECT,
    FLOAT16,
    FLOAT32,
    Floats,
    Form,
    HOP,
    Mapping,
    Memory,
    NOT_FINITE,
    OK,
    OVERFLOWED,
    TOO_FEW_FRAMES,
    TOO_SHORT,
    argument_error,
    kind_of,
    least_of,
    whisper_mel_log_mel_as,
)

comptime ARCHITECTURE = _accelerator_arch()
comptime CLUSTERS = (
    "sm_90" in ARCHITECTURE or "sm_100" in ARCHITECTURE or "sm_103" in ARCHITECTURE
)
"""As `gpu/targets.py` says of what `launch.mojo` is built for."""


def code_of[T: DType]() -> Int:
    """The kernel's code for a type of the output."""
    comptime assert T == DType.float32 or T == DType.float16 or T == DType.bfloat16, "a float"
    return FLOAT32 if T == DType.float32 else (FLOAT16 if T == DType.float16 else BFLOAT16)


@register("whisper_mel.log_mel")
struct LogMel:
    """From `[clips][samples]` to `[clips][n_mels][frames]` (two smaller each way if `valid`)."""

    @staticmethod
    def execute[
        target: StaticString,
        T: DType,
        Out: DType,
        n_mels: Int,
        pad_to: Int,
        smoothing: Int,
        maximum: Int,
        fixed: Int,
    ](
        output: OutputTensor[dtype=Out, rank=3, ...],
        audio: InputTensor[dtype=T, rank=2, ...],
        ctx: DeviceContext,
    ) raises:
        """Computes them. maximum: as for `whisper_mel_log_mel_as`, with the bits of `fixed`."""
        comptime assert T == DType.float32 or T == DType.int16, "samples are float32 or int16"
        comptime FIXED_MAXIMUM = bitcast[DType.float64, 1](Int64(fixed))
        comptime FORM = Form(maximum, least_of(FIXED_MAXIMUM), code_of[Out]())
        var clips = audio.dim_size(0)
        var samples = audio.dim_size(1)
        comptime if not is_cpu[target]():
            # What else is wrong the graph knows, or makes a clip NaN.
            var status = argument_error(
                Int(audio.unsafe_ptr()),
                clips,
                samples,
                pad_to,
                n_mels,
                smoothing,
                Int(output.unsafe_ptr()),
                clips * output.dim_size(1) * output.dim_size(2),
                1,
            )
            if status != OK:
                raise Error("whisper_mel.log_mel: ", describe(status, samples, pad_to, 0))
            var rows = max(samples, pad_to) // HOP
            var items = clips * FORM.chunks(rows)
            var kind = kind_of(CLUSTERS, clips, smoothing, FORM)
            comptime for possible in range(DIRECT + BFLOAT16 + 1):
                comptime if (
                    possible == kind_of(CLUSTERS, 1, smoothing, FORM)
                    or possible == kind_of(CLUSTERS, Int.MAX, smoothing, FORM)
                ):
                    if possible == kind:
                        comptime M = Mapping[n_mels, CLUSTERS, possible]
                        var blocks = M.blocks(items, rows)
                        ctx.enqueue_function[M.kernel](
                            Floats(unsafe_from_address=Int(audio.unsafe_ptr())),
                            Memory[DType.int64](
                                unsafe_from_address=Int(output.unsafe_ptr())
                            ),  # not read
                            Floats(unsafe_from_address=Int(output.unsafe_ptr())),
                            Int32(T == DType.int16),
                            Int32(0),
                            Int32(smoothing),
                            Int64(samples),
                            Int64(samples),
                            Int64(pad_to),
                            Int32(blocks),
                            Int32(FORM.maximum),
                            FORM.least,
                            Int32(FORM.dtype),
                            grid_dim=items * blocks,
                            block_dim=M.THREADS,
                            cluster_dim=Dim(M.cluster(items), 1, 1),
                            shared_mem_bytes=M.SHARED,
                            func_attribute=FuncAttribute.MAX_DYNAMIC_SHARED_SIZE_BYTES(
                                UInt32(M.SHARED)
                            ),
                        )
        else:
            # An untracked pointer: the compiler does not see what is written to its address.
            var bad_sample = Memory[DType.int64](
                unsafe_from_address=external_call["calloc", Int](1, 8)
            )
            var status = whisper_mel_log_mel_as(
                Int(audio.unsafe_ptr()),
                Int(T == DType.int16),
                clips,
                samples,
                samples,
                pad_to,
                n_mels,
                smoothing,
                Int(output.unsafe_ptr()),
                clips * output.dim_size(1) * output.dim_size(2),
                1,
                0,
                Int(bad_sample),
                maximum,
                FIXED_MAXIMUM,
                FORM.dtype,
            )
            var which = Int(bad_sample[])
            external_call["free", NoneType](Int(bad_sample))
            if status != OK:
                raise Error("whisper_mel.log_mel: ", describe(status, samples, pad_to, which))


def describe(status: Int, samples: Int, pad_to: Int, bad_sample: Int) -> String:
    """What was wrong, as far as it can be: `max.py` has checked all that a graph knows."""
    if status == TOO_SHORT:
        return String("audio has ", samples, " samples: expected at least 201, or pad_to")
    if status == BAD_PAD_TO:
        return String("audio has ", samples, " samples: expected at most pad_to=", pad_to)
    if status == TOO_FEW_FRAMES:
        return String("audio has ", samples, " samples: smoothing='valid' needs at least 3 frames")
    if status == NOT_FINITE:
        return String(
            "audio[",
            bad_sample // samples,
            ", ",
            bad_sample % samples,
            "] is infinite or NaN: expected finite samples",
        )
    if status == OVERFLOWED:
        return "audio has amplitudes so large that its power overflows float32"
    return String("status ", status)
