"""Which name an artifact gives its base network: only one that builds the same network again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import timm
import torch
import torchvision
from edits import SIZE, image, insert, recipe
from nets import Plain
from torch import nn

import hmhsa_insert as hi
from hmhsa_insert.surgery.artifact.identify import identify
from hmhsa_insert.surgery.base.load import ModelSource

# How a network came to be, and what is written down of it.
NETWORKS = {
    "timm": (lambda: timm.create_model("test_resnet"), ModelSource("timm/test_resnet")),
    "timm with a tag": (
        lambda: hi.load_model("timm/test_resnet.r160_in1k").model,
        ModelSource("timm/test_resnet.r160_in1k"),
    ),
    "timm with classes and channels": (
        lambda: timm.create_model("test_resnet", num_classes=7, in_chans=1),
        ModelSource("timm/test_resnet", {"num_classes": 7, "in_chans": 1}),
    ),
    "timm by name, with options": (
        lambda: hi.load_model("test_resnet", num_classes=7, drop_path_rate=0.1).model,
        ModelSource("timm/test_resnet", {"num_classes": 7, "drop_path_rate": 0.1}),
    ),
    "timm, its head replaced later": (
        lambda: replaced_head(hi.load_model("test_resnet").model),
        ModelSource("timm/test_resnet", {"num_classes": 3, "in_chans": 3}),
    ),
    "torchvision": (
        lambda: torchvision.models.mobilenet_v3_small(),
        ModelSource("torchvision/mobilenet_v3_small"),
    ),
    "torchvision with classes": (
        lambda: torchvision.models.mobilenet_v3_small(num_classes=4),
        ModelSource("torchvision/mobilenet_v3_small", {"num_classes": 4}),
    ),
    "another activation": (lambda: other_activation(timm.create_model("test_resnet")), None),
    "options that are no plain data": (
        lambda: hi.load_model("test_resnet", act_layer=nn.SiLU).model,
        None,
    ),
    "of the user's own": (Plain, None),
}


def replaced_head(model: nn.Module) -> nn.Module:
    model.reset_classifier(3)
    return model


def other_activation(model: nn.Module) -> nn.Module:
    model.act1 = nn.SiLU()
    return model


@pytest.mark.parametrize("what", NETWORKS)
def test_a_network_is_named_only_if_the_name_builds_it(tmp_path: Path, what: str) -> None:
    factory, wanted = NETWORKS[what]
    base = factory()
    first = next(iter(base.state_dict().values()))
    size = (first.shape[1], 64, 64)
    model = hi.apply(base, recipe(insert({"stage": 2})), size)
    assert identify(base) == identify(model) == wanted
    folder = hi.save(model, tmp_path / "out")
    record = json.loads((folder / "base.json").read_text())
    assert (record["source"], record["kwargs"]) == ((wanted.spec, wanted.kwargs) if wanted else (None, {}))
    if wanted is None:
        with pytest.raises(hi.ArtifactError, match="it does not say how the base network"):
            hi.load(folder)
    again = hi.load(folder, base=None if wanted else factory())
    with torch.no_grad():
        assert torch.equal(again.eval()(image(*size)), model.eval()(image(*size)))


def test_a_graph_of_a_changed_network_is_not_misnamed(tmp_path: Path) -> None:
    base = replaced_head(hi.load_model("test_resnet").model)
    model = hi.apply(base, recipe(insert({"stage": 2})), SIZE, backend="graph")
    assert identify(model) == ModelSource("timm/test_resnet", {"num_classes": 3, "in_chans": 3})
    model.fc = nn.Linear(96, 9)
    assert identify(model) is None
    folder = hi.save(model, tmp_path / "out")
    with pytest.raises(hi.ArtifactError, match="it does not say how the base network"):
        hi.load(folder)


def test_a_detector_is_built_without_downloading_its_backbones_weights(monkeypatch) -> None:
    from hmhsa_insert.surgery.base.load import load_model

    def refuse(*_args, **_kwargs):
        raise AssertionError("a download")

    monkeypatch.setattr("torch.hub.download_url_to_file", refuse)
    model = load_model("torchvision/lraspp_mobilenet_v3_large", meta=True).model
    assert type(model).__name__ == "LRASPP"
