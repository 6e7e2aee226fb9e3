"""Trains a small classifier on the features of a corpus, and continues where it was ended.

    whisper-mel featurize SOURCE.parquet --output FOLDER    # columns: audio, and the one of labels
    python examples/train.py FOLDER --label COLUMN [--checkpoint FILE]

It shows what a training loop needs: rows in an order that a seed and the epoch decide, workers, and
a checkpoint with the place in the epoch. Ended at any step, it goes on from the last checkpoint as
if nothing had happened, and ends with the same weights.

    pip install "whisper-mel-mojo[corpus]" torch
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader
from whisper_mel_mojo.data import Features


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("features", metavar="FOLDER", type=Path)
    parser.add_argument("--label", required=True, metavar="COLUMN")
    parser.add_argument("--checkpoint", metavar="FILE", type=Path, default=Path("checkpoint.pt"))
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--steps", type=int, help="end after so many (default: after all epochs)")
    options = parser.parse_args(arguments)
    try:
        features = Features(options.features, columns=[options.label])
    except (OSError, ValueError) as error:
        print(f"train: {error}", file=sys.stderr)
        return 1
    labels = sorted(set(features.column(options.label)))
    torch.manual_seed(0)
    model = classifier(features[0]["features"].shape[0], len(labels))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    epoch, start, steps = restored(options.checkpoint, model, optimizer)
    while epoch < options.epochs:
        rows = features.stream(options.batch, seed=0, epoch=epoch, start=start)
        for batch in DataLoader(rows, options.batch, num_workers=options.workers):
            if steps == options.steps:
                return 0
            wanted = torch.tensor([labels.index(it) for it in batch[options.label]])
            loss = nn.functional.cross_entropy(model(batch["features"].float()), wanted)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            start, steps = start + len(wanted), steps + 1
            print(f"epoch {epoch}, row {start}: loss {loss.item():.4f}")
            save(options.checkpoint, model, optimizer, (epoch, start, steps))
        epoch, start = epoch + 1, 0
    return 0


def classifier(n_mels: int, labels: int) -> nn.Sequential:
    """Return a model of features ``(batch, n_mels, n_frames)``."""
    return nn.Sequential(
        nn.Conv1d(n_mels, 32, kernel_size=3, stride=2),
        nn.GELU(),
        nn.AdaptiveAvgPool1d(1),
        nn.Flatten(),
        nn.Linear(32, labels),
    )


def save(path: Path, model: nn.Module, optimizer: Any, place: tuple[int, int, int]) -> None:
    beside = path.with_name(f".{path.name}.partial")
    torch.save(
        {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "place": place}, beside
    )
    beside.replace(path)


def restored(path: Path, model: nn.Module, optimizer: Any) -> tuple[int, int, int]:
    """Restore a checkpoint, if there is one; return its epoch, row of the epoch, and step."""
    if not path.exists():
        return 0, 0, 0
    saved = torch.load(path)
    model.load_state_dict(saved["model"])
    optimizer.load_state_dict(saved["optimizer"])
    return saved["place"]


if __name__ == "__main__":
    sys.exit(main())
