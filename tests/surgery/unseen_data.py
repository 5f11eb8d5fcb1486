"""Networks whose inputs, outputs or stages are no plain tensors."""

from __future__ import annotations

import dataclasses
from collections import OrderedDict, namedtuple

import torch
from torch import nn
from unseen import Base, R, Res, cbr, net


@net(want=R)
class InplaceAfter(Base):
    def forward(self, x):
        x = self.stem(x)
        x = self.l1(x)
        x += 1
        x = self.l2(x)
        x.mul_(2)
        x = self.l3(x)
        x.clamp_(0, 6)
        return self.fc(x.mean((2, 3)))


@dataclasses.dataclass
class Out:
    logits: torch.Tensor
    feats: list
    n: int = 3


@net(want=R)
class DataclassOut(Base):
    def forward(self, x):
        y = self.trunk(x)
        return Out(self.fc(y.mean((2, 3))), [y])


NT = namedtuple("NT", "a b")


class NTStage(nn.Module):
    def __init__(self):
        super().__init__()
        self.c = Res(16, 16)

    def forward(self, x):
        y = self.c(x)
        return NT(y * 1.0, y.mean((2, 3)))


@net(want=R)
class NamedTupleStage(Base):
    def __init__(self):
        super().__init__()
        self.x = NTStage()

    def forward(self, x):
        o = self.x(self.trunk(x))
        return self.fc(o.a.mean((2, 3)) + o.b)


class DCStage(nn.Module):
    def __init__(self):
        super().__init__()
        self.c = Res(16, 16)

    def forward(self, x):
        y = self.c(x)
        return Out(y * 1.0, [y.mean((2, 3))])


@net(want=R)
class DataclassStage(Base):
    def __init__(self):
        super().__init__()
        self.x = DCStage()

    def forward(self, x):
        o = self.x(self.trunk(x))
        return self.fc(o.logits.mean((2, 3)) + o.feats[0])


class DictStage(nn.Module):
    def __init__(self):
        super().__init__()
        self.c = Res(16, 16)

    def forward(self, x):
        y = self.c(x)
        return OrderedDict(out=y * 1.0, aux=y.mean((2, 3)))


@net(want=R)
class DictStageNet(Base):
    def __init__(self):
        super().__init__()
        self.x = DictStage()

    def forward(self, x):
        o = self.x(self.trunk(x))
        return {"y": self.fc(o["out"].mean((2, 3)) + o["aux"])}


@net(want=R)
class AuxTrain(Base):
    def __init__(self):
        super().__init__()
        self.aux = nn.Linear(16, 5)

    def forward(self, x):
        x = self.l2(self.l1(self.stem(x)))
        a = self.aux(x.mean((2, 3))) if self.training else None
        y = self.fc(self.l3(x).mean((2, 3)))
        return (y, a) if a is not None else y


@net((1, 48, 80), want=R)
class OneCh(Base):
    def __init__(self):
        super().__init__(1)


@net([(3, 64, 64), (1, 64, 64)])
class TwoStream(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = Base(3)
        self.b = Base(1)
        self.f = cbr(32, 32)
        self.h = nn.Linear(32, 3)

    def forward(self, x, y):
        return self.h(self.f(torch.cat([self.a.trunk(x), self.b.trunk(y)], 1)).mean((2, 3)))


@net(want=R)
class Cached(Base):
    def __init__(self):
        super().__init__()
        self.register_buffer("grid", None, persistent=False)
        self.last = None
        self.log = []

    def forward(self, x):
        y = self.trunk(x)
        if self.grid is None or self.grid.shape[-2:] != y.shape[-2:]:
            self.grid = torch.arange(y.shape[-1], dtype=y.dtype).expand(1, 1, *y.shape[-2:])
        self.last = y.detach()
        self.log.append(y.shape)
        return self.fc((y + self.grid * 0.01).mean((2, 3)))


@net(want=R)
class Slots(Base):
    __slots__ = ("extra",)

    def __init__(self):
        super().__init__()
        object.__setattr__(self, "extra", 3)

    @property
    def width(self):
        return self.fc.in_features


@net(want=R)
class KwOnly(Base):
    def forward(self, x, *, flag=False, mask=None):
        return self.fc(self.trunk(x).mean((2, 3))) if not flag else x


@net(want=R)
class VarArgs(Base):
    def forward(self, *args, **kwargs):
        return self.fc(self.trunk(args[0]).mean((2, 3)))


@net(want=R)
class MultiOutDict(Base):
    def forward(self, x):
        a = self.l1(self.stem(x))
        b = self.l2(a)
        c = self.l3(b)
        return {"a": a, "b": b, "c": c, "y": self.fc(c.mean((2, 3)))}


@net(want=R)
class SumList(Base):
    def forward(self, x):
        y = self.trunk(x)
        return self.fc(sum([y, y * 2, y + 1]).mean((2, 3)))
