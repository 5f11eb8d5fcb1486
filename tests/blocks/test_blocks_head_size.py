"""``head_dim: auto``: the divisor of the channels nearest to the usual size, on every block with heads."""

from __future__ import annotations

from typing import Any

import pytest
import timm
import torch

import hmhsa_insert as hi
from hmhsa_insert.blocks.fields import head_size, settled
from hmhsa_insert.errors import BlockError

EVERY = [
    {"type": "hmhsa", "grids": [4, 2]},
    {"type": "hmhsa_pooled", "grid_size": 4},
    {"type": "mhsa"},
    {"type": "transformer"},
    {"type": "transcnn"},
]


@pytest.mark.parametrize(
    ("asked", "channels", "size"),
    [
        ("auto", 256, 32),
        ("auto", 24, 24),
        ("auto", 40, 40),
        ("auto", 48, 24),
        ("auto", 80, 40),
        ("auto", 112, 28),
        ("auto", 74, 37),
        ("auto", 113, 113),
        ("auto", 1, 1),
        ("near 64", 512, 64),
        ("near 64", 96, 48),
        ("near 8", 24, 8),
        ("near 8", 20, 10),
        ("near 1", 17, 1),
        (7, 20, 7),
    ],
)
def test_the_size_of_a_head(asked: int | str, channels: int, size: int) -> None:
    assert head_size(asked, channels) == size


@pytest.mark.parametrize("block", EVERY, ids=lambda block: block["type"])
def test_every_block_with_heads_takes_it(block: dict[str, Any]) -> None:
    """And is the block of the size that it comes to: equal outputs of equal weights."""
    auto = hi.build_block(block | {"head_dim": "auto"}, channels=24).eval()
    named = hi.build_block(block | {"head_dim": 24}, channels=24).eval()
    eight = hi.build_block(block | {"head_dim": 8}, channels=24).eval()
    for other in (named, eight):
        other.load_state_dict(auto.state_dict())
    x = torch.randn(1, 24, 8, 8)
    with torch.no_grad():
        assert torch.equal(auto(x), named(x))
        assert not torch.allclose(auto(x), eight(x))


def test_a_width_has_its_own_heads() -> None:
    block = {"type": "hmhsa", "head_dim": "auto", "width": 20, "grids": [4, 2]}
    assert settled(block, 96)["head_dim"] == 20
    assert settled({"type": "placebo", "of": block | {"width": None}}, 96)["of"]["head_dim"] == 32
    assert settled({"type": "timm/se"}, 96) == {"type": "timm/se"}
    assert hi.build_block(block, channels=96)(torch.randn(1, 96, 8, 8)).shape == (1, 96, 8, 8)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("atuo", "head_dim must be 'auto', 'near N' or an integer, found 'atuo'"),
        ("near 0", "found 'near 0'"),
        ("near", "found 'near'"),
        ("32", "found '32'"),
        (0, "head_dim must be"),
        (True, "head_dim"),
        (2.5, "head_dim"),
        (None, "head_dim"),
        ([8], "head_dim"),
    ],
)
def test_other_values_are_refused(value: Any, message: str) -> None:
    with pytest.raises(BlockError) as caught:
        hi.build_block({"type": "mhsa", "head_dim": value}, channels=24)
    assert message in str(caught.value).replace("'head_dim'", "head_dim")


def test_a_plan_says_which_and_an_artifact_keeps_it(tmp_path: Any) -> None:
    model = timm.create_model("mobilenetv3_small_050", num_classes=4)
    plan = hi.plan(model, "stage234", input_size=(3, 64, 64))
    assert [site.inp.channels for site in plan.sites] == [16, 24, 48]
    assert [site.block["head_dim"] for site in plan.sites] == [16, 24, 24]
    assert plan.head_sizes == ("hmhsa: head_dim auto is 16 (1×), 24 (2×)",)
    assert [site["block"]["head_dim"] for site in plan.to_dict()["sites"]] == [16, 24, 24]
    edited = hi.apply(model, "stage234", input_size=(3, 64, 64)).eval()
    hi.save(edited, tmp_path / "artifact")
    again = hi.load(tmp_path / "artifact", base=model).eval()
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(edited(x), again(x))
    assert '"head_dim": 24' in (tmp_path / "artifact" / "plan.json").read_text()


def test_a_plan_with_a_number_says_nothing_of_it() -> None:
    edit = {"op": "insert", "id": "a", "at": {"stage": 3}, "block": {"type": "hmhsa", "head_dim": 8}}
    model = timm.create_model("test_resnet")
    assert hi.plan(model, {"version": 1, "edits": [edit]}, input_size=(3, 64, 64)).head_sizes == ()
    control = edit | {"block": {"type": "placebo", "of": {"type": "hmhsa", "head_dim": "auto"}}}
    made = hi.plan(model, {"version": 1, "edits": [control]}, input_size=(3, 64, 64))
    assert made.head_sizes == ("a: head_dim auto is 32",)
