"""The table of docs/error-bound.md: how much of the error bound front-ends use."""

from __future__ import annotations

from typing import Any

from calibration import calibrate, variants

from docs.sections import table

HEAD = ["front-end", "kind", "worst score:", "of clip", "bands:", "smoothing", "search:"]


def section() -> str:
    """Return the recorded calibration in Markdown."""
    return text(calibrate.read())


def text(record: dict[str, Any]) -> str:
    """Return a calibration in Markdown, with a note if the clips have changed since."""
    clips, today = record["clips"], calibrate.recipes()
    count = f"{clips['count']} clips"
    if clips["sha256"] != calibrate.digest(today):
        count += f" (as of then; {len(today)} today)"
    constants = ", ".join(f"`{name}` {value:g}" for name, value in record["constants"].items())
    made = ", ".join(f"{name} {version}" for name, version in record["made_with"].items())
    worst = record["search"]["worst"]
    return "\n\n".join(
        [
            f"{count}, 80 and 128 bands, without smoothing and with `same`; search: "
            f"{record['search']['steps']} recipes. Constants: {constants}.",
            table(HEAD, [_row(row, worst.get(row["name"])) for row in record["front_ends"]]),
            f"Measured with `{record['command']}`: {made}.",
        ]
    )


def variants_section() -> str:
    """Return the recorded scores with other maxima and in half formats, in Markdown."""
    record = variants.read()
    head = ["variant", "kind", "worst score:", "of clip", "front-end"]
    rows = [
        [name, row["kind"], _short(row["score"]), row["clip"], row["front_end"]]
        for name, row in record["rows"].items()
    ]
    return "\n\n".join(
        [
            table(head, rows),
            f"Measured with `{record['command']}`: {record['clips']} clips, 80 and 128 bands, "
            f"{record['front_ends']} careful front-ends.",
        ]
    )


def _row(row: dict[str, Any], searched: dict[str, Any] | None) -> list[str]:
    if "absent" in row:
        return [row["name"], row["kind"], row["absent"], "", "", "", ""]
    found = f"{searched['score']:.2f}" if searched else ""
    where = [row["signal"], str(row["n_mels"]), row["smoothing"] or "none"]
    return [row["name"], row["kind"], _short(row["score"]), *where, found]


def _short(score: float) -> str:
    return f"{score:.2f}" if 0.005 <= score < 10 else f"{score:.0f}" if score >= 10 else "0.00"
