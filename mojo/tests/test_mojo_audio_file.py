"""Recordings: every rate and format comes as what the kernel takes; the rest is an error."""

from __future__ import annotations

import io
import os
import struct
import sys
import tracemalloc
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import soxr
from numpy.typing import NDArray
from programs import ran
from whisper_mel_golden.speech import SPEECH, load_recording
from whisper_mel_mojo import log_mel
from whisper_mel_mojo.audio_file import AudioError, AudioWarning, decode_audio, load_audio

Array = NDArray[Any]


def tone(rate: int, seconds: float = 1.0) -> Array:
    return 0.5 * np.sin(2 * np.pi * 440 * np.arange(int(seconds * rate)) / rate)


def test_what_needs_no_conversion_is_bit_for_bit() -> None:
    audio = load_audio(SPEECH / "cards.wav")
    assert audio.dtype == np.float32
    assert np.array_equal(audio, load_recording("cards") / np.float32(32768))
    assert np.array_equal(log_mel(audio), log_mel(load_recording("cards")))


@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 44_100, 48_000])
@pytest.mark.parametrize(("form", "error"), [("wav", 1e-4), ("flac", 1e-4), ("ogg", 0.05)])
def test_other_rates_are_resampled(rate: int, form: str, error: float, tmp_path: Path) -> None:
    path = tmp_path / f"tone.{form}"
    soundfile.write(path, tone(rate), rate)
    audio = load_audio(path)
    assert abs(audio.size - 16_000) <= 1
    middle = slice(1000, 15_000)  # the filter rings where the tone begins and ends
    assert np.abs(audio[middle] - tone(16_000)[middle]).max() <= error


def test_channels_are_averaged(tmp_path: Path) -> None:
    left = tone(16_000)
    path = tmp_path / "stereo.wav"
    soundfile.write(path, np.stack([left, np.zeros_like(left), -0.5 * left], 1), 16_000, "FLOAT")
    assert np.abs(load_audio(path) - left / 6).max() <= 1e-6


def test_what_cannot_be_heard_is_named(tmp_path: Path) -> None:
    nan = tone(16_000)
    nan[[3, 5]] = np.nan, np.inf
    soundfile.write(tmp_path / "nan.wav", nan, 16_000, "FLOAT")
    soundfile.write(tmp_path / "none.wav", nan[:0], 16_000)
    soundfile.write(tmp_path / "cut.flac", tone(16_000), 16_000)
    content = (tmp_path / "cut.flac").read_bytes()
    (tmp_path / "cut.flac").write_bytes(content[: len(content) // 2])
    (tmp_path / "text.wav").write_text("no audio " * 100)
    (tmp_path / "empty.wav").touch()
    (tmp_path / "folder.wav").mkdir()
    (tmp_path / "unreadable.wav").symlink_to("/proc/self/mem")
    (tmp_path / "loop.wav").symlink_to("loop.wav")
    os.mkfifo(tmp_path / "fifo.wav")
    with np.errstate(over="ignore"):
        for name, samples, kind in [
            ("double.wav", 1e300 * np.ones(300), "DOUBLE"),
            ("opposite.wav", np.tile([[np.inf, -np.inf]], (300, 1)), "FLOAT"),
        ]:
            soundfile.write(tmp_path / name, samples, 16_000, kind)
    for name, size, frame in (("half.wav", 2, 2), ("silent.wav", 2, 0)):
        head = struct.pack("<4sIHHIIHH", b"fmt ", 16, 3, bool(frame), 16_000, 0, frame, 8 * size)
        data = b"data" + (800).to_bytes(4, "little") + bytes(800)
        (tmp_path / name).write_bytes(b"RIFF\x34\x03\0\0WAVE" + head + data)
    (tmp_path / "page.ogg").write_bytes(b"OggS")
    for name, reason in {
        "nan.wav": "2 of 16000 samples are NaN or infinite",
        "none.wav": "has no samples",
        "cut.flac": "no audio file that libsndfile reads: .*lost sync",
        "text.wav": "is no audio file that libsndfile reads: .*; nor one that PyAV reads: ",
        "unreadable.wav": "cannot be read: Input/output error",
        "empty.wav": "no audio file that libsndfile reads",
        "folder.wav": "is no file",
        "missing.wav": "does not exist",
        "loop.wav": "does not exist",
        "fifo.wav": "is no file",
        "double.wav": "300 of 300 samples are NaN or infinite",
        "opposite.wav": "300 of 300 samples are NaN or infinite",
        "half.wav": "no audio file that libsndfile reads: .* PyAV reads: it has no stream of sound",
        "silent.wav": "no audio file that libsndfile reads: ",
        "page.ogg": "no audio file that libsndfile reads: ",
        300 * "x": "cannot be read: File name too long",
    }.items():
        with pytest.raises(AudioError, match=reason) as raised:
            load_audio(tmp_path / name)
        assert str(tmp_path / name) in str(raised.value)


@pytest.mark.parametrize(
    ("form", "rate"),
    [
        *((form, rate) for form in ("wav", "flac", "mp3") for rate in (8_000, 16_000, 44_100)),
        *(("ogg", 44_100), ("opus", 48_000)),
    ],
)
def test_blocks_are_what_the_whole_is(form: str, rate: int, tmp_path: Path) -> None:
    """Of several blocks, bit for bit: a decoder that seeks between them begins anew each time."""
    samples = tone(rate, 300_003 / rate) + np.random.default_rng(rate).normal(0, 0.01, 300_003)
    path = tmp_path / f"noise.{form}"
    subtype = "OPUS" if form == "opus" else None
    soundfile.write(path, samples, rate, subtype, format="ogg" if subtype else None)
    whole, _ = soundfile.read(path, dtype="float32")
    resampled = soxr.resample(whole, rate, 16_000) if rate != 16_000 else whole
    assert np.array_equal(load_audio(path), resampled)


MEMORY = """
import sys
from pathlib import Path
import numpy, soundfile, soxr
from whisper_mel_mojo.audio_file import load_audio

def kilobytes(name):
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(name)).split()[1])

load_audio(sys.argv[1])  # what is loaded and kept once
before = kilobytes("VmRSS")
audio = load_audio(sys.argv[2])
print((kilobytes("VmHWM") - before) * 1024 / audio.nbytes)
"""


@pytest.mark.parametrize("form", ["wav", "flac"])
def test_decoding_takes_the_memory_of_its_result(form: str, tmp_path: Path) -> None:
    """And a few blocks: at most 1.3 times, which five minutes of music are enough to see."""
    stereo = np.tile((32767 * tone(44_100)).astype(np.int16)[:, None], 2)
    for name, repeats in (("short", 10), ("long", 300)):
        soundfile.write(tmp_path / f"{name}.{form}", np.tile(stereo, (repeats, 1)), 44_100)
    files = [tmp_path / f"{name}.{form}" for name in ("short", "long")]
    done = ran([sys.executable, "-c", MEMORY, *files], check=True)
    assert 0.9 <= float(done.stdout) <= 1.3


@pytest.mark.parametrize(
    "kind", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "WAVEX", "ULAW"]
)
def test_wav_is_what_libsndfile_makes_of_it(kind: str, tmp_path: Path) -> None:
    form, subtype = ("WAVEX", "PCM_24") if kind == "WAVEX" else ("WAV", kind)
    samples = np.random.default_rng(0).uniform(-0.9, 0.9, (70_001, 2))
    path = tmp_path / "noise.wav"
    soundfile.write(path, samples, 16_000, subtype, format=form)
    expected, _ = soundfile.read(path, dtype="float32")
    assert np.array_equal(load_audio(path), expected.mean(axis=1))
    assert np.array_equal(load_audio(path, channel=1), expected[:, 1])


WITHOUT = """
import builtins, sys
plain = builtins.__import__

def without(name, *more, **others):
    if name in sys.argv[2:]:
        raise ModuleNotFoundError(f"No module named {name!r}")
    return plain(name, *more, **others)

builtins.__import__ = without
from whisper_mel_mojo.audio_file import load_audio
try:
    print(load_audio(sys.argv[1]).size)
except (ImportError, ValueError) as error:
    print(error)
"""


def heard_without(path: Path, *modules: str) -> str:
    return ran([sys.executable, "-c", WITHOUT, path, *modules], check=True).stdout


def test_what_each_format_needs(tmp_path: Path) -> None:
    """Plain WAV nothing, the formats of libsndfile one of two, m4a PyAV; it is said what to get."""
    with wave.open(str(tmp_path / "plain.wav"), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(bytes(32_000))
    soundfile.write(tmp_path / "a.flac", tone(16_000), 16_000)
    soundfile.write(tmp_path / "low.wav", tone(8_000), 8_000)
    encode(tmp_path / "a.m4a", "aac")
    none = ("soundfile", "soxr", "av")
    assert heard_without(tmp_path / "plain.wav", *none) == "16000\n"
    assert heard_without(tmp_path / "a.flac", "soundfile") == "16000\n"
    assert 'pip install "whisper-mel-mojo[audio]"' in heard_without(tmp_path / "a.flac", *none)
    assert "8000 samples a second needs it: pip" in heard_without(tmp_path / "low.wav", "soxr")
    assert "m4a, mp4 and webm among them: pip install av" in heard_without(tmp_path / "a.m4a", "av")


def encode(path: Any, codec: str, seconds: float = 2.0, form: str | None = None) -> None:
    """Write a tone at 48 kHz in two channels by FFmpeg."""
    import av

    stereo = np.tile(tone(48_000, seconds).astype(np.float32), (2, 1))
    path = str(path) if isinstance(path, Path) else path
    with av.open(path, "w", format=form) as container:
        stream: Any = container.add_stream(codec, rate=48_000, layout="stereo")
        frame = av.AudioFrame.from_ndarray(stereo, format="fltp", layout="stereo")
        frame.sample_rate = 48_000
        size = stream.frame_size or 960
        cutter = av.AudioResampler(stream.format, "stereo", 48_000, frame_size=size)
        for piece in [*cutter.resample(frame), *cutter.resample(None), None]:
            container.mux(stream.encode(piece))


@pytest.mark.parametrize(
    ("name", "codec"), [("a.m4a", "aac"), ("a.mp4", "aac"), ("a.webm", "libopus")]
)
def test_containers_are_read_by_pyav(name: str, codec: str, tmp_path: Path) -> None:
    encode(tmp_path / name, codec)
    audio = load_audio(tmp_path / name)
    assert abs(audio.size - 32_000) <= 700, "encoders add samples"
    spectrum = np.abs(np.fft.rfft(audio[4_000:28_000]))
    assert np.argmax(spectrum) * 16_000 / 24_000 == pytest.approx(440, abs=1)
    assert np.abs(audio).max() == pytest.approx(0.5, abs=0.05)


def test_a_channel_is_chosen(tmp_path: Path) -> None:
    stereo = np.stack([tone(16_000), -0.25 * tone(16_000)], 1).astype(np.float32)
    path = tmp_path / "stereo.wav"
    soundfile.write(path, stereo, 16_000, "FLOAT")
    for channel in (0, 1):
        assert np.array_equal(load_audio(path, channel=channel), stereo[:, channel])
    for channel in (2, -1):
        with pytest.raises(AudioError, match=f"has 2 channels: .*channel=0 to 1, not {channel}"):
            load_audio(path, channel=channel)
    with path.open("rb") as file:
        assert np.array_equal(decode_audio(file, "it", channel=1), stereo[:, 1])


@pytest.mark.parametrize(
    "form",
    ["wav", "mp3", "ogg", "aiff", "au", "caf", "w64", "rf64", "opus", "adpcm", "webm", "avi"],
)
def test_a_file_that_was_cut_off_is_said(form: str, tmp_path: Path) -> None:
    """What is there is heard; a whole file says nothing (warnings are errors here)."""
    path = tmp_path / f"cut.{form}"
    if form == "webm":
        encode(path, "libopus", 20)
    elif form == "avi":
        encode(path, "pcm_s16le", 20)
    else:
        settings = {"opus": ("OPUS", None, "OGG"), "adpcm": ("IMA_ADPCM", None, "WAV")}
        given = settings.get(form, (None, None, form.partition(".")[0].upper()))
        soundfile.write(path, tone(16_000, 20), 16_000, *given)
    whole = load_audio(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    with pytest.warns(AudioWarning, match=rf"cut.{form} was cut off: "):
        heard = load_audio(path)
    assert 0.4 < heard.size / whole.size < 0.9


def test_a_size_that_was_never_filled_in_is_no_cut(tmp_path: Path) -> None:
    """As of programs that write to a pipe."""
    path = tmp_path / "piped.wav"
    soundfile.write(path, tone(16_000), 16_000)
    content = bytearray(path.read_bytes())
    for size in (0, 0x7FFFF000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF):
        content[40:44] = size.to_bytes(4, "little")
        for whole in (0, 36, size):
            content[4:8] = whole.to_bytes(4, "little")
            path.write_bytes(content)
            assert load_audio(path).size == 16_000
    content[40:44] = bytes(4)
    content[4:8] = (len(content) - 8).to_bytes(4, "little")
    content[44:52] = b"LIST" + (len(content) - 52).to_bytes(4, "little")
    path.write_bytes(content)
    with pytest.raises(AudioError, match=r"piped.wav has no samples"):
        load_audio(path)  # the chunks fit: there is none


@pytest.mark.parametrize("form", ["flac", "adts", "mp3", "wav", "au", "caf", "matroska", "ogg"])
def test_a_length_that_nobody_knew_is_no_cut(form: str, tmp_path: Path) -> None:
    """As of FFmpeg, writing to a pipe: FLAC has none, of MP3 and AAC decoders guess it."""
    codecs = {"adts": "aac", "mp3": "libmp3lame", "flac": "flac", "matroska": "libopus"}
    codec = codecs.get(form, {"ogg": "libopus", "au": "pcm_s16be"}.get(form, "pcm_s16le"))
    pipe = Pipe()
    encode(pipe, codec, 5, form)
    (tmp_path / "piped").write_bytes(pipe.content)
    assert abs(load_audio(tmp_path / "piped").size - 80_000) <= 1000


def test_what_ffmpeg_puts_before_opus_is_not_heard(tmp_path: Path) -> None:
    """libsndfile leaves it out only if it seeks."""
    encode(tmp_path / "a.opus", "libopus")
    heard = load_audio(tmp_path / "a.opus", channel=0)
    expected = soxr.resample(tone(48_000, 2).astype(np.float32), 48_000, 16_000)
    assert heard.size == 32_000
    assert np.abs(heard - expected)[1000:-1000].max() <= 0.05


class Pipe(io.RawIOBase):
    """What is written, where one cannot go back."""

    def __init__(self) -> None:
        self.content = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, content: Any) -> int:
        self.content += content
        return len(content)


@pytest.mark.parametrize("form", ["mp3", "ogg", "opus"])
def test_a_second_recording_in_a_file_is_said(form: str, tmp_path: Path) -> None:
    """The first is heard; what is no recording is not said: tags, a picture."""
    path = tmp_path / f"two.{form}"
    subtype = "OPUS" if form == "opus" else None
    soundfile.write(path, tone(16_000, 2), 16_000, subtype, format="ogg" if subtype else form)
    alone, content = load_audio(path), path.read_bytes()
    follow = [content, b"TAG" + bytes(125) + content] if form == "mp3" else [content]
    for more in follow:
        path.write_bytes(content + more)
        with pytest.warns(AudioWarning, match=r"has several recordings, .* the first was read"):
            assert np.array_equal(load_audio(path), alone)
    if form == "mp3":
        head = b"ID3\3\0\0\0\0\x0f\0" + bytes(15 * 128)
        for more in (b"TAG" + bytes(125), b"APETAGEX" + bytes(300) + b"\xff\xd8\xff\xe0"):
            path.write_bytes(head + content + more)
            assert np.array_equal(load_audio(path), alone)


def test_what_is_suspicious_is_said(tmp_path: Path) -> None:
    left = tone(16_000).astype(np.float32)
    for name, samples, said in [
        ("opposite", np.stack([left, -0.95 * left], 1), "cancel each other: their mean has 0.1%"),
        ("cast", 32_767 * left, r"has amplitudes up to 16383\.5: full scale of float samples is 1"),
    ]:
        path = tmp_path / f"{name}.wav"
        soundfile.write(path, samples, 16_000, "FLOAT")
        with pytest.warns(AudioWarning, match=f"{name}.wav has .*{said}|{name}.wav {said}"):
            load_audio(path)
    soundfile.write(tmp_path / "half.wav", np.stack([left, -0.5 * left], 1), 16_000)
    load_audio(tmp_path / "half.wav")
    soundfile.write(tmp_path / "opposite.wav", np.stack([left, -left], 1), 16_000)
    assert load_audio(tmp_path / "opposite.wav", channel=0).size == 16_000


def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    """Are read, and named as they can be printed."""
    for form in ("wav", "flac", "m4a"):
        path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9." + form.encode()))
        if form == "m4a":
            encode(tmp_path / "plain.m4a", "aac")
            (tmp_path / "plain.m4a").rename(path)
        else:
            soundfile.write(os.fsencode(path), tone(16_000), 16_000)
        assert load_audio(path).size >= 16_000
        path.write_text("no audio")
        with pytest.raises(AudioError, match=rf"caf\\xe9\.{form} is no audio") as raised:
            load_audio(path)
        str(raised.value).encode()


@pytest.mark.parametrize(
    ("at", "value", "reason"),
    [
        (24, 1, "has 1 samples a second: expected 1000 to 1000000"),
        (24, 2**32 - 1, "has 4294967295 samples a second"),
        (16, 2**31, "no audio file"),
        (22, 0, "no audio file"),
    ],
)
def test_spoiled_headers_take_no_memory(at: int, value: int, reason: str, tmp_path: Path) -> None:
    """A rate that would be converted to gigabytes, a chunk that is larger than the file."""
    path = tmp_path / "spoiled.wav"
    soundfile.write(path, tone(16_000), 16_000)
    content = bytearray(path.read_bytes())
    size = 2 if at == 22 else 4
    content[at : at + size] = value.to_bytes(size, "little")
    path.write_bytes(content)
    tracemalloc.start()
    try:
        with pytest.raises(AudioError, match=reason):
            load_audio(path)
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()


def test_many_channels(tmp_path: Path) -> None:
    """A block is as large as of few."""
    samples = np.tile(tone(16_000, 0.1)[:, None], 60_000).astype(np.uint8)
    path = tmp_path / "many.wav"
    with wave.open(str(path), "wb") as file:
        file.setparams((60_000, 1, 16_000, 0, "NONE", ""))
        file.writeframes(samples[:200].tobytes())
    tracemalloc.start()
    try:
        assert load_audio(path).size == 200
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()


def test_open_files_are_heard_as_files_are(tmp_path: Path) -> None:
    for form in ("wav", "flac"):
        path = tmp_path / f"a.{form}"
        soundfile.write(path, tone(44_100), 44_100)
        heard = decode_audio(io.BytesIO(path.read_bytes()), "it")
        assert np.array_equal(heard, load_audio(path))
