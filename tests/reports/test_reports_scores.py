"""Scores of any task: compared in studies, reported of runs, whether a row describes them or not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from report_records import RECORDS, run, texts, training
from study_folders import done, failed, listed, write_study

from hmhsa_insert.quantities import QUANTITIES, score
from hmhsa_insert.quantity import SCORES, SHARE, Quantity
from hmhsa_insert.reports.frame import as_records, tidy
from hmhsa_insert.reports.problems import ReportError
from hmhsa_insert.reports.render import render, report_tables
from hmhsa_insert.reports.sources import load_records
from hmhsa_insert.reports.study_report import render_study
from hmhsa_insert.reports.study_rows import summarise
from hmhsa_insert.reports.study_tables import study_tables
from hmhsa_insert.studies.outcomes import read_outcomes
from hmhsa_insert.studies.problems import StudyError


def detectors(folder: Path, name: str = "box_ap", **more: Any) -> Path:
    """Write a study of detectors: of three seeds one of the variant found nothing."""
    reached = {"plain": [0.30, 0.31, 0.32], "hmhsa": [0.312, 0.32, None]}
    trials = [listed(variant, seed) for seed in range(3) for variant in reached]
    unknown = dict.fromkeys(("top1", "top5", "loss", "best_top1", "correct"))
    rows: list[dict[str, Any]] = [
        done(t["id"], 0.0) | unknown | {"scores": {name: reached[t["variant"]][t["seed"]], "other": 1}}
        for t in trials
    ]
    return write_study(folder, trials, rows, score=name, **more)


def test_a_study_of_detectors_compares_average_precision(tmp_path: Path):
    study = read_outcomes(detectors(tmp_path / "s"))
    assert study.score == "box_ap"
    _, verdict, reached, cost, _, difference, *_ = study_tables(study)
    assert texts(verdict)[1] == ["hmhsa", "plain", "2", "+1.10", "-0.17 … +2.37", "no evidence"]
    assert texts(reached) == [
        ["Variant", "Seeds", "AP ± sd", "Δ AP", "95 % t interval"],
        ["plain", "3", "31.00 ± 1.00", "baseline", ""],
        ["hmhsa", "3", "31.60 ± 0.57", "+1.10", "-0.17 … +2.37"],
    ]
    assert reached.title == "average precision"
    assert reached.notes == (
        "AP: COCO's average precision of boxes in percent, mean and standard deviation over seeds",
        "Δ AP: mean over seeds of the variant less the baseline of the same seed, in percentage points",
    )
    assert texts(difference)[1][:4] == ["hmhsa", "plain", "2", "+1.10"]
    assert cost.title == "cost"
    assert not [table for table in study_tables(study) if table.title == "image by image"]
    rows = as_records(summarise(study))
    assert rows[0]["box_ap_mean"] == pytest.approx(0.31)
    assert rows[1]["diff_mean"] == pytest.approx(0.011)
    page = render_study(study, "html")
    assert "Average precision against multiply–accumulates" in page
    assert "Top-1" not in page
    assert render_study(study, "csv").splitlines()[0].split(",")[7:9] == ["box_ap_mean", "box_ap_sd"]


def test_a_failed_trial_of_detectors_has_no_score(tmp_path: Path):
    trials = [listed("plain", 0), listed("hmhsa", 0)]
    rows = [failed(t["id"], "out of memory") | {"scores": None, "costs": None} for t in trials]
    study = read_outcomes(write_study(tmp_path / "s", trials, rows, score="box_ap"))
    assert texts(study_tables(study)[2])[1] == ["plain", "0 of 1", "", "baseline", ""]


def test_a_study_compares_a_score_that_nobody_described(tmp_path: Path):
    study = read_outcomes(detectors(tmp_path / "s", "tiou"))
    _, _, reached, *_ = study_tables(study)
    assert reached.title == "tiou"
    assert texts(reached)[1:] == [
        ["plain", "3", "0.31 ± 0.01", "baseline", ""],
        ["hmhsa", "3", "0.316 ± 0.005657", "+0.011", "-0.00171 … +0.0237"],
    ]
    assert reached.notes[0] == "tiou: mean and standard deviation over seeds"
    assert "percentage points" not in render_study(study, "md")
    assert json.loads(render_study(study, "json"))["trials"][0]["tiou"] == 0.30


def test_a_study_without_its_score_is_damaged(tmp_path: Path):
    folder = detectors(tmp_path / "s")
    content = json.loads((folder / "study.json").read_text())
    for name, message in (
        ("mask_ap", "it has no score 'mask_ap'"),
        ("seed", "'score' must be a score's name"),
    ):
        (folder / "study.json").write_text(json.dumps(content | {"score": name}))
        with pytest.raises(StudyError, match=message):
            read_outcomes(folder)
    (folder / "study.json").write_text(json.dumps({key: content[key] for key in content if key != "score"}))
    with pytest.raises(StudyError, match="it has no score 'top1'"):
        read_outcomes(folder)


def write_run(folder: Path, scores: dict[str, Any], recipe: str | None = None, net: str = "resnet18") -> Path:
    """Write the run of a task that no other code knows."""
    folder.mkdir()
    config = {
        "task": "segment_streets",
        "model": net,
        "recipe": {"name": recipe} if recipe else None,
        "settings": {"input_size": 64},
        "data": {"source": "streets", "val": 500},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    result = {"num_params": 12_345_678, "macs_modules_only": 4_000_000_000, "scores": scores}
    (folder / "result.json").write_text(json.dumps(result))
    return folder


def test_runs_of_a_task_that_nobody_described_are_reported(tmp_path: Path):
    runs = [
        write_run(tmp_path / "a", {"tiou": 0.5, "loss": 1.25}),
        write_run(tmp_path / "b", {"tiou": 0.5123, "loss": 1.0}, "stage3"),
        write_run(tmp_path / "c", {"height": 3}, net="resnet10t"),
    ]
    records = [*RECORDS, *load_records(runs)]
    first, streets, odd, *_ = report_tables(records, title="All")
    assert len(first.rows) == 3
    assert streets.title == "All · tiou, loss"
    assert texts(streets) == [
        ["Method", "#Params", "Layer MACs", "tiou", "loss", "Δ tiou", "Δ loss"],
        ["resnet18", "12.3M", "4.00G", "0.5", "1.25", "", ""],
        ["resnet18 + stage3", "12.3M", "4.00G", "0.512", "1", "+0.0123", "-0.25"],
    ]
    assert "Scores of our runs: on streets, 500 images" in streets.shown().notes
    # The name of another column is not a score's.
    assert texts(odd)[0][3] == "score_height"
    assert texts(odd)[1][3] == "3"
    rows = json.loads(render(records, "json"))["rows"]
    assert [row["height"] for row in rows if row["tiou"]] == [64, 64]
    assert [row["delta_tiou"] for row in rows if row["tiou"]] == [None, pytest.approx(0.0123)]
    assert "tiou" in run(f"report {tmp_path}/a --columns all --format md").output
    assert "tiou" not in run("report --published --columns all --format md").output


def test_known_scores_may_be_among_the_scores_of_a_run(tmp_path: Path):
    folder = write_run(tmp_path / "a", {"top1": 71.5})
    assert as_records(tidy(load_records([folder])))[0]["top1"] == 71.5
    (folder / "result.json").write_text(json.dumps({"scores": {"tiou": "high"}}))
    with pytest.raises(ReportError, match=r"'scores\.tiou' must be a number, found 'high'"):
        load_records([folder])


def test_a_described_score_is_written_as_its_row_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    row = Quantity(
        "tiou",
        "tIoU",
        path=("scores", "tiou"),
        kind=SHARE,
        unit=0.01,
        digits=1,
        delta="absolute",
        section=SCORES,
    )
    monkeypatch.setitem(QUANTITIES, "tiou", row)
    assert score("tiou") is row
    runs = [training(n, None, group="a", scores={"tiou": v}) for n, v in (("a", 0.5), ("b", 0.5123))]
    (table,) = report_tables(runs, columns=["method", "tiou", "delta_tiou"])
    assert texts(table)[1:] == [["a", "50.0", ""], ["b", "51.2", "+1.2"]]
    assert "in percentage points" in table.shown().notes[0]
    (table,) = report_tables(runs)
    assert table.title == "tIoU"
    assert texts(table)[2] == ["b", "", "", "51.2", "+1.2"]
    _, _, reached, cost, *_ = study_tables(read_outcomes(detectors(tmp_path / "s", "tiou")))
    assert texts(reached)[1][2] == "31.00 ± 1.00"
    assert "tIoU" not in texts(cost)[0]
