"""LSKA: large kernel attention with its depthwise kernels split into rows and columns.

Source: Lau, Po, Rehman, "Large Separable Kernel Attention", 2023 (arXiv 2309.01439), equations 5 to 8.
"""

from __future__ import annotations

from torch import Tensor, nn


class LSKA(nn.Module):
    """LSKA: a gate of large reach by separable depthwise convolutions, plain and dilated, and a 1×1 convolution.

    Args:
        kernel_size: k, the reach; k // dilation must be odd.
        dilation: d; the plain kernels have 2d − 1 taps, the dilated ones k // d.
    """

    def __init__(self, channels: int, kernel_size: int = 23, dilation: int = 3) -> None:
        super().__init__()
        near, far = 2 * dilation - 1, kernel_size // dilation
        if far % 2 == 0:
            raise ValueError(
                f"kernel_size // dilation must be odd, found {kernel_size} // {dilation} = {far}"
            )
        self.near = _separable(channels, near, 1)
        self.far = _separable(channels, far, dilation)
        self.point = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return A · x with A = W₁ₓ₁(far(near(x))), N×C×H×W as `x`."""
        return x * self.point(self.far(self.near(x)))


def _separable(channels: int, taps: int, dilation: int) -> nn.Sequential:
    """Return a depthwise row and a depthwise column of `taps`."""
    reach = dilation * (taps // 2)
    row = nn.Conv2d(channels, channels, (1, taps), padding=(0, reach), dilation=dilation, groups=channels)
    column = nn.Conv2d(channels, channels, (taps, 1), padding=(reach, 0), dilation=dilation, groups=channels)
    return nn.Sequential(row, column)
