"""``attend``: pictures of where a run's blocks look, on the image as the network sees it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from command_line import error_of, output
from PIL import Image
from safetensors.torch import save_model
from timm.data import create_transform

import hmhsa_insert as hi
from hmhsa_insert.drawing.overlay import overlay
from hmhsa_insert.training.data.transforms import eval_transform, statistics
from hmhsa_insert.training.settings import load_settings

RECIPE = """
version: 1
edits:
  - {op: insert, id: steps, at: {stage: 1}, block: {type: hmhsa, head_dim: 16, grids: [4, 4]}}
  - {op: insert, id: gate, at: {stage: 3}, block: {type: timm/eca}}
"""


@pytest.fixture
def artifact(here: Path) -> Path:
    Path("steps.yaml").write_text(RECIPE)
    output("apply test_resnet --recipe steps.yaml --input-size 64 -o made")
    pixels = np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    Image.fromarray(pixels).save("photo.png")
    return here


def test_a_picture_for_each_step_and_head(artifact: Path) -> None:
    said = output("attend made photo.png -o looks --heads --at 5,9")
    assert "layer3.0.gate: EcaModule is a block without attention" in said
    assert said.endswith("wrote looks (6 pictures of 1 block)\n")
    names = {path.name for path in Path("looks").glob("*.png")}
    stem = "1-layer1.0.steps.block"
    assert names == {f"{stem}-step{step}{head}.png" for step in (0, 1) for head in ("", "-head0", "-head1")}
    picture = np.asarray(Image.open(f"looks/{stem}-step0.png")).astype(int)
    assert picture.shape == (256, 256, 3)  # every pixel of the network's image is a square of 4×4
    assert (picture == picture[::4, ::4].repeat(4, 0).repeat(4, 1)).all()
    picture = picture[::4, ::4]
    assert (picture[9, 5] == (0, 220, 255)).all()
    # Stage 1 is at 1/4: the pixel lies in the cell of 16×16 pixels at the top left, and looks at no other.
    colored = picture.max(2) - picture.min(2) > 0
    assert colored[:16, :16].any()
    assert not colored[16:, :].any()
    assert not colored[:, 16:].any()
    again = output("attend made photo.png -o looks --overwrite --block layer1.0.steps")
    assert "2 pictures" in again
    assert len(list(Path("looks").glob("*.png"))) == 2


def test_bad_input_is_an_error_before_anything_is_written(artifact: Path) -> None:
    assert "'64,0' is not a pixel of the picture of 64×64" in error_of(
        "attend made photo.png -o looks --at 64,0"
    )
    assert "cannot be read" in error_of("attend made steps.yaml -o looks")
    assert "no block of this name attends" in error_of("attend made photo.png -o looks --block layer9")
    hi.save(hi.apply(hi.load_model("test_resnet").model, "se.yaml", 64), "gates")
    assert "no block of this model attends" in error_of("attend gates photo.png -o looks")
    assert not Path("looks").exists()


CONFIG = {
    "model": "timm/test_resnet",
    "data": {"source": "digits", "fingerprint": "f", "train": 1437, "val": 360, "classes": 10, "channels": 1},
    "seed": 0,
    "settings": {
        "epochs": 1,
        "batch_size": 8,
        "input_size": 64,
        "augment": {"mean": [0.25], "std": [0.5], "crop_pct": 0.5},
    },
}


def test_a_run_is_asked_with_its_own_settings(artifact: Path) -> None:
    base = hi.load_model("test_resnet", num_classes=10, in_chans=1).model
    net = hi.apply(base, "steps.yaml", (1, 64, 64))
    hi.save(net, "run/artifact")
    Path("run/config.yaml").write_text(
        json.dumps(CONFIG | {"recipe": hi.plan(base, "steps.yaml", 64).to_dict()["recipe"]})
    )
    output("attend run photo.png -o looks")
    prepared = create_transform((1, 64, 64), interpolation="bicubic", crop_pct=0.5, mean=(0.25,), std=(0.5,))
    with Image.open("photo.png") as photo:
        seen = prepared(photo.convert("L"))
    (found,) = hi.attention(net, seen, query=(32, 32)).values()
    expected = np.asarray(overlay(seen * 0.5 + 0.25, found.steps[0].weights[0].mean(0), (32, 32))).astype(int)
    drawn = np.asarray(Image.open("looks/1-layer1.0.steps.block-step0.png")).astype(int)
    assert np.abs(drawn - expected).max() <= 1


def test_a_run_without_a_recipe_is_the_network_that_it_trained(here: Path) -> None:
    net = hi.load_model("transcnn_tiny", num_classes=10, in_chans=1).model
    Path("run").mkdir()
    settings = {"epochs": 1, "batch_size": 8, "input_size": 64}
    config = CONFIG | {"recipe": None, "model": "timm/transcnn_tiny", "settings": settings}
    Path("run/config.yaml").write_text(json.dumps(config))
    pixels = np.random.default_rng(0).integers(0, 256, (70, 80, 3), dtype=np.uint8)
    Image.fromarray(pixels).save("photo.png")
    assert "best.safetensors: there is no such file" in error_of("attend run photo.png -o looks")
    save_model(net, "run/best.safetensors")
    output("attend run photo.png -o looks --block 'blocks.1.*'")
    with Image.open("photo.png") as photo:
        seen = eval_transform(load_settings(settings), net, 1)(photo.convert("L"))
    found = hi.attention(net, seen, "blocks.1.*", (32, 32))
    assert len(list(Path("looks").glob("*.png"))) == sum(len(each.steps) for each in found.values()) > 0
    name, first = next(iter(found.items()))
    mean, std = (torch.tensor(each)[:, None, None] for each in statistics(load_settings(settings), net, 1))
    expected = np.asarray(overlay(seen * std + mean, first.steps[0].weights[0].mean(0), (32, 32)))
    assert (np.asarray(Image.open(f"looks/1-{name}-step0.png")) == expected).all()


def test_a_task_that_is_not_looked_into(here: Path) -> None:
    Path("run").mkdir()
    Path("run/config.yaml").write_text(
        json.dumps(CONFIG | {"recipe": None, "task": "detect", "detector": "retinanet"})
    )
    Image.new("RGB", (8, 8)).save("photo.png")
    assert "this run has no detector" in error_of("attend run photo.png -o looks")
