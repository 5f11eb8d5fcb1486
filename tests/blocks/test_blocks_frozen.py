"""Blocks on a map that needs no gradient: a base that is frozen, or images themselves."""

import pytest
import torch

from hmhsa_insert.blocks import build_block

SPECS = [
    {"type": "hmhsa", "head_dim": 8},
    {"type": "hmhsa_pooled", "head_dim": 8, "grid_size": 4},
    {"type": "hmhsa_pooled", "head_dim": 8, "grid_size": 4, "memory": "lean"},
    {"type": "irb", "norm": "group"},
]


@pytest.mark.parametrize("spec", SPECS)
def test_gradients_are_those_of_a_map_that_needs_one(spec: dict) -> None:
    torch.manual_seed(0)
    block = build_block(spec, 16, 12).train()
    x = torch.randn(2, 16, 12, 12).contiguous(memory_format=torch.channels_last)
    grads = []
    for given in (x, x.clone().requires_grad_()):
        block.zero_grad()
        block(given).square().sum().backward()
        grads.append([parameter.grad.clone() for parameter in block.parameters()])
    assert all(torch.equal(one, other) for one, other in zip(*grads, strict=True))
    assert x.grad is None
