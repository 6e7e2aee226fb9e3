"""Prints what the compiler makes of the kernel for a device, which need not be there: after a line
that says how a launch divides its work.

`-D TARGET=sm_80`, ...: for which; `-D N_MELS=80`; `-D KERNEL=`: 0 for many clips, 1 for few, 2 with
smoothing; `-D CLUSTERS`: as a cluster of blocks.
"""

from max.gpu.host import get_gpu_target
from max.gpu.host.compile import _compile_code
from std.sys import get_defined_int, get_defined_string, is_defined

from mel_kernel import APPLE_GROUP, BLOCK_GROUP, Mapping

comptime TARGET = get_defined_string["TARGET"]()
comptime N_MELS = get_defined_int["N_MELS"]()
comptime ALONE = APPLE_GROUP if TARGET.startswith("apple") else BLOCK_GROUP
comptime M = Mapping[N_MELS, is_defined["CLUSTERS"](), get_defined_int["KERNEL"](), ALONE]


def main():
    print("threads", M.THREADS, "cluster", M.blocks(1), "shared", M.SHARED)
    print(_compile_code[M.kernel, target=get_gpu_target[TARGET]()]().asm)
