"""Networks of layers and shapes out of the ordinary."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrizations as P
from unseen import Base, R, cbr, net


@net(want=R)
class Head1d(Base):
    def __init__(self):
        super().__init__()
        self.c1 = nn.Conv1d(16, 8, 3, padding=1)
        self.fc = nn.Linear(8, 5)

    def forward(self, x):
        return self.fc(self.c1(self.trunk(x).flatten(2)).mean(2))


class Gate(nn.Module):
    def __init__(self, g, x, m):
        super().__init__()
        self.wg = nn.Conv2d(g, m, 1)
        self.wx = nn.Conv2d(x, m, 1)
        self.psi = nn.Conv2d(m, 1, 1)

    def forward(self, g, x):
        return x * torch.sigmoid(self.psi(F.relu(self.wg(g) + self.wx(x))))


@net(want=[1, 2, 4, 8])
class AttUNet(nn.Module):
    def __init__(self):
        super().__init__()
        w = (8, 16, 16, 32)
        self.enc = nn.ModuleList(
            nn.Sequential(cbr(a, b), cbr(b, b)) for a, b in zip((3, *w), w, strict=False)
        )
        self.up = nn.ModuleList(nn.ConvTranspose2d(a, b, 2, 2) for a, b in ((32, 16), (16, 16), (16, 8)))
        self.g = nn.ModuleList(Gate(b, b, 4) for b in (16, 16, 8))
        self.dec = nn.ModuleList(cbr(2 * b, b) for b in (16, 16, 8))
        self.o = nn.Conv2d(8, 2, 1)

    def forward(self, x):
        sk = []
        for i, e in enumerate(self.enc):
            if i:
                x = F.max_pool2d(x, 2)
            x = e(x)
            sk.append(x)
        sk.pop()
        for u, g, d in zip(self.up, self.g, self.dec, strict=False):
            x = u(x)
            x = d(torch.cat([x, g(x, sk.pop())], 1))
        return self.o(x)


@net(want=R)
class FPNLike(Base):
    def __init__(self):
        super().__init__()
        self.lat = nn.ModuleList(nn.Conv2d(c, 8, 1) for c in (8, 16, 16))
        self.o = nn.ModuleList(nn.Conv2d(8, 8, 3, 1, 1) for _ in range(3))

    def forward(self, x):
        a = self.l1(self.stem(x))
        b = self.l2(a)
        c = self.l3(b)
        p = [conv(f) for conv, f in zip(self.lat, (a, b, c), strict=False)]
        for i in (1, 0):
            p[i] = p[i] + F.interpolate(p[i + 1], scale_factor=2)
        return [o(q) for o, q in zip(self.o, p, strict=False)]


@net(want=R)
class WeightNormed(Base):
    def __init__(self):
        super().__init__()
        P.weight_norm(self.l2[1].a[0])
        P.spectral_norm(self.l3[1].a[0])
        nn.utils.weight_norm(self.l1[0].a[0])
        P.orthogonal(self.fc)


class LN2d(nn.LayerNorm):
    def forward(self, x):
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class CNBlock(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.dw = nn.Conv2d(c, c, 7, 1, 3, groups=c)
        self.n = nn.LayerNorm(c)
        self.p1 = nn.Linear(c, 4 * c)
        self.p2 = nn.Linear(4 * c, c)
        self.g = nn.Parameter(torch.ones(c) * 1e-2)
        self.p = 0.1

    def forward(self, x):
        y = self.dw(x).permute(0, 2, 3, 1)
        y = self.p2(F.gelu(self.p1(self.n(y)))) * self.g
        y = y.permute(0, 3, 1, 2)
        if self.training and torch.rand(()) < 0:
            y = y * 0
        return x + F.dropout(y, self.p, self.training)


@net(want=[4, 8, 16])
class CNLike(nn.Module):
    def __init__(self):
        super().__init__()
        self.down = nn.ModuleList(
            [
                nn.Sequential(nn.Conv2d(3, 8, 4, 4), LN2d(8)),
                nn.Sequential(LN2d(8), nn.Conv2d(8, 16, 2, 2)),
                nn.Sequential(LN2d(16), nn.Conv2d(16, 32, 2, 2)),
            ]
        )
        self.st = nn.ModuleList(nn.Sequential(CNBlock(c), CNBlock(c)) for c in (8, 16, 32))
        self.n = nn.LayerNorm(32)
        self.h = nn.Linear(32, 4)

    def forward(self, x):
        for d, t in zip(self.down, self.st, strict=False):
            x = t(d(x))
        return self.h(self.n(x.mean([-2, -1])))


@net(want=R)
class Squeezer(Base):
    def forward(self, x):
        y = self.l2(self.l1(self.stem(x))).unsqueeze(1).squeeze(1)[..., None].squeeze(-1)
        return self.fc(self.l3(y).mean((2, 3), keepdim=True).squeeze())


class Sc(nn.Module):
    def __init__(self):
        super().__init__()
        self.c = nn.Conv2d(16, 16, 3, 1, 1)

    def forward(self, x):
        return torch.relu(self.c(x))


@net(want=R)
class Scripted(Base):
    def __init__(self):
        super().__init__()
        self.sc = torch.jit.script(Sc())

    def forward(self, x):
        return self.fc(self.sc(self.trunk(x)).mean((2, 3)))


class Swish(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * torch.sigmoid(x)

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        t = torch.sigmoid(x)
        return g * (t * (1 + x * (1 - t)))


@net(want=R)
class CustomFn(Base):
    def forward(self, x):
        return self.fc(Swish.apply(self.l3(Swish.apply(self.l2(self.l1(self.stem(x)))))).mean((2, 3)))


class GFilter(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.w = nn.Parameter(torch.randn(c, 1, 1, 2) * 0.02 + 1)

    def forward(self, x):
        X = torch.fft.rfft2(x, norm="ortho") * torch.view_as_complex(self.w)
        return x + torch.fft.irfft2(X, s=x.shape[-2:], norm="ortho")


@net(want=R)
class FFTNet(Base):
    def __init__(self):
        super().__init__()
        self.g = nn.Sequential(GFilter(16), GFilter(16))

    def forward(self, x):
        return self.fc(self.g(self.trunk(x)).mean((2, 3)))


@net(want=[1, 2, 4, 8])
class UNetT(nn.Module):
    def __init__(self):
        super().__init__()
        self.d1 = cbr(3, 8)
        self.d2 = cbr(8, 16)
        self.d3 = cbr(16, 32)
        self.bott = cbr(32, 32)
        self.u = nn.Upsample(scale_factor=2, mode="bilinear")
        self.p = nn.MaxPool2d(2)
        self.x3 = cbr(64, 16)
        self.x2 = cbr(32, 8)
        self.x1 = cbr(16, 8)
        self.o = nn.Conv2d(8, 1, 1)

    def forward(self, x):
        a = self.d1(x)
        b = self.d2(self.p(a))
        c = self.d3(self.p(b))
        d = self.bott(self.p(c))
        y = self.x3(torch.cat([self.u(d), c], 1))
        y = self.x2(torch.cat([self.u(y), b], 1))
        return self.o(self.x1(torch.cat([self.u(y), a], 1)))


@net(want=R)
class MHAHead(Base):
    def __init__(self):
        super().__init__()
        self.at = nn.MultiheadAttention(16, 4, batch_first=True)
        self.cls = nn.Parameter(torch.zeros(1, 1, 16))

    def forward(self, x):
        t = self.trunk(x).flatten(2).transpose(1, 2)
        t = torch.cat([self.cls.expand(len(x), -1, -1), t], 1)
        return self.fc(self.at(t, t, t, need_weights=False)[0][:, 0])


@net(want=R)
class LSTMHead(Base):
    def __init__(self):
        super().__init__()
        self.r = nn.LSTM(16, 16, batch_first=True, bidirectional=False)

    def forward(self, x):
        y = self.trunk(x).mean(2).transpose(1, 2)
        return self.fc(self.r(y)[0][:, -1])


@net(want=R)
class ParamList(Base):
    def __init__(self):
        super().__init__()
        self.ps = nn.ParameterList([nn.Parameter(torch.ones(1, 16, 1, 1)) for _ in range(2)])

    def forward(self, x):
        y = self.trunk(x)
        for p in self.ps:
            y = y * p
        return self.fc(y.mean((2, 3)))


@net(want=R)
class DenseHead(Base):
    def __init__(self):
        super().__init__()
        self.out = nn.Conv2d(16, 2, 3, 1, 1)

    def forward(self, x):
        return F.interpolate(self.out(self.trunk(x)), scale_factor=16)
