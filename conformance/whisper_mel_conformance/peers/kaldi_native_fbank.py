"""kaldi-native-fbank: ``OnlineWhisperFbank`` (sherpa-onnx), with the log that its users add."""

from __future__ import annotations

from typing import Any

import kaldi_native_fbank
import numpy as np
from numpy.typing import NDArray

from whisper_mel_conformance.peers import versions

LIGHT = True


class _KaldiNativeFbank:
    name = "kaldi-native-fbank"
    device = "cpu"
    versions = versions("kaldi-native-fbank")
    capabilities = {"n_mels": (80, 128)}

    def log_mel(self, audio: NDArray[Any], n_mels: int = 80) -> NDArray[np.float32]:
        options = kaldi_native_fbank.WhisperFeatureOptions()
        options.dim = n_mels
        bank = kaldi_native_fbank.OnlineWhisperFbank(options)
        bank.accept_waveform(16000, audio)
        bank.input_finished()
        if bank.num_frames_ready == 0:
            raise ValueError(f"audio of {audio.size} samples gives no frame")
        mel = np.stack([bank.get_frame(i) for i in range(bank.num_frames_ready)], axis=1)
        log = np.log10(np.maximum(mel, 1e-10))
        log = np.maximum(log, log.max() - 8.0)
        return ((log + 4.0) / 4.0).astype(np.float32)


front_end = _KaldiNativeFbank()
