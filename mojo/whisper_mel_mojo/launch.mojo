"""The kernel on a device: one launch for any batch, from device memory to device memory.

Nothing is copied, allocated or waited for; the launch goes to the stream that the caller names.
Host pointers and buffers that are too small are refused before the launch: an invalid address would
break the CUDA context of the whole process, and only later. Built for a device
(`--target-accelerator`).
"""

from max.gpu.host import DeviceContext, DeviceStream, Dim, FuncAttribute
from std.ffi import _Global, external_call
from std.memory import ArcPointer
from std.sys import has_accelerator, is_defined

from mel_kernel import (
    CHUNK,
    CHUNKS_SMOOTHED,
    CLIP,
    DIRECT,
    FEW,
    FLOAT32,
    FORMED,
    HOP,
    MANY,
    NONE,
    OK,
    SMOOTHED,
    VALID,
    Batch,
    Floats,
    Form,
    Mapping,
    Memory,
    address_of,
    argument_error,
    form_error,
    kind_of,
    least_of,
)

comptime NO_DEVICE = 100
comptime FAILED = 101
comptime NOT_DEVICE_MEMORY = 110
comptime OTHER_DEVICE = 120
comptime BEYOND_MEMORY = 130
"""To the last three the argument is added: AUDIO, LENGTHS or OUT."""
comptime AUDIO = 0
comptime LENGTHS = 1
comptime OUT = 2

comptime LEGACY_STREAM = 1
"""The default stream by name; 0 means the same, and no stream at all in other places."""
comptime CLUSTERS = is_defined["CLUSTERS"]()
"""The device's blocks can read each other's shared memory, and have 227 KiB of it each."""


# ===--------------------------------------------------------------------------------------=== #
# What the driver knows of an address
# ===--------------------------------------------------------------------------------------=== #

comptime MEMORY_TYPE = 2
comptime DEVICE_ORDINAL = 9
"""Attributes of pointers (CUDA driver API, CUpointer_attribute)."""
comptime TYPE_DEVICE = 2
comptime GRANULE = 2 << 20
"""Bytes; mapped memory (cuMemMap) is a row of ranges that end at multiples of this."""


struct Driver(Movable):
    """The functions of the CUDA driver library that are called here; 0 where there is none."""

    comptime Result[T: AnyType] = Pointer[T, MutAnyOrigin]
    comptime GetAttribute = def(Self.Result[Int32], Int32, Int) thin abi("C") -> Int32
    comptime GetRange = def(Self.Result[Int], Self.Result[Int], Int) thin abi("C") -> Int32
    comptime Retain = def(Self.Result[Int], Int32) thin abi("C") -> Int32
    comptime Push = def(Int) thin abi("C") -> Int32
    comptime Pop = def(Self.Result[Int]) thin abi("C") -> Int32

    var get_attribute: Int
    var get_range: Int
    var retain: Int
    var push: Int
    var pop: Int

    def __init__(out self):
        comptime RTLD_NOW = 2
        var library = external_call["dlopen", Int](address_of("libcuda.so.1"), Int32(RTLD_NOW))

        def find(library: Int, name: StaticString) -> Int:
            return external_call["dlsym", Int](library, address_of(name)) if library != 0 else 0

        self.get_attribute = find(library, "cuPointerGetAttribute")
        self.get_range = find(library, "cuMemGetAddressRange_v2")
        self.retain = find(library, "cuDevicePrimaryCtxRetain")
        self.push = find(library, "cuCtxPushCurrent_v2")
        self.pop = find(library, "cuCtxPopCurrent_v2")
        var initialise = find(library, "cuInit")
        if initialise != 0:
            _ = Pointer(to=initialise).unsafe_bitcast[def(Int32) thin abi("C") -> Int32]()[](0)

    def exists(self) -> Bool:
        return (
            self.get_attribute != 0
            and self.get_range != 0
            and self.retain != 0
            and self.push != 0
            and self.pop != 0
        )

    def attribute(self, which: Int, address: Int) -> Int:
        """A pointer's attribute; -1: the driver does not know the address."""
        var function = self.get_attribute
        var value = Int32(-1)
        var status = Pointer(to=function).unsafe_bitcast[Self.GetAttribute]()[](
            Pointer(to=value).as_unsafe_any_origin(), Int32(which), address
        )
        return Int(value) if status == 0 else -1

    def end_of_range(self, address: Int) -> Int:
        """Where the allocation ends in which the address lies; 0: in none."""
        var function = self.get_range
        var base = 0
        var size = 0
        var status = Pointer(to=function).unsafe_bitcast[Self.GetRange]()[](
            Pointer(to=base).as_unsafe_any_origin(),
            Pointer(to=size).as_unsafe_any_origin(),
            address,
        )
        return base + size if status == 0 else 0

    def primary_context(self, device: Int) -> Int:
        """The context that all of a process share; 0: none."""
        var function = self.retain
        var context = 0
        var status = Pointer(to=function).unsafe_bitcast[Self.Retain]()[](
            Pointer(to=context).as_unsafe_any_origin(), Int32(device)
        )
        return context if status == 0 else 0

    def push_context(self, context: Int) -> Bool:
        var function = self.push
        return Pointer(to=function).unsafe_bitcast[Self.Push]()[](context) == 0

    def pop_context(self):
        var function = self.pop
        var context = 0
        _ = Pointer(to=function).unsafe_bitcast[Self.Pop]()[](
            Pointer(to=context).as_unsafe_any_origin()
        )

    def fault(self, address: Int, size: Int, device: Int) -> Int:
        """OK if these bytes are the device's own memory, else why not."""
        var at = address
        while True:
            var known = self.attribute(MEMORY_TYPE, at) == TYPE_DEVICE
            var end = self.end_of_range(at) if known else 0
            if end <= at:
                return NOT_DEVICE_MEMORY if at == address else BEYOND_MEMORY
            if self.attribute(DEVICE_ORDINAL, at) != device:
                return OTHER_DEVICE if at == address else BEYOND_MEMORY
            at = end
            if at >= address + size:
                return OK
            if at % GRANULE != 0:
                return BEYOND_MEMORY


# ===--------------------------------------------------------------------------------------=== #
# Launches
# ===--------------------------------------------------------------------------------------=== #


struct Kernel[n_mels: Int, kind: Int](Movable):
    """One kernel, loaded."""

    comptime M = Mapping[Self.n_mels, CLUSTERS, Self.kind]
    comptime Loaded = type_of(DeviceContext().compile_function[Self.M.kernel]())

    var loaded: Self.Loaded

    def __init__(out self, context: DeviceContext) raises:
        self.loaded = context.compile_function[Self.M.kernel](
            func_attribute=FuncAttribute.MAX_DYNAMIC_SHARED_SIZE_BYTES(UInt32(Self.M.SHARED))
        )

    def launch(self, stream: DeviceStream, batch: Batch, clips: Int) raises:
        var items = clips * batch.chunks()
        var blocks = Self.M.blocks(items, batch.rows())
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
            Int32(blocks),
            Int32(batch.form.maximum),
            batch.form.least,
            Int32(batch.form.dtype),
            grid_dim=items * blocks,
            block_dim=Self.M.THREADS,
            cluster_dim=Dim(Self.M.cluster(items), 1, 1),
            shared_mem_bytes=Self.M.SHARED,
        )


struct Later[n_mels: Int, kind: Int](Movable):
    """One kernel, loaded by the first launch that takes it."""

    var kernel: Optional[Kernel[Self.n_mels, Self.kind]]

    def __init__(out self):
        self.kernel = None

    def load(mut self, context: DeviceContext) raises:
        if not self.kernel:
            self.kernel = Kernel[Self.n_mels, Self.kind](context)

    def launch(
        mut self, context: DeviceContext, stream: DeviceStream, batch: Batch, clips: Int
    ) raises:
        self.load(context)
        self.kernel.value().launch(stream, batch, clips)


struct Kernels[n_mels: Int](Movable):
    """The kernels for one number of bands. Those for the plain form are loaded at once."""

    comptime FEWEST = FEW if CLUSTERS else MANY  # without clusters `many` serves few as well

    var many: Kernel[Self.n_mels, MANY]
    var few: Later[Self.n_mels, Self.FEWEST]
    var smoothed: Kernel[Self.n_mels, SMOOTHED]
    var formed: Later[Self.n_mels, FORMED]
    var direct: Later[Self.n_mels, DIRECT]
    var direct_float16: Later[Self.n_mels, DIRECT + 1]
    var direct_bfloat16: Later[Self.n_mels, DIRECT + 2]

    def __init__(out self, context: DeviceContext) raises:
        self.many = Kernel[Self.n_mels, MANY](context)
        self.few = Later[Self.n_mels, Self.FEWEST]()
        comptime if CLUSTERS:
            self.few.load(context)
        self.smoothed = Kernel[Self.n_mels, SMOOTHED](context)
        self.formed = Later[Self.n_mels, FORMED]()
        self.direct = Later[Self.n_mels, DIRECT]()
        self.direct_float16 = Later[Self.n_mels, DIRECT + 1]()
        self.direct_bfloat16 = Later[Self.n_mels, DIRECT + 2]()

    def launch(
        mut self, context: DeviceContext, stream: DeviceStream, batch: Batch, clips: Int
    ) raises:
        var kind = kind_of(CLUSTERS, clips, batch.smoothing, batch.form)
        if kind == DIRECT:
            self.direct.launch(context, stream, batch, clips)
        elif kind == DIRECT + 1:
            self.direct_float16.launch(context, stream, batch, clips)
        elif kind == DIRECT + 2:
            self.direct_bfloat16.launch(context, stream, batch, clips)
        elif kind == FORMED:
            self.formed.launch(context, stream, batch, clips)
        elif kind == SMOOTHED:
            self.smoothed.launch(stream, batch, clips)
        elif kind == FEW:
            self.few.launch(context, stream, batch, clips)
        else:
            self.many.launch(stream, batch, clips)


struct Device(Movable):
    """What is loaded once for a device, and kept."""

    var primary: Int
    var context: DeviceContext
    var streams: Dict[Int, DeviceStream]
    var bands80: Kernels[80]
    var bands128: Kernels[128]

    def __init__(out self, number: Int, primary: Int) raises:
        self.primary = primary
        self.context = DeviceContext(device_id=number)
        self.streams = Dict[Int, DeviceStream]()
        self.bands80 = Kernels[80](self.context)
        self.bands128 = Kernels[128](self.context)

    def launch(mut self, stream: Int, batch: Batch, clips: Int, n_mels: Int) raises:
        if stream not in self.streams:
            self.streams[stream] = self.context.create_external_stream(
                OpaquePointer[MutAnyOrigin](unsafe_from_address=stream)
            )
        if n_mels == 80:
            self.bands80.launch(self.context, self.streams[stream], batch, clips)
        else:
            self.bands128.launch(self.context, self.streams[stream], batch, clips)


struct State(Movable):
    """The driver, and the devices that have been used."""

    var driver: Driver
    var devices: Dict[Int, ArcPointer[Device]]
    var error: String
    """What the driver said last, ended by a zero."""

    def __init__(out self):
        self.driver = Driver()
        self.devices = Dict[Int, ArcPointer[Device]]()
        self.error = String("nothing has failed\0")

    def fail(mut self, error: String) -> Int:
        self.error = error + "\0"
        return FAILED

    def fault(self, batch: Batch, clips: Int, n_mels: Int, device: Int) -> Int:
        """OK if every address that the kernel will use is the device's own memory."""
        var last = (clips - 1) * batch.clip_stride
        var size = 2 if batch.is_int16 else 4
        var first = Int(batch.audio) + size * min(last, 0)
        var fault = self.driver.fault(first, size * (abs(last) + batch.samples), device)
        if fault != OK:
            return fault + AUDIO
        if batch.ragged:
            fault = self.driver.fault(Int(batch.lengths), 8 * clips, device)
            if fault != OK:
                return fault + LENGTHS
        var trim = 2 if batch.smoothing == VALID else 0
        var values = clips * (n_mels - trim) * (batch.rows() - trim)
        fault = self.driver.fault(Int(batch.out_), batch.form.itemsize() * values, device)
        return OK if fault == OK else fault + OUT

    def launch(mut self, batch: Batch, clips: Int, n_mels: Int, stream: Int) -> Int:
        """Checks and launches in the device's context; leaves the thread's as it was."""
        var number = self.driver.attribute(DEVICE_ORDINAL, Int(batch.audio))
        if number < 0:
            return NOT_DEVICE_MEMORY + AUDIO
        try:
            if number not in self.devices:
                var primary = self.driver.primary_context(number)
                if primary == 0:
                    return NO_DEVICE
                self.devices[number] = ArcPointer(Device(number, primary))
            var device = self.devices[number]
            if not self.driver.push_context(device[].primary):
                return self.fail("the device's context cannot be made current")
            var status = self.fault(batch, clips, n_mels, number)
            try:
                if status == OK:
                    device[].launch(stream, batch, clips, n_mels)
            except error:
                status = self.fail(String(error))
            self.driver.pop_context()
            return status
        except error:
            return self.fail(String(error))


def new_state() -> State:
    return State()


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

    audio, out, lengths: addresses in the memory of one device, which is the one that works.
    lengths: 0, or the address of an int64 for each clip: the samples of it that count.
    stream: the CUDA stream; 0: the legacy default stream. Clips that are not finite, too short, or
        of a length that is not from 1 to `samples`, become NaN.

    Calls must not overlap. More statuses, for `whisper_mel_launch_message`: NO_DEVICE, FAILED if
    the driver refused, and three for each of the addresses: it is no device memory (or freed), it
    is on another device than the audio, and what would be used goes beyond its allocation. Nothing
    is launched then. Memory that a program allocates as a whole and divides itself, as PyTorch
    does, is one allocation.
    """
    return whisper_mel_launch_as(
        audio,
        is_int16,
        clips,
        samples,
        clip_stride,
        pad_to,
        n_mels,
        smoothing,
        out_,
        out_len,
        lengths,
        stream,
        CLIP,
        0,
        FLOAT32,
    )


@export
def whisper_mel_launch_as(
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
    maximum: Int,
    fixed: Float64,
    dtype: Int,
) abi("C") -> Int:
    """As `whisper_mel_launch`, with the last three arguments of `whisper_mel_log_mel_as`.

    What is not finite makes NaN of the frames that see it if the maximum is fixed, of its chunk if
    that is the chunk's. The maximum of chunks is without smoothing only.
    """
    comptime if has_accelerator():
        var status = argument_error(
            audio, clips, samples, pad_to, n_mels, smoothing, out_, out_len, 1
        )
        if status == OK:
            status = form_error(maximum, fixed, dtype)
        if status == OK and maximum == CHUNK and smoothing != NONE:
            status = CHUNKS_SMOOTHED
        if status != OK:
            return status
        try:
            ref state = STATE.get_or_create_ptr()[]
            if not state.driver.exists():
                return NO_DEVICE
            var batch = Batch(
                Floats(unsafe_from_address=audio),
                is_int16 != 0,
                Memory[DType.int64](unsafe_from_address=lengths if lengths != 0 else out_),
                lengths != 0,
                samples,
                clip_stride,
                pad_to,
                smoothing,
                Form(maximum, least_of(fixed), dtype),
                Floats(unsafe_from_address=out_),
            )
            return state.launch(batch, clips, n_mels, stream if stream != 0 else LEGACY_STREAM)
        except:
            return NO_DEVICE
    else:
        return NO_DEVICE


@export
def whisper_mel_launch_message(status: Int) abi("C") -> Int:
    """What a status from NO_DEVICE on means: the address of a C string, which stays until the next
    call that fails."""
    if status == FAILED:
        try:
            return Int(STATE.get_or_create_ptr()[].error.unsafe_ptr())
        except:
            pass
    if status == NOT_DEVICE_MEMORY + AUDIO:
        return address_of("audio is not in a device's memory, or has been freed")
    if status == NOT_DEVICE_MEMORY + LENGTHS:
        return address_of("lengths are not in a device's memory, or have been freed")
    if status == NOT_DEVICE_MEMORY + OUT:
        return address_of("out is not in a device's memory, or has been freed")
    if status == OTHER_DEVICE + AUDIO:
        return address_of("audio lies on two devices")
    if status == OTHER_DEVICE + LENGTHS:
        return address_of("lengths are on another device than audio")
    if status == OTHER_DEVICE + OUT:
        return address_of("out is on another device than audio")
    if status == BEYOND_MEMORY + AUDIO:
        return address_of("audio goes beyond the end of its allocation")
    if status == BEYOND_MEMORY + LENGTHS:
        return address_of("lengths go beyond the end of their allocation")
    if status == BEYOND_MEMORY + OUT:
        return address_of("the features go beyond the end of out's allocation")
    return address_of("there is no CUDA device")
