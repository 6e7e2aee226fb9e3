"""The vector set: the goldens' inputs, exact features and error bounds, for use without Python.

``python -m whisper_mel_golden vectors FOLDER`` packs it; the ``README.md`` here describes it.
"""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from whisper_mel_reference import BOUND_VERSION, truth

from whisper_mel_golden.cases import GoldenCase, golden_cases
from whisper_mel_golden.manifest import load_manifest
from whisper_mel_golden.store import DATA, fingerprint

FORMAT = 1
VERSION = "1.0"
"""The version of the vectors: another minor number with new ones, another major number if a file
changes (docs/versions.md).
"""
STEM = f"whisper-mel-vectors-{VERSION}"
QUICK = f"{STEM}-quick"
"""The names of the whole set and of the quick one: of the archive, and of the folder in it."""
_SHORT = 80  # frames
STEP = 2.0**-30
"""The unit that exact features are rounded to, so that they are the same on every machine: 1/512 of
the smallest error bound.
"""
_HERE = Path(__file__).parent
_TEXTS = {  # name in the archive: the file
    "README.md": _HERE / "README.md",
    "verify.c": _HERE / "verify.c",
    "manifest.schema.json": _HERE / "manifest.schema.json",
    **{f"loaders/{path.name}": path for path in sorted((_HERE / "loaders").glob("vectors.*"))},
    "speech/README.md": DATA / "speech" / "README.md",
    "speech/LICENSE.pocketsphinx": DATA / "speech" / "LICENSE.pocketsphinx",
}


def quick() -> list[GoldenCase]:
    """Return the cases of the quick set: short clips, and one of each kind of longer ones."""
    longer = ("reading/80", "reading-pcm/128", "silence-30s/80-pad480000", "noise-ramp/80")
    return [
        case
        for case in golden_cases()
        if case.id.removeprefix("golden/") in longer
        or (case.smoothing is None and case.shape[1] <= _SHORT)
    ]


def pack_all(folder: Path) -> list[Path]:
    """Write the archives of both sets; return their paths."""
    return [pack(folder), pack(folder, quick(), QUICK)]


def pack(folder: Path, cases: Sequence[GoldenCase] | None = None, stem: str = STEM) -> Path:
    """Write the archive ``stem`` of some cases (None: all); return its path.

    The same cases give the same bytes.
    """
    path = folder / f"{stem}.tar.gz"
    new = path.with_suffix(".new")
    folder.mkdir(parents=True, exist_ok=True)
    with (
        new.open("wb") as raw,
        gzip.GzipFile("", "wb", 6, raw, mtime=0) as compressed,
        tarfile.open(mode="w", fileobj=compressed, format=tarfile.USTAR_FORMAT) as archive,
    ):
        for name, content in files(golden_cases() if cases is None else cases):
            # without owner and time: the same bytes each time
            entry = tarfile.TarInfo(f"{stem}/{name}")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    new.replace(path)
    return path


def files(cases: Sequence[GoldenCase]) -> Iterator[tuple[str, bytes]]:
    """Yield the name and the content of each file in the archive."""
    inputs: dict[str, dict[str, Any]] = {}
    entries: dict[str, dict[str, Any]] = {}
    lines = []
    for case in cases:
        audio = case.audio()
        if case.input_id not in inputs:
            inputs[case.input_id] = {
                "purpose": case.purpose,
                "file": f"inputs/{case.input_id}.npy",
                "dtype": audio.dtype.name,
                "samples": audio.size,
                "sha256": fingerprint(audio),
            }
            yield inputs[case.input_id]["file"], _npy(audio)
        name = case.id.removeprefix("golden/").replace("/", "--")
        features, bound = truth(audio, case.spec)
        exact, allowed = np.round(features / STEP) * STEP, bound.astype(np.float32)
        yield f"expected/{name}.npy", _npy(exact)
        yield f"bounds/{name}.npy", _npy(allowed)
        entries[name] = {
            "id": case.id,
            "input": case.input_id,
            "n_mels": case.n_mels,
            "pad_to": case.pad_to,
            "smoothing": case.smoothing,
            "shape": list(exact.shape),
            "expected": {"file": f"expected/{name}.npy", "sha256": fingerprint(exact)},
            "bound": {"file": f"bounds/{name}.npy", "sha256": fingerprint(allowed)},
        }
        fields = [name, case.input_id, audio.dtype.name, audio.size, case.n_mels]
        fields += [case.pad_to or 0, case.smoothing or "none", *exact.shape]
        lines.append(" ".join(map(str, fields)))
    manifest = {
        "format": FORMAT,
        "version": VERSION,
        "bound": BOUND_VERSION,
        "package": version("whisper-mel-golden"),
        "step": STEP,
        "recordings": load_manifest(DATA)["recordings"],
        "inputs": inputs,
        "cases": entries,
    }
    yield "manifest.json", (json.dumps(manifest, indent=1, ensure_ascii=False) + "\n").encode()
    yield "cases.txt", ("\n".join(lines) + "\n").encode()
    for name, path in _TEXTS.items():
        yield name, path.read_bytes()


def _npy(array: NDArray[Any]) -> bytes:
    file = io.BytesIO()
    little = array.astype(array.dtype.newbyteorder("<"), copy=False)
    np.lib.format.write_array(file, little, version=(1, 0))
    return file.getvalue()
