"""PTX executed on a CPU and watched, in the place of a CUDA device (``docs/emulator.md``)."""
