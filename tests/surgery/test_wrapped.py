"""Networks that cannot be edited as they stand are refused at once, with the reason and what to do."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
import torch
from edits import SIZE, insert, recipe
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule

import hmhsa_insert as hi

BLOCK = {"type": "irb", "expansion": 1}


class Net(nn.Module):
    """Two stages, a list of layers and a head; `wrap` may wrap one of them."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU())
        self.b = nn.Sequential(nn.Conv2d(8, 16, 3, 2, 1), nn.ReLU())
        self.rest, self.fc = nn.ModuleList([nn.Conv2d(16, 16, 3, 1, 1)]), nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.b(self.a(x))
        for layer in self.rest:
            x = x + layer(x).relu()
        return self.fc(x.mean((2, 3)))


def _with(name: str, wrap: Callable[[nn.Module], Any]) -> nn.Module:
    model = Net()
    parent, _, child = name.rpartition(".")
    holder = model.get_submodule(parent)
    made = wrap(holder.get_submodule(child))
    if isinstance(made, nn.Module):
        holder._modules[child] = made
    return model


def _compiled(module: nn.Module) -> Any:
    return torch.compile(module, backend="eager")


def _in_place(module: nn.Module) -> None:
    module.compile(backend="eager")


def _sharded(module: nn.Module) -> None:
    """Do to the class what ``fully_shard`` does, which needs processes."""
    kind = type(module)
    module.__class__ = type(f"FSDP{kind.__name__}", (FSDPModule, kind), {})


def _itself(model: nn.Module) -> nn.Module:
    model.compile(backend="eager")
    return model


WRAPPED = {
    "compiled child": (lambda: _with("a", _compiled), "a (OptimizedModule)", "compile the result"),
    "compiled in a list": (
        lambda: _with("rest.0", _compiled),
        "rest.0 (OptimizedModule)",
        "compile the result",
    ),
    "compiled leaf": (lambda: _with("b.0", _compiled), "b.0 (OptimizedModule)", "compile the result"),
    "compiled in place": (lambda: _with("a", _in_place), "a", "compile the result"),
    "leaf compiled in place": (lambda: _with("rest.0", _in_place), "rest.0", "compile the result"),
    "root compiled in place": (lambda: _itself(Net()), "Net", "compile the result"),
    "data parallel child": (lambda: _with("b", nn.DataParallel), "b (DataParallel)", "inner module"),
    "sharded child": (lambda: _with("b", _sharded), "b (FSDPModule)", "before sharding"),
}


@pytest.mark.parametrize("what", WRAPPED)
@pytest.mark.parametrize("call", ["locate", "plan", "apply"])
def test_a_wrapped_child_is_refused_like_a_wrapped_model(what: str, call: str) -> None:
    build, where, tip = WRAPPED[what]
    model = build()
    edit = recipe(insert({"stride": 4}, BLOCK))
    calls: dict[str, Callable[[], Any]] = {
        "locate": lambda: hi.locate_stages(model, SIZE),
        "plan": lambda: hi.plan(model, edit, SIZE),
        "apply": lambda: hi.apply(model, edit, SIZE),
    }
    start = time.process_time()
    with pytest.raises(hi.ModelError) as caught:
        calls[call]()
    assert time.process_time() - start < 5  # nothing was compiled, which takes longer
    (problem,) = caught.value.problems
    assert problem.where == where
    assert tip in problem.tip


class CompiledFunctions(Net):
    """Compiled functions hide no module: they run as written while the network is traced."""

    def __init__(self) -> None:
        super().__init__()
        self.act = torch.compile(lambda x: torch.relu(x) * 2, backend="eager")

    @torch.compile(backend="eager")
    def tail(self, x: Tensor) -> Tensor:
        return self.fc(x.mean((2, 3)))

    def forward(self, x: Tensor) -> Tensor:
        return self.tail(self.act(self.b(self.a(x))))


def test_compiled_functions_are_traced_as_they_are_written() -> None:
    base = CompiledFunctions()
    edited = hi.apply(base, recipe(insert({"module": "b.1"}, BLOCK)), SIZE)
    assert [stage.stride for stage in hi.locate_stages(base, SIZE)] == [2, 4]
    x = torch.randn(2, *SIZE)
    assert torch.equal(edited.eval()(x), base.eval()(x))
    nn.init.constant_(edited.get_submodule("b.1.added").gamma, 1.0)  # type: ignore[arg-type]
    assert not torch.equal(edited(x), base(x))


def test_a_scripted_child_hides_only_itself() -> None:
    model = _with("a", torch.jit.script)
    assert [stage.stride for stage in hi.locate_stages(model, SIZE)] == [2, 4]
    with pytest.raises(hi.PlanError, match=r"'a\.0' is not called in the forward"):
        hi.apply(model, recipe(insert({"module": "a.0"}, BLOCK)), SIZE)
