"""kaldi-native-fbank: the spectrum and the mel bank of ``OnlineWhisperFbank`` (sherpa-onnx).

Its frame ``k`` begins at sample ``160 k - 120`` and its ends are mirrored with the edge sample:
used plainly, features are half a hop late (https://github.com/csukuangfj/kaldi-native-fbank/issues/65).
Here the clip is extended as Whisper's is, and moved so that every frame begins where Whisper's
does; what is judged is the rest: window, FFT, mel bank.
"""

from __future__ import annotations

from typing import Any, ClassVar

import kaldi_native_fbank
import numpy as np
from numpy.typing import NDArray

from whisper_mel_conformance.peers import versions

_HOP, _REACH = 160, 200
_LATE = 120  # its frame k covers samples from 160 k - 120 on


class _KaldiNativeFbank:
    name = "kaldi-native-fbank"
    device = "cpu"
    versions = versions("kaldi-native-fbank")
    capabilities: ClassVar[dict[str, Any]] = {"n_mels": (80, 128)}

    def log_mel(self, audio: NDArray[Any], n_mels: int = 80) -> NDArray[np.float32]:
        n_frames = audio.size // _HOP
        if audio.size <= _REACH:
            raise ValueError(f"audio has {audio.size} samples: mirroring needs {_REACH + 1}")
        mirrored = np.pad(np.asarray(audio, np.float32), _REACH, mode="reflect")
        # Whisper's frame 0, where the mirrored clip begins, becomes frame 1.
        moved = np.concatenate([np.zeros(_HOP - _LATE, np.float32), mirrored])
        options = kaldi_native_fbank.WhisperFeatureOptions()
        options.dim = n_mels
        bank = kaldi_native_fbank.OnlineWhisperFbank(options)
        bank.accept_waveform(16000, moved)
        bank.input_finished()
        mel = np.stack([bank.get_frame(1 + i) for i in range(n_frames)], axis=1)
        log = np.log10(np.maximum(mel, 1e-10))
        log = np.maximum(log, log.max() - 8.0)
        return ((log + 4.0) / 4.0).astype(np.float32)


front_end = _KaldiNativeFbank()
