"""Arrays on disk, and their fingerprints."""

from __future__ import annotations

import hashlib
import lzma
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

DATA = Path(__file__).parent / "data"
SUFFIX = ".f32.xz"


def features_path(case_id: str, data: Path = DATA) -> Path:
    """Return the path of a case's features: ``features/a/80.f32.xz`` for ``golden/a/80``."""
    return data / "features" / f"{case_id.removeprefix('golden/')}{SUFFIX}"


def write_features(path: Path, features: NDArray[np.float32]) -> None:
    """Write features as xz of little-endian float32, in four byte planes (they compress better)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    planes = np.frombuffer(features.astype("<f4").tobytes(), np.uint8).reshape(-1, 4).T
    path.write_bytes(lzma.compress(planes.tobytes(), preset=9))


def read_features(path: Path, shape: tuple[int, int]) -> NDArray[np.float32]:
    """Read the features that :func:`write_features` wrote, bit for bit.

    Raises ``FileNotFoundError``; ``ValueError`` names a file that is damaged or of another shape.
    """
    try:
        planes = np.frombuffer(lzma.decompress(path.read_bytes()), np.uint8)
    except (lzma.LZMAError, EOFError) as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    if planes.size != 4 * shape[0] * shape[1]:
        raise ValueError(f"{path} holds {planes.size} bytes: expected float32 of shape {shape}")
    values = np.ascontiguousarray(planes.reshape(4, -1).T).view("<f4")
    return values.astype(np.float32, copy=False).reshape(shape)


def fingerprint(array: NDArray[Any]) -> str:
    """Return the SHA-256 of an array's bytes, little-endian and C-contiguous."""
    return hashlib.sha256(array.astype(array.dtype.newbyteorder("<")).tobytes()).hexdigest()


def file_fingerprint(path: Path) -> str:
    """Return the SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
