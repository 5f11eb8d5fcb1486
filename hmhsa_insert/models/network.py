"""The network of all models here: a stem, four stages of blocks, downsampling layers, a linear head.

arXiv 2106.03180. The modules have the names of the released checkpoints.
"""

from __future__ import annotations

from typing import Any

import torch
from timm.layers import DropPath, SelectAdaptivePool2d
from timm.models import checkpoint_seq
from torch import nn

from hmhsa_insert.blocks.downsample import Downsample
from hmhsa_insert.blocks.hmhsa_pooled import HmhsaPooled
from hmhsa_insert.blocks.irb import Irb
from hmhsa_insert.blocks.norm_act import make_norm
from hmhsa_insert.blocks.residual import ResidualBlock
from hmhsa_insert.blocks.tdb import Tdb
from hmhsa_insert.blocks.transcnn import TransCnn
from hmhsa_insert.models.configs import NetworkConfig

_STEM_CHANNELS = 16


class IrbBlock(ResidualBlock):
    """``x + DropPath(IRB(x))``: the block of a stage without attention, N×C×H×W in and out.

    Args:
        conv: the IRB.
        drop_path: probability of dropping the branch for one image, in training.
    """

    def __init__(self, conv: Irb, drop_path: float = 0.0) -> None:
        super().__init__()
        self.conv = conv
        self.drop_path = DropPath(drop_path)

    def branch(self, x: torch.Tensor) -> torch.Tensor:
        """Return what is added to x."""
        out: torch.Tensor = self.drop_path(self.conv(x))
        return out


class Network(nn.Module):
    """TransCNN, HAT-Net or an IRB stack, by its config: N×in_chans×H×W images to N×num_classes logits.

    Args:
        cfg: sizes of the stages.
        num_classes: number of outputs; 0 returns the pooled features.
        in_chans: channels of an image.
        global_pool: timm's name of the pool in front of the head; "" for none.
        drop_rate: dropout in front of the head; the authors use 0.2.
        drop_path_rate: that of the last block; it grows linearly from 0 at the first block.

    Source:
        arXiv 2106.03180 and the released code.
    """

    def __init__(
        self,
        cfg: NetworkConfig,
        num_classes: int = 1000,
        in_chans: int = 3,
        global_pool: str = "avg",
        drop_rate: float = 0.2,
        drop_path_rate: float = 0.0,
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.drop_rate = drop_rate
        self.num_features = self.head_hidden_size = cfg.channels[-1]
        self.grad_checkpointing = False
        self.patch_embed = nn.Sequential(
            nn.Conv2d(in_chans, _STEM_CHANNELS, 3, stride=2, padding=1),
            make_norm(cfg.norm, _STEM_CHANNELS),
            nn.SiLU(),
            nn.Conv2d(_STEM_CHANNELS, cfg.channels[0], 3, stride=2, padding=1),
        )
        self.blocks = nn.ModuleList(_stages(cfg, drop_path_rate))
        downsample = Tdb if cfg.downsample == "tdb" else Downsample
        self.ds2 = downsample(cfg.channels[0], cfg.channels[1], cfg.norm)
        self.ds3 = downsample(cfg.channels[1], cfg.channels[2], cfg.norm)
        self.ds4 = downsample(cfg.channels[2], cfg.channels[3], cfg.norm)
        self.feature_info = [
            {"num_chs": channels, "reduction": 4 * 2**stage, "module": f"blocks.{stage}"}
            for stage, channels in enumerate(cfg.channels)
        ]
        self.reset_classifier(num_classes, global_pool)

    def forward_features(self, x: torch.Tensor) -> torch.Tensor:
        """Return the last stage's map, N×C×⌈H/32⌉×⌈W/32⌉ in channels_last, from images."""
        # Attention works on tokens, the layout of channels_last: three channels are copied here, and no map
        # later.
        x = self.patch_embed(x.contiguous(memory_format=torch.channels_last))
        for stage, downsample in zip(self.blocks, (None, self.ds2, self.ds3, self.ds4), strict=True):
            if downsample is not None:
                x = downsample(x)
            x = checkpoint_seq(stage, x) if self.grad_checkpointing else stage(x)
        return x

    def forward_head(self, x: torch.Tensor, pre_logits: bool = False) -> torch.Tensor:
        """Return the logits of the last stage's map, or its pooled features."""
        x = self.global_pool(x)
        return x if pre_logits else self.classifier(x)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits, N×num_classes."""
        return self.forward_head(self.forward_features(x))

    def get_classifier(self) -> nn.Module:
        """Return the linear layer."""
        return self.classifier[1]

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Replace the head; 0 classes returns the pooled features."""
        if global_pool is not None:
            self.global_pool = SelectAdaptivePool2d(pool_type=global_pool, flatten=True)
        self.num_classes = num_classes
        features = self.num_features * self.global_pool.feat_mult()
        linear = nn.Linear(features, num_classes) if num_classes > 0 else nn.Identity()
        if isinstance(linear, nn.Linear):
            nn.init.normal_(linear.weight, std=0.02)
            nn.init.zeros_(linear.bias)
        self.classifier = nn.Sequential(nn.Dropout(self.drop_rate), linear)

    def no_weight_decay(self) -> set[str]:
        """Return the names of parameters without weight decay; norms and biases are up to the optimizer."""
        return set()

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Switch activation checkpointing on or off: each block is recomputed in the backward pass."""
        self.grad_checkpointing = enable

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Return timm's patterns of stem and blocks, for layer-wise learning rates."""
        block = r"^blocks\.(\d+)" if coarse else r"^blocks\.(\d+)\.(\d+)"
        return {"stem": r"^patch_embed", "blocks": [(block, None), (r"^ds(\d+)", (0,))]}


def _stages(cfg: NetworkConfig, drop_path_rate: float) -> list[nn.Sequential]:
    """Return the four stages; drop path grows linearly from 0 at the first block."""
    last = max(sum(cfg.depths) - 1, 1)
    stages, index = [], 0
    for stage, depth in enumerate(cfg.depths):
        blocks = [_block(cfg, stage, drop_path_rate * (index + j) / last) for j in range(depth)]
        stages.append(nn.Sequential(*blocks))
        index += depth
    return stages


def _block(cfg: NetworkConfig, stage: int, drop_path: float) -> ResidualBlock:
    channels = cfg.channels[stage]
    conv = Irb(channels, cfg.expansions[stage], cfg.kernels[stage], cfg.norm)
    if cfg.grids is None:
        return IrbBlock(conv, drop_path)
    attn = HmhsaPooled(channels, cfg.head_dim, cfg.grids[stage], cfg.pools[stage], cfg.norm)
    return TransCnn(attn, conv, drop_path)
