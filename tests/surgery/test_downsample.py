"""The downsampling into a stage, replaced in both ways, and the IRB stack that becomes TransCNN."""

from __future__ import annotations

import pytest
import timm
import torch
import torchvision
from edits import SIZE, image, recipe, sampled
from nets import Plain
from torch import nn

import hmhsa_insert as hi
import hmhsa_insert.models

FACTORIES = {
    "resnet18": lambda: timm.create_model("resnet18", num_classes=5),
    "resnet50d": lambda: timm.create_model("resnet50d", num_classes=5),
    "mobilenet_v2": lambda: torchvision.models.mobilenet_v2(num_classes=5),
    "irb_tiny": lambda: timm.create_model("irb_tiny", num_classes=5),
    "convnext_atto": lambda: timm.create_model("convnext_atto", num_classes=5),
    "vgg11_bn": lambda: torchvision.models.vgg11_bn(num_classes=5),
    "densenet121": lambda: timm.create_model("densenet121", num_classes=5),
    "plain": Plain,
}


def tdb(stages, keep: str, block: str = "tdb"):
    edit = {
        "op": "replace",
        "id": "tdb",
        "at": {"downsample": stages},
        "block": {"type": block},
        "keep": keep,
    }
    return recipe(edit)


def run(model: nn.Module, *size: int) -> torch.Tensor:
    with torch.no_grad():
        return model.eval()(image(*size, batch=1))


@pytest.mark.parametrize("name", sampled(FACTORIES, "irb_tiny", "plain"))
@pytest.mark.parametrize("keep", ["blocks", "none"])
def test_both_ways_on_many_networks(name: str, keep: str) -> None:
    base = FACTORIES[name]()
    stages = [3] if name == "plain" else [2, 3, 4]
    edited = hi.apply(base, tdb(stages, keep), SIZE)
    strides = [s.stride for s in hi.locate_stages(base, SIZE)]
    assert [s.stride for s in hi.locate_stages(edited, SIZE)] == strides
    assert sum(".tdb." in key and key.endswith("residual.weight") for key in edited.state_dict()) == len(
        stages
    )
    for size in (SIZE, (3, 97, 131)):
        assert run(edited, *size).shape == run(base, *size).shape
        assert run(edited, *size).isfinite().all()
    assert all(check.passed for check in hi.verify(base, edited))
    assert torch.equal(run(hi.remove(edited), *SIZE), run(base, *SIZE))


def test_keep_blocks_keeps_every_weight_of_the_host() -> None:
    base = timm.create_model("resnet50", num_classes=5)
    edited = hi.apply(base, tdb([3], "blocks"), SIZE)
    state = edited.state_dict()
    assert all(torch.equal(tensor, state[key]) for key, tensor in base.state_dict().items())
    assert edited.layer3[0].conv2.stride == (1, 1)
    assert base.layer3[0].conv2.stride == (2, 2)
    assert {key.split(".tdb.")[0] for key in state.keys() - base.state_dict().keys()} == {"layer3.0"}


def test_keep_none_takes_the_region_away() -> None:
    base = timm.create_model("irb_tiny", num_classes=5)
    edited = hi.apply(base, tdb([3], "none"), SIZE)
    gone = base.state_dict().keys() - edited.state_dict().keys()
    assert gone
    assert all(key.startswith("ds3.") for key in gone)


@pytest.mark.parametrize("size", sampled(["tiny", "small", "medium", "large"], "tiny"))
def test_irb_with_the_transcnn_recipe_has_transcnns_parameters(size: str) -> None:
    with torch.device("meta"):
        base, wanted = timm.create_model(f"irb_{size}"), timm.create_model(f"transcnn_{size}")
    edited = hi.apply(base, "transcnn.yaml")
    count = sum(p.numel() for p in edited.parameters())
    assert count == sum(p.numel() for p in wanted.parameters())


def test_irb_with_the_transcnn_recipe_computes_what_transcnn_does() -> None:
    base, wanted = timm.create_model("irb_tiny").eval(), timm.create_model("transcnn_tiny").eval()
    edited = hi.apply(base, "transcnn.yaml").eval()
    source = wanted.state_dict()
    state = {key: source[transcnn_key(key)] for key in edited.state_dict()}
    assert len(state) == len(source)
    edited.load_state_dict(state)
    assert torch.equal(run(edited, 3, 224, 224), run(wanted, 3, 224, 224))


def transcnn_key(key: str) -> str:
    """Return TransCNN's key for a key of the edited stack: the same, less the edit's own layers."""
    parts = key.split(".")
    if parts[0] == "blocks" and "block" in parts:
        return ".".join([*parts[:3], "attn", *parts[parts.index("block") + 1 :]])
    return ".".join([parts[0], *parts[parts.index("block") + 1 :]]) if "block" in parts else key
