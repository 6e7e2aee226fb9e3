"""The compiled kernel run without a GPU, in the emulator of ``whisper_mel_mojo.gpu.emulator``."""
