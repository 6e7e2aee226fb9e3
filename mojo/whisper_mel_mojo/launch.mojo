"""The kernel on a device: one launch for any batch, from device memory to device memory.

Nothing is copied, allocated or waited for; the launch goes to the stream that the caller names.
Built for a device (`--target-accelerator`).
"""

from max.gpu.host import DeviceContext, DeviceStream, Dim, FuncAttribute
from std.ffi import _Global
from std.sys import has_accelerator, is_defined

from mel_kernel import (
    BLOCK_GROUP,
    CLUSTER_GROUP,
    OK,
    WORKERS,
    Batch,
    Block,
    Floats,
    Memory,
    argument_error,
    cluster_blocks,
    cluster_tile,
    mel_kernel,
)

comptime NO_DEVICE = 100
comptime FAILED = 101
comptime CLUSTERS = is_defined["CLUSTERS"]()
"""The device's blocks can read each other's shared memory: sm_90 and newer."""


struct Kernel[n_mels: Int, clusters: Bool](Movable):
    """The kernel for one number of bands, loaded."""

    comptime GROUP = CLUSTER_GROUP if Self.clusters else BLOCK_GROUP
    comptime TILE = cluster_tile(Self.n_mels) if Self.clusters else BLOCK_GROUP
    comptime BLOCKS = cluster_blocks(Self.n_mels) if Self.clusters else 1
    comptime SHARED = 4 * Block[Self.n_mels, Self.GROUP, Self.TILE, Self.BLOCKS].SIZE
    comptime function = mel_kernel[Self.n_mels, Self.GROUP, Self.TILE, Self.BLOCKS]
    comptime Loaded = type_of(DeviceContext().compile_function[Self.function]())

    var loaded: Self.Loaded

    def __init__(out self, context: DeviceContext) raises:
        self.loaded = context.compile_function[Self.function](
            func_attribute=FuncAttribute.MAX_DYNAMIC_SHARED_SIZE_BYTES(UInt32(Self.SHARED))
        )

    def launch(self, stream: DeviceStream, batch: Batch, clips: Int) raises:
        stream.enqueue_function(
            self.loaded,
            batch.audio,
            batch.lengths,
            batch.out_,
            Int32(batch.is_int16),
            Int32(batch.ragged),
            Int32(batch.smoothing),
            Int64(batch.samples),
            Int64(batch.clip_stride),
            Int64(batch.pad_to),
            grid_dim=clips * Self.BLOCKS,
            block_dim=WORKERS * Self.GROUP,
            cluster_dim=Dim(Self.BLOCKS, 1, 1),
            shared_mem_bytes=Self.SHARED,
        )


struct State(Movable):
    """What is loaded once and kept."""

    var context: DeviceContext
    var streams: Dict[Int, DeviceStream]
    var bands80: Kernel[80, CLUSTERS]
    var bands128: Kernel[128, CLUSTERS]

    def __init__(out self) raises:
        self.context = DeviceContext()
        self.streams = Dict[Int, DeviceStream]()
        self.bands80 = Kernel[80, CLUSTERS](self.context)
        self.bands128 = Kernel[128, CLUSTERS](self.context)


def new_state() -> Optional[State]:
    try:
        return State()
    except error:
        print("whisper-mel:", error)
        return None


comptime STATE = _Global["whisper_mel_device", new_state]


@export
def whisper_mel_launch(
    audio: Int,
    is_int16: Int,
    clips: Int,
    samples: Int,
    clip_stride: Int,
    pad_to: Int,
    n_mels: Int,
    smoothing: Int,
    out_: Int,
    out_len: Int,
    lengths: Int,
    stream: Int,
) abi("C") -> Int:
    """As `whisper_mel_log_mel`, of device memory, and without waiting for the result.

    lengths: 0, or the address of an int64 for each clip, in device memory: the samples of it that
        count. stream: the CUDA stream. Clips that are not finite or too short become NaN.

    Calls must not overlap. Two more statuses: NO_DEVICE, and FAILED if the driver refused; why is
    printed.
    """
    comptime if has_accelerator():
        var status = argument_error(
            audio, clips, samples, pad_to, n_mels, smoothing, out_, out_len, 1
        )
        if status != OK:
            return status
        try:
            ref kept = STATE.get_or_create_ptr()[]
            if not kept:
                return NO_DEVICE
            ref state = kept.value()
            if stream not in state.streams:
                state.streams[stream] = state.context.create_external_stream(
                    OpaquePointer[MutAnyOrigin](unsafe_from_address=stream)
                )
            var batch = Batch(
                Floats(unsafe_from_address=audio),
                is_int16 != 0,
                Memory[DType.int64](unsafe_from_address=lengths if lengths != 0 else out_),
                lengths != 0,
                samples,
                clip_stride,
                pad_to,
                smoothing,
                Floats(unsafe_from_address=out_),
            )
            if n_mels == 80:
                state.bands80.launch(state.streams[stream], batch, clips)
            else:
                state.bands128.launch(state.streams[stream], batch, clips)
            return OK
        except error:
            print("whisper-mel:", error)
            return FAILED
    else:
        return NO_DEVICE
