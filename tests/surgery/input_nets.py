"""Networks that want more than one image: timesteps, texts, dicts, bytes, grids, fixed batches."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class Body(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.f = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 16, 3, 2, 1), nn.ReLU())
        self.fc = nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.f(x).mean((2, 3)))


class Scale(Body):
    """A number for each sample."""

    def __init__(self) -> None:
        super().__init__()
        self.t = nn.Linear(1, 16)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        return self.fc((self.f(x) + self.t(t[:, None])[:, :, None, None]).mean((2, 3)))


class Timestep(Body):
    """An integer for each sample, and the number of classes is small."""

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.t = nn.Embedding(classes, 16)

    def forward(self, x: Tensor, timestep: Tensor, scale: float = 1.0) -> Tensor:
        assert timestep.dtype in (torch.int64, torch.int32)
        return self.fc((scale * self.f(x) + self.t(timestep)[:, :, None, None]).mean((2, 3)))


class Text(Body):
    """Words and a mask of those that count, with the image last."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(30, 16)

    def forward(self, tokens: Tensor, mask: Tensor, x: Tensor) -> Tensor:
        words = self.table(tokens).masked_fill(~mask[..., None], 0.0).sum(1)
        return self.fc((self.f(x) * words.sigmoid()[:, :, None, None]).mean((2, 3)))


class Nested(Body):
    """Two images in a list, and options in a dict."""

    def __init__(self) -> None:
        super().__init__()
        self.g = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 16, 3, 2, 1), nn.ReLU())

    def forward(self, pair: list[Tensor], options: dict[str, Any]) -> Tensor:
        return self.fc((self.f(pair[0]) - options["weight"] * self.g(pair[1])).mean((2, 3)))


class Bytes(Body):
    """An image of bytes, scaled inside."""

    def forward(self, x: Tensor) -> Tensor:
        assert x.dtype == torch.uint8
        return super().forward(x / 255)


class Grid(Body):
    """A table without a batch axis."""

    def forward(self, x: Tensor, grid: Tensor) -> Tensor:
        assert grid.shape == (16, 4)
        return self.fc(self.f(x).mean((2, 3)) + grid.mean(1))


class Shift(Body):
    """Shifts features between 8 frames, which run as a batch: the batch is a multiple of 8."""

    def forward(self, x: Tensor) -> Tensor:
        y = self.f(x)
        clips = y.view(-1, 8, *y.shape[1:])
        y = torch.cat([clips[:, 1:, :8], clips[:, :1, :8]], 1)
        y = torch.cat([y, clips[:, :, 8:]], 2).flatten(0, 1)
        return self.fc(y.mean((2, 3)).view(-1, 8, 16).mean(1))


class One(Body):
    """Takes one image at a time."""

    def forward(self, x: Tensor) -> Tensor:
        y = self.f(x)
        return self.fc(y.reshape(1, 16, y.shape[2] * y.shape[3]).mean(2))
