"""The published networks as a table: TransCNN v1.0, HAT-Net, and TransCNN without its attention."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Four = tuple[int, int, int, int]


@dataclass(frozen=True)
class NetworkConfig:
    """One network of four stages, at 1/4, 1/8, 1/16 and 1/32 of the image.

    Attributes:
        channels: C of each stage.
        depths: blocks of each stage.
        expansions: ratio of the IRBs' hidden channels to C, in each stage.
        kernels: side of the IRBs' depthwise kernels in each stage.
        norm: "batch" or "group", in the whole network.
        downsample: the downsampling layer between stages.
        head_dim: channels of an attention head.
        grids: side of the attention's cells in each stage; None for no attention.
        pools: side of the pool in front of the global attention, in each stage.

    Source:
        arXiv 2106.03180 and the released code.
    """

    channels: Four
    depths: Four
    expansions: Four
    kernels: Four
    norm: Literal["batch", "group"]
    downsample: Literal["tdb", "downsample"]
    head_dim: int = 64
    grids: Four | None = None
    pools: Four = (8, 4, 2, 1)


def _transcnn(channels: Four, depths: Four, expansions: Four) -> NetworkConfig:
    return NetworkConfig(channels, depths, expansions, (5, 3, 5, 3), "batch", "tdb", 64, (8, 8, 8, 1))


def _hat_net(channels: Four, depths: Four, kernels: Four, head_dim: int = 64) -> NetworkConfig:
    return NetworkConfig(
        channels, depths, (8, 8, 4, 4), kernels, "group", "downsample", head_dim, (8, 7, 7, 1)
    )


def _irb(channels: Four, depths: Four, expansions: Four) -> NetworkConfig:
    return NetworkConfig(channels, depths, expansions, (5, 3, 5, 3), "batch", "downsample")


# channels, depths, expansions: shared by TransCNN and the IRB stacks.
_SKELETONS: dict[str, tuple[Four, Four, Four]] = {
    "tiny": ((64, 128, 256, 512), (2, 2, 4, 2), (4, 4, 4, 4)),
    "small": ((64, 128, 256, 512), (3, 4, 8, 3), (4, 4, 6, 6)),
    "medium": ((64, 128, 320, 640), (3, 4, 12, 3), (4, 4, 6, 6)),
    "large": ((64, 128, 384, 768), (3, 4, 16, 3), (4, 4, 6, 6)),
}

CONFIGS: dict[str, NetworkConfig] = {
    **{f"transcnn_{size}": _transcnn(*skeleton) for size, skeleton in _SKELETONS.items()},
    "hat_net_tiny": _hat_net((48, 96, 240, 384), (2, 2, 6, 3), (3, 3, 3, 3), head_dim=48),
    "hat_net_small": _hat_net((64, 128, 320, 512), (2, 3, 8, 3), (3, 3, 3, 3)),
    "hat_net_medium": _hat_net((64, 128, 320, 512), (3, 6, 18, 3), (5, 3, 5, 3)),
    "hat_net_large": _hat_net((64, 128, 320, 640), (3, 8, 27, 3), (3, 3, 3, 3)),
    **{f"irb_{size}": _irb(*skeleton) for size, skeleton in _SKELETONS.items()},
}
