"""Blocks of users and packages: registered from a class, published by entry points, and held to what they promise."""

from __future__ import annotations

import random
from typing import Any, Literal

import numpy as np
import pytest
import timm
import torch
from torch import nn

import hmhsa_insert as hi
from hmhsa_insert.blocks import BLOCKS, BlockCost, MapSize, block_names, block_type, cost_doubt, parse_options
from hmhsa_insert.errors import BlockError, HmhsaInsertError, PlanError


@pytest.fixture(autouse=True)
def _table_as_it_was(monkeypatch: pytest.MonkeyPatch):
    before = dict(BLOCKS)
    yield
    BLOCKS.clear()
    BLOCKS.update(before)


class Gate(nn.Module):
    """Scale every channel.

    Args:
        channels: of the map.
        ratio: hidden channels over channels.
    """

    def __init__(
        self,
        channels: int,
        ratio: float = 0.5,
        act: Literal["relu", "silu"] = "relu",
        sides: tuple[int, ...] = (3,),
    ) -> None:
        super().__init__()
        hidden = int(channels * ratio)
        self.down, self.up = nn.Conv2d(channels, hidden, 1), nn.Conv2d(hidden, channels, 1)
        self.act, self.sides = act, sides

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the scaled map."""
        return x * self.up(getattr(nn.functional, self.act)(self.down(x))).sigmoid()


def recipe(block: dict[str, Any]) -> dict[str, Any]:
    edit = {
        "op": "insert",
        "id": "it",
        "at": {"stage": 3, "block": "last"},
        "block": block,
        "init": "identity",
    }
    return {"version": 1, "edits": [edit]}


@pytest.fixture
def net() -> nn.Module:
    return timm.create_model("test_resnet", num_classes=10).eval()


def test_a_class_is_a_block_with_its_options(net) -> None:
    assert hi.register_block(Gate) is Gate
    assert "gate" in block_names()
    assert BLOCKS["gate"].summary == "Scale every channel."
    fields = BLOCKS["gate"].options.model_fields
    assert list(fields) == ["type", "ratio", "act", "sides"]
    assert fields["ratio"].description == "hidden channels over channels."
    edited = hi.apply(net, recipe({"type": "gate", "ratio": 0.25, "sides": [5, 7]}), input_size=64)
    block = edited.get_submodule("layer3.0.it").block
    assert isinstance(block, Gate)
    assert (block.down.out_channels, block.sides) == (48, (5, 7))
    x = torch.randn(2, 3, 64, 64)
    assert torch.equal(edited(x), net(x))
    site = hi.plan(net, recipe({"type": "gate", "ratio": 0.25}), input_size=64).sites[0]
    assert site.num_params == 192 * 48 * 2 + 48 + 192 + 192  # gamma last
    assert site.macs == 192 * 48 * 2 * 4 * 4
    assert all(check.passed for check in hi.verify(net, edited))


class Drawn(nn.Module):
    """Scale the map by numbers that no state dict keeps, drawn from the generators of Python, numpy and torch."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.factors = random.random() * float(np.random.rand())
        self.register_buffer("scale", torch.rand(1, channels, 1, 1), persistent=False)
        self.mix = nn.Conv2d(channels, channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.mix(x) * self.factors * self.scale


def test_what_its_class_draws_is_drawn_again_when_it_is_loaded(net, tmp_path) -> None:
    hi.register_block(Drawn)
    edited = hi.apply(net, recipe({"type": "drawn"}), input_size=64)
    nn.init.ones_(edited.get_submodule("layer3.0.it").gamma)
    again = hi.load(hi.save(edited, tmp_path / "saved"))
    x = torch.randn(2, 3, 64, 64)
    assert torch.equal(edited.eval()(x), again.eval()(x))
    assert not torch.equal(again(x), net(x))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ratoi": 0.5}, "'ratoi'"),
        ({"ratio": "half"}, "ratio"),
        ({"act": "gelu"}, "act"),
        ({"sides": ["a"]}, "sides"),
    ],
)
def test_its_options_are_checked_like_ours(net, options, message) -> None:
    hi.register_block(Gate)
    with pytest.raises(HmhsaInsertError, match=message):
        hi.plan(net, recipe({"type": "gate", **options}), input_size=64)
    with pytest.raises(BlockError, match=message):
        hi.build_block({"type": "gate", **options}, channels=8)


def test_the_decorator_takes_a_name_and_runs_twice() -> None:
    for _ in range(2):

        @hi.register_block(name="mine/gate", summary="a gate")
        class Other(Gate):
            pass

    assert BLOCKS["mine/gate"].summary == "a gate"
    assert isinstance(hi.build_block({"type": "mine/gate"}, channels=8), Other)


class Nothing(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()


class Unwritable(nn.Module):
    def __init__(self, channels: int, norm: type[nn.Module]) -> None:
        super().__init__()


@pytest.mark.parametrize(
    ("given", "options", "where", "message"),
    [
        (Nothing, {}, "cls", "has no parameter 'channels'"),
        (Unwritable, {}, "cls", "no recipe can write the parameter 'norm'"),
        (Gate(8), {}, "cls", "a class derived from torch.nn.Module was expected, found an object of Gate"),
        (int, {}, "cls", "a class derived from"),
        ("gate", {}, "cls", "a class derived from"),
        (Gate, {"name": "hmhsa"}, "name", "there is a block type 'hmhsa' already"),
        (Gate, {"name": "timm/se"}, "name", "is no name"),
        (Gate, {"name": "a b"}, "name", "is no name"),
        (Gate, {"shape": "any"}, "shape", "must be 'same' or 'half'"),
    ],
)
def test_what_is_no_block_is_refused(given, options, where, message) -> None:
    with pytest.raises(BlockError, match=message) as error:
        hi.register_block(given, **options)
    assert error.value.problems[0].where == where
    assert set(BLOCKS) == {name for name, block in BLOCKS.items() if block_type(name) is block}


def test_another_class_of_that_name_is_refused() -> None:
    hi.register_block(Gate, name="g")
    with pytest.raises(BlockError, match="there is a block type 'g' already"):
        hi.register_block(type("Gate2", (Gate,), {}), name="g")


def breaking(name: str, forward: Any) -> type[nn.Module]:
    def init(self: Any, channels: int) -> None:
        nn.Module.__init__(self)
        self.conv = nn.Conv2d(channels, channels, 1)

    return type(name, (nn.Module,), {"__init__": init, "forward": lambda self, x: forward(self.conv(x))})


@pytest.mark.parametrize(
    ("forward", "message"),
    [
        (lambda x: x[:, :, ::2], "'bad' turns a map of 192×4×4 into 192×2×4, and by its type it keeps it"),
        (lambda x: x[:, :5], "'bad' turns a map of 192×4×4 into 5×4×4"),
        (lambda x: x.double(), "'bad' turns a map of torch.float32 into torch.float64"),
        (lambda x: (x, x), "'bad' returns tuple, not a tensor"),
        (lambda x: x @ x.new_zeros(5), "'bad' fails on a map of 192×4×4: RuntimeError"),
    ],
)
def test_a_block_that_changes_its_map_is_named_with_its_edit(net, forward, message) -> None:
    hi.register_block(breaking("Bad", forward))
    with pytest.raises(PlanError) as error:
        hi.plan(net, recipe({"type": "bad"}), input_size=64)
    (problem,) = error.value.problems
    assert problem.where == "recipe.edits[0].block.type"
    assert message in problem.message
    with pytest.raises(BlockError):
        hi.build_block({"type": "bad"}, channels=192, size=4)


def test_a_formula_that_disagrees_with_the_counter_is_told(net) -> None:
    def cost(options: Any, inp: MapSize, out_channels: int) -> BlockCost:
        return BlockCost(1, 2)

    hi.register_block(Gate, cost=cost)
    options = parse_options({"type": "gate"})[0]
    assert options is not None
    assert cost_doubt(options, MapSize(8, 4, 4), 8) == (
        "the cost formula of 'gate' says 1 parameters, counted are 76 and 2 MACs, counted are 1,024, on 8×4×4"
    )
    assert cost_doubt(parse_options({"type": "hmhsa"})[0], MapSize(64, 4, 4), 64) == ""
    said = "the cost formula of 'gate' says 1 parameters, counted are 37,152 and 2 MACs, counted are 589,824"
    with pytest.warns(UserWarning, match=said):
        plan = hi.plan(net, recipe({"type": "gate"}), input_size=64)
    assert f"warning: {said}" in " ".join(str(plan).split())
    with pytest.warns(UserWarning, match=said):
        edited = hi.apply(net, recipe({"type": "gate"}), input_size=64)
    assert said in " ".join(str(hi.profile(edited, 64)).split())
