"""What users do to an edited model next acts on the block that is there."""

import copy
from typing import Any

import pytest
import timm
import torch
from torch import nn
from torch.nn.utils import prune

import hmhsa_insert as hi

SIZE = (3, 64, 64)
BLOCKS: dict[str, dict[str, Any]] = {
    "hmhsa": {"type": "hmhsa", "head_dim": 16},
    "hmhsa_pooled": {"type": "hmhsa_pooled", "head_dim": 16},
    "mhsa": {"type": "mhsa", "head_dim": 16},
    "transformer": {"type": "transformer", "head_dim": 16},
    "transcnn": {"type": "transcnn", "head_dim": 16},
}
every_block = pytest.mark.parametrize("block", BLOCKS.values(), ids=BLOCKS)
libs = pytest.mark.libs


def edited(block: dict[str, Any]) -> nn.Module:
    """Return a network with a block that is not the identity."""
    torch.manual_seed(1)
    recipe = {
        "version": 1,
        "name": "one",
        "edits": [
            {
                "id": "attn",
                "op": "insert",
                "at": {"stage": 3, "block": "last"},
                "block": block,
                "init": "random",
            }
        ],
    }
    return hi.apply(timm.create_model("test_resnet", num_classes=7), recipe, input_size=SIZE).eval()


def products(model: nn.Module) -> dict[str, nn.Module]:
    """Return the layers of the block that multiply by a matrix or a kernel."""
    return {
        name: module
        for name, module in model.named_modules()
        if ".attn." in name and getattr(module, "weight", torch.empty(0)).ndim >= 2
    }


@every_block
def test_pruned_weights_are_those_that_count(block: dict[str, Any]) -> None:
    """Also after a step: pruning makes the weight anew in every forward, from one that is trained."""
    model, x = edited(block), torch.randn(2, *SIZE)
    by_hand = copy.deepcopy(model)
    for name, module in products(model).items():
        prune.l1_unstructured(module, "weight", amount=0.5)
        with torch.no_grad():
            module.weight_orig.mul_(1.5)
            by_hand.get_submodule(name).weight.copy_(module.weight_orig * module.weight_mask)
    with torch.no_grad():
        assert not torch.equal(edited(block)(x), model(x))
        assert torch.allclose(by_hand(x), model(x), atol=1e-5)


@every_block
def test_hooks_of_every_product_run(block: dict[str, Any]) -> None:
    """Quantizers, adapters and profilers of others rely on it."""
    model, ran = edited(block), set()
    for name, module in products(model).items():
        module.register_forward_hook(lambda *_, name=name: ran.add(name))
    model(torch.randn(1, *SIZE))
    assert ran == set(products(model))


@every_block
def test_a_layer_that_is_put_in_its_place_runs(block: dict[str, Any]) -> None:
    class Doubled(nn.Module):
        def __init__(self, layer: nn.Module) -> None:
            super().__init__()
            self.layer = layer

        def forward(self, *args: Any) -> torch.Tensor:
            return 2 * self.layer(*args)

    model, x = edited(block), torch.randn(2, *SIZE)
    by_hand = copy.deepcopy(model)
    for name, module in products(model).items():
        model.set_submodule(name, Doubled(module))
        with torch.no_grad():
            for parameter in by_hand.get_submodule(name).parameters():
                parameter.mul_(2)
    with torch.no_grad():
        assert torch.allclose(by_hand(x), model(x), rtol=1e-4, atol=1e-4)


@every_block
def test_averages_and_checkpoint_wrappers(block: dict[str, Any]) -> None:
    from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper

    model, x = edited(block), torch.randn(2, *SIZE)
    average = torch.optim.swa_utils.AveragedModel(model)
    with torch.no_grad():
        assert torch.equal(average(x), model(x))
        wanted = model(x)
    name = next(name for name, _ in model.named_modules() if name.endswith("attn"))
    model.set_submodule(name, checkpoint_wrapper(model.get_submodule(name)))
    found = model(x)
    assert torch.equal(found, wanted)
    found.mean().backward()


@libs
@every_block
def test_peft_adapts_the_base_and_trains_a_copy_of_the_block(block: dict[str, Any]) -> None:
    peft = pytest.importorskip("peft")
    model, x = edited(block), torch.randn(2, *SIZE)
    wanted = model(x)
    config = peft.LoraConfig(target_modules=["fc", "layer4.0.conv1"], modules_to_save=["attn"], r=2)
    adapted = peft.get_peft_model(model, config).eval()
    assert torch.allclose(adapted(x), wanted, atol=1e-6)
    adapted(x).mean().backward()
    trained = {name for name, p in adapted.named_parameters() if p.grad is not None and p.grad.any()}
    assert any("attn.modules_to_save" in name for name in trained)
    assert all("lora_" in name or "modules_to_save" in name for name in trained)
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "modules_to_save" in name:
                parameter.mul_(1.5)
    assert not torch.allclose(adapted(x), wanted, atol=1e-4)


@libs
@every_block
def test_torchao_quantizes_the_linear_layers_around_a_block(block: dict[str, Any]) -> None:
    pytest.importorskip("torchao")
    from torchao.quantization import Int8DynamicActivationInt8WeightConfig, quantize_

    model, x = edited(block), torch.randn(2, *SIZE)
    with torch.no_grad():
        wanted = model(x)
        quantize_(model, Int8DynamicActivationInt8WeightConfig())
        found = model(x)
    assert not torch.equal(found, wanted)
    assert torch.allclose(found, wanted, rtol=0.1, atol=0.1 * wanted.abs().max().item())
