"""Networks that nobody made hmhsa-insert for, each with one thing that could trip it: the list and what they share."""

from __future__ import annotations

import torch.nn.functional as F
from torch import nn


def cbr(a, b, s=1, k=3):
    return nn.Sequential(nn.Conv2d(a, b, k, s, k // 2, bias=False), nn.BatchNorm2d(b), nn.ReLU(inplace=True))


class Res(nn.Module):
    def __init__(self, a, b, st=1):
        super().__init__()
        self.a = cbr(a, b, st)
        self.b = nn.Sequential(nn.Conv2d(b, b, 3, 1, 1), nn.BatchNorm2d(b))
        self.skip = nn.Conv2d(a, b, 1, st) if st > 1 or a != b else nn.Identity()

    def forward(self, x):
        return F.relu(self.b(self.a(x)) + self.skip(x), inplace=True)


class Base(nn.Module):
    def __init__(self, c=3):
        super().__init__()
        self.stem = cbr(c, 8, 2)
        self.l1 = nn.Sequential(Res(8, 8, 2), Res(8, 8))
        self.l2 = nn.Sequential(Res(8, 16, 2), Res(16, 16))
        self.l3 = nn.Sequential(Res(16, 16, 2), Res(16, 16))
        self.fc = nn.Linear(16, 5)

    def trunk(self, x):
        return self.l3(self.l2(self.l1(self.stem(x))))

    def forward(self, x):
        return self.fc(self.trunk(x).mean((2, 3)))


NETS = {}


def net(size=(3, 64, 64), want=None):
    """List a network with its input size and the strides of its stages."""

    def note(cls):
        NETS[cls.__name__] = (cls, size, want)
        return cls

    return note


R = [2, 4, 8, 16]
