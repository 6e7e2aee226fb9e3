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
    """Where the features of a case lie: ``golden/a/80`` in ``features/a/80.f32.xz``."""
    return data / "features" / f"{case_id.removeprefix('golden/')}{SUFFIX}"


def write_features(path: Path, features: NDArray[np.float32]) -> None:
    """Little-endian float32, its four byte planes one after the other (they compress better)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    planes = np.frombuffer(features.astype("<f4").tobytes(), np.uint8).reshape(-1, 4).T
    path.write_bytes(lzma.compress(planes.tobytes(), preset=9))


def read_features(path: Path, shape: tuple[int, int]) -> NDArray[np.float32]:
    """What :func:`write_features` wrote, bit for bit.

    Raises ``FileNotFoundError``, or ``ValueError`` naming a file that holds something else.
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
    """The SHA-256 of an array's bytes, little-endian and C-contiguous."""
    return hashlib.sha256(array.astype(array.dtype.newbyteorder("<")).tobytes()).hexdigest()


def file_fingerprint(path: Path) -> str:
    """The SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
