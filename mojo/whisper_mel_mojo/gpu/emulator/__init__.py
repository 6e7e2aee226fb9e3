"""PTX, and LLVM IR, executed on a CPU and watched, in the place of a GPU (``docs/emulator.md``)."""
