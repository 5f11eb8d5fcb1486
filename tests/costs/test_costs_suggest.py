"""Suggestions: what is predicted is what a profile of the built model counts."""

from __future__ import annotations

from dataclasses import replace
from math import inf

import pytest
import timm
import torch
from torch import nn

import hmhsa_insert.models  # noqa: F401  (registers them with timm)
from hmhsa_insert.costs.count import count
from hmhsa_insert.costs.memory import training_memory
from hmhsa_insert.costs.suggest import _head_dim, pareto, search
from hmhsa_insert.costs.suggested import Cost, CostLimits, Suggestion
from hmhsa_insert.errors import BlockError, PlanError
from hmhsa_insert.recipe import load_recipe
from hmhsa_insert.surgery.apply import apply

SIZE = (3, 64, 64)


def bare(name: str) -> nn.Module:
    with torch.device("meta"):
        return timm.create_model(name)


def within(macs: float = inf, params: float = inf, memory: float = inf):
    """Return limits as factors of what the network costs."""
    return lambda cost: CostLimits(
        params * cost.num_params, macs * cost.macs, memory * cost.saved_bytes if cost.saved_bytes else None
    )


@pytest.mark.parametrize(
    ("name", "block", "macs"),
    [
        ("resnet10t", "hmhsa", 1.02),
        pytest.param("mobilenetv2_050", "mhsa", 1.03, marks=pytest.mark.long),
        pytest.param("irb_tiny", "hmhsa_pooled", 1.01, marks=pytest.mark.long),
        pytest.param("resnet50", "hmhsa", 1.05, marks=pytest.mark.long),
        pytest.param("hat_net_tiny", "mhsa", 1.05, marks=pytest.mark.long),
    ],
)
def test_predictions_equal_the_built_model(name, block, macs):
    model = bare(name)
    found = search(model, SIZE, within(macs), block)
    assert found.base.macs == count(model, SIZE).macs
    assert 3 <= len(found.found) < found.tried
    for each in found.found:
        counts = count(apply(model, each.recipe.to_dict(), SIZE), SIZE)
        assert (counts.num_params, counts.macs) == (each.cost.num_params, each.cost.macs)
        assert counts.macs <= macs * found.base.macs


def test_memory_is_predicted_and_limited():
    model = bare("resnet10t")
    found = search(model, SIZE, within(1.02, memory=1.04), memory=True)
    assert found.found
    for each in found.found:
        edited = apply(model, each.recipe.to_dict(), SIZE)
        assert training_memory(edited, SIZE).saved_bytes_per_image == each.cost.saved_bytes
        assert each.cost.saved_bytes <= 1.04 * found.base.saved_bytes
    wider = search(model, SIZE, within(1.02))
    assert {each.recipe.name for each in wider.found} > {each.recipe.name for each in found.found}


def test_parameters_are_limited_and_every_placement_is_tried():
    found = search(bare("resnet18"), SIZE, within(params=1.004))
    assert all(each.cost.num_params <= 1.004 * found.base.num_params for each in found.found)
    # 15 sets of stages; of two blocks the last, or both; own width, and 64, 128 and 256 where each stage has more.
    assert found.tried == 2 * (15 + 7 + 3 + 1)
    assert {"hmhsa-s1-last", "hmhsa-s2-last-w64"} <= {each.recipe.name for each in found.found}


def test_nothing_within_the_limits_says_what_is_cheapest():
    found = search(bare("resnet18"), SIZE, within(1.0))
    assert found.found == ()
    assert found.cheapest.cost.macs > found.base.macs


@pytest.mark.parametrize(("channels", "head"), [(64, 64), (2048, 64), (96, 48), (24, 24), (40, 40), (7, 8)])
def test_heads_divide_the_channels(channels, head):
    assert _head_dim(channels) == head


RECIPE = load_recipe(
    {
        "version": 1,
        "name": "r",
        "edits": [{"op": "insert", "id": "a", "at": {"stage": 1}, "block": {"type": "hmhsa"}}],
    }
)


def test_the_pareto_set_is_what_nothing_beats():
    best = Suggestion(RECIPE, 1, 64, Cost(10, 10))
    same = replace(best, num_blocks=2)
    wider = replace(best, channels=128, cost=Cost(20, 11))
    lighter = replace(best, cost=Cost(5, 12))
    beaten = [replace(best, channels=63), replace(best, cost=Cost(10, 11)), replace(wider, cost=Cost(20, 12))]
    assert pareto([*beaten, best, same, wider, lighter]) == [best, same, wider, lighter]


def test_blocks_that_cannot_be_inserted_are_refused():
    with pytest.raises(BlockError, match="does not keep the shape"):
        search(bare("resnet10t"), SIZE, within(1.1), "tdb")
    with pytest.raises(PlanError, match="no stages"):
        search(nn.Sequential(nn.Conv2d(3, 4, 1)), SIZE, within(1.1))
