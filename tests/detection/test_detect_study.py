"""Detectors in studies: variants of a backbone compared by average precision."""

import json
from pathlib import Path
from typing import Any

import pytest
from detect_nets import BACKBONE, RECIPE, SETTINGS, make
from typer.testing import CliRunner

import hmhsa_insert as hi
from hmhsa_insert.commands import app
from hmhsa_insert.studies.problems import StudyError
from hmhsa_insert.studies.study_file import load_study

STUDY: dict[str, Any] = {
    "version": 1,
    "name": "objects",
    "task": "detect",
    "detector": "retinanet",
    "models": {"net": BACKBONE},
    "seeds": 2,
    "settings": {"quick": SETTINGS | {"epochs": 1, "ema": None}},
    "variants": {"plain": None, "attn": {"edits": RECIPE["edits"]}},
}


def test_detectors_are_ablated(tmp_path: Path) -> None:
    data = make(tmp_path / "set")
    done = hi.ablate(STUDY | {"data": str(data)}, tmp_path / "study")
    assert done.count("done") == 4
    for outcome, trial in zip(done.outcomes.values(), done.planned.trials, strict=True):
        folder = tmp_path / "study" / "trials" / trial.id
        assert outcome.score == json.loads((folder / "result.json").read_text())["scores"]["box_ap"]
    said = CliRunner(env={"COLUMNS": "160"}).invoke(
        app, ["report", str(tmp_path / "study"), "--format", "json"]
    )
    plain, attn = json.loads(said.output)["rows"]
    scores = [outcome.score or 0.0 for outcome in done.outcomes.values()]
    assert plain["box_ap_mean"] == pytest.approx(sum(scores[:2]) / 2)
    assert attn["diff_mean"] == pytest.approx((sum(scores[2:]) - sum(scores[:2])) / 2)
    assert attn["num_params"] > plain["num_params"]
    table = CliRunner(env={"COLUMNS": "160"}).invoke(app, ["report", str(tmp_path / "study")]).output
    assert "AP ± sd" in table
    assert "Top-1" not in table
    assert "McNemar" not in table


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"task": "detekt"}, "study.task: there is no task 'detekt' (did you mean 'detect'?"),
        ({"task": "classify"}, "study.detector: the task 'classify' does not use it"),
    ],
)
def test_what_does_not_fit_is_said_with_its_place(changes: dict[str, str], message: str) -> None:
    with pytest.raises(StudyError) as caught:
        load_study(STUDY | {"data": "shapes"} | changes)
    assert message in str(caught.value)
