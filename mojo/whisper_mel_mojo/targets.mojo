"""Prints what the compiler makes of the kernels for a device, which need not be there.

Each kernel begins with a line that names it and says how a launch divides its work.

`-D TARGET=sm_80`, ...: for which; `-D N_MELS=80`: only for so many bands; `-D KERNEL=`: only this
kind, as the kernel numbers them; `-D CLUSTERS`: as clusters of blocks; `-D EMIT=llvm`: the LLVM IR
from which the target's own code is made.
"""

from max.gpu.host import get_gpu_target
from max.gpu.host.compile import _compile_code
from std.sys import get_defined_int, get_defined_string, is_defined

from mel_kernel import APPLE_GROUP, BLOCK_GROUP, DIRECT, Mapping

comptime TARGET = get_defined_string["TARGET"]()
comptime EMIT = get_defined_string["EMIT", "asm"]()
comptime ALONE = APPLE_GROUP if TARGET.startswith("apple") else BLOCK_GROUP
comptime CLUSTERS = is_defined["CLUSTERS"]()


def main():
    comptime for n_mels in [80, 128]:
        comptime for kernel in range(DIRECT + 3):
            comptime wanted = n_mels == get_defined_int["N_MELS", n_mels]() and (
                kernel == get_defined_int["KERNEL", kernel]()
            )
            comptime if wanted and (CLUSTERS or kernel != 1):
                comptime M = Mapping[n_mels, CLUSTERS, kernel, ALONE]
                print("kernel", n_mels, kernel, end=" ")
                print("threads", M.THREADS, "cluster", M.cluster(1), "shared", M.SHARED)
                print(
                    _compile_code[
                        M.kernel, target=get_gpu_target[TARGET](), emission_kind=EMIT
                    ]().asm
                )
