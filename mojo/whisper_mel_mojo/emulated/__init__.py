"""The library for C for other processors, executed on this one by qemu."""
