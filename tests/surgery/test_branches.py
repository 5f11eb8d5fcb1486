"""``inside: branch``: residual branches by structure, and blocks put into them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import hmhsa_insert as hi
from hmhsa_insert.recipe import load_recipe
from hmhsa_insert.surgery.locate.branches import residual_branches
from hmhsa_insert.surgery.locate.stages import locate

SIZE = (3, 64, 64)


class Gated(nn.Module):
    """A bottleneck with squeeze and excitation behind its last norm; one activation for all, as torchvision has it."""

    def __init__(self, channels: int, stride: int = 1) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(channels, 8, 1), nn.Conv2d(8, 8, 3, stride, 1)
        self.three = nn.Conv2d(8, channels, 1)
        self.norm = nn.BatchNorm2d(channels)
        self.gate = nn.Conv2d(channels, channels, 1)
        self.act = nn.ReLU(inplace=True)
        self.short = nn.Conv2d(channels, channels, 1, stride) if stride > 1 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y = self.act(self.two(self.act(self.one(x))))
        y = self.norm(self.three(y))
        y = y * torch.sigmoid(self.gate(y.mean((2, 3), keepdim=True)))
        y += self.short(x)
        return self.act(y)


class Twin(nn.Module):
    """Two paths of one convolution each, summed: neither is a shortcut."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.wide, self.point = nn.Conv2d(channels, channels, 3, padding=1), nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.wide(x) + self.point(x))


class Points(nn.Module):
    """A branch on N×H×W×C: a blur, a depthwise convolution, a norm and two linear layers, scaled by a vector."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("blur", torch.ones(channels, 1, 3, 3) / 9)
        self.depth = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
        self.norm = nn.LayerNorm(channels)
        self.up, self.down = nn.Linear(channels, 2 * channels), nn.Linear(2 * channels, channels)
        self.scale = nn.Parameter(torch.ones(channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        y = self.depth(F.conv2d(x, self.blur, padding=1, groups=len(self.blur)))
        y = self.norm(y.permute(0, 2, 3, 1))
        y = self.down(F.gelu(self.up(y))).permute(0, 3, 1, 2)
        return torch.add(x, y * self.scale)


def net(*blocks: nn.Module, channels: int = 16) -> nn.Module:
    torch.manual_seed(0)
    body = [nn.Conv2d(3, channels, 4, 4), nn.Sequential(*blocks), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*body, nn.Linear(channels, 5)).eval()


def recipe(after: Any = None, put: Any = None, **at: Any) -> dict[str, Any]:
    inside = {"stage": 1, "block": "each", "inside": "branch", **at} | (
        {} if after is None else {"after": after}
    )
    edit = {"op": "insert", "id": "attn", "at": inside, "block": put or {"type": "timm/eca"}}
    return {"version": 1, "edits": [edit]}


def ends(model: nn.Module) -> list[tuple[list[str], str, str]]:
    """Return what follows each convolution of each branch, what ends it, and the sum, as functions."""
    located = locate(model, SIZE)
    learned = [name for name, _ in model.named_parameters()]
    found = residual_branches(located.trace, located.maps, learned)
    name = lambda node: node.meta["function"]  # noqa: E731
    return [([*map(name, each.ends)], name(each.end), name(each.addition)) for each in found]


def test_branches_by_structure() -> None:
    assert ends(net(Gated(16), Gated(16, 2))) == 2 * [(["relu", "relu", "batch_norm"], "mul", "add_")]
    assert ends(net(Points(16))) == [(["layer_norm", "gelu", "mul"], "mul", "add")]
    assert ends(net(Twin(16))) == []
    assert ends(net(nn.Conv2d(16, 16, 3, padding=1))) == []


WHERE = (1, 2, 3, -1, "branch", None, "addition")


@pytest.mark.parametrize("after", WHERE)
def test_a_block_inside_is_exact_in_every_way(after: Any) -> None:
    model = net(Gated(16), Gated(16))
    images = torch.randn(2, *SIZE)
    before = model(images)
    plan = hi.plan(model, recipe(after), SIZE)
    assert [site.qualname for site in plan.sites] == ["1.0", "1.1"] or after in (3, -1)
    edited = hi.apply(model, recipe(after), SIZE)
    assert torch.equal(edited(images), before)
    assert all(check.passed for check in hi.verify(model, edited))
    for name, module in edited.named_modules():
        if name.endswith(".attn"):
            nn.init.constant_(module.gamma, 0.5)
    acting = edited(images)
    assert not torch.equal(acting, before)
    plain = hi.remove(edited)
    assert torch.equal(plain(images), before)
    assert [*plain.state_dict()] == [*model.state_dict()]


def test_where_it_acts_is_what_the_recipe_says() -> None:
    """By hand: the block's own map is caught, and compared with the one that the forward has there."""
    block = Gated(16)
    model = net(block)
    x = torch.randn(2, 16, 16, 16)
    one = block.act(block.one(x))
    two = block.act(block.two(one))
    three = block.norm(block.three(two))
    whole = three * torch.sigmoid(block.gate(three.mean((2, 3), keepdim=True)))
    expected = {1: one, 2: two, 3: three, "branch": whole, "addition": whole + x}
    for after, value in expected.items():
        edited = hi.apply(model, recipe(after), SIZE)
        seen = []
        (inserted,) = [m for name, m in edited.named_modules() if name.endswith(".attn")]
        inserted.register_forward_pre_hook(lambda _, args, seen=seen: seen.append(args[0].clone()))
        edited.get_submodule("1.0")(x)
        assert torch.equal(seen[0], value), after


def test_a_channels_last_branch_is_worked_on_in_its_layout(tmp_path: Path) -> None:
    base = hi.load_model("convnext_atto").model.eval()
    images = torch.randn(1, *SIZE)
    edited = hi.apply(base, recipe(2, {"type": "hmhsa", "head_dim": 16}, stage=3, block="last"), SIZE)
    assert torch.equal(edited(images), base(images))
    hi.save(edited, tmp_path / "made")
    again = hi.load(tmp_path / "made").eval()
    assert torch.equal(again(images), edited.eval()(images))
    assert all(
        torch.equal(a, b)
        for a, b in zip(again.state_dict().values(), edited.state_dict().values(), strict=True)
    )


def test_a_branch_whose_norm_begins_at_zero_is_no_reason_to_refuse_a_block_in_it() -> None:
    block = Gated(16)
    block.norm = nn.GroupNorm(2, 16)
    model = net(block)
    nn.init.zeros_(block.norm.weight)
    edited = hi.apply(model, recipe(1), SIZE)
    assert all(check.passed for check in hi.verify(model, edited))
    assert not block.norm.weight.any()  # copies are looked at


@pytest.mark.parametrize("control", ["placebo", "matched"])
def test_controls_stand_in_the_branch_too(control: str) -> None:
    model = net(Gated(16))
    of = {"type": "hmhsa", "head_dim": 16}
    block, plain = (hi.plan(model, recipe("branch", b), SIZE) for b in ({"type": control, "of": of}, of))
    assert [site.node for site in block.sites] == [site.node for site in plain.sites]
    assert block.sites[0].num_params > 0
    assert block.sites[0].inp == plain.sites[0].inp


@pytest.mark.parametrize(
    ("model", "made", "said"),
    [
        (net(Gated(16)), recipe(4), "recipe.edits[0].at.after: a branch of stage 1 has 3 convolutions ('1.0')"),
        (net(Gated(16)), recipe(-4), "recipe.edits[0].at.after: a branch of stage 1 has 3 convolutions ('1.0')"),
        (net(Twin(16)), recipe(1), "recipe.edits[0].at.inside: the chosen blocks of stage 1 have no residual branch"),
        (net(Twin(16)), recipe(1, stage="all"), "the chosen blocks of stage 1 have no residual branch"),
    ],
)  # fmt: skip
def test_what_is_not_there_is_refused(model: nn.Module, made: Any, said: str) -> None:
    with pytest.raises(hi.PlanError) as error:
        hi.plan(model, made, SIZE)
    assert said in str(error.value)


def test_blocks_without_a_branch_are_left_out_beside_others() -> None:
    plan = hi.plan(net(Gated(16), Twin(16), Gated(16)), recipe("addition"), SIZE)
    assert [site.qualname for site in plan.sites] == ["1.0", "1.2"]


@pytest.mark.parametrize(
    ("at", "more", "said"),
    [
        ({"stage": 1, "after": 2}, {}, "'after' says where in a branch (add inside: branch)"),
        ({"stage": 1, "inside": "branch", "after": 0}, {}, "'after' must be the number of a convolution"),
        ({"stage": 1, "inside": "branch", "after": True}, {}, "'after' must be the number of a convolution"),
        ({"stage": 1, "inside": "branch", "after": "sum"}, {}, "'after' must be the number of a convolution"),
        ({"stage": 1, "inside": "stem"}, {}, "'inside' must be"),
        ({"module": "a", "inside": "branch"}, {}, "'inside' does not go with 'module'"),
        ({"stage": 1, "inside": "branch"}, {"position": "before"}, "'position: before' does not go with 'inside'"),
    ],
)  # fmt: skip
def test_recipes_that_do_not_say_where(at: Any, more: Any, said: str) -> None:
    edit = {"op": "insert", "id": "attn", "at": at, "block": {"type": "timm/eca"}, **more}
    with pytest.raises(hi.RecipeError) as error:
        load_recipe({"version": 1, "edits": [edit]})
    assert said in str(error.value)


def test_a_recipe_is_written_as_it_was_read() -> None:
    for after in (1, -1, "branch", "addition"):
        (written,) = load_recipe(recipe(after)).to_dict()["edits"]
        assert written["at"] == {"stage": 1, "block": "each", "inside": "branch", "after": after}
        assert load_recipe(load_recipe(recipe(after)).to_dict()) == load_recipe(recipe(after))
