"""The bound with other maxima and in half formats: the record is of its kinds, and still true."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from calibration import variants
from calibration.variants import MAXIMA, ROUNDINGS, clips, is_of_its_kind, measure

RECORD = variants.read()


def test_the_record_has_every_variant_and_each_scores_as_it_must() -> None:
    assert [*RECORD["rows"]] == [*MAXIMA, *ROUNDINGS]
    assert [name for name, row in RECORD["rows"].items() if not is_of_its_kind(row)] == []
    assert RECORD["front_ends"] >= 8


def test_it_is_true_here() -> None:
    name, recipe = next((n, r) for n, r in clips().items() if r["n"] <= 16_000)
    rows = measure({name: recipe})
    assert [name for name, row in rows.items() if not is_of_its_kind(row)] == []


def test_a_variant_of_another_kind_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def cut(y: Any) -> Any:
        return variants.bfloat16(y, to_nearest=False)

    monkeypatch.setitem(ROUNDINGS, "bfloat16, rounded once", ("careful", "bfloat16", cut))
    monkeypatch.setitem(ROUNDINGS, "bfloat16, cut", ("fault", "bfloat16", variants.bfloat16))
    monkeypatch.setitem(MAXIMA, "maximum 1.5", np.nextafter(1.5, 2))
    recipe = {"signal": "noise", "n": 1600, "seed": 1, "gain": 0.1}
    rows = measure({"noise": recipe})
    wrong = {name for name, row in rows.items() if not is_of_its_kind(row)}
    assert wrong == {"bfloat16, rounded once", "bfloat16, cut"}
