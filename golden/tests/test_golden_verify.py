"""``verify`` names what is wrong, by case and file: one test for each kind of damage."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from whisper_mel_golden import __main__, inputs, openai, verify
from whisper_mel_golden.cases import read_case
from whisper_mel_golden.manifest import FILE, load_manifest, write_manifest
from whisper_mel_golden.store import DATA, SUFFIX, features_path, fingerprint, write_features

Manifest = dict[str, Any]
INPUTS = ("click-first", "length-201", "voice-french")
CASE = "golden/length-201/80"


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A sound data folder of three inputs, and a catalogue to match."""
    chosen = {name: inputs.INPUTS[name] for name in INPUTS}
    used = {flag for entry in chosen.values() for flag in entry.flags}
    flags = {flag: inputs.FLAGS[flag] for flag in used}
    monkeypatch.setattr(verify, "INPUTS", chosen)
    monkeypatch.setattr(verify, "FLAGS", flags)
    monkeypatch.setattr(openai, "installed_version", lambda: None)
    folder = tmp_path / "data"
    shutil.copytree(DATA / "speech", folder / "speech")
    manifest = load_manifest()
    manifest["flags"] = flags
    manifest["inputs"] = {name: manifest["inputs"][name] for name in chosen}
    manifest["cases"] = {k: v for k, v in manifest["cases"].items() if v["input"] in chosen}
    for case_id in manifest["cases"]:
        path = features_path(case_id, folder)
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(features_path(case_id), path)
    write_manifest(manifest, folder)
    return folder


def _problems(data: Path) -> list[str]:
    return [f"{where}: {what}" for where, what in verify.verify(data, say=lambda _: None)]


def _edit(data: Path, change: Callable[[Manifest], object]) -> None:
    """Edit the manifest by hand: nothing is sealed anew."""
    manifest = load_manifest(data)
    change(manifest)
    (data / FILE).write_text(json.dumps(manifest), encoding="utf-8")


def test_sound_goldens_pass(data: Path) -> None:
    assert _problems(data) == []


def test_a_reformatted_manifest_passes(data: Path) -> None:
    _edit(data, lambda manifest: None)
    assert _problems(data) == []


def test_a_deleted_golden(data: Path) -> None:
    features_path(CASE, data).unlink()
    (problem,) = _problems(data)
    assert problem == f"{CASE}: features/length-201/80{SUFFIX} is missing"


def test_a_flipped_byte(data: Path) -> None:
    path = features_path(CASE, data)
    flipped = bytearray(path.read_bytes())
    flipped[len(flipped) // 2] ^= 1
    path.write_bytes(flipped)
    (problem,) = _problems(data)
    assert problem.startswith(f"{CASE}: features/length-201/80{SUFFIX}")


def test_every_byte_counts(data: Path) -> None:
    case = read_case(load_manifest(data), CASE, data)
    path = features_path(CASE, data)
    sound = path.read_bytes()
    for i in range(len(sound)):
        path.write_bytes(sound[:i] + bytes([sound[i] ^ 1]) + sound[i + 1 :])
        with pytest.raises(ValueError, match=path.name):
            case.expected()


def test_a_truncated_golden(data: Path) -> None:
    path = features_path(CASE, data)
    path.write_bytes(path.read_bytes()[:-20])
    (problem,) = _problems(data)
    assert problem.startswith(f"{CASE}: features/length-201/80{SUFFIX} is damaged")


def test_a_golden_of_another_case(data: Path) -> None:
    shutil.copyfile(features_path("golden/click-first/80", data), features_path(CASE, data))
    (problem,) = _problems(data)
    assert problem.startswith(f"{CASE}: features/length-201/80{SUFFIX} holds")


def test_other_features_under_an_honest_hash(data: Path) -> None:
    manifest = load_manifest(data)
    features = read_case(manifest, CASE, data).expected()
    features[3, 0] += 1e-3
    write_features(features_path(CASE, data), features)
    manifest["cases"][CASE]["sha256"] = fingerprint(features)
    write_manifest(manifest, data)
    problems = _problems(data)
    assert any(p.startswith(f"{CASE}: the golden scores") for p in problems)
    assert any(p.startswith(f"{CASE}: score is") for p in problems)


def test_a_damaged_recording(data: Path) -> None:
    path = data / "speech" / "cards.wav"
    path.write_bytes(path.read_bytes()[:-1] + b"\x55")
    assert _problems(data) == ["recording cards: speech/cards.wav has another sha256"]


@pytest.mark.parametrize("name", ["speech/cards.wav", "speech/LICENSE.pocketsphinx"])
def test_a_missing_file(data: Path, name: str) -> None:
    (data / name).unlink()
    assert _problems(data) == [f"file {name}: is missing"]


@pytest.mark.parametrize("name", ["features/length-201/80.npy", "features/old/80.f32.xz", "notes"])
def test_an_extra_file(data: Path, name: str) -> None:
    (data / name).parent.mkdir(exist_ok=True)
    (data / name).write_bytes(b"")
    assert _problems(data) == [f"file {name}: belongs to no entry of the manifest"]


def test_no_manifest(data: Path) -> None:
    (data / FILE).unlink()
    (problem,) = _problems(data)
    assert problem.startswith(f"{FILE}: ")
    assert "No such file" in problem


def test_a_manifest_that_is_not_json(data: Path) -> None:
    (data / FILE).write_text("{", encoding="utf-8")
    (problem,) = _problems(data)
    assert problem.startswith(f"{FILE}: {FILE} is not JSON")


def _set(*path: Any) -> Callable[[Manifest], None]:
    *parents, last, value = path

    def change(manifest: Manifest) -> None:
        entry = manifest
        for key in parents:
            entry = entry[key]
        entry[last] = value

    return change


def _rename(section: str, old: str, new: str) -> Callable[[Manifest], None]:
    def change(manifest: Manifest) -> None:
        manifest[section][new] = manifest[section].pop(old)

    return change


EDITS = {
    "purpose": (
        _set("inputs", "length-201", "purpose", "fun"),
        "input length-201: purpose is 'fun': expected '201 samples",
    ),
    "flags": (
        _set("inputs", "length-201", "flags", ["noise"]),
        "input length-201: flags is ['noise']: expected ['noise', 'length', 'ends']",
    ),
    "undefined flag": (
        _set("inputs", "length-201", "flags", ["noise", "length", "ends", "loud"]),
        "input length-201: flag loud is not defined",
    ),
    "recipe": (
        _set("inputs", "length-201", "recipe", "n", 202),
        "input length-201: recipe is",
    ),
    "recipe that cannot be rendered": (
        _set("inputs", "length-201", "recipe", "colour", "pink"),
        "input length-201: colour='pink'",
    ),
    "input hash": (
        _set("inputs", "length-201", "sha256", 64 * "0"),
        "input length-201: has sha256",
    ),
    "output hash": (_set("cases", CASE, "sha256", 64 * "0"), f"{CASE}: features/length-201/80"),
    "score": (_set("cases", CASE, "score", 0.5), f"{CASE}: score is 0.5 in manifest.json"),
    "shape": (_set("cases", CASE, "shape", [1, 80]), f"{CASE}: the golden has shape (1, 80)"),
    "smoothing": (_set("cases", CASE, "smoothing", "same"), f"{CASE}: smoothing is 'same'"),
    "unknown input": (_set("cases", CASE, "input", "nobody"), f"{CASE}: input nobody is not in"),
    "case id": (
        _rename("cases", CASE, "golden/length-20l/80"),
        f"{CASE}: missing from manifest.json",
    ),
    "input id": (
        _rename("inputs", "click-first", "click-second"),
        "input click-second: not in the catalogue",
    ),
    "licence": (
        _set("recordings", "cards", "licence", "none"),
        "recording cards: licence is 'none'",
    ),
    "flag's meaning": (_set("flags", "noise", "quiet"), "flag noise: defined as 'quiet'"),
    "stale flag": (_set("flags", "stale", "what was"), "flag stale: no case has it"),
    "versions": (_set("made_with", "torch", "1.0"), "manifest.json: was edited"),
    "seal": (_set("seal", 16 * "0"), "manifest.json: was edited"),
    # what does not fit the schema
    "id's form": (_rename("cases", CASE, "length-201/80"), "manifest.json: cases: 'length-201/80'"),
    "number of mel bands": (_set("cases", CASE, "n_mels", 64), f"{CASE}: n_mels: 64 is not one"),
    "score that is no number": (_set("cases", CASE, "score", "good"), f"{CASE}: score: 'good'"),
    "unknown field": (_set("inputs", "length-201", "mood", "blue"), "input length-201: Additional"),
    "recipe without signal": (
        _set("inputs", "length-201", "recipe", {"n": 3}),
        "input length-201: recipe: 'signal' is a required property",
    ),
    "missing section": (lambda manifest: manifest.pop("flags"), "manifest.json: 'flags' is a"),
}


@pytest.mark.parametrize("edit", EDITS)
def test_an_edited_manifest(data: Path, edit: str) -> None:
    change, message = EDITS[edit]
    _edit(data, change)
    problems = _problems(data)
    assert any(problem.startswith(message) for problem in problems), problems


@pytest.mark.parametrize(
    ("section", "name", "where"),
    [
        ("cases", CASE, CASE),
        ("inputs", "length-201", "input length-201"),
        ("recordings", "cards", "recording cards"),
    ],
)
def test_a_broken_seal_names_the_entry(data: Path, section: str, name: str, where: str) -> None:
    _edit(data, _set(section, name, "seal", 16 * "0"))
    assert _problems(data) == [
        f"{where}: edited in manifest.json: its seal is broken",
        "manifest.json: was edited: its seal is broken",
    ]


def test_command_line_names_the_problems(
    data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def planted() -> list[verify.Problem]:
        return verify.verify(data)

    monkeypatch.setattr(__main__, "verify", planted)
    assert __main__.main(["verify"]) == 0
    assert "openai-whisper is not installed" in capsys.readouterr().out
    features_path(CASE, data).unlink()
    assert __main__.main(["verify"]) == 1
    assert f"{CASE}: " in capsys.readouterr().out


def test_all_goldens_verify(capsys: pytest.CaptureFixture[str]) -> None:
    assert __main__.main(["verify"]) == 0, capsys.readouterr().out
