"""The condition under which a front-end is wrong is found, said, and holds for calls not asked for.

The front-ends here have no features: a rule says which requests they answer wrongly.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from whisper_mel_conformance.cases.recipes import length, noise, rising
from whisper_mel_conformance.cases.request import Request
from whisper_mel_conformance.diagnosis import asked as asked_module
from whisper_mel_conformance.diagnosis import lengths
from whisper_mel_conformance.diagnosis.asked import Asked
from whisper_mel_conformance.diagnosis.condition import ask_around, find_condition
from whisper_mel_conformance.diagnosis.lengths import border
from whisper_mel_conformance.diagnosis.loudest import with_loudest
from whisper_mel_conformance.diagnosis.requests import (
    batched,
    dtype_of,
    of_dtype,
    padded,
    padding_of,
    samples,
    with_length,
)
from whisper_mel_conformance.diagnosis.values import option_of
from whisper_mel_conformance.frontend.layouts import lay_out
from whisper_mel_conformance.frontend.load import Capabilities
from whisper_mel_reference import CLASS_B

ABLE = Capabilities(
    n_mels=(80, 128),
    smoothing=(None, "valid", "same"),
    pad_to=True,
    maximum=("clip", "chunk", "fixed"),
    dtypes=("float32", "float64", "int16"),
    batch=True,
    threads=True,
)
Rule = Callable[[Request], bool]

PLAIN = Request(rising(2112, 937))
BATCH = Request(recipes=[noise(1777, 3), noise(1777, 4)])
OTHERS = (
    *(PLAIN, BATCH, replace(PLAIN, pad_to=2112), replace(PLAIN, pad_to=5000)),
    *(Request(noise(n, 2)) for n in (240, 481, 1600, 4999, 5000, 5001, 5002, 9001)),
    *(batched(Request(noise(800, 2)), n) for n in (1, 2, 3, 4, 9)),
    *(replace(PLAIN, threads=n) for n in (1, 2, 4, 16)),
    *(replace(PLAIN, layout=it) for it in ("stride-2", "reversed", "column", "offset-4")),
    *(replace(PLAIN, smoothing="valid"), replace(PLAIN, smoothing="same")),
    *(replace(PLAIN, maximum="chunk"), replace(PLAIN, maximum=1.5)),
    *(replace(PLAIN, n_mels=128), Request(noise(900, 2, dtype="int16"))),
    *(Request(noise(900, 2, dtype="float64")), Request({"parts": [noise(480), noise(480)]})),
    *(with_loudest(PLAIN, 5000, at) for at in (0, 299, 300, 2500, 4700, 4999)),
)
"""Requests of many kinds, for which a condition must say what the rule does."""


def asked_of(rule: Rule, *requests: Request, able: Capabilities = ABLE) -> Asked:
    """Return the calls of a front-end that is wrong where ``rule`` says so, with these noted."""

    def ask(name: str, request: Request) -> Any:
        return SimpleNamespace(actual=True, error="", score=9.0 if rule(request) else 0.5)

    asked = Asked(ask, able)
    for request in requests:
        asked.note(request, ask("", request))
    return asked


@pytest.fixture(autouse=True)
def _features_are_not_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    def truth(clip: Any, spec: Any) -> None:
        if clip.size < 201:
            raise ValueError("too short")

    monkeypatch.setattr(asked_module, "truth", truth)


def _batch(request: Request) -> int:
    return len(request.recipes)


def _loudest(request: Request) -> int:
    return int(np.abs(np.atleast_2d(request.audio())[0].astype(np.float64)).argmax())


def _address(request: Request) -> int:
    return lay_out(request.audio(), request.layout).ctypes.data


RULES: dict[str, Rule] = {
    "with clips in a batch": lambda it: _batch(it) > 0,
    "with clips in a batch of 3 or more": lambda it: _batch(it) >= 3,
    "with clips in a batch of 2 or fewer": lambda it: _batch(it) in (1, 2),
    "with clips in a batch of one": lambda it: _batch(it) == 1,
    "with clips in a batch of 2 or 4": lambda it: _batch(it) in (2, 4),
    "with clips that are in no batch": lambda it: not _batch(it),
    "without a batch, or in some": lambda it: _batch(it) < 2,
    "with threads=2 or more": lambda it: (it.threads or 0) >= 2,
    "with threads=one": lambda it: it.threads == 1,
    "without threads=1 or 2 or 3 or 4 or 5 or 8": lambda it: it.threads is None,
    "with samples that do not lie one behind the other in memory": lambda it: (
        it.layout in ("stride-2", "stride-5", "reversed", "column")
    ),
    "with samples that lie in memory as reversed": lambda it: it.layout == "reversed",
    "with samples at an address that is no multiple of 8 bytes": lambda it: _address(it) % 8 != 0,
    "with samples at an address that is no multiple of 16 bytes": lambda it: _address(it) % 16 != 0,
    "with clips of dtype int16": lambda it: dtype_of(it) == "int16",
    "with clips of dtype int16 or float64": lambda it: dtype_of(it) != "float32",
    "with 128 bands": lambda it: it.n_mels == 128,
    "with smoothing=valid or same": lambda it: it.smoothing is not None,
    "with maximum=chunk": lambda it: it.maximum == "chunk",
    "with pad_to": lambda it: it.pad_to is not None,
    "without pad_to": lambda it: it.pad_to is None,
    "with pad_to beyond the number of samples": lambda it: padding_of(it) == "beyond",
    "with pad_to equal to the number of samples": lambda it: padding_of(it) == "equal",
    "without pad_to beyond the number of samples": lambda it: padding_of(it) != "beyond",
    "without pad_to equal to the number of samples": lambda it: padding_of(it) != "equal",
    "with more than 5,000 samples": lambda it: samples(it) > 5000,
    "with fewer than 482 samples": lambda it: samples(it) <= 481,
    "with exactly 1,600 samples": lambda it: samples(it) == 1600,
    "with exactly 4,999 samples": lambda it: samples(it) == 4999,
    "with 480 to 2,500 samples": lambda it: 480 <= samples(it) <= 2500,
    "with a number of samples that is a multiple of 4": lambda it: samples(it) % 4 == 0,
    "with a number of samples that is a multiple of 160": lambda it: samples(it) % 160 == 0,
    "with a number of samples that is not a multiple of 3": lambda it: samples(it) % 3 != 0,
    "with a number n of samples of which n % 400 is 112": lambda it: samples(it) % 400 == 112,
    "with a number n of samples of which n % 2 is 1": lambda it: samples(it) % 2 == 1,
    "with a number n of samples of which n % 16 is not 1": lambda it: samples(it) % 16 != 1,
    "if the loudest sample is among the first 300": lambda it: _loudest(it) < 300,
    "if the loudest sample is behind the first 300": lambda it: _loudest(it) >= 300,
    "if the loudest sample is among the last 300": lambda it: _loudest(it) >= samples(it) - 300,
    "if the loudest sample is before the last 300": lambda it: _loudest(it) < samples(it) - 300,
    "with clips in a batch of 3 or more, with 128 bands": lambda it: (
        _batch(it) >= 3 and it.n_mels == 128
    ),
    "with clips of dtype int16, with more than 5,000 samples": lambda it: (
        dtype_of(it) == "int16" and samples(it) > 5000
    ),
}


def test_one_long_length_is_found_by_few_long_clips() -> None:
    """Whether it is a remainder is asked with short ones."""
    asked = asked_of(lambda it: samples(it) == 480_000, Request(noise(480_000, 2)), PLAIN)
    condition = find_condition(asked)
    assert condition is not None
    assert condition.words == "with exactly 480,000 samples"
    assert sum(samples(it) > asked_module.LONG for it, _ in asked.calls) < 80


def test_a_remainder_is_found_by_a_long_clip() -> None:
    asked = asked_of(lambda it: samples(it) % 1600 == 0, Request(noise(480_000, 2)), PLAIN)
    condition = find_condition(asked)
    assert condition is not None
    assert condition.words == "with a number of samples that is a multiple of 1600"


def _witness(rule: Rule) -> Request:
    """Return a request that is wrong, of which a front-end might have been asked."""
    further = (
        *(batched(Request(noise(800, 2), n_mels=128), 4), Request(noise(9001, 2, dtype="int16"))),
        *(Request(noise(1712, 2)), Request(noise(1001, 2))),
    )
    return next(it for it in (*OTHERS, *further) if rule(it))


@pytest.mark.parametrize("words", RULES)
def test_a_condition_is_said_and_holds_elsewhere(words: str) -> None:
    rule = RULES[words]
    condition = find_condition(asked_of(rule, PLAIN, _witness(rule)))
    assert condition is not None
    assert condition.sentence.startswith(f"It is wrong {words} only: on ")
    for request in OTHERS:
        assert condition.holds(request) == rule(request), request
        put = condition.put(request)
        assert rule(put), request
        assert condition.holds(put), request
        if rule(request):
            assert put == request


NONE: dict[str, Rule] = {
    "nothing is wrong": lambda it: False,
    "all is wrong": lambda it: True,
    "a relative place": lambda it: _loudest(it) < samples(it) // 2,
    "by what it holds": lambda it: it.recipe == PLAIN.recipe,
    "no simple length": lambda it: samples(it) in (2112, 240, 4080, 30_011),
    "long ones, but some": lambda it: samples(it) > 1700 and not 3300 <= samples(it) < 3400,
    "two remainders": lambda it: samples(it) % 400 in (112, 113),
    "two of four remainders": lambda it: samples(it) % 4 in (0, 3),
    "three of four remainders, of some": lambda it: (
        samples(it) % 4 != 0 and 3143 <= samples(it) <= 7674
    ),
    "two of three that have a remainder": lambda it: samples(it) % 3840 in (2112, 3392),
}


@pytest.mark.parametrize("why", NONE)
def test_what_has_no_condition_is_given_none(why: str) -> None:
    asked = asked_of(NONE[why], PLAIN, Request(noise(900, 2)), Request(noise(3203, 2)))
    assert find_condition(asked) is None


def test_the_calls_of_which_it_is_known_are_counted() -> None:
    wrong, right = replace(PLAIN, n_mels=128), [PLAIN, BATCH]
    asked = asked_of(lambda it: it.n_mels == 128, wrong, *right)
    condition = find_condition(asked)
    assert condition is not None
    counts = [int(it) for it in re.findall(r"\d+", condition.counted)]
    assert condition.counted == "on {} of {} such calls, and on none of {} others.".format(*counts)
    assert counts[0] == counts[1] > 20
    assert counts[2] >= 2
    assert counts[1] + counts[2] == len(asked.calls)


def test_a_condition_may_show_in_most_clips_only() -> None:
    """One of 40 clips with 128 bands is right, whatever the reason; 35 of 40 are too many."""

    def wrong_but(right: int) -> Asked:
        clips = [Request(noise(900, seed), n_mels=128) for seed in range(40)]
        return asked_of(
            lambda it: it.n_mels == 128 and it not in clips[:right], *clips, PLAIN, BATCH, able=able
        )

    able = Capabilities(n_mels=(80, 128), batch=True)
    condition = find_condition(wrong_but(1))
    assert condition is not None
    assert condition.sentence.startswith("It is wrong with 128 bands only: on ")
    assert find_condition(wrong_but(35)) is None


def test_a_property_that_some_wrong_calls_lack_is_left_out() -> None:
    """Of 80 bands some clips are wrong, too: the number of bands is no part of the condition."""

    def rule(request: Request) -> bool:
        is_other = request.recipe == noise(4000, 7)
        return request.smoothing == "valid" and (request.n_mels == 128 or is_other)

    wrong = [Request(noise(900), n_mels=128, smoothing="valid")]
    wrong += [Request(noise(4000, 7), smoothing="valid")]
    condition = find_condition(asked_of(rule, *wrong, PLAIN))
    assert condition is not None
    assert condition.sentence.startswith("It is wrong with smoothing=valid only: on ")


@pytest.mark.parametrize("limit", [{"max_samples": 2300}, {"multiple_of": 160}])
def test_lengths_that_are_not_supported_are_not_called_right(limit: dict[str, int]) -> None:
    able = Capabilities(n_mels=(80, 128), **limit)  # type: ignore[arg-type]
    wrong = Request(noise(1600), n_mels=128)
    condition = find_condition(asked_of(lambda it: it.n_mels == 128, wrong, PLAIN, able=able))
    assert condition is not None
    assert condition.sentence.startswith("It is wrong with 128 bands only: on ")


# --------------------------------------------------------------------------- what is asked


def test_a_plain_clip_is_asked_for_in_every_way_until_one_is_wrong() -> None:
    every = asked_of(lambda it: False)
    ask_around(every)
    assert len({repr(request) for request, _ in every.calls}) == len(every.calls)
    calls = [request for request, _ in every.calls]
    assert {it.n_mels for it in calls} == {*ABLE.n_mels}
    assert {dtype_of(it) for it in calls} == {*ABLE.dtypes}
    assert {it.smoothing for it in calls} == {*ABLE.smoothing}
    assert {it.maximum for it in calls} == {None, "chunk", 1.5}
    assert {padding_of(it) for it in calls} == {"none", "equal", "beyond"}
    assert {_batch(it) for it in calls} == {0, 1, 2, 3, 4, 5, 6, 8}
    assert {it.threads for it in calls} == {None, 1, 2, 3, 4, 5, 8}
    assert {it.layout for it in calls} >= {"plain", "stride-2", "column", "offset-4", "offset-8"}
    assert {_loudest(it) for it in calls if samples(it) == 4000} >= {0, 3999}
    assert max(map(samples, calls)) > 480_000
    for last, request in enumerate(calls):
        some = asked_of(lambda it, wrong=request: it == wrong)  # type: ignore[misc]
        ask_around(some)
        assert len(some.calls) == last + 1
        assert some.witness == request
        ask_around(some)
        assert len(some.calls) == last + 1


def test_programs_that_start_for_each_call_are_asked_for_no_more() -> None:
    asked = asked_of(lambda it: True, able=replace(ABLE, process_per_call=True))
    ask_around(asked)
    assert asked.calls == []


def test_what_a_front_end_does_not_take_is_not_asked() -> None:
    few = Capabilities(max_samples=3000)
    asked = asked_of(lambda it: False, able=few)
    ask_around(asked)
    assert asked.calls
    assert all(request.lacking(few) is None for request, _ in asked.calls)
    for request in (BATCH, Request(noise(100)), replace(PLAIN, layout="guard-before")):
        assert asked.can_ask(request) is False
        assert asked.is_wrong(request) is None
    assert asked.can_ask(PLAIN) is True


def test_a_call_is_asked_for_once() -> None:
    seen = []
    asked = asked_of(lambda it: seen.append(it) or it.n_mels == 128)  # type: ignore[func-returns-value]
    for request in (PLAIN, replace(PLAIN, n_mels=128)) * 2:
        assert asked.is_wrong(request) is (request.n_mels == 128)
    assert len(seen) == len(asked.calls) == 2


def test_what_has_neither_features_nor_an_error_is_no_call() -> None:
    asked = asked_of(lambda it: False)
    unsupported = SimpleNamespace(actual=None, error="", score=np.inf)
    refused = SimpleNamespace(actual=None, error="ValueError: no", score=np.inf)
    assert asked.note(PLAIN, unsupported) is None  # type: ignore[arg-type]
    assert asked.calls == []
    assert asked.note(BATCH, refused) is True  # type: ignore[arg-type]
    assert asked.witness == BATCH
    for score, is_wrong in ((CLASS_B, False), (4.001, True), (np.nan, True)):
        given = SimpleNamespace(actual=True, error="", score=score)
        assert asked.note(PLAIN, given) is is_wrong  # type: ignore[arg-type]


def test_failed_cases_are_asked_again_short_ones_first() -> None:
    """Of those with more than 60,000 samples three, of others as many as 600,000 samples."""
    short = [Request(noise(60_000, seed)) for seed in range(20)]
    long = [Request(noise(70_000 + i, 5)) for i in range(5)]
    padded_up = replace(PLAIN, pad_to=60_001)
    asked = asked_of(lambda it: False)
    asked.ask_again([*long, *short, short[0], padded_up])
    assert [it for it, _ in asked.calls] == [*short[:10], padded_up, *long[:2]]
    asked = asked_of(lambda it: False)
    asked.ask_again([*long, *short, *long[:2], Request(noise(240))])
    assert [it for it, _ in asked.calls] == [Request(noise(240)), *short[:9], *long[:3]]
    asked = asked_of(lambda it: it == short[1])
    asked.ask_again([*long, *short])
    assert [it for it, _ in asked.calls] == short[:2]


def test_the_plainest_and_shortest_wrong_call_is_looked_at() -> None:
    by_plainness = [
        *(Request(noise(900)), Request(noise(5000)), Request(noise(300, dtype="int16"))),
        batched(Request(noise(301)), 2),
        *(replace(Request(noise(302)), threads=2), replace(Request(noise(303)), layout="column")),
        batched(Request(noise(290, dtype="int16")), 2),
        replace(Request(noise(250)), threads=2, pad_to=300, maximum="chunk"),
        replace(Request(noise(240)), threads=2, pad_to=300, maximum="chunk", smoothing="same"),
    ]
    for i in range(len(by_plainness)):
        assert asked_of(lambda it: True, *by_plainness[i:][::-1]).witness == by_plainness[i]
    assert asked_of(lambda it: False, PLAIN).witness is None


# --------------------------------------------------------------------------- requests


@pytest.mark.parametrize("clips", [PLAIN, BATCH, Request({"parts": [noise(300), noise(700)]})])
@pytest.mark.parametrize("n", [240, 999, 1000, 1001, 1777, 2112, 4000])
def test_a_clip_of_another_length_has_it(clips: Request, n: int) -> None:
    recipe = clips.recipe or clips.recipes[0]
    assert length(with_length(recipe, n)) == n
    shown = with_length({**recipe, "poke": [5, 1.0]}, n)
    assert length(shown) == n
    assert ("poke" in str(shown)) is (n >= length(recipe))


def test_a_longer_clip_begins_with_the_shorter_one() -> None:
    short = Request(noise(300, 7, dtype="int16"))
    longer = replace(short, recipe=with_length(short.recipe or {}, 400))
    np.testing.assert_array_equal(longer.audio()[:300], short.audio())
    assert longer.audio().dtype == np.int16
    assert 0 < np.abs(longer.audio()[300:]).max() < 300


def test_a_shorter_clip_of_parts_keeps_their_share() -> None:
    shorter = with_length({"parts": [noise(300), noise(700)]}, 101)
    assert [part["n"] for part in shorter["parts"]] == [31, 70]
    assert with_length({"parts": [noise(1000), noise(1)]}, 500) == {"parts": [noise(500)]}


def test_options_of_requests_are_read_and_put() -> None:
    parts = Request({"parts": [noise(300), noise(700)]})
    assert (samples(PLAIN), samples(BATCH), samples(parts)) == (2112, 1777, 1000)
    int16 = replace(parts, recipe=of_dtype(parts.recipe or {}, "int16"))
    assert (dtype_of(parts), dtype_of(int16), dtype_of(BATCH)) == ("float32", "int16", "float32")
    assert int16.audio().dtype == np.int16
    assert {it: padded(PLAIN, it).pad_to for it in ("none", "equal", "beyond")} == {
        "none": None,
        "equal": 2112,
        "beyond": 4001,
    }
    assert batched(BATCH, 3).recipes == [BATCH.recipes[0], BATCH.recipes[1], BATCH.recipes[0]]
    assert batched(BATCH, 0) == Request(BATCH.recipes[0])


def test_the_loudest_sample_is_where_it_is_put() -> None:
    for at in (0, 1, 500, 998, 999):
        clip = with_loudest(replace(PLAIN, recipe=of_dtype(PLAIN.recipe or {}, "int16")), 1000, at)
        assert (samples(clip), _loudest(clip), dtype_of(clip)) == (1000, at, "int16")
        assert np.abs(np.delete(clip.audio(), at).astype(int)).max() < 1000


@pytest.mark.parametrize("last", [3, 4, 57, 98])
def test_the_last_right_length_is_found(last: int) -> None:
    assert border(lambda n: n > last, 3, 99) == last


def test_lengths_inside_an_interval_are_asked_for_with_other_remainders() -> None:
    """Its ends, and between them no multiples of one number alone."""
    asked: list[int] = []

    def is_wrong(n: int) -> bool | None:
        asked.append(n)
        return n not in right

    right: set[int] = set()
    assert lengths._are_wrong(is_wrong, 100, 500)
    assert asked == [100, 201, 302, 401, 500]
    for n in asked.copy():
        right = {n}
        assert not lengths._are_wrong(is_wrong, 100, 500)
    right, asked[:] = set(), []
    assert lengths._are_wrong(is_wrong, 100, 90)
    assert {*asked} == {100}
    assert lengths._are_wrong(lambda n: None, 100, 500)


def test_a_period_is_seen_in_three_lengths_and_in_none_of_the_next() -> None:
    def period(*wrong: int) -> str | None:
        part = lengths._remainder(lambda n: n in wrong, [100], [240, 321, 480])
        return None if part is None else part.words

    assert period(100, 150, 200, 250) == "with a number of samples that is a multiple of 50"
    assert period(100, 150, 200, 300) is None
    assert period(100, 150, 250, 300) is None
    for n in range(101, 106):
        assert period(100, 150, 200, 250, n) is None


def test_an_option_that_some_requests_have_alone_is_named() -> None:
    every = [*OTHERS[:4], *(batched(PLAIN, n) for n in (1, 4))]
    assert option_of([BATCH], every) == "with clips in a batch of 2"
    assert option_of([every[2]], every) == "with pad_to equal to the number of samples"
    assert option_of(every[2:4], every) == "with pad_to"
    assert option_of([PLAIN], every) is None
    assert option_of(every, every) is None
