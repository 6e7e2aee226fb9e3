"""Every case by its permanent id, and what a front-end needs for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from whisper_mel_golden import golden_cases

from whisper_mel_conformance.cases.regressions import regressions
from whisper_mel_conformance.frontend.layouts import LAYOUTS, OF_BATCHES
from whisper_mel_conformance.frontend.load import Capabilities

FAMILIES = (
    "golden",
    "boundary",
    "numerics",
    "property",
    "buffers",
    "batch",
    "errors",
    "concurrency",
    "determinism",
    "memory",
    "regressions",
)

THIRTY_SECONDS = 480_000
SECOND = 16_000
BANDS = (80, 128)

Arguments = Mapping[str, Any]


@dataclass(frozen=True)
class Case:
    """A check with its arguments.

    ``context`` is what the case needs beside its arguments (same keys), ``claims`` the attributes
    of ``Capabilities`` without which it does not apply.
    """

    id: str
    check: str
    arguments: Arguments
    claims: tuple[str, ...] = ()
    context: Arguments = field(default_factory=dict)

    @property
    def family(self) -> str:
        return self.id.partition("/")[0]

    def beyond(self, able: Capabilities) -> str | None:
        """Why this front-end cannot run the case; None if it can."""
        return _beyond([self.arguments, self.context], self.claims, able)


def _beyond(values: Any, claims: tuple[str, ...], able: Capabilities) -> str | None:
    for claim in claims:
        if not getattr(able, claim):
            return f"does not claim {claim}"
    for key, value in _walk(values):
        if key == "n_mels" and value not in able.n_mels:
            return f"does not claim n_mels={value}"
        if key == "smoothing" and value not in able.smoothing:
            return f"does not claim smoothing={value!r}"
        if key in ("pad_to", "threads") and value is not None and not getattr(able, key):
            return f"does not claim {key}"
        if key == "dtype" and value not in able.dtypes:
            return f"does not claim {value}"
        if key in ("n", "lengths", "pad_to") and value and able.max_samples is not None:
            longest = max(value) if isinstance(value, list) else value
            if longest > able.max_samples:
                return f"takes {able.max_samples} samples at most"
    return None


def _walk(value: Any) -> Iterator[tuple[str, Any]]:
    """Every key and value of nested arguments."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield key, inner
            yield from _walk(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from _walk(inner)


@lru_cache(maxsize=4)
def fixed_cases(profile: str) -> tuple[Case, ...]:
    """The cases of a profile, those that hypothesis draws apart. Long ones contain short."""
    cases = [
        *_golden(),
        *_boundary(profile),
        *_numerics(),
        *_buffers(),
        *_batch(),
        *_errors(),
        *_concurrency(),
        *_determinism(profile),
        *_memory(profile),
        *_regressions(),
    ]
    assert len({case.id for case in cases}) == len(cases)
    return tuple(cases)


# --------------------------------------------------------------------------- recipes


def noise(n: int, seed: int = 1, gain: float = 0.1, **more: Any) -> dict[str, Any]:
    return {"signal": "noise", "n": n, "seed": seed, "gain": gain, **more}


def rising(n: int, seed: int = 1, **more: Any) -> dict[str, Any]:
    """White noise from -90 to -10 dB: the signal that hides least."""
    return {"signal": "noise_ramp", "n": n, "seed": seed, **more}


def signal(name: str, n: int = SECOND, **more: Any) -> dict[str, Any]:
    return {"signal": name, "n": n, **more}


def _both(name: str, check: str, claims: tuple[str, ...] = (), **arguments: Any) -> Iterator[Case]:
    for n_mels in BANDS:
        yield Case(f"{name}/{n_mels}", check, {**arguments, "n_mels": n_mels}, claims)


# --------------------------------------------------------------------------- families


def _golden() -> Iterator[Case]:
    for case in golden_cases():
        needs = {
            "recipe": case.recipe,
            "n_mels": case.n_mels,
            "pad_to": case.pad_to,
            "smoothing": case.smoothing,
        }
        yield Case(case.id, "golden", {"case": case.id}, context=needs)


def _boundary(profile: str) -> Iterator[Case]:
    for n in (0, 1, 2, 159, 160, 161, 199, 200):
        yield Case(f"boundary/length-{n}", "too_short", {"n": n})
    lengths = [201, 202, 239, 240, 241, 319, 320, 321, 399, 400, 401, 479, 480, 481, 559, 560]
    for frames in (31, 32, 33, 63, 64, 65, 127, 128, 129, 255, 256, 257, 511, 512, 513):
        lengths.append(160 * frames + 79)
    for n in lengths:
        yield from _both(f"boundary/length-{n}", "scored", recipe=rising(n, seed=n))
    for n in (160 * 1023 + 80, 160 * 1024, 160 * 1025):
        yield from _both(f"boundary/length-{n}", "scored", recipe=rising(n, seed=2))
    for n in (479_999, 480_000, 480_001):
        yield from _both(f"boundary/length-{n}", "scored", recipe=rising(n, seed=3))
    yield from _both("boundary/61-seconds", "scored", recipe=rising(61 * SECOND + 37, seed=4))
    # Clusters of blocks have room for half of it, hardly less: the last block's second part counts.
    for n_mels, seconds in ((80, 76), (128, 92)):
        arguments = {"recipe": rising(SECOND * seconds, seed=5), "n_mels": n_mels}
        yield Case(f"boundary/{seconds}-seconds/{n_mels}", "scored", arguments)
    if profile != "quick":
        for minutes in (5, 11):  # 65,535 frames, the limit of a CUDA grid's y, are 10.9 minutes
            n = minutes * 60 * SECOND + 80
            yield from _both(f"boundary/{minutes}-minutes", "scored", recipe=rising(n, seed=5))

    every = list(range(1600, 1760))
    yield from _both("boundary/every-remainder", "sweep", recipe=rising(0, 6), lengths=every)
    counts = [160 * frames + 33 for frames in range(2, 75)]
    yield from _both("boundary/every-frame-count", "sweep", recipe=noise(0, 7), lengths=counts)
    powers = [2**k + d for k in range(8, 18) for d in (-1, 0, 1)]
    yield from _both("boundary/powers-of-two", "sweep", recipe=rising(0, 8), lengths=powers)
    whole = [SECOND * seconds for seconds in range(1, 11)]
    yield from _both("boundary/whole-seconds", "sweep", recipe=noise(0, 9), lengths=whole)
    for seconds, step in ((3, 797), (30, 15_401)):  # primes: no length is special
        some = list(range(2000, SECOND * seconds, step))
        name = f"boundary/lengths-up-to-{seconds}-seconds"
        yield from _both(name, "sweep", recipe=noise(0, 9), lengths=some)
    # A loud end that only the dropped last frame hears well, and mirrored frames beyond it.
    tails = list(range(4000, 4160, 4))
    for length in (60, 200):
        recipe = signal("loud_tail", 0, seed=10, length=length)
        yield from _both(f"boundary/loud-tail-{length}", "sweep", recipe=recipe, lengths=tails)

    # With a single frame, those beside it, which do not exist, are the only ones to hear the end.
    recipe = signal("loud_tail", 0, seed=10, length=60, quiet_db=-90.0)
    one: dict[str, Any] = {"recipe": recipe, "lengths": list(range(265, 320, 6))}
    yield from _both("boundary/loud-tail-60-same", "sweep", **one, smoothing="same")

    pads = [(1, 480_000), (200, 480_000), (479_999, 480_000), (480_000, 480_000)]
    pads += [(100, 201), (200, 400), (SECOND, SECOND + 1), (SECOND, SECOND + 80)]
    pads += [(SECOND, SECOND + 159), (SECOND, 20_000), (SECOND + 37, 480_000), (37, 1637)]
    for n, pad_to in pads:
        recipe = signal("loud_tail", n, seed=11, quiet_db=-40.0)
        name = f"boundary/pad-{n}-to-{pad_to}"
        yield from _both(name, "scored", recipe=recipe, pad_to=pad_to)
    short = [*range(1, 1660, 61), 1640]
    recipe = noise(0, 12)
    yield from _both("boundary/every-pad", "sweep", recipe=recipe, lengths=short, pad_to=1660)
    # Where the padding's silence begins, and which of its values smoothing keeps elsewhere.
    for smoothing in ("valid", "same"):
        more: dict[str, Any] = {"lengths": short[::2], "pad_to": 3260, "smoothing": smoothing}
        yield from _both(f"boundary/every-pad-{smoothing}", "sweep", recipe=recipe, **more)


_CORNER_FRAMES = (63, 64, 65, 127, 128, 129, 255, 256, 257, 1023, 1024, 1025, 3001)


def _numerics() -> Iterator[Case]:
    signals: dict[str, dict[str, Any]] = {
        "rising-noise": rising(SECOND),
        "rising-noise-10-seconds": rising(10 * SECOND, seed=2),
        "falling-noise": rising(SECOND, start_db=-10.0, stop_db=-90.0),
        "near-floor-noise": noise(SECOND, gain=1.2e-5),
        "below-floor-noise": noise(SECOND, gain=1e-6),
        "bell-noise": noise(SECOND, gain=0.1, distribution="normal"),
        "chirp": signal("chirp", gain=0.9),
        "chirp-down": signal("chirp", gain=0.9, start=8000.0, stop=0.0),
        "square": signal("square", frequency=500.0),
        "square-137": signal("square", frequency=137.0, gain=0.3),
        "dc": signal("dc", gain=0.5),
        "nyquist": signal("nyquist", gain=0.9),
        "ramp": signal("ramp"),
        "silence": signal("silence"),
        "denormals": noise(SECOND, gain=1e-40),
        "on-off-160": signal("on_off", seed=3, period=160),
        "on-off-400": signal("on_off", seed=4, period=400),
        "on-off-1000": signal("on_off", seed=5, period=1000, quiet_db=-140.0),
        "clicks": signal("clicks", seed=6),
        "click-train": signal("click_train", period=997),
        "burst-at-start": signal("burst", seed=7, start=0, length=300),
        "burst-at-end": signal("burst", seed=8, start=SECOND - 300, length=300),
        "burst-in-silence": signal("burst", seed=9, start=7000, length=900),
        "tone-on-a-bin": signal("tone", frequency=1000.0, gain=0.8),
        "tone-beside-quiet-noise": signal("tone_in_noise", seed=10, frequency=440.0),
        "speech": signal("speech", 3 * SECOND, recording="sense-and-sensibility"),
    }
    for hertz in (40, 50, 120, 440, 1234, 4000, 6789, 7900, 7960):
        signals[f"tone-{hertz}"] = signal("tone", frequency=float(hertz), gain=0.5, phase=0.1)
    for at in (0, 1, 2, 3, 160, 199, 200, 201, 360, -1, -2, -40, -41, -200):
        signals[f"click-at-{at}"] = signal("click", 4000, at=at)
    for exponent in (-9, -5, -3, 3, 6, 12, 15):
        signals[f"rising-noise-e{exponent}"] = rising(8000, seed=11, gain=10.0**exponent)
    for name, recipe in signals.items():
        yield from _both(f"numerics/{name}", "scored", recipe=recipe)

    for frame in ("first", "last"):
        for band in ("lowest", "highest"):
            recipe = signal("corner", 0, seed=12, frame=frame, band=band)
            lengths = [160 * frames + 80 for frames in _CORNER_FRAMES]
            name = f"numerics/maximum-in-{frame}-frame-{band}-band"
            yield from _both(name, "sweep", recipe=recipe, lengths=lengths)
    calls = [
        {"recipe": signal("burst", 12_000, seed=13, start=160 * i, length=160, gain=0.5)}
        for i in range(75)
    ]
    yield Case("numerics/maximum-in-any-frame", "sequence", {"calls": calls})
    calls = [
        {"recipe": signal("tone", 1000, frequency=40.0 * k + 20.0, gain=0.1)} for k in range(200)
    ]
    yield Case("numerics/maximum-in-any-band", "sequence", {"calls": calls})

    for smoothing in ("valid", "same"):
        for name in ("rising-noise", "chirp", "silence", "burst-in-silence"):
            yield from _both(
                f"numerics/{name}-{smoothing}",
                "scored",
                recipe=signals[name],
                smoothing=smoothing,
            )
        for n in (480, 481, 650, 160 * 64 + 80, 160 * 65):
            yield from _both(
                f"numerics/length-{n}-{smoothing}",
                "scored",
                recipe=rising(n, seed=14),
                smoothing=smoothing,
            )
        # One thread has the whole clip, in several pieces of its own; at their borders is sound.
        yield from _both(
            f"numerics/1-thread-24-seconds-{smoothing}",
            "scored",
            recipe=rising(24 * SECOND, seed=19),
            smoothing=smoothing,
            threads=1,
        )
        yield from _both(
            f"numerics/30-seconds-{smoothing}",
            "scored",
            recipe=rising(10 * SECOND, seed=15),
            smoothing=smoothing,
            pad_to=THIRTY_SECONDS,
        )
    for n in (201, 320, 400):
        yield from _both(
            f"numerics/length-{n}-same", "scored", recipe=rising(n, seed=14), smoothing="same"
        )
    for dtype in ("int16", "float64"):
        for name, recipe in {
            "rising-noise": rising(SECOND, seed=16, gain=3.0),
            "full-scale-square": signal("square", frequency=500.0),
            "quiet-noise": noise(SECOND, 17, gain=2e-4),
            "chirp": signal("chirp", gain=0.9),
        }.items():
            recipe = {**recipe, "dtype": dtype}
            yield from _both(f"numerics/{name}-{dtype}", "scored", recipe=recipe)
    for threads in (1, 2, 3, 7):
        for n in (400, 160 * 9 + 40, 5 * SECOND):
            yield from _both(
                f"numerics/{threads}-threads-{n}",
                "scored",
                recipe=rising(n, seed=18),
                threads=threads,
            )


def _buffers() -> Iterator[Case]:
    layouts = [layout for layout in LAYOUTS if layout not in ("plain", *OF_BATCHES)]
    layouts += [f"offset-{offset}" for offset in (1, 2, 4, 8, 12, 16, 20, 32, 36, 48, 60)]
    for layout in layouts:
        for n in (400, 160 * 9 + 77, SECOND):
            yield Case(
                f"buffers/{layout}-{n}",
                "in_layout",
                {"recipe": rising(n, seed=21), "layout": layout},
            )
        recipe = rising(SECOND + 80, seed=22)
        arguments = {"recipe": recipe, "layout": layout, "n_mels": 128}
        yield Case(f"buffers/{layout}-128-bands", "in_layout", arguments)
    for dtype in ("int16", "float64"):
        for layout in ("stride-2", "reversed", "read-only", "guard-behind", "guard-before"):
            recipe = rising(4077, seed=23, dtype=dtype)
            arguments = {"recipe": recipe, "layout": layout}
            yield Case(f"buffers/{layout}-{dtype}", "in_layout", arguments)
    # Reading beyond the clip faults, at every remainder of the hop and of common vector widths.
    lengths = [201, 240, 399, 400, *range(1600, 1760, 7), 16_079, 16_080]
    for layout in ("guard-before", "guard-behind"):
        recipe = noise(0, 24)
        yield from _both(
            f"buffers/{layout}", "sweep", recipe=recipe, lengths=lengths, layout=layout
        )
        yield from _both(
            f"buffers/{layout}-padded",
            "sweep",
            recipe=recipe,
            lengths=[1, 100, 200, 399, 1000, 1999],
            layout=layout,
            pad_to=2000,
        )
        # Long enough that whole groups of frames lie between the clip's end and the padding's.
        yield from _both(
            f"buffers/{layout}-padded-far",
            "sweep",
            recipe=recipe,
            lengths=[399, 1999, 3999],
            layout=layout,
            pad_to=8000,
        )

    clips = [rising(3200, 25), noise(3200, 26), signal("chirp", 3200), noise(3200, 27, 1e-3)]
    mixed = [*clips, rising(1600, 28), noise(8000, 29), noise(3200, 26), rising(3200, 25)]
    for name, flags in {
        "input-reused": {"reuse_input": True},
        "results-kept": {},
        "results-spoiled": {"spoil_results": True},
    }.items():
        for n_mels in BANDS:
            calls = [{"recipe": recipe, "n_mels": n_mels} for recipe in (*mixed, *mixed)]
            yield Case(f"buffers/{name}/{n_mels}", "sequence", {"calls": calls, **flags})
    calls = [{"recipe": noise(1600, 100 + i)} for i in range(64)]
    yield Case("buffers/64-results-kept", "sequence", {"calls": calls})

    for memory in ("canaries", "guard-before", "guard-behind"):
        variants: dict[str, dict[str, Any]] = {
            "": {},
            "-valid": {"smoothing": "valid"},
            "-same": {"smoothing": "same"},
            "-padded": {"pad_to": 20_000},
        }
        for name, more in variants.items():
            for n in (1600, 160 * 65 + 80):
                yield from _both(
                    f"buffers/out-{memory}{name}-{n}",
                    "into_out",
                    ("out",),
                    recipe=rising(n, seed=30),
                    memory=memory,
                    **more,
                )
    for bad in ("shape", "rank", "dtype", "strides", "read-only", "overlap"):
        # Long enough that the features fit into the audio's own memory.
        arguments = {"recipe": noise(SECOND, 31), "bad": bad}
        yield Case(f"buffers/bad-out-{bad}", "bad_out", arguments, ("out",))


def _batch() -> Iterator[Case]:
    loud, quiet = noise(4077, 41, 0.9), noise(4077, 42, 1e-4)
    batches: dict[str, list[dict[str, Any]]] = {
        "one": [rising(4077, 43)],
        "loud-beside-quiet": [loud, quiet],
        "quiet-beside-loud": [quiet, loud],
        "three": [quiet, signal("chirp", 4077), rising(4077, 44)],
        "silence-beside-loud": [signal("silence", 4077), loud, signal("silence", 4077)],
        "equal-clips": [loud, loud, loud],
        "seventeen": [noise(1640, 50 + i, 10.0 ** -(i % 5)) for i in range(17)],
        "many-short": [rising(240, 70 + i) for i in range(65)],
        "eight-long": [noise(5 * SECOND, 140 + i, 10.0 ** -(i % 3)) for i in range(8)],
    }
    for name, recipes in batches.items():
        yield from _both(f"batch/{name}", "batch", ("batch",), recipes=recipes)
    three = batches["three"]
    options: dict[str, dict[str, Any]] = {
        "padded": {"pad_to": 20_000},
        "valid": {"smoothing": "valid"},
        "same": {"smoothing": "same"},
    }
    for name, more in options.items():
        yield from _both(f"batch/three-{name}", "batch", ("batch",), recipes=three, **more)
    layouts = ["stride-2", "reversed", "column", "offset-4", "guard-behind", *OF_BATCHES]
    for layout in layouts:
        yield Case(
            f"batch/three-{layout}", "batch", {"recipes": three, "layout": layout}, ("batch",)
        )
    pcm = [{**recipe, "dtype": "int16"} for recipe in three]
    yield Case("batch/three-int16", "batch", {"recipes": pcm}, ("batch",))
    apart = {"recipes": pcm, "layout": "rows-apart"}
    yield Case("batch/three-rows-apart-int16", "batch", apart, ("batch",))
    # Threads may have whole clips each, or pieces of all of them.
    for threads in (2, 3):
        for smoothing in (None, "valid"):
            name = f"batch/eight-long-{threads}-threads{'-valid' if smoothing else ''}"
            arguments = {"recipes": batches["eight-long"], "smoothing": smoothing}
            yield Case(name, "batch", {**arguments, "threads": threads}, ("batch",))


def _errors() -> Iterator[Case]:
    for value in ("nan", "inf", "-inf"):
        for at in (0, 5, 199, 200, 2000, 3999):
            recipe = noise(4000, 61, poke=[at, value])
            yield Case(f"errors/{value}-at-{at}", "not_finite", {"recipe": recipe})
        recipe = noise(SECOND, 62, poke=[9000, value])
        yield Case(f"errors/{value}/128", "not_finite", {"recipe": recipe, "n_mels": 128})
    # Samples that no frame reaches: here 4040 to 4078.
    recipe = noise(4079, 63, poke=[4070, "nan"])
    yield Case("errors/nan-beyond-the-last-frame", "not_finite", {"recipe": recipe})
    for name, at in (("first", 4040), ("last", 4078)):
        for value in ("nan", "inf"):
            recipe = noise(4079, 63, poke=[at, value])
            yield Case(f"errors/{value}-{name}-unheard", "not_finite", {"recipe": recipe})
    for name, at in (("amid", 41_000), ("last-unheard", 80_078)):
        arguments = {"recipe": noise(80_079, 67, poke=[at, "nan"]), "threads": 2}
        yield Case(f"errors/nan-{name}-2-threads", "not_finite", arguments)
    recipes = [noise(4077, 64), noise(4077, 65, poke=[1234, "nan"]), noise(4077, 66)]
    arguments = {"recipes": recipes}
    yield Case("errors/nan-in-a-batch", "not_finite_in_batch", arguments, ("batch",))
    apart = {"recipes": recipes, "layout": "rows-apart"}
    yield Case("errors/nan-in-rows-apart", "not_finite_in_batch", apart, ("batch",))
    for kind in ("rank-0", "rank-3", "no-clips", "int8", "uint8", "uint16", "int32", "int64"):
        yield Case(f"errors/{kind}", "unusual", {"kind": kind})
    for kind in ("bool", "float16", "complex64"):
        yield Case(f"errors/{kind}", "unusual", {"kind": kind})
    for kind in ("rank-2", "column"):
        yield Case(f"errors/{kind}", "unusual", {"kind": kind}, ("single_clips",))
    for gain in (1e17, 1e19, 1e30, 3e38):
        yield Case(f"errors/overflow-{gain:g}", "overflow", {"gain": gain})
    options: dict[str, tuple[int, str, dict[str, Any], dict[str, Any]]] = {
        "longer-than-pad_to": (4000, "pad_to", {"pad_to": 3999}, {"pad_to": 3999}),
        "much-longer-than-pad_to": (16_000, "pad_to", {"pad_to": 400}, {"pad_to": 400}),
        "valid-of-two-frames": (479, "smoothing", {"smoothing": "valid"}, {"smoothing": "valid"}),
    }
    for name, (n, names, given, needs) in options.items():
        arguments = {"n": n, "name": names, "options": given}
        yield Case(f"errors/{name}", "bad_option", arguments, context=needs)
    for name, option, needs in (
        ("n_mels-81", ["n_mels", 81], {}),
        ("n_mels-0", ["n_mels", 0], {}),
        ("unknown-smoothing", ["smoothing", "full"], {"smoothing": "same"}),
        ("negative-pad_to", ["pad_to", -1], {"pad_to": 1}),
        ("no-threads", ["threads", 0], {"threads": 1}),
    ):
        arguments = {"option": option}
        yield Case(f"errors/{name}", "strict_option", arguments, ("errors",), needs)


def _concurrency() -> Iterator[Case]:
    for n_mels in BANDS:
        one = [{"recipe": rising(SECOND, 71), "n_mels": n_mels}]
        yield Case(f"concurrency/one-thread/{n_mels}", "in_threads", {"calls": one, "times": 2})
        same = [{"recipe": rising(8000, 72 + i), "n_mels": n_mels} for i in range(4)]
        arguments = {"calls": same, "times": 25}
        yield Case(f"concurrency/four-threads/{n_mels}", "in_threads", arguments)
    lengths = (400, 1777, 8000, SECOND, 3 * SECOND, 640, 4077, 12_345)
    different = [{"recipe": rising(n, n)} for n in lengths]
    arguments = {"calls": different, "times": 10}
    yield Case("concurrency/different-lengths", "in_threads", arguments)
    mixed = [{"recipe": rising(8000, 80 + i), "n_mels": BANDS[i % 2]} for i in range(4)]
    yield Case("concurrency/80-beside-128-bands", "in_threads", {"calls": mixed, "times": 20})
    levels = [{"recipe": noise(8000, 90 + i, 10.0 ** (-2 * i))} for i in range(4)]
    yield Case("concurrency/different-levels", "in_threads", {"calls": levels, "times": 20})
    helped = [{"recipe": rising(5 * SECOND, 94 + i), "threads": 2} for i in range(4)]
    yield Case("concurrency/two-threads-each", "in_threads", {"calls": helped, "times": 100})


def _determinism(profile: str) -> Iterator[Case]:
    yield from _both("determinism/repeated", "repeats", recipe=rising(SECOND, 101), times=20)
    long = rising(THIRTY_SECONDS, 102)
    yield from _both("determinism/repeated-30-seconds", "repeats", recipe=long, times=3)
    times = {"quick": 300, "ci": 2000, "nightly": 20_000}[profile]
    yield Case("determinism/many-times", "repeats", {"recipe": rising(1600, 103), "times": times})
    padded = {"recipe": rising(4000, 104), "times": 10, "pad_to": 20_000, "smoothing": "same"}
    yield Case("determinism/repeated-padded", "repeats", padded)
    a, b, c = rising(4000, 105), noise(4000, 106), signal("chirp", 4000)
    calls = [{"recipe": recipe} for recipe in (a, b, a, c, b, b, a, c, c, a)]
    yield Case("determinism/interleaved", "sequence", {"calls": calls})
    switching = [{"recipe": r, "n_mels": m} for r in (a, b, c) for m in (80, 128, 80)]
    yield Case("determinism/interleaved-bands", "sequence", {"calls": switching})
    # Clips that are equal but for one sample, wherever a hasty cache does not look.
    near = [{"recipe": noise(4000, 107, poke=[at, 0.9])} for at in (0, 7, 1999, 2000, 3000, 3999)]
    plain = {"recipe": noise(4000, 107)}
    calls = [call for poked in near for call in (plain, poked)]
    yield Case("determinism/one-sample-apart", "sequence", {"calls": calls})


def _memory(profile: str) -> Iterator[Case]:
    for name, n, times in (("short", 1600, 100), ("long", SECOND, 60)):
        arguments = {"recipe": rising(n, 111), "times": times}
        yield from _both(f"memory/left-behind-{name}", "growth", ("in_process",), **arguments)
    if profile != "nightly":
        return
    day = {"recipe": rising(THIRTY_SECONDS, 112), "times": 120, "parts": 24}
    yield Case("memory/24-hours", "endurance", day, ("in_process",))
    tiny = {"recipe": rising(400, 113), "times": 10_000, "parts": 100}
    yield Case("memory/1000000-clips", "endurance", tiny, ("in_process",))


def _regressions() -> Iterator[Case]:
    for entry in regressions():
        yield Case(entry.case, entry.check, entry.arguments, entry.claims)
