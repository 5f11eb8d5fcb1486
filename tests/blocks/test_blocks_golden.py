"""The released modules' own inputs, weights and outputs."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from hmhsa_insert.blocks import build_block

GOLDEN = Path(__file__).parents[1] / "golden"

ATTENTION = {"type": "hmhsa_pooled", "head_dim": 32}
BLOCK = {"type": "transcnn", "head_dim": 32, "grid_size": 4, "pool": 4, "expansion": 4}
CASES = {
    "hatnet_attention_grid1": {**ATTENTION, "grid_size": 1, "norm": "group"},
    "hatnet_attention_grid4_ds2": {**ATTENTION, "grid_size": 4, "pool": 2, "norm": "group"},
    "hatnet_block_grid4_ds4_expansion4_kernel5": {**BLOCK, "kernel_size": 5, "norm": "group"},
    "hatnet_downsample": {"type": "downsample", "norm": "group"},
    "transcnn_attention_grid4_ds2": {**ATTENTION, "grid_size": 4, "pool": 2, "norm": "batch"},
    "transcnn_block_grid4_ds4_expansion4_kernel3": {**BLOCK, "kernel_size": 3, "norm": "batch"},
    "transcnn_two_branch_downsample": {"type": "tdb", "norm": "batch"},
}


def load(name):
    tensors = load_file(GOLDEN / f"{name}.safetensors")
    weights = {k.removeprefix("weights."): v for k, v in tensors.items() if k.startswith("weights.")}
    # HAT-Net's attention carries a norm its forward never uses.
    weights = {k: v for k, v in weights.items() if "proj_norm" not in k}
    return tensors["input"], tensors["output"], weights


def test_every_golden_file_is_tested():
    assert {path.stem for path in GOLDEN.glob("*.safetensors")} == set(CASES)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_golden(name, memory_format):
    x, expected, weights = load(name)
    block = build_block(CASES[name], x.shape[1], x.shape[2:], out_channels=expected.shape[1]).eval()
    block.load_state_dict(weights, strict=True)
    with torch.no_grad():
        y = block(x.to(memory_format=memory_format))
    torch.testing.assert_close(y, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", ["hatnet_attention_grid4_ds2", "transcnn_attention_grid4_ds2"])
def test_golden_fails_with_other_weights(name):
    x, expected, weights = load(name)
    block = build_block(CASES[name], 64).eval()
    block.load_state_dict(weights | {"q.weight": weights["q.weight"] * 1.01})
    with torch.no_grad():
        assert (block(x) - expected).abs().max() > 1e-5
