"""Why some mutants of the PTX show nowhere: for each kind of change and place, the reason."""

from __future__ import annotations

import re

REASONS = {
    r"constant: shr\.[us]64 .*, 63;": "the sign of a number that is never negative",
    r"(?:comparison|constant): .*, (?:9223372036854775|21474836)\d+;": "the limit of 64 or 32 bits",
    r"comparison: setp\.gt\.u32 .*, (?:17|33|65); .*: fetch_edge": (
        "there are fewer warps than hops of samples"
    ),
    r"comparison: setp\.le\.s32 .*: fetch_edge": (
        "a clip begins in the second fifth of a hop; this is the code for another"
    ),
    r"constant: add\.s32 .*, -(?:640|1280|2560); .*: fetch_edge": (
        "the clip begins before any group that is fetched ahead"
    ),
    r"comparison: setp\.ge\.s32 .*: fetch in": (
        "a group behind the clip's end is fetched, and not computed"
    ),
    r"comparison: setp\.eq\.b32 .*, 7; ": "two workers do each other's part",
    r"constant: max\.u32 .*, 786163455; ": "four units in the last place of 1e-10 change no value",
    r"comparison: setp\.gt\.s32 .*, -2; .*: clamped in finish_frame": (
        "the frame after one of the clip's is not before its first"
    ),
    r"comparison: setp\.ne\.b32 .*, 0; .*: look_at_unused": (
        "the other blocks of the cluster look at them instead of the first"
    ),
    r"constant: setp\.eq\.b32 .*, 0;.*: mel_kernel": "a cluster has neither no block nor one",
    r"comparison: .*, 0f412A209A; ": "a power would have to be exactly the largest float32",
    r"comparison: setp\.\w+\.f32 .*: clamp": "values that are equal",
    r"constant: add\.s\d\d .*: finish in|comparison: setp\.lt\.s32 .*: finish in": (
        "one block: a tile has one frame for each thread, after which the loop ends"
    ),
    r"unreached (?:.*fetch|constant: add\.s64 .*, -800; .*: $)": (
        "not reached: where one block does a clip, a tile is one group, and none is fetched ahead"
    ),
    r"constant: setp\.gt\.u32 .*, 63; .*: fetch_inside": (
        "samples that are fetched, and that no frame reaches"
    ),
    r"constant: add\.s32 .*, (?:18|34|66); .*: fetch in": (
        "more is fetched as samples at an edge are, which is right for all"
    ),
    r"comparison: setp\.gt\.s32 .*, 1; .*: fetch in": (
        "no group of a clip so long begins with frame 1"
    ),
    r"comparison: setp\.gt\.s32 .*: fetch_edge|constant: mul\.lo\.s32 .*, -160; .*: phase": (
        "the clip begins before any group that is fetched ahead"
    ),
    r"comparison: setp\.le\.s32 .*: smoothed in": (
        "the frame before one of the clip's is one of the clip's"
    ),
    r"comparison: setp\.eq\.b64 %p\d+, %rd\d+, %rd|constant: mul\.lo\.s64 .*, 160; .*frames in": (
        "a quotient is rounded down that is never negative"
    ),
    r"constant: mul\.hi\.": "a reciprocal that is a little larger gives the same quotients",
    r"comparison: setp\.\w+\.s64 .*, 1; .*: exists in": "a tile with its margins has three frames",
    r"comparison: setp\.\w+\.s64 .*: exists in": (
        "a group behind the clip's end is fetched, and not computed"
    ),
    r"constant: setp\.eq\.b64 .*, 0; .*: $": "a worker has at least six bands, so neither 0 nor 1",
}
"""Reasons by patterns of `kind: old statement -> new one: where`; the first that fits counts."""


def reason(kind: str, old: str, new: str, where: str) -> str:
    """Return why a mutant shows nowhere; empty if nothing is known.

    ``where`` is the phase that a barrier ends, or else the functions around the statement, from the
    inside out.
    """
    words = f"{kind}: {old} -> {new}: {where}"
    return next((why for pattern, why in REASONS.items() if re.match(pattern, words)), "")
