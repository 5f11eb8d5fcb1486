"""A study's report: the figures by hand, the same bytes every time, nothing dropped, nothing hostile let through."""

import json
import math
import re
import shutil
from dataclasses import replace

import pytest
from study_folders import bits, done, failed, listed, small_study, trial_id, write_study

from hmhsa_insert.reports.frame import as_records
from hmhsa_insert.reports.study_report import render_study
from hmhsa_insert.reports.study_rows import device_hours, summarise
from hmhsa_insert.reports.study_tables import study_tables
from hmhsa_insert.studies.outcomes import read_outcomes

HOSTILE = "<script>alert(1)</script> & \\input{x} $a_b$ 50% | *x*"


@pytest.fixture
def folder(tmp_path):
    return small_study(tmp_path / "s")


def rows_of(folder):
    return {row["variant"]: row for row in as_records(summarise(read_outcomes(folder)))}


def test_figures_by_hand(folder):
    rows = rows_of(folder)
    assert list(rows) == ["plain", "hmhsa", "placebo"]
    plain, hmhsa, placebo = rows.values()
    assert (plain["top1_mean"], plain["top1_sd"], plain["done"]) == (91.0, 1.0, 3)
    assert plain["diff_mean"] is None
    # Differences of the seeds: 1.0, 1.5, 1.0.
    assert hmhsa["pairs"] == 3
    assert hmhsa["diff_mean"] == pytest.approx(3.5 / 3)
    assert hmhsa["diff_sd"] == pytest.approx(math.sqrt(1 / 12))
    half = 4.302653 * math.sqrt(1 / 12) / math.sqrt(3)
    assert hmhsa["t_low"] == pytest.approx(3.5 / 3 - half, abs=1e-6)
    assert hmhsa["t_high"] == pytest.approx(3.5 / 3 + half, abs=1e-6)
    assert (hmhsa["p"], hmhsa["least_p"]) == (0.25, 0.25)
    # 0.0, -0.5, 0.5: every flip is as far from zero.
    assert (placebo["diff_mean"], placebo["p"]) == (0.0, 1.0)
    # Of 4 images the first three are lost and the last is won: p = 2·(1 + 4) / 2⁴ for every seed.
    assert (hmhsa["lost"], hmhsa["won"], hmhsa["compared"]) == (3, 1, 3)
    assert (hmhsa["mcnemar_low"], hmhsa["mcnemar_high"]) == (pytest.approx(0.625), pytest.approx(0.625))
    assert (hmhsa["delta_num_params"], hmhsa["delta_macs"]) == (pytest.approx(0.1), pytest.approx(0.2))
    assert hmhsa["delta_memory_bytes"] == 0
    assert (hmhsa["images_least"], hmhsa["images_most"], hmhsa["updates_most"]) == (1280, 1280, 40)


def test_lost_and_won_images_by_hand(tmp_path):
    trials = [listed(variant, seed) for variant in ("plain", "hmhsa") for seed in (0, 1)]
    correct = {
        ("plain", 0): [1, 1, 1, 1, 1, 0, 0, 0],
        ("hmhsa", 0): [0, 0, 0, 1, 1, 1, 0, 0],  # loses three, wins one: p = 2·(1 + 4) / 2⁴
        ("plain", 1): [1, 1, 1, 1, 1, 1, 1, 1],
        ("hmhsa", 1): [1, 1, 1, 1, 1, 1, 1, 0],  # loses one: p = 1
    }
    rows = [done(t["id"], 50.0, val_images=8, correct=bits(correct[t["variant"], t["seed"]])) for t in trials]
    row = rows_of(write_study(tmp_path / "s", trials, rows))["hmhsa"]
    assert (row["compared"], row["lost"], row["won"]) == (2, 2.0, 0.5)
    assert (row["mcnemar_low"], row["mcnemar_high"]) == (pytest.approx(0.625), 1.0)


def test_pairs_are_those_of_one_seed_and_one_group(tmp_path):
    trials = [
        listed(variant, seed, model)
        for model in ("a", "b")
        for variant in ("plain", "hmhsa")
        for seed in (0, 1, 2)
    ]
    score = {("a", "plain"): 10.0, ("a", "hmhsa"): 11.0, ("b", "plain"): 50.0, ("b", "hmhsa"): 49.0}
    rows = [done(t["id"], score[t["model"], t["variant"]] + 7 * t["seed"]) for t in trials]
    lost = trial_id("plain", 1, "a")
    folder = write_study(
        tmp_path / "s", trials, [failed(lost, "out of memory") if r["id"] == lost else r for r in rows]
    )
    found = {(row["group"][0], row["variant"]): row for row in as_records(summarise(read_outcomes(folder)))}
    assert list(found) == [("a", "plain"), ("a", "hmhsa"), ("b", "plain"), ("b", "hmhsa")]
    assert (found["a", "hmhsa"]["pairs"], found["a", "hmhsa"]["diff_mean"]) == (2, 1.0)
    assert (found["b", "hmhsa"]["pairs"], found["b", "hmhsa"]["diff_mean"]) == (3, -1.0)
    assert (found["a", "plain"]["done"], found["a", "plain"]["failed"]) == (2, 1)
    text = render_study(read_outcomes(folder), "md")
    assert "2 of 3" in text
    assert "a, default, digits: accuracy" in text
    assert "b, default, digits: accuracy" in text


def test_nothing_is_dropped_in_silence(tmp_path):
    trials = [listed(variant, seed) for variant in ("plain", "hmhsa") for seed in (0, 1)]
    rows = [done(trials[0]["id"], 90.0), failed(trials[2]["id"], "CUDA out of memory")]
    study = read_outcomes(write_study(tmp_path / "s", trials, rows))
    table = next(
        table for table in study_tables(study) if table.title == "refused recipes, failed and pending trials"
    )
    assert [tuple(cell.text for cell in row.cells) for row in table.rows] == [
        ("plain", "1", "pending", "not run to its end yet"),
        ("hmhsa", "0", "failed", "CUDA out of memory"),
        ("hmhsa", "1", "pending", "not run to its end yet"),
    ]
    for how in ("md", "latex", "html", "json"):
        assert "CUDA out of memory" in render_study(study, how)
    hmhsa = as_records(summarise(study))[1]
    assert (hmhsa["planned"], hmhsa["done"], hmhsa["failed"], hmhsa["pending"]) == (2, 0, 1, 1)
    assert hmhsa["top1_mean"] is None
    assert hmhsa["pairs"] == 0


def test_a_study_that_has_not_begun_has_a_report(tmp_path):
    study = read_outcomes(write_study(tmp_path / "s", [listed("plain", 0), listed("hmhsa", 0)], []))
    for how in ("md", "latex", "csv", "json", "html"):
        assert render_study(study, how)


@pytest.mark.parametrize("how", ["md", "latex", "csv", "json", "html"])
def test_two_renderings_are_equal_byte_for_byte_whatever_the_order_of_files(tmp_path, folder, how):
    copy = tmp_path / "copy"
    (copy / "trials").mkdir(parents=True)
    for path in sorted(folder.glob("trials/*"), reverse=True):
        shutil.copytree(path, copy / "trials" / path.name)
    (copy / "trials" / "notes.txt").write_text("not of the study")
    shutil.copy(folder / "study.json", copy)
    first = render_study(read_outcomes(folder), how)
    assert first == render_study(read_outcomes(copy), how) == render_study(read_outcomes(folder), how)


def test_only_device_hours_tell_how_long_it_took(tmp_path, folder):
    before = read_outcomes(folder)
    slow = replace(before, trials=before.trials.assign(seconds=72.0))
    assert render_study(before, "csv") == render_study(slow, "csv")
    tables, others = (study_tables(study, hours=False) for study in (before, slow))
    assert tables == others
    assert study_tables(before)[:-1] == tables
    assert study_tables(before)[-1] != study_tables(slow)[-1]
    # Three trials of 36 s each.
    assert device_hours(before)["hours"].tolist() == pytest.approx([0.03] * 3)
    one, two = (json.loads(render_study(study, "json")) for study in (before, slow))
    assert one.pop("device_hours") != two.pop("device_hours")
    assert one == two


def test_json_and_csv_hold_everything(folder):
    study = read_outcomes(folder)
    data = json.loads(render_study(study, "json"))
    assert [row["variant"] for row in data["rows"]] == ["plain", "hmhsa", "placebo"]
    assert len(data["trials"]) == 9
    assert data["trials"][0]["correct"] == bits([1, 1, 1, 0])
    assert render_study(study, "csv").splitlines()[0].startswith("group,variant,baseline,planned,done")


def test_what_intervals_cover_is_said_for_the_seeds_at_hand(folder):
    text = " ".join(render_study(read_outcomes(folder), "md").split())
    assert "What the 95 % intervals cover with 3 pairs, simulated without effect: t 94.3% (" in text
    assert "BCa 71.8% (" in text
    assert "0.250" in text
    assert "**" not in text.replace("\\*", "")  # no stars


def test_unequal_training_is_told(tmp_path):
    trials = [listed(variant, seed) for variant in ("plain", "hmhsa") for seed in (0, 1)]
    rows = [done(t["id"], 90.0, images=1280 if t["variant"] == "plain" else 2560) for t in trials]
    text = render_study(read_outcomes(write_study(tmp_path / "s", trials, rows)), "md")
    assert "Not trained alike: hmhsa (net, default, digits) has other images than the baseline" in " ".join(
        text.split()
    )


def test_a_group_without_its_baseline_says_so(tmp_path):
    trials = [listed("plain", 0), listed("hmhsa", 0), listed("hmhsa", 0, "other")]
    study = read_outcomes(write_study(tmp_path / "s", trials, [done(t["id"], 90.0) for t in trials]))
    assert "other, default, digits: no baseline, so there are no differences" in " ".join(
        render_study(study, "md").split()
    )


def test_networks_on_other_images_are_not_compared_image_by_image(tmp_path):
    trials = [listed("plain", 0), listed("hmhsa", 0)]
    rows = [done(trials[0]["id"], 90.0), done(trials[1]["id"], 91.0, val_images=5, correct=bits([1] * 5))]
    study = read_outcomes(write_study(tmp_path / "s", trials, rows))
    assert as_records(summarise(study))[1]["compared"] == 0
    assert not any(table.title == "image by image" for table in study_tables(study))


def test_hostile_names_are_text(tmp_path):
    trials = [listed("plain", 0), listed(HOSTILE, 0), listed(HOSTILE, 1)]
    rows = [done(t["id"], 90.0) for t in trials[:2]] + [failed(trials[2]["id"], HOSTILE)]
    more = {"name": HOSTILE, "intent": HOSTILE, "notes": [HOSTILE]}
    study = read_outcomes(write_study(tmp_path / "s", trials, rows, **more))
    html = render_study(study, "html")
    assert "<script>alert" not in html
    assert "&lt;script&gt;alert" in html
    lines = render_study(study, "latex").split("\n")
    latex = "\n".join(line for line in lines if not line.startswith("%"))
    assert r"\input{x}" not in latex
    assert r"\textbackslash{}input\{x\} \$a\_b\$ 50\%" in latex
    # In a fenced block everything is literal, and no line of these ends one.
    text = re.sub(r"(?ms)^(`{3,})\n.*?^\1$", "", render_study(study, "md"))
    assert "```" not in text
    assert "<script>" not in text.replace("\\<", "")


def test_the_page_has_both_plots(folder):
    html = render_study(read_outcomes(folder), "html")
    assert html.count("<img src=") == 2
    assert "Difference to the baseline in percentage points" in html
    assert "Accuracy against multiply–accumulates" in html


def test_a_page_of_many_variants_shows_the_largest_differences(tmp_path):
    trials = [
        listed(variant, seed) for variant in ("plain", *(f"v{i}" for i in range(70))) for seed in (0, 1)
    ]
    rows = [done(t["id"], 50.0 + i % 41) for i, t in enumerate(trials)]
    assert "the 60 largest of 70" in render_study(
        read_outcomes(write_study(tmp_path / "s", trials, rows)), "html"
    )
