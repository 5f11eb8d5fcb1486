"""Segmenters on the training loop: the run folder, a run killed and gone on with, evaluation, errors."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from seg_nets import BACKBONE, RECIPE, SETTINGS, make, planned, train
from typer.testing import CliRunner

import hmhsa_insert as hi
from hmhsa_insert.commands import app
from hmhsa_insert.errors import ModelError
from hmhsa_insert.segmentation.open_masks import open_masks
from hmhsa_insert.segmentation.schema import SemanticSettings
from hmhsa_insert.training import read_config, read_result
from hmhsa_insert.training.problems import DataError, RunError, SettingsError
from hmhsa_insert.training.score import candidate, score
from hmhsa_insert.training.settings import load_settings

HERE = Path(__file__).parent
CLASSES = ("background", "circle", "ring", "square", "triangle", "star")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("data") / "shapes")


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("runs") / "run"
    train(data, folder, recipe=RECIPE)
    return folder


def drive(*arguments: object) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(HERE), *sys.path]), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(HERE / "seg_nets.py"), *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_the_folder_says_everything(run: Path) -> None:
    config, result = read_config(run), read_result(run)
    assert (config["task"], config["decoder"]) == ("semantic", "semantic_fpn")
    assert (result.task, result.weights) == ("semantic", "ema")
    assert (result.epochs, result.updates, result.images) == (2, 4, 16)
    assert tuple(config["data"]["class_names"]) == CLASSES
    metrics = pd.read_csv(run / "metrics.csv")
    for name in ("mIoU", "mDice", "pixel_accuracy"):
        assert result.scores[name.lower()] == metrics[f"ema_{name}"].iloc[-1]
    assert (result.miou, result.mdice) == (result.scores["miou"], result.scores["mdice"])
    assert metrics["train_loss"].iloc[1] < metrics["train_loss"].iloc[0]
    assert metrics["train_pixel_accuracy"].between(0, 1).all()
    table = pd.read_csv(run / "per_class.csv")
    assert tuple(table["class"]) == CLASSES
    assert table["iou"].mean() == pytest.approx(result.miou)


def test_scored_again_it_is_the_same_and_the_confusion_holds_every_pixel(run: Path, data: Path) -> None:
    result = read_result(run)
    found = score(candidate(run, checkpoint="ema"))
    assert found.row == {"mIoU": result.miou, "mDice": result.mdice, "pixel_accuracy": result.pixel_accuracy}
    val = open_masks(str(data)).val
    labels = np.concatenate([val.pair(index)[1].ravel() for index in range(len(val))])
    assert found.confusion.sum(axis=1).tolist() == np.bincount(labels, minlength=6).tolist()
    assert score(candidate(run)).row["mIoU"] == result.best


def test_the_artifact_is_the_best_weights(run: Path, data: Path) -> None:
    image = torch.rand(1, 3, 37, 53)
    stored, rebuilt = hi.load(run / "artifact").eval(), candidate(run, data).model.eval()
    with torch.no_grad():
        assert torch.equal(stored(image), rebuilt(image))
        assert stored(image).shape == (1, 6, 37, 53)
    found = hi.evaluate(run / "artifact", data)
    assert found.row == score(candidate(run)).row


def test_evaluate_prints_the_classes(run: Path, data: Path, tmp_path: Path) -> None:
    picture = tmp_path / "confusion.png"
    arguments = ["evaluate", str(run), "--confusion", str(picture)]
    done = CliRunner(env={"COLUMNS": "80"}).invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert "mIoU %" in done.output
    assert all(name in done.output for name in CLASSES)
    assert all(len(line) <= 80 for line in done.output.splitlines() if "." in line and "/" not in line)
    assert picture.read_bytes()[:4] == b"\x89PNG"
    (row,) = json.loads(CliRunner().invoke(app, ["evaluate", str(run), "--json"]).output)
    assert row["miou"] == read_result(run).best
    assert row["per_class"]["circle"]["pixels"] == sum(row["confusion"][1])


@pytest.mark.long
def test_killed_and_gone_on_with_it_ends_the_same(run: Path, data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "killed"
    killed = drive(data, folder, "semantic_fpn", 3)
    assert killed.returncode == -9, killed.stderr
    assert read_result(folder) is None
    train(data, folder, recipe=RECIPE)
    for name in ("metrics.csv", "per_class.csv", "result.json", "last.safetensors", "best.safetensors"):
        assert (folder / name).read_bytes() == (run / name).read_bytes(), name


@pytest.mark.long
def test_another_seed_is_another_run(run: Path, data: Path, tmp_path: Path) -> None:
    # A run that could not differ would make the test of killed ones worthless.
    train(data, tmp_path / "other", recipe=RECIPE, seed=1)
    assert (tmp_path / "other" / "last.safetensors").read_bytes() != (run / "last.safetensors").read_bytes()


def test_with_and_without_a_recipe_all_else_begins_alike(data: Path) -> None:
    plain, edited = planned(data).build(), planned(data, recipe=RECIPE).build()
    shared, state = plain.model.state_dict(), edited.model.state_dict()
    assert len(state) > len(shared)
    assert all(torch.equal(value, state[key]) for key, value in shared.items())
    images = torch.rand(2, 3, 64, 48)
    with torch.no_grad():
        assert torch.equal(plain.model.eval()(images), edited.model.eval()(images))
    assert any("attn" in name for name in edited.fresh)
    assert all(name.startswith("decoder.") or "attn" in name for name in edited.fresh)


def test_a_damaged_image_or_mask_is_named_and_the_run_goes_on(tmp_path: Path) -> None:
    root = as_folders(make(tmp_path / "set"), tmp_path / "folders")
    (root / "images/train/000002.png").write_bytes(b"no image")
    wrong = root / "masks/train/000003.png"
    Image.fromarray(np.zeros((5, 5), dtype=np.uint8)).save(wrong)
    result = train(root, tmp_path / "run", settings={"epochs": 1})
    assert result.damaged == ("000002.png", "000003.png")
    strict = {"epochs": 1, "loader": {"workers": 0, "corrupt": "error"}}
    with pytest.raises(DataError, match="cannot be read"):
        train(root, tmp_path / "strict", settings=strict)


def as_folders(shapes: Path, root: Path) -> Path:
    """Write a set of COCO's format as folders of images and masks."""
    read = open_masks(str(shapes))
    for split in ("train", "val"):
        for kind in ("images", "masks"):
            (root / kind / split).mkdir(parents=True)
        images = getattr(read, split)
        for index in range(len(images)):
            image, labels = images.pair(index)
            name = Path(images.name(index)).with_suffix(".png").name
            image.save(root / "images" / split / name)
            Image.fromarray(labels.astype(np.uint8)).save(root / "masks" / split / name)
    (root / "classes.txt").write_text("\n".join(CLASSES))
    return root


def test_folders_of_masks_score_as_the_annotations_that_they_are_of(
    run: Path, data: Path, tmp_path: Path
) -> None:
    root = as_folders(data, tmp_path / "folders")
    assert hi.evaluate(run, root).confusion.tolist() == hi.evaluate(run, data).confusion.tolist()
    (root / "classes.txt").write_text("\n".join((*CLASSES[:2], "donut", *CLASSES[3:])))
    with pytest.raises(DataError, match="its class 2 is 'donut', and the segmenter's 'ring'"):
        hi.evaluate(run, root)
    (root / "classes.txt").write_text("\n".join((*CLASSES, "moon")))
    with pytest.raises(DataError, match="it has 7 classes, and the segmenter 6"):
        hi.evaluate(run, root)


def test_a_folder_of_a_run_says_its_decoder(run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(run, folder)
    path = folder / "config.yaml"
    path.write_text(path.read_text().replace("decoder: semantic_fpn\n", ""))
    with pytest.raises(RunError, match="'task' and 'decoder' go together"):
        candidate(folder)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"decoder": "semantik_fpn"}, ModelError, "did you mean 'semantic_fpn'"),
        ({"detector": "retinanet"}, hi.HmhsaInsertError, "the task 'semantic' does not have this option"),
        ({"overrides": ["loss.ce=0"]}, SettingsError, "nothing is minimized"),
        ({"overrides": ["segmenter.chanels=8"]}, SettingsError, "did you mean 'channels'"),
        (
            {"overrides": ["segmenter.short_side=64", "segmenter.long_side=32"]},
            SettingsError,
            "32 is less than short_side 64",
        ),
    ],
)
def test_what_does_not_fit_is_said(data: Path, options: dict[str, Any], error: Any, message: str) -> None:
    with pytest.raises(error) as caught:
        planned(data, **options)
    assert message in str(caught.value)


def test_class_weights_are_as_many_as_there_are_classes(data: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="2 weights, and the data has 6 classes"):
        train(data, tmp_path / "run", overrides=["loss.class_weights=[1, 2]"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("train", BACKBONE, "--decoder", "unet"), "the task 'classify' does not use it"),
        (
            ("train", BACKBONE, "--task", "semantic", "--detector", "retinanet"),
            "the task 'semantic' does not",
        ),
        (("train", BACKBONE, "--task", "semantic", "--data", "nowhere"), "there is no such folder"),
    ],
)
def test_the_commands_say_what_is_wrong(arguments: tuple[str, ...], message: str) -> None:
    done = CliRunner(env={"COLUMNS": "200"}).invoke(app, arguments)
    assert done.exit_code == 1
    assert message in done.output


def test_the_authors_settings() -> None:
    settings = load_settings("ade20k", kind=SemanticSettings)
    assert settings.epochs * settings.epoch_steps == 80_000
    assert (settings.batch_size, settings.lr, settings.input_size) == (16, 1e-4, 512)
    assert (settings.schedule.name, settings.schedule.decay_rate) == ("poly", 0.9)
    assert SETTINGS.keys() <= SemanticSettings.model_fields.keys()
