"""Networks that read a map elsewhere than where a module returns it, that hold graphs or closures, or leave early."""

from __future__ import annotations

import collections
from typing import Any

import torch
import torch.nn.functional as F
from python_nets import Flat
from torch import Tensor, fx, nn

NETS: dict[str, Any] = {}
Pair = collections.namedtuple("Pair", "x skip")


def net(make: Any) -> Any:
    NETS[make.__name__] = make
    return make


@net
class InPlaceModule(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.c1, self.r1 = nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(inplace=True)
        self.c2, self.r2, self.fc = nn.Conv2d(8, 16, 3, 2, 1), nn.ReLU(inplace=True), nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.c1(x)
        self.r1(x)
        x = self.c2(x)
        self.r2(x)
        return self.fc(x.mean((2, 3)))


@net
class InPlaceFunction(Flat):
    def forward(self, x: Tensor) -> Tensor:
        x = self.c2(self.stem(x))
        F.relu_(x)
        return self.head(x)


@net
class InPlaceMethod(Flat):
    def forward(self, x: Tensor) -> Tensor:
        x = self.c2(self.stem(x))
        x.clamp_(min=0)
        return self.head(x)


class Layer(nn.Module):
    def __init__(self, a: int, b: int) -> None:
        super().__init__()
        self.c = nn.Conv2d(a, b, 3, 2, 1)
        self.kept: Any = None

    def forward(self, x: Any, *others: Any) -> Any:
        return F.relu(self.c(x))


class Two(nn.Module):
    """Two layers of one kind."""

    kind: type[nn.Module] = Layer

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = self.kind(3, 8), self.kind(8, 16)
        self.fc, self.o = nn.Linear(16, 5), nn.Conv2d(24, 5, 1)

    def join(self, one: Tensor, two: Tensor) -> Tensor:
        return self.o(torch.cat([one, F.interpolate(two, scale_factor=2.0)], 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.b(self.a(x)).mean((2, 3)))


class Mutates(Layer):
    def forward(self, state: Any, *others: Any) -> Any:
        state["x"] = F.relu(self.c(state["x"]))
        return state


@net
class MutatedDict(Two):
    kind = Mutates

    def forward(self, x: Tensor) -> Tensor:
        state = {"x": x}
        for layer in (self.a, self.b):
            layer(state)
        return self.fc(state["x"].mean((2, 3)))


class Keeps(Layer):
    def forward(self, x: Any, *others: Any) -> Any:
        self.kept = F.relu(self.c(x))
        return self.kept


@net
class KeptOnSelf(Two):
    kind = Keeps

    def forward(self, x: Tensor) -> Tensor:
        self.b(self.a(x))
        return self.fc(self.b.kept.mean((2, 3)))


class Appends(Layer):
    def forward(self, x: Any, *others: Any) -> Any:
        y = F.relu(self.c(x))
        others[0].append(y)
        return y


@net
class SkipList(Two):
    kind = Appends

    def forward(self, x: Tensor) -> Tensor:
        skips: list[Tensor] = []
        self.b(self.a(x, skips), skips)
        return self.join(skips[0], skips[1])


class Twice(Layer):
    def forward(self, x: Any, *others: Any) -> Any:
        y = F.relu(self.c(x))
        return y, y


@net
class ReturnedTwice(Two):
    kind = Twice

    def forward(self, x: Tensor) -> Tensor:
        x, one = self.a(x)
        _, two = self.b(x)
        return self.join(one, two)


class Named(Layer):
    def forward(self, x: Any, *others: Any) -> Any:
        y = F.relu(self.c(x))
        return Pair(x=y, skip=y)


@net
class ReturnedTwiceNamed(Two):
    kind = Named

    def forward(self, x: Tensor) -> Tensor:
        one = self.a(x)
        two = self.b(one.x)
        return self.join(one.skip, two.skip)


@net
class HookedFeature(Two):
    """A feature taken by a hook that is the network's own."""

    def __init__(self) -> None:
        super().__init__()
        self.feature: Any = None
        self.b.c.register_forward_hook(self._take)

    def _take(self, _module: nn.Module, _args: Any, output: Tensor) -> None:
        self.feature = output

    def forward(self, x: Tensor) -> Tensor:
        self.b(self.a(x))
        return self.fc(self.feature.relu().mean((2, 3)))


@net
class ClosureHook(Two):
    def __init__(self) -> None:
        super().__init__()
        taken = self.taken = {}
        self.b.register_forward_hook(lambda _m, _a, output: taken.__setitem__("b", output))

    def forward(self, x: Tensor) -> Tensor:
        self.b(self.a(x))
        return self.fc(self.taken.pop("b").mean((2, 3)))


@net
def ForwardClosure() -> nn.Module:
    base = Two()
    old = base.b.forward
    base.b.forward = lambda x: old(x) * 1.5
    return base


@net
def ForwardTwiceClosed() -> nn.Module:
    base = Two()

    def timed(function: Any) -> Any:
        def run(*args: Any) -> Any:
            return function(*args)

        return run

    base.b.forward = timed(timed(base.b.forward))
    return base


@net
def WholeForwardClosed() -> nn.Module:
    base = Two()
    base.forward = torch.autocast("cpu", enabled=False)(base.forward)
    return base


@net
def Graph() -> nn.Module:
    return fx.symbolic_trace(Flat())


class Holder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = fx.symbolic_trace(Flat()), nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x))


@net
def GraphInside() -> nn.Module:
    return Holder()


@net
def BatchNormLast() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.Conv2d(8, 16, 3, 2, 1), nn.BatchNorm2d(16),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 5),
    )  # fmt: skip


@net
class ByList(Two):
    """Inserting works on the module itself, however the forward reaches it."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = [self.a, self.b]

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return self.fc(x.mean((2, 3)))


class Exits(nn.Module):
    """Leaves early where a measured value says so."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = Layer(3, 8), Layer(8, 16)
        self.e1, self.e2 = nn.Linear(8, 5), nn.Linear(16, 5)

    def sure(self, logits: Tensor) -> bool:
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x)
        y = self.e1(x.mean((2, 3)))
        if not self.training and self.sure(y):
            return y
        return self.e2(self.b(x).mean((2, 3)))


@net
class ExitItem(Exits):
    def sure(self, logits: Tensor) -> bool:
        p = logits.softmax(1)
        return -(p * p.log()).sum(1).mean().item() < 0.3


@net
class ExitFloat(Exits):
    def sure(self, logits: Tensor) -> bool:
        return float(logits.softmax(1).max()) > 0.99


@net
class ExitBool(Exits):
    def sure(self, logits: Tensor) -> bool:
        return bool((logits.softmax(1).amax(1) > 0.99).all())


@net
class ExitList(Exits):
    def sure(self, logits: Tensor) -> bool:
        return min(logits.softmax(1).amax(1).tolist()) > 0.99


@net
class ExitNot(Exits):
    def sure(self, logits: Tensor) -> bool:
        return not logits.norm() < 50
