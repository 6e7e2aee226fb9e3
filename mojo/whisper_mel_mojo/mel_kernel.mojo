"""Whisper's log-Mel features, from PCM samples to the finished features, on CPUs and on GPUs.

How a CPU computes them (docs/internals/kernel.md says why; a GPU has the stages, docs/gpu.md):

* One vector lane holds one frame. A group of WIDTH frames goes through all stages at once, in
  scratch memory that stays in the L1 cache, so that no stage ever permutes lanes.
* The 400-point transform of a real frame is a prime-factor transform, 400 = 16 x 25: 25 real
  DFTs of 16, then 2 real and 7 complex DFTs of 25, without twiddle factors between them.
* A clip is done in two passes: `analyse` writes 1 + log10(mel) / 4 of every group straight into
  the output and keeps the maximum; `finish` clamps to the maximum (2 below it, since values are
  scaled already) and smoothes, in place. With a fixed maximum `analyse` clamps, and rounds to half
  precision if wanted: without smoothing there is no second pass.
* Threads share clips, or pieces of clips. Every value depends on its frame's samples and on the
  clip's maximum only, whatever the lane, the group or the thread, and so do its bits.

All tables are computed by the compiler from their definitions. The CPU's library needs libc only.

Part 1: one group of frames
    1.1 Arithmetic
    1.2 The frames of a clip
    1.3 Butterflies
    1.4 The scratch memory of a group
    1.5 Tables, and the order of samples and bins
    1.6 Stage 1: samples, transposed
    1.7 Stage 2: power spectrum
    1.8 Stage 3: mel filterbank, unrolled
    1.9 Stage 4: logarithm

Part 2: a call on a CPU
    2.1 The job, and where its values are
    2.2 First pass: from samples to logarithms
    2.3 Second pass: clamp and smooth, in place
    2.4 Threads
    2.5 C interface
    2.6 Streams

Part 3: a clip on a GPU
    3.1 How a launch divides its work
    3.2 The clips of a launch
    3.3 What one block of threads does, in phases
    3.4 The threads of a device
"""

from max.gpu import MAX_THREADS_PER_BLOCK_METADATA, block_idx, thread_idx
from max.gpu.memory import AddressSpace, external_memory
from max.gpu.primitives.cluster import cluster_sync
from max.gpu.sync import barrier
from std.atomic import Atomic
from std.builtin.globals import global_constant
from std.ffi import external_call
from std.math import pi, sqrt
from std.memory import bitcast, stack_allocation
from std.sys import CompilationTarget, get_defined_int, is_gpu, is_nvidia_gpu, simd_width_of
from std.sys._assembly import inlined_assembly
from std.sys.info import _is_sm_8x_or_newer, _is_sm_9x_or_newer, size_of
from std.sys.intrinsics import PrefetchOptions, llvm_intrinsic, prefetch
from std.utils import IndexList, StaticTuple

comptime Vec[W: Int] = SIMD[DType.float32, W]
comptime Memory[T: DType] = Pointer[Scalar[T], MutUntrackedOrigin]
comptime Floats = Memory[DType.float32]
comptime SharedFloats = Pointer[Float32, MutUntrackedOrigin, address_space=AddressSpace.SHARED]

comptime WIDTH = get_defined_int["WIDTH", min(8, simd_width_of[DType.float32]())]()
"""Frames in a group, and lanes of a vector: 4 (SSE, NEON) or 8 (AVX2; AVX-512 has twice the
registers for them). `-D WIDTH=16` takes AVX-512's widest vectors: as many bits, but their scratch
memory does not fit into an L1 cache of 32 KB, and they were slower (docs/internals/performance.md).
"""
comptime N_FFT = 400
comptime HOP = 160
comptime REACH = N_FFT // 2
"""Samples by which the clip is mirrored on each side."""
comptime LINE = 64
"""Bytes in a cache line."""
comptime NAN = Float32.MAX - Float32.MAX


# ============================================================================================ #
# Part 1: one group of frames
# ============================================================================================ #


# ===--------------------------------------------------------------------------------------=== #
# 1.1 Arithmetic
# ===--------------------------------------------------------------------------------------=== #


@always_inline
def mul_add[W: Int](a: Vec[W], b: Vec[W], c: Vec[W]) -> Vec[W]:
    """`a * b + c`, rounded once where the target can; else twice, never by a library call."""
    comptime if CompilationTarget.is_x86() and not CompilationTarget.has_fma():
        return a * b + c
    else:
        return a.fma(b, c)


@always_inline
def greater[W: Int](a: Vec[W], b: Vec[W]) -> Vec[W]:
    """The larger of two numbers, neither NaN: one instruction, which `max` is not."""
    return a.gt(b).select(a, b)


def is_finite(x: Float32) -> Bool:
    return abs(x) < Float32.MAX


comptime BFLOAT16_BITS = DType.uint16
"""Type for bfloat16: vectors of the compiler's own end in library calls on some targets."""


@always_inline
def rounded[T: DType, W: Int](values: Vec[W]) -> SIMD[T, W]:
    """Values as the output has them: float32, or rounded once to the nearest float16 or bfloat16,
    ties to even. Without a library call on any target."""
    comptime Bits = SIMD[DType.uint32, W]
    var bits = bitcast[DType.uint32, W](values)
    comptime if T == DType.float32:
        return rebind[SIMD[T, W]](values)
    elif T == BFLOAT16_BITS:
        bits += ((bits >> 16) & 1) + 0x7FFF
        return (bits >> 16).cast[T]()
    elif is_gpu() or CompilationTarget.has_neon() or CompilationTarget.has_fma():
        return values.cast[T]()
    else:
        comptime LARGEST = Bits(143 << 23)  # 2**16, from which on all are infinite
        comptime SMALLEST = Bits(113 << 23)  # 2**-14, below which numbers are denormal
        var size = bits & 0x7FFFFFFF
        var small = bitcast[DType.uint32, W](bitcast[DType.float32, W](size) + 0.5) - (126 << 23)
        var normal = (size + ((size >> 13) & 1) + 0xFFF - (112 << 23)) >> 13
        var large = size.gt(Bits(255 << 23)).select(Bits(0x7E00), Bits(0x7C00))
        var half = size.lt(SMALLEST).select(small, size.lt(LARGEST).select(normal, large))
        return bitcast[T, W]((half | ((bits >> 16) & 0x8000)).cast[DType.uint16]())


# Functions for tables, in float64 by their power series: the compiler evaluates them, for GPUs as
# well, for which the library has none in float64.


def sin(x: Float64) -> Float64:
    """Sine of an angle between 0 and a turn, within 1e-15."""
    var angle = x - 2.0 * pi if x > pi else x
    var term = angle
    var sum = angle
    for k in range(1, 20):
        term *= -angle * angle / Float64(2 * k * (2 * k + 1))
        sum += term
    return sum


def cos(x: Float64) -> Float64:
    """Cosine of an angle between 0 and a turn, within 1e-15."""
    var angle = x - 2.0 * pi if x > pi else x
    var term = Float64(1)
    var sum = term
    for k in range(1, 20):
        term *= -angle * angle / Float64((2 * k - 1) * 2 * k)
        sum += term
    return sum


def exp(x: Float64) -> Float64:
    """Exponential of a number between 0 and 3."""
    var term = Float64(1)
    var sum = term
    for k in range(1, 40):
        term *= x / Float64(k)
        sum += term
    return sum


def log(x: Float64) -> Float64:
    """Natural logarithm of a number from 1 on: `2 artanh((x - 1) / (x + 1))` up to 2; a larger
    number is halved until it is there."""
    if x > 2.0:
        return log(Float64(2.0)) + log(x / 2.0)
    var ratio = (x - 1.0) / (x + 1.0)
    var power = ratio
    var sum = ratio
    for k in range(1, 20):
        power *= ratio * ratio
        sum += power / Float64(2 * k + 1)
    return 2.0 * sum


@fieldwise_init
struct Complex[W: Int](ImplicitlyCopyable, TrivialRegisterPassable):
    """A complex number in each lane of a vector."""

    var re: Vec[Self.W]
    var im: Vec[Self.W]

    @always_inline
    def __add__(self, other: Self) -> Self:
        return Self(self.re + other.re, self.im + other.im)

    @always_inline
    def __sub__(self, other: Self) -> Self:
        return Self(self.re - other.re, self.im - other.im)

    @always_inline
    def scaled_onto(self, factor: Float32, base: Self) -> Self:
        """`base + factor * self`."""
        return Self(
            mul_add(Vec[Self.W](factor), self.re, base.re),
            mul_add(Vec[Self.W](factor), self.im, base.im),
        )

    @always_inline
    def turned_onto(self, factor: Float32, base: Self) -> Self:
        """`base + i * factor * self`."""
        return Self(
            mul_add(Vec[Self.W](-factor), self.im, base.re),
            mul_add(Vec[Self.W](factor), self.re, base.im),
        )

    @always_inline
    def rotated[numerator: Int, denominator: Int](self) -> Self:
        """This times `exp(2 pi i numerator / denominator)`."""
        comptime turn = 2.0 * pi * Float64(numerator) / Float64(denominator)
        comptime real = Float32(cos(turn))
        comptime imaginary = Float32(sin(turn))
        comptime if numerator == 0:
            return self
        var c = Vec[Self.W](real)
        var s = Vec[Self.W](imaginary)
        return Self(mul_add(self.re, c, -(self.im * s)), mul_add(self.re, s, self.im * c))

    @always_inline
    def power(self) -> Vec[Self.W]:
        return mul_add(self.re, self.re, self.im * self.im)


# ===--------------------------------------------------------------------------------------=== #
# 1.2 The frames of a clip
# ===--------------------------------------------------------------------------------------=== #

comptime NONE = 0
comptime VALID = 1
comptime SAME = 2
"""Codes of `smoothing`."""


@fieldwise_init
struct Extent(ImplicitlyCopyable, TrivialRegisterPassable):
    """The length of a clip in samples, and the frames that follow from it."""

    var samples: Int
    """Samples in memory."""
    var length: Int
    """Samples together with the zeros that `pad_to` appends; `samples` without it."""

    @always_inline
    def frames(self) -> Int:
        return self.length // HOP

    @always_inline
    def sounding_frames(self) -> Int:
        """Frames that reach into the samples; those after them see nothing but zeros."""
        return min(self.frames(), (self.samples + REACH + HOP - 1) // HOP)

    @always_inline
    def first_unused(self) -> Int:
        """The first sample that no frame reaches."""
        return HOP * (self.frames() - 1) + REACH

    @always_inline
    def load[T: DType](self, audio: Memory[T], at: Int) -> Float32:
        """Sample `at` of the clip, mirrored at both ends."""
        var index = abs(at)
        if index >= self.length:
            index = 2 * (self.length - 1) - index
        var samples = self.samples
        return load_samples[T, 1](audio, index) if 0 <= index < samples else 0


# ===--------------------------------------------------------------------------------------=== #
# 1.3 Butterflies
# ===--------------------------------------------------------------------------------------=== #

# All transforms have the positive exponent, exp(+2 pi i j k / n): of real frames only the power is
# wanted, and that is the same.

comptime SQRT5_4 = Float32(sqrt(Float64(5)) / 4.0)
"""Half the difference of `cos(2 pi / 5)` and `cos(4 pi / 5)`, whose mean is -1/4."""
comptime SIN_72 = Float32(sin(2.0 * pi / 5.0))
comptime SIN_36_BY_72 = Float32(sin(4.0 * pi / 5.0) / sin(2.0 * pi / 5.0))


@always_inline
def dft5[W: Int](x: Array[Complex[W], 5]) -> Array[Complex[W], 5]:
    """Transforms 5 complex numbers."""
    var sum1 = x[1] + x[4]
    var sum2 = x[2] + x[3]
    var odd1 = x[1] - x[4]
    var odd2 = x[2] - x[3]
    var total = sum1 + sum2
    var middle = total.scaled_onto(-0.25, x[0])
    var even1 = (sum1 - sum2).scaled_onto(SQRT5_4, middle)
    var even2 = (sum1 - sum2).scaled_onto(-SQRT5_4, middle)
    var turn1 = odd2.scaled_onto(SIN_36_BY_72, odd1)
    var turn2 = odd1.scaled_onto(SIN_36_BY_72, Complex[W](-odd2.re, -odd2.im))
    var y = Array[Complex[W], 5](fill=x[0] + total)
    y[1] = turn1.turned_onto(SIN_72, even1)
    y[2] = turn2.turned_onto(SIN_72, even2)
    y[3] = turn2.turned_onto(-SIN_72, even2)
    y[4] = turn1.turned_onto(-SIN_72, even1)
    return y^


@always_inline
def real_dft5[W: Int](x: Array[Vec[W], 5]) -> Array[Complex[W], 3]:
    """Transforms 5 real numbers. Returns bins 0 to 2; the others are their conjugates."""
    var sum1 = x[1] + x[4]
    var sum2 = x[2] + x[3]
    var odd1 = x[1] - x[4]
    var odd2 = x[2] - x[3]
    var total = sum1 + sum2
    var difference = sum1 - sum2
    var middle = mul_add(Vec[W](-0.25), total, x[0])
    var ratio = Vec[W](SIN_36_BY_72)
    # A sum with 0, so that no compiler that may fuse takes a product for a part of the next sum.
    var sine = Vec[W](SIN_72)
    var zero = Vec[W](0)
    var y = Array[Complex[W], 3](fill=Complex[W](x[0] + total, 0))
    y[1] = Complex[W](
        mul_add(Vec[W](SQRT5_4), difference, middle),
        mul_add(sine, mul_add(ratio, odd2, odd1), zero),
    )
    y[2] = Complex[W](
        mul_add(Vec[W](-SQRT5_4), difference, middle),
        mul_add(sine, mul_add(ratio, odd1, -odd2), zero),
    )
    return y^


comptime SQRT_HALF = Float32(sqrt(Float64(0.5)))
comptime COS_22 = Float32(cos(pi / 8.0))
comptime TAN_22 = Float32(sin(pi / 8.0) / cos(pi / 8.0))


@always_inline
def real_dft16[W: Int](s: Array[Vec[W], 8], d: Array[Vec[W], 8]) -> Array[Complex[W], 9]:
    """Transforms 16 real numbers `x`. Returns bins 0 to 8.

    The first butterfly is done already: `s[n] = x[n] + x[n + 8]`, `d[n] = x[n] - x[n + 8]`.
    The sums give the even bins, the differences the odd ones.
    """
    var c = Vec[W](SQRT_HALF)
    var t = Vec[W](TAN_22)
    var c22 = Vec[W](COS_22)
    var y = Array[Complex[W], 9](fill=Complex[W](0, 0))

    var e0 = s[0] + s[4]
    var e2 = s[2] + s[6]
    var f0 = s[0] - s[4]
    var f2 = s[2] - s[6]
    var e1 = s[1] + s[5]
    var e3 = s[3] + s[7]
    var f1 = s[1] - s[5]
    var f3 = s[3] - s[7]
    y[0] = Complex[W]((e0 + e2) + (e1 + e3), 0)
    y[8] = Complex[W]((e0 + e2) - (e1 + e3), 0)
    y[4] = Complex[W](e0 - e2, e1 - e3)
    var f_minus = f1 - f3
    var f_plus = f1 + f3
    y[2] = Complex[W](mul_add(c, f_minus, f0), mul_add(c, f_plus, f2))
    y[6] = Complex[W](mul_add(-c, f_minus, f0), mul_add(c, f_plus, -f2))

    var u1 = d[1] - d[7]
    var v1 = d[1] + d[7]
    var u2 = d[2] - d[6]
    var v2 = d[2] + d[6]
    var u3 = d[3] - d[5]
    var v3 = d[3] + d[5]
    var p = mul_add(c, u2, d[0])
    var q = mul_add(-c, u2, d[0])
    var g = mul_add(c, v2, d[4])
    var h = mul_add(-c, v2, d[4])
    var u_plus = mul_add(t, u3, u1)
    var u_minus = mul_add(t, u1, -u3)
    var v_plus = mul_add(t, v1, v3)
    var v_minus = mul_add(-t, v3, v1)
    y[1] = Complex[W](mul_add(c22, u_plus, p), mul_add(c22, v_plus, g))
    y[7] = Complex[W](mul_add(-c22, u_plus, p), mul_add(c22, v_plus, -g))
    y[3] = Complex[W](mul_add(c22, u_minus, q), mul_add(c22, v_minus, -h))
    y[5] = Complex[W](mul_add(-c22, u_minus, q), mul_add(c22, v_minus, h))
    return y^


# ===--------------------------------------------------------------------------------------=== #
# 1.4 The scratch memory of a group
# ===--------------------------------------------------------------------------------------=== #


trait Scratch(ImplicitlyCopyable, TrivialRegisterPassable):
    """Memory that the stages work in, addressed in floats: a CPU thread's stack, or shared memory.
    """

    def load[W: Int](self, at: Int) -> Vec[W]:
        ...

    def store[W: Int](self, at: Int, value: Vec[W]):
        ...

    def short(self, at: Int) -> Int:
        """Element `at` of a table of 16-bit numbers."""
        ...

    def offset(self, floats: Int) -> Self:
        """The same memory, addressed from float `floats` on."""
        ...


@fieldwise_init
struct Private(Scratch):
    """Memory of a CPU thread's own."""

    var start: Floats

    @always_inline
    def load[W: Int](self, at: Int) -> Vec[W]:
        return self.start.unsafe_load[width=W](at)

    @always_inline
    def store[W: Int](self, at: Int, value: Vec[W]):
        self.start.unsafe_store(at, value)

    @always_inline
    def short(self, at: Int) -> Int:
        return Int(self.start.unsafe_bitcast[UInt16]()[unsafe_offset=at])

    @always_inline
    def offset(self, floats: Int) -> Self:
        return Self(self.start.unsafe_offset(floats))


struct Layout[W: Int]:
    """Places in the scratch memory of a group of W frames, in floats. W floats make a slot.

    Three blocks, each within reach of the L1 cache:
    `samples` [HOP][ROW]: column t of a row holds sample `HOP * t + row` of the group, so that
    sample j of all frames is one load at row j % HOP, column j // HOP (frames overlap).
    `columns`: what the DFTs of 16 hand to those of 25: columns 1 to 7 complex, then 0 and 8 real.
    `window`, `offsets`: the tables of the first stage.
    Powers and mel energies take the place of the samples; the samples of a group at an edge, and
    features that cannot go straight to the output, that of the columns.
    """

    comptime ROW = 2 * Self.W
    comptime ENERGIES = 208 * Self.W
    comptime COLUMNS = max(HOP * Self.ROW, Self.ENERGIES + 128 * Self.W)
    comptime WINDOW = Self.COLUMNS + N_FFT * Self.W
    comptime OFFSETS = Self.WINDOW + REACH
    comptime SIZE = Self.OFFSETS + N_FFT // 2

    comptime GROUP_SAMPLES = HOP * (Self.W + 2)
    """Samples that `transpose` reads; some of them lie beyond the last frame."""


@no_inline
def fill[T: DType, //](value: Scalar[T], values: Memory[T], count: Int):
    """Sets `count` values to `value`."""
    comptime W = WIDTH
    var i = 0
    while i + W <= count:
        values.unsafe_store(i, SIMD[T, W](value))
        i += W
    while i < count:
        values[unsafe_offset=i] = value
        i += 1


# ===--------------------------------------------------------------------------------------=== #
# 1.5 Tables, and the order of samples and bins
# ===--------------------------------------------------------------------------------------=== #


def time_index(n1: Int, n2: Int) -> Int:
    """Index in the frame of sample `(n1, n2)` of the 16 x 25 transform (Good's mapping)."""
    return (25 * n1 + 16 * n2) % N_FFT


comptime REAL_SLOTS = 7 * 25 * 2
"""Slots of the complex columns 1 to 7; those of the real columns 0 and 8 follow."""


def power_slot(k1: Int, k2: Int, in_place: Bool) -> Int:
    """Slot of the power at `(k1, k2)`, for k1 = 0 to 8.

    Columns 0 and 8 are real and have 13 bins each, the others 25. `in_place`: the powers of a
    column begin where the column did; else they lie side by side.
    """
    if in_place:
        return k2 + (50 * (k1 - 1) if k1 % 8 != 0 else REAL_SLOTS + 25 * (k1 // 8))
    if k1 == 0:
        return k2
    if k1 == 8:
        return 13 + k2
    return 26 + 25 * (k1 - 1) + k2


def slot_of_bin(in_place: Bool) -> Array[Int, 201]:
    """Slot of each frequency bin's power (Chinese remainder theorem).

    `9 = 1 / 25 mod 16`, `11 = 1 / 16 mod 25`; bins above 200 are the conjugates of those below.
    """
    var slots = Array[Int, 201](fill=0)
    for k1 in range(9):
        for k2 in range(25 if k1 % 8 != 0 else 13):
            var k = (25 * 9 * k1 + 16 * 11 * k2) % N_FFT
            slots[min(k, N_FFT - k)] = power_slot(k1, k2, in_place)
    return slots^


def window_table() -> Array[Float32, REACH]:
    """Periodic Hann window at `(n1, n2)`, n1 < 8; at n1 + 8, half a turn on, it is 1 minus that."""
    var table = Array[Float32, REACH](fill=0)
    for n2 in range(25):
        for n1 in range(8):
            var turns = Float64(time_index(n1, n2)) / Float64(N_FFT)
            table[8 * n2 + n1] = Float32(0.5 - 0.5 * cos(2.0 * pi * turns))
    return table^


def offset_table[W: Int]() -> Array[UInt16, N_FFT]:
    """Place of sample `(n1, n2)` of the frames among the transposed samples, in floats."""
    var table = Array[UInt16, N_FFT](fill=0)
    for n2 in range(25):
        for n1 in range(16):
            var j = time_index(n1, n2)
            table[16 * n2 + n1] = UInt16((j % HOP) * Layout[W].ROW + j // HOP)
    return table^


@always_inline
def prepare_tables[W: Int](scratch: Floats):
    """Copies the tables of the transform next to its data."""
    var window = materialize[window_table()]()
    var offsets = materialize[offset_table[W]()]()
    for i in range(REACH):
        scratch[unsafe_offset=Layout[W].WINDOW + i] = window[i]
    var place = scratch.unsafe_offset(Layout[W].OFFSETS).unsafe_bitcast[UInt16]()
    for i in range(N_FFT):
        place[unsafe_offset=i] = offsets[i]


# ===--------------------------------------------------------------------------------------=== #
# 1.6 Stage 1: samples, transposed
# ===--------------------------------------------------------------------------------------=== #


@always_inline
def load_samples[T: DType, width: Int](audio: Memory[T], index: Int) -> Vec[width]:
    """Loads samples as float32 of full scale 1; int16 PCM is divided by 32768, exactly."""
    var samples = audio.unsafe_load[width=width](index)
    comptime if T == DType.int16:
        return samples.cast[DType.float32]() * Vec[width](1.0 / 32768.0)
    else:
        return rebind[Vec[width]](samples)


def unpack_mask[W: Int, high: Bool, pairs: Bool]() -> IndexList[W]:
    """Lanes that `unpack` takes: of each four lanes of its vectors a0 b0 a1 b1, or with `pairs`
    a0 a1 b0 b1; with `high` the same of their upper halves.
    """
    var mask = IndexList[W]()
    for i in range(W):
        var lane = i % 4
        var first = (i - lane) + (2 if high else 0)
        comptime if pairs:
            mask[i] = first + lane % 2 + (W if lane >= 2 else 0)
        else:
            mask[i] = first + lane // 2 + (W if lane % 2 == 1 else 0)
    return mask


@always_inline
def unpack[W: Int, *, high: Bool, pairs: Bool](a: Vec[W], b: Vec[W]) -> Vec[W]:
    return a.shuffle[unpack_mask[W, high, pairs]()](b)


@always_inline
def load_quads[W: Int, T: DType](audio: Memory[T], index: Int) -> Vec[W]:
    """Loads four samples at `index`, and at every HOP after it, into four lanes each."""
    comptime if W == 4:
        return rebind[Vec[W]](load_samples[T, 4](audio, index))
    else:
        var low = load_quads[W // 2, T](audio, index)
        var high = load_quads[W // 2, T](audio, index + W // 2 * HOP)
        return rebind[Vec[W]](low.join(high))


@no_inline
def transpose[W: Int, T: DType](audio: Memory[T], samples: Floats):
    """Sets `samples[j][t] = audio[HOP * t + j]` for t < W + 2, in blocks of 4 x W."""
    comptime ROW = Layout[W].ROW
    for j in range(0, HOP, 4):
        var r0 = load_quads[W, T](audio, j)
        var r1 = load_quads[W, T](audio, j + HOP)
        var r2 = load_quads[W, T](audio, j + 2 * HOP)
        var r3 = load_quads[W, T](audio, j + 3 * HOP)
        var low01 = unpack[high=False, pairs=False](r0, r1)
        var low23 = unpack[high=False, pairs=False](r2, r3)
        var high01 = unpack[high=True, pairs=False](r0, r1)
        var high23 = unpack[high=True, pairs=False](r2, r3)
        var to = samples.unsafe_offset(ROW * j)
        to.unsafe_store(0, unpack[high=False, pairs=True](low01, low23))
        to.unsafe_store(ROW, unpack[high=True, pairs=True](low01, low23))
        to.unsafe_store(2 * ROW, unpack[high=False, pairs=True](high01, high23))
        to.unsafe_store(3 * ROW, unpack[high=True, pairs=True](high01, high23))
        # The two columns into which the last frames reach.
        var last = load_samples[T, 4](audio, j + W * HOP).interleave(
            load_samples[T, 4](audio, j + (W + 1) * HOP)
        )
        comptime for i in range(4):
            to.unsafe_store(i * ROW + W, last.slice[2, offset=2 * i]())


@no_inline
def gather_edge[T: DType](audio: Memory[T], extent: Extent, start: Int, count: Int, to: Floats):
    """Copies samples `start` to `start + count` of the clip, mirrored at both ends.

    Positions more than REACH beyond the clip belong to no frame that is kept and become zero.
    """
    var inside = max(-start, 0)
    copy_mirrored(audio, extent.samples, -start, to, inside)
    var outside = max(min(extent.samples - start, count), inside)
    var source = audio.unsafe_offset(start + inside)
    copy_samples(source, to.unsafe_offset(inside), outside - inside)
    var padded = max(min(extent.length - start, count), outside)
    fill(Float32(0), to.unsafe_offset(outside), padded - outside)
    var mirrored = max(min(extent.length + REACH - start, count), padded)
    var last = 2 * (extent.length - 1) - (start + padded)
    copy_mirrored(audio, extent.samples, last, to.unsafe_offset(padded), mirrored - padded)
    fill(Float32(0), to.unsafe_offset(mirrored), count - mirrored)


@always_inline
def copy_mirrored[T: DType, //](audio: Memory[T], samples: Int, last: Int, to: Floats, count: Int):
    """Copies samples backwards, from sample `last` on, as float32: zeros for those that are beyond
    the `samples` in memory."""
    comptime W = WIDTH
    var i = max(min(last + 1 - samples, count), 0)
    fill(Float32(0), to, i)
    while i + W <= count:
        to.unsafe_store(i, load_samples[T, W](audio, last - i - (W - 1)).reversed())
        i += W
    while i < count:
        to[unsafe_offset=i] = load_samples[T, 1](audio, last - i)
        i += 1


@always_inline
def copy_samples[T: DType, //](audio: Memory[T], to: Floats, count: Int):
    """Copies samples forwards, as float32."""
    var i = 0
    while i + 8 <= count:
        to.unsafe_store(i, load_samples[T, 8](audio, i))
        i += 8
    while i < count:
        to[unsafe_offset=i] = load_samples[T, 1](audio, i)
        i += 1


# ===--------------------------------------------------------------------------------------=== #
# 1.7 Stage 2: power spectrum
# ===--------------------------------------------------------------------------------------=== #


@always_inline
def windowed_dft16[
    M: Scratch, //, W: Int, PITCH: Int
](samples: M, window: M, offsets: M, columns: M, n2: Int):
    """Computes column n2 of the 16 x 25 transform: window and DFT over n1.

    `columns` has slots of PITCH floats, of which each thread has W: as many frames.
    """
    # x[n1] = w a and x[n1 + 8] = (1 - w) b; their sum and difference in four instructions. All of
    # the first two come before the others: a CPU looks only so far ahead for one that can start.
    var b = Array[Vec[W], 8](fill=0)
    var s = Array[Vec[W], 8](fill=0)
    var d = Array[Vec[W], 8](fill=0)
    comptime for n1 in range(8):
        var a = samples.load[W](offsets.short(16 * n2 + n1))
        b[n1] = samples.load[W](offsets.short(16 * n2 + n1 + 8))
        s[n1] = a - b[n1]
        d[n1] = a + b[n1]
    comptime for n1 in range(8):
        var w = Vec[W](window.load[1](8 * n2 + n1))
        s[n1] = mul_add(w, s[n1], b[n1])
        d[n1] = mul_add(w, d[n1], -b[n1])
    store_column[W, PITCH](real_dft16[W](s, d), columns, n2)


@always_inline
def windowed_dft16_alone[M: Scratch, //, PITCH: Int](samples: M, row: M, columns: M, n2: Int):
    """Computes column n2 like `windowed_dft16`, of one frame, with a row of a table that is read
    four numbers at a time: 8 of the window, and the places of the 16 samples as int32."""
    var b = Array[Float32, 8](fill=0)
    var s = Array[Float32, 8](fill=0)
    var d = Array[Float32, 8](fill=0)
    comptime for quad in range(2):
        var first = bitcast[DType.int32, 4](row.load[4](8 + 4 * quad))
        var second = bitcast[DType.int32, 4](row.load[4](16 + 4 * quad))
        comptime for i in range(4):
            var a = samples.load[1](Int(first[i]))
            b[4 * quad + i] = samples.load[1](Int(second[i]))
            s[4 * quad + i] = a - b[4 * quad + i]
            d[4 * quad + i] = a + b[4 * quad + i]
    comptime for quad in range(2):
        var weights = row.load[4](4 * quad)
        comptime for i in range(4):
            comptime n1 = 4 * quad + i
            s[n1] = mul_add[1](weights[i], s[n1], b[n1])
            d[n1] = mul_add[1](weights[i], d[n1], -b[n1])
    store_column[1, PITCH](real_dft16[1](s, d), columns, n2)


@always_inline
def store_column[
    M: Scratch, //, W: Int, PITCH: Int
](bins: Array[Complex[W], 9], columns: M, n2: Int):
    """Stores the bins of column `n2` where the DFTs of 25 look for them."""
    comptime for k1 in range(1, 8):
        columns.store[W](PITCH * (50 * (k1 - 1) + 2 * n2), bins[k1].re)
        columns.store[W](PITCH * (50 * (k1 - 1) + 2 * n2 + 1), bins[k1].im)
    columns.store[W](PITCH * (REAL_SLOTS + n2), bins[0].re)
    columns.store[W](PITCH * (REAL_SLOTS + 25 + n2), bins[8].re)


@always_inline
def dft25_power[M: Scratch, //, W: Int, PITCH: Int](column: M, power: M):
    """Computes the powers of the 25 bins of a complex column: DFT over n2, as 5 x 5. They may
    replace the column."""
    var half = Array[Complex[W], 25](fill=Complex[W](0, 0))
    comptime for b in range(5):
        var x = Array[Complex[W], 5](fill=Complex[W](0, 0))
        comptime for a in range(5):
            x[a] = Complex[W](
                column.load[W](PITCH * 2 * (5 * a + b)),
                column.load[W](PITCH * (2 * (5 * a + b) + 1)),
            )
        var y = dft5[W](x)
        comptime for c in range(5):
            half[5 * c + b] = y[c].rotated[b * c, 25]()
    comptime for c in range(5):
        var x = Array[Complex[W], 5](fill=Complex[W](0, 0))
        comptime for b in range(5):
            x[b] = half[5 * c + b]
        var y = dft5[W](x)
        comptime for d in range(5):
            power.store[W](PITCH * (c + 5 * d), y[d].power())


@always_inline
def real_dft25_power[M: Scratch, //, W: Int, PITCH: Int](column: M, power: M):
    """Computes the powers of bins 1 to 12 of a real column, which they may replace. Bin 0 has no
    weight in any mel band."""
    var half0 = Array[Vec[W], 5](fill=0)
    var half1 = Array[Complex[W], 5](fill=Complex[W](0, 0))
    var half2 = Array[Complex[W], 5](fill=Complex[W](0, 0))
    comptime for b in range(5):
        var x = Array[Vec[W], 5](fill=0)
        comptime for a in range(5):
            x[a] = column.load[W](PITCH * (5 * a + b))
        var y = real_dft5[W](x)
        half0[b] = y[0].re
        half1[b] = y[1].rotated[b, 25]()
        half2[b] = y[2].rotated[2 * b, 25]()
    var bins0 = real_dft5[W](half0)
    comptime for d in range(1, 3):
        power.store[W](PITCH * 5 * d, bins0[d].power())
    var bins1 = dft5[W](half1)
    var bins2 = dft5[W](half2)
    comptime for d in range(5):
        # Bins above 12 are the conjugates of those below.
        comptime k1 = min(1 + 5 * d, 25 - (1 + 5 * d))
        comptime k2 = min(2 + 5 * d, 25 - (2 + 5 * d))
        power.store[W](PITCH * k1, bins1[d].power())
        power.store[W](PITCH * k2, bins2[d].power())


@no_inline
def power_spectrum[W: Int](scratch: Floats, next_samples: Int):
    """Computes the powers of a group from its transposed samples, whose place they take.

    Meanwhile it prefetches samples from the address `next_samples` on, to the cache of the second
    level, since that of the first has no room to spare.
    """
    var memory = Private(scratch)
    var columns = memory.offset(Layout[W].COLUMNS)
    for n2 in range(25):
        windowed_dft16[W, W](
            memory,
            memory.offset(Layout[W].WINDOW),
            memory.offset(Layout[W].OFFSETS),
            columns,
            n2,
        )
        comptime for i in range(4):
            var line = next_samples + LINE * (4 * n2 + i)
            prefetch[PrefetchOptions().for_read().medium_locality().to_data_cache()](
                Floats(unsafe_from_address=line)
            )
    for i in range(2):
        real_dft25_power[W, W](columns.offset(W * (REAL_SLOTS + 25 * i)), memory.offset(W * 13 * i))
    for i in range(7):
        dft25_power[W, W](columns.offset(W * 50 * i), memory.offset(W * (26 + 25 * i)))


# ===--------------------------------------------------------------------------------------=== #
# 1.8 Stage 3: mel filterbank, unrolled
# ===--------------------------------------------------------------------------------------=== #


@fieldwise_init
struct MelTerm(ImplicitlyCopyable, TrivialRegisterPassable):
    """One weight of the filterbank: `energy[band] += weight * power[slot]`."""

    var slot: Int
    var band: Int
    """Negative after the stream's last term."""
    var weight: Float32
    var loads: Bool
    """Whether the power must be loaded: the stream's previous term had another slot."""
    var first: Bool
    """Whether it is the first term of its band."""
    var last: Bool
    """Whether it is the last term of its band."""


def mel_edges[n_mels: Int]() -> Array[Float64, n_mels + 2]:
    """Corners of the triangles in hertz: equidistant on Slaney's scale from 0 to 8000 Hz.

    The scale (Auditory Toolbox, Technical Report 1998-010) is linear below 1000 Hz, 200/3 Hz to
    a mel, then logarithmic, 27 mel to a factor of 6.4.
    """
    var log_step = log(Float64(6.4)) / 27.0
    var step = (15.0 + log(Float64(8.0)) / log_step) / Float64(n_mels + 1)
    var edges = Array[Float64, n_mels + 2](fill=0)
    for i in range(n_mels + 2):
        var mel = Float64(i) * step
        if mel < 15.0:
            edges[i] = 200.0 / 3.0 * mel
        else:
            edges[i] = 1000.0 * exp(log_step * (mel - 15.0))
    return edges^


comptime STREAMS = 4
"""Chains of dependent multiply-adds that a CPU runs interleaved, to hide their latency."""
comptime STREAM_TERMS = 112
"""Terms for which a stream has room: more than the longest one has."""


@fieldwise_init
struct MelBin(ImplicitlyCopyable, TrivialRegisterPassable):
    """Weights of a frequency bin: it lies on the falling side of one band's triangle and on the
    rising side of the next one's."""

    var band: Int
    """The lower band; -1: only the upper one exists."""
    var falling: Float32
    """Weight in `band`; 0: none."""
    var rising: Float32
    """Weight in `band + 1`; 0: none."""

    def weight(self, side: Int) -> Float32:
        """Weight in `band + side`."""
        return self.falling if side == 0 else self.rising


def mel_bins[n_mels: Int]() -> Array[MelBin, 201]:
    """Weights of all bins, rounded twice, as those that the models were trained with."""
    var edges = mel_edges[n_mels]()
    var bins = Array[MelBin, 201](fill=MelBin(-1, 0, 0))
    var rising = 0
    for k in range(1, 200):
        var hz = 40.0 * Float64(k)
        while hz >= edges[rising + 1]:
            rising += 1
        var bin = MelBin(rising - 1, 0, 0)
        var width = edges[rising + 1] - edges[rising]
        if rising > 0:
            var norm = 2.0 / (edges[rising + 1] - edges[rising - 1])
            var part = Float32((edges[rising + 1] - hz) / width)
            bin.falling = Float32(Float64(part) * norm)
        if rising < n_mels:
            var norm = 2.0 / (edges[rising + 2] - edges[rising])
            var part = Float32((hz - edges[rising]) / width)
            bin.rising = Float32(Float64(part) * norm)
        bins[k] = bin
    return bins^


def mel_plan[
    n_mels: Int, streams: Int, in_place: Bool, band_cost: Int
]() -> Array[MelTerm, streams * STREAM_TERMS]:
    """Terms of the filterbank in the order of execution; term i belongs to stream i % streams.

    Each stream does a contiguous range of bands, bin after bin. The ranges cost alike, if a band
    costs as much as `band_cost` terms beside its own.
    """
    var bins = mel_bins[n_mels]()
    var slots = slot_of_bin(in_place)
    var terms_of = Array[Int, n_mels](fill=0)
    var n_terms = 0
    for k in range(1, 200):
        for side in range(2):
            if bins[k].weight(side) > 0:
                terms_of[bins[k].band + side] += 1
                n_terms += 1

    var stream_of = Array[Int, n_mels](fill=0)
    var before = 0
    for band in range(n_mels):
        stream_of[band] = streams * before // (n_terms + band_cost * n_mels)
        before += terms_of[band] + band_cost

    var plan = Array[MelTerm, streams * STREAM_TERMS](fill=MelTerm(0, -1, 0, False, False, False))
    var length = Array[Int, streams](fill=0)
    var last_slot = Array[Int, streams](fill=-1)
    var last_term = Array[Int, n_mels](fill=-1)
    for k in range(1, 200):
        for side in range(2):
            var weight = bins[k].weight(side)
            if weight > 0:
                var band = bins[k].band + side
                var stream = stream_of[band]
                var i = streams * length[stream] + stream
                plan[i] = MelTerm(
                    slots[k],
                    band,
                    weight,
                    last_slot[stream] != slots[k],
                    last_term[band] < 0,
                    False,
                )
                length[stream] += 1
                last_slot[stream] = slots[k]
                last_term[band] = i
    for band in range(n_mels):
        var term = plan[last_term[band]]
        term.last = True
        plan[last_term[band]] = term
    return plan^


trait BandSink:
    """Where the mel energies of a group go, band after band."""

    def take[W: Int](mut self, band: Int, energy: Vec[W]):
        ...


@fieldwise_init
struct ToMemory[M: Scratch](BandSink):
    """Memory for mel energies, with `pitch` floats from band to band."""

    var energies: Self.M
    var pitch: Int

    @always_inline
    def take[W: Int](mut self, band: Int, energy: Vec[W]):
        self.energies.store[W](self.pitch * band, energy)


@always_inline
def mel_terms[
    M: Scratch,
    S: BandSink,
    //,
    W: Int,
    PITCH: Int,
    n_mels: Int,
    streams: Int,
    in_place: Bool,
    only: Int = -1,
    band_cost: Int = 0,
](power: M, mut to: S):
    """Computes mel energies from powers: straight-line code, one multiply-add for each weight.

    only: the stream to compute; -1: all of them, interleaved. PITCH: floats from slot to slot.
    """
    comptime PLAN = mel_plan[n_mels, streams, in_place, band_cost]()
    comptime BEGIN = max(only, 0)
    comptime STEP = 1 if only < 0 else streams
    var bins = Array[Vec[W], streams](fill=0)
    # At most two bands of a stream are under way at a time: neighbours.
    var sums = Array[Vec[W], 2 * streams](fill=0)
    comptime for i in range(BEGIN, streams * STREAM_TERMS, STEP):
        comptime term = PLAN[i]
        comptime if term.band >= 0:
            comptime stream = i % streams
            comptime sum = 2 * stream + term.band % 2
            comptime if term.loads:
                bins[stream] = power.load[W](PITCH * term.slot)
            comptime if term.first:
                sums[sum] = Vec[W](term.weight) * bins[stream]
            else:
                sums[sum] = mul_add(Vec[W](term.weight), bins[stream], sums[sum])
            comptime if term.last:
                to.take[W](term.band, sums[sum])


@no_inline
def mel_energies[W: Int, n_mels: Int](power: Floats, energies: Floats):
    """Computes the mel energies of a group from its powers."""
    var to = ToMemory(Private(energies), W)
    mel_terms[W, W, n_mels, STREAMS, False](Private(power), to)


# ===--------------------------------------------------------------------------------------=== #
# 1.9 Stage 4: logarithm
# ===--------------------------------------------------------------------------------------=== #

comptime FLOOR = Float32(1e-10)
comptime SILENCE = quarter_log10[1](0)
"""Value of a mel energy at or below the floor: -1.5."""
comptime OVERFLOW = quarter_log10[1](Float32.MAX)
"""Value of an infinite mel energy. NaN gives a larger one; only the largest float32 come as
high."""
comptime RANGE = Float32(2)
"""Distance below the clip's maximum at which values are clamped: 8 in units of log10, 2 in
these."""


@always_inline
def quarter_log10[W: Int](energy: Vec[W]) -> Vec[W]:
    """Computes `1 + log10(max(energy, FLOOR)) / 4` of numbers that are not negative, within 2 ulp.

    The exponent times log10(2) / 4, in two parts, plus a polynomial in the mantissa minus 1: the
    minimax one of degree 7 on [0, 1] (Remez exchange in float64), its coefficients rounded to
    float32 one by one from the highest, the lower ones fitted anew after each. Compared as
    unsigned integers, NaN of either sign is above the floor and infinity, and comes out as a
    number of at least OVERFLOW.
    """
    comptime Bits = SIMD[DType.uint32, W]
    comptime exact = log(Float64(2.0)) / log(Float64(10.0)) / 4.0
    comptime LOG_OF_2 = Float32(exact)
    comptime LOW_BITS = Float32(exact - Float64(LOG_OF_2))
    comptime floor_bits = bitcast[DType.uint32, 1](FLOOR)
    var bits = max(bitcast[DType.uint32, W](energy), Bits(floor_bits))
    # 127 is taken off as an integer: within the polynomial's constant it would cost precision.
    var exponent = (bits >> 23).cast[DType.int32]() - 127
    var e = exponent.cast[DType.float32]()
    var t = bitcast[DType.float32, W]((bits & 0x7FFFFF) | 0x3F800000) - 1
    var y = mul_add(t, Vec[W](1.138296677e-03), Vec[W](-5.873457994e-03))
    y = mul_add(y, t, Vec[W](1.445063949e-02))
    y = mul_add(y, t, Vec[W](-2.439414524e-02))
    y = mul_add(y, t, Vec[W](3.558353335e-02))
    y = mul_add(y, t, Vec[W](-5.421810597e-02))
    y = mul_add(y, t, Vec[W](1.085707396e-01))
    y = mul_add(y, t, mul_add(e, Vec[W](LOW_BITS), Vec[W](1)))
    return mul_add(e, Vec[W](LOG_OF_2), y)


comptime BANDS = 2
"""Bands whose logarithms are computed interleaved."""


@always_inline
def some_logarithms[
    T: DType, //, W: Int, bounded: Bool
](energies: Floats, to: Memory[T], stride: Int, least: Float32) -> Vec[W]:
    """Writes the logarithms of BANDS bands of a group to the output, if `bounded` raised to
    `least`. Returns each lane's maximum of them, as they were.
    """
    var values = quarter_log10(energies.unsafe_load[width=BANDS * W](0))
    var maximum = values.slice[W, offset=0]()
    comptime for i in range(BANDS):
        var value = values.slice[W, offset=i * W]()
        comptime if i > 0:
            maximum = greater(maximum, value)
        prefetch[PrefetchOptions().for_write().medium_locality().to_data_cache()](
            to.unsafe_offset(i * stride + 4 * W)
        )
        comptime if bounded:
            value = greater(value, Vec[W](least))
        to.unsafe_store(i * stride, rounded[T](value))
    return maximum


@no_inline
def logarithms[
    T: DType, //, W: Int, bounded: Bool
](
    energies: Floats,
    n_mels: Int,
    to: Memory[T],
    stride: Int,
    last: Memory[T],
    last_stride: Int,
    so_far: Vec[W],
    least: Float32,
) -> Vec[W]:
    """Writes the logarithms of all bands of a group to the output, `stride` values from band to
    band, and those of the last two bands to `last`; if `bounded` raised to `least`. Returns each
    lane's maximum of them, as they were, and of `so_far`."""
    var maximum = so_far
    for band in range(0, n_mels - BANDS, BANDS):
        var here = some_logarithms[W, bounded](
            energies.unsafe_offset(W * band), to.unsafe_offset(band * stride), stride, least
        )
        maximum = greater(maximum, here)
    var here = some_logarithms[W, bounded](
        energies.unsafe_offset(W * (n_mels - BANDS)), last, last_stride, least
    )
    return greater(maximum, here)


# ============================================================================================ #
# Part 2: a call on a CPU
# ============================================================================================ #


# ===--------------------------------------------------------------------------------------=== #
# 2.1 The job, and where its values are
# ===--------------------------------------------------------------------------------------=== #


comptime CLIP = 0
comptime FIXED = 1
comptime CHUNK = 2
"""Codes of `maximum`: of the clip, a number, or of every CHUNK_FRAMES frames their own."""
comptime CHUNK_FRAMES = 3000

comptime FLOAT32 = 0
comptime FLOAT16 = 1
comptime BFLOAT16 = 2
"""Codes of the output's `dtype`."""


@fieldwise_init
struct Form(ImplicitlyCopyable, TrivialRegisterPassable):
    """What becomes of the logarithms: what they are raised to, and their type in the output."""

    var maximum: Int
    var least: Float32
    """With `FIXED`: what values are raised to."""
    var dtype: Int

    @staticmethod
    def plain() -> Self:
        return Self(CLIP, 0, FLOAT32)

    @always_inline
    def itemsize(self) -> Int:
        """Bytes of a value in the output."""
        return 4 if self.dtype == FLOAT32 else 2

    @always_inline
    def chunks(self, frames: Int) -> Int:
        """Parts of so many frames that have a maximum each."""
        return (frames + CHUNK_FRAMES - 1) // CHUNK_FRAMES if self.maximum == CHUNK else 1


def least_of(maximum: Float64) -> Float32:
    """What values are raised to by a fixed maximum, which is in units of log10."""
    return Float32((maximum - 4.0) / 4.0)


@fieldwise_init
struct Job(ImplicitlyCopyable, TrivialRegisterPassable):
    """A call's work, and how it is divided. Counts are 64 bits wide."""

    var audio: Int
    """Address of the first clip's first sample."""
    var is_int16: Bool
    """Whether samples are int16 PCM; else float32."""
    var clips: Int
    var extent: Extent
    """Lengths that all clips have."""
    var clip_stride: Int
    """Samples from one clip to the next."""
    var n_mels: Int
    var smoothing: Int
    var form: Form
    var out_: Int
    """Address of the first clip's features."""
    var pieces: Int
    """Pieces of each clip. If there are several, all are analysed before one is finished."""
    var piece_frames: Int
    """Frames in a piece; the last one of a clip may have fewer. With `CHUNK`, no piece belongs to
    two chunks."""
    var slots: Int
    """Clips that are under way at the same time: 1 on one thread; else one for each thread, or with
    pieces all of them."""
    var waiting: Floats
    """If values `wait`: float32 features of the clips that are under way, [slots]."""
    var borders: Floats
    """With `VALID`: borders as in `Features`, [slots]."""
    var halos: Floats
    """With pieces and smoothing: the first and the last frame of each piece, [items][2][n_mels]."""
    var maxima: Floats
    """With pieces: the maximum of each, [items]."""

    def items(self) -> Int:
        return self.clips * self.pieces

    def clip_audio(self, clip: Int) -> Int:
        return self.audio + clip * self.clip_stride * (2 if self.is_int16 else 4)

    def border_size(self) -> Int:
        return 2 * self.extent.frames() + 2 * self.n_mels if self.smoothing == VALID else 0

    def size(self) -> Int:
        """Values of a clip's features."""
        var trim = 2 if self.smoothing == VALID else 0
        return (self.n_mels - trim) * (self.extent.frames() - trim)

    def wait(self) -> Bool:
        """Whether values wait in float32 until they can be rounded: for the maximum, or to be
        smoothed."""
        var finished = self.form.maximum == FIXED and self.smoothing == NONE
        return self.form.dtype != FLOAT32 and not finished

    def slot(self, item: Int, thread: Int) -> Int:
        return thread if self.pieces == 1 else item // self.pieces % self.slots

    def features(self, clip: Int, slot: Int) -> Features[DType.float32]:
        """Where a clip's values are in float32: in the output, or where they wait."""
        var features = self.output[DType.float32](clip)
        features.border = self.borders.unsafe_offset(slot * self.border_size())
        if self.wait():
            features.out_ = self.waiting.unsafe_offset(slot * self.size())
        return features

    def output[T: DType](self, clip: Int) -> Features[T]:
        """A clip's place in the output."""
        var out_ = Memory[T](unsafe_from_address=self.out_).unsafe_offset(clip * self.size())
        var trim = 2 if self.smoothing == VALID else 0
        return Features[T](out_, out_, self.extent.frames(), self.n_mels, trim)

    def least(self, clip: Int, piece: Int) -> Float32:
        """What values of a piece are raised to, when all pieces of the clip are analysed."""
        if self.form.maximum == FIXED:
            return self.form.least
        var first = 0
        var after = self.pieces
        if self.form.maximum == CHUNK:
            var together = CHUNK_FRAMES // self.piece_frames
            first = piece // together * together
            after = min(first + together, self.pieces)
        return self.maximum(clip, first, after) - RANGE

    def maximum(self, clip: Int, first: Int, after: Int) -> Float32:
        """Maximum of some pieces of a clip."""
        var maximum = SILENCE
        for i in range(clip * self.pieces + first, clip * self.pieces + after):
            maximum = max(maximum, self.maxima[unsafe_offset=i])
        return maximum


@fieldwise_init
struct Features[T: DType](ImplicitlyCopyable, TrivialRegisterPassable):
    """Places of a clip's values before they are smoothed: in the output as far as they fit.

    Without smoothing and with `SAME` (`trim` 0) all of them do. With `VALID` (`trim` 2) the
    output is two bands and two frames smaller: the last two bands are kept in `border`, then the
    first and the last frame of the other bands.
    """

    var out_: Memory[Self.T]
    var border: Memory[Self.T]
    var frames: Int
    var n_mels: Int
    var trim: Int

    @always_inline
    def stride(self) -> Int:
        """Values from band to band in the output."""
        return self.frames - self.trim

    @always_inline
    def row(self, band: Int) -> Memory[Self.T]:
        """Address of the band's frame 0, even where that frame and the last one lie in the border.
        """
        if band < self.n_mels - self.trim:
            return self.out_.unsafe_offset(band * self.stride() - self.trim // 2)
        return self.border.unsafe_offset((band - self.n_mels + self.trim) * self.frames)

    @always_inline
    def holds(self, begin: Int, end: Int) -> Bool:
        """Whether `row` reaches the frames `begin` to `end` of all bands."""
        return self.trim == 0 or (begin >= 1 and end <= self.frames - 1)

    @always_inline
    def at(self, band: Int, frame: Int) -> Memory[Self.T]:
        """Address of one value."""
        if band >= self.n_mels - self.trim or self.holds(frame, frame + 1):
            return self.row(band).unsafe_offset(frame)
        var side = 0 if frame == 0 else 1
        return self.border.unsafe_offset(2 * self.frames + 2 * band + side)


# ===--------------------------------------------------------------------------------------=== #
# 2.2 First pass: from samples to logarithms
# ===--------------------------------------------------------------------------------------=== #


@always_inline
def load_group[W: Int, T: DType](job: Job, clip: Int, frame: Int, scratch: Floats):
    """Loads the transposed samples of W frames, mirrored and filled up where necessary."""
    var audio = Memory[T](unsafe_from_address=job.clip_audio(clip))
    var start = HOP * frame - REACH
    comptime count = Layout[W].GROUP_SAMPLES
    if start >= 0 and start + count <= job.extent.samples:
        transpose[W, T](audio.unsafe_offset(start), scratch)
    else:
        var edge = scratch.unsafe_offset(Layout[W].COLUMNS)
        gather_edge[T](audio, job.extent, start, count, edge)
        transpose[W, DType.float32](edge, scratch)


comptime PAGE = 4096
"""Bytes of memory whose addresses are translated together, unless the system has larger pages."""
comptime KNOWN_FRAMES = 1024
"""Frames whose pages are asked for at once."""
comptime WORTH_ASKING = 128
"""Frames from which on it pays."""


@always_inline
def ask_for_pages(first: Int, last: Int):
    """Prefetches a line of each page that the bytes `first` to `last` lie in."""
    comptime options = PrefetchOptions().for_read().medium_locality().to_data_cache()
    var address = first
    while address <= last:
        prefetch[options](Floats(unsafe_from_address=address))
        address = (address | (PAGE - 1)) + 1


@no_inline
def know_pages[T: DType, //](job: Job, clip: Int, features: Features[T], begin: Int, end: Int):
    """Asks for the pages that the frames `begin` to `end` are read from and written to.

    So the processor translates their addresses side by side. One by one, as the groups come to
    them, each would take the time of several accesses to memory, where the tables of pages are not
    in the cache.
    """
    var audio = job.clip_audio(clip)
    var sample_bytes = 2 if job.is_int16 else 4
    ask_for_pages(
        audio + max(HOP * begin - REACH, 0) * sample_bytes,
        audio + (min(HOP * end + REACH, job.extent.samples) - 1) * sample_bytes,
    )
    var row = features.row(0)
    var stride = features.stride()
    var bands = features.n_mels - features.trim  # the borders are small
    var together = max(PAGE // (stride * size_of[T]()), 1)
    var band = 0
    while band < bands:
        var after = min(band + together, bands)
        ask_for_pages(
            Int(row.unsafe_offset(band * stride + begin)),
            Int(row.unsafe_offset((after - 1) * stride + end - 1)),
        )
        band = after


@no_inline
def analyse[
    T: DType, //, bounded: Bool
](job: Job, clip: Int, features: Features[T], begin: Int, end: Int) -> Float32:
    """Writes the logarithms of the clip's frames `begin` to `end`, if `bounded` raised to what the
    form says. Returns their maximum, as they were."""
    comptime W = WIDTH
    var least = job.form.least
    # A page boundary, so that the blocks' places in the cache don't depend on the caller.
    var scratch = rebind[Floats](
        stack_allocation[Layout[W].SIZE, Float32, alignment=4096]().as_unsafe_any_origin()
    )
    prepare_tables[W](scratch)
    var energies = scratch.unsafe_offset(Layout[W].ENERGIES)
    var maximum = Vec[W](SILENCE)
    var sample_bytes = 2 if job.is_int16 else 4
    var stride = features.stride()
    var sounding = max(begin, min(end, job.extent.sounding_frames()))

    for next in range(begin, sounding, W):
        if (next - begin) % KNOWN_FRAMES == 0 and sounding - next >= WORTH_ASKING:
            know_pages(job, clip, features, next, min(next + KNOWN_FRAMES, sounding))
        # The last group computes some frames again rather than be a part of one: to the same bits.
        var frame = min(next, max(sounding - W, begin))
        if job.is_int16:
            load_group[W, DType.int16](job, clip, frame, scratch)
        else:
            load_group[W, DType.float32](job, clip, frame, scratch)
        var next_samples = HOP * (frame + 3 * W) - REACH
        power_spectrum[W](scratch, job.clip_audio(clip) + next_samples * sample_bytes)
        if job.n_mels == 80:
            mel_energies[W, 80](scratch, energies)
        else:
            mel_energies[W, 128](scratch, energies)
        var count = min(W, sounding - frame)
        if count == W and features.holds(frame, frame + W):
            maximum = logarithms[W, bounded](
                energies,
                job.n_mels,
                features.row(0).unsafe_offset(frame),
                stride,
                features.row(job.n_mels - 2).unsafe_offset(frame),
                features.frames if job.smoothing == VALID else stride,
                maximum,
                least,
            )
        else:
            # Only some lanes are frames of ours, or they have no common place in the output.
            var tile = scratch.unsafe_offset(Layout[W].COLUMNS)
            var last = tile.unsafe_offset(W * (job.n_mels - 2))
            var each = logarithms[W, bounded](
                energies, job.n_mels, tile, W, last, W, Vec[W](SILENCE), least
            )
            for lane in range(count):
                maximum[0] = max(maximum[0], each[lane])
                for band in range(job.n_mels):
                    var value = rounded[T, 1](tile[unsafe_offset=W * band + lane])
                    features.at(band, frame + lane)[] = value

    if sounding < end:
        var silence = rounded[T, 1](max(SILENCE, least) if bounded else SILENCE)
        var stop = end if features.holds(sounding, end) else end - 1
        for band in range(job.n_mels):
            fill(silence, features.row(band).unsafe_offset(sounding), stop - sounding)
            features.at(band, end - 1)[] = silence
    if end == job.extent.frames() and not job.is_int16 and not unused_are_finite(job, clip):
        return OVERFLOW  # as if it had been seen
    return maximum.reduce_max()


@always_inline
def analysed(job: Job, clip: Int, slot: Int, begin: Int, end: Int) -> Float32:
    """Analyses frames of a clip as the job wants them. Returns their maximum."""
    if job.form.maximum != FIXED:
        return analyse[False](job, clip, job.features(clip, slot), begin, end)
    if job.form.dtype == FLOAT32 or job.wait():
        return analyse[True](job, clip, job.features(clip, slot), begin, end)
    if job.form.dtype == FLOAT16:
        return analyse[True](job, clip, job.output[DType.float16](clip), begin, end)
    return analyse[True](job, clip, job.output[BFLOAT16_BITS](clip), begin, end)


def unused_are_finite(job: Job, clip: Int) -> Bool:
    """Whether the samples that no frame reaches, at most 119, are neither infinite nor NaN."""
    var audio = Floats(unsafe_from_address=job.clip_audio(clip))
    for i in range(job.extent.first_unused(), job.extent.samples):
        if not is_finite(audio[unsafe_offset=i]):
            return False
    return True


# ===--------------------------------------------------------------------------------------=== #
# 2.3 Second pass: clamp and smooth, in place
# ===--------------------------------------------------------------------------------------=== #

comptime UNROLL = 8
"""Vectors in a step of a long loop."""


@no_inline
def raise_to(least: Float32, values: Floats, to: Floats, count: Int):
    """Sets `to = max(values, least)`; `to` may be `values`."""
    comptime W = WIDTH
    var bound = Vec[W](least)
    var i = 0
    while i + UNROLL * W <= count:
        comptime for k in range(UNROLL):
            var value = values.unsafe_load[width=W](i + k * W)
            to.unsafe_store(i + k * W, greater[W](value, bound))
        i += UNROLL * W
    while i + W <= count:
        to.unsafe_store(i, greater[W](values.unsafe_load[width=W](i), bound))
        i += W
    while i < count:
        to[unsafe_offset=i] = max(values[unsafe_offset=i], least)
        i += 1


comptime TILE = 1024
"""Frames that are smoothed together."""


def shift_mask[W: Int, by: Int]() -> IndexList[W]:
    """W lanes of two neighbouring vectors, from lane `by` on."""
    var mask = IndexList[W]()
    for i in range(W):
        mask[i] = i + by
    return mask


@always_inline
def neighbours[W: Int](before: Vec[W], here: Vec[W], after: Vec[W]) -> Vec[W]:
    """Sum of each frame, the one before it and the one after it."""
    var left = before.shuffle[shift_mask[W, W - 1]()](here)
    return left + here + here.shuffle[shift_mask[W, 1]()](after)


@fieldwise_init
struct ThreeBands(ImplicitlyCopyable, TrivialRegisterPassable):
    """Clamped values of three neighbouring bands, by frame of a tile."""

    var above: Floats
    var centre: Floats
    var below: Floats

    @always_inline
    def sum[W: Int](self, i: Int) -> Vec[W]:
        """Sum over the bands, for each of the frames `i` to `i + W`."""
        var upper = self.above.unsafe_load[width=W](i) + self.centre.unsafe_load[width=W](i)
        return upper + self.below.unsafe_load[width=W](i)

    @always_inline
    def means(self, factor: Float32, to: Floats, count: Int):
        """Writes `factor` times the sum of a frame, the one before and the one after, for each
        frame."""
        comptime W = WIDTH
        var before = self.sum[W](-W)
        var here = self.sum[W](0)
        var i = 0
        while i + UNROLL * W <= count:
            comptime for k in range(UNROLL):
                var after = self.sum[W](i + (k + 1) * W)
                to.unsafe_store(i + k * W, neighbours[W](before, here, after) * factor)
                before = here
                here = after
            i += UNROLL * W
        while i < count:
            var after = self.sum[W](i + W)
            var mean = neighbours[W](before, here, after) * factor
            if i + W <= count:
                to.unsafe_store(i, mean)
            else:
                for lane in range(count - i):
                    to[unsafe_offset=i + lane] = mean[lane]
            before = here
            here = after
            i += W

    @always_inline
    def mean(self, factor: Float32, i: Int) -> Float32:
        """The same for one frame, returned."""
        return (self.sum[1](i - 1) + self.sum[1](i) + self.sum[1](i + 1)) * factor


@fieldwise_init
struct Bounds(ImplicitlyCopyable, TrivialRegisterPassable):
    """What the values of a piece are raised to, and those of the pieces before and after it."""

    var before: Float32
    var least: Float32
    var after: Float32


@no_inline
def smooth(
    job: Job, item: Int, features: Features[DType.float32], begin: Int, end: Int, bounds: Bounds
):
    """Writes the 3 x 3 mean of the clamped values around each of the frames `begin` to `end`.

    Tile after tile, band after band. A result replaces a value that has been added up before:
    `bands` holds the last three bands, clamped, and `left` the frame before the tile. Neighbours
    that do not exist count as zero.
    """
    comptime W = WIDTH
    comptime SIZE = TILE + 3 * W  # a vector before the tile and two after it are looked at
    var scratch = rebind[Floats](
        stack_allocation[3 * SIZE + 128, Float32, alignment=LINE]().as_unsafe_any_origin()
    )
    var left = scratch.unsafe_offset(3 * SIZE)
    var least = bounds.least
    var n_mels = features.n_mels
    var frames = features.frames
    var edge = features.trim // 2  # bands and frames at each end that are no centres
    var start = max(begin, edge)
    var stop = min(end, frames - edge)

    for first in range(start, stop, TILE):
        var after = min(first + TILE, stop)
        var count = after - first
        fill(Float32(0), scratch, 3 * SIZE)
        var bands = ThreeBands(
            scratch.unsafe_offset(W),
            scratch.unsafe_offset(SIZE + W),
            scratch.unsafe_offset(2 * SIZE + W),
        )
        for band in range(n_mels + 1):
            var below = bands.below
            if band == n_mels:
                fill(Float32(0), below.unsafe_offset(-W), SIZE)
            else:
                var row = features.row(band).unsafe_offset(first)
                raise_to(least, row, below, count)
                if first > start:
                    below[unsafe_offset=-1] = max(left[unsafe_offset=band], least)
                elif first > begin:
                    below[unsafe_offset=-1] = max(features.at(band, first - 1)[], least)
                elif first > 0:
                    var halo = job.halos.unsafe_offset((2 * item - 1) * n_mels)
                    below[unsafe_offset=-1] = max(halo[unsafe_offset=band], bounds.before)
                if after < end:
                    below[unsafe_offset=count] = max(features.at(band, after)[], least)
                elif after < frames:
                    var halo = job.halos.unsafe_offset((2 * item + 2) * n_mels)
                    below[unsafe_offset=count] = max(halo[unsafe_offset=band], bounds.after)
                left[unsafe_offset=band] = row[unsafe_offset=count - 1]

            var centre = band - 1
            if edge <= centre < n_mels - edge:
                var there = 3 - Int(centre == 0) - Int(centre == n_mels - 1)
                var to = features.row(centre - edge).unsafe_offset(first)
                bands.means(1 / Float32(3 * there), to, count)
                # The frames at the clip's ends have fewer neighbours.
                for i in range(0, count, max(count - 1, 1)):
                    var ends = Int(first + i == 0) + Int(first + i == frames - 1)
                    if ends > 0:
                        to[unsafe_offset=i] = bands.mean(1 / Float32((3 - ends) * there), i)
            bands = ThreeBands(bands.centre, below, bands.above)


def finish(job: Job, item: Int, slot: Int, begin: Int, end: Int, sound: Bool, bounds: Bounds):
    """Writes the final values of the clip's frames `begin` to `end`; if the clip is not `sound`,
    all of them NaN."""
    var features = job.features(item // job.pieces, slot)
    if job.form.dtype == FLOAT32:
        finish_floats(job, item, features, begin, end, sound, bounds)
    elif job.form.dtype == FLOAT16:
        finish_halves[DType.float16](job, item, features, begin, end, sound, bounds)
    else:
        finish_halves[BFLOAT16_BITS](job, item, features, begin, end, sound, bounds)


def finish_floats(
    job: Job,
    item: Int,
    features: Features[DType.float32],
    begin: Int,
    end: Int,
    sound: Bool,
    bounds: Bounds,
):
    """Finishes values in float32, in place."""
    if not sound:
        fill_frames(NAN, features, begin, end)
    elif job.smoothing != NONE:
        smooth(job, item, features, begin, end, bounds)
    elif job.form.maximum == FIXED:
        return  # they are final
    elif end - begin == features.frames:
        raise_to(bounds.least, features.out_, features.out_, features.n_mels * features.frames)
    else:
        for band in range(features.n_mels):
            var values = features.row(band).unsafe_offset(begin)
            raise_to(bounds.least, values, values, end - begin)


def finish_halves[
    T: DType
](
    job: Job,
    item: Int,
    features: Features[DType.float32],
    begin: Int,
    end: Int,
    sound: Bool,
    bounds: Bounds,
):
    """Finishes values, and rounds those that wait to the output."""
    var to = job.output[T](item // job.pieces)
    if not sound:
        fill_frames(rounded[T, 1](NAN), to, begin, end)
    elif job.wait():
        finish_floats(job, item, features, begin, end, sound, bounds)
        var edge = features.trim // 2
        var first = max(begin, edge)
        var count = min(end, features.frames - edge) - first
        for band in range(features.n_mels - features.trim):
            round_to(
                features.row(band).unsafe_offset(first), to.row(band).unsafe_offset(first), count
            )


def fill_frames[T: DType, //](value: Scalar[T], features: Features[T], begin: Int, end: Int):
    """Sets all values of those frames that are in the output."""
    var edge = features.trim // 2
    var first = max(begin, edge)
    var count = min(end, features.frames - edge) - first
    for band in range(features.n_mels - features.trim):
        fill(value, features.row(band).unsafe_offset(first), count)


@no_inline
def round_to[T: DType, //](values: Floats, to: Memory[T], count: Int):
    """Rounds `count` values."""
    comptime W = WIDTH
    var i = 0
    while i + W <= count:
        to.unsafe_store(i, rounded[T](values.unsafe_load[width=W](i)))
        i += W
    while i < count:
        to[unsafe_offset=i] = rounded[T, 1](values[unsafe_offset=i])
        i += 1


# ===--------------------------------------------------------------------------------------=== #
# 2.4 Threads
# ===--------------------------------------------------------------------------------------=== #


@always_inline
def first_pass(job: Job, item: Int, thread: Int) -> Bool:
    """Computes a whole clip, or analyses a piece of one. Returns False if a whole clip is damaged.
    """
    var slot = job.slot(item, thread)
    if job.pieces == 1:
        var frames = job.extent.frames()
        var maximum = analysed(job, item, slot, 0, frames)
        var least = job.form.least if job.form.maximum == FIXED else maximum - RANGE
        var sound = maximum < OVERFLOW
        finish(job, item, slot, 0, frames, sound, Bounds(least, least, least))
        return sound
    var clip = item // job.pieces
    var begin = item % job.pieces * job.piece_frames
    var end = min(begin + job.piece_frames, job.extent.frames())
    job.maxima[unsafe_offset=item] = analysed(job, clip, slot, begin, end)
    if job.smoothing != NONE:
        var features = job.features(clip, slot)
        var halo = job.halos.unsafe_offset(2 * item * job.n_mels)
        for band in range(job.n_mels):
            halo[unsafe_offset=band] = features.at(band, begin)[]
            halo[unsafe_offset=job.n_mels + band] = features.at(band, end - 1)[]
    return True


@always_inline
def second_pass(job: Job, item: Int) -> Bool:
    """Finishes a piece, when all pieces of its clip are analysed. Returns False if it is damaged.
    """
    var clip = item // job.pieces
    var piece = item % job.pieces
    var begin = piece * job.piece_frames
    var end = min(begin + job.piece_frames, job.extent.frames())
    var sound = job.maximum(clip, 0, job.pieces) < OVERFLOW
    var bounds = Bounds(
        job.least(clip, max(piece - 1, 0)),
        job.least(clip, piece),
        job.least(clip, min(piece + 1, job.pieces - 1)),
    )
    finish(job, item, job.slot(item, 0), begin, end, sound, bounds)
    return sound


comptime MAX_THREADS = 64
comptime SPINS = 1000
"""Times that a thread reads a word it waits for (up to 50 ns each) before it lets others run."""
comptime IDLE_SPINS = 10 * SPINS
"""Times that a worker without work reads a word before it goes to sleep: as long as a clip of 30 s
takes, so that calls in quick succession find it awake. To wake it takes up to 0.1 ms."""


comptime OWN_LINE = LINE // 8
"""Words from one thread's to the next thread's, so that they don't share a cache line."""


struct Pool:
    """Worker threads that sleep until there is work. The calling thread works, too.

    Each has a share of the items, the same in both passes and from call to call: it finds in its
    cache what it has left there. Who has none left takes what others have not begun.

    One call uses the pool at a time (`users`); others, and forked children (`process`), which
    have no workers, compute alone. A call is a round: it opens the `gate`, wakes the workers,
    takes items itself until none is left, closes the gate and waits until the last worker has
    come out. A worker that wakes too late finds the gate closed and is not waited for.
    """

    var mutex: Array[Int64, 8]
    var condition: Array[Int64, 8]
    var process: Int32
    var users: Int64
    var workers: Int64
    var started: Int64
    """Workers that have taken a number."""
    var round: Int64
    var gate: Int64
    """The number of workers inside, plus OPEN while the gate is open."""
    var job: Job
    var threads: Int64
    """Threads in this round, with the calling one, which is number 0."""
    var taken: Array[Int64, 2 * MAX_THREADS * OWN_LINE]
    """Items taken from each thread's share, in each pass."""
    var done_first: Int64
    """Items that have passed the first pass."""
    var damaged: Int64
    """Items that were not finite."""


comptime PoolPointer = Pointer[Pool, MutUntrackedOrigin]
comptime OPEN = Int64(1 << 32)


@always_inline
def add(mut word: Int64, value: Int64) -> Int64:
    """Adds to a word atomically. Returns the value before."""
    return Atomic.fetch_add(Pointer(to=word), value)


@always_inline
def look(mut word: Int64) -> Int64:
    """Reads a word atomically; it stays in the caches of other threads that read it."""
    return Atomic.load(Pointer(to=word))


@always_inline
def relax():
    """Gives the core to its other hardware thread for a moment."""
    comptime if CompilationTarget.is_x86():
        llvm_intrinsic["llvm.x86.sse2.pause", NoneType]()


@always_inline
def wait_until(mut word: Int64, value: Int64):
    """Spins, then lets other threads run, until the word has the value."""
    var spins = 0
    while look(word) != value:
        spins += 1
        if spins > SPINS:
            _ = external_call["sched_yield", Int32]()
        else:
            relax()


@always_inline
def taken_by(pool: PoolPointer, number: Int, second: Int) -> Memory[DType.int64]:
    """Address of the thread's word in `taken` for a pass. By address: an index of an array is
    checked, and to say what is wrong with it takes more libraries than libc."""
    var words = Memory[DType.int64](unsafe_from_address=Int(Pointer(to=pool[].taken)))
    return words.unsafe_offset((MAX_THREADS * second + number) * OWN_LINE)


def take_item(pool: PoolPointer, number: Int, second: Int) -> Int:
    """Takes an item that is left in this pass, of the thread's own share or else of another's;
    -1 if there is none.
    """
    var items = pool[].job.items()
    var threads = Int(pool[].threads)
    for i in range(threads):
        var owner = (number + i) % threads
        var begin = items * owner // threads
        var end = items * (owner + 1) // threads
        var taken = taken_by(pool, owner, second)
        if begin + Int(look(taken[])) < end:
            var item = begin + Int(add(taken[], 1))
            if item < end:
                return item
    return -1


def take_part(pool: PoolPointer, number: Int):
    """Takes items until none is left."""
    var job = pool[].job
    while True:
        var item = take_item(pool, number, 0)
        if item < 0:
            break
        if not first_pass(job, item, number):
            _ = add(pool[].damaged, 1)
        _ = add(pool[].done_first, 1)
    if job.pieces == 1:
        return
    wait_until(pool[].done_first, Int64(job.items()))
    while True:
        var item = take_item(pool, number, 1)
        if item < 0:
            break
        if not second_pass(job, item):
            _ = add(pool[].damaged, 1)


def worker(pool: PoolPointer) abi("C") -> Int:
    """Runs a worker thread, as long as the process lives."""
    var number = add(pool[].started, 1) + 1
    var seen = Int64(0)
    while True:
        # One that was not wanted in the last round goes back to sleep at once.
        var spins = 0 if number < look(pool[].threads) else IDLE_SPINS
        while look(pool[].round) == seen and spins < IDLE_SPINS:
            spins += 1
            relax()
        _ = external_call["pthread_mutex_lock", Int32](Pointer(to=pool[].mutex))
        while look(pool[].round) == seen:
            _ = external_call["pthread_cond_wait", Int32](
                Pointer(to=pool[].condition), Pointer(to=pool[].mutex)
            )
        seen = look(pool[].round)
        _ = external_call["pthread_mutex_unlock", Int32](Pointer(to=pool[].mutex))
        if add(pool[].gate, 1) >= OPEN and number < pool[].threads:
            take_part(pool, Int(number))
        _ = add(pool[].gate, -1)


def start_workers(pool: PoolPointer, wanted: Int64):
    """Starts workers up to the wanted number, if the system allows it, with all signals blocked."""
    comptime SET_MASK = Int32(3) if CompilationTarget.is_macos() else Int32(2)
    var every = Array[Int64, 16](fill=-1)
    var own = Array[Int64, 16](fill=0)
    _ = external_call["pthread_sigmask", Int32](SET_MASK, Pointer(to=every), Pointer(to=own))
    while pool[].workers < wanted:
        var thread = Int64(0)
        if external_call["pthread_create", Int32](Pointer(to=thread), 0, worker, pool) != 0:
            break
        _ = external_call["pthread_detach", Int32](thread)
        pool[].workers += 1
    _ = external_call["pthread_sigmask", Int32](SET_MASK, Pointer(to=own), Pointer(to=every))


def reserve(address: Int) -> Bool:
    """Reserves a pool for the caller. False if it is null, in use, or another process's."""
    if address == 0:
        return False
    var pool = PoolPointer(unsafe_from_address=address)
    if pool[].process != external_call["getpid", Int32]():
        return False
    if add(pool[].users, 1) == 0:
        return True
    release(address)
    return False


def release(address: Int):
    """Ends a reservation by `reserve`."""
    _ = add(PoolPointer(unsafe_from_address=address)[].users, -1)


def run_with_workers(address: Int, job: Job, threads: Int) -> Bool:
    """Runs the job on several threads with a reserved pool. False if items are damaged."""
    var pool = PoolPointer(unsafe_from_address=address)
    start_workers(pool, Int64(threads - 1))
    pool[].job = job
    Atomic.store(Pointer(to=pool[].threads), Int64(threads))  # workers may be looking
    for number in range(threads):
        taken_by(pool, number, 0)[] = 0
        taken_by(pool, number, 1)[] = 0
    pool[].done_first = 0
    pool[].damaged = 0
    _ = add(pool[].gate, OPEN)
    _ = external_call["pthread_mutex_lock", Int32](Pointer(to=pool[].mutex))
    _ = add(pool[].round, 1)
    _ = external_call["pthread_cond_broadcast", Int32](Pointer(to=pool[].condition))
    _ = external_call["pthread_mutex_unlock", Int32](Pointer(to=pool[].mutex))
    take_part(pool, 0)
    _ = add(pool[].gate, -OPEN)
    wait_until(pool[].gate, 0)
    return look(pool[].damaged) == 0


def run_alone(job: Job) -> Bool:
    """Runs a job on the calling thread, clip after clip. False if a clip is damaged."""
    var finite = True
    for clip in range(job.clips):
        for item in range(clip * job.pieces, (clip + 1) * job.pieces):
            finite = first_pass(job, item, 0) and finite
        if job.pieces > 1:
            for item in range(clip * job.pieces, (clip + 1) * job.pieces):
                finite = second_pass(job, item) and finite
    return finite


# ===--------------------------------------------------------------------------------------=== #
# 2.5 C interface
# ===--------------------------------------------------------------------------------------=== #

comptime OK = 0
comptime BAD_POINTER = 1
comptime BAD_MELS = 2
comptime BAD_SMOOTHING = 3
comptime BAD_SHAPE = 4
comptime BAD_PAD_TO = 5
comptime TOO_SHORT = 6
comptime TOO_FEW_FRAMES = 7
comptime BAD_OUT = 8
comptime BAD_THREADS = 9
comptime NO_MEMORY = 10
comptime NOT_FINITE = 11
comptime OVERFLOWED = 12
comptime BAD_MAXIMUM = 13
comptime BAD_DTYPE = 14
comptime CHUNKS_SMOOTHED = 15

comptime STANDARD_MODE = 0x1F80 if CompilationTarget.is_x86() else 0
"""Rounding to nearest, denormals kept, no traps: MXCSR on x86-64, FPCR on ARM. Workers have it from
the calling thread that starts them."""


@always_inline
def float_mode() -> Int:
    """The thread's control word of floating-point arithmetic."""
    comptime if CompilationTarget.is_x86():
        var word = UInt32(0)
        llvm_intrinsic["llvm.x86.sse.stmxcsr", NoneType](Pointer(to=word))
        return Int(word)
    elif CompilationTarget.has_neon():
        return Int(llvm_intrinsic["llvm.aarch64.get.fpcr", Int64]())
    else:
        return STANDARD_MODE


@always_inline
def set_float_mode(mode: Int):
    """Sets the thread's control word of floating-point arithmetic."""
    comptime if CompilationTarget.is_x86():
        var word = UInt32(mode)
        llvm_intrinsic["llvm.x86.sse.ldmxcsr", NoneType](Pointer(to=word))
    elif CompilationTarget.has_neon():
        llvm_intrinsic["llvm.aarch64.set.fpcr", NoneType](Int64(mode))


comptime MIN_PIECE = 64
"""Frames in the smallest piece; smaller ones would cost more than they help."""
comptime ITEMS_PER_THREAD = 4
"""Pieces for each thread, so that one that wakes late or is interrupted does not delay the
others."""


def argument_error(
    audio: Int,
    clips: Int,
    samples: Int,
    pad_to: Int,
    n_mels: Int,
    smoothing: Int,
    out_: Int,
    out_len: Int,
    threads: Int,
) -> Int:
    """Status of the first argument that is wrong, or OK."""
    if audio == 0 or out_ == 0:
        return BAD_POINTER
    if n_mels != 80 and n_mels != 128:
        return BAD_MELS
    if smoothing < NONE or smoothing > SAME:
        return BAD_SMOOTHING
    if clips < 1 or samples < 1:
        return BAD_SHAPE
    if pad_to != 0 and pad_to < samples:
        return BAD_PAD_TO
    if threads < 1:
        return BAD_THREADS
    var extent = Extent(samples, max(samples, pad_to))
    if extent.length < REACH + 1:
        return TOO_SHORT
    var frames = extent.frames()
    var trim = 2 if smoothing == VALID else 0
    if frames <= trim:
        return TOO_FEW_FRAMES
    if out_len // (frames - trim) // (n_mels - trim) < clips:
        return BAD_OUT
    return OK


def form_error(maximum: Int, fixed: Float64, dtype: Int) -> Int:
    """Status of the first of these arguments that is wrong, or OK."""
    if maximum < CLIP or maximum > CHUNK or (maximum == FIXED and not is_finite(least_of(fixed))):
        return BAD_MAXIMUM
    return OK if FLOAT32 <= dtype <= BFLOAT16 else BAD_DTYPE


def divide(whole: Job, threads: Int) -> Job:
    """Cuts the clips into pieces where there are too few clips to keep the threads busy, and where
    chunks have maxima of their own."""
    var job = whole
    var frames = job.extent.frames()
    if threads > 1 and job.clips < ITEMS_PER_THREAD * threads:
        var wanted = (ITEMS_PER_THREAD * threads + job.clips - 1) // job.clips
        job.piece_frames = max(
            MIN_PIECE, ((frames + wanted - 1) // wanted + WIDTH - 1) // WIDTH * WIDTH
        )
    if job.form.maximum == CHUNK:
        var parts = (CHUNK_FRAMES + job.piece_frames - 1) // job.piece_frames
        while CHUNK_FRAMES % parts != 0:
            parts += 1
        job.piece_frames = CHUNK_FRAMES // parts
    job.pieces = (frames + job.piece_frames - 1) // job.piece_frames
    job.slots = 1 if threads == 1 else (threads if job.pieces == 1 else job.clips)
    return job


def with_memory(divided: Job, threads: Int, pool: Int) -> Int:
    """Runs a job with memory for what it keeps beside the output.

    threads: more than one with a reserved pool only. Returns OK, NO_MEMORY, or NOT_FINITE if a clip
    is damaged for whatever reason.
    """
    var job = divided
    var waiting = job.size() * job.slots if job.wait() else 0
    var borders = job.border_size() * job.slots
    var halos = 2 * job.n_mels * job.items() if job.pieces > 1 and job.smoothing != NONE else 0
    var maxima = job.items() if job.pieces > 1 else 0
    var memory = 0
    if waiting + borders + halos + maxima > 0:
        memory = external_call["malloc", Int](4 * (waiting + borders + halos + maxima))
        if memory == 0:
            return NO_MEMORY
        job.waiting = Floats(unsafe_from_address=memory)
        job.borders = job.waiting.unsafe_offset(waiting)
        job.halos = job.borders.unsafe_offset(borders)
        job.maxima = job.halos.unsafe_offset(halos)
    var finite = run_alone(job) if threads == 1 else run_with_workers(pool, job, threads)
    external_call["free", NoneType](memory)
    return OK if finite else NOT_FINITE


@export
def whisper_mel_pool_new() abi("C") -> Int:
    """Makes a pool of threads for calls of this process, for as long as it lives. 0 without memory.
    """
    var address = external_call["calloc", Int](1, size_of[Pool]())
    if address != 0:
        var pool = PoolPointer(unsafe_from_address=address)
        pool[].process = external_call["getpid", Int32]()
        _ = external_call["pthread_mutex_init", Int32](Pointer(to=pool[].mutex), 0)
        _ = external_call["pthread_cond_init", Int32](Pointer(to=pool[].condition), 0)
    return address


@export
def whisper_mel_log_mel(
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
    threads: Int,
    pool: Int,
    bad_sample: Int,
) abi("C") -> Int:
    """Computes log-Mel features of a batch of clips of equal length. Returns 0, or a status for
    `whisper_mel_message`.

    audio: address of float32 samples of full scale 1, or with `is_int16` of int16 PCM;
        16000 a second, clip i beginning `clip_stride * i` samples after the first. Only read.
    pad_to: zeros are appended up to this number of samples; 0: none.
    n_mels: 80 or 128. smoothing: 0 none, 1 valid, 2 same.
    out: address of float32 [clips][n_mels][frames] (with smoothing 1 of two bands and two frames
        fewer), frames = (pad_to or samples) / 160. out_len: floats that fit there; more than
        necessary are not touched.
    threads: at most this many work on it. pool: from `whisper_mel_pool_new`; 0: one thread only.
    bad_sample: 0, or the address of an int64: for NOT_FINITE set to clip * samples + index of
        the first sample that is infinite or NaN.

    Nothing is written on errors, except that for NOT_FINITE and OVERFLOWED the features of the
    clips concerned are NaN, and those of the others valid. The calling thread's rounding mode,
    treatment of denormals, traps and exception flags have no effect, and are left as they were.
    """
    return whisper_mel_log_mel_as(
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
        threads,
        pool,
        bad_sample,
        CLIP,
        0,
        FLOAT32,
    )


@export
def whisper_mel_log_mel_as(
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
    threads: Int,
    pool: Int,
    bad_sample: Int,
    maximum: Int,
    fixed: Float64,
    dtype: Int,
) abi("C") -> Int:
    """As `whisper_mel_log_mel`, with a choice of the maximum that values are clamped to, and of the
    output's type.

    maximum: 0 the clip's; 1 `fixed`, in units of log10, whatever the clip's; 2 of every 3000 frames
        their own.
    dtype: 0 float32, 1 float16, 2 bfloat16, both rounded once from float32. out_len: values.
    """
    var status = argument_error(
        audio, clips, samples, pad_to, n_mels, smoothing, out_, out_len, threads
    )
    if status == OK:
        status = form_error(maximum, fixed, dtype)
    if status != OK:
        return status
    var frames = max(samples, pad_to) // HOP
    var nowhere = Floats(unsafe_from_address=out_)
    var job = Job(
        audio,
        is_int16 != 0,
        clips,
        Extent(samples, max(samples, pad_to)),
        clip_stride,
        n_mels,
        smoothing,
        Form(
            CLIP if maximum == CHUNK and frames <= CHUNK_FRAMES else maximum, least_of(fixed), dtype
        ),
        out_,
        pieces=1,
        piece_frames=frames,
        slots=1,
        waiting=nowhere,  # these four: where `with_memory` has memory for them, if any is needed
        borders=nowhere,
        halos=nowhere,
        maxima=nowhere,
    )
    var workforce = max(1, min(threads, MAX_THREADS, clips * frames // MIN_PIECE))
    if workforce > 1 and not reserve(pool):
        workforce = 1
    var callers_mode = float_mode()
    set_float_mode(STANDARD_MODE)
    status = with_memory(divide(job, workforce), workforce, pool)
    set_float_mode(callers_mode)
    if workforce > 1:
        release(pool)
    if status == NOT_FINITE:
        return explain(audio, is_int16 != 0, clips, samples, clip_stride, bad_sample)
    return status


@export
def whisper_mel_log_mel_alike(
    prepared: Int, audio: Int, clip_stride: Int, out_: Int, threads: Int, bad_sample: Int
) abi("C") -> Int:
    """Calls `whisper_mel_log_mel_as` with arguments that many calls have in common, because passing
    each of them takes a caller in Python time.

    prepared: address of eleven words of 64 bits: is_int16, clips, samples, pad_to, n_mels,
        smoothing, out_len, pool, maximum, fixed, dtype. The others are as there.
    """
    var common = Memory[DType.int64](unsafe_from_address=prepared)
    return whisper_mel_log_mel_as(
        audio,
        Int(common[unsafe_offset=0]),
        Int(common[unsafe_offset=1]),
        Int(common[unsafe_offset=2]),
        clip_stride,
        Int(common[unsafe_offset=3]),
        Int(common[unsafe_offset=4]),
        Int(common[unsafe_offset=5]),
        out_,
        Int(common[unsafe_offset=6]),
        threads,
        Int(common[unsafe_offset=7]),
        bad_sample,
        Int(common[unsafe_offset=8]),
        bitcast[DType.float64, 1](common[unsafe_offset=9]),
        Int(common[unsafe_offset=10]),
    )


def explain(
    audio: Int, is_int16: Bool, clips: Int, samples: Int, clip_stride: Int, bad_sample: Int
) -> Int:
    """Status of a call with damaged clips: NOT_FINITE, with the first bad sample's index, or
    OVERFLOWED."""
    if not is_int16:
        for clip in range(clips):
            var clip_audio = Floats(unsafe_from_address=audio + 4 * clip * clip_stride)
            for i in range(samples):
                if not is_finite(clip_audio[unsafe_offset=i]):
                    if bad_sample != 0:
                        Memory[DType.int64](unsafe_from_address=bad_sample)[] = Int64(
                            clip * samples + i
                        )
                    return NOT_FINITE
    return OVERFLOWED


@always_inline
def address_of(text: StaticString) -> Int:
    """Address of a literal, which the compiler ends with a zero."""
    return Int(text.unsafe_ptr())


@export
def whisper_mel_message(status: Int) abi("C") -> Int:
    """Address of a constant C string that says what a status means."""
    if status == OK:
        return address_of("success")
    if status == BAD_POINTER:
        return address_of("audio or out is null")
    if status == BAD_MELS:
        return address_of("n_mels must be 80 or 128")
    if status == BAD_SMOOTHING:
        return address_of("smoothing must be 0 (none), 1 (valid) or 2 (same)")
    if status == BAD_SHAPE:
        return address_of("there must be at least one clip of at least one sample")
    if status == BAD_PAD_TO:
        return address_of("pad_to must be 0 or at least the number of samples")
    if status == TOO_SHORT:
        return address_of("at least 201 samples are needed, or pad_to")
    if status == TOO_FEW_FRAMES:
        return address_of("smoothing valid needs at least 3 frames")
    if status == BAD_OUT:
        return address_of("the features do not fit into out_len floats")
    if status == BAD_THREADS:
        return address_of("threads must be at least 1")
    if status == NO_MEMORY:
        return address_of("out of memory")
    if status == NOT_FINITE:
        return address_of("a sample is infinite or NaN")
    if status == OVERFLOWED:
        return address_of("amplitudes are so large that float32 power overflows")
    if status == BAD_MAXIMUM:
        return address_of("maximum must be 0 (clip), 1 (a finite number) or 2 (chunk)")
    if status == BAD_DTYPE:
        return address_of("dtype must be 0 (float32), 1 (float16) or 2 (bfloat16)")
    if status == CHUNKS_SMOOTHED:
        return address_of("on a device, maximum 2 (chunk) must be without smoothing")
    return address_of("unknown status")


# ===--------------------------------------------------------------------------------------=== #
# 2.6 Streams
# ===--------------------------------------------------------------------------------------=== #

# A frame is final when all its samples are there: frame i with sample 160 i + 199, and frame 0,
# which is mirrored, with sample 200. Those after it are mirrored at the end of what there is so far,
# and computed again when there is more.

comptime AT_A_TIME = 4 * WIDTH
"""Frames of a stream that are computed together."""
comptime STREAM_ROOM = N_FFT + HOP * AT_A_TIME
"""Samples in a stream's memory during a call; between calls it keeps fewer than N_FFT."""


struct Stream:
    """Audio that comes in pieces: the samples that the next frames need."""

    var n_mels: Int
    var form: Form
    var pushed: Int
    """Samples so far."""
    var frames: Int
    """Frames that were computed and are final."""
    var held: Int
    """Samples that are kept, the last ones."""
    var damaged: Bool
    """Whether the power of a frame has overflowed."""
    var samples: Array[Float32, STREAM_ROOM]

    def memory(mut self) -> Floats:
        return Floats(unsafe_from_address=Int(Pointer(to=self.samples)))

    def lead(self) -> Int:
        """Frames before the next one, in terms of which `job` counts: two, unless the clip's start is
        mirrored."""
        return min(self.frames, 2)

    def job(mut self, end: Int) -> Job:
        """Work on the samples that are kept, as on a clip that begins `lead` frames before the next
        one and ends with sample `end` of the stream. Samples before those that are kept are not
        read."""
        var begin = HOP * (self.frames - self.lead())
        var address = self.memory()
        var missing = self.pushed - self.held - begin
        var extent = Extent(self.pushed - begin, end - begin)
        return Job(
            Int(address) - 4 * missing,
            False,
            1,
            extent,
            0,
            self.n_mels,
            NONE,
            self.form,
            Int(address),
            pieces=1,
            piece_frames=extent.frames(),
            slots=1,
            waiting=address,
            borders=address,
            halos=address,
            maxima=address,
        )

    def compute(mut self, end: Int, frames: Int, out_: Floats, stride: Int) -> Bool:
        """Writes the next frames. False if their power overflows."""
        var job = self.job(end)
        var first = self.lead()
        var place = out_.unsafe_offset(-first)
        var features = Features[DType.float32](place, place, stride, self.n_mels, 0)
        var maximum: Float32
        if self.form.maximum == FIXED:
            maximum = analyse[True](job, 0, features, first, first + frames)
        else:
            maximum = analyse[False](job, 0, features, first, first + frames)
        return maximum < OVERFLOW

    def take(mut self, audio: Int, is_int16: Bool, count: Int):
        """Appends samples to those that are kept."""
        var to = self.memory().unsafe_offset(self.held)
        if is_int16:
            copy_samples(Memory[DType.int16](unsafe_from_address=audio), to, count)
        else:
            copy_samples(Floats(unsafe_from_address=audio), to, count)
        self.held += count
        self.pushed += count

    def drop(mut self, frames: Int):
        """Drops the samples that no frame after the next `frames` needs."""
        self.frames += frames
        var keep = self.pushed - max(HOP * self.frames - REACH, 0)
        copy_samples(self.memory().unsafe_offset(self.held - keep), self.memory(), keep)
        self.held = keep


def are_finite(values: Floats, count: Int) -> Bool:
    """Whether none of the values is infinite or NaN."""
    comptime W = WIDTH
    var i = 0
    while i + W <= count:
        if not abs(values.unsafe_load[width=W](i)).lt(Vec[W](Float32.MAX)).reduce_and():
            return False
        i += W
    while i < count:
        if not is_finite(values[unsafe_offset=i]):
            return False
        i += 1
    return True


comptime StreamPointer = Pointer[Stream, MutUntrackedOrigin]


def final_frames(samples: Int) -> Int:
    """Frames of a stream of so many samples that more of them don't change."""
    return (samples - REACH) // HOP + 1 if samples > REACH else 0


@export
def whisper_mel_stream_of(n_mels: Int, maximum: Int, fixed: Float64) abi("C") -> Int:
    """Makes a stream, as `whisper_mel_log_mel_as` with the maximum 0 (the clip's) or 1 (`fixed`). 0
    without memory, or for other arguments."""
    if (n_mels != 80 and n_mels != 128) or maximum == CHUNK:
        return 0
    if form_error(maximum, fixed, FLOAT32) != OK:
        return 0
    var address = external_call["calloc", Int](1, size_of[Stream]())
    if address != 0:
        var stream = StreamPointer(unsafe_from_address=address)
        stream[].n_mels = n_mels
        stream[].form = Form(maximum, least_of(fixed), FLOAT32)
    return address


@export
def whisper_mel_stream_drop(stream: Int) abi("C"):
    """Frees a stream, or nothing if it is null."""
    external_call["free", NoneType](stream)


@export
def whisper_mel_stream_ready(stream: Int, samples: Int) abi("C") -> Int:
    """The number of frames that become final with so many more samples."""
    var it = StreamPointer(unsafe_from_address=stream)
    return final_frames(it[].pushed + max(samples, 0)) - it[].frames


@export
def whisper_mel_stream_take(
    stream: Int, audio: Int, is_int16: Int, samples: Int, out_: Int, stride: Int, bad_sample: Int
) abi("C") -> Int:
    """Takes more samples and writes the frames that become final with them. Returns a status.

    out: [n_mels][stride], of which the first `whisper_mel_stream_ready` columns are written: values
    that are final if the maximum is fixed; else the clip's maximum minus 2 has to be looked for, and
    what is below be raised to it. Nothing is taken if a sample is infinite or NaN (`bad_sample` as
    for `whisper_mel_log_mel`), or for wrong arguments. Once power has overflowed, calls fail.
    """
    var it = StreamPointer(unsafe_from_address=stream)
    if stream == 0 or (audio == 0 and samples > 0):
        return BAD_POINTER
    if samples < 0:
        return BAD_SHAPE
    var ready = whisper_mel_stream_ready(stream, samples)
    if ready > 0 and (out_ == 0 or stride < ready):
        return BAD_OUT if out_ != 0 else BAD_POINTER
    if is_int16 == 0 and not are_finite(Floats(unsafe_from_address=audio), samples):
        return explain(audio, False, 1, samples, samples, bad_sample)
    var callers_mode = float_mode()
    set_float_mode(STANDARD_MODE)
    var to = Floats(unsafe_from_address=out_)
    var done = 0
    while done < samples:
        var count = min(samples - done, STREAM_ROOM - it[].held)
        it[].take(audio + done * (2 if is_int16 != 0 else 4), is_int16 != 0, count)
        done += count
        var frames = final_frames(it[].pushed) - it[].frames
        if frames > 0:
            var pushed = it[].pushed
            it[].damaged = not it[].compute(pushed, frames, to, stride) or it[].damaged
            to = to.unsafe_offset(frames)
            it[].drop(frames)
    set_float_mode(callers_mode)
    return OVERFLOWED if it[].damaged else OK


@export
def whisper_mel_stream_tail(stream: Int, pad_to: Int, out_: Int, stride: Int) abi("C") -> Int:
    """Writes the frames after those that are final, as if the audio ended here, which it need not.

    pad_to: as for `whisper_mel_log_mel`. out: [n_mels][stride], of which the columns up to the
    number of frames of the whole audio are written.
    """
    var it = StreamPointer(unsafe_from_address=stream)
    if stream == 0:
        return BAD_POINTER
    var pushed = it[].pushed
    if pad_to != 0 and pad_to < pushed:
        return BAD_PAD_TO
    var end = max(pushed, pad_to)
    if end <= REACH:
        return TOO_SHORT
    var frames = end // HOP - it[].frames
    if frames > 0:
        if out_ == 0 or stride < frames:
            return BAD_OUT if out_ != 0 else BAD_POINTER
        var callers_mode = float_mode()
        set_float_mode(STANDARD_MODE)
        var sound = it[].compute(end, frames, Floats(unsafe_from_address=out_), stride)
        set_float_mode(callers_mode)
        if not sound:
            return OVERFLOWED
    return OVERFLOWED if it[].damaged else OK


# ============================================================================================ #
# Part 3: a clip on a GPU (docs/gpu.md)
# ============================================================================================ #


# ===--------------------------------------------------------------------------------------=== #
# 3.1 How a launch divides its work
# ===--------------------------------------------------------------------------------------=== #

comptime WORKERS = 8
"""Threads for each frame of a group: as many as there are columns after the DFTs of 16."""
comptime COLUMN_SLOTS = REAL_SLOTS + 50

comptime BLOCK_GROUP = 16
"""Frames in a group where one block does a clip, in the 48 KiB of shared memory that every device
has except Apple's."""
comptime APPLE_GROUP = 8
"""Frames in a group where one block does a clip in Apple's 32 KiB of shared memory."""
comptime CLUSTER_GROUP = 32
"""Frames in a group where a cluster of blocks does a clip: all threads of a warp are one worker."""
comptime CLUSTER_ROOM = 227 * 1024
"""Bytes of shared memory that a block of a cluster can have."""
comptime ENOUGH_BLOCKS = 512
"""Blocks that keep any device busy, where each can do any part of a clip."""
comptime Frame = Int32
"""Number of a clip's frame, or a count of them: no device has the memory for the features of 2**30.
Arithmetic in 64 bits takes a device two to four instructions."""


comptime MANY = 0
"""Kernel for batches: a multiprocessor works on several blocks at the same time."""
comptime FEW = 1
"""Kernel for a few clips, which leave most of a device idle: blocks with twice the threads."""
comptime SMOOTHED = 2
"""Kernel for smoothing, which keeps values in shared memory."""
comptime FORMED = 3
"""As SMOOTHED, for any form: smoothing with a fixed maximum, and halves that wait."""
comptime DIRECT = 4
"""Kernels for a fixed maximum without smoothing, one for each type of the output: values are final
where they are computed, and blocks need not know of each other."""


def kind_of(clusters: Bool, clips: Int, smoothing: Int, form: Form) -> Int:
    """Returns the kind of kernel that a launch takes."""
    comptime forced = get_defined_int["KIND", -1]()
    if form.maximum == FIXED and smoothing == NONE:
        return DIRECT + form.dtype
    if form.maximum == FIXED or form.dtype != FLOAT32:
        return FORMED
    if smoothing != NONE:
        return SMOOTHED
    if not clusters:
        return MANY
    comptime if forced >= 0:
        return forced
    return FEW if clips <= 7 else MANY


struct Mapping[n_mels: Int, clusters: Bool, kind: Int, group_alone: Int = BLOCK_GROUP]:
    """Division of a launch's work: `clusters` of blocks, or one block alone for each clip.

    Without smoothing a block keeps no values: they wait in the output for the clip's maximum. So a
    multiprocessor has room for several blocks, and a clip of any length is computed once. With
    smoothing a block keeps a tile of values, since a mean takes its neighbours' as well. So it does
    if halves have to wait, for which the output has no room. With a fixed maximum nothing waits.

    `-D KIND=` and `BLOCKS=` change it for clusters, to be timed (`./dev gpu bundle`).
    """

    comptime TILED = Self.kind == SMOOTHED or Self.kind == FORMED
    comptime WIDE = Self.kind == FEW or (Self.TILED and Self.n_mels == 80)
    """Whether a block has a multiprocessor for itself, and twice the threads."""
    comptime GROUP = (
        2 * CLUSTER_GROUP if Self.WIDE else CLUSTER_GROUP
    ) if Self.clusters else Self.group_alone
    comptime RESIDENT = 3 if Self.clusters and not Self.WIDE and not Self.TILED else 1
    """Blocks for which a multiprocessor must have registers."""
    comptime SPACE = CLUSTER_ROOM // 4 - Block[Self.n_mels, Self.GROUP, 0, MANY].SIZE
    comptime TILE = 0 if not Self.TILED else (
        (
            Self.SPACE // Self.n_mels // Self.GROUP * Self.GROUP
        ) if Self.clusters else Self.group_alone
    )
    """Frames whose values a block keeps: in a cluster, the whole groups for which there is room."""
    comptime THREADS = WORKERS * Self.GROUP
    comptime SHARED = 4 * Block[Self.n_mels, Self.GROUP, Self.TILE, Self.kind].SIZE
    """Bytes of shared memory that a block uses."""
    comptime kernel = mel_kernel[Self.n_mels, Self.GROUP, Self.TILE, Self.kind, Self.RESIDENT]

    @staticmethod
    def cluster(clips: Int) -> Int:
        """Returns the number of blocks that find a maximum together."""
        comptime if Self.kind >= DIRECT:
            return 1
        else:
            return Self.blocks(clips, 0)

    @staticmethod
    def blocks(clips: Int, rows: Int) -> Int:
        """Returns the number of blocks for each of so many clips (or chunks) of `rows` frames."""
        comptime forced = get_defined_int["BLOCKS", 0]()
        comptime if Self.kind >= DIRECT:
            var groups = (rows + Self.GROUP - 1) // Self.GROUP
            var each = max(1, (groups * clips + ENOUGH_BLOCKS - 1) // ENOUGH_BLOCKS)
            return (groups + each - 1) // each
        elif not Self.clusters:
            return 1
        elif Self.TILED:
            return 16  # their tiles together hold the values of a clip of 30 s
        elif forced > 0:
            return forced
        else:
            return 16 if clips <= 64 else 8


# ===--------------------------------------------------------------------------------------=== #
# 3.2 The clips of a launch
# ===--------------------------------------------------------------------------------------=== #


@fieldwise_init
struct Batch(ImplicitlyCopyable, TrivialRegisterPassable):
    """Clips of one launch, in the device's memory. Counts are 64 bits wide."""

    var audio: Floats
    """First sample; reinterpreted as int16 if `is_int16`."""
    var is_int16: Bool
    var lengths: Memory[DType.int64]
    """If `ragged`: samples of each clip, 1 to `samples`; the features of any other clip are NaN."""
    var ragged: Bool
    var samples: Int
    """Samples of each clip, or if `ragged` of the longest one."""
    var clip_stride: Int
    """Samples from one clip to the next."""
    var pad_to: Int
    """Samples up to which zeros are appended; 0: none."""
    var smoothing: Int
    var form: Form
    var out_: Floats
    """First value, of whatever type."""

    @always_inline
    def rows(self) -> Int:
        """Frames for which there is room in the output, with the two that `VALID` omits."""
        return max(self.samples, self.pad_to) // HOP

    @always_inline
    def chunks(self) -> Int:
        """Parts of each clip that have a maximum each."""
        return self.form.chunks(self.rows())

    @always_inline
    def clip[n_mels: Int](self, clip: Int, chunk: Int) -> DeviceClip:
        var samples = Int(self.lengths[unsafe_offset=clip]) if self.ragged else self.samples
        # Lengths are in the device's memory: only here can it be seen that one promises too much.
        var possible = 0 < samples <= self.samples
        samples = samples if possible else 0
        var edge = 1 if self.smoothing == VALID else 0
        var rows = Frame(self.rows())
        var size = (n_mels - 2 * edge) * (Int(rows) - 2 * edge)
        var first = clip * self.clip_stride
        var begin = Frame(chunk * CHUNK_FRAMES)
        return DeviceClip(
            self.audio.unsafe_offset(0 if self.is_int16 else first),
            self.audio.unsafe_bitcast[Int16]().unsafe_offset(first if self.is_int16 else 0),
            self.is_int16,
            Extent(samples, max(samples, self.pad_to) if possible else 0),
            self.smoothing,
            self.form,
            self.out_.unsafe_bitcast[UInt8]().unsafe_offset(clip * size * self.form.itemsize()),
            rows,
            begin,
            min(begin + CHUNK_FRAMES, rows) if self.form.maximum == CHUNK else rows,
        )


@fieldwise_init
struct DeviceClip(ImplicitlyCopyable, TrivialRegisterPassable):
    """One clip of a launch."""

    var floats: Floats
    """First sample, unless `is_int16`."""
    var shorts: Memory[DType.int16]
    """First sample if `is_int16`."""
    var is_int16: Bool
    var extent: Extent
    var smoothing: Int
    var form: Form
    var out_: Memory[DType.uint8]
    """First byte of the output. (As a number, the compiler would lose which memory it is in.)"""
    var rows: Frame
    """Frames for which there is room in the output, with the two that `VALID` omits. The clip's own
    come first, the others are as silence."""
    var first: Frame
    """First frame of what has a maximum of its own: the clip, or a chunk of it."""
    var end: Frame
    """Frame after its last."""

    @always_inline
    def values[T: DType = DType.float32](self) -> Memory[T]:
        """The first value."""
        return self.out_.unsafe_bitcast[Scalar[T]]()

    @always_inline
    def frames(self) -> Frame:
        """The clip's own frames."""
        return Frame(self.extent.frames())

    @always_inline
    def reached(self) -> Frame:
        """Frames before the first that begins behind the samples."""
        return Frame((self.extent.samples + REACH + HOP - 1) // HOP)

    @always_inline
    def sounding(self) -> Frame:
        """The clip's own frames that reach into the samples: those before this one."""
        return min(self.frames(), self.reached())

    @always_inline
    def too_short(self) -> Bool:
        """Whether the clip has too few samples; the host refuses such clips where it knows their
        lengths."""
        return self.extent.length <= REACH or (self.smoothing == VALID and self.frames() < 3)

    @always_inline
    def margin(self) -> Frame:
        """Frames that a tile needs on each side to smooth its own."""
        return 0 if self.smoothing == NONE else 1


# ===--------------------------------------------------------------------------------------=== #
# 3.3 What one block of threads does, in phases
# ===--------------------------------------------------------------------------------------=== #


trait SharedMemory(Scratch):
    """Shared memory of a block."""

    def copy[T: DType](self, at: Int, source: Memory[T]):
        """Copies a sample to float `at`, where the thread sees it after `wait_for_copies`."""
        ...

    def copy_if[T: DType](self, exists: Bool, at: Int, source: Memory[T], other: Memory[T]):
        """As `copy`, but stores 0 where there is no sample; `other` can be read in any case."""
        ...

    def wait_for_copies(self):
        """Waits for the copies of this thread."""
        ...

    def of_block(self, rank: Int32, at: Int) -> Float32:
        """Float `at` of another block of the same cluster."""
        ...


comptime PREPARE = 0
comptime FETCH = 1
comptime COLUMNS = 2
comptime POWERS = 3
comptime BANDS_OF_GROUP = 4
comptime MAXIMA = 5
comptime FEWER_MAXIMA = 6
comptime MAXIMUM = 7
comptime AGREE = 8
comptime FINISH = 9
"""Phases: all threads of a block end one before any of them begins the next, unless said otherwise.
"""

comptime NOBODY = 0
comptime WHOLE_BLOCK = 1
comptime WHOLE_CLUSTER = 2
"""Those for whom a thread waits after a phase. Without clusters the last one is the block."""


@fieldwise_init
struct Step(ImplicitlyCopyable, TrivialRegisterPassable):
    """Position in a block's program: the same for all its threads."""

    var tile: Frame
    """First frame that is computed for the block's tile."""
    var group: Frame
    """First frame of the group."""


trait Team:
    """Threads that carry out a block's program together."""

    def phase[
        n_mels: Int,
        group: Int,
        tile: Int,
        kind: Int,
        //,
        phase: Int,
        wait_for: Int = WHOLE_BLOCK,
    ](mut self, block: Block[n_mels, group, tile, kind], step: Step):
        """Runs a phase by all threads of the block, who then wait for others."""
        ...


@always_inline
def output_of(kind: Int) -> DType:
    """Returns the type in which a kind of kernel without a tile stores values."""
    if kind == DIRECT + FLOAT16:
        return DType.float16
    return BFLOAT16_BITS if kind == DIRECT + BFLOAT16 else DType.float32


@always_inline
def raised_or_nan(value: Float32, least: Float32) -> Float32:
    """A final value, by a fixed maximum; NaN where power is not finite."""
    return max(value, least) if value < OVERFLOW else NAN


comptime AGREEING = 4
"""Threads of a block that read the other blocks' maxima, each some of them."""
comptime BAND_COST = 13
"""Work for a band beside its terms, in terms: its logarithm, and storing that."""


def stream_bands[n_mels: Int]() -> Array[Int, WORKERS + 1]:
    """The first band of each worker; then `n_mels`."""
    var plan = mel_plan[n_mels, WORKERS, True, BAND_COST]()
    var bands = Array[Int, WORKERS + 1](fill=n_mels)
    for i in range(WORKERS * STREAM_TERMS):
        if plan[i].band >= 0:
            bands[i % WORKERS] = min(bands[i % WORKERS], plan[i].band)
    return bands^


@fieldwise_init
struct Part(ImplicitlyCopyable, TrivialRegisterPassable):
    """A worker's bands, in one number: so there is one to choose where workers part."""

    var packed: UInt32

    @always_inline
    def __init__(out self, *, first: Int, count: Int, slot: Int):
        self.packed = UInt32(first | count << 8 | slot << 16)

    @always_inline
    def first(self) -> Int:
        """The first band."""
        return Int(self.packed & 0xFF)

    @always_inline
    def count(self) -> Int32:
        """The number of bands."""
        return Int32((self.packed >> 8) & 0xFF)

    @always_inline
    def slot(self) -> Int:
        """Slot of the first band's mel energy."""
        return Int(self.packed >> 16)


@always_inline
def product(a: UInt32, b: UInt32) -> Int:
    """Returns a product of 64 bits: with a sum one instruction on NVIDIA's, which the compiler does
    not find in a loop, since it takes what is constant apart."""
    comptime if is_nvidia_gpu():
        return inlined_assembly[
            "mul.wide.u32 $0, $1, $2;", Int, constraints="=l,r,r", has_side_effect=True
        ](a, b)
    else:
        return Int(a) * Int(b)


struct Row[T: DType](ImplicitlyCopyable, TrivialRegisterPassable):
    """A value in the output, and those of the same frame in other bands. From row to row it is less
    than 2**32 bytes: features with more fit into no device."""

    var first: Memory[DType.uint8]
    var stride: UInt32

    @always_inline
    def __init__(out self, clip: DeviceClip, band: UInt32, frame: Frame):
        self.stride = UInt32(clip.rows) * UInt32(size_of[Scalar[Self.T]]())
        self.first = clip.values[Self.T]().unsafe_offset(Int(frame)).unsafe_bitcast[UInt8]()
        self.first = self.first.unsafe_offset(product(band, self.stride))

    @always_inline
    def after(self, bands: Int) -> Self:
        """The value so many bands on, with those after it."""
        var there = self
        there.first = self.first.unsafe_offset(product(UInt32(bands), self.stride))
        return there

    @always_inline
    def place(self) -> Memory[Self.T]:
        """Where the value is."""
        return self.first.unsafe_bitcast[Scalar[Self.T]]()


@fieldwise_init
struct Block[n_mels: Int, GROUP: Int, TILE: Int, kind: Int](
    ImplicitlyCopyable, TrivialRegisterPassable
):
    """Program of a block for one clip, which the blocks of a cluster share.

    GROUP frames are computed at a time, WORKERS threads for each of them. The values of TILE frames
    are kept; a tile is finished from memory if every block has but one, else it is computed a second
    time, when the clip's maximum is known. If TILE is 0, values wait for the maximum in the output,
    or with `DIRECT` are final. Of the kinds of kernels, `kind`.
    """

    var clip: DeviceClip
    var blocks: Frame
    """Blocks that share the clip."""
    var rank: Frame
    """Number of this block among them."""
    var tile_frames: Frame
    """Frames that a tile finishes."""
    var rounds: Frame
    """Tiles that each block does."""

    comptime THREADS = WORKERS * Self.GROUP
    comptime ROWS = Self.GROUP + 2
    """Hops of samples in a group."""
    comptime PITCH = HOP + 1
    """Floats from frame to frame in shared memory: an odd number, so that threads of neighbouring
    frames use different banks."""

    # Shared memory, in floats. The table is read four numbers at a time.
    comptime TABLE = 0
    comptime TABLE_ROW = 8 + 16
    comptime PARTS = Self.TABLE + 25 * Self.TABLE_ROW
    comptime FEWER_PARTS = Self.PARTS + Self.THREADS
    comptime CLIP_MAXIMA = Self.FEWER_PARTS + Self.GROUP
    comptime OWN_MAXIMUM = Self.CLIP_MAXIMA + AGREEING
    comptime SAMPLES = Self.OWN_MAXIMUM + 1
    comptime SLOTS = Self.SAMPLES + Self.PITCH * Self.ROWS
    comptime VALUES = Self.SLOTS + COLUMN_SLOTS * Self.GROUP
    comptime SIZE = Self.VALUES + Self.n_mels * Self.TILE

    @always_inline
    def __init__(out self, clip: DeviceClip, blocks: UInt32, rank: UInt32):
        self.clip = clip
        self.blocks = Frame(blocks)
        self.rank = Frame(rank)
        var rows = UInt32(clip.end - clip.first)
        self.rounds = 1
        comptime if Self.TILE == 0:
            # Whole groups, so that only the clip's last one has threads without a frame.
            var at_once = blocks * UInt32(Self.GROUP)
            self.tile_frames = Frame((rows + at_once - 1) // at_once * UInt32(Self.GROUP))
        else:
            self.tile_frames = Frame((rows + blocks - 1) // blocks)
            self.tile_frames = min(Frame(Self.TILE) - 2 * clip.margin(), self.tile_frames)
            var together = blocks * UInt32(self.tile_frames)
            self.rounds = Frame((rows + together - 1) // together)

    @staticmethod
    @always_inline
    def frame_of(thread: Int32) -> Int32:
        """Number of a thread's frame in the group."""
        return Int32(UInt32(thread) % UInt32(Self.GROUP))

    @staticmethod
    @always_inline
    def worker_of(thread: Int32) -> Int32:
        """Number of a thread among those of its frame."""
        return Int32(UInt32(thread) // UInt32(Self.GROUP))

    @always_inline
    def run[T: Team](self, mut team: T):
        """Runs the whole program."""
        comptime if Self.TILE == 0:
            var first = self.first_frame(0)
            self.compute(team, first)
            comptime if Self.kind < DIRECT:
                self.agree(team)
            team.phase[FINISH, NOBODY](self, Step(first, 0))
        else:
            # `FETCH` comes next, and all threads end it before one reads the table.
            team.phase[PREPARE, NOBODY](self, Step(0, 0))
            var fixed = self.is_fixed()
            for sweep in range(1 if fixed else 0, 2):
                for round in range(Int(self.rounds)):
                    var first = self.first_frame(Frame(round)) - self.clip.margin()
                    if sweep == 0 or self.rounds > 1 or fixed:
                        self.compute(team, first)
                    if sweep == 1:
                        # What it reads is written again by the next tile's `BANDS_OF_GROUP`, which
                        # no thread begins before all have ended `FETCH`, `COLUMNS` and `POWERS`.
                        team.phase[FINISH, NOBODY](self, Step(first, 0))
                if sweep == 0:
                    self.agree(team)

    @always_inline
    def compute[T: Team](self, mut team: T, first: Frame):
        """Computes the logarithms of a tile, or of the block's part of the clip, except of frames
        that nothing reaches."""
        var step = Step(first, first)
        team.phase[FETCH](self, step)
        while step.group < self.end_of(step):
            team.phase[COLUMNS](self, step)
            team.phase[POWERS](self, step)
            team.phase[BANDS_OF_GROUP](self, step)
            step.group += Frame(Self.GROUP)

    @always_inline
    def agree[T: Team](self, mut team: T):
        """Finds the clip's maximum."""
        comptime assert Self.CLIP_MAXIMA % AGREEING == 0, "these maxima are read together"
        team.phase[MAXIMA](self, Step(0, 0))
        team.phase[FEWER_MAXIMA](self, Step(0, 0))
        # The maximum of one block is read by the thread that wrote it.
        comptime READERS = WHOLE_CLUSTER if has_clusters() else NOBODY
        team.phase[MAXIMUM, READERS](self, Step(0, 0))
        team.phase[AGREE, WHOLE_CLUSTER](self, Step(0, 0))

    @always_inline
    def phase[
        M: SharedMemory, //, phase: Int
    ](self, step: Step, thread: Int32, memory: M, mut maximum: Float32):
        """Runs one thread's part of a phase. `maximum` is what it keeps from phase to phase."""
        comptime if phase == PREPARE:
            self.prepare(thread, memory)
        elif phase == FETCH:
            self.fetch(step, thread, memory)
            comptime if Self.TILE == 0:
                self.prepare(thread, memory)  # while samples are under way
            memory.wait_for_copies()
        elif phase == COLUMNS:
            self.columns(thread, memory)
        elif phase == POWERS:
            self.fetch(Step(step.tile, step.group + Frame(Self.GROUP)), thread, memory)
            self.powers(thread, memory)
        elif phase == BANDS_OF_GROUP:
            self.bands(step, thread, memory, maximum)
            memory.wait_for_copies()
        elif phase == MAXIMA:
            self.look_at_unused(thread, maximum)
            memory.store[1](Self.PARTS + Int(thread), maximum)
        elif phase == FEWER_MAXIMA:
            if thread < Int32(Self.GROUP):
                for worker in range(1, WORKERS):
                    var part = memory.load[1](Self.PARTS + worker * Self.GROUP + Int(thread))
                    maximum = greater[1](maximum, part)
                memory.store[1](Self.FEWER_PARTS + Int(thread), maximum)
        elif phase == MAXIMUM:
            if thread == 0:
                for i in range(1, Self.GROUP):
                    maximum = greater[1](maximum, memory.load[1](Self.FEWER_PARTS + i))
                memory.store[1](Self.OWN_MAXIMUM, maximum)
        elif phase == AGREE:
            if thread < AGREEING:
                for other in range(thread, Int32(self.blocks), Int32(AGREEING)):
                    maximum = greater[1](maximum, memory.of_block(other, Self.OWN_MAXIMUM))
                memory.store[1](Self.CLIP_MAXIMA + Int(thread), maximum)
        else:
            comptime if Self.TILE > 0:
                self.finish(step, thread, memory)
            else:
                self.finish_output(step.tile, thread, memory)

    @always_inline
    def is_fixed(self) -> Bool:
        """Whether the maximum is fixed: then frames that see no finite power are NaN, not clips."""
        comptime if Self.kind == FORMED:
            return self.clip.form.maximum == FIXED
        else:
            return Self.kind >= DIRECT

    @always_inline
    def first_frame(self, round: Frame) -> Frame:
        """First frame that a tile finishes."""
        return self.clip.first + (round * self.blocks + self.rank) * self.tile_frames

    @always_inline
    def end_of(self, step: Step) -> Frame:
        """Frame after the last that is computed for a tile: the others are silent."""
        var count = self.tile_frames
        comptime if Self.TILE > 0:
            count += 2 * self.clip.margin()
        return min(step.tile + count, self.clip.sounding())

    @always_inline
    def prepare[M: SharedMemory, //](self, thread: Int32, memory: M):
        """Writes the transform's table: a row for each column."""
        comptime ROW = UInt32(Self.TABLE_ROW)
        ref window = global_constant[window_table()]()
        for i in range(UInt32(thread), 25 * ROW, UInt32(Self.THREADS)):
            var n2 = i // ROW
            var n1 = i % ROW - 8
            var value = Float32(0)
            if i % ROW < 8:
                value = window[Int(8 * n2 + i % ROW)]
            else:
                var j = (25 * n1 + 16 * n2) % N_FFT  # as `time_index`
                value = bitcast[DType.float32, 1](j + j // HOP)
            memory.store[1](Self.TABLE + Int(i), value)

    @always_inline
    def look_at_unused(self, thread: Int32, mut maximum: Float32):
        """Checks that the samples that no frame reaches are finite; they go with the last one."""
        var extent = self.clip.extent
        var has_last = self.clip.first < self.clip.frames() <= self.clip.end
        if self.rank == 0 and has_last and not self.clip.is_int16:
            for i in range(extent.first_unused() + Int(thread), extent.samples, Self.THREADS):
                if not is_finite(self.clip.floats[unsafe_offset=i]):
                    maximum = OVERFLOW

    @always_inline
    def fetch[M: SharedMemory, //](self, step: Step, thread: Int32, memory: M):
        """Copies a group's samples to shared memory, if there is such a group."""
        if step.group >= self.end_of(step):
            return
        comptime LANES = 32
        comptime assert HOP % LANES == 0, "a hop is copied by whole warps"
        var warp = UInt32(thread) // LANES
        var lane = UInt32(thread) % LANES
        var samples = memory.offset(Self.SAMPLES)
        comptime UNMIRRORED = Frame(REACH // HOP + 1)
        if step.group < UNMIRRORED or step.group + Frame(Self.ROWS) >= self.clip.reached():
            if self.clip.is_int16:
                self.fetch_edge(self.clip.shorts, step.group, Int32(warp), Int32(lane), samples)
            else:
                self.fetch_edge(self.clip.floats, step.group, Int32(warp), Int32(lane), samples)
        elif self.clip.is_int16:
            self.fetch_inside(self.clip.shorts, step.group, warp, lane, samples)
        else:
            self.fetch_inside(self.clip.floats, step.group, warp, lane, samples)

    @always_inline
    def fetch_inside[
        T: DType, M: SharedMemory, //
    ](self, audio: Memory[T], group: Frame, warp: UInt32, lane: UInt32, to: M):
        """Copies a warp's part of a group's samples: hops that follow each other, and one of the
        last."""
        # All addresses are one of these and a constant.
        comptime LANES = 32
        comptime EACH = Self.GROUP * LANES // Self.THREADS
        var start = audio.unsafe_offset(HOP * Int(group) - REACH)
        var source = start.unsafe_offset(Int(UInt32(HOP * EACH) * warp + lane))
        var there = to.offset(Int(UInt32(Self.PITCH * EACH) * warp + lane))
        comptime for i in range(EACH):
            comptime for k in range(0, HOP, LANES):
                there.copy(Self.PITCH * i + k, source.unsafe_offset(HOP * i + k))
        if warp < UInt32(Self.ROWS - Self.GROUP):
            source = start.unsafe_offset(Int(HOP * (warp + UInt32(Self.GROUP)) + lane))
            there = to.offset(Int(UInt32(Self.PITCH) * (warp + UInt32(Self.GROUP)) + lane))
            comptime for k in range(0, HOP, LANES):
                there.copy(k, source.unsafe_offset(k))

    @always_inline
    def fetch_edge[
        T: DType, M: SharedMemory, //
    ](self, audio: Memory[T], group: Frame, warp: Int32, lane: Int32, to: M):
        """Copies a warp's part of a group's samples, mirrored at both ends of the clip."""
        # Where the clip begins and ends, and its samples end, from the group's first sample on,
        # unless it is FAR away.
        comptime FAR = Frame(1 << 16)
        var clip = self.clip
        var begin = REACH - HOP * min(group, FAR)
        var length = HOP * min(clip.frames() - group, FAR) + REACH
        length += Int32(clip.extent.length - HOP * Int(clip.frames()))
        var samples = HOP * min(clip.reached() - group, FAR) + REACH
        samples -= Int32(HOP * Int(clip.reached()) - clip.extent.samples)
        var start = audio.unsafe_offset(HOP * Int(group) - REACH)
        for row in range(warp, Int32(Self.ROWS), Int32(Self.THREADS // 32)):
            var there = to.offset(Int(Int32(Self.PITCH) * row + lane))
            # Together, so that a thread waits for all five at the same time.
            comptime for k in range(0, HOP, 32):
                var at = HOP * row + lane + Int32(k)
                at = max(at, 2 * begin - at)
                at = min(at, 2 * (length - 1) - at)
                var exists = begin <= at < samples
                there.copy_if(exists, k, start.unsafe_offset(Int(at)), audio)

    @always_inline
    def columns[M: SharedMemory, //](self, thread: Int32, memory: M):
        """Computes windowed DFTs of 16: each worker every eighth of a frame's 25."""
        var frame = Int(Self.frame_of(thread))
        for n2 in range(Self.worker_of(thread), Int32(25), Int32(WORKERS)):
            windowed_dft16_alone[Self.GROUP](
                memory.offset(Self.SAMPLES + Self.PITCH * frame),
                memory.offset(Self.TABLE + Self.TABLE_ROW * Int(n2)),
                memory.offset(Self.SLOTS + frame),
                Int(n2),
            )

    @always_inline
    def powers[M: SharedMemory, //](self, thread: Int32, memory: M):
        """Computes DFTs of 25 and powers, in place: each worker a complex column, the first one
        both real ones."""
        var slots = memory.offset(Self.SLOTS + Int(Self.frame_of(thread)))
        var worker = Self.worker_of(thread)
        if worker == 0:
            for i in range(2):
                var column = slots.offset(Self.GROUP * (REAL_SLOTS + 25 * i))
                real_dft25_power[1, Self.GROUP](column, column)
        else:
            var column = slots.offset(Self.GROUP * 50 * Int(worker - 1))
            dft25_power[1, Self.GROUP](column, column)

    @always_inline
    def energies[M: SharedMemory, //, low: Int, high: Int](self, worker: Int32, slots: M) -> Part:
        """Computes mel energies: those of one of the workers from `low` on, below `high`."""
        comptime if high - low > 1:
            comptime middle = (low + high) // 2
            if worker < Int32(middle):
                return self.energies[low, middle](worker, slots)
            return self.energies[middle, high](worker, slots)
        else:
            comptime bands = stream_bands[Self.n_mels]()
            comptime first = bands[low]
            comptime count = bands[high] - first
            # Powers have left the second half of every complex column free.
            comptime slot = 50 * low + 25 if low < 7 else REAL_SLOTS + 13
            comptime room = 25 if low < 7 else 12
            comptime assert count <= room, "there is room for the energies"
            var energies = ToMemory(slots.offset(Self.GROUP * (slot - first)), Self.GROUP)
            mel_terms[1, Self.GROUP, Self.n_mels, WORKERS, True, only=low, band_cost=BAND_COST](
                slots, energies
            )
            return Part(first=first, count=count, slot=slot)

    @always_inline
    def bands[
        M: SharedMemory, //
    ](self, step: Step, thread: Int32, memory: M, mut maximum: Float32):
        """Computes mel energies and their logarithms: each worker a range of bands, with equal
        work."""
        var frame = Int(Self.frame_of(thread))
        var at = step.group + Frame(frame)
        var place = Int(at - step.tile)
        comptime if Self.TILE > 0:
            if place >= Self.TILE:
                return
        var slots = memory.offset(Self.SLOTS + frame)
        var part = self.energies[0, WORKERS](Self.worker_of(thread), slots)
        var own = at < min(step.tile + self.tile_frames, self.clip.end)
        var most = SILENCE
        comptime T = output_of(Self.kind)
        var row = Row[T](self.clip, UInt32(part.first()), at)
        var energy = slots.offset(Self.GROUP * part.slot())
        var value_at = memory.offset(Self.VALUES + Self.TILE * part.first() + place)
        var left = part.count()
        # Four bands at a time, whose dependent operations interleave.
        while left >= 4:
            self.logarithms[4](energy, value_at, row, own, most)
            left -= 4
        if left >= 2:
            self.logarithms[2](energy, value_at, row, own, most)
        if left % 2 > 0:
            self.logarithms[1](energy, value_at, row, own, most)
        var counts = at < min(self.clip.frames(), self.clip.end)
        comptime if Self.TILE > 0:
            counts = counts and at >= self.clip.first
        if counts:
            maximum = max(maximum, most)

    @always_inline
    def logarithms[
        M: SharedMemory, T: DType, //, count: Int
    ](self, mut energy: M, mut value_at: M, mut row: Row[T], own: Bool, mut most: Float32):
        """Computes the values of the next bands; stores them, without a tile in the output if they
        are the block's `own`."""
        comptime for i in range(count):
            var value = quarter_log10[1](energy.load[1](Self.GROUP * i))
            most = max(most, value)
            comptime if Self.TILE > 0:
                value_at.store[1](Self.TILE * i, value)
            else:
                comptime if Self.kind >= DIRECT:
                    value = raised_or_nan(value, self.clip.form.least)
                if own:
                    row.place()[] = rounded[T, 1](value)
                row = row.after(1)
        energy = energy.offset(count * Self.GROUP)
        value_at = value_at.offset(count * Self.TILE)

    @always_inline
    def least[M: SharedMemory, //](self, memory: M) -> Tuple[Float32, Bool]:
        """Returns the least final value, and whether all are NaN instead."""
        var damaged = self.clip.too_short()
        if self.is_fixed():
            return (self.clip.form.least, damaged)
        var clip_maximum = memory.load[AGREEING](Self.CLIP_MAXIMA).reduce_max()
        return (clip_maximum - RANGE, damaged or not clip_maximum < OVERFLOW)

    @always_inline
    def finish_output[M: SharedMemory, //](self, first: Frame, thread: Int32, memory: M):
        """Clamps the block's own frames, from `first` on, in the output; sets those for which
        nothing was computed: silent frames, and all frames of a damaged clip."""
        var clip = self.clip
        var end = min(first + self.tile_frames, clip.end)
        var sounding = min(end, clip.sounding())
        var least, damaged = self.least(memory)
        comptime T = output_of(Self.kind)
        var band = UInt32(Self.worker_of(thread))
        var frame = first + Self.frame_of(thread)
        if damaged:
            sounding = 0
        comptime if Self.kind < DIRECT:
            self.clamp_output(band, frame, sounding, least)
        var value = rounded[T, 1](NAN if damaged else max(SILENCE, least))
        if frame < sounding:
            comptime GROUP = UInt32(Self.GROUP)
            frame += Frame((UInt32(sounding - frame) + GROUP - 1) // GROUP * GROUP)
        while frame < end:
            var row = Row[T](clip, band, frame)
            for _ in range(Self.n_mels // WORKERS):
                row.place()[] = value
                row = row.after(WORKERS)
            frame += Frame(Self.GROUP)

    @always_inline
    def clamp_output(self, band: UInt32, begin: Frame, end: Frame, least: Float32):
        """Clamps values in the output: of every eighth band, of this thread's frames."""
        comptime BANDS_EACH = Self.n_mels // WORKERS
        # Loads that are under way at the same time: as many as registers allow.
        comptime BANDS = 10 if BANDS_EACH % 10 == 0 else 8
        comptime FRAMES = 3
        var frame = begin
        while frame < end:
            comptime for first in range(0, BANDS_EACH, BANDS):
                var row = Row[DType.float32](self.clip, band + UInt32(WORKERS * first), frame)
                var places = Array[Floats, BANDS](fill=row.place())
                var values = Array[Float32, FRAMES * BANDS](uninitialized=True)
                comptime for i in range(BANDS):
                    places[i] = row.place()
                    row = row.after(WORKERS)
                    comptime for k in range(FRAMES):
                        if frame + Frame(k * Self.GROUP) < end:
                            values[k * BANDS + i] = places[i][unsafe_offset=k * Self.GROUP]
                comptime for i in range(BANDS):
                    comptime for k in range(FRAMES):
                        if frame + Frame(k * Self.GROUP) < end:
                            if values[k * BANDS + i] < least:
                                places[i][unsafe_offset=k * Self.GROUP] = least
            frame += Frame(FRAMES * Self.GROUP)

    @always_inline
    def finish[M: SharedMemory, //](self, step: Step, thread: Int32, memory: M):
        """Writes the tile's own frames to the output, clamped and smoothed: each worker a range of
        bands."""
        var clip = self.clip
        var edge = Frame(1 if clip.smoothing == VALID else 0)
        var least, damaged = self.least(memory)
        var begin = step.tile + clip.margin()
        var end = min(begin + self.tile_frames, clip.end - edge)
        var width = Int(clip.rows - 2 * edge)
        comptime EACH = Self.n_mels // WORKERS
        var first = Int(edge) + EACH * Int(Self.worker_of(thread))
        var last = min(first + EACH, Self.n_mels - Int(edge))
        var frame = begin + Self.frame_of(thread)
        while frame < end:
            if frame >= edge:
                var at = (first - Int(edge)) * width + Int(frame - edge)
                if damaged or frame >= clip.frames() - edge:
                    var value = NAN if damaged else max(SILENCE, least)
                    for _ in range(first, last):
                        self.store(at, value)
                        at += width
                else:
                    var values = memory.offset(Self.VALUES + Int(frame - step.tile))
                    self.finish_frame(values, frame, first, last, at, width, least)
            frame += Frame(Self.GROUP)

    @always_inline
    def finish_frame[
        M: SharedMemory, //
    ](self, values: M, frame: Frame, first: Int, last: Int, at: Int, width: Int, least: Float32):
        """Writes the bands from `first` to `last` of a frame, whose values are in `values`."""
        var place = at
        comptime if Self.kind == FORMED:
            if self.clip.smoothing == NONE:
                for band in range(first, last):
                    self.store(place, self.clamped(values, band, frame, least))
                    place += width
                return
        # Means over those of the nine neighbours that exist, added up in the CPU's order: three
        # bands of each of three frames, of which a thread goes from band to band.
        var frames = 3 - Int(frame == 0) - Int(frame == self.clip.frames() - 1)
        var of_three = 1 / Float32(3 * frames)
        var of_two = 1 / Float32(2 * frames)
        var upper = Array[Float32, 3](fill=0)
        var middle = Array[Float32, 3](fill=0)
        comptime for i in range(3):
            upper[i] = self.clamped(values.offset(i - 1), first - 1, frame + Frame(i - 1), least)
            middle[i] = self.clamped(values.offset(i - 1), first, frame + Frame(i - 1), least)
        for band in range(first, last):
            var sums = Array[Float32, 3](fill=0)
            comptime for i in range(3):
                var near = frame + Frame(i - 1)
                var lower = self.clamped(values.offset(i - 1), band + 1, near, least)
                sums[i] = upper[i] + middle[i] + lower
                upper[i] = middle[i]
                middle[i] = lower
            var inside = 0 < band < Self.n_mels - 1
            self.store(place, (sums[0] + sums[1] + sums[2]) * (of_three if inside else of_two))
            place += width

    @always_inline
    def store(self, at: Int, value: Float32):
        """Stores a value in the output, in its type."""
        comptime if Self.kind == FORMED:
            self.store_formed(at, value)
        else:
            self.clip.values()[unsafe_offset=at] = value

    @always_inline
    def store_formed(self, at: Int, value: Float32):
        """Stores a value in the output's type."""
        if self.clip.form.dtype == FLOAT32:
            self.clip.values()[unsafe_offset=at] = value
        elif self.clip.form.dtype == FLOAT16:
            var half = rounded[DType.float16, 1](value)
            self.clip.values[DType.float16]()[unsafe_offset=at] = half
        else:
            var half = rounded[BFLOAT16_BITS, 1](value)
            self.clip.values[BFLOAT16_BITS]()[unsafe_offset=at] = half

    @always_inline
    def clamped[
        M: SharedMemory, //
    ](self, values: M, band: Int, frame: Frame, least: Float32) -> Float32:
        """Clamped value of a band of the frame whose values are in `values`; 0 where there is none.
        """
        if not (0 <= band < Self.n_mels and Frame(0) <= frame < self.clip.frames()):
            return 0
        if frame >= self.clip.sounding():
            return max(SILENCE, least)
        var value = values.load[1](Self.TILE * band)
        comptime if Self.kind == FORMED:
            if self.is_fixed():
                return raised_or_nan(value, least)
        return max(value, least)


# ===--------------------------------------------------------------------------------------=== #
# 3.4 The threads of a device
# ===--------------------------------------------------------------------------------------=== #


@fieldwise_init
struct OnChip(SharedMemory):
    """Shared memory of a device. Several numbers that are loaded together lie at a multiple of
    their size."""

    var start: SharedFloats

    @always_inline
    def load[W: Int](self, at: Int) -> Vec[W]:
        return self.start.unsafe_load[width=W, alignment=4 * W](at)

    @always_inline
    def store[W: Int](self, at: Int, value: Vec[W]):
        self.start.unsafe_store(at, value)

    @always_inline
    def short(self, at: Int) -> Int:
        return Int(self.start.unsafe_bitcast[UInt16]()[unsafe_offset=at])

    @always_inline
    def offset(self, floats: Int) -> Self:
        return Self(self.start.unsafe_offset(floats))

    @always_inline
    def copy[T: DType](self, at: Int, source: Memory[T]):
        comptime if T == DType.float32 and copies_by_itself():
            inlined_assembly[
                "cp.async.ca.shared.global.L2::cache_hint [$0], [$1], 4, $2;",
                NoneType,
                constraints="r,l,l",
                has_side_effect=True,
            ](Int32(Int(self.start.unsafe_offset(at))), Int(source), read_once())
        else:
            self.store[1](at, load_samples[T, 1](source, 0))

    @always_inline
    def copy_if[T: DType](self, exists: Bool, at: Int, source: Memory[T], other: Memory[T]):
        comptime if T == DType.float32 and copies_by_itself():
            inlined_assembly[
                "cp.async.ca.shared.global.L2::cache_hint [$0], [$1], 4, $2, $3;",
                NoneType,
                constraints="r,l,r,l",
                has_side_effect=True,
            ](
                Int32(Int(self.start.unsafe_offset(at))),
                Int(source),
                Int32(4 if exists else 0),
                read_once(),
            )
        else:
            var sample = load_samples[T, 1](source if exists else other, 0)
            self.store[1](at, sample if exists else Float32(0))

    @always_inline
    def wait_for_copies(self):
        comptime if copies_by_itself():
            inlined_assembly[
                "cp.async.wait_all;", NoneType, constraints="~{memory}", has_side_effect=True
            ]()

    @always_inline
    def of_block(self, rank: Int32, at: Int) -> Float32:
        comptime if has_clusters():
            return inlined_assembly[
                (
                    "{ .reg .b32 there; mapa.shared::cluster.u32 there, $1, $2;"
                    " ld.shared::cluster.f32 $0, [there]; }"
                ),
                Float32,
                constraints="=f,r,r",
                has_side_effect=True,
            ](Int32(Int(self.start.unsafe_offset(at))), UInt32(rank))
        else:
            return self.start[unsafe_offset=at]


@always_inline
def has_clusters() -> Bool:
    """Whether blocks can read each other's shared memory: on NVIDIA's Hopper and newer."""
    comptime if is_nvidia_gpu():
        return _is_sm_9x_or_newer()
    else:
        return False


@always_inline
def copies_by_itself() -> Bool:
    """Whether the device copies to shared memory while threads go on: NVIDIA's, from Ampere on."""
    comptime if is_nvidia_gpu():
        return _is_sm_8x_or_newer()
    else:
        return False


@always_inline
def read_once() -> Int:
    """A policy for the cache (L2) of NVIDIA's, from Ampere on: what is read leaves it first, and makes
    room for values that wait there for the clip's maximum."""
    return inlined_assembly[
        "createpolicy.fractional.L2::evict_first.b64 $0, 1.0;",
        Int,
        constraints="=l",
        has_side_effect=False,
    ]()


@fieldwise_init
struct DeviceTeam(Team):
    """One of the device's threads; the others are at the same place in the program."""

    var thread: Int32
    var memory: OnChip
    var maximum: Float32

    @always_inline
    def phase[
        n_mels: Int,
        group: Int,
        tile: Int,
        kind: Int,
        //,
        phase: Int,
        wait_for: Int = WHOLE_BLOCK,
    ](mut self, block: Block[n_mels, group, tile, kind], step: Step):
        block.phase[phase](step, self.thread, self.memory, self.maximum)
        comptime if wait_for == WHOLE_CLUSTER and has_clusters():
            cluster_sync()
        elif wait_for != NOBODY:
            barrier()


@always_inline
def shared_memory[floats: Int]() -> OnChip:
    """Shared memory of this block. NVIDIA gives more than 48 KiB only at the launch."""
    comptime if is_nvidia_gpu():
        return OnChip(
            rebind[SharedFloats](
                external_memory[Float32, address_space=AddressSpace.SHARED, alignment=16]()
            )
        )
    else:
        return OnChip(
            rebind[SharedFloats](
                stack_allocation[floats, Float32, alignment=16, address_space=AddressSpace.SHARED]()
            )
        )


@__llvm_metadata(
    MAX_THREADS_PER_BLOCK_METADATA=StaticTuple[Int32, 1](Int32(WORKERS * group)),
    # Without it, some devices' assembler takes fewer registers, to have more blocks, and spills.
    `nvvm.minctasm`=__mlir_attr.`1 : i32` if resident == 1 else __mlir_attr.`3 : i32`,
)
def mel_kernel[
    n_mels: Int, group: Int, tile: Int, kind: Int, resident: Int
](
    audio: Floats,
    lengths: Memory[DType.int64],
    out_: Floats,
    is_int16: Int32,
    ragged: Int32,
    smoothing: Int32,
    samples: Int64,
    clip_stride: Int64,
    pad_to: Int64,
    blocks: Int32,
    maximum: Int32,
    least: Float32,
    dtype: Int32,
):
    """Runs on the device: `blocks` blocks for each chunk of each clip. Other arguments as in
    `Batch` and `Form`."""
    comptime B = Block[n_mels, group, tile, kind]
    var form = Form(Int(maximum), least, Int(dtype))
    comptime if kind >= DIRECT:
        form = Form(FIXED, least, kind - DIRECT)
    elif kind == SMOOTHED:
        form = Form.plain()
    elif kind != FORMED:
        form.dtype = FLOAT32
    var batch = Batch(
        audio,
        is_int16 != 0,
        lengths,
        ragged != 0,
        Int(samples),
        Int(clip_stride),
        Int(pad_to),
        Int(smoothing),
        form,
        out_,
    )
    var item = UInt32(block_idx.x) // UInt32(blocks)
    var rank = UInt32(block_idx.x) % UInt32(blocks)
    var chunks = UInt32(batch.chunks())
    var clip = batch.clip[n_mels](Int(item // chunks), Int(item % chunks))
    var team = DeviceTeam(Int32(thread_idx.x), shared_memory[B.SIZE](), SILENCE)
    B(clip, UInt32(blocks), rank).run(team)
