"""Small networks of a user's own, each with one thing that makes surgery hard."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Residual(nn.Module):
    """A residual block; its in-place ReLU runs on the sum."""

    def __init__(self, cin: int, cout: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(cin, cout, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(cout)
        self.conv2 = nn.Conv2d(cout, cout, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(cout)
        self.skip = nn.Conv2d(cin, cout, 1, stride) if stride > 1 or cin != cout else nn.Identity()
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        y += self.skip(x)
        return self.relu(y)


class Plain(nn.Module):
    """Stem and three stages in a list; the widths are small so that tests are quick."""

    def __init__(self, channels: int = 3, classes: int = 5) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(channels, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.ReLU(inplace=True))
        self.stages = nn.ModuleList(
            nn.Sequential(Residual(a, b, 2), Residual(b, b)) for a, b in ((16, 16), (16, 32), (32, 64))
        )
        self.head = nn.Linear(64, classes)

    def features(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for stage in self.stages:
            x = stage(x)
        return x

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x).mean((2, 3)))


class ControlFlow(Plain):
    """Branches on shapes and values of Python, which symbolic tracing cannot follow."""

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[-1] % 2:
            x = F.pad(x, (0, 1))
        x = self.features(x)
        return self.head(x.mean((2, 3))) if bool(x.shape[0] > 0) else x


class DictOut(Plain):
    """Several inputs by name, a dict out."""

    def forward(self, image: Tensor, scale: Tensor) -> dict[str, Tensor]:
        x = self.features(image * scale[:, :, None, None])
        return {"logits": self.head(x.mean((2, 3))), "features": x}


class ChannelsLast(nn.Module):
    """Runs N×H×W×C between its patch embedding and its pool."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Conv2d(3, 32, 4, 4)
        self.blocks = nn.Sequential(*(NhwcBlock(32) for _ in range(3)))
        self.head = nn.Linear(32, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x).permute(0, 2, 3, 1)
        return self.head(self.blocks(x).mean((1, 2)))


class NhwcBlock(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.up = nn.Linear(channels, 2 * channels)
        self.down = nn.Linear(2 * channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.down(F.gelu(self.up(self.norm(x))))


class CalledTwice(Plain):
    """One module runs twice in a forward, one stands under two names."""

    def __init__(self) -> None:
        super().__init__()
        self.shared = Residual(64, 64)
        self.alias = self.shared

    def features(self, x: Tensor) -> Tensor:
        return self.alias(self.shared(super().features(x)))


class InForward(nn.Module):
    """The end of its stage is an addition in the network's own forward, after dropout that trains."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Conv2d(3, 16, 4, 4)
        self.left = nn.Conv2d(16, 16, 3, 1, 1)
        self.right = nn.Conv2d(16, 16, 5, 1, 2)
        self.head = nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = F.dropout(self.down(x), 0.1, self.training)
        x = self.left(x) + self.right(x)
        return self.head(x.mean((2, 3)))


class Tokens(nn.Module):
    """Runs tokens between its blocks and hands their height and width along, unpacked with a star."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Conv2d(3, 16, 4, 4)
        self.position = TokenPosition(16)
        self.head = nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x)
        size = x.shape[-2:]
        return self.head(self.position(x.flatten(2).transpose(1, 2), size).mean(1))


class TokenPosition(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(channels, channels, 3, 1, 1, groups=channels)

    def forward(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        batch, _, channels = x.shape
        tokens = x.transpose(1, 2).view(batch, channels, *size)
        return (self.proj(tokens) + tokens).flatten(2).transpose(1, 2)


class TupleOut(nn.Module):
    """A stage that returns (map, extra)."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 4, 4)
        self.body = TupleBlock(16)
        self.head = nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        x, extra = self.body(self.stem(x))
        return self.head(x.mean((2, 3)) + extra)


class TupleBlock(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, 1, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x + self.conv(x), torch.zeros_like(x[:, :, 0, 0])


class UNet(nn.Module):
    """Encoder and decoder with skips: only the encoder has stages."""

    def __init__(self) -> None:
        super().__init__()
        widths = (8, 16, 32, 64)
        self.encoder = nn.ModuleList(double(a, b) for a, b in zip((3, *widths), widths, strict=False))
        self.pool = nn.MaxPool2d(2)
        self.decoder = nn.ModuleList(double(a + b, b) for a, b in ((64, 32), (32, 16), (16, 8)))
        self.out = nn.Conv2d(8, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        skips: list[Tensor] = []
        for i, block in enumerate(self.encoder):
            x = block(x if i == 0 else self.pool(x))
            skips.append(x)
        skips.pop()
        for block in self.decoder:
            skip = skips.pop()
            x = F.interpolate(x, size=skip.shape[-2:])
            x = block(torch.cat((x, skip), 1))
        return self.out(x)


def double(cin: int, cout: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(cin, cout, 3, 1, 1), nn.BatchNorm2d(cout), nn.ReLU(inplace=True),
        nn.Conv2d(cout, cout, 3, 1, 1), nn.BatchNorm2d(cout), nn.ReLU(inplace=True),
    )  # fmt: skip


class Tied(Plain):
    """The head's weight is the stem of another layer's: one tensor under two keys."""

    def __init__(self) -> None:
        super().__init__()
        self.project = nn.Linear(64, 64, bias=False)
        self.again = nn.Linear(64, 64, bias=False)
        self.again.weight = self.project.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.again(self.project(self.features(x).mean((2, 3)))))


class AuxiliaryHead(Plain):
    """A head that runs in train mode only, and a module that never runs."""

    def __init__(self) -> None:
        super().__init__()
        self.aux = nn.Linear(16, 5)
        self.unused = nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        x = self.stages[0](self.stem(x))
        aux = self.aux(x.mean((2, 3)))
        x = self.head(self.stages[2](self.stages[1](x)).mean((2, 3)))
        return (x, aux) if self.training else x


class Parallel(nn.Module):
    """Two branches at different strides that meet at the end: no single map at 1/8 or 1/16."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 4, 4)
        self.fine = nn.Sequential(nn.Conv2d(8, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1))
        self.coarse = nn.Conv2d(8, 8, 4, 4)
        self.head = nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        return self.head(torch.cat((self.fine(x).mean((2, 3)), self.coarse(x).mean((2, 3))), 1))
