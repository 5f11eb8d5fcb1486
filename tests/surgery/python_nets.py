"""Networks whose Python an edit must keep: the map of stride 4 is made inside of a forward, in many ways."""

from __future__ import annotations

import contextlib
import functools
from collections import OrderedDict
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

NETS: dict[str, type[nn.Module]] = {}


def net(cls: type[nn.Module]) -> type[nn.Module]:
    NETS[cls.__name__] = cls
    return cls


def scaled(x: Tensor) -> Tensor:
    return F.relu(x) * 1.5


def traced_by(name: str) -> Any:
    """A decorator of the user's, with arguments and a wrapper of its own."""

    def decorate(method: Any) -> Any:
        @functools.wraps(method)
        def run(self: Any, *args: Any, **kwargs: Any) -> Any:
            self.last_call = name
            return method(self, *args, **kwargs)

        return run

    return decorate


class Flat(nn.Module):
    """Two strided convolutions and a head; subclasses say how the map is made."""

    def __init__(self) -> None:
        super().__init__()
        self.c1, self.c2 = nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, 16, 3, 2, 1)
        self.same, self.fc = nn.Conv2d(16, 16, 3, 1, 1), nn.Linear(16, 5)
        self.alpha, self.flag, self.calls = 1.0, False, 0

    def stem(self, x: Tensor) -> Tensor:
        return F.relu(self.c1(x))

    def head(self, y: Tensor) -> Tensor:
        return self.fc(y.mean((2, 3)))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(F.relu(self.c2(self.stem(x))))


NETS["Flat"] = Flat


@net
class Method(Flat):
    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.c2(self.stem(x)).relu())


@net
class LiveAttribute(Flat):
    def forward(self, x: Tensor) -> Tensor:
        return self.head(F.relu(self.c2(self.stem(x))) * self.alpha)


@net
class Flag(Flat):
    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.c2(self.stem(x)))
        if self.flag:
            y = y + 1
        return self.head(y)


@net
class Kept(Flat):
    def forward(self, x: Tensor) -> Tensor:
        self.feature = F.relu(self.c2(self.stem(x)))
        return self.head(self.feature)


@net
class NoGradBranch(Flat):
    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.c2(self.stem(x)))
        with torch.no_grad():
            weight = y.mean((2, 3)).softmax(1)
        return self.fc(y.mean((2, 3)) * weight)


@net
class Autocast(Flat):
    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            y = F.relu(self.c2(self.stem(x)))
        return self.head(y.float())


@net
class Checkpointed(Flat):
    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(checkpoint(self.c2, self.stem(x), use_reentrant=False))
        return self.head(y)


@net
class Decorated(Flat):
    @traced_by("forward")
    @torch.autocast("cpu", enabled=False)
    def forward(self, x: Tensor) -> Tensor:
        return self.head(F.relu(self.c2(self.stem(x))))


@net
class Helper(Flat):
    def features(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        return F.relu(self.c2(x))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x))


@net
class Super(Helper):
    def features(self, x: Tensor) -> Tensor:
        return super().features(x + 0.5) * 2


@net
class OverSuper(Flat):
    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return super().forward(x)


@net
class Loop(Flat):
    def forward(self, x: Tensor) -> Tensor:
        y = x
        for conv in (self.c1, self.c2, self.same):
            y = F.relu(conv(y))
        return self.head(y)


@net
class While(Flat):
    def forward(self, x: Tensor) -> Tensor:
        convs = [self.same, self.c2, self.c1]
        while convs:
            x = torch.relu(convs.pop()(x))
        return self.head(x)


@net
class Comprehension(Flat):
    def forward(self, x: Tensor) -> Tensor:
        y = self.stem(x)
        maps = [F.relu(conv(y)) for conv in (self.c2,)]
        return self.head(maps[0])


@net
class LoopedComprehension(Flat):
    def forward(self, x: Tensor) -> Tensor:
        y = self.stem(x)
        maps = [F.relu(self.c2(y * scale)) for scale in (0.0, 1.0)]
        return self.head(maps[1])


@net
class Augmented(Flat):
    def forward(self, x: Tensor) -> Tensor:
        y = self.c2(self.stem(x))
        y += self.same(y)
        return self.head(y)


@net
class ManyLines(Flat):
    def forward(self, x: Tensor) -> Tensor:
        return self.head(
            self.c2(
                self.stem(x),
            )
            .relu()
            .mul(
                self.alpha,
            )
        )


@net
class Lambda(Flat):
    def forward(self, x: Tensor) -> Tensor:
        run = lambda value: F.relu(self.c2(value))  # noqa: E731
        return self.head(run(self.stem(x)))


@net
class Nested(Flat):
    def forward(self, x: Tensor) -> Tensor:
        def inner(value: Tensor) -> Tensor:
            return F.relu(self.c2(value)) * self.alpha

        return self.head(inner(self.stem(x)))


@net
class Mangled(Flat):
    def __relu(self, x: Tensor) -> Tensor:
        return F.relu(x)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.__relu(self.c2(self.stem(x))))


@net
class Optional(Flat):
    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        y = F.relu(self.c2(self.stem(x)))
        if mask is not None:
            y = y * mask
        return self.head(y)


@net
class Walrus(Flat):
    def forward(self, x: Tensor) -> Tensor:
        if (y := F.relu(self.c2(self.stem(x)))).shape[1] == 16:
            return self.head(y)
        raise RuntimeError


@net
class Ternary(Flat):
    def forward(self, x: Tensor) -> Tensor:
        y = self.c2(self.stem(x))
        return self.head(F.relu(y) if not self.flag else y)


@net
class Try(Flat):
    def forward(self, x: Tensor) -> Tensor:
        try:
            y = F.relu(self.c2(self.stem(x)))
        finally:
            self.calls += 1
        return self.head(y)


@net
class OtherFunction(Flat):
    def forward(self, x: Tensor) -> Tensor:
        return self.head(scaled(self.c2(self.stem(x))))


@net
class Contexts(Flat):
    def forward(self, x: Tensor) -> Tensor:
        with contextlib.ExitStack() as stack:
            stack.enter_context(torch.enable_grad())
            y = F.relu(self.c2(self.stem(x)))
        return self.head(y)


@net
class StateDict(Flat):
    def forward(self, x: Tensor) -> Tensor:
        state = {"x": self.stem(x)}
        state["x"] = F.relu(self.c2(state["x"]))
        state["x"] += 1
        return self.head(state["x"])


@net
class SharedActivation(Flat):
    def __init__(self) -> None:
        super().__init__()
        self.act = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.act(self.c2(self.act(self.c1(x)))))


class Dense(nn.ModuleDict):
    """A dense block as torchvision's: it runs whatever it holds."""

    def __init__(self) -> None:
        super().__init__(OrderedDict(a=nn.Conv2d(16, 4, 3, 1, 1), b=nn.Conv2d(20, 4, 3, 1, 1)))

    def forward(self, x: Tensor) -> Tensor:
        maps = [x]
        for _, layer in self.items():
            maps.append(F.relu(layer(torch.cat(maps, 1))))
        return torch.cat(maps, 1)


@net
class DenseBlocks(Flat):
    def __init__(self) -> None:
        super().__init__()
        self.dense, self.out = Dense(), nn.Linear(24, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.dense(F.relu(self.c2(self.stem(x)))).mean((2, 3)))


class Rows(nn.Sequential):
    """A sequence with a forward of its own."""

    def forward(self, x: Tensor) -> Tensor:
        for layer in self:
            x = F.relu(layer(x))
        return x


@net
class OwnSequence(Flat):
    def __init__(self) -> None:
        super().__init__()
        self.rows = Rows(nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, 16, 3, 2, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.rows(x))
