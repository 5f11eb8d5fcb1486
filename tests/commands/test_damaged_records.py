"""Damaged and odd records: one line with the file and the key, from every command that reads them."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from command_line import error_of
from safetensors.torch import save_file

from hmhsa_insert.files.shapes import checked
from hmhsa_insert.training.loop.progress import SavedPlace
from hmhsa_insert.training.problems import RunError

sys.path.insert(0, str(Path(__file__).parents[1] / "reports"))

from study_folders import small_study

DEEP = "[" * 100_000
WHOLE = {"kind": "training", "name": "n", "group": "n", "input_size": [3, 64, 64], "top1": 50.0}
SHORT = {"kind": "profile"}


def lines_of(report: str) -> list[str]:
    """Return the lines of a report below its heading, tips left out."""
    return [line.strip() for line in report.splitlines()[1:] if line.startswith("  ") and line[2] != " "]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "r.json:1:1: it is damaged: it is empty"),
        (DEEP, "r.json: it is damaged: values are nested more than 64 deep"),
        ("3", "r.json: holds no record of a profile or a training run"),
        (SHORT, "r.json: it is damaged: 'name' is missing; 'input_size' is missing"),
        (
            {**WHOLE, "input_size": [3, "\u0000", 64]},
            "r.json: it is damaged: 'input_size.1' must be an integer, ",
        ),
        ({**WHOLE, "input_size": 224}, "r.json: it is damaged: 'input_size' must be a list, found 224"),
        (
            {**WHOLE, "num_params": "25M"},
            "r.json: it is damaged: 'num_params' must be an integer, found '25M'",
        ),
        (
            {**WHOLE, "num_params": 1.5},
            "r.json: it is damaged: 'num_params' must be an integer, found 1.5",
        ),
        ({**WHOLE, "top1": "71.5"}, "r.json: it is damaged: 'top1' must be a number, found '71.5'"),
        ({**WHOLE, "box": [0.3]}, "r.json: it is damaged: 'box' must be a mapping, found [0.3]"),
        ({**WHOLE, "memory": 12}, "r.json: it is damaged: 'memory' must be a mapping, found 12"),
        ({**WHOLE, "environment": {"cpu": "x"}}, "r.json: it is damaged: 'environment.device' is missing; "),
        (json.dumps(WHOLE) + "\n" + json.dumps(WHOLE), "r.json:2:1: it is damaged: extra data"),
        (json.dumps({**WHOLE, "top1": float("nan")}), "r.json: it is damaged: NaN is not a finite number"),
    ],
)
def test_a_record_of_a_stranger(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: Any, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("r.json").write_text(content if isinstance(content, str) else json.dumps(content))
    for how in ("table", "md", "html"):
        (line,) = lines_of(error_of(f"report r.json --format {how}"))
        assert line.startswith(said)


CONFIG = {
    "model": "timm/test_resnet", "recipe": None, "seed": 0, "settings": {"input_size": 32},
    "data": {"source": "digits", "val": 10, "classes": 10, "channels": 1, "fingerprint": ""},
}  # fmt: skip


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("config.yaml", "a: 2024-13-45", "'model' is missing; 'recipe' is missing; 'data' is missing; and "),
        ("config.yaml", DEEP, "nested more than"),
        ("config.yaml", json.dumps({**CONFIG, "model": [1]}), "'model' must be text, found [1]"),
        ("config.yaml", json.dumps({**CONFIG, "data": None}), "'data' must be a mapping, found None"),
        ("config.yaml", f"model: {'9' * 5000}", "too many digits"),
        ("result.json", DEEP, "nested more than 64 deep"),
        ("result.json", "null", "'it' must be a mapping, found None"),
        ("result.json", '{"top1": "x"}', "'top1' must be a number, found 'x'"),
        ("result.json", '{"top1": 101}', "'top1' must be at most 100, found 101"),
    ],
)
def test_a_run_of_a_stranger(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, content: str, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("run").mkdir()
    Path("run/config.yaml").write_text(json.dumps(CONFIG))
    Path("run/result.json").write_text('{"top1": 50.0}')
    Path("run", file).write_text(content)
    (line,) = lines_of(error_of("report run"))
    assert line.startswith(f"run/{file}")
    assert said in line
    if file == "config.yaml":
        (line,) = lines_of(error_of("evaluate run"))
        assert line.startswith(f"run/{file}")
        assert said in line


def test_a_run_names_every_class_or_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("run").mkdir()
    config = {**CONFIG, "data": {**CONFIG["data"], "class_names": ["a"]}}
    Path("run/config.yaml").write_text(json.dumps(config))
    (line,) = lines_of(error_of("evaluate run"))
    assert line == "run/config.yaml: it is damaged: 'class_names' must be 10 names, found 1"


@pytest.mark.parametrize(
    "content", ["null", "{}", "[]", "[1]", '"x"', DEEP, "", '{"id": 3}', '{"status": "done"}']
)
def test_a_trial_of_a_stranger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str) -> None:
    monkeypatch.chdir(tmp_path)
    small_study(Path("s"))
    trial = min(Path("s/trials").iterdir())
    (trial / "trial.json").write_text(content)
    (line,) = lines_of(error_of("report s"))
    assert line.startswith(f"{trial}/trial.json")
    Path("s/study.json").write_text(content)
    (line,) = lines_of(error_of("report s"))
    assert line.startswith("s/study.json")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, None),
        ({"epoch": "1"}, "'progress.epoch' must be an integer, found '1'"),
        ({"history": 3}, "'progress.history' must be a list, found 3"),
        (
            {"best": {"score": 1.0, "epoch": 1, "weights": "x"}},
            "'progress.best.weights' must be 'model' or 'ema', found 'x'",
        ),
        ({"sums": []}, "'progress.sums' must be a list of 1 or more, found []"),
        ({"damaged": torch.zeros(2)}, "'progress.damaged' must be a list, found tensor([0., 0.])"),
    ],
)
def test_a_place_in_a_checkpoint(changes: dict[str, Any], said: str | None) -> None:
    best = {"score": -1.0, "epoch": 0, "weights": "model"}
    place = {
        "epoch": 1,
        "update": 0,
        "total": 4,
        "history": [{"epoch": 1, "x": None}],
        "best": best,
        "damaged": [],
    }
    saved = {"progress": {**place, "sums": [{}], **changes}, "average": {}}
    if said is None:
        checked(SavedPlace, saved, "run.pt", RunError)
        return
    with pytest.raises(RunError) as caught:
        checked(SavedPlace, saved, "run.pt", RunError)
    (problem,) = caught.value.problems
    assert (problem.where, problem.message) == ("run.pt", f"it is damaged: {said}")


def test_names_longer_than_any_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    long = "x" * 3000
    Path("study.yaml").write_text(
        f"version: 1\nmodels: test_resnet\ndata: {long}\nvariants: {{a: {long}.yaml}}\n"
    )
    Path("n.txt").write_text(f"timm/test_resnet {'9' * 5000}x1\n")
    for line in (
        "ablate study.yaml --dry-run",
        f"report {long}",
        f"evaluate {long} --data {long}",
        "zoo --networks n.txt",
    ):
        assert lines_of(error_of(line))
    assert os.listdir() == ["study.yaml", "n.txt"] or set(os.listdir()) == {"study.yaml", "n.txt"}


LEAST = {"epochs": 1, "batch_size": 120, "input_size": 32}
RECIPE = {"version": 1, "name": "r", "edits": [{"op": "insert", "id": "__class__", "at": {"stage": 3}}]}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"settings": {**LEAST, "input_size": 0}},
            "settings.input_size: 'input_size' must be 8 or more, found 0",
        ),
        (
            {"settings": LEAST, "recipe": RECIPE},
            "recipe.edits[0].id: 'id' must be a letter, then letters, digits or underscores, found '__class__'",
        ),
    ],
)
def test_the_configuration_of_a_run_names_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("run").mkdir()
    Path("run/config.yaml").write_text(json.dumps(CONFIG | changes))
    save_file({"head": torch.zeros(10)}, "run/best.safetensors")
    assert f"run/config.yaml: {said}" in lines_of(error_of("evaluate run"))
