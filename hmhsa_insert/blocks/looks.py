"""Where the attention of a block looks: which token stands for which positions, and which tokens share a softmax."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import nn
from torch.nn import functional as F

from hmhsa_insert.blocks.partition import Cells


@dataclass(frozen=True)
class Look:
    """One softmax attention of a block on an H×W map.

    It calls ``scaled_dot_product_attention`` once for each region of `cells`, in their order.

    Attributes:
        name: what it covers, in a few words.
        equation: the equation that it is, and its source.
        height, width: H and W of the block's map.
        cells: the windows of the queries; without `pooled` the keys are the tokens of the same window.
        side: positions of the map along one side of a query token; of a key token as well, without `pooled`.
        pooled: positions along one side of a key token if every query attends to the pooled map; else None.
        bilinear: True if positions between two query tokens take a part of each; else each takes that of its own.
    """

    name: str
    equation: str
    height: int
    width: int
    cells: Cells
    side: int = 1
    pooled: int | None = None
    bilinear: bool = False

    @property
    def key_side(self) -> int:
        """Positions of the map along one side of a key token."""
        return self.pooled or self.side

    @property
    def key_size(self) -> tuple[int, int]:
        """Rows and columns of the map of all key tokens."""
        if self.pooled:
            return -(-self.height // self.pooled), -(-self.width // self.pooled)
        return self.cells.height, self.cells.width

    @property
    def covers_map(self) -> bool:
        """True if every query attends to keys that stand for the whole map."""
        return self.pooled is not None or (self.cells.rows, self.cells.cols) == (1, 1)

    def read(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return what every position reads of query tokens: from 1×1×h×w to 1×1×H×W."""
        if self.bilinear:
            size = [tokens.shape[2] * self.side, tokens.shape[3] * self.side]
            large = F.interpolate(tokens, size=size, mode="bilinear", align_corners=False)
        else:
            large = tokens.repeat_interleave(self.side, 2).repeat_interleave(self.side, 3)
        return large[:, :, : self.height, : self.width]

    def spread(self, weights: torch.Tensor) -> torch.Tensor:
        """Spread the weight of each key token evenly over its positions: from …×h×w to …×H×W, of the same sum."""
        for axis, length in ((-2, self.height), (-1, self.width)):
            positions = torch.arange(length, device=weights.device) // self.key_side
            counts = torch.bincount(positions, minlength=weights.shape[axis]).to(weights.dtype)
            weights = weights / (counts.unsqueeze(-1) if axis == -2 else counts)
            weights = weights.index_select(axis, positions)
        return weights


@runtime_checkable
class Looks(Protocol):
    """A module of softmax attention on maps, whose attention can be shown.

    Attributes:
        norm: the layer that gets its N×C×H×W map, before it attends.
    """

    norm: nn.Module

    def looks(self, height: int, width: int) -> tuple[Look, ...]:
        """Return its attentions on an H×W map, in the order in which they run."""
        ...


def whole_map(name: str, equation: str, height: int, width: int) -> Look:
    """Return the attention of every position to every position."""
    return Look(name, equation, height, width, Cells(height, width, max(height, width)))
