"""Bars of the main job on real networks: identity, kept weights, learning blocks, copies, compilers."""

from __future__ import annotations

import copy
from collections import OrderedDict

import pytest
import timm
import torch
import torchvision
from edits import SIZE, image, insert, recipe
from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torchvision.models._utils import IntermediateLayerGetter
from torchvision.models.detection.backbone_utils import BackboneWithFPN

import hmhsa_insert as hi
import hmhsa_insert.models
from hmhsa_insert.surgery.edit.splice import inserted_modules
from hmhsa_insert.surgery.locate.trace import output_shapes, trace

NETWORKS = {
    "timm resnet18": lambda: timm.create_model("resnet18", num_classes=7),
    "timm resnet50": lambda: timm.create_model("resnet50", num_classes=7, drop_path_rate=0.1),
    "torchvision resnet18": lambda: torchvision.models.resnet18(num_classes=7),
    "torchvision resnet50": lambda: torchvision.models.resnet50(num_classes=7),
    "timm mobilenetv2_100": lambda: timm.create_model("mobilenetv2_100", num_classes=7, drop_rate=0.1),
    "torchvision mobilenet_v2": lambda: torchvision.models.mobilenet_v2(num_classes=7),
    "irb_tiny": lambda: timm.create_model("irb_tiny", num_classes=7, drop_path_rate=0.1),
}
PLACES = {"last": {"stage": "all"}, "each": {"stage": "all", "block": "each"}}


def randomize(model: nn.Module) -> nn.Module:
    """Make BatchNorm random: the last gamma of a residual branch often starts at zero and would hide any block."""
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, _NormBase):
                for tensor, low in ((module.weight, 0.5), (module.bias, -0.5), (module.running_mean, -0.5)):
                    tensor.uniform_(low, low + 1)
                module.running_var.uniform_(0.5, 1.5)
    return model


_SHORT = ("timm resnet18", "irb_tiny")


@pytest.fixture(
    scope="module",
    params=[name if name in _SHORT else pytest.param(name, marks=pytest.mark.long) for name in NETWORKS],
)
def base(request) -> nn.Module:
    torch.manual_seed(1)
    return randomize(NETWORKS[request.param]())


@pytest.fixture(scope="module", params=PLACES)
def pair(request, base) -> tuple[nn.Module, nn.Module]:
    return base, hi.apply(base, recipe(insert(PLACES[request.param])), SIZE)


def run(model: nn.Module, train: bool) -> torch.Tensor:
    model.train(train)
    torch.manual_seed(3)
    with torch.no_grad():
        return model(image())


def test_eval_outputs_are_identical(pair) -> None:
    base, edited = pair
    assert torch.equal(run(base, False), run(edited, False))


def test_train_outputs_and_statistics_are_identical_under_one_seed(pair) -> None:
    base, edited = (copy.deepcopy(model) for model in pair)
    assert torch.equal(run(base, True), run(edited, True))
    after = hi.base_state_dict(edited)
    moved = 0
    for key, tensor in base.named_buffers():
        assert torch.equal(tensor, after[key])
        moved += not torch.equal(tensor, dict(pair[0].named_buffers())[key])
    assert moved


def test_base_keys_and_tensors_are_a_subset_and_the_class_is_kept(pair) -> None:
    base, edited = pair
    state = edited.state_dict()
    for key, tensor in base.state_dict().items():
        assert torch.equal(tensor, state[key])
        assert tensor.dtype == state[key].dtype
    new = state.keys() - base.state_dict().keys()
    assert new
    assert all(".added." in key for key in new)
    assert isinstance(edited, type(base))
    assert edited.__class__ is base.__class__
    edited.load_state_dict(base.state_dict(), strict=False)


def test_gradients_reach_every_new_parameter_after_one_step(pair) -> None:
    edited = copy.deepcopy(pair[1]).train()
    optimizer = torch.optim.SGD(edited.parameters(), lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        edited(image()).pow(2).mean().backward()
        optimizer.step()
    for _, module in inserted_modules(edited):
        assert module.gamma.any()
        for name, parameter in module.named_parameters():
            assert parameter.grad is not None
            assert parameter.grad.isfinite().all()
            assert parameter.grad.any(), name


def test_a_deep_copy_runs_its_own_block(pair) -> None:
    edited = copy.deepcopy(pair[1]).eval()
    twin = copy.deepcopy(edited)
    before = run(edited, False)
    for _, module in inserted_modules(twin):
        nn.init.constant_(module.gamma, 1.0)
    assert torch.equal(run(edited, False), before)
    assert not torch.equal(run(twin, False), before)
    del edited
    assert not torch.equal(run(twin, False), before)


def test_remove_gives_the_base_network_back(pair) -> None:
    base, edited = pair
    again = hi.remove(edited)
    assert list(again.state_dict()) == list(base.state_dict())
    assert torch.equal(run(again, False), run(base, False))
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in again.modules())
    assert list(hi.base_state_dict(edited)) == list(base.state_dict())


def test_the_graph_backend_gives_the_same_numbers(pair) -> None:
    base, _ = pair
    graph = hi.apply(base, recipe(insert({"stage": "all"})), SIZE, backend="graph")
    assert isinstance(graph, torch.fx.GraphModule)
    assert set(base.state_dict()) <= set(graph.state_dict())
    assert torch.equal(run(graph, False), run(base, False))
    tree = hi.apply(base, recipe(insert({"stage": "all"})), SIZE)
    for model in (graph, tree):
        for _, module in inserted_modules(model):
            nn.init.constant_(module.gamma, 0.5)
    assert torch.equal(run(graph, False), run(tree, False))
    assert torch.equal(run(graph, True), run(tree, True))


def test_other_sizes_run(pair) -> None:
    base, edited = pair
    base.eval(), edited.eval()
    for size in ((3, 97, 131), (3, 80, 64)):
        with torch.no_grad():
            assert torch.equal(base(image(*size, batch=1)), edited(image(*size, batch=1)))
    for height, width in ((224, 224), (256, 256), (320, 480)):  # on fake tensors: shapes, not numbers
        assert output_shapes(trace(edited, (3, height, width))) == [(2, 7)]


def test_compile_and_export_accept_it(base) -> None:
    edited = hi.apply(base, recipe(insert({"stage": 3})), SIZE).eval()
    for _, module in inserted_modules(edited):
        nn.init.constant_(module.gamma, 0.5)
    with torch.no_grad():
        wanted = edited(image())
        torch._dynamo.reset()
        compiled = torch.compile(edited, backend="eager", fullgraph=True)
        torch.testing.assert_close(compiled(image()), wanted)
        exported = torch.export.export(edited, (image(),)).module()
        torch.testing.assert_close(exported(image()), wanted)
        torch.testing.assert_close(wanted, edited(image()), rtol=0, atol=0)
        assert not torch.equal(wanted, base.eval()(image()))


def test_layer_getter_and_fpn_builder_accept_it() -> None:
    base = torchvision.models.resnet18()
    edited = hi.apply(base, recipe(insert({"stage": "all"})), SIZE).eval()
    for _, module in inserted_modules(edited):
        nn.init.constant_(module.gamma, 0.5)
    layers = {f"layer{i}": str(i) for i in (1, 2, 3, 4)}
    features = IntermediateLayerGetter(edited, return_layers=layers)(image())
    assert isinstance(features, OrderedDict)
    plain = IntermediateLayerGetter(base.eval(), return_layers=layers)(image())
    assert all(not torch.equal(features[k], plain[k]) for k in features)
    pyramid = BackboneWithFPN(edited, layers, [64, 128, 256, 512], 32)
    assert next(tuple(t.shape[1:]) for t in pyramid(image()).values()) == (32, 16, 16)
    assert any("added" in key for key in pyramid.state_dict())


def test_the_global_random_state_is_left_alone(base) -> None:
    torch.manual_seed(7)
    wanted = torch.rand(3)
    torch.manual_seed(7)
    hi.apply(base, recipe(insert({"stage": "all"})), SIZE)
    assert torch.equal(torch.rand(3), wanted)


def test_another_edit_does_not_change_a_blocks_initial_values(base) -> None:
    alone = hi.apply(base, recipe(insert({"stage": 3})), SIZE)
    both = hi.apply(base, recipe(insert({"stage": 2}, id="other"), insert({"stage": 3})), SIZE)
    state = both.state_dict()
    shared = [key for key in alone.state_dict() if ".added." in key]
    assert shared
    assert all(torch.equal(alone.state_dict()[key], state[key]) for key in shared)
    reseeded = hi.apply(base, recipe(insert({"stage": 3})), SIZE, seed=1).state_dict()
    assert any(not torch.equal(alone.state_dict()[key], reseeded[key]) for key in shared)
