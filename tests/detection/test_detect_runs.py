"""Detectors on the training loop: the run folder, a run killed and gone on with, pairing, evaluation, errors."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from detect_nets import BACKBONE, RECIPE, SETTINGS, make, planned, train
from typer.testing import CliRunner

import hmhsa_insert as hi
from hmhsa_insert.commands import app
from hmhsa_insert.detection.coco_data import open_coco
from hmhsa_insert.detection.evaluation import DETECTIONS
from hmhsa_insert.detection.loader import mirrored
from hmhsa_insert.detection.metric import NAMES, average_precision
from hmhsa_insert.detection.plan_run import plan_detection
from hmhsa_insert.errors import ModelError
from hmhsa_insert.training import read_config, read_result
from hmhsa_insert.training.problems import DataError, RunError, SettingsError
from hmhsa_insert.training.score import candidate, score
from hmhsa_insert.training.settings import load_settings, shipped_settings

HERE = Path(__file__).parent
KINDS = {"detect": ("box",), "segment": ("box", "mask")}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("data") / "shapes")


@pytest.fixture(scope="module", params=KINDS)
def run(
    request: pytest.FixtureRequest, data: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Path]:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("runs") / request.param
    train(data, folder, request.param, recipe=RECIPE)
    return request.param, folder


def drive(*arguments: object) -> int:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(HERE), *sys.path]), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(HERE / "detect_nets.py"), *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False).returncode


def test_the_folder_says_everything(run: tuple[str, Path], data: Path) -> None:
    task, folder = run
    config, result = read_config(folder), read_result(folder)
    assert result is not None
    assert (config["task"], config["detector"]) == (
        task,
        {"detect": "retinanet", "segment": "maskrcnn"}[task],
    )
    assert (result.task, config["task"], result.weights) == (task, task, "ema")
    assert (result.epochs, result.updates, result.images) == (2, 4, 16)
    assert (result.mask is None) == (task == "detect")
    metrics = pd.read_csv(folder / "metrics.csv")
    for kind in KINDS[task]:
        scores = getattr(result, kind)
        assert tuple(scores) == NAMES
        for name in NAMES:
            written = metrics[f"ema_{kind}_{name}"].iloc[-1]
            assert scores[name] == (None if pd.isna(written) else written)
    assert metrics["train_loss"].iloc[1] < metrics["train_loss"].iloc[0]
    parts = {
        "detect": {"classification", "bbox_regression"},
        "segment": {"classifier", "box_reg", "mask", "objectness"},
    }
    told = sum(metrics[f"train_{name}"] for name in parts[task])
    if task == "detect":
        assert told.tolist() == pytest.approx(metrics["train_loss"].tolist(), rel=1e-5)
    assert (folder / "curves.png").read_bytes()[:4] == b"\x89PNG"
    # What is in predictions.json is what was scored.
    written = json.loads((folder / DETECTIONS).read_text())
    val = open_coco(data, masks=task == "segment").val
    for kind in KINDS[task]:
        assert average_precision(val, written, kind) == getattr(result, kind)


def test_scored_again_it_is_the_same(run: tuple[str, Path]) -> None:
    _, folder = run
    result = read_result(folder)
    assert result is not None
    found = score(candidate(folder, checkpoint="ema"))
    assert found.box == result.box
    assert found.mask == result.mask
    found = score(candidate(folder))
    best = found.mask if found.mask is not None else found.box
    assert best["AP"] == result.best


def test_the_artifact_is_the_best_weights(run: tuple[str, Path], data: Path) -> None:
    _, folder = run
    image = torch.rand(3, 48, 64)
    stored = hi.load(folder / "artifact").eval()
    rebuilt = candidate(folder, data).model.eval()
    with torch.no_grad():
        one, other = stored([image])[0], rebuilt([image])[0]
    assert one.keys() == other.keys()
    for key in one:
        assert torch.equal(one[key], other[key])


def test_evaluate_prints_a_table_and_writes_detections(
    run: tuple[str, Path], data: Path, tmp_path: Path
) -> None:
    task, folder = run
    output = tmp_path / "found.json"
    done = CliRunner(env={"COLUMNS": "80"}).invoke(app, ["evaluate", str(folder), "-o", str(output)])
    assert done.exit_code == 0, done.output
    assert "boxes" in done.output
    assert ("masks" in done.output) == (task == "segment")
    assert all(len(line) <= 80 for line in done.output.splitlines() if "boxes" in line)
    again = CliRunner().invoke(app, ["evaluate", str(folder / "artifact"), "--data", str(data), "--json"])
    assert again.exit_code == 0, again.output
    (row,) = json.loads(again.output)
    assert row["images"] == 2
    split = open_coco(data, masks=task == "segment").val
    assert row["box"] == average_precision(split, json.loads(output.read_text()), "box")


@pytest.mark.long
@pytest.mark.parametrize("task", ["detect", "segment"])
def test_killed_and_gone_on_with_it_ends_the_same(data: Path, tmp_path: Path, task: str) -> None:
    assert drive(data, tmp_path / "whole", task, 0) == 0
    assert drive(data, tmp_path / "killed", task, 3) == -9
    assert read_result(tmp_path / "killed") is None
    assert drive(data, tmp_path / "killed", task, 0) == 0
    for name in (
        "metrics.csv",
        DETECTIONS,
        "result.json",
        "last.safetensors",
        "ema.safetensors",
        "best.safetensors",
    ):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name
    # A run that could not differ would make this test worthless.
    train(data, tmp_path / "other", task, recipe=RECIPE, seed=1)
    assert (tmp_path / "other" / "last.safetensors").read_bytes() != (
        tmp_path / "whole" / "last.safetensors"
    ).read_bytes()


def test_with_and_without_a_recipe_all_else_begins_alike(data: Path) -> None:
    plain, edited = planned(data).build(), planned(data, recipe=RECIPE).build()
    shared = plain.model.state_dict()
    state = edited.model.state_dict()
    assert len(state) > len(shared)
    for key, value in shared.items():
        assert torch.equal(value, state[key]), key
    images = [torch.rand(3, 64, 48)]
    with torch.no_grad():
        one, other = plain.model.eval()(images)[0], edited.model.eval()(images)[0]
    assert all(torch.equal(one[key], other[key]) for key in one)
    assert {name for name in edited.fresh if "attn" in name}
    assert not any(name.startswith("backbone.body.") and "attn" not in name for name in edited.fresh)
    other_seed = planned(data, seed=1).build().model.state_dict()
    assert not torch.equal(
        other_seed["head.regression_head.bbox_reg.weight"], shared["head.regression_head.bbox_reg.weight"]
    )


def test_mirrored_boxes_are_those_of_mirrored_masks(data: Path) -> None:
    split = open_coco(data, masks=True).train
    index = next(i for i in range(len(split)) if len(split.target(i)["boxes"]))
    image = torch.rand(3, *split.target(index)["masks"].shape[1:])
    turned, target = mirrored(image, split.target(index))
    assert torch.equal(turned[:, :, 0], image[:, :, -1])
    for (left, top, right, bottom), mask in zip(target["boxes"].tolist(), target["masks"], strict=True):
        rows, columns = (mask.any(axis).nonzero() for axis in (1, 0))
        assert [int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1] == [
            left,
            top,
            right,
            bottom,
        ]
    again = mirrored(turned, target)
    assert torch.equal(again[0], image)
    assert torch.equal(again[1]["boxes"], split.target(index)["boxes"])


def test_a_damaged_image_is_named_and_the_run_goes_on(tmp_path: Path) -> None:
    root = make(tmp_path / "set")
    for path in ("images/train/000002.jpg", "images/val/000001.jpg"):
        (root / path).write_bytes(b"no image")
    result = train(root, tmp_path / "run", settings={"epochs": 1})
    assert result.damaged == ("000002.jpg",)
    assert {each["image_id"] for each in json.loads((tmp_path / "run" / DETECTIONS).read_text())} <= {2}
    with pytest.raises(DataError, match="cannot be read"):
        train(root, tmp_path / "strict", settings={"epochs": 1, "loader": {"workers": 0, "corrupt": "error"}})


def test_another_task_is_another_run_and_results_are_not_mistaken(run: tuple[str, Path], data: Path) -> None:
    task, folder = run
    other = "segment" if task == "detect" else "detect"
    with pytest.raises(RunError, match=f"task is {task} in this run, and {other} was asked for"):
        train(data, folder, other, recipe=RECIPE)
    assert read_result(folder).task == task


def test_python_takes_detectors_as_it_takes_classifiers(
    run: tuple[str, Path], data: Path, tmp_path: Path
) -> None:
    task, folder = run
    size = ["detector.min_size=64", "detector.max_size=64"]
    found = hi.evaluate(hi.load(folder / "artifact"), data, overrides=size)
    of_run = hi.evaluate(folder, data)
    assert (found.box, found.mask) == (of_run.box, of_run.mask)
    options = {
        "detector": "retinanet" if task == "detect" else "maskrcnn",
        "settings": planned(data, task).settings,
    }
    again = hi.train(BACKBONE, data, task=task, recipe=RECIPE, folder=tmp_path / "run", **options)
    assert again.scores == read_result(folder).scores


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"detector": "retinanett"}, ModelError, "did you mean 'retinanet'"),
        ({"detector": "maskrcnn"}, ModelError, "makes masks, which does not fit the task detect"),
        ({"task": "segment", "detector": "retinanet"}, ModelError, "makes no masks"),
        ({"settings": SETTINGS | {"input_size": 64}}, SettingsError, "unknown key 'input_size'"),
        (
            {"settings": SETTINGS | {"detector": {"max_size": 64}}},
            SettingsError,
            "64 is less than min_size 800",
        ),
        ({"settings": "coco_2x"}, SettingsError, "did you mean 'coco_1x'"),
        ({"overrides": ["detector.min_sise=64"]}, SettingsError, "did you mean 'min_size'"),
    ],
)
def test_what_does_not_fit_is_said(data: Path, options: dict[str, Any], error: Any, message: str) -> None:
    given: dict[str, Any] = {"settings": SETTINGS, **options}
    with pytest.raises(error) as caught:
        plan_detection(BACKBONE, data, **given)
    assert message in str(caught.value)


def test_other_categories_are_refused_by_evaluate(run: tuple[str, Path], tmp_path: Path) -> None:
    root = make(tmp_path / "set")
    for split in ("train", "val"):
        path = root / "annotations" / f"instances_{split}.json"
        path.write_text(path.read_text().replace('"name": "ring"', '"name": "donut"'))
    with pytest.raises(DataError, match="2 donut"):
        candidate(run[1], root)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("train", BACKBONE, "--task", "detect"), "the folder of a data set is needed"),
        (("train", BACKBONE, "--detector", "retinanet"), "the task 'classify' does not use it"),
        (("evaluate", BACKBONE, "-o", "x.json"), "the task 'classify' does not use it"),
    ],
)
def test_the_commands_say_what_is_missing(arguments: tuple[str, ...], message: str) -> None:
    done = CliRunner(env={"COLUMNS": "200"}).invoke(app, arguments)
    assert done.exit_code == 1
    assert message in done.output


def test_the_authors_settings() -> None:
    from hmhsa_insert.detection.schema import DetectSettings

    settings = load_settings("coco_1x", kind=DetectSettings)
    assert (settings.epochs, settings.batch_size, settings.lr) == (12, 16, 1e-4)
    assert settings.schedule.milestones == (8, 11)
    assert (settings.detector.min_size, settings.detector.max_size) == (800, 1333)
    assert settings.optimizer.weight_decay == 1e-4
    assert load_settings("coco_1x", ["batch_size=8"], kind=DetectSettings).lr == 5e-5
    assert {"coco_1x", "shapes"} <= shipped_settings().keys()
