"""The public matrix: ``docs/front-ends.md`` and README's table, from runs' ``report.json``.

``python -m whisper_mel_conformance.peers.document report/report.json`` records the front-ends of a
run in ``docs/measurements/front-ends.json``, in place of what was recorded of them before, and
writes both from it; without an argument it only writes them, from the record that is there.
"""

from __future__ import annotations

import argparse
import ast
import json
import re
from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from whisper_mel_conformance import known
from whisper_mel_conformance.catalogue import FAMILIES
from whisper_mel_conformance.folder import write_whole
from whisper_mel_conformance.frontend import peers, registered
from whisper_mel_conformance.peers import LIGHT
from whisper_mel_conformance.result import STATUSES

ROOT = Path(__file__).resolve().parents[3]
RECORD = ROOT / "docs" / "measurements" / "front-ends.json"
PAGE = ROOT / "docs" / "front-ends.md"
README = ROOT / "README.md"
MODULE = "whisper_mel_conformance.peers.document"
BEGIN = f"<!-- front-ends: from here on written by `python -m {MODULE}` -->"
END = "<!-- front-ends: up to here -->"
OURS = "mojo-cpu"
FORMAT = 1

NOT_JUDGED = {
    "sherpa-onnx": "its Python interface hands out text only; its features are "
    "kaldi-native-fbank's, compiled into it",
    "onnxruntime-genai": "takes a whole model; its features are those of onnxruntime-extensions, "
    "compiled into it",
    "whisperX": "asks for torch 2.8 and huggingface-hub below 1, which the others here exclude; "
    "its `log_mel_spectrogram` is openai-whisper's, statement by statement",
    "SpeechBrain, FunASR, WhisperS2T, S3Tokenizer": "openai-whisper's steps in PyTorch, written "
    "out again; SpeechBrain and S3Tokenizer with its maximum over the whole batch, FunASR and "
    "WhisperS2T with one for each clip",
    "stable-ts, whisper-timestamped": "call openai-whisper's function",
    "KerasHub on TensorFlow": "the steps of its NumPy path in `tf.signal`; TensorFlow is too large "
    "to be installed for it",
    "flashmel": "runs on CUDA devices only",
    "candle, burn, rten (Rust), WhisperKit (Swift), TensorRT-LLM, vLLM": "not to be had as a "
    "Python or JavaScript package whose front-end can be called without a model or a GPU",
}
"""What stands out in the field but not in the matrix, and why."""


# --------------------------------------------------------------------------- the record


def recorded(report: dict[str, Any], before: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The front-ends of a run, and those of ``before`` that it has not; in a fixed order.

    Everything is kept but the cases that passed or were skipped, one by one. Raises ``ValueError``
    for a front-end that is neither a peer nor the kernel.
    """
    order = [OURS, *peers()]
    entries = known.of_peers()
    found = {it["name"]: it for it in before}
    for judged in report["front_ends"]:
        if judged["name"] not in order:
            raise ValueError(f"front-end {judged['name']!r}: expected one of {', '.join(order)}")
        found[judged["name"]] = _front_end(report, judged, entries)
    return sorted(found.values(), key=lambda it: order.index(it["name"]))


def _front_end(
    report: dict[str, Any], judged: dict[str, Any], entries: Iterable[known.KnownFailure]
) -> dict[str, Any]:
    name = judged["name"]
    declared = [case for case in judged["cases"] if case["status"] == "known"]
    run_keys = ("created", "profile", "seed", "environment")
    own_keys = ("name", "device", "versions", "class", "counts", "worst")
    return {
        **{key: judged[key] for key in own_keys},
        **{key: report[key] for key in run_keys},
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
                "cases": [
                    case["id"]
                    for case in declared
                    if entry.declares(case["id"], _finite(case["score"]))
                ],
            }
            for entry in entries
            if entry.front_end == name
        ],
        "failed": [case["id"] for case in judged["cases"] if case["status"] == "failed"],
        "diagnosis": judged["diagnosis"],
    }


def _finite(score: float | str | None) -> float | None:
    return None if score is None else float(score)


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

{count} implementations of Whisper's front-end, judged by every case of the suite (profile
{profile}, the last on {date}). What each computes differently is declared beside its adapter, with
a date and the reason; a declared case that passes fails the run, as a new failure does.

*Passed*, *declared* and *skipped* are cases: one is skipped where a front-end has no way to run it.
*Worst* is the largest error in units of the [error bound](error-bound.md), declared cases aside: up
to 1 is class A, up to 4 class B; `*` says that the class is but for what is declared.

To judge them again:

<!-- not run: it takes half an hour, and writes into the checkout -->
```sh
./dev conformance --matrix    # all of them; needs PyTorch, and Node.js with npm for JavaScript's
./dev conformance             # the kernel and those marked •, without PyTorch
./dev conformance --frontend librosa
python -m whisper_mel_conformance.peers.document report/report.json    # then: record it, write this
```
"""


def page(front_ends: Sequence[dict[str, Any]]) -> str:
    """``docs/front-ends.md``."""
    head = _HEAD.format(
        count=sum(it["name"] != OURS for it in front_ends),
        profile=_profiles(front_ends),
        date=_last_day(front_ends),
    )
    lines = [*head.splitlines(), "", *_overview(front_ends), "", "## By family", ""]
    lines += ["Passed / declared; a dash where every case is skipped.", "", *_by_family(front_ends)]
    for front_end in front_ends:
        lines += ["", f"## {front_end['name']}", "", *_section(front_end)]
    lines += ["", "## Not judged", "", "| | why |", "|---|---|"]
    lines += [f"| {name} | {why} |" for name, why in NOT_JUDGED.items()]
    return "\n".join(lines) + "\n"


def _profiles(front_ends: Iterable[dict[str, Any]]) -> str:
    return " or ".join(sorted({it["profile"] for it in front_ends}))


def _last_day(front_ends: Iterable[dict[str, Any]]) -> str:
    return max(it["created"] for it in front_ends)[:10]


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
        lines += ["", "Diagnosis:", ""]
        lines += [f"> {sentence}" for sentence in front_end["diagnosis"]["summary"]]
    return lines


def _worst(front_end: dict[str, Any]) -> str:
    worst = front_end["worst"]
    return "–" if worst is None else f"{float(worst['score']):.2g}"


def _class(front_end: dict[str, Any]) -> str:
    """Its class; with ``*`` but for what is declared; none where that is most of it."""
    counts = front_end["counts"]
    if counts["known"] > counts["passed"]:
        return "fails, as declared"
    return front_end["class"] + ("*" if counts["known"] else "")


# --------------------------------------------------------------------------- README's table


def table(front_ends: Sequence[dict[str, Any]]) -> str:
    """README's table, in Markdown, without the markers."""
    lines = [
        f"Profile {_profiles(front_ends)}, {_n_cases(front_ends)} cases at most, "
        f"{_last_day(front_ends)}.",
        "",
        "| front-end | passed | declared | worst | class | what is declared |",
        "|---|--:|--:|--:|---|---|",
    ]
    for it in front_ends:
        titles = "; ".join(entry["title"] for entry in it["declared"])
        counts = it["counts"]
        cells = [_title(it), str(counts["passed"]), str(counts["known"])]
        lines.append("| " + " | ".join([*cells, _worst(it), _class(it), titles]) + " |")
    return "\n".join(lines).replace(" |  |", " | |") + "\n"


def _n_cases(front_ends: Iterable[dict[str, Any]]) -> int:
    return max(sum(it["counts"].values()) for it in front_ends)


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


def read_record(path: Path = RECORD) -> list[dict[str, Any]]:
    """The recorded front-ends. Raises ``ValueError`` for a record of another format."""
    data = json.loads(path.read_text(encoding="utf-8"))
    if data["format"] != FORMAT:
        raise ValueError(f"{path}: format {data['format']}: expected {FORMAT}")
    front_ends: list[dict[str, Any]] = data["front_ends"]
    return front_ends


def main(arguments: list[str] | None = None) -> None:
    """Record runs, if there are any in the arguments, and write what is drawn from the record."""
    parser = argparse.ArgumentParser(prog=f"python -m {MODULE}", description=__doc__)
    parser.add_argument("report", nargs="*", type=Path, help="report.json of a run")
    front_ends = read_record() if RECORD.exists() else []
    for path in parser.parse_args(arguments).report:
        front_ends = recorded(json.loads(path.read_text(encoding="utf-8")), front_ends)
    texts = {
        RECORD: json.dumps(
            {"format": FORMAT, "front_ends": front_ends}, indent=1, ensure_ascii=False
        )
        + "\n",
        PAGE: page(front_ends),
        README: replaced(README.read_text(encoding="utf-8"), table(front_ends)),
    }
    for path, text in texts.items():
        write_whole(path, text.encode("utf-8"))


if __name__ == "__main__":
    main()
