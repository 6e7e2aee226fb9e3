"""What an output holds and what it is made of; which shards are valid, and why others are not.

An output is a folder with

    manifest.json      the settings; once all is done, every shard with its rows and hash
    shards/NAME.…      features; a shard appears under its name when it is whole
    reports/NAME.json  written after its shard: the clips, the files that they were read from and
                       the shard itself (:class:`Stamp` of each), clips that were skipped, notes
    skipped.jsonl      clips that were skipped, files that are not heard, and notes

The name of a shard has a hash of what it is to be made of, so that shards of different clips never
have one name.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from whisper_mel_mojo.corpus.files import (
    BEGUN,
    PARTIAL,
    CorpusError,
    Stamp,
    difference,
    read_json,
    sha256,
    whole,
    write_json,
)
from whisper_mel_mojo.corpus.forms import MANIFEST, NAME, REPORT, Form
from whisper_mel_mojo.corpus.inputs import Clip, Corpus
from whisper_mel_mojo.decoders import shown

FORMAT = 1


@dataclass(frozen=True)
class Settings:
    """How features are made: equal for all shards of an output.

    ``window`` and ``overlap`` are in samples at 16 kHz; a window of 0 is the whole clip.
    ``channel`` is None for the mean of all. ``columns`` were chosen to be carried along, None for
    all; ``carried`` are those that the sources have, with their types.
    """

    n_mels: int
    window: int
    overlap: int
    channel: int | None
    dtype: str
    format: str
    columns: list[str] | None
    carried: dict[str, str]


class Output:
    """The folder of an output, and its parts."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.manifest = folder / "manifest.json"
        self.shards = folder / "shards"
        self.reports = folder / "reports"
        self.skipped = folder / "skipped.jsonl"

    def make(self) -> None:
        """Make the folders that are missing."""
        if self.folder.exists() and not self.folder.is_dir():
            raise CorpusError(f"{shown(self.folder)} is a file: expected a folder for the output")
        for folder in (self.folder, self.shards, self.reports):
            folder.mkdir(parents=True, exist_ok=True)

    @contextmanager
    def locked(self, *, to_read: bool) -> Iterator[None]:
        """Keep runs that write out of the folder, if its file system has locks.

        A run that writes keeps those out, too, that only read; they need no right to write.
        """
        path = self.folder / ".lock"
        with path.open("r" if to_read and path.exists() else "a+") as lock:
            try:
                fcntl.flock(lock, (fcntl.LOCK_SH if to_read else fcntl.LOCK_EX) | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise CorpusError(f"another run is writing to {shown(self.folder)}") from error
            except OSError:
                pass  # a file system without locks
            yield


def load(path: Path, form: Form) -> dict[str, Any]:
    """Read a manifest or report. Raises ``ValueError`` if it is spoiled, or of another format."""
    content = read_json(path)
    if content.get("format") != FORMAT:
        raise ValueError(f"{shown(path)} has format {content.get('format')!r}: expected {FORMAT}")
    if not form(content):
        raise ValueError(f"{shown(path)} has values that featurize does not write")
    return content


@dataclass
class State:
    """What is in an output.

    ``valid`` has the reports of valid shards by name, ``invalid`` the names of the others,
    ``problems`` sentences that say why, each once. ``touched`` are valid shards whose report has
    files of which only the time has changed. ``known`` are the clips of all reports, ``earlier`` is
    the manifest, empty if there is none.
    """

    valid: dict[str, dict[str, Any]] = field(default_factory=dict)
    invalid: list[str] = field(default_factory=list)
    touched: list[str] = field(default_factory=list)
    known: set[Clip] = field(default_factory=set)
    problems: dict[str, None] = field(default_factory=dict)
    earlier: dict[str, Any] = field(default_factory=dict)

    def covered(self) -> set[Clip]:
        """Return the clips of valid shards."""
        return {clip for report in self.valid.values() for clip in clips_of(report)}

    def missing(self, corpus: Corpus) -> list[Clip]:
        """Return the clips of a corpus that no valid shard accounts for."""
        covered = self.covered()
        return [clip for clip in corpus.clips() if clip not in covered]


def clips_of(report: dict[str, Any]) -> list[Clip]:
    """Return the clips that a report accounts for."""
    return [Clip(*it) for it in report["clips"]]


def opened(output: Output) -> State:
    """Read the manifest and the reports of an output; nothing is compared with files yet."""
    state = State()
    try:
        state.earlier = load(output.manifest, MANIFEST) if output.manifest.exists() else {}
    except ValueError as error:
        state.problems[str(error)] = None
    for path in sorted(output.reports.glob("*.json")):
        if not NAME.fullmatch(path.stem):
            continue
        try:
            state.valid[path.stem] = load(path, REPORT)
        except ValueError as error:
            state.invalid.append(path.stem)
            state.problems[str(error)] = None
    state.known = state.covered()
    if not state.earlier and state.valid:
        state.earlier = {"settings": next(iter(state.valid.values()))["settings"]}
    return state


def compare(
    state: State,
    output: Output,
    settings: Settings,
    corpus: Corpus,
    *,
    rehash: bool = False,
    retry: bool = False,
) -> None:
    """Move reports that are no longer true from ``valid`` to ``invalid``, and say why.

    With ``rehash`` the content of every file is compared; with ``retry`` reports of skipped clips
    are no longer true.
    """
    now = asdict(settings)
    earlier = state.earlier.get("settings", now)
    chosen = now.keys() - {"carried"}
    if changed := [name for name in now if name in chosen and earlier[name] != now[name]]:
        was = ", ".join(f"{name}={earlier[name]!r}" for name in changed)
        this = ", ".join(f"{name}={now[name]!r}" for name in changed)
        raise CorpusError(f"{shown(output.folder)} was begun with {was}, this is {this}")
    if rehash:
        sha256.cache_clear()
    seen: set[Clip] = set()
    for name, report in list(state.valid.items()):
        times = [it["mtime_ns"] for it in _stamps(report)]
        reasons = list(_reasons(report, output, settings, corpus, rehash))
        if retry and report["skipped"]:
            reasons.append(f"{name} has {len(report['skipped'])} skipped clips, to be tried again")
        if not reasons and seen.intersection(clips_of(report)):
            reasons = [f"{name} has clips that are in another shard, too"]
        if reasons:
            del state.valid[name]
            state.invalid.append(name)
            state.problems.update(dict.fromkeys(reasons))
            continue
        seen.update(clips_of(report))
        if times != [it["mtime_ns"] for it in _stamps(report)]:
            state.touched.append(name)


def _reasons(
    report: dict[str, Any],
    output: Output,
    settings: Settings,
    corpus: Corpus,
    rehash: bool,
) -> Iterator[str]:
    if (carried := report["settings"]["carried"]) != settings.carried:
        yield f"columns to carry along are {_listed(settings.carried)}, were {_listed(carried)}"
    if report["shard"]:
        path = output.shards / report["shard"]["file"]
        if reason := difference(path, report["shard"]["stamp"], rehash=rehash):
            yield f"{shown(path)} {reason}"
    gone = {clip.path for clip in clips_of(report)} - corpus.files.keys()
    yield from (f"{shown(path)} is no longer there" for path in sorted(gone))
    for path, was in report["inputs"].items():
        if path not in gone and (reason := difference(path, was, rehash=rehash)):
            yield f"{shown(path)} {reason}"


def _listed(carried: dict[str, str]) -> str:
    return ", ".join(f"{name} ({kind})" for name, kind in carried.items()) or "none"


def _stamps(report: dict[str, Any]) -> list[Stamp]:
    """Return the stamps of all files that a report names."""
    stamps = [*report["inputs"].values(), report["shard"] and report["shard"]["stamp"]]
    return [it for it in stamps if it]


# --------------------------------------------------------------------------- what there is to do


@dataclass(frozen=True)
class Task:
    """A shard that is to be made."""

    name: str
    clips: list[Clip]

    def as_row(self) -> dict[str, str]:
        """Return it as a worker takes it: text, since other names than UTF-8 do not go by Arrow."""
        return {"name": self.name, "clips": json.dumps(self.clips)}


def plan(clips: list[Clip], size: int, taken: Iterable[str], settings: Settings) -> list[Task]:
    """Divide clips among new shards of ``size`` clips; ``taken`` are the names that there are."""
    first = max((int(name.partition("-")[0]) for name in taken), default=-1) + 1
    groups = [clips[at : at + size] for at in range(0, len(clips), size)]
    return [
        Task(f"{number:06}-{_key(group, settings)}", group)
        for number, group in enumerate(groups, first)
    ]


def _key(clips: list[Clip], settings: Settings) -> str:
    """Return a hash of what a shard is to be made of."""
    paths = dict.fromkeys(clip.path for clip in clips)
    times = [os.stat(path).st_mtime_ns for path in paths if os.path.exists(path)]
    return hashlib.sha256(json.dumps([asdict(settings), clips, times]).encode()).hexdigest()[:8]


# --------------------------------------------------------------------------- what is written


def begin(output: Output, state: State, settings: Settings, sources: list[str]) -> None:
    """Write the manifest of an output that is not finished, and remove what is not valid."""
    _write_manifest(output, settings, sources, complete=False)
    _remove_unfinished(output)
    for name in state.touched:
        write_json(output.reports / f"{name}.json", state.valid[name])
    for name in state.invalid:
        (output.reports / f"{name}.json").unlink(missing_ok=True)
        (output.shards / f"{name}.{settings.format}").unlink(missing_ok=True)


def _write_manifest(output: Output, settings: Settings, sources: list[str], **more: Any) -> None:
    content = {"format": FORMAT, "version": version("whisper-mel-mojo")}
    write_json(output.manifest, content | {"settings": asdict(settings), "sources": sources} | more)


def report(
    name: str,
    settings: Settings,
    clips: list[Clip],
    *,
    skipped: dict[Clip, str],
    inputs: dict[str, Stamp | None] | None = None,
    shard: dict[str, Any] | None = None,
    notes: dict[Clip, list[str]] | None = None,
    seconds: dict[str, float] | None = None,
) -> dict[str, Any]:
    """Return the report of a shard; ``shard`` is None if all of its clips were skipped.

    ``inputs`` are the files that were read, None for none, ``seconds`` how long what took.
    """
    return {
        "format": FORMAT,
        "name": name,
        "settings": asdict(settings),
        "clips": clips,
        "inputs": inputs or {},
        "shard": shard,
        "skipped": [[*clip, reason] for clip, reason in skipped.items()],
        "notes": [[*clip, note] for clip, said in (notes or {}).items() for note in said],
        "seconds": seconds or {},
    }


def take_in(state: State, output: Output, names: Iterable[str]) -> list[dict[str, Any]]:
    """Add the reports of shards that have been made to the valid ones; return them."""
    paths = [output.reports / f"{name}.json" for name in names]
    made = {path.stem: load(path, REPORT) for path in paths if path.exists()}
    state.valid |= made
    return list(made.values())


def finish(
    output: Output, state: State, settings: Settings, sources: list[str], corpus: Corpus
) -> dict[str, Any]:
    """Check that every clip is accounted for once, and write the manifest; return it."""
    accounted = [clip for it in state.valid.values() for clip in clips_of(it)]
    if len(accounted) != len(set(accounted)) or set(accounted) != set(corpus.clips()):
        raise CorpusError(f"{shown(output.folder)}: the reports do not account for every clip once")
    _remove_strays(output, state)
    _list_skipped(output, state, corpus)
    shards = [it["shard"] for it in state.valid.values() if it["shard"]]
    totals = {
        "rows": sum(it["rows"] for it in shards),
        "clips": len(accounted),
        "skipped": sum(len(it["skipped"]) for it in state.valid.values()),
        "unheard": len(corpus.unheard),
        "notes": sum(len(it["notes"]) for it in state.valid.values()),
    }
    described = [{name: it[name] for name in ("file", "rows")} | it["stamp"] for it in shards]
    _write_manifest(output, settings, sources, complete=True, **totals, shards=described)
    return totals


def _remove_strays(output: Output, state: State) -> None:
    """Remove what killed runs have left: shards without a report, reports that came too late."""
    for path in [*output.shards.iterdir(), *output.reports.iterdir()]:
        if NAME.fullmatch(path.stem) and path.stem not in state.valid:
            path.unlink()
    _remove_unfinished(output)


def _remove_unfinished(output: Output) -> None:
    for folder in (output.folder, output.shards, output.reports):
        for path in [*folder.glob(f".*{PARTIAL}"), *folder.glob(f"*{BEGUN}")]:
            path.unlink()


def _list_skipped(output: Output, state: State, corpus: Corpus) -> None:
    with whole(output.skipped) as file:

        def put(kind: str, path: str, row: int | None, said: str) -> None:
            line = {"kind": kind, "path": path, "row": row, "reason": said}
            file.write(json.dumps(line).encode() + b"\n")

        for it in state.valid.values():
            for line in it["skipped"]:
                put("skipped", *line)
            for line in it["notes"]:
                put("note", *line)
        for path, reason in corpus.unheard.items():
            put("not heard", path, None, reason)
