"""What users could put in place of H-MHSA: every candidate of the speed table, N×C×H×W to the same."""

from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from timm.layers.bottleneck_attn import BottleneckAttn
from timm.layers.halo_attn import HaloAttn
from timm.layers.lambda_layer import LambdaLayer
from timm.models.pvt_v2 import Attention
from timm.models.swin_transformer import WindowAttention, window_partition, window_reverse
from torch import Tensor, nn

from hmhsa_insert.blocks import build_block
from hmhsa_insert.blocks.hmhsa_pooled import HmhsaPooled
from hmhsa_insert.blocks.irb import Irb
from hmhsa_insert.models.network import Network

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "blocks"))
from plain import PlainPooled  # the definition that the tests hold the fast block against

HEAD_DIM = 64


@dataclass(frozen=True)
class Stage:
    """One stage of HAT-Net-Small at 224 pixels: channels, side of the map, grid and pool of its attention."""

    name: str
    channels: int
    side: int
    grid: int
    pool: int


STAGES = (
    Stage("S1", 64, 56, 8, 8),
    Stage("S2", 128, 28, 7, 4),
    Stage("S3", 320, 14, 7, 2),
    Stage("S4", 512, 7, 1, 1),
)


class GlobalEager(nn.Module):
    """Global attention with its matrix of weights written out."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.num_heads = channels // HEAD_DIM
        self.norm = nn.GroupNorm(1, channels, eps=1e-6)
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.proj = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return the output, N×C×H×W."""
        qkv = self.qkv(self.norm(x)).reshape(len(x), 3, self.num_heads, HEAD_DIM, -1)
        q, k, v = qkv.transpose(-2, -1).unbind(1)
        weights = (q @ k.transpose(-2, -1) * HEAD_DIM**-0.5).softmax(dim=-1)
        out: Tensor = self.proj((weights @ v).transpose(-2, -1).reshape(x.shape))
        return out


class SwinWindows(nn.Module):
    """Swin's attention in windows, without its shift."""

    def __init__(self, channels: int, side: int) -> None:
        super().__init__()
        self.side = side
        self.norm = nn.LayerNorm(channels)
        self.attn = WindowAttention(channels, channels // HEAD_DIM, window_size=(side, side))

    def forward(self, x: Tensor) -> Tensor:
        """Return the output, N×C×H×W."""
        tokens = self.norm(x.permute(0, 2, 3, 1).contiguous())
        height, width = tokens.shape[1:3]
        windows = window_partition(tokens, (self.side, self.side)).flatten(1, 2)
        out = self.attn(windows).unflatten(1, (self.side, self.side))
        return window_reverse(out, (self.side, self.side), height, width).permute(0, 3, 1, 2).contiguous()


class Pvt(nn.Module):
    """PVTv2's attention to a map reduced by a strided convolution."""

    def __init__(self, channels: int, reduction: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.attn = Attention(channels, channels // HEAD_DIM, sr_ratio=reduction)

    def forward(self, x: Tensor) -> Tensor:
        """Return the output, N×C×H×W."""
        tokens = self.norm(x.flatten(2).transpose(1, 2))
        return self.attn(tokens, x.shape[-2:]).transpose(1, 2).reshape(x.shape)


def pooled(stage: Stage, memory: str = "fast") -> nn.Module:
    """Return our block in the form of the released models."""
    spec = {"type": "hmhsa_pooled", "head_dim": HEAD_DIM, "grid_size": stage.grid, "pool": stage.pool}
    return build_block(spec | {"memory": memory}, stage.channels)


def candidates(stage: Stage) -> dict[str, nn.Module]:
    """Return all candidates at one stage by name, the plain definition first; layers that refuse a map are left out."""
    channels, side, grid = stage.channels, stage.side, max(stage.grid, 7)
    makers: dict[str, Callable[[], nn.Module]] = {
        "plain definition": lambda: PlainPooled(channels, HEAD_DIM, stage.grid, stage.pool),
        "hmhsa_pooled": lambda: pooled(stage),
        "hmhsa_pooled lean": lambda: pooled(stage, "lean"),
        "hmhsa": lambda: build_block({"type": "hmhsa", "head_dim": HEAD_DIM}, channels, side),
        "hmhsa lean": lambda: build_block(
            {"type": "hmhsa", "head_dim": HEAD_DIM, "memory": "lean"}, channels, side
        ),
        "mhsa (global, fused)": lambda: build_block({"type": "mhsa", "head_dim": HEAD_DIM}, channels),
        "global, eager": lambda: GlobalEager(channels),
        "Swin window": lambda: SwinWindows(channels, grid),
        "PVTv2 reduced": lambda: Pvt(channels, stage.pool),
        "BoTNet": lambda: BottleneckAttn(channels, feat_size=(side, side), num_heads=channels // HEAD_DIM),
        "Halo": lambda: HaloAttn(channels, block_size=grid, halo_size=2, num_heads=channels // HEAD_DIM),
        "Lambda": lambda: LambdaLayer(channels, feat_size=(side, side), dim_head=16),
    }
    return {name: make() for name, make in makers.items()}


class PlainNetwork(nn.Module):
    """A HAT-Net as it was released: the plain definition in place of every fast block, all maps in NCHW.

    Args:
        model: ours; its weights are taken.
    """

    def __init__(self, model: Network) -> None:
        super().__init__()
        _put_plain_blocks(model)
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        """Return logits, N×num_classes."""
        model = self.model
        x = model.patch_embed(x)
        for stage, downsample in zip(model.blocks, (None, model.ds2, model.ds3, model.ds4), strict=True):
            x = stage(x if downsample is None else downsample(x))
        return model.forward_head(x)


def _put_plain_blocks(model: nn.Module) -> None:
    for name, module in list(model.named_modules()):
        plain: nn.Module
        if isinstance(module, HmhsaPooled):
            channels = module.proj.weight.shape[0]
            plain = PlainPooled(channels, HEAD_DIM, module.grid_size, module.pool)
            plain.load_state_dict(module.state_dict())
        elif isinstance(module, Irb):
            plain = nn.Sequential(OrderedDict(module.named_children()))
        else:
            continue
        parent, _, child = name.rpartition(".")
        setattr(model.get_submodule(parent), child, plain)


def large_matmul(size: int = 1024) -> tuple[Callable[[], Tensor], float]:
    """Return a large matrix product, and its multiply-accumulates: the rate everything is held against."""
    a, b = torch.randn(size, size), torch.randn(size, size)
    return lambda: a @ b, float(size) ** 3
