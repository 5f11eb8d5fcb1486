"""``inside: branch`` on networks of the zoo: the places are those that a rule for each family says by its names."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest
from torch import nn

import hmhsa_insert as hi
from hmhsa_insert.surgery.apply import apply_plan
from hmhsa_insert.surgery.locate.branches import residual_branches
from hmhsa_insert.surgery.locate.recorder import ModuleCall
from hmhsa_insert.surgery.locate.stages import Located, locate


class Expected(NamedTuple):
    """The nodes after each convolution of a branch, at its end, and of its addition, by their names in the trace."""

    ends: list[str]
    end: str
    addition: str


class Block:
    """One block of a network, as a rule asks for its parts by their names."""

    def __init__(self, located: Located, name: str, module: nn.Module) -> None:
        self.located, self.name, self.module = located, name, module

    def _call(self, part: str) -> ModuleCall:
        return self.located.trace.calls_of(f"{self.name}.{part}" if part else self.name)[-1]

    def out(self, part: str = "") -> str:
        return self._call(part).outputs[0][1].name

    def into(self, part: str) -> str:
        return self._call(part).inputs[0].name

    def has(self, part: str) -> bool:
        return getattr(self.module, part, None) is not None


def resnet(block: Block) -> Expected:
    last = 3 if block.has("conv3") else 2
    ends = [*(block.into(f"conv{number}") for number in range(2, last + 1)), block.out(f"bn{last}")]
    end = block.out("se") if block.has("se") else ends[-1]
    return Expected(ends, end, block.into("relu" if block.has("relu") else f"act{last}"))


def timm_regnet(block: Block) -> Expected:
    ends = [block.out(part) for part in ("conv1", "conv2", "conv3")]
    return Expected(ends, ends[-1], block.into("act3"))


def timm_regnet_preact(block: Block) -> Expected:
    ends = [block.into("conv2"), block.out("conv2"), block.out("conv3")]  # a gate follows the second
    return Expected(ends, ends[-1], block.out())


def torchvision_regnet(block: Block) -> Expected:
    ends = [block.out(part) for part in ("f.a", "f.b", "f.c")]
    return Expected(ends, ends[-1], block.into("activation"))


def timm_convnext(block: Block) -> Expected:
    end = block.into("drop_path")  # behind the layer scale
    widened = block.out("mlp.grn" if hasattr(block.module.mlp, "grn") else "mlp.drop1")
    return Expected([block.out("norm"), widened, end], end, block.out())


def torchvision_convnext(block: Block) -> Expected:
    end = block.into("stochastic_depth")
    return Expected([block.out("block.2"), block.out("block.4"), end], end, block.out())


def timm_efficientnet(block: Block) -> Expected | None:
    if not block.module.has_skip:
        return None
    ends = [block.out(f"bn{number}") for number in (1, 2, 3) if block.has(f"bn{number}")]
    return Expected(ends, ends[-1], block.out())


def torchvision_efficientnet(block: Block) -> Expected | None:
    if not block.module.use_res_connect:
        return None
    parts: Any = block.module.block
    kept = [number for number, part in enumerate(parts) if type(part).__name__ == "Conv2dNormActivation"]
    ends = [block.out(f"block.{number}") for number in kept]
    return Expected(ends, ends[-1], block.out())


# The class of a family's blocks -> its rule.
RULES: dict[tuple[str, str], Callable[[Block], Expected | None]] = {
    **dict.fromkeys([("timm.models.resnet", name) for name in ("BasicBlock", "Bottleneck")], resnet),
    **dict.fromkeys([("torchvision.models.resnet", name) for name in ("BasicBlock", "Bottleneck")], resnet),
    ("timm.models.regnet", "Bottleneck"): timm_regnet,
    ("timm.models.regnet", "PreBottleneck"): timm_regnet_preact,
    ("torchvision.models.regnet", "ResBottleneckBlock"): torchvision_regnet,
    ("timm.models.convnext", "ConvNeXtBlock"): timm_convnext,
    ("torchvision.models.convnext", "CNBlock"): torchvision_convnext,
    **dict.fromkeys(
        [
            ("timm.models._efficientnet_blocks", name)
            for name in ("InvertedResidual", "DepthwiseSeparableConv", "EdgeResidual", "ConvBnAct")
        ],
        timm_efficientnet,
    ),
    **dict.fromkeys(
        [("torchvision.models.efficientnet", name) for name in ("MBConv", "FusedMBConv")],
        torchvision_efficientnet,
    ),
}
TIMM = """
resnet18 convnext_atto regnety_002
resnet10t resnet18d resnet26 resnet50 resnet50_gn resnext50_32x4d resnext50d_32x4d seresnet18 seresnext26d_32x4d
ecaresnet26t ecaresnetlight regnetx_002 regnetv_040 regnety_040_sgn
convnext_atto_ols convnext_tiny_hnf convnextv2_atto convnext_zepto_rms
efficientnet_b0 efficientnet_lite0 efficientnet_b0_gn tf_efficientnet_b0 efficientnetv2_rw_t tf_efficientnetv2_b0
efficientnet_es
"""
TORCHVISION = """
resnet18 regnet_y_400mf convnext_tiny efficientnet_b0
resnet34 resnet50 wide_resnet50_2 resnext50_32x4d regnet_x_400mf regnet_x_800mf regnet_y_800mf efficientnet_b1
efficientnet_v2_s
"""
NETWORKS = [f"timm/{name}" for name in TIMM.split()] + [f"torchvision/{name}" for name in TORCHVISION.split()]
SIZE = (3, 64, 64)


def expected(located: Located, model: nn.Module) -> Iterator[Expected]:
    """Yield what the rule of a network's family says of each of its blocks."""
    for name, module in model.named_modules():
        rule = RULES.get((type(module).__module__, type(module).__name__))
        if rule is not None and (found := rule(Block(located, name, module))) is not None:
            yield found


def recipe(stages: list[int]) -> dict[str, Any]:
    """Return a recipe with blocks after the first and the last convolution, the branch, and the addition."""
    at = {"stage": stages, "block": "each", "inside": "branch"}
    block = {"type": "timm/eca"}
    places = {"first": 1, "last": -1, "whole": "branch", "sum": "addition"}
    edits = [
        {"op": "insert", "id": i, "at": at | {"after": after}, "block": block} for i, after in places.items()
    ]
    return {"version": 1, "edits": edits}


def test_there_are_forty_networks() -> None:
    assert len(NETWORKS) >= 40


@pytest.mark.parametrize("network", NETWORKS)
def test_branches_are_those_of_the_rule_and_identity_is_exact(network: str) -> None:
    model = hi.load_model(network).model
    located = locate(model, SIZE)
    learned = {name for name, _ in model.named_parameters()}
    branches = list(residual_branches(located.trace, located.maps, learned))
    found = [Expected([node.name for node in b.ends], b.end.name, b.addition.name) for b in branches]
    assert found == list(expected(located, model))
    assert found
    stages = sorted({located.maps[branch.addition].stride.bit_length() - 2 for branch in branches})
    plan = hi.plan(model, recipe(stages), SIZE)
    wanted = [node for each in found for node in (each.ends[0], each.ends[-1], each.end, each.addition)]
    assert sorted(site.node for site in plan.sites) == sorted(wanted)
    edited = apply_plan(model, plan)
    assert all(check.passed for check in hi.verify(model, edited))
