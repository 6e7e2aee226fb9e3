"""Prints what the compiler makes of the kernel for a device, which need not be there.

`-D TARGET=sm_80`, ...: for which; `-D N_MELS=80`; `-D CLUSTERS`: as a cluster of blocks.
"""

from max.gpu.host import get_gpu_target
from max.gpu.host.compile import _compile_code
from std.sys import get_defined_int, get_defined_string, is_defined

from mel_kernel import (
    APPLE_GROUP,
    BLOCK_GROUP,
    CLUSTER_GROUP,
    WORKERS,
    Block,
    cluster_blocks,
    cluster_tile,
    mel_kernel,
)

comptime TARGET = get_defined_string["TARGET"]()
comptime N_MELS = get_defined_int["N_MELS"]()
comptime CLUSTERS = is_defined["CLUSTERS"]()
comptime BLOCK = APPLE_GROUP if TARGET.startswith("metal") else BLOCK_GROUP
comptime GROUP = CLUSTER_GROUP if CLUSTERS else BLOCK
comptime TILE = cluster_tile(N_MELS) if CLUSTERS else BLOCK
comptime BLOCKS = cluster_blocks(N_MELS) if CLUSTERS else 1


def main():
    comptime kernel = mel_kernel[N_MELS, GROUP, TILE, BLOCKS]
    print(_compile_code[kernel, target=get_gpu_target[TARGET]()]().asm)
