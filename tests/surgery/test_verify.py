"""Verification: every kind of broken edit fails the check that is there for it, and good edits pass all of them."""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any

import pytest
import timm
import torch
import torch.nn.functional as F
from edits import SIZE, insert, recipe
from nets import AuxiliaryHead, CalledTwice, ChannelsLast, DictOut, InForward, Plain, Tied, TupleOut
from torch import Tensor, nn

import hmhsa_insert as hi
from hmhsa_insert.surgery.edit.splice import inserted_modules, ledgers

CHECKS = ["base weights", "eval outputs", "other size", "wiring", "train outputs", "gradients", "blocks act"]


class Dropping(Plain):
    """Draws random numbers in train mode, after the place where blocks are inserted."""

    def forward(self, x: Tensor) -> Tensor:
        return self.head(F.dropout(self.features(x).mean((2, 3)), 0.5, self.training))


def edited(network: type[nn.Module] = Plain) -> tuple[nn.Module, nn.Module]:
    base = network()
    return base, hi.apply(base, recipe(insert({"stage": 2})), SIZE)


def block_of(model: nn.Module) -> nn.Module:
    ((_, module),) = inserted_modules(model)
    return module


def host_of(model: nn.Module) -> nn.Module:
    return model.get_submodule("stages.1.1")


def failed(base: nn.Module, model: nn.Module, size: Any = None) -> dict[str, str]:
    checks = hi.verify(base, model, size)
    assert [check.name for check in checks] == CHECKS
    return {check.name: check.detail for check in checks if not check.passed}


@pytest.mark.parametrize(
    "network",
    [Plain, Dropping, ChannelsLast, CalledTwice, TupleOut, InForward, Tied, AuxiliaryHead],
)
@pytest.mark.parametrize("backend", ["tree", "graph"])
def test_good_edits_pass_every_check(network: type[nn.Module], backend: Any) -> None:
    if (network, backend) == (AuxiliaryHead, "graph"):
        pytest.skip("one graph cannot hold a forward that differs in train and eval mode")
    base = network()
    stage = hi.locate_stages(base, SIZE)[-1].index
    model = hi.apply(base, recipe(insert({"stage": stage})), SIZE, backend=backend)
    checks = hi.verify(base, model)
    assert [check.name for check in checks] == CHECKS
    assert [check.passed for check in checks] == [True] * 7, checks
    assert [check.value for check in checks] == [0, 0, None, 0, 0, 0, 0]
    count = sum(len(list(module.parameters())) for _, module in inserted_modules(model))
    assert checks[-2].detail == f"reach {count} of {count} new parameters"
    assert checks[-1].detail == "each of 1 moves the outputs once its gamma is not zero"


def test_several_inputs_by_name() -> None:
    base = DictOut()
    model = hi.apply(base, recipe(insert({"stage": 2})), {"image": SIZE, "scale": (3,)})
    assert not failed(base, model)


def test_edits_that_change_the_function_pass_and_say_so() -> None:
    base = Plain()
    model = hi.apply(base, recipe(insert({"stage": 2}, init="random")), SIZE)
    checks = {check.name: check for check in hi.verify(base, model)}
    assert all(check.passed for check in checks.values())
    assert checks["eval outputs"].detail == "the edit changes the function, as its recipe says"
    assert checks["eval outputs"].value > 0
    swap = {"op": "replace", "id": "silu", "at": {"class": "ReLU"}, "block": {"type": "silu"}}
    model = hi.apply(base, recipe(swap), SIZE)
    checks = {check.name: check for check in hi.verify(base, model)}
    assert all(check.passed for check in checks.values())
    assert checks["gradients"].detail == "there are no new parameters"


def open_gamma(model: nn.Module) -> None:
    block_of(model).gamma.data[3] = 0.5


def next_float(model: nn.Module) -> None:
    weight = model.stages[0][0].conv1.weight.data
    weight[0, 0, 0, 0] = torch.nextafter(weight[0, 0, 0, 0], torch.tensor(9.0))


def other_zero(model: nn.Module) -> None:
    model.stages[0][0].bn1.bias.data[0] = -0.0


def remove_the_hook(model: nn.Module) -> None:
    host_of(model)._forward_hooks.clear()


BLOCKS: list[nn.Module] = []


def hook_by_global(model: nn.Module) -> None:
    """Run the block of this very model in every copy, as a hook that finds it in a global does."""
    host = host_of(model)
    BLOCKS[:] = [block_of(model)]
    host._forward_hooks.clear()
    host.register_forward_hook(lambda _module, _args, output: BLOCKS[0](output))


def read_past(model: nn.Module) -> None:
    """Let the network read what its stage made before the block, as a feature kept inside of it is read."""
    host = host_of(model)
    hooks = list(host._forward_hooks.values())
    host._forward_hooks.clear()

    def keep(module: nn.Module, args: object, output: Tensor) -> Tensor:
        hooks[0](module, args, output)
        return output

    host.register_forward_hook(keep)


def run_twice(model: nn.Module) -> None:
    hook = next(iter(host_of(model)._forward_hooks.values()))
    host_of(model).register_forward_hook(hook)


def run_norms_twice(model: nn.Module) -> None:
    def run(module: nn.Module, _args: object) -> None:
        module.bn2(torch.zeros(2, 32, 4, 4))

    host_of(model).register_forward_pre_hook(run)


def draw_in_training(model: nn.Module) -> None:
    def forward(self: nn.Module, x: Tensor) -> Tensor:
        if self.training:
            torch.rand(3)
        return type(self).forward(self, x)

    block = block_of(model)
    block.forward = types.MethodType(forward, block)


def unused_parameter(model: nn.Module) -> None:
    block_of(model).spare = nn.Linear(3, 3)


def cut_the_gradient(model: nn.Module) -> None:
    block = block_of(model)
    block.forward = types.MethodType(lambda self, x: type(self).forward(self, x).detach() + 0 * x, block)


def crop_other_sizes(model: nn.Module) -> None:
    def forward(self: nn.Module, x: Tensor) -> Tensor:
        return x + self.gamma[:, None, None] * self.block(x)[..., :8, :8].repeat(1, 1, x.shape[2] // 8, 1)

    block = block_of(model)
    block.forward = types.MethodType(forward, block)


def grow_other_sizes(model: nn.Module) -> None:
    def forward(self: nn.Module, x: Tensor) -> Tensor:
        out: Tensor = type(self).forward(self, x)
        return out if x.shape[-1] == 8 else out.mean((2, 3), keepdim=True)

    block = block_of(model)
    block.forward = types.MethodType(forward, block)


def give_nan(model: nn.Module) -> None:
    block = block_of(model)
    block.forward = types.MethodType(lambda self, x: type(self).forward(self, x) * float("nan"), block)


def overflow(model: nn.Module) -> None:
    """Leave gamma at zero and make the block infinite: 0 · inf is NaN."""
    block = block_of(model)
    block.block.branch = types.MethodType(lambda self, x: x / 0.0, block.block)


def change_the_host(model: nn.Module) -> None:
    host_of(model).bn2.eps = 0.5


def add_a_little(model: nn.Module) -> None:
    block = block_of(model)
    block.forward = types.MethodType(lambda self, x: type(self).forward(self, x) + 1e-6, block)


def raise_in_eval(model: nn.Module) -> None:
    block = block_of(model)

    def forward(self: nn.Module, x: Tensor) -> Tensor:
        if not self.training:
            raise RuntimeError("not made for eval")
        out: Tensor = type(self).forward(self, x)
        return out

    block.forward = types.MethodType(forward, block)


# What is done to a good edit, the checks it must fail, and a part of what the first of them says.
BROKEN: dict[Callable[[nn.Module], None], tuple[set[str], str]] = {
    open_gamma: ({"eval outputs", "train outputs"}, "gamma of 'stages.1.1.added' is not zero"),
    next_float: (
        {"base weights", "train outputs"},
        "86 of 87 base tensors byte-identical; lost [], changed ['stages.0.0.conv1.w",
    ),
    other_zero: ({"base weights"}, "changed ['stages.0.0.bn1.bias']"),
    remove_the_hook: (
        {"wiring", "gradients", "blocks act"},
        "'stages.1.1.added' runs 0 times in one forward",
    ),
    hook_by_global: ({"wiring", "gradients", "blocks act"}, "'stages.1.1.added' runs 0 times in one forward"),
    read_past: ({"wiring", "gradients", "blocks act"}, "runs 0 times in one forward"),
    run_twice: ({"wiring"}, "runs 2 times"),
    run_norms_twice: ({"train outputs"}, "running statistics"),
    draw_in_training: ({"train outputs"}, "max |Δ|"),
    unused_parameter: ({"gradients"}, "not ['stages.1.1.added.spare.weight', 'stages.1.1.added.spare.bias']"),
    cut_the_gradient: ({"gradients"}, "reach 0 of 6 new parameters"),
    crop_other_sizes: ({"other size", "wiring"}, "its forward failed on an input of 3×128×192"),
    give_nan: ({"eval outputs", "train outputs", "gradients"}, "max |Δ| inf"),
    overflow: ({"eval outputs", "train outputs", "gradients"}, "max |Δ| inf"),
    change_the_host: ({"eval outputs", "wiring", "train outputs"}, "max |Δ|"),
    add_a_little: ({"eval outputs", "train outputs"}, "max |Δ|"),
    raise_in_eval: (
        {"eval outputs", "other size", "wiring"},
        "the run raises RuntimeError: not made for eval",
    ),
}


@pytest.mark.parametrize("break_it", BROKEN, ids=lambda function: function.__name__)
def test_a_broken_edit_fails_the_right_check(break_it: Callable[[nn.Module], None]) -> None:
    wanted, said = BROKEN[break_it]
    base, model = edited(Dropping)
    break_it(model)
    found = failed(base, model)
    assert found.keys() == wanted
    assert said in next(found[name] for name in CHECKS if name in found)


def test_a_lost_key() -> None:
    base, model = edited()
    del model.stages[2][1].bn2
    assert "lost ['stages.2.1.bn2.weight', " in failed(base, model)["base weights"]


def test_a_shape_that_changes_at_other_sizes() -> None:
    """The network pools, so that only the map before it would tell: a network that returns the map does."""

    class Map(Plain):
        def forward(self, x: Tensor) -> Tensor:
            return self.stages[1](self.stages[0](self.stem(x)))

    base, model = edited(Map)
    grow_other_sizes(model)
    assert failed(base, model) == {"other size": "returns 2×32×1×1 on 3×128×192, the base network 2×32×16×24"}


def test_an_edit_on_an_edit_is_held_against_the_first() -> None:
    base, once = edited()
    open_gamma(once)
    twice = hi.apply(once, recipe(insert({"stage": 3}, id="more")), SIZE)
    assert not failed(once, twice)
    assert failed(base, twice).keys() == {"eval outputs", "train outputs"}
    nn.init.constant_(dict(inserted_modules(twice))["stages.2.1.more"].gamma, 1.0)
    assert "gamma of 'stages.2.1.more'" in failed(once, twice)["eval outputs"]


def test_identity_is_tested_on_norms_that_are_not_zero() -> None:
    """With the last gamma of a residual branch at zero, a block inside of that branch would pass whatever it does."""
    base = timm.create_model("resnet18", num_classes=5, zero_init_last=True)
    assert not base.layer3[1].bn2.weight.any()
    model = hi.apply(base, recipe(insert({"module": "layer3.1.conv1"})), SIZE)
    nn.init.constant_(dict(inserted_modules(model))["layer3.1.conv1.added"].gamma, 1.0)
    assert "eval outputs" in failed(base, model)


def test_gradients_can_be_left_out() -> None:
    assert [check.name for check in hi.verify(*edited(), gradients=False)] == CHECKS[:-2]


def test_another_input_size_is_taken() -> None:
    assert "on 3×32×96" in hi.verify(*edited(), (3, 32, 96))[1].detail


def test_a_model_that_was_not_edited_is_refused() -> None:
    with pytest.raises(hi.ModelError, match="nothing was inserted into this model"):
        hi.verify(Plain(), Plain())


def test_both_models_are_left_as_they_were() -> None:
    base, model = edited(Dropping)
    base.eval()
    model.stages[0].eval()
    model.head.weight.grad = torch.ones_like(model.head.weight)
    model.stem[0].weight.requires_grad_(False)
    before = [snapshot(base), snapshot(model)]
    torch.manual_seed(3)
    wanted = torch.rand(4)
    torch.manual_seed(3)
    hi.verify(base, model)
    assert torch.equal(torch.rand(4), wanted)
    assert [snapshot(base), snapshot(model)] == before
    assert torch.is_grad_enabled()


def snapshot(model: nn.Module) -> list[Any]:
    """Return all that a check could leave behind: values, modes, hooks, gradients, what needs gradients."""
    state = {key: tensor.clone().tolist() for key, tensor in model.state_dict().items()}
    parts = [
        (name, module.training, len(module._forward_hooks), len(module._forward_pre_hooks))
        for name, module in model.named_modules()
    ]
    grads = [
        (name, p.requires_grad, None if p.grad is None else p.grad.sum().item())
        for name, p in model.named_parameters()
    ]
    return [state, parts, grads, len(ledgers(model)), sorted(vars(model))]
