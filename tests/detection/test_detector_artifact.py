from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from scenes import RECIPE, losses, outputs, shaken, small_detector
from test_detector import OwnForward

import hmhsa_insert as hi
from hmhsa_insert.detection.artifact import is_detector, read_detector
from hmhsa_insert.detection.detector import detector_record
from hmhsa_insert.surgery.artifact.artifact import is_artifact
from hmhsa_insert.surgery.edit.splice import ledgers

AWAY = {"op": "remove", "id": "away", "at": {"module": "layer4.1"}}


def same(a: list[dict[str, Any]], b: list[dict[str, Any]]) -> bool:
    return all(torch.equal(x[key], y[key]) for x, y in zip(a, b, strict=True) for key in x)


@pytest.mark.parametrize("kind", ["retinanet", pytest.param("maskrcnn", marks=pytest.mark.long)])
def test_a_detector_is_loaded_bit_for_bit(tmp_path: Path, kind: str) -> None:
    recipe = {**RECIPE, "edits": [*RECIPE["edits"], AWAY]}
    edited_base = shaken(hi.load_model("resnet18", num_classes=7).model)
    edited = hi.apply(edited_base, recipe)
    options = {"categories": {4: "kite", 2: "dog"}, "trainable_stages": 2, "frozen_norm": True}
    detector = small_detector(kind, edited, None, **options)
    detector.backbone.body.layer3[1].hmhsa.gamma.data.fill_(0.3)
    folder = hi.save(detector.eval(), tmp_path / "made")
    assert is_detector(folder)
    assert not is_artifact(folder)
    assert sorted(p.name for p in folder.iterdir()) == [
        "README.md",
        "detector.json",
        "displaced.safetensors",
        "manifest.json",
        "model.safetensors",
        "recipe.yaml",
    ]
    loaded = hi.load(folder)
    assert not loaded.training
    assert same(outputs(loaded), outputs(detector))
    ours, theirs = losses(loaded), losses(detector)
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)
    assert detector_record(loaded) == detector_record(detector)
    assert list(detector_record(loaded).categories) == [4, 2]
    wanted = {name for name, p in detector.named_parameters() if p.requires_grad}
    assert {name for name, p in loaded.named_parameters() if p.requires_grad} == wanted
    (done,) = ledgers(loaded.backbone.body)
    (displaced,) = [change.displaced for change in done.changes if change.displaced is not None]
    assert torch.equal(displaced.conv1.weight, edited_base.layer4[1].conv1.weight)


def test_an_artifact_is_a_backbone_and_what_was_no_detector_is_saved_as_before(tmp_path: Path) -> None:
    edited = hi.apply(hi.load_model("resnet18").model, RECIPE)
    folder = hi.save(edited, tmp_path / "network")
    assert is_artifact(folder)
    detector = small_detector("retinanet", folder)
    x = torch.rand(1, 3, 64, 64)
    pairs = zip(
        detector.backbone.maps(x).values(),
        small_detector("retinanet", edited).backbone.maps(x).values(),
        strict=True,
    )
    assert all(torch.equal(a, b) for a, b in pairs)
    twice = hi.load(hi.save(detector, tmp_path / "detector"))
    assert same(outputs(twice), outputs(detector))
    with pytest.raises(hi.ArtifactError, match="an artifact is here already"):
        hi.save(detector, tmp_path / "detector")
    with pytest.raises(hi.ArtifactError, match=r"not an artifact \(it has no detector.json\)"):
        hi.save(detector, tmp_path / "network", overwrite=True)
    hi.save(detector, tmp_path / "detector", overwrite=True)


def test_a_backbone_of_ones_own_is_given_again(tmp_path: Path) -> None:
    network = OwnForward()
    detector = small_detector("retinanet", network, input_size=(3, 128, 128))
    folder = hi.save(detector, tmp_path / "own")
    with pytest.raises(hi.ArtifactError, match="does not say how the base network"):
        hi.load(folder)
    assert same(outputs(hi.load(folder, base=OwnForward())), outputs(detector))


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("format", 9, "it has format 9"),
        ("kind", "ssd", "no detector of this name"),
        ("num_classes", 1, "'num_classes' must be 2 or more, found 1"),
        ("num_classes", 9, "3 classes, not 9"),
        ("input_size", "x", "'input_size' must be a list"),
        ("options", {"size_of": 3}, "no such option"),
        ("options", {"image_mean": [0.5]}, "3 channels, and this has 1 values"),
        ("plans", [{"plan": 1}], r"'plans\.0\.seed' is missing"),
        ("base", {"source": "os:system", "kwargs": {}}, "it names code to import and run, 'os:system'"),
        ("base", {"source": "timm/mobilenetv2_100", "kwargs": {}}, "no attribute `layer3`"),
        ("base", {"source": "timm/resnet18", "kwargs": 3}, "'kwargs' must be a mapping, found 3"),
        ("new", 1, "'new' is not a known key"),
    ],
)
def test_a_folder_that_was_changed(made: Path, key: str, value: object, said: str) -> None:
    path = made / "detector.json"
    before = path.read_text()
    try:
        path.write_text(json.dumps({**json.loads(before), key: value}))
        with pytest.raises(hi.ArtifactError, match=said):
            hi.load(made)
    finally:
        path.write_text(before)


def test_weights_of_another_detector(made: Path, tmp_path: Path) -> None:
    other = hi.save(small_detector("retinanet", "resnet18", 5), tmp_path / "other")
    own = (made / "model.safetensors").read_bytes()
    try:
        (made / "model.safetensors").write_bytes((other / "model.safetensors").read_bytes())
        with pytest.raises(hi.WeightsError, match="tensors do not fit the network"):
            hi.load(made)
        (made / "model.safetensors").unlink()
        with pytest.raises(hi.ArtifactError, match=r"no model\.safetensors"):
            read_detector(made)
    finally:
        (made / "model.safetensors").write_bytes(own)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    edited = hi.apply(hi.load_model("resnet18").model, RECIPE)
    detector = small_detector("retinanet", edited, None, categories={1: "a", 2: "b"})
    return hi.save(detector, tmp_path_factory.mktemp("folder") / "made")
