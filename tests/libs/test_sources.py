"""Models of other libraries: named, edited, saved, and loaded again in a fresh process, bit for bit."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import hmhsa_insert as hi
from hmhsa_insert.errors import ModelError
from hmhsa_insert.surgery.artifact.manifest import read_record

pytestmark = pytest.mark.libs

_LOAD = """
import sys, torch, hmhsa_insert as hi
model = hi.load(sys.argv[1]).eval().cpu()  # which touches tensors that are no parameters, too
x = torch.load(sys.argv[2])
found = model(x)
torch.save([t for t in torch.utils._pytree.tree_leaves(dict(found) if hasattr(found, "keys") else found)
            if isinstance(t, torch.Tensor)], sys.argv[3])
"""
RECIPE = {
    "version": 1,
    "name": "placed",
    "edits": [
        {
            "id": "attn",
            "op": "insert",
            "at": {"stage": 2, "block": "last"},
            "block": {"type": "mhsa", "head_dim": 8},
        }
    ],
}
SPECS = {
    "ultralytics": ("ultralytics/yolov8n.yaml", {"nc": 3}, (3, 64, 64)),
    "ultralytics classifier": ("ultralytics/yolo11n-cls.yaml", {}, (3, 64, 64)),
    "transformers type": ("transformers/resnet", {"num_labels": 5}, (3, 64, 64)),
    "transformers backbone": ("transformers/resnet", {"head": "backbone"}, (3, 64, 64)),
    "smp": ("smp/Unet:resnet18", {"classes": 2}, (3, 64, 64)),
    "smp on timm": ("smp/fpn:tu-resnet18", {}, (3, 64, 64)),
    "torchvision segmenter": ("torchvision/fcn_resnet50", {}, (3, 64, 64)),
}


def leaves(found: Any) -> list[torch.Tensor]:
    """Return the tensors of any output."""
    tree = dict(found) if hasattr(found, "keys") else found
    return [leaf for leaf in torch.utils._pytree.tree_leaves(tree) if isinstance(leaf, torch.Tensor)]


def check(model: torch.nn.Module, spec: str, size: Any, folder: Path) -> dict[str, Any]:
    """Edit a model, save it, load it in a fresh process, and return the record of its base network."""
    edited = hi.apply(model, RECIPE, input_size=size).eval()
    saved = hi.save(edited, folder / "edited")
    record, _ = read_record(saved)
    assert record["source"] == spec
    x = torch.randn(2, *size)
    torch.save(x, folder / "x.pt")
    done = subprocess.run(
        [sys.executable, "-c", _LOAD, str(saved), str(folder / "x.pt"), str(folder / "y.pt")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    with torch.no_grad():
        wanted = leaves(edited(x))
    found = torch.load(folder / "y.pt")
    assert len(found) == len(wanted) > 0
    assert all(torch.equal(a, b) for a, b in zip(found, wanted, strict=True))
    return record


@pytest.mark.parametrize("name", SPECS)
def test_an_artifact_of_every_source_is_loaded_in_a_fresh_process(name: str, tmp_path: Path) -> None:
    spec, kwargs, size = SPECS[name]
    pytest.importorskip({"smp": "segmentation_models_pytorch"}.get(spec.split("/")[0], spec.split("/")[0]))
    loaded = hi.load_model(spec, **kwargs)
    check(loaded.model, loaded.source.spec, size, tmp_path)


def test_a_model_that_was_built_elsewhere_is_recognized(tmp_path: Path) -> None:
    smp = pytest.importorskip("segmentation_models_pytorch")
    check(smp.Unet("resnet18", encoder_weights=None, classes=4), "smp/Unet:resnet18", (3, 64, 64), tmp_path)


def test_a_yolo_that_was_built_elsewhere_is_recognized(tmp_path: Path) -> None:
    ultralytics = pytest.importorskip("ultralytics")
    model = ultralytics.YOLO("yolo11n-cls.yaml").model
    check(model, "ultralytics/yolo11n-cls.yaml", (3, 64, 64), tmp_path)


def test_a_folder_of_transformers_is_read_and_not_needed_again(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.ResNetConfig(depths=[1, 1, 1, 1], hidden_sizes=[32, 64, 96, 128], num_labels=7)
    folder = tmp_path / "mine"
    transformers.AutoModelForImageClassification.from_config(config).save_pretrained(folder)
    loaded = hi.load_model(f"transformers/{folder}")
    assert loaded.source.spec == "transformers/resnet"
    weights = hi.load_weights(loaded.model, folder / "model.safetensors")
    (folder / "config.json").unlink()
    record = check(weights, "transformers/resnet", (3, 64, 64), tmp_path)
    assert json.loads(record["kwargs"]["config"])["hidden_sizes"] == [32, 64, 96, 128]


def test_a_checkpoint_of_ultralytics_needs_permission(tmp_path: Path) -> None:
    ultralytics = pytest.importorskip("ultralytics")
    ultralytics.YOLO("yolo11n-cls.yaml").save(tmp_path / "own.pt")
    spec = f"ultralytics/{tmp_path}/own.pt"
    with pytest.raises(ModelError, match=r"this file is a pickle.*--unsafe-pickle"):
        hi.load_model(spec)
    loaded = hi.load_model(spec, unsafe_pickle=True)
    check(loaded.model, "ultralytics/yolo11n-cls.yaml", (3, 64, 64), tmp_path)
    with pytest.raises(ModelError, match="this file is a pickle"):
        hi.load_model(spec)  # the permission was for one call


@pytest.mark.parametrize(
    ("spec", "message", "tip"),
    [
        ("ultralytics/yolo11.yml", "ultralytics has no network 'yolo11.yml'", "did you mean 'yolo11.yaml'"),
        ("transformers/resnett", "transformers has no network 'resnett'", "did you mean 'resnet'"),
        ("smp/Unett:resnet18", "smp has no decoder 'Unett'", "did you mean 'Unet'"),
        ("smp/Unet:resnet19", "smp has no encoder 'resnet19'", "did you mean 'resnet"),
        ("smp/Unet", "it names no encoder", "smp/Unet:resnet34"),
        ("transformers/bert", "transformers has no network 'bert'", ""),
    ],
)
def test_a_name_that_is_wrong(spec: str, message: str, tip: str) -> None:
    pytest.importorskip({"smp": "segmentation_models_pytorch"}.get(spec.split("/")[0], spec.split("/")[0]))
    with pytest.raises(ModelError) as raised:
        hi.load_model(spec)
    assert message in str(raised.value)
    assert tip in str(raised.value)


def test_a_configuration_from_a_folder_may_not_reach_for_code(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    for key in ("auto_map", "use_pretrained_backbone", "backbone"):
        text = json.dumps({"model_type": "resnet", key: "x"})
        with pytest.raises(ModelError, match=f"may not have the key '{key}'"):
            hi.load_model("transformers/resnet", config=text)


@pytest.mark.parametrize(
    "changed",
    [{"depths": [10**7, 1, 1, 1]}, {"hidden_sizes": [10**7, 64, 96, 128]}],
    ids=["deep", "wide"],
)
def test_a_configuration_that_asks_for_more_than_the_weights_hold_is_refused(
    changed: dict[str, Any], tmp_path: Path
) -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.ResNetConfig(depths=[1, 1, 1, 1], hidden_sizes=[32, 64, 96, 128], num_labels=7)
    model = transformers.AutoModelForImageClassification.from_config(config)
    folder = hi.save(hi.apply(model, RECIPE, input_size=(3, 64, 64)), tmp_path / "edited")
    record = json.loads((folder / "base.json").read_text())
    written = json.loads(record["kwargs"]["config"])
    record["kwargs"]["config"] = json.dumps(written | changed)
    (folder / "base.json").write_text(json.dumps(record))
    # Without a bound this would take hours, or all memory.
    with pytest.raises(
        hi.HmhsaInsertError, match=r"it has more than [\d,]+ modules|tensors do not fit the network"
    ):
        hi.load(folder)
