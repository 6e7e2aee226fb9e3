"""Computes the features of a corpus, on all CPUs of a machine or of a Ray cluster.

    python examples/featurize.py SOURCE... --output FOLDER

A SOURCE is an audio file, a Parquet file, or a folder that is searched for both. Rows of a Parquet
file are clips: the column ``audio`` holds encoded files (bytes, or a struct with ``bytes``, as in
Hugging Face's data sets), or samples at 16 kHz (a list of float or of int16). FOLDER receives

    manifest.json      what was asked for
    00000.parquet …    shards of clips: ``clip``, ``n_mels``, ``n_frames``, ``features`` (band by
                       band); or 00000.npz: ``clips``, and ``features_0``, ``features_1`` …
    00000.json …       written after its shard: which clips are in it, which were skipped, and why
    skipped.jsonl      the skipped clips of all shards

The run can be killed at any time: the same command continues it. The shard of each clip is fixed
beforehand, and a shard appears under its name only when it is whole. So no clip is lost or stored
twice, even if Ray repeats work. On a cluster ($RAY_ADDRESS), sources and FOLDER must be on a file
system that all machines share.

    pip install "whisper-mel-mojo[audio]" "ray[data]" tqdm
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import io
import itertools
import json
import logging
import os
import sys
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet as pq
import ray
import ray.data
from numpy.typing import NDArray
from tqdm import tqdm
from whisper_mel_mojo import log_mel
from whisper_mel_mojo.audio_file import AudioError, decode_audio, load_audio

Array = NDArray[Any]

AUDIO = {".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".au", ".caf", ".w64"}
PARTIAL = ".partial"
AT_ONCE = 16
"""Number of clips in one call of the kernel, which are decoded together."""
STARTS = 5
"""Number of Ray's attempts to start, of half a minute each, which busy machines may exceed."""


class CorpusError(Exception):
    """The run cannot begin or continue; the message says why."""


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("sources", nargs="+", metavar="SOURCE", type=Path)
    parser.add_argument("--output", required=True, metavar="FOLDER", type=Path)
    parser.add_argument("--format", choices=("parquet", "npz"), default="parquet")
    parser.add_argument("--n-mels", type=int, choices=(80, 128), default=80)
    parser.add_argument(
        "--pad-to",
        type=int,
        default=480_000,
        metavar="SAMPLES",
        help="zeros are appended up to here, longer clips are skipped; 0: as long as they are",
    )
    parser.add_argument("--shard", type=int, default=64, metavar="CLIPS", help="in one file")
    options = parser.parse_args(arguments)
    if options.shard < 1 or options.pad_to < 0:
        parser.error("expected --shard of at least 1, --pad-to of at least 0")
    try:
        clips = find_clips(options.sources, options.output)
        options.output.mkdir(parents=True, exist_ok=True)
        with only_run(options.output):
            begin(options, clips)
            compute(options, clips)
            return finish(options.output, clips)
    except CorpusError as error:
        print(f"featurize: {error}", file=sys.stderr)
        return 2


# --------------------------------------------------------------------------- what there is to do


def find_clips(sources: Iterable[Path], output: Path) -> list[str]:
    """List the names of all clips, ``PATH`` or ``PATH#ROW``, always in the same order.

    Shards in ``output``, which may be in one of the sources, are not clips.
    """
    files: dict[Path, None] = {}
    for source in sources:
        if not source.exists():
            raise CorpusError(f"{source} does not exist")
        inside = sorted(source.rglob("*")) if source.is_dir() else [source]
        suffixes = {*AUDIO, ".parquet"}
        wanted = [it for it in inside if source.is_file() or it.suffix.lower() in suffixes]
        files.update(
            (it.absolute(), None)
            for it in wanted
            if it.is_file() and output.absolute() not in it.absolute().parents
        )
    clips: list[str] = []
    for file in files:
        try:
            str(file).encode()
        except UnicodeEncodeError as error:
            raise CorpusError(f"{str(file)!r}: expected a name in UTF-8") from error
        rows = rows_of(file) if is_parquet(file) else None
        clips += [str(file)] if rows is None else [f"{file}#{row}" for row in range(rows)]
    if not clips:
        raise CorpusError(f"no audio in {', '.join(map(str, sources))}")
    return clips


def is_parquet(file: Path) -> bool:
    return file.suffix.lower() == ".parquet"


def rows_of(file: Path) -> int | None:
    """Return the number of clips in a Parquet file; None for other files or without ``audio``."""
    try:
        described = pq.ParquetFile(file)
    except (pa.ArrowException, OSError):
        return None
    return int(described.metadata.num_rows) if "audio" in described.schema_arrow.names else None


@contextmanager
def only_run(output: Path) -> Iterator[None]:
    """Keep other runs out of the folder, if its file system has locks."""
    with (output / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise CorpusError(f"another run is writing to {output}") from error
        yield


def begin(options: argparse.Namespace, clips: list[str]) -> None:
    """Write the manifest; an existing one must be equal."""
    manifest = {
        "n_mels": options.n_mels,
        "pad_to": options.pad_to,
        "format": options.format,
        "shard": options.shard,
        "clips": len(clips),
        "names": hashlib.sha256("\n".join(clips).encode()).hexdigest(),
    }
    path = options.output / "manifest.json"
    if path.exists():
        earlier = json.loads(path.read_text())
        changed = [name for name in manifest if manifest[name] != earlier.get(name)]
        if changed:
            was = ", ".join(f"{name}={earlier.get(name)!r}" for name in changed)
            now = ", ".join(f"{name}={manifest[name]!r}" for name in changed)
            raise CorpusError(f"{options.output} was begun with {was}, this is {now}")
    write(path, json.dumps(manifest, indent=1).encode())


# --------------------------------------------------------------------------- the work


def compute(options: argparse.Namespace, clips: list[str]) -> None:
    """Compute the missing shards with Ray Data."""
    shards = [clips[at : at + options.shard] for at in range(0, len(clips), options.shard)]
    todo: list[dict[str, Any]] = [
        {"shard": number, "clips": shard}
        for number, shard in enumerate(shards)
        if not all(it.exists() for it in files_of(options.output, number, options.format))
    ]
    if not todo:
        return
    log_mel(np.zeros(400, np.float32))  # compiled once, not by every worker
    start_ray()
    work = {
        "fn_args": (str(options.output.absolute()), options.format, options.n_mels, options.pad_to),
        "num_cpus": 1,
    }
    blocks = min(len(todo), 10_000)
    results = ray.data.from_items(todo, override_num_blocks=blocks).map(write_shard, **work)
    done = len(clips) - sum(len(it["clips"]) for it in todo)
    with tqdm(total=len(clips), initial=done, unit=" clips") as bar:
        for result in results.iter_rows():
            bar.update(result["clips"])
            if result["skipped"]:
                bar.write(f"shard {result['shard']}: {result['skipped']} skipped", sys.stderr)
    ray.shutdown()


def start_ray() -> None:
    """Start Ray on this machine or on the cluster of $RAY_ADDRESS, without output of its own."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    here = {"address": "local", "include_dashboard": False}
    where = {} if os.environ.get("RAY_ADDRESS") else here
    for patience in reversed(range(STARTS)):
        try:
            ray.init(log_to_driver=False, logging_level="ERROR", **where)
            break
        except Exception as error:  # Ray raises no type of its own
            ray.shutdown()
            if "timed out during startup" not in str(error) or not patience:
                raise CorpusError(f"Ray does not start: {error}") from error
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    ray.data.DataContext.get_current().enable_progress_bars = False


def write_shard(
    task: dict[str, Any], output: str, form: str, n_mels: int, pad_to: int
) -> dict[str, int]:
    """Write one shard, then its report; each is whole or absent, even if killed or repeated."""
    clips: list[str] = list(task["clips"])
    number = int(task["shard"])
    features: dict[str, Array] = {}
    skipped: dict[str, str] = {}
    for at in range(0, len(clips), AT_ONCE):
        samples: dict[str, Array] = {}
        for name, read in read_clips(clips[at : at + AT_ONCE]):
            sort_in(name, read, samples, skipped)
        for name, computed in features_of(samples, n_mels, pad_to):
            sort_in(name, computed, features, skipped)
    shard, report = files_of(Path(output), number, form)
    write(shard, pack_parquet(features) if form == "parquet" else pack_npz(features))
    write(report, json.dumps({"clips": list(features), "skipped": skipped}).encode())
    return {"shard": number, "clips": len(clips), "skipped": len(skipped)}


def sort_in(
    name: str, result: Array | Exception, right: dict[str, Array], wrong: dict[str, str]
) -> None:
    if isinstance(result, Exception):
        wrong[name] = str(result)
    else:
        right[name] = result


def read_clips(names: list[str]) -> Iterator[tuple[str, Array | Exception]]:
    """Yield the samples of each clip, or the exception that explains why there are none."""
    for file, group in itertools.groupby(names, parquet_of):
        if file is not None:
            yield from read_rows(file, list(group))
            continue
        for name in group:
            try:
                yield name, read_file(name)
            except AudioError as error:
                yield name, error


def read_file(name: str) -> Array:
    """Read the samples of a clip that is a file. Raises ``AudioError``."""
    if is_parquet(Path(name)):
        raise AudioError(f"{name} is no Parquet file that has a column audio")
    return load_audio(name)


def parquet_of(name: str) -> str | None:
    """Return the Parquet file of a clip that is a row; None for files, even with ``#``."""
    file, _, row = name.rpartition("#")
    return file if row.isdecimal() and is_parquet(Path(file)) else None


def read_rows(file: str, names: list[str]) -> Iterator[tuple[str, Array | Exception]]:
    rows = [int(name.rpartition("#")[2]) for name in names]
    try:
        column = pyarrow.dataset.dataset(file).take(rows, columns=["audio"])["audio"]
    except (pa.ArrowException, OSError) as error:
        yield from ((name, error) for name in names)
        return
    for name, cell in zip(names, column, strict=True):
        try:
            yield name, samples_in(cell, name)
        except AudioError as error:
            yield name, error


def samples_in(cell: Any, name: str) -> Array:
    """Read the samples in a cell of the column ``audio``. Raises ``AudioError``."""
    if isinstance(cell, pa.StructScalar):
        cell = cell.get("bytes")
    if not isinstance(cell, pa.ListScalar):
        content = cell.as_py()
        if not isinstance(content, bytes):
            raise AudioError(f"{name} is {cell.type}: expected an encoded file, or samples")
        return decode_audio(io.BytesIO(content), name)
    if not cell.is_valid:
        raise AudioError(f"{name} is null: expected an encoded file, or samples")
    samples: Array = cell.values.to_numpy(zero_copy_only=False)
    if samples.dtype == np.int16:
        return samples / np.float32(32768)
    if samples.dtype.kind != "f":
        raise AudioError(f"{name} has {samples.dtype} samples: expected float, or int16")
    return samples.astype(np.float32)


def features_of(
    samples: dict[str, Array], n_mels: int, pad_to: int
) -> Iterator[tuple[str, Array | Exception]]:
    """Yield each clip's features, or the exception; padded clips share one call of the kernel."""
    longest = max((clip.size for clip in samples.values()), default=0)
    if 0 < longest <= pad_to:
        batch = np.zeros((len(samples), longest), np.float32)
        for row, clip in zip(batch, samples.values(), strict=True):
            row[: clip.size] = clip
        try:
            yield from zip(samples, log_mel(batch, n_mels, pad_to=pad_to, threads=1), strict=True)
            return
        except ValueError:
            pass  # one of the clips is to blame; the loop below finds it
    for name, clip in samples.items():
        try:
            yield name, log_mel(clip, n_mels, pad_to=pad_to or None, threads=1)
        except ValueError as error:
            yield name, error


# --------------------------------------------------------------------------- files


def files_of(output: Path, number: int, form: str) -> tuple[Path, Path]:
    """Return the paths of a shard and of its report."""
    return output / f"{number:05}.{form}", output / f"{number:05}.json"


def pack_parquet(features: dict[str, Array]) -> bytes:
    arrays = {
        "clip": pa.array(list(features), pa.string()),
        "n_mels": pa.array([it.shape[0] for it in features.values()], pa.int32()),
        "n_frames": pa.array([it.shape[1] for it in features.values()], pa.int32()),
        "features": pa.array([it.ravel() for it in features.values()], pa.list_(pa.float32())),
    }
    buffer = io.BytesIO()
    pq.write_table(pa.table(arrays), buffer)
    return buffer.getvalue()


def pack_npz(features: dict[str, Array]) -> bytes:
    buffer = io.BytesIO()
    arrays: dict[str, Any] = {f"features_{place}": it for place, it in enumerate(features.values())}
    np.savez(buffer, clips=np.array(list(features), np.str_), **arrays)
    return buffer.getvalue()


def write(path: Path, content: bytes) -> None:
    """Write a file whole or not at all, even if killed; the last writer wins."""
    beside = path.with_name(f".{path.name}.{uuid.uuid4().hex}{PARTIAL}")
    with beside.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)


def read_features(output: Path) -> Iterator[tuple[str, Array]]:
    """Yield every clip of a finished folder, with its features of shape ``(n_mels, n_frames)``."""
    form = json.loads((output / "manifest.json").read_text())["format"]
    for path in sorted(output.glob(f"*.{form}")):
        if form == "npz":
            with np.load(path) as shard:
                yield from (
                    (str(it), shard[f"features_{i}"]) for i, it in enumerate(shard["clips"])
                )
            continue
        for row in pq.read_table(path).to_batches():
            for clip, n_mels, n_frames, features in zip(*row.columns, strict=True):
                values = features.values.to_numpy()
                yield clip.as_py(), values.reshape(n_mels.as_py(), n_frames.as_py())


def finish(output: Path, clips: list[str]) -> int:
    """Check that every clip is in one shard or skipped, and list the skipped ones."""
    done: list[str] = []
    skipped: dict[str, str] = {}
    for path in sorted(output.glob("[0-9]*.json")):
        report = json.loads(path.read_text())
        done += report["clips"]
        skipped.update(report["skipped"])
    if sorted([*done, *skipped]) != sorted(clips):
        raise CorpusError(f"{output}: the shards' reports do not add up to {len(clips)} clips")
    for left in output.glob(f".*{PARTIAL}"):
        left.unlink()
    lines = [json.dumps({"clip": name, "reason": reason}) for name, reason in skipped.items()]
    write(output / "skipped.jsonl", "".join(f"{line}\n" for line in lines).encode())
    print(f"{len(done)} clips in {output}, {len(skipped)} skipped (skipped.jsonl)")
    return 0 if done else 1


if __name__ == "__main__":
    sys.exit(main())
