"""One shard: its clips are read, computed and written, and its report says what became of each."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa

from whisper_mel_mojo.corpus import manifest
from whisper_mel_mojo.corpus.clips import Heard, read_clips
from whisper_mel_mojo.corpus.files import BEGUN, Stamp, stamp, write_json
from whisper_mel_mojo.corpus.inputs import Clip
from whisper_mel_mojo.corpus.manifest import Output, Settings
from whisper_mel_mojo.corpus.shards import Row, open_shard, schema_of
from whisper_mel_mojo.decoders import shown
from whisper_mel_mojo.features import log_mel

AT_ONCE = 16
"""Number of windows in one call of the kernel."""

TRIES = 2
"""How often a shard is begun: Ray repeats a task whose worker died for ever."""
DIED = "the process that computed it died, perhaps for want of memory"

T = TypeVar("T")


def make_shard(
    task: dict[str, Any], folder: Path, settings: Settings, columns: pa.Schema
) -> dict[str, Any]:
    """Make a shard and its report, each whole or absent, even if killed or repeated.

    Returns its ``name``, the number of ``clips`` and, as ``error``, what prevented it, or an empty
    string; ``ends`` says whether that concerns all other shards, too.
    """
    name = str(task["name"])
    clips = [Clip(*it) for it in json.loads(task["clips"])]
    result = {"name": name, "clips": len(clips), "error": "", "ends": False}
    output = Output(folder)
    report, tries = output.reports / f"{name}.json", output.reports / f"{name}{BEGUN}"
    if report.exists():  # Ray repeats what a machine has done that is gone
        return result
    try:
        with tries.open("ab") as file:
            file.write(b".")
        if tries.stat().st_size > TRIES:
            return result | {"error": DIED}
        write_json(report, _make(name, clips, output, settings, columns))
        tries.unlink()
    except OSError as error:  # of writing: what cannot be read is skipped
        reason = f"cannot write to {shown(folder)}: {error.strerror or error}"
        return result | {"error": reason, "ends": True}
    except Exception as error:
        return result | {"error": f"{type(error).__name__}: {error}"}
    return result


def _make(
    name: str, clips: list[Clip], output: Output, settings: Settings, columns: pa.Schema
) -> dict[str, Any]:
    schema = schema_of(settings.n_mels, settings.window, settings.dtype, columns)
    path = output.shards / f"{name}.{settings.format}"
    inputs: dict[str, Stamp | None] = {}
    skipped: dict[Clip, str] = {}
    notes: dict[Clip, list[str]] = {}
    seconds = {"decoding": 0.0, "features": 0.0}
    began = time.perf_counter()
    rows = 0
    with open_shard(path, schema) as shard:
        reading = read_clips(clips, columns.names, settings.channel)
        for heard in _timed(reading, seconds, "decoding"):
            inputs |= heard.files
            if heard.notes:
                notes[heard.clip] = heard.notes
            if heard.samples is None:
                skipped[heard.clip] = heard.reason
                continue
            try:
                for row in _timed(rows_of(heard, settings), seconds, "features"):
                    shard.add(row)
                    rows += 1
            except ValueError as error:  # the first of its rows: it is too short without a window
                skipped[heard.clip] = str(error)
    described = {"file": path.name, "rows": rows, "stamp": stamp(path)}
    if not rows:
        path.unlink()
    return manifest.report(
        name,
        settings,
        clips,
        inputs=inputs,
        shard=described if rows else None,
        skipped=skipped,
        notes=notes,
        seconds=seconds | {"all": time.perf_counter() - began},
    )


def rows_of(heard: Heard, settings: Settings) -> Iterator[Row]:
    """Yield the features of a clip, window by window, each as if it were a clip of its own."""
    samples = heard.samples
    assert samples is not None
    if not settings.window:
        features = log_mel(samples, settings.n_mels, threads=1, dtype=settings.dtype)
        yield Row(heard.clip, 0, samples.size, features, heard.columns)
        return
    starts = starts_of(samples.size, settings.window, settings.overlap)
    for at in range(0, len(starts), AT_ONCE):
        windows = [samples[start : start + settings.window] for start in starts[at : at + AT_ONCE]]
        batch = np.zeros((len(windows), max(it.size for it in windows)), np.float32)
        for row, window in zip(batch, windows, strict=True):
            row[: window.size] = window
        features = log_mel(
            batch, settings.n_mels, pad_to=settings.window, threads=1, dtype=settings.dtype
        )
        for start, window, values in zip(starts[at : at + AT_ONCE], windows, features, strict=True):
            yield Row(heard.clip, start, window.size, values, heard.columns)


def starts_of(length: int, window: int, overlap: int) -> range:
    """Return where the windows of a clip begin; the last one has samples that no other has."""
    return range(0, max(1, length - overlap), window - overlap)


def _timed(items: Iterator[T], seconds: dict[str, float], name: str) -> Iterator[T]:
    """Yield the items, and add up the time that it takes to make them."""
    while True:
        began = time.perf_counter()
        try:
            item = next(items)
        except StopIteration:
            return
        finally:
            seconds[name] += time.perf_counter() - began
        yield item
