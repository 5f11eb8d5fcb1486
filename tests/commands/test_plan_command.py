"""``plan``: sites, new weights and costs, without any weights."""

from __future__ import annotations

import json

import pytest
import torch
from command_line import error_of, output, recipe
from torch import nn

pytestmark = pytest.mark.usefixtures("here")


def test_sites_new_weights_and_costs() -> None:
    assert [
        line.rstrip() for line in output("plan usernet:small -r good.yaml --input-size 64").splitlines()
    ] == [
        "usernet:small  Sequential  input 3×64×64",
        "mine on Sequential at 3×64×64: 1 site",
        "",
        " edit   where   what             map   params        MACs",
        " ────────────────────────────────────────────────────────",
        " attn   6       hmhsa after   64×4×4   16,640   294.912 k",
        "",
        "new weights: 6.attn.*",
        "",
        "Cost for one image (MACs: multiply–accumulates, attention products included)",
        "",
        "                  before       after       change",
        " ───────────────────────────────────────────────────────────",
        " parameters     11.573 k    28.213 k    +16.640 k   +143.8 %",
        " MACs          459.072 k   753.984 k   +294.912 k    +64.2 %",
        " activations     7.173 k    13.317 k     +6.144 k    +85.7 %",
        "",
        "",
    ]


def test_many_sites_are_counted_and_cut_short(here) -> None:
    (here / "silu.yaml").write_text(recipe("{class: ReLU}", "{type: silu}", "replace"))
    text = output("plan resnet50 -r silu.yaml --input-size 64")
    assert "mine on ResNet at 3×64×64: 49 sites" in text
    assert "and 19 more" in text
    assert text.count("silu instead") == 30
    text = output("plan resnet50 -r every_block --input-size 64")
    assert "new weights: layer1.0.hmhsa.*, layer1.1.hmhsa.*, layer1.2.hmhsa.*," in text
    assert "layer2.0.hmhsa.*, and 12 more" in text


def test_json_is_the_lock_file() -> None:
    plan = json.loads(output("plan usernet:small -r good.yaml --input-size 64 --json"))
    assert (plan["model"], plan["input_size"]) == ("Sequential", [3, 64, 64])
    (site,) = plan["sites"]
    assert (site["qualname"], site["key"], site["num_params"], site["macs"]) == ("6", "6.attn", 16640, 294912)
    assert plan["recipe"]["edits"][0]["init"] == "identity"


def test_no_weights_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[torch.device] = []
    register = nn.Module.register_parameter

    def spy(self: nn.Module, name: str, parameter: nn.Parameter | None) -> None:
        if parameter is not None:
            made.append(parameter.device)
        register(self, name, parameter)

    monkeypatch.setattr(nn.Module, "register_parameter", spy)
    output("plan resnet18 -r stage3 --input-size 64")
    assert {device.type for device in made} == {"meta"}


def test_replace_and_remove_have_their_words(here) -> None:
    (here / "silu.yaml").write_text(recipe("{class: ReLU}", "{type: silu}", "replace"))
    text = output("plan usernet:small -r silu.yaml --input-size 64")
    assert text.count("silu instead") == 3
    assert "new weights: none" in text
    (here / "less.yaml").write_text(recipe("{class: BatchNorm2d}", "", "remove"))
    assert "removed" in output("plan usernet:small -r less.yaml --input-size 64")
    (here / "tdb.yaml").write_text(
        recipe("{downsample: 3}", "{type: tdb}", "replace", more="    keep: blocks\n")
    )
    text = output("plan usernet:small -r tdb.yaml --input-size 64")
    assert "stride 1" in text
    assert "tdb" in text


def test_a_users_block_type_needs_its_plugin(here) -> None:
    (here / "users_block.py").write_text(PLUGIN)
    (here / "mine.yaml").write_text(recipe(block="{type: scale, factor: 2}"))
    assert "there is no block type 'scale'" in error_of("plan usernet:small -r mine.yaml --input-size 64")
    assert "scale after" in output("plan usernet:small -r mine.yaml --input-size 64 --plugin users_block")
    assert "factor" in output("blocks scale --plugin users_block")


PLUGIN = """
from typing import Literal

from torch import nn

from hmhsa_insert.blocks import BLOCKS, BlockCost, BlockType, Options


class ScaleOptions(Options):
    type: Literal["scale"]
    factor: int = 1


def build(options, inp, out_channels):
    return nn.Conv2d(inp.channels, inp.channels, options.factor * 2 + 1, padding=options.factor, groups=inp.channels)


def cost(options, inp, out_channels):
    side = options.factor * 2 + 1
    return BlockCost(inp.channels * (side * side + 1), inp.channels * side * side * inp.height * inp.width)


BLOCKS["scale"] = BlockType("scale", "a depthwise convolution", ScaleOptions, build, cost, shape="same")
"""


@pytest.fixture(autouse=True)
def _table_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    from hmhsa_insert.blocks import BLOCKS

    monkeypatch.delitem(sys.modules, "users_block", raising=False)
    monkeypatch.setitem(BLOCKS, "scale", None)
    monkeypatch.delitem(BLOCKS, "scale")
