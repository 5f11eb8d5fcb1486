"""Weights of a run that are not of the network its configuration describes: compared before memory is taken."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from command_line import error_of, run
from safetensors.torch import save_model
from torch import nn

from hmhsa_insert.errors import WeightsError
from hmhsa_insert.models.weights import read_shapes
from hmhsa_insert.training import network, score

HEAD = "error: the weights cannot be loaded"
CONFIG: dict[str, Any] = {
    "model": "timm/test_resnet",
    "recipe": None,
    "data": {"source": "digits", "fingerprint": "f", "train": 1437, "val": 360, "classes": 10, "channels": 1},
    "seed": 0,
    "settings": {"epochs": 1, "batch_size": 120, "input_size": 32},
}


@pytest.fixture
def a_run(here: Path) -> Path:
    """Return the working folder with a run that left no artifact."""
    Path("run").mkdir()
    configured()
    save_model(timm.create_model("test_resnet", num_classes=10, in_chans=1), "run/best.safetensors")
    return here


def configured(data: dict[str, Any] | None = None, **values: Any) -> None:
    config = {**CONFIG, **values, "data": {**CONFIG["data"], **(data or {})}}
    Path("run/config.yaml").write_text(json.dumps(config))


def report() -> list[str]:
    return [line.strip() for line in error_of("evaluate run").splitlines()]


def test_weights_of_the_run(a_run: Path) -> None:
    assert run("evaluate run").exit_code == 0


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (
            {"classes": 11},
            "run/best.safetensors: 2 keys of another shape: fc.bias (10, the model has 11), "
            "fc.weight (10×96, the model has 11×96)",
        ),
        (
            {"channels": 3},
            "run/best.safetensors: 1 key of another shape: conv1.0.weight (16×1×3×3, the model has 16×3×3×3)",
        ),
        (
            {"classes": 10**7},
            "run/config.yaml: data.classes is 10000000, and no side of a tensor of the run is that long",
        ),
        (
            {"channels": 10**4},
            "run/config.yaml: data.channels is 10000, and no side of a tensor of the run is that long",
        ),
    ],
)
def test_other_classes_and_channels(a_run: Path, data: dict[str, int], said: str) -> None:
    configured(data)
    assert report()[:2] == [HEAD, said]


@pytest.mark.parametrize("spec", ["timm/vit_giant_patch14_224", "timm/resnet152"])
def test_another_network_takes_no_memory(a_run: Path, spec: str, monkeypatch: pytest.MonkeyPatch) -> None:
    built = []
    load_model = network.load_model

    def watched(*args: Any, **options: Any) -> Any:
        made = load_model(*args, **options)
        built.append({parameter.device.type for parameter in made.model.parameters()})
        return made

    monkeypatch.setattr(network, "load_model", watched)
    configured(model=spec, settings={**CONFIG["settings"], "input_size": 224})
    lines = report()
    assert lines[0] == f"{HEAD} (3 problems)" if "resnet" in spec else f"{HEAD} (2 problems)"
    assert "keys of the model missing: " in lines[1]
    assert ", and " in lines[1]
    assert built == [{"meta"}]


def test_keys_are_named_where_weights_do_not_fit(a_run: Path) -> None:
    model = nn.Sequential(nn.Linear(2, 3))
    with pytest.raises(WeightsError) as caught:
        score.fill(model, Path("run/best.safetensors"))
    missing, more = (problem.message for problem in caught.value.problems)
    assert missing == "2 keys of the model missing: 0.weight, 0.bias"
    keys = len(timm.create_model("test_resnet").state_dict())
    assert more.startswith(f"{keys} keys the model does not have: bn1.bias, ")
    assert more.endswith(f", and {keys - 4} more")
    assert "Error(s)" not in missing + more


def test_tied_weights_are_read_under_all_their_names(here: Path) -> None:
    model = nn.ModuleDict({"a": nn.Linear(2, 2), "b": nn.Linear(2, 2), "c": nn.Linear(2, 3)})
    model["b"].weight = model["a"].weight
    save_model(model, "tied.safetensors")
    assert read_shapes(Path("tied.safetensors")) == {
        "a.weight": (2, 2), "b.weight": (2, 2), "c.weight": (3, 2), "a.bias": (2,), "b.bias": (2,), "c.bias": (3,),
    }  # fmt: skip
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    score.fill(model, Path("tied.safetensors"))
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
