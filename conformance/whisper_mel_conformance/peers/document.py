"""The public matrix: ``docs/front-ends.md`` and README's table, from a run's ``report.json``.

``python -m whisper_mel_conformance.peers.document report/report.json`` records the run in
``docs/measurements/front-ends.json`` and writes both from it; without an argument it only writes
them, from the record that is there.
"""

from __future__ import annotations

import argparse
import ast
import json
import re
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from whisper_mel_conformance import known
from whisper_mel_conformance.catalogue import FAMILIES
from whisper_mel_conformance.frontend import registered
from whisper_mel_conformance.peers import LIGHT
from whisper_mel_conformance.running import STATUSES

ROOT = Path(__file__).resolve().parents[3]
RECORD = ROOT / "docs" / "measurements" / "front-ends.json"
PAGE = ROOT / "docs" / "front-ends.md"
README = ROOT / "README.md"
BEGIN = (
    "<!-- front-ends: from here on written by `python -m whisper_mel_conformance.peers.document` -->"
)
END = "<!-- front-ends: up to here -->"
OURS = "mojo-cpu"
FORMAT = 1

NOT_JUDGED = {
    "sherpa-onnx": "its Python interface hands out text only; its features are "
    "kaldi-native-fbank's, compiled into it",
    "onnxruntime-genai": "takes a whole model; its features are those of onnxruntime-extensions, "
    "compiled into it",
    "whisperX": "asks for torch 2.8 and huggingface-hub below 1, which the others here exclude; its "
    "`log_mel_spectrogram` is openai-whisper's, statement by statement",
    "SpeechBrain, FunASR, WhisperS2T, S3Tokenizer": "openai-whisper's steps in PyTorch, written out "
    "again; SpeechBrain and S3Tokenizer with its maximum over the whole batch, FunASR and "
    "WhisperS2T with one for each clip",
    "stable-ts, whisper-timestamped": "call openai-whisper's function",
    "KerasHub on TensorFlow": "the steps of its NumPy path in `tf.signal`; TensorFlow is too large "
    "to be installed for it",
    "flashmel": "runs on CUDA devices only",
    "candle, burn, rten (Rust), WhisperKit (Swift), TensorRT-LLM, vLLM": "not to be had as a Python "
    "or JavaScript package whose front-end can be called by itself, without a model or a GPU",
}
"""What stands out in the field but not in the matrix, and why."""


# --------------------------------------------------------------------------- the record


def record(report: dict[str, Any]) -> dict[str, Any]:
    """What is kept of a run: everything but the cases that passed or were skipped, one by one."""
    kept = {key: report[key] for key in ("created", "profile", "seed", "environment")}
    entries = known.of_peers()
    return {
        "format": FORMAT,
        **kept,
        "unavailable": report["unavailable"],
        "front_ends": [_front_end(it, entries) for it in report["front_ends"]],
    }


def _front_end(judged: dict[str, Any], entries: Iterable[known.KnownFailure]) -> dict[str, Any]:
    name = judged["name"]
    failing = [case["id"] for case in judged["cases"] if case["status"] == "known"]
    names = ("name", "device", "versions", "class", "counts", "worst")
    return {
        **{key: judged[key] for key in names},
        "about": about(name),
        "light": name == OURS or name in LIGHT,
        "families": {family: _family(judged["cases"], family) for family in FAMILIES},
        "declared": [
            {
                "title": entry.title,
                "mechanism": entry.mechanism,
                "link": entry.link,
                "since": entry.since.isoformat(),
                "version": entry.version,
                "cases": [case for case in failing if entry.covers(case)],
            }
            for entry in entries
            if entry.front_end == name
        ],
        "failed": [case["id"] for case in judged["cases"] if case["status"] == "failed"],
        "diagnosis": judged["diagnosis"],
    }


def _family(cases: Iterable[dict[str, Any]], family: str) -> dict[str, int]:
    of_family = [case["status"] for case in cases if case["id"].startswith(f"{family}/")]
    return {status: of_family.count(status) for status in STATUSES}


def about(name: str) -> str:
    """The first paragraph of what a front-end's module says of itself; nothing is run for it."""
    spec = find_spec(registered()[name].module)
    assert spec is not None
    assert spec.origin is not None
    docstring = ast.get_docstring(ast.parse(Path(spec.origin).read_text(encoding="utf-8"))) or ""
    return " ".join(docstring.partition("\n\n")[0].split()).replace("``", "`")


# --------------------------------------------------------------------------- the page


_HEAD = """# Front-ends in the wild

<!-- Do not edit: python -m whisper_mel_conformance.peers.document writes it. -->

{count} implementations of Whisper's front-end, judged by every case of the suite ({profile} profile)
on {date}. What each computes differently is declared beside its adapter, with a date and the reason;
a declared case that passes fails the run, as a new failure does.

*Passed*, *declared* and *skipped* are cases: one is skipped where a front-end has no way to run it.
*Worst* is the largest error in units of the [error bound](error-bound.md), declared cases aside: up
to 1 is class A, up to 4 class B; `*` says that the class is but for what is declared.

To judge them again:

```sh
./dev conformance --matrix    # all of them; needs PyTorch, and Node.js with npm for JavaScript's
./dev conformance             # the kernel and those marked •, without PyTorch
./dev conformance --frontend librosa
python -m whisper_mel_conformance.peers.document report/report.json    # then: record it, write this
```
"""


def page(data: dict[str, Any]) -> str:
    """``docs/front-ends.md``."""
    front_ends = data["front_ends"]
    head = _HEAD.format(
        count=sum(it["name"] != OURS for it in front_ends),
        profile=data["profile"],
        date=data["created"][:10],
    )
    lines = [*head.splitlines(), "", *_overview(front_ends), "", "## By family", ""]
    lines += ["Passed / declared; a dash where every case is skipped.", "", *_by_family(front_ends)]
    for front_end in front_ends:
        lines += ["", f"## {front_end['name']}", "", *_section(front_end)]
    lines += ["", "## Not judged", "", "| | why |", "|---|---|"]
    lines += [f"| {name} | {why} |" for name, why in NOT_JUDGED.items()]
    lines += [f"| {name} | not there in this run: {why} |" for name, why in _missing(data)]
    return "\n".join(lines) + "\n"


def _missing(data: dict[str, Any]) -> Iterable[tuple[str, str]]:
    return ((name, why.splitlines()[0]) for name, why in data["unavailable"].items())


def _overview(front_ends: Iterable[dict[str, Any]]) -> list[str]:
    lines = [
        "| front-end | | passed | declared | skipped | worst | class |",
        "|---|---|--:|--:|--:|--:|---|",
    ]
    for it in front_ends:
        counts = it["counts"]
        cells = [
            f"[{it['name']}](#{it['name']}){' •' if it['light'] else ''}",
            ", ".join(f"{name} {version}" for name, version in it["versions"].items()),
            *(str(counts[status]) for status in ("passed", "known", "skipped")),
            _worst(it),
            _class(it),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def _by_family(front_ends: Iterable[dict[str, Any]]) -> list[str]:
    lines = ["| | " + " | ".join(FAMILIES) + " |", "|---|" + "--:|" * len(FAMILIES)]
    for it in front_ends:
        cells = [_counts(it["families"][family]) for family in FAMILIES]
        lines.append("| " + " | ".join([it["name"], *cells]) + " |")
    return lines


def _counts(family: dict[str, int]) -> str:
    text = f"{family['passed']}" + (f" / {family['known']}" if family["known"] else "")
    text += f" (**{family['failed']} failed**)" if family["failed"] else ""
    return "–" if sum(family.values()) == family["skipped"] else text


def _section(front_end: dict[str, Any]) -> list[str]:
    lines = [front_end["about"]]
    for entry in front_end["declared"]:
        cases = len(entry["cases"])
        lines += [
            "",
            f"- **{entry['title']}** ({cases} {'case' if cases == 1 else 'cases'}, seen in "
            f"{entry['version']}, declared {entry['since']}): {entry['mechanism']}. "
            f"[Where]({entry['link']}).",
        ]
    if front_end["failed"]:
        lines += ["", "Fails, undeclared: " + ", ".join(f"`{c}`" for c in front_end["failed"])]
    if front_end["diagnosis"]:
        lines += ["", "Diagnosis:"]
        lines += [f"> {sentence}" for sentence in front_end["diagnosis"]["summary"]]
    return lines


def _worst(front_end: dict[str, Any]) -> str:
    worst = front_end["worst"]
    return "–" if worst is None else f"{float(worst['score']):.2g}"


def _class(front_end: dict[str, Any]) -> str:
    return front_end["class"] + ("*" if front_end["counts"]["known"] else "")


# --------------------------------------------------------------------------- README's table


def table(data: dict[str, Any]) -> str:
    """README's table, in Markdown, without the markers."""
    lines = [
        f"{data['profile']} profile, {_n_cases(data)} cases at most, {data['created'][:10]}.",
        "",
        "| front-end | passed | declared | worst | class | what is declared |",
        "|---|--:|--:|--:|---|---|",
    ]
    for it in data["front_ends"]:
        titles = "; ".join(entry["title"] for entry in it["declared"])
        counts = it["counts"]
        cells = [_title(it), str(counts["passed"]), str(counts["known"])]
        lines.append("| " + " | ".join([*cells, _worst(it), _class(it), titles]) + " |")
    return "\n".join(lines).replace(" |  |", " | |") + "\n"


def _n_cases(data: dict[str, Any]) -> int:
    return max(sum(it["counts"].values()) for it in data["front_ends"])


def _title(front_end: dict[str, Any]) -> str:
    name = front_end["name"]
    if name == OURS:
        return f"**whisper-mel** (`{OURS}`)"
    package, version = next(iter(front_end["versions"].items()))
    return f"{name} {version}" if package == name else f"{name} ({package} {version})"


def replaced(text: str, new: str) -> str:
    """A document with a new section between the markers. Raises ``ValueError`` without them."""
    pattern = re.escape(BEGIN) + r"\n.*?" + re.escape(END)
    if len(re.findall(pattern, text, flags=re.DOTALL)) != 1:
        raise ValueError(f"expected {BEGIN} and {END} once")
    return re.sub(pattern, lambda _: f"{BEGIN}\n{new}{END}", text, flags=re.DOTALL)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog=f"python -m {__spec__.name}", description=__doc__)
    parser.add_argument("report", nargs="?", type=Path, help="report.json of a run to be recorded")
    report = parser.parse_args(arguments).report
    if report is not None:
        data = record(json.loads(report.read_text(encoding="utf-8")))
        text = json.dumps(data, indent=1, ensure_ascii=False)
        RECORD.write_text(text + "\n", encoding="utf-8")
    data = json.loads(RECORD.read_text(encoding="utf-8"))
    PAGE.write_text(page(data), encoding="utf-8")
    readme = README.read_text(encoding="utf-8")
    README.write_text(replaced(readme, table(data)), encoding="utf-8")


if __name__ == "__main__":
    main()
