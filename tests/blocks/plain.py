"""The plain definitions that the fast blocks must equal: NCHW, 1×1 convolutions, explicit softmax, loops.

`PlainPooled` is the released formulation written straightforwardly, for maps that its grid divides; speed is measured
against it. The functions are slower still, go cell by cell in float64, and hold at any size.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F


def plain_norm(name: str, channels: int) -> nn.Module:
    return nn.BatchNorm2d(channels) if name == "batch" else nn.GroupNorm(1, channels, eps=1e-6)


class PlainPooled(nn.Module):
    """H-MHSA with pooled global attention; state dict as the fast module's."""

    def __init__(self, channels: int, head_dim: int, grid_size: int, pool: int, norm: str = "group") -> None:
        super().__init__()
        self.num_heads, self.head_dim, self.grid_size = channels // head_dim, head_dim, grid_size
        self.scale = head_dim**-0.5
        self.norm = plain_norm(norm, channels)
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.proj = nn.Conv2d(channels, channels, 1)
        if grid_size > 1:
            self.grid_norm = plain_norm(norm, channels)
            self.avg_pool = nn.AvgPool2d(pool)
            self.ds_norm = plain_norm(norm, channels)
            self.q = nn.Conv2d(channels, channels, 1)
            self.kv = nn.Conv2d(channels, 2 * channels, 1)

    def attend(self, q, k, v):
        weights = (q @ k.transpose(-2, -1) * self.scale).softmax(dim=-1)
        return weights @ v

    def forward(self, x):
        batch, _, height, width = x.shape
        qkv = self.qkv(self.norm(x))
        if self.grid_size == 1:
            q, k, v = qkv.reshape(batch, 3, self.num_heads, self.head_dim, -1).transpose(-2, -1).unbind(1)
            return self.proj(self.attend(q, k, v).transpose(-2, -1).reshape(x.shape))
        g, down, across = self.grid_size, height // self.grid_size, width // self.grid_size
        cells = qkv.reshape(batch, 3, self.num_heads, self.head_dim, down, g, across, g)
        cells = cells.permute(1, 0, 2, 4, 6, 5, 7, 3).reshape(3, -1, g * g, self.head_dim)
        local = self.attend(*cells).reshape(batch, self.num_heads, down, across, g, g, self.head_dim)
        local = local.permute(0, 1, 6, 2, 4, 3, 5).reshape(x.shape)
        gathered = self.grid_norm(x + local)
        q = self.q(gathered).reshape(batch, self.num_heads, self.head_dim, -1).transpose(-2, -1)
        kv = self.kv(self.ds_norm(self.avg_pool(gathered)))
        k, v = kv.reshape(batch, 2, self.num_heads, self.head_dim, -1).transpose(-2, -1).unbind(1)
        mixed = self.attend(q, k, v).transpose(-2, -1).reshape(x.shape)
        return self.proj(mixed + gathered)


def linear(tokens, weight, bias=None):
    out = tokens @ weight.flatten(1).T
    return out if bias is None else out + bias


def heads_attend(q, k, v, head_dim):
    """Attention of T×C queries over S×C keys and values, one head after another."""
    out = []
    for start in range(0, q.shape[-1], head_dim):
        part = slice(start, start + head_dim)
        scores = q[:, part] @ k[:, part].T / head_dim**0.5
        out.append(torch.softmax(scores, dim=-1) @ v[:, part])
    return torch.cat(out, dim=-1)


def cells_of(height, width, grid):
    """Yield (rows, columns) of each cell, from the top left; the last ones may be smaller."""
    for top in range(0, height, grid):
        for left in range(0, width, grid):
            yield slice(top, min(top + grid, height)), slice(left, min(left + grid, width))


def attend_in_cells(tokens, weight, bias, head_dim, grid):
    """Attention inside every cell of an H×W×C map."""
    out = torch.empty_like(tokens)
    for rows, cols in cells_of(*tokens.shape[:2], grid):
        cell = tokens[rows, cols]
        q, k, v = linear(cell.reshape(-1, cell.shape[-1]), weight, bias).chunk(3, dim=-1)
        out[rows, cols] = heads_attend(q, k, v, head_dim).reshape(cell.shape)
    return out


def pool_cells(tokens, grid, reduce):
    """One token a cell of an H×W×C map."""
    height, width, channels = tokens.shape
    pooled = [
        reduce(tokens[rows, cols].reshape(-1, channels)) for rows, cols in cells_of(height, width, grid)
    ]
    return torch.stack(pooled).reshape(-(-height // grid), -(-width // grid), channels)


def upsample(coarse, height, width, scale, mode):
    """Return an H×W×C map from one whose tokens each cover scale×scale positions."""
    if mode == "nearest":
        out = torch.empty(height, width, coarse.shape[-1], dtype=coarse.dtype)
        for y in range(height):
            for x in range(width):
                out[y, x] = coarse[y // scale, x // scale]
        return out
    size = [coarse.shape[0] * scale, coarse.shape[1] * scale]
    large = F.interpolate(coarse.permute(2, 0, 1)[None], size=size, mode="bilinear", align_corners=False)
    return large[0, :, :height, :width].permute(1, 2, 0)


def group_norm(tokens, norm):
    """Normalize an H×W×C map over all its numbers."""
    mean, variance = tokens.mean(), tokens.var(unbiased=False)
    return (tokens - mean) / (variance + norm.eps) ** 0.5 * norm.weight + norm.bias


def hmhsa_loops(block, image, head_dim, mode="nearest", last="global"):
    """The hierarchical steps for one H×W×C image in float64, with the parameters of `block` (a double Hmhsa)."""
    x = group_norm(image, block.norm)
    height, width, _ = x.shape
    total, scale, inputs = 0, 1, x
    for index, (grid, qkv) in enumerate(zip(block.grids, block.qkv, strict=True)):
        if last == "global" and index == len(block.grids) - 1:
            grid = max(inputs.shape[:2])
        stepped = attend_in_cells(inputs, qkv.weight, qkv.bias, head_dim, grid) + inputs
        total = total + upsample(stepped, height, width, scale, mode)
        maximum = pool_cells(stepped, grid, lambda cell: cell.max(dim=0).values)
        inputs = maximum + pool_cells(stepped, grid, lambda cell: cell.sum(dim=0) / len(cell))
        scale *= grid
    return linear(total, block.proj.weight, block.proj.bias) + image


def pooled_loops(block, image, head_dim):
    """The pooled form for one H×W×C image in float64, with the parameters of `block` (a double HmhsaPooled)."""
    normed = group_norm(image, block.norm)
    local = attend_in_cells(normed, block.qkv.weight, block.qkv.bias, head_dim, block.grid_size)
    gathered = group_norm(image + local, block.grid_norm)
    pooled = pool_cells(gathered, block.pool, lambda cell: cell.sum(dim=0) / len(cell))
    flat = gathered.reshape(-1, gathered.shape[-1])
    q = linear(flat, block.q.weight, block.q.bias)
    keys = group_norm(pooled, block.ds_norm).reshape(-1, gathered.shape[-1])
    k, v = linear(keys, block.kv.weight, block.kv.bias).chunk(2, dim=-1)
    mixed = heads_attend(q, k, v, head_dim) + flat
    return linear(mixed, block.proj.weight, block.proj.bias).reshape(image.shape)


def randomized(module: nn.Module, seed: int = 0) -> nn.Module:
    """Give every parameter and running statistic a random value, so that none is neutral by its start."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
        if not tensor.is_floating_point():
            continue
        scale = 0.5 * tensor[0].numel() ** -0.5 if tensor.dim() > 1 else 0.3
        centre = 1.0 if name.endswith(("running_var",)) or (tensor.dim() == 1 and "weight" in name) else 0.0
        values = torch.randn(tensor.shape, generator=generator) * scale + centre
        tensor.data.copy_(values.abs() + 0.1 if name.endswith("running_var") else values)
    return module
