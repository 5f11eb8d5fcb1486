"""Parts of a network: stages and inserted blocks, whose rows add up to the total exactly."""

from __future__ import annotations

import pytest
import timm
import torch
from torch import nn

from hmhsa_insert.costs.parts import module_parts, stage_parts
from hmhsa_insert.costs.profile import profile
from hmhsa_insert.reports.parts import parts_frame
from hmhsa_insert.surgery.apply import apply

SIZE = (3, 64, 64)


def bare(name: str) -> nn.Module:
    with torch.device("meta"):
        return timm.create_model(name)


def test_stages_of_a_resnet():
    assert stage_parts(bare("resnet18"), SIZE) == {
        "stage 0": ("conv1", "bn1", "act1"),
        "stage 1": ("maxpool", "layer1"),
        "stage 2": ("layer2",),
        "stage 3": ("layer3",),
        "stage 4": ("layer4",),
    }


@pytest.mark.parametrize("name", ["resnet18", "mobilenetv2_035", "irb_tiny", "vgg11"])
def test_no_module_is_in_two_parts(name):
    named = [module for modules in stage_parts(bare(name), SIZE).values() for module in modules]
    assert len(named) == len(set(named))


@pytest.mark.parametrize(
    ("name", "recipe", "keys"),
    [
        ("resnet18", "stage234", {"layer2.1.hmhsa", "layer3.1.hmhsa", "layer4.1.hmhsa"}),
        ("irb_tiny", "tdb", {"ds2.tdb", "ds3.tdb", "ds4.tdb"}),
    ],
)
def test_inserted_blocks_are_rows_and_all_rows_add_up(name, recipe, keys):
    base = bare(name)
    edited = apply(base, recipe, SIZE)
    record = profile(edited, SIZE, memory=True, per="stage")
    frame = parts_frame([record.as_dict()])
    assert keys < set(frame["part"])
    assert list(frame["part"])[-1] == "elsewhere"
    for total in ("num_params", "macs", "macs_modules_only", "activations"):
        assert frame[total].sum() == getattr(record, total)
    assert frame["saved_bytes_per_image"].sum() == record.memory.saved_bytes_per_image
    rows = frame.set_index("part")["num_params"]
    inserted = sum(rows[key] for key in keys)
    assert inserted == record.num_params - sum(p.numel() for p in base.parameters()) > 0


def test_modules_add_up_too():
    record = profile(bare("resnet10t"), SIZE, per="module")
    assert record.parts == module_parts(record.by_module)
    frame = parts_frame([record.as_dict()])
    assert frame["macs"].sum() == record.macs
    assert {"conv1.0", "layer4.0.conv2", "fc"} <= set(frame["part"])


class Untraceable(nn.Module):
    """Takes nothing but a tensor itself, which no trace can follow."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if type(x) is not torch.Tensor:
            raise TypeError(f"a tensor, please, and no {type(x).__name__}")
        return x * 2


def test_a_network_without_stages_has_no_parts():
    assert stage_parts(nn.Sequential(nn.Flatten(), nn.Linear(12, 2)), (3, 2, 2)) == {}
    assert stage_parts(Untraceable(), (3, 8, 8)) == {}
