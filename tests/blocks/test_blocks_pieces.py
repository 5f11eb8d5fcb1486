"""In inference a block computes a few images or cells at a time; nothing but time and memory may tell."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from hmhsa_insert.blocks import build_block

SPECS = {
    "irb": {"type": "irb"},
    "irb group": {"type": "irb", "norm": "group"},
    "hmhsa": {"type": "hmhsa", "head_dim": 32},
    "hmhsa_pooled": {"type": "hmhsa_pooled", "head_dim": 32, "norm": "batch"},
}


def calls(module: nn.Module) -> list[int]:
    """Note how many images each call of `module` sees, without a hook."""
    seen: list[int] = []
    forward = module.forward

    def noted(x: torch.Tensor) -> torch.Tensor:
        seen.append(len(x))
        return forward(x)

    module.forward = noted
    return seen


@pytest.fixture(params=SPECS)
def block(request) -> nn.Module:
    torch.manual_seed(0)
    return build_block(SPECS[request.param], 64, 48).eval()


def inner(block: nn.Module) -> nn.Module:
    return block.conv3[0] if hasattr(block, "conv3") else block.proj


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_pieces_equal_the_whole(block: nn.Module, memory_format: torch.memory_format) -> None:
    x = torch.randn(5, 64, 48, 48).contiguous(memory_format=memory_format)
    whole = block(x)
    seen = calls(inner(block))
    with torch.no_grad():
        pieces = block(x)
    assert len(seen) > 1
    assert pieces.is_contiguous(memory_format=memory_format)
    assert torch.allclose(pieces, whole, atol=1e-6)


def test_whoever_watches_sees_all_images(block: nn.Module) -> None:
    seen = calls(inner(block))
    inner(block).register_forward_hook(lambda *_: None)
    with torch.no_grad():
        block(torch.randn(5, 64, 48, 48))
    assert seen in ([5], [5 * 48 * 48])


def test_statistics_of_a_batch_are_of_the_whole_batch() -> None:
    block = build_block({"type": "irb"}, 64, 48).eval()
    block.conv1[1].train()
    seen = calls(block.conv3[0])
    with torch.no_grad():
        block(torch.randn(5, 64, 48, 48))
    assert seen == [5]
    assert block.conv1[1].num_batches_tracked == 1


CELLS = {"hmhsa": "qkv.0", "hmhsa_pooled": "qkv"}


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("side", [96, 89], ids=["divisible", "ragged"])
@pytest.mark.parametrize("name", CELLS)
def test_the_cells_of_a_large_map_are_cut_too(
    name: str, side: int, memory_format: torch.memory_format
) -> None:
    torch.manual_seed(0)
    block = build_block(SPECS[name], 64, side).eval()
    x = torch.randn(1, 64, side, side).contiguous(memory_format=memory_format)
    whole = block(x)
    seen = calls(block.get_submodule(CELLS[name]))
    with torch.no_grad():
        pieces = block(x)
    assert len(seen) > 2
    assert pieces.is_contiguous(memory_format=memory_format)
    assert torch.allclose(pieces, whole, atol=1e-6)


@pytest.mark.parametrize("side", [96, 89], ids=["divisible", "ragged"])
@pytest.mark.parametrize("name", CELLS)
def test_whoever_watches_the_projection_sees_all_cells(name: str, side: int) -> None:
    block = build_block(SPECS[name], 64, side).eval()
    qkv = block.get_submodule(CELLS[name])
    tokens: list[int] = []
    qkv.register_forward_hook(lambda _, __, out: tokens.append(out.numel() // 192))
    with torch.no_grad():
        block(torch.randn(2, 64, side, side))
    assert tokens == [2 * side * side]
