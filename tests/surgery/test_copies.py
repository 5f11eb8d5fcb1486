"""What is done to an edited model next acts on the block that is there; replace and remove act or are refused."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import timm
import torch
from reader_nets import NETS, Two
from test_python import SIZE, made, out, recipe
from timm.layers import convert_sync_batchnorm
from torch import Tensor, fx, nn
from torchvision.models import resnet18
from torchvision.models.feature_extraction import create_feature_extractor

import hmhsa_insert as hi
from hmhsa_insert.surgery.edit.inserted import RunsChild
from hmhsa_insert.surgery.edit.splice import inserted_modules


def edited(name: str = "Two", init: str = "random") -> tuple[nn.Module, str]:
    model = hi.apply(Two() if name == "Two" else made(name), recipe(init), SIZE)
    ((key, _),) = inserted_modules(model)
    return model, key


def replica_of(network: nn.Module) -> nn.Module:
    """What torch.nn.parallel.replicate makes for the second device."""
    twins = {module: module._replicate_for_data_parallel() for module in network.modules()}
    for module, twin in twins.items():
        for name, child in module._modules.items():
            setattr(twin, name, twins[child])
        for name, parameter in module._parameters.items():
            setattr(twin, name, None if parameter is None else parameter.detach().clone())
        for name, buffer in module._buffers.items():
            setattr(twin, name, None if buffer is None else buffer.clone())
    return twins[network]


@pytest.mark.parametrize("name", ["Two", "Flat", "InPlaceModule", "Graph"])
def test_a_replica_runs_its_own_block(name: str) -> None:
    model, key = edited(name, "identity")
    # torch refuses to replicate a GraphModule: a copy must do
    replica = copy.deepcopy(model) if name == "Graph" else replica_of(model.eval())
    before = out(replica)
    replica.get_submodule(key).gamma = nn.Parameter(torch.full((16,), 0.5))
    assert not torch.equal(out(replica), before)
    ran: list[nn.Module] = []
    block = model.get_submodule(key)
    block.register_forward_hook(lambda module, *_: ran.append(module))  # replicas share the registry of hooks
    out(replica)
    assert block not in ran


class Wrapped(nn.Module):
    """A block wrapped as adapters and checkpoint wrappers do."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner, self.calls = copy.deepcopy(inner), 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        result: Tensor = self.inner(x)
        return result


def compiled(block: nn.Module) -> Any:
    return torch.compile(block, backend="eager")


@pytest.mark.parametrize("wrap", [Wrapped, compiled])
@pytest.mark.parametrize("name", ["Two", "Flat", "InPlaceModule"])
def test_a_wrapped_block_is_the_one_that_runs(name: str, wrap: Callable[[nn.Module], nn.Module]) -> None:
    model, key = edited(name)
    wanted = out(model)
    parent, _, child = key.rpartition(".")
    host = model.get_submodule(parent)
    wrapper = wrap(host.get_submodule(child))
    setattr(host, child, wrapper)
    torch.testing.assert_close(out(model), wanted)
    if wrap is Wrapped:
        assert wrapper.calls == 1
    model.train()(torch.randn(2, *SIZE)).sum().backward()
    assert any(p.grad is not None for p in wrapper.parameters())
    removed = hi.remove(model)
    hooks = [
        h for m in removed.modules() for h in (*m._forward_hooks.values(), *m._forward_pre_hooks.values())
    ]
    assert not any(RunsChild.of_hook(hook) for hook in hooks)
    assert not any(name.endswith("new") for name, _ in removed.named_modules())


def test_a_converter_of_norms_leaves_the_block() -> None:
    small = timm.create_model("mobilenetv3_small_050", num_classes=3)
    plain = nn.SyncBatchNorm.convert_sync_batchnorm
    for base, size, convert in (
        (NETS["BatchNormLast"](), SIZE, plain),
        (small, (3, 64, 64), convert_sync_batchnorm),
    ):
        model = hi.apply(base, recipe("random", stride=2), size)
        ((key, _),) = inserted_modules(model)
        assert not isinstance(model.get_submodule(key.rpartition(".")[0]), nn.BatchNorm2d)
        image = torch.randn(2, *size)
        converted = convert(copy.deepcopy(model))
        ran: list[int] = []
        converted.get_submodule(key).register_forward_hook(lambda *_, ran=ran: ran.append(1))
        with torch.no_grad():
            torch.testing.assert_close(converted.eval()(image), model.eval()(image))
        assert ran == [1]


class Reached(nn.Module):
    """Reaches a stage and an activation by what `keep` makes of them."""

    def __init__(self, keep: Callable[[list[nn.Module]], Callable[[], list[nn.Module]]]) -> None:
        super().__init__()
        self.stem, self.stage = nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, 8, 3, 1, 1)
        self.act, self.fc = nn.ReLU(), nn.Linear(8, 5)
        self.reach = keep([self.stage, self.act])

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for module in self.reach():
            x = module(x)
        return self.fc(x.mean((2, 3)))


class InList:
    def __init__(self, modules: list[nn.Module]) -> None:
        self.modules = modules

    def __call__(self) -> list[nn.Module]:
        return self.modules


class InDict(InList):
    def __init__(self, modules: list[nn.Module]) -> None:
        self.modules = dict(enumerate(modules))

    def __call__(self) -> list[nn.Module]:
        return list(self.modules.values())


def in_closure(modules: list[nn.Module]) -> Callable[[], list[nn.Module]]:
    return lambda: modules


def in_default(modules: list[nn.Module]) -> Callable[[], list[nn.Module]]:
    def reach(modules: list[nn.Module] = modules) -> list[nn.Module]:
        return modules

    return reach


REPLACE = {"op": "replace", "id": "new", "at": {"module": "act"}, "block": {"type": "silu"}}
REMOVE = {"op": "remove", "id": "new", "at": {"module": "stage"}}


@pytest.mark.parametrize("edit", [REPLACE, REMOVE])
@pytest.mark.parametrize("keep", [InList, InDict, in_closure, in_default])
def test_what_the_forward_reaches_past_the_tree_is_not_replaced(keep: Any, edit: dict[str, Any]) -> None:
    with pytest.raises(hi.PlanError, match="past the module tree, by a list, a dict or a closure"):
        hi.apply(Reached(keep), {"version": 1, "edits": [edit]}, SIZE)


def test_what_the_forward_reaches_by_name_is_replaced() -> None:
    with pytest.raises(hi.PlanError, match="'act': it is not called in the forward"):
        hi.apply(Reached(lambda modules: list), {"version": 1, "edits": [REPLACE]}, SIZE)
    model = hi.apply(
        resnet18(num_classes=3), {"version": 1, "edits": [{**REPLACE, "at": {"class": "ReLU"}}]}, SIZE
    )
    assert not any(isinstance(module, nn.ReLU) for module in model.modules())


GLOBALS: list[nn.Module] = []


def test_a_forward_that_a_global_ties_to_the_original_is_refused() -> None:
    base = Two()
    GLOBALS[:] = [base.b.c]
    base.b.forward = lambda x: GLOBALS[0](x).relu()
    with pytest.raises(
        hi.ModelError, match=r"b\.c\.weight: a copy of the network uses this tensor of the original"
    ):
        hi.apply(base, recipe(), SIZE)


def test_hooks_of_the_user_see_no_fake_tensors_and_the_map_with_the_block() -> None:
    base, seen = Two(), []
    base.b.register_forward_hook(lambda _m, _a, output: seen.append(output))
    model = hi.apply(base, recipe("random"), SIZE)
    assert seen == []
    blocks: list[Tensor] = []
    ((_, block),) = inserted_modules(model)
    block.register_forward_hook(lambda _m, _a, output: blocks.append(output))
    out(model)
    assert torch.equal(seen[-1], blocks[-1])
    hooks = list(model.b._forward_hooks.values())
    assert [RunsChild.of_hook(hook) is not None for hook in hooks] == [True, False]


def test_feature_extractors_take_blocks_in_both_their_graphs() -> None:
    base = create_feature_extractor(resnet18(), {"layer3": "c4", "layer4": "c5"})
    model = hi.apply(base, recipe("identity", stride=16), (3, 64, 64))
    assert [check for check in hi.verify(base, model) if not check.passed] == []
    assert isinstance(hi.remove(model), fx.GraphModule)
    nn.init.constant_(
        model.get_submodule("layer3.1.new" if "layer3.1.new" in dict(model.named_modules()) else "new").gamma,
        1.0,
    )
    for training in (True, False):
        image = torch.randn(2, 3, 64, 64)
        with torch.no_grad():
            assert not torch.equal(model.train(training)(image)["c5"], base.train(training)(image)["c5"])


@pytest.mark.parametrize("backend", ["tree", "graph"])
def test_frozen_parts_stay_frozen(backend: Any, tmp_path: Any) -> None:
    base = timm.create_model("resnet18", num_classes=3).train()
    base.bn1.eval().requires_grad_(False)
    size = (3, 64, 64)
    model = hi.apply(base, recipe(stride=8), size, backend=backend)
    fresh = timm.create_model("resnet18", num_classes=3)
    loaded = hi.load(hi.save(model, tmp_path / "artifact"), base=fresh)
    models = [model, loaded] if backend == "graph" else [model, loaded, hi.remove(model)]
    for each in models:
        assert each.training
        assert not each.get_submodule("bn1").training
        assert not each.get_submodule("bn1").weight.requires_grad
        assert each.get_submodule("layer1.0.bn1").training
        assert each.get_submodule("layer1.0.bn1").weight.requires_grad


class OtherState(Two):
    """Returns copies from state_dict, as models that gather or rename do."""

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        return {key: value.clone() for key, value in super().state_dict(*args, **kwargs).items()}


def test_weights_are_written_into_the_parameters(tmp_path: Any) -> None:
    torch.manual_seed(0)
    model = hi.apply(OtherState(), recipe("random"), SIZE)
    torch.manual_seed(1)
    again = hi.load(hi.save(model, tmp_path / "artifact"), base=OtherState())
    assert torch.equal(out(again), out(model))


def test_a_map_that_stands_in_several_places_of_an_output_is_replaced_in_all() -> None:
    class Doubled(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return 2 * x

    host = nn.Module()
    host.add_module("child", Doubled())
    one, other = torch.ones(2), torch.full((2,), 5.0)
    first, kept, (second,), named = RunsChild("child", (0,)).on_output(
        host, (), (one, other, [one], {"k": one})
    )
    assert kept is other
    assert [each.tolist() for each in (first, second, named["k"])] == [[2.0, 2.0]] * 3
    assert one.tolist() == [1.0, 1.0]
