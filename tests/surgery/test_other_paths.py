"""A block acts on every reader of its map on every path of a forward, or the plan is refused; nothing else changes."""

from __future__ import annotations

import copy
from itertools import pairwise
from typing import Any

import pytest
import torch
from edits import image, insert, recipe
from other_path_nets import (
    NETS,
    REGISTERED,
    TABLES,
    Flat,
    KeepsTables,
    ReadsAnAttributeOfADict,
    ReadsAReadOnlyMapping,
    Registering,
    grid,
)
from torch import Tensor, nn
from torch.nn.utils import parametrize

import hmhsa_insert as hi
from hmhsa_insert.surgery.edit.splice import inserted_modules

SIZE = (3, 32, 32)
RIGHT = [net for net in NETS if hasattr(net, "expected")]


def _edit(net: type[Flat], init: str = "random") -> dict[str, Any]:
    at = getattr(net, "at", {"stride": [4], "block": "last"})
    return recipe(insert(at, {"type": "irb", "expansion": 1}, id="new", init=init))


def _same(one: Any, other: Any) -> bool:
    pairs = zip(one, other, strict=True) if isinstance(one, tuple) else [(one, other)]
    return all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("net", [net for net in NETS if net not in RIGHT], ids=lambda net: net.__name__)
@pytest.mark.parametrize("init", ["identity", "random"])
def test_what_cannot_be_proved_is_refused(net: type[Flat], init: str) -> None:
    with pytest.raises(hi.PlanError, match=net.says):
        hi.apply(net(), _edit(net, init), SIZE)


@pytest.mark.parametrize("net", RIGHT, ids=lambda net: net.__name__)
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("scale", [1.0, 200.0])  # with which an early exit is taken
def test_the_block_acts_as_if_written_in_by_hand(net: type[Flat], training: bool, scale: float) -> None:
    torch.manual_seed(0)
    base = net()
    model = hi.apply(base, _edit(net), SIZE)
    assert all(check.passed for check in hi.verify(base, model))
    ((_, block),) = inserted_modules(model)
    block = copy.deepcopy(block)
    for module in (base, model, block):
        module.train(training)
    x = image(*SIZE) * scale
    wanted: Any = base.expected(x, block)  # type: ignore[operator]
    assert _same(model(x), wanted)
    assert not _same(wanted, base(x))
    assert _same(hi.remove(model).train(training)(x), base(x))


@pytest.mark.parametrize(
    "net", [ReadsAnAttributeOfADict, ReadsAReadOnlyMapping], ids=lambda net: net.__name__
)
def test_a_block_after_a_module_that_returns_a_mapping_is_hooked_there(net: type[Flat]) -> None:
    (site,) = hi.plan(net(), _edit(net), SIZE).sites
    assert (site.action, site.qualname, site.path) == ("hook_output", "b", ("map",))


def test_what_a_network_keeps_outside_of_it_stays_the_users() -> None:
    base, x = KeepsTables(), image(*SIZE)
    before = base.eval()(x).detach().numpy()
    registered, calls = dict(REGISTERED), Registering.calls
    model = hi.apply(base, _edit(KeepsTables), SIZE)
    assert (REGISTERED, Registering.calls) == (registered, calls)
    assert REGISTERED["tables"] is KeepsTables
    grid.cache_clear()
    hi.locate_stages(base, SIZE)
    kept = [grid(8), *TABLES.values()]
    assert all(type(table) is Tensor for table in kept)
    assert (base(x).detach().numpy() == before).all()
    assert type(model(x)) is Tensor


class Doubled(nn.Module):
    def forward(self, weight: Tensor) -> Tensor:
        return weight * 2


class Scaled(Flat):
    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(16, 1, 1))

    def forward(self, x: Tensor) -> Any:
        return self.head(self.gain * torch.relu(self.c2(self.stem(x))))


@pytest.mark.parametrize("when", ["before", "after"])
def test_parametrizations_of_a_host_come_and_go(when: str) -> None:
    torch.manual_seed(0)
    base, x = Scaled(), image(*SIZE)
    plain = base(x)
    if when == "before":
        parametrize.register_parametrization(base, "gain", Doubled())
    model = hi.apply(base, _edit(Scaled), SIZE)
    if when == "after":
        parametrize.register_parametrization(model, "gain", Doubled())
    removed = hi.remove(model)
    doubled = removed(x)
    assert not torch.equal(doubled, plain)
    parametrize.remove_parametrizations(model, "gain", leave_parametrized=False)
    assert torch.equal(hi.remove(model)(x), plain)
    assert torch.equal(removed(x), doubled)  # a copy has a class of its own


class GoesTwoWays(nn.Module):
    """Calls its activation by the tree in evaluation mode, and past it in training."""

    def __init__(self) -> None:
        super().__init__()
        self.c, self.act, self.fc = nn.Conv2d(3, 8, 3, 2, 1), nn.GELU(), nn.Linear(8, 5)
        self.__dict__["past"] = [self.act]

    def forward(self, x: Tensor) -> Tensor:
        y = self.c(x)
        return self.fc((self.past[0](y) if self.training else self.act(y)).mean((2, 3)))


@pytest.mark.parametrize("op", ["replace", "remove"])
def test_a_module_that_training_reaches_past_the_tree_is_not_replaced(op: str) -> None:
    edit = {"op": op, "id": "new", "at": {"module": "act"}}
    if op == "replace":
        edit["block"] = {"type": "irb", "expansion": 1}
    with pytest.raises(hi.PlanError, match=r"in training mode, .* past the module tree"):
        hi.apply(GoesTwoWays(), recipe(edit), SIZE)


class TrunkWithoutGradients(Flat):
    def forward(self, x: Tensor) -> Any:
        with torch.no_grad():
            y = torch.relu(self.c2(self.stem(x)))
        return self.head(y)


class ForwardWithoutGradients(Flat):
    @torch.no_grad()
    def forward(self, x: Tensor) -> Any:
        return self.head(torch.relu(self.c2(self.stem(x))))


@pytest.mark.parametrize("net", [TrunkWithoutGradients, ForwardWithoutGradients])
def test_what_is_frozen_stays_frozen_and_verification_says_that_the_block_learns_nothing(
    net: type[Flat],
) -> None:
    base = net()
    model = hi.apply(base, _edit(net, "identity"), SIZE)
    failed = [check.name for check in hi.verify(base, model) if not check.passed]
    assert failed == ["gradients"]
    out = model.train()(image(*SIZE))
    if out.requires_grad:
        out.sum().backward()
    learning = {name for name, parameter in model.named_parameters() if parameter.grad is not None}
    assert learning == ({"fc.weight", "fc.bias"} if net is TrunkWithoutGradients else set())


class ThreeExits(nn.Module):
    """Leaves after any of its stages, by what it sees there."""

    def __init__(self) -> None:
        super().__init__()
        widths = (3, 8, 8, 16, 16)
        pairs = pairwise(widths)
        self.stages = nn.ModuleList(nn.Sequential(nn.Conv2d(a, b, 3, 2, 1), nn.ReLU()) for a, b in pairs)
        self.heads = nn.ModuleList(nn.Linear(width, 5) for width in widths[1:])

    def forward(self, x: Tensor) -> Tensor:
        for stage, head in zip(self.stages, self.heads, strict=True):
            x = stage(x)
            out = head(x.mean((2, 3)))
            if out.softmax(1).amax().item() > 0.9:
                return out
        return out


def test_every_stage_behind_an_exit_is_found_and_edited() -> None:
    torch.manual_seed(0)
    base = ThreeExits()
    found = hi.locate_stages(base, SIZE)
    assert [stage.stride for stage in found] == [2, 4, 8, 16]
    block = {"type": "irb", "expansion": 1}
    model = hi.apply(base, recipe(insert({"stage": "all"}, block, id="new", init="random")), SIZE)
    assert all(check.passed for check in hi.verify(base, model))
    assert [key for key, _ in inserted_modules(model)] == [f"stages.{number}.1.new" for number in (1, 2, 3)]
