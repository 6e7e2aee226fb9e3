"""One run: what has changed is named, what is not valid is made, and the manifest is written."""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
import time
from typing import Any

import numpy as np
import pyarrow as pa
from tqdm import tqdm

from whisper_mel_mojo.audio_file import SAMPLE_RATE
from whisper_mel_mojo.corpus import manifest
from whisper_mel_mojo.corpus.engine import make_shards, running_ray
from whisper_mel_mojo.corpus.files import CorpusError, stamp, write_json
from whisper_mel_mojo.corpus.inputs import Clip, Corpus, find
from whisper_mel_mojo.corpus.manifest import Output, Settings, State
from whisper_mel_mojo.corpus.shards import schema_of
from whisper_mel_mojo.corpus.worker import DIED
from whisper_mel_mojo.decoders import shown
from whisper_mel_mojo.features import log_mel

DEFAULTS: dict[str, Any] = {
    "n_mels": 80,
    "window": 30 * SAMPLE_RATE,
    "overlap": 0,
    "channel": None,
    "dtype": "float32",
    "format": "parquet",
    "columns": None,
}
SHORTEST = SAMPLE_RATE // 10


def run(options: argparse.Namespace) -> int:
    """Bring an output up to date with its sources, or only verify it; return the exit status.

    Raises :class:`CorpusError` if the run cannot begin or continue.
    """
    for package in ("soundfile", "soxr"):
        if not importlib.util.find_spec(package):
            raise CorpusError(f'{package} is missing: pip install "whisper-mel-mojo[corpus]"')
    output = Output(options.output)
    if options.verify and not output.reports.is_dir():
        raise CorpusError(f"{shown(output.folder)}: no output was begun there")
    if not options.verify:
        output.make()
    with output.locked(to_read=options.verify):
        state = manifest.opened(output)
        sources = [os.path.abspath(it) for it in options.sources] or state.earlier.get("sources")
        if not sources:
            raise CorpusError("expected at least one SOURCE")
        corpus = find(sources, output.folder)
        settings, columns = _settings(options, state, corpus)
        rehash, retry = options.rehash or options.verify, options.retry
        manifest.compare(state, output, settings, corpus, rehash=rehash, retry=retry)
        missing = state.missing(corpus)
        _say_what_changed(state, missing)
        if options.verify:
            return _verified(state, missing, output)
        manifest.begin(output, state, settings, sources)
        made = ""
        if missing:
            made = _make(options, output, settings, columns, state, corpus, missing)
        totals = manifest.finish(output, state, settings, sources, corpus)
    if options.stats and made:
        print(made)
    print(
        f"{totals['clips'] - totals['skipped']} clips in {shown(output.folder)} "
        f"({totals['rows']} rows), {totals['skipped']} skipped, {totals['unheard']} files not "
        f"heard, {totals['notes']} notes ({output.skipped.name})"
    )
    return 0 if totals["rows"] else 1


def _settings(
    options: argparse.Namespace, state: State, corpus: Corpus
) -> tuple[Settings, pa.Schema]:
    """Return the settings, given, recorded or by default, and the columns to carry along."""
    recorded = state.earlier.get("settings", {})
    chosen = {
        name: recorded.get(name, default)
        if getattr(options, name) is None
        else getattr(options, name)
        for name, default in DEFAULTS.items()
    }
    columns = corpus.columns(chosen["columns"])
    if missing := {*(options.columns or ())} - {*columns.names}:
        raise CorpusError(f"--columns {min(missing)}: no Parquet file of the sources has it")
    settings = Settings(**chosen, carried={it.name: str(it.type) for it in columns})
    if 0 < settings.window < SHORTEST or not 0 <= settings.overlap < (settings.window or 1):
        raise CorpusError(
            f"--window {settings.window / SAMPLE_RATE:g} --overlap "
            f"{settings.overlap / SAMPLE_RATE:g}: expected a window of 0 or at least "
            f"{SHORTEST / SAMPLE_RATE:g} s, and an overlap that is shorter"
        )
    schema_of(settings.n_mels, settings.window, settings.dtype, columns)  # names must be free
    return settings, columns


def _say_what_changed(state: State, missing: list[Clip]) -> None:
    for problem in state.problems:
        print(problem, file=sys.stderr)
    if state.earlier.get("complete"):
        known = {clip.path for clip in state.known}
        for path in dict.fromkeys(clip.path for clip in missing if clip.path not in known):
            print(f"{shown(path)} is new", file=sys.stderr)


def _verified(state: State, missing: list[Clip], output: Output) -> int:
    if not state.problems and not missing:
        print(f"{shown(output.folder)} is valid: {len(state.covered())} clips")
        return 0
    print(
        f"{shown(output.folder)} is not valid: {len(missing)} clips are to be made", file=sys.stderr
    )
    return 1


def _make(
    options: argparse.Namespace,
    output: Output,
    settings: Settings,
    columns: pa.Schema,
    state: State,
    corpus: Corpus,
    missing: list[Clip],
) -> str:
    """Compute the missing clips in shards of many; then those that failed, each in its own shard.

    Return figures of the run, as one line.
    """
    log_mel(np.zeros(400, np.float32))  # compiled once, not by every worker
    reasons: dict[Clip, str] = {}
    made: list[dict[str, Any]] = []
    with running_ray(options.cpus) as cpus, _progress(corpus, missing) as bar:
        began = time.perf_counter()
        for size in (options.shard, 1):
            tasks = manifest.plan(missing, size, [*state.valid, *state.invalid], settings)
            names = {task.name: task.clips for task in tasks}
            for result in make_shards(tasks, output, settings, columns):
                if result["ends"]:
                    raise CorpusError(result["error"])
                if result["error"]:
                    reasons |= dict.fromkeys(names[result["name"]], result["error"])
                bar.update(0 if result["error"] else result["clips"])
            made += manifest.take_in(state, output, names)
            missing = state.missing(corpus)
            if not missing:
                break
        seconds = time.perf_counter() - began
        bar.update(len(missing))
    for clip in missing:
        _give_up(clip, reasons.get(clip, DIED), output, settings, state)
    return _figures(made, seconds, cpus)


def _progress(corpus: Corpus, missing: list[Clip]) -> Any:
    total = sum(1 for _ in corpus.clips())
    return tqdm(total=total, initial=total - len(missing), unit=" clips")


def _give_up(clip: Clip, reason: str, output: Output, settings: Settings, state: State) -> None:
    """Write the report of a clip that no worker could make a report of."""
    (task,) = manifest.plan([clip], 1, [*state.valid, *state.invalid], settings)
    inputs = {clip.path: stamp(clip.path)}
    report = manifest.report(task.name, settings, [clip], inputs=inputs, skipped={clip: reason})
    write_json(output.reports / f"{task.name}.json", report)
    state.valid[task.name] = report


def _figures(made: list[dict[str, Any]], seconds: float, cpus: int) -> str:
    """Return clips a second, shares of time and bytes a row of the shards that were made."""
    clips = sum(len(it["clips"]) for it in made)
    spent = {
        name: sum(it["seconds"][name] for it in made) for name in ("decoding", "features", "all")
    }
    shards = [it["shard"] for it in made if it["shard"]]
    rows = sum(it["rows"] for it in shards)
    size = sum(it["stamp"]["size"] for it in shards)
    busy = max(spent["all"], 1e-9)
    on = "1 CPU" if cpus == 1 else f"{cpus} CPUs"
    return (
        f"{clips} clips in {seconds:.1f} s on {on}: {clips / max(seconds, 1e-9):.1f} a "
        "second; "
        f"{spent['decoding'] / busy:.0%} of the workers' time for reading and decoding, "
        f"{spent['features'] / busy:.0%} for features, the rest for writing; "
        f"{size / max(rows, 1):,.0f} bytes a row"
    )
