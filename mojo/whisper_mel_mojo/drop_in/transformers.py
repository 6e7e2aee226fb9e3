"""The front-end of Hugging Face's transformers, computed by the kernel."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray
from transformers import BatchFeature
from transformers.models.whisper import feature_extraction_whisper as original
from transformers.utils import PaddingStrategy

from whisper_mel_mojo.drop_in.propagating import SHORTEST_BY_NUMPY, SHORTEST_BY_TORCH, log_mel

Array = NDArray[Any]


class WhisperFeatureExtractor(original.WhisperFeatureExtractor):  # type: ignore[misc]
    """transformers' ``WhisperFeatureExtractor``, computed by the kernel.

    Use ``WhisperFeatureExtractor.from_pretrained("openai/whisper-tiny")``, in a pipeline as
    ``pipeline(…, feature_extractor=extractor)``. Arguments and results are the original's, which
    can also load what this one saves: ``AutoFeatureExtractor`` does, unless ``register`` was
    called. Clips are padded without a copy. On a CUDA ``device`` the
    PyTorch operator computes the features there.

    Settings that no Whisper model has are left to the original's code: ``dither``, or another
    sampling rate, hop, transform size or number of bands than 80 and 128.

    Raises ``ValueError`` as the original; for clips of different lengths without padding; and for
    clips of too few samples: the original needs 201, padding included, or 160 without PyTorch.
    """

    def __call__(
        self,
        raw_speech: Any,
        truncation: bool = True,
        pad_to_multiple_of: int | None = None,
        return_tensors: Any = None,
        return_attention_mask: bool | None = None,
        padding: Any = "max_length",
        max_length: int | None = None,
        sampling_rate: int | None = None,
        do_normalize: bool | None = None,
        device: Any = "cpu",
        **options: Any,
    ) -> Any:
        appends_zeros = self.padding_side == "right" and self.padding_value == 0
        if options or str(device) != "cpu" or not appends_zeros or not self._is_whispers():
            return super().__call__(
                raw_speech,
                truncation=truncation,
                pad_to_multiple_of=pad_to_multiple_of,
                return_tensors=return_tensors,
                return_attention_mask=return_attention_mask,
                padding=padding,
                max_length=max_length,
                sampling_rate=sampling_rate,
                do_normalize=do_normalize,
                device=device,
                **options,
            )
        if sampling_rate is None:
            original.logger.warning("sampling_rate is not given: it cannot be checked")
        elif sampling_rate != self.sampling_rate:
            raise ValueError(f"sampling_rate={sampling_rate}: expected {self.sampling_rate}")
        limit = _multiple(max_length or self.n_samples, pad_to_multiple_of)
        clips = _clips(raw_speech, limit if truncation else None)
        target = self._target(clips, limit, padding, pad_to_multiple_of)
        lengths = {max(len(clip), target) for clip in clips}
        if len(lengths) > 1:
            raise ValueError(
                f"raw_speech has clips of {', '.join(map(str, sorted(lengths)))} samples with "
                f"padding={padding!r}: expected one length"
            )
        length = lengths.pop()
        if do_normalize:
            clips = self.zero_mean_unit_var_norm(clips, None)
        shortest = SHORTEST_BY_TORCH if original.is_torch_available() else SHORTEST_BY_NUMPY
        data = {"input_features": self._features(clips, length, shortest)}

        asked = return_attention_mask or do_normalize
        if self.return_attention_mask if asked is None else asked:
            # The original's mask counts frames if the call asks for it, else samples.
            step = self.hop_length if return_attention_mask else 1
            place = step * np.arange(length // step)
            data["attention_mask"] = np.array([place < len(clip) for clip in clips], np.int32)
        return BatchFeature(data, tensor_type=return_tensors)

    def _target(self, clips: list[Array], limit: int, padding: Any, multiple: int | None) -> int:
        """Return the number of samples up to which zeros are appended to a clip; 0 for none."""
        strategy = self._get_padding_strategies(padding=padding, max_length=limit)
        if strategy == PaddingStrategy.MAX_LENGTH:
            return limit
        if strategy == PaddingStrategy.LONGEST:
            return _multiple(max(map(len, clips)), multiple)
        return 0

    def _features(self, clips: Any, length: int, shortest: int) -> NDArray[np.float32]:
        """Compute features ``(clips, n_mels, length // 160)`` of clips padded to ``length``."""
        out = np.empty((len(clips), self.feature_size, length // self.hop_length), np.float32)
        for clip, features in zip(clips, out, strict=True):
            log_mel(clip, self.feature_size, length - len(clip), features, shortest=shortest)
        return out

    def _is_whispers(self) -> bool:
        """Return whether the kernel can compute these features."""
        kind = (self.sampling_rate, self.hop_length, self.n_fft)
        dither = getattr(self, "dither", 0.0)  # older versions have none
        return kind == (16_000, 160, 400) and self.feature_size in (80, 128) and dither == 0.0

    # The original's __call__ computes the features by the following two methods.

    def _np_extract_fbank_features(self, waveform_batch: Array, device: Any) -> Array:
        if str(device) != "cpu" or not self._is_whispers():
            return super()._np_extract_fbank_features(waveform_batch, device)
        clips = waveform_batch.astype(np.float32, copy=False)
        return self._features(clips, clips.shape[-1], SHORTEST_BY_NUMPY)

    def _torch_extract_fbank_features(self, waveform: Array, device: Any = "cpu") -> Array:
        import torch

        kind = "cpu" if device is None else torch.device(device).type
        if kind not in ("cpu", "cuda") or not self._is_whispers():
            return super()._torch_extract_fbank_features(waveform, device)
        if kind == "cpu":
            clips = np.atleast_2d(waveform.astype(np.float32, copy=False))
            features = self._features(clips, clips.shape[-1], SHORTEST_BY_TORCH)
            return features if waveform.ndim == 2 else features[0]
        from whisper_mel_mojo import torch as operator

        tensor = torch.from_numpy(waveform).to(device, torch.float32)
        return operator.log_mel(tensor, self.feature_size).cpu().numpy()


def register() -> None:
    """Make the class above transformers' ``WhisperFeatureExtractor``, in the whole process.

    ``AutoFeatureExtractor``, ``AutoProcessor``, ``WhisperProcessor`` and pipelines then load it
    wherever a configuration names the original, and so does what is built on them. Extractors that
    exist stay as they are. It is a subclass of the original.
    """
    for name in ("transformers", "transformers.models.whisper"):  # by name: it replaces its module
        import_module(name).WhisperFeatureExtractor = WhisperFeatureExtractor  # type: ignore[attr-defined]


def _clips(raw_speech: Any, limit: int | None) -> list[Array]:
    """List the clips of a batch, or the only clip, each cut off at the limit."""
    is_list = isinstance(raw_speech, (list, tuple))
    if is_list and (not raw_speech or isinstance(raw_speech[0], (np.ndarray, list, tuple))):
        clips = [np.asarray(clip, np.float32) for clip in raw_speech]
    else:
        audio = np.asarray(raw_speech, np.float32)
        clips = list(audio) if audio.ndim > 1 else [audio]
    if not clips:
        raise ValueError("raw_speech is empty: expected at least one clip")
    for clip in clips:
        if clip.ndim != 1:
            raise ValueError(f"raw_speech has a clip of shape {clip.shape}: expected (n,), mono")
    return [clip[:limit] for clip in clips]


def _multiple(length: int, of: int | None) -> int:
    """Round a length up to a multiple; None leaves it as it is."""
    return length if of is None else -(-length // of) * of
