"""mlx-whisper: ``audio.log_mel_spectrogram`` on MLX, here on its CPU backend."""

from __future__ import annotations

from mlx_whisper.audio import log_mel_spectrogram

from whisper_mel_conformance.peers.mlx import Mlx

front_end = Mlx("mlx-whisper", log_mel_spectrogram)
