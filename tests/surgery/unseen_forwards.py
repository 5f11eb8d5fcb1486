"""Networks whose forward is written in an unusual way."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint
from unseen import Base, R, Res, net


@net(want=R)
class Twice(Base):
    def __init__(self):
        super().__init__()
        self.sh = Res(16, 16)

    def forward(self, x):
        return self.fc(self.sh(self.sh(self.trunk(x))).mean((2, 3)))


@net(want=R)
class SharedW(Base):
    def __init__(self):
        super().__init__()
        self.l3[1].b[0].weight = self.l3[1].a[0].weight


@net((3, 64, 64), want=R)
class RecurrentConv(Base):
    def __init__(self):
        super().__init__()
        self.rc = nn.Conv2d(16, 16, 3, 1, 1)
        self.n = nn.ModuleList(nn.BatchNorm2d(16) for _ in range(3))

    def forward(self, x):
        x = self.trunk(x)
        h = torch.zeros_like(x)
        for t in range(3):
            h = F.relu(self.n[t](self.rc(h) + x))
        return self.fc(h.mean((2, 3)))


@net(want=R)
class Ckpt(Base):
    def forward(self, x):
        x = self.stem(x)
        x = checkpoint(self.l1, x, use_reentrant=False)
        x = checkpoint(self.l2, x, use_reentrant=True) if self.training else self.l2(x)
        return self.fc(checkpoint(self.l3, x, use_reentrant=False).mean((2, 3)))


@net(want=R)
class StoresSize(Base):
    def forward(self, x):
        self.size = x.shape[-2:]
        self.h, self.w = x.shape[2], x.shape[3]
        y = self.trunk(x)
        return F.interpolate(y, size=self.size)


@net(want=R)
class ItemFlow(Base):
    def forward(self, x):
        if x.max().item() > 1e9:
            x = x / 2
        assert not torch.isnan(x).any()
        return self.fc(self.trunk(x).mean((2, 3)))


@net(want=R)
class AssertAll(Base):
    def forward(self, x):
        assert torch.isfinite(x).all(), "bad input"
        return self.fc(self.trunk(x).mean((2, 3)))


@net(want=R)
class NonzeroHead(Base):
    def forward(self, x):
        y = self.fc(self.trunk(x).mean((2, 3)))
        keep = torch.nonzero(y > 0)
        return y, keep


@net(want=R)
class MaskHead(Base):
    def forward(self, x):
        y = self.trunk(x)
        m = y[:, 0] > 0
        return self.fc(y.permute(0, 2, 3, 1)[m])


@net(want=R)
class NumpyHead(Base):
    def forward(self, x):
        y = self.fc(self.trunk(x).mean((2, 3)))
        return y, float(y.detach().cpu().numpy().mean())


@net((3, 64, 64), want=R)
class AutoPad(Base):
    def forward(self, x):
        h, w = x.shape[-2:]
        ph = (16 - h % 16) % 16
        pw = (16 - w % 16) % 16
        x = F.pad(x, (0, pw, 0, ph))
        return self.fc(self.trunk(x).mean((2, 3)))


@net(want=R)
class Autocast(Base):
    def forward(self, x):
        with torch.autocast("cpu", enabled=False):
            y = self.trunk(x)
        with torch.no_grad():
            z = y.mean()
        return self.fc(y.mean((2, 3))) + z


@net(want=R)
class FnBlocks(Base):
    def __init__(self):
        super().__init__()
        self.blocks = [Res(16, 16)]
        self.add_module("b0", self.blocks[0])
        self.acts = {"r": F.relu, "l": lambda x: x * 1.0}

    def forward(self, x):
        y = self.trunk(x)
        for b in self.blocks:
            y = self.acts["l"](b(y))
        return self.fc(y.mean((2, 3)))


@net(want=R)
class Double(Base):
    def __init__(self):
        super().__init__()
        self.double()


@net(want=R)
class BF16(Base):
    def __init__(self):
        super().__init__()
        self.bfloat16()


@net(want=R)
class GetAttrNet(Base):
    def __getattr__(self, n):
        if n == "dyn":
            return 2.0
        return super().__getattr__(n)

    def forward(self, x):
        return self.fc(self.trunk(x * self.dyn).mean((2, 3)))


@net(want=R)
class CallOverride(Base):
    def __call__(self, x):
        return super().__call__(x * 2)


@net(want=R)
class Ghost(Base):
    def forward(self, x):
        y = self.trunk(x)
        return self.fc(torch.stack([f.mean((1, 2)) for f in y.unbind(0)]))


@net(want=R)
class ChunkNet(Base):
    def __init__(self):
        super().__init__()
        self.c = nn.Conv2d(8, 8, 3, 1, 1)

    def forward(self, x):
        y = self.trunk(x)
        a, b = y.chunk(2, 1)
        y = torch.cat([self.c(a) + b, b], 1)
        return self.fc(y.mean((2, 3)))


class Rows(nn.Module):
    """Runs whatever children it has, as the stages of RegNet do."""

    def __init__(self, *blocks):
        super().__init__()
        for number, block in enumerate(blocks):
            self.add_module(f"b{number}", block)

    def forward(self, x):
        for block in self.children():
            x = block(x)
        return x


class HiddenRows(nn.Module):
    """The same, where its forward does not show it."""

    def __init__(self, *blocks):
        super().__init__()
        self.first, self.second = blocks

    def forward(self, x):
        return self.run(x)

    def run(self, x):
        for block in self.children():
            x = block(x)
        return x


@net(want=R)
class HiddenLoop(Base):
    def __init__(self):
        super().__init__()
        self.l3 = HiddenRows(Res(16, 16, 2), Res(16, 16))


@net(want=R)
class ChildrenLoop(Base):
    def __init__(self):
        super().__init__()
        self.l2 = Rows(Res(8, 16, 2), Res(16, 16))
        self.l3 = Rows(Res(16, 16, 2), Res(16, 16))
