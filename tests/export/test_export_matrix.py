"""Every block in a ResNet-18, every shipped recipe and every family of ours, in every format: 1e-4 from eager."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import timm
import torch
from export_nets import acting, downsampled, edited, inserted

import hmhsa_insert as hi
from hmhsa_insert.blocks import BLOCKS
from hmhsa_insert.recipe import shipped_recipes

sys.path.append(str(Path(__file__).parents[1] / "blocks"))
from specs import HALF, SAME

pytestmark = pytest.mark.libs

OTHERS = {"se": {"type": "timm/se"}, "eca": {"type": "timm/eca"}}
# Networks that have the activation a recipe replaces.
HOSTS = {"gelu": "irb_tiny", "silu": "convnext_atto"}
NETWORKS = {
    **{f"block {name}": lambda spec=spec: inserted(spec) for name, spec in (SAME | OTHERS).items()},
    **{f"block {name}": lambda spec=spec: downsampled(spec) for name, spec in HALF.items()},
    **{
        f"recipe {each.name}": lambda name=each.name: edited(f"{name}.yaml", HOSTS.get(name, "resnet18"))
        for each in shipped_recipes()
    },
    **{
        f"family {name}": lambda name=name: acting(timm.create_model(name, num_classes=10))
        for name in ("transcnn_tiny", "hat_net_tiny", "irb_tiny")
    },
}
# The least side of those of which torch's exporter asks at 32 pixels whether the last map is one pixel.
LEAST = {
    "recipe bottleneck": 40,
    "recipe every_block": 40,
    "recipe silu": 64,
    "recipe stage234": 40,
    "recipe transcnn": 40,
    "family transcnn_tiny": 40,
    "family hat_net_tiny": 40,
}
# Those that an ONNX file, which has no checks of sizes, does at 32 pixels too.
ONNX_DOES = {"recipe transcnn", "family transcnn_tiny"}
MODES = {
    "one size": {"dynamic": ()},
    "any batch": {"dynamic": ("batch",)},
    "any size": {"dynamic": ("batch", "size"), "size": (32, 128)},
}


def test_every_block_type_is_in_the_matrix() -> None:
    tested = {spec["type"] for spec in (SAME | HALF).values()}
    activations = {name for name, block in BLOCKS.items() if block.shape == "any"}
    assert tested | activations == set(BLOCKS)
    assert {"gelu", "silu"} <= {each.name for each in shipped_recipes()}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("to", ["pt2", "onnx"])
@pytest.mark.parametrize("name", NETWORKS)
def test_agrees(name: str, to: str, mode: str, tmp_path: Path) -> None:
    if to == "onnx":
        pytest.importorskip("onnxruntime")
        pytest.importorskip("onnxscript")
    options = MODES[mode]
    if mode == "any size" and name in LEAST and not (to == "onnx" and name in ONNX_DOES):
        with pytest.raises(hi.ExportError, match=r"!= 1"):
            hi.export(NETWORKS[name](), tmp_path / "file", to, input_size=(3, 64, 64), **options)
        options = {**options, "size": (LEAST[name], 128)}
    done = hi.export(NETWORKS[name](), tmp_path / "file", to, input_size=(3, 64, 64), **options)
    print(f"{name}\t{to}\t{mode}\t{len(done.compared)}\t{done.difference:.1e}")
    assert done.difference <= 1e-4
    assert len(done.compared) >= (6 if mode == "any size" else 3)


@pytest.mark.parametrize("name", NETWORKS)
def test_traces_of_any_batch_agree(name: str, tmp_path: Path) -> None:
    done = hi.export(NETWORKS[name](), tmp_path / "file.pt", input_size=(3, 64, 64))
    print(f"{name}\ttorchscript\tany batch\t{len(done.compared)}\t{done.difference:.1e}")
    assert done.difference <= 1e-4


def segmenter() -> torch.nn.Module:
    torchvision = pytest.importorskip("torchvision")
    torch.manual_seed(0)
    model = torchvision.models.segmentation.fcn_resnet50(weights=None, weights_backbone=None, num_classes=4)
    insert = {
        "op": "insert",
        "id": "new",
        "at": {"module": "backbone.layer3"},
        "block": {"type": "hmhsa", "head_dim": 32, "width": 64, "grids": [4, 4]},
    }
    return acting(hi.apply(model, {"version": 1, "edits": [insert]}, input_size=(3, 64, 64)))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("to", ["pt2", "onnx"])
def test_a_segmenter_agrees(to: str, mode: str, tmp_path: Path) -> None:
    if to == "onnx":
        pytest.importorskip("onnxruntime")
    done = hi.export(segmenter(), tmp_path / "file", to, input_size=(3, 64, 64), **MODES[mode])
    print(f"fcn_resnet50\t{to}\t{mode}\t{len(done.compared)}\t{done.difference:.1e}")
    assert done.difference <= 1e-4


@pytest.mark.parametrize("kind", ["retinanet", "fasterrcnn", "maskrcnn"])
def test_a_detector_is_traced(kind: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    lowest = {"score_thresh" if kind == "retinanet" else "box_score_thresh": 0.0}
    backbone = acting(hi.apply(timm.create_model("test_resnet"), "stage3.yaml", input_size=(3, 64, 64)))
    model = hi.detector(kind, backbone, num_classes=3, min_size=64, max_size=96, **lowest)
    again = hi.load(hi.save(model, tmp_path / "detector"))
    done = hi.export(again, tmp_path / "file", "torchscript", input_size=(3, 64, 80))
    print(f"{kind}\ttorchscript\tone size\t{len(done.compared)}\t{done.difference:.1e}")
    assert all(each.numbers > 0 and each.difference <= 1e-4 for each in done.compared)
    for to in ("pt2",):
        with pytest.raises(hi.ExportError, match="torchvision's detectors"):
            hi.export(again, tmp_path / "other", to)
    assert not (tmp_path / "other").exists()
