"""The verdict of a study: on 20 made studies every number of every sentence is computed again, by numpy and scipy."""

from __future__ import annotations

import json
import math
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats
from study_folders import done, failed, listed, write_study

from hmhsa_insert.quantities import QUANTITIES
from hmhsa_insert.quantity import Quantity
from hmhsa_insert.reports.study_comparisons import comparisons
from hmhsa_insert.reports.study_report import render_study
from hmhsa_insert.reports.study_tables import study_tables
from hmhsa_insert.reports.study_verdicts import verdicts
from hmhsa_insert.studies.outcomes import StudyOutcomes, read_outcomes

CONTROLS = {f"hmhsa {kind}": {"of": "hmhsa", "control": kind} for kind in ("placebo", "matched")}


def made(folder: Path, number: int) -> StudyOutcomes:
    """Write a study of one or two groups, with or without controls, of 2 to 9 seeds, of an effect or none."""
    rng = np.random.default_rng(number)
    seeds = int(rng.integers(2, 10))
    variants = ["plain", "hmhsa", *(CONTROLS if number % 3 else ()), *(["se"] if number % 4 == 0 else [])]
    models = ["a", "b"] if number % 5 == 0 else ["net"]
    trials = [listed(v, s, m) for m in models for v in variants for s in range(seeds)]
    noise = rng.choice([0.05, 0.3, 1.5])
    effect = {v: rng.choice([0.0, 0.4, -1.0, 2.0]) for v in variants}
    rows = [
        done(t["id"], float(np.clip(80 + effect[t["variant"]] + rng.normal(scale=noise), 0, 100)))
        for t in trials
    ]
    if number % 7 == 0:
        rows[-1] = failed(rows[-1]["id"], "out of memory")
    return read_outcomes(write_study(folder, trials, rows, controls=CONTROLS))


def differences(study: StudyOutcomes, group: str, one: str, other: str) -> list[float]:
    """Pair by seed, from the trials as they are."""
    frame = study.trials[(study.trials["group"] == group) & (study.trials["status"] == "done")]
    sides = [frame[frame["variant"] == name].set_index("seed")["top1"].astype(float) for name in (one, other)]
    return (sides[0] - sides[1]).dropna().sort_index().tolist()


def needed(size: float, sd: float) -> int:
    """Return the fewest seeds with a power of 80 %, one by one, from the definition."""
    for n in range(2, 5000):
        critical, shift = stats.t.ppf(0.975, n - 1), size / sd * math.sqrt(n)
        if 1 - stats.nct.cdf(critical, n - 1, shift) + stats.nct.cdf(-critical, n - 1, min(shift, 20)) >= 0.8:
            return n
    raise AssertionError(size / sd)


# Numbers with a sign are rounded to hundredths.
_NUMBER = r"[+-]\d+\.\d\d"
_EVIDENCE = re.compile(
    rf"(weak )?evidence for a (gain|loss): ({_NUMBER}) points over (\d+) seeds, "
    rf"and the interval ({_NUMBER}) … ({_NUMBER}) leaves 0 out"
    r"(?:; it (survives|does not survive) Holm's correction for (\d+) intervals \(p ([\d.e-]+)\))?\."
)
_NONE = re.compile(
    rf"no evidence at this budget: the interval ({_NUMBER}) … ({_NUMBER}) holds 0; "
    r"(?:(\d+) seeds resolve ±([\d.]+) point already)?(?:, and )?"
    r"(?:([\d,]+) more seeds? would resolve ±([\d.]+) point)?\."
)
_SO_FAR = re.compile(r" So far (\d+) of (\d+) seeds have a score in both\.")


@pytest.mark.parametrize("number", range(20))
def test_a_sentence_equals_its_numbers(tmp_path: Path, number: int):
    study = made(tmp_path / "s", number)
    found = verdicts(comparisons(study), study.quantity)
    samples = [
        differences(study, each.comparison.group, each.comparison.variant.label, each.comparison.other.label)
        for each in found
    ]
    raw = [stats.ttest_1samp(sample, 0).pvalue for sample in samples]
    order = np.argsort(raw)
    steps = np.maximum.accumulate(
        [min(1, (len(raw) - rank) * raw[place]) for rank, place in enumerate(order)]
    )
    adjusted = dict(zip(order.tolist(), steps, strict=True))
    for place, (each, sample) in enumerate(zip(found, samples, strict=True)):
        n, mean, sd = len(sample), np.mean(sample), np.std(sample, ddof=1)
        half = stats.t.ppf(0.975, n - 1) * sd / math.sqrt(n)
        name = f"{each.comparison.variant.label} against {each.comparison.other.label}: "
        assert each.sentence.startswith(name)
        said, rest = each.sentence.removeprefix(name), ""
        if so_far := _SO_FAR.search(said):
            rest, said = so_far[0], said.removesuffix(so_far[0])
            planned = study.trials["seed"].nunique()
            assert (int(so_far[1]), int(so_far[2])) == (n, planned)
        assert bool(rest) == (n < study.trials["seed"].nunique())
        if mean - half <= 0 <= mean + half:
            match = _NONE.fullmatch(said)
            assert match, said
            ends, (seeds, resolved, more, open_) = match.groups()[:2], match.groups()[2:]
            left = {size: max(0, needed(size, sd) - n) for size in (1.0, 0.5)}
            done_ = [size for size in (1.0, 0.5) if left[size] == 0]
            assert (float(resolved) if resolved else None) == (min(done_) if done_ else None)
            assert seeds is None or int(seeds) == n
            to_do = [size for size in (1.0, 0.5) if left[size]]
            assert (float(open_) if open_ else None) == (max(to_do) if to_do else None)
            assert more is None or int(more.replace(",", "")) == left[max(to_do)]
            assert each.word == "no evidence"
        else:
            match = _EVIDENCE.fullmatch(said)
            assert match, said
            weak, what, value, seeds, *ends, survives, several, p = match.groups()
            stands = adjusted[place] <= 0.05
            assert bool(weak) != stands
            assert what == ("gain" if mean > 0 else "loss")
            assert (float(value), int(seeds)) == (pytest.approx(mean, abs=0.00501), n)
            if len(found) > 1:
                assert survives == ("survives" if stands else "does not survive")
                assert int(several) == len(found)
                assert float(p) == pytest.approx(adjusted[place], abs=0.00051)
            else:
                assert several is None
            assert each.word == (what if stands else f"weak: {what}")
        assert [float(end) for end in ends] == pytest.approx([mean - half, mean + half], abs=0.00501)
    text = " ".join(render_study(study, "md").split())
    assert all(each.sentence in text.replace("\\", "") for each in found)


def test_the_made_studies_have_every_kind_of_verdict(tmp_path: Path):
    words: set[str] = set()
    for number in range(20):
        study = made(tmp_path / str(number), number)
        words |= {each.word for each in verdicts(comparisons(study), study.quantity)}
    assert words >= {"gain", "loss", "no evidence"}
    assert words & {"weak: gain", "weak: loss"}


def told(folder: Path, scores: dict[str, list[float | None]], **more: Any) -> dict[tuple[str, str], str]:
    """Return the sentences of a study by variant and what it is compared with; a score of None is a failed trial."""
    trials = [listed(v, seed) for v in scores for seed in range(len(scores[v]))]
    values = [scores[t["variant"]][t["seed"]] for t in trials]
    rows = [
        failed(t["id"], "no") if value is None else done(t["id"], value)
        for t, value in zip(trials, values, strict=True)
    ]
    study = read_outcomes(write_study(folder, trials, rows, **more))
    found = verdicts(comparisons(study), study.quantity)
    return {(e.comparison.variant.label, e.comparison.other.label): e.sentence for e in found}


_EQUAL = "without a spread there is no interval."


@pytest.mark.parametrize(
    ("plain", "hmhsa", "sentence"),
    [
        (
            [90.0],
            [91.25],
            "+1.25 points with one seed, which says nothing of other seeds: an interval takes two or more.",
        ),
        ([90.0, 91.0], [90.5, 91.5], f"all 2 differences are +0.50 points: {_EQUAL}"),
        (
            [90.0, None],
            [None, 91.0],
            "no seed has a score in both yet (1 of 2 of hmhsa and 1 of 2 of plain are done).",
        ),
        ([90.0, 91.0, None], [90.1, 91.1, 92.0], f"all 2 differences are +0.10 points: {_EQUAL}"),
    ],
)
def test_what_gives_no_interval_says_why(tmp_path: Path, plain, hmhsa, sentence):
    assert told(tmp_path / "s", {"plain": plain, "hmhsa": hmhsa}) == {
        ("hmhsa", "plain"): f"hmhsa against plain: {sentence}"
    }


def test_no_seed_in_common_and_no_baseline(tmp_path: Path):
    trials = [listed("plain", 0), listed("hmhsa", 1), listed("hmhsa", 1, "other")]
    study = read_outcomes(write_study(tmp_path / "s", trials, [done(t["id"], 90.0) for t in trials]))
    one, other = verdicts(comparisons(study), study.quantity)
    assert one.sentence == "hmhsa against plain: no seed is planned for both, so nothing is compared."
    assert other.sentence == "hmhsa against plain: there is nothing to compare with."
    assert [table.title for table in study_tables(study)][1:3] == [
        "net, default, digits: verdict",
        "other, default, digits: verdict",
    ]


@pytest.mark.parametrize(("better", "what"), [("less", "loss"), ("more", "gain"), ("", "difference")])
def test_whether_more_is_better_is_the_scores_own(tmp_path: Path, monkeypatch, better, what):
    row = Quantity(
        "error", "Error", kind=QUANTITIES["top1"].kind, digits=1, better=better, delta="absolute", section=""
    )
    monkeypatch.setitem(QUANTITIES, "error", row)
    trials = [listed(v, seed) for v in ("plain", "hmhsa") for seed in range(4)]
    rows = [
        done(t["id"], 0.0) | {"scores": {"error": 10.0 + 3 * (t["variant"] == "hmhsa") + 0.1 * (i % 3)}}
        for i, t in enumerate(trials)
    ]
    study = read_outcomes(write_study(tmp_path / "s", trials, rows, score="error"))
    (found,) = verdicts(comparisons(study), study.quantity)
    assert found.word == what
    assert f"evidence for a {what}: +3." in found.sentence


def test_a_score_that_is_no_percentage_is_resolved_in_shares_of_the_other(tmp_path: Path):
    trials = [listed(v, seed) for v in ("plain", "hmhsa") for seed in range(3)]
    values = [2.0, 2.1, 1.9, 2.05, 2.08, 1.99]
    rows = [done(t["id"], 0.0) | {"scores": {"psnr": value}} for t, value in zip(trials, values, strict=True)]
    study = read_outcomes(write_study(tmp_path / "s", trials, rows, score="psnr"))
    (found,) = verdicts(comparisons(study), study.quantity)
    sd = np.std([0.05, -0.02, 0.09], ddof=1)
    assert [(each.text, each.more) for each in found.resolutions] == [
        ("±0.02 (1.0% of plain)", needed(0.02, sd) - 3),
        ("±0.01 (0.5% of plain)", needed(0.01, sd) - 3),
    ]
    table = next(table for table in study_tables(study) if table.title == "further seeds")
    assert [header.text for header in table.headers][4:] == ["1.0%", "0.5%"]


def test_a_block_is_compared_with_its_controls(tmp_path: Path):
    scores = {
        "plain": [90.0, 91.0, 92.0],
        "hmhsa": [91.0, 92.5, 93.0],
        "hmhsa placebo": [90.0, 90.5, 92.5],
        "hmhsa matched": [91.2, 91.9, 93.3],
    }
    recorded = told(tmp_path / "s", scores, controls=CONTROLS)
    assert list(recorded) == [
        ("hmhsa", "plain"), ("hmhsa placebo", "plain"), ("hmhsa matched", "plain"),
        ("hmhsa", "hmhsa placebo"), ("hmhsa", "hmhsa matched"),
    ]  # fmt: skip
    # An earlier version's folder knows them by their labels.
    assert told(tmp_path / "t", scores) == recorded
    study = read_outcomes(tmp_path / "s")
    placebo = json.loads(render_study(study, "json"))["comparisons"][3]
    assert (placebo["kind"], placebo["pairs"]) == ("placebo", 3)
    # Differences of the seeds: 1.0, 2.0, 0.5.
    assert placebo["diff_mean"] == pytest.approx(3.5 / 3)
    assert placebo["t_low"] == pytest.approx(3.5 / 3 - 4.302653 * math.sqrt(7 / 12) / math.sqrt(3), abs=1e-6)
    page = render_study(study, "html")
    assert "Difference of a block to its controls in percentage points" in page
    assert page.count("<img src=") == 3


def test_a_label_alone_makes_no_control_of_what_is_recorded_as_none(tmp_path: Path):
    scores = {"plain": [90.0, 91.0], "se": [91.0, 92.5], "se placebo": [90.0, 90.5]}
    assert ("se", "se placebo") in told(tmp_path / "old", scores)
    assert ("se", "se placebo") not in told(tmp_path / "new", scores, controls={})


def test_a_refused_recipe_is_a_row_with_its_reason(tmp_path: Path):
    trials = [listed("plain", 0), listed("plain", 0, "other"), listed("hmhsa", 0)]
    refused = [{"variant": "hmhsa", "group": "other, default, digits", "reason": "there is no stage 5"}]
    folder = write_study(tmp_path / "s", trials, [done(t["id"], 90.0) for t in trials], refused=refused)
    study = read_outcomes(folder)
    table = next(table for table in study_tables(study) if table.title.startswith("refused"))
    assert [[cell.text for cell in row.cells] for row in table.rows] == [
        ["hmhsa", "other, default, digits", "", "refused by the network", "there is no stage 5"]
    ]
    for how in ("md", "latex", "html", "json"):
        assert "there is no stage 5" in render_study(study, how)


def test_what_is_said_second_is_folded_and_comes_last(tmp_path: Path):
    study = made(tmp_path / "s", 5)
    folded = [table.folded for table in study_tables(study)]
    assert folded == sorted(folded)
    assert all(not (one and not other) for one, other in pairwise(folded))
    titles = [table.title for table in study_tables(study) if table.folded]
    assert [title.rpartition(": ")[2] for title in titles] == [
        *("other tests, paired by seed", "image by image", "further seeds") * 2,
        "device hours",
    ]


def test_columns_without_a_value_are_not_shown(tmp_path: Path):
    trials = [listed("plain", 0), listed("hmhsa", 0)]
    rows = [done(t["id"], 90.0, memory_bytes=None, epochs=None) for t in trials]
    study = read_outcomes(write_study(tmp_path / "s", trials, rows))
    text = render_study(study, "md")
    assert "Memory" not in text
    assert "|Images|Updates|\n" in text
    assert "t interval" not in text  # of one seed there is none
