"""Maps as tokens: the layout, the 1×1 projections and the attention that all attention blocks share.

Attention and projections work on tokens, each a contiguous row of C numbers. A channels_last map has this
layout already, so only a contiguous NCHW map is copied, once before and once after.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional as F

from hmhsa_insert.blocks.partition import flatten_cells, split_cells

# CUDA's fused attention launches one row of its grid for each batch entry, and a grid has at most this many.
_MOST_WINDOWS = 65535


# A CPU is fastest while the data of a few images or cells stays in its second-level cache; measured from 0.5
# to 4 MiB for images and from 0.125 to 1 MiB for cells.
_PIECE_BYTES = 2**20


class Pointwise(nn.Module):
    """A 1×1 convolution for tokens, …×inputs to …×outputs: linear, with a convolution's weight shape.

    The published checkpoints have this shape, so their tensors load unchanged. Initialized like the linear
    layers of transformers: weights from a normal distribution with standard deviation 0.02, biases at zero.

    Args:
        inputs: channels of a token.
        outputs: channels of the result.
        bias: whether to add a learned bias.
    """

    def __init__(self, inputs: int, outputs: int, bias: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs, 1, 1))
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None
        nn.init.normal_(self.weight, std=0.02)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Map …×inputs to …×outputs."""
        return F.linear(tokens, self.weight.flatten(1), self.bias)

    def extra_repr(self) -> str:
        """Return the sizes, for ``repr``."""
        outputs, inputs = self.weight.shape[:2]
        return f"{inputs}, {outputs}, bias={self.bias is not None}"


def to_tokens(x: torch.Tensor) -> torch.Tensor:
    """View an N×C×H×W map as N×H×W×C contiguous tokens; copies unless the map is channels_last."""
    return x.contiguous(memory_format=torch.channels_last).permute(0, 2, 3, 1)


def to_map(tokens: torch.Tensor) -> torch.Tensor:
    """View N×H×W×C tokens as a channels_last N×C×H×W map."""
    return tokens.permute(0, 3, 1, 2)


def laid_out_like(y: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Return `y` in the memory format of the map `x`: contiguous or channels_last."""
    if x.is_contiguous():
        return y.contiguous()
    return y.contiguous(memory_format=torch.channels_last)


def in_pieces(
    module: nn.Module, function: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor
) -> torch.Tensor:
    """Return ``function(x)``; in inference on a CPU, compute it for a few entries of the batch at a time.

    Intermediate results then stay in the cache, and no new memory is allocated at every step. The pieces are
    written into one tensor in the memory format of `x`.

    Args:
        module: the block whose forward this is part of, see :func:`_is_quiet`.
        function: maps a batch of images (N×C×H×W) or cells (N×tokens×C) to the same shape; no entry of the
            result may depend on another entry.
        x: the batch.
    """
    if not _can_cut(x):
        return function(x)
    entries = max(1, _PIECE_BYTES // max(1, x[:1].nbytes))
    if entries >= len(x) or not _is_quiet(module):
        return function(x)
    first, *rest = torch.split(x, entries)
    made = function(first)  # shows the dtype of the result, which autocast may change
    layout = torch.contiguous_format if x.is_contiguous() else torch.channels_last
    out = torch.empty_like(x, dtype=made.dtype, memory_format=layout)
    places = torch.split(out, entries)
    places[0].copy_(made)
    for piece, place in zip(rest, places[1:], strict=True):
        place.copy_(function(piece))
    return out


def _can_cut(x: torch.Tensor) -> bool:
    if torch.is_grad_enabled() or torch.compiler.is_compiling() or x.device.type != "cpu":
        return False
    if (
        type(x) is not torch.Tensor
    ):  # a fake tensor has no memory to save, and each piece costs as much as the whole
        return False
    # A trace would keep this batch's cuts.
    return not torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]


def _is_quiet(module: nn.Module) -> bool:
    """Return True if nothing can notice work in pieces: no hook inside, and no statistics of a batch."""
    return not any(
        part.training or (part is not module and (part._forward_hooks or part._forward_pre_hooks))
        for part in module.modules()
    )


def self_attention(qkv: torch.Tensor, num_heads: int, mask: torch.Tensor | None = None) -> torch.Tensor:
    """Attend among the tokens of each window: softmax(QKᵀ/√d)V.

    Args:
        qkv: windows × tokens × 3C, queries, keys and values one after another, each head by head.
        num_heads: heads, which must divide C.
        mask: windows × tokens, the keys that count; by default all.

    Returns:
        windows × tokens × C.
    """
    q, k, v = (_heads(part, num_heads) for part in torch.chunk(qkv, 3, dim=-1))
    if mask is not None:  # only in exported programs
        attended = F.scaled_dot_product_attention(q, k, v, attn_mask=mask[:, None, None])
        return attended.transpose(1, 2).flatten(2)
    return _attend(q, k, v)


def attend_cells(
    block: nn.Module,
    parts: list[torch.Tensor],
    qkv: nn.Module,
    num_heads: int,
    residual: bool = False,
    mask: torch.Tensor | None = None,
) -> list[torch.Tensor]:
    """Attend among the tokens of every cell.

    Args:
        block: the block that `qkv` is in.
        parts: for each region, cells × tokens × C.
        qkv: the projection of C to 3C; called once, unless nothing can notice several calls.
        num_heads: heads, which must divide C.
        residual: whether to add the tokens themselves.
        mask: of a padded partition: cells × tokens, whether a token is one of the map's.

    Returns:
        For each region, cells × tokens × C.
    """

    def attend(cells: torch.Tensor, projected: torch.Tensor) -> torch.Tensor:
        attended = self_attention(projected, num_heads, mask)
        return attended + cells if residual else attended

    if len(parts) == 1 or (_can_cut(parts[0]) and _is_quiet(block)):
        return [in_pieces(block, lambda cells: attend(cells, qkv(cells)), part) for part in parts]
    projected = split_cells(qkv(flatten_cells(parts)), parts)
    return [attend(part, its) for part, its in zip(parts, projected, strict=True)]


def cross_attention(q: torch.Tensor, kv: torch.Tensor, num_heads: int) -> torch.Tensor:
    """Attend from every token of `q`, N×T×C, to those of `kv`, N×S×2C (keys, then values); returns N×T×C."""
    k, v = (_heads(part, num_heads) for part in torch.chunk(kv, 2, dim=-1))
    return _attend(_heads(q, num_heads), k, v)


def _heads(tokens: torch.Tensor, num_heads: int) -> torch.Tensor:
    """View windows × tokens × C as windows × heads × tokens × head_dim."""
    return torch.unflatten(tokens, -1, (num_heads, -1)).transpose(1, 2)


def _attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """Run fused attention on windows × heads × tokens × head_dim; returns windows × tokens × C."""
    # Compiled code keeps the batch symbolic: a comparison would restrict it.
    if q.is_cuda and not torch.compiler.is_compiling() and len(q) > _MOST_WINDOWS:
        parts = zip(*(torch.split(tensor, _MOST_WINDOWS) for tensor in (q, k, v)), strict=True)
        out = torch.cat([F.scaled_dot_product_attention(*part) for part in parts])
    else:
        out = F.scaled_dot_product_attention(q, k, v)
    return out.transpose(1, 2).flatten(2)
