"""A block of one's own: context along columns and rows, where cracks and busbars run."""

from torch import nn

import hmhsa_insert as hi


@hi.register_block
class Strips(nn.Module):
    """Context along columns and rows: a depthwise convolution down each column, and one along each row."""

    def __init__(self, channels: int, reach: int = 3) -> None:
        super().__init__()
        size = 2 * reach + 1
        self.down = nn.Conv2d(channels, channels, (size, 1), padding=(reach, 0), groups=channels)
        self.along = nn.Conv2d(channels, channels, (1, size), padding=(0, reach), groups=channels)

    def forward(self, x):
        """Return N×C×H×W as `x`."""
        return self.down(x) + self.along(x)
