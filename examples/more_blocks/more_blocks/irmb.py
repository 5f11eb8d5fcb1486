"""iRMB: an inverted residual whose expanded map is mixed by attention in windows and by a depthwise convolution.

Source: Zhang et al., "Rethinking Mobile Block for Efficient Attention-based Models" (EMO), ICCV 2023
(arXiv 2301.01146), section 3.2: Y = X + MLPₛ(F(MLPₑ(X))) with F = (DW-Conv, skip) ∘ EW-MHSA, in which queries and keys
have the channels of X and the values those of the expanded map.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class IRMB(nn.Module):
    """iRMB: expand, attend in windows, convolve depthwise beside a skip, shrink, add.

    Args:
        expansion: expanded channels over channels, λ.
        head_dim: channels of a query; if it does not divide the channels, the largest smaller number that does.
        window: side of the windows in pixels of the map; a window at the edge is smaller.
        kernel_size: side of the depthwise convolution, odd.
    """

    def __init__(
        self, channels: int, expansion: int = 4, head_dim: int = 16, window: int = 7, kernel_size: int = 3
    ) -> None:
        super().__init__()
        self.window = window
        fitting = next(size for size in range(min(head_dim, channels), 0, -1) if channels % size == 0)
        self.heads, wide = channels // fitting, expansion * channels
        self.norm = nn.GroupNorm(1, channels)
        self.query_key = nn.Conv2d(channels, 2 * channels, 1)
        self.value = nn.Conv2d(channels, wide, 1)
        self.local = nn.Conv2d(wide, wide, kernel_size, padding=kernel_size // 2, groups=wide, bias=False)
        self.local_norm = nn.BatchNorm2d(wide)
        self.shrink = nn.Conv2d(wide, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return N×C×H×W as `x`."""
        normed = self.norm(x)
        query, key = self.query_key(normed).chunk(2, dim=1)
        mixed = self._attended(query, key, F.gelu(self.value(normed)))
        mixed = mixed + F.silu(self.local_norm(self.local(mixed)))
        return x + self.shrink(mixed)

    def _attended(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Return softmax(QKᵀ/√d)V within each window; what pads the last row and column of windows is not looked at."""
        height, width = query.shape[2:]
        pads = (0, -width % self.window, 0, -height % self.window)
        inside = F.pad(query.new_ones(1, 1, height, width), pads)
        mask = self._windows(inside, 1)[:, :, :, 0].unsqueeze(2) > 0  # windows × 1 × 1 × tokens
        mask = mask.repeat(len(query), 1, 1, 1)
        parts = [self._windows(F.pad(each, pads), self.heads) for each in (query, key, value)]
        found = F.scaled_dot_product_attention(*parts, attn_mask=mask)
        rows, columns = (side // self.window for side in (height + pads[3], width + pads[1]))
        joined = found.transpose(2, 3).reshape(len(query), rows, columns, -1, self.window, self.window)
        return joined.permute(0, 3, 1, 4, 2, 5).flatten(4, 5).flatten(2, 3)[:, :, :height, :width]

    def _windows(self, x: Tensor, heads: int) -> Tensor:
        """Return N·windows × heads × tokens × channels of a head, from N×C×H×W."""
        side = self.window
        cut = x.unflatten(3, (-1, side)).unflatten(2, (-1, side))  # N, C, rows, side, columns, side
        cut = cut.permute(0, 2, 4, 1, 3, 5).flatten(0, 2).flatten(2)  # N·windows, C, tokens
        return torch.transpose(cut.unflatten(1, (heads, -1)), 2, 3)
