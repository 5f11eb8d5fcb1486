"""Networks that read a map elsewhere than in evaluation mode, or keep something that an edit must leave alone.

`expected` is the forward with a block written in by hand; it is None where an edit has to be refused, with `says`.
"""

from __future__ import annotations

import functools
import random
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Flat(nn.Module):
    """A stem, a map of stride 4 made by ``F.relu`` in the forward, a head."""

    says = ""

    def __init__(self) -> None:
        super().__init__()
        self.c1, self.c2 = nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, 16, 3, 2, 1)
        self.same, self.fc, self.aux = nn.Conv2d(16, 16, 3, 1, 1), nn.Linear(16, 5), nn.Linear(16, 5)
        self.act = nn.ReLU(inplace=True)

    def stem(self, x: Tensor) -> Tensor:
        return F.relu(self.c1(x))

    def head(self, y: Tensor) -> Tensor:
        return self.fc(y.mean((2, 3)))

    def second(self, y: Tensor) -> Tensor:
        return self.aux(y.mean((2, 3)))


class Kept(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.c, self.kept = nn.Conv2d(8, 16, 3, 2, 1), None

    def forward(self, x: Tensor) -> Tensor:
        self.kept = F.relu(self.c(x))
        return self.kept


class AuxiliaryReadsInPlace(Flat):
    says = "in training mode"

    def forward(self, x: Tensor) -> Any:
        y = self.c2(self.stem(x))
        z = self.act(y)
        return (self.head(z), self.second(y)) if self.training else self.head(z)


class AuxiliaryReadsKept(Flat):
    def __init__(self) -> None:
        super().__init__()
        self.b = Kept()

    def forward(self, x: Tensor) -> Any:
        out = self.head(self.b(self.stem(x)))
        return (out, self.second(self.b.kept)) if self.training else out

    def expected(self, x: Tensor, block: nn.Module) -> Any:
        y = block(F.relu(self.b.c(self.stem(x))))
        return (self.head(y), self.second(y)) if self.training else self.head(y)


class AuxiliaryReadsAlias(Flat):
    says = "in training mode"

    def forward(self, x: Tensor) -> Any:
        y = self.c2(self.stem(x))
        before = y
        y += self.same(y)
        return (self.head(y), self.second(before)) if self.training else self.head(y)


class ExitReadsKept(Flat):
    def __init__(self) -> None:
        super().__init__()
        self.b = Kept()
        self.deeper = nn.Sequential(nn.Conv2d(16, 16, 3, 2, 1), nn.ReLU())

    def forward(self, x: Tensor) -> Any:
        y = self.b(self.stem(x))
        return self.second(self.b.kept) if float(y.mean()) > 0.9 else self.head(self.deeper(y))

    def expected(self, x: Tensor, block: nn.Module) -> Any:
        y = block(F.relu(self.b.c(self.stem(x))))
        return self.second(y) if float(y.mean()) > 0.9 else self.head(self.deeper(y))


class OtherExpressionForOneImage(Flat):
    says = "batches of 1"

    def forward(self, x: Tensor) -> Any:
        y = torch.relu(self.c2(self.stem(x))) if len(x) == 1 else F.relu(self.c2(self.stem(x)))
        return self.head(y)


class OtherReaderForOneImage(Flat):
    says = "past the edit"

    def forward(self, x: Tensor) -> Any:
        y = self.c2(self.stem(x))
        z = self.act(y)
        return self.head(y if len(x) == 1 else z)


class OtherExpressionCompiled(Flat):
    says = "under torch.compile"

    def forward(self, x: Tensor) -> Any:
        if torch.compiler.is_compiling():
            return self.head(self.c2(self.stem(x)).relu())
        return self.head(F.relu(self.c2(self.stem(x))))


class OtherExpressionWithGradients(Flat):
    says = "in training mode"

    def forward(self, x: Tensor) -> Any:
        if torch.is_grad_enabled():
            return self.head(self.c2(self.stem(x)).relu())
        return self.head(F.relu(self.c2(self.stem(x))))


class LayersSkippedInTraining(Flat):
    says = "runs on another map"
    at = {"stride": [4], "block": [2]}  # noqa: RUF012

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Conv2d(16, 16, 3, 1, 1) for _ in range(3))

    def forward(self, x: Tensor) -> Any:
        y = F.relu(self.c2(self.stem(x)))
        for layer in self.layers:
            if self.training and random.random() < 0.5:
                continue
            y = y + F.relu(layer(y))
        return self.head(y)


class ViewTakenBefore(Flat):
    says = "past the edit"
    at = {"module": "act"}  # noqa: RUF012

    def forward(self, x: Tensor) -> Any:
        y = self.c2(self.stem(x))
        flat = y.flatten(2)
        self.act(y)
        return self.fc(flat.mean(2)) + self.second(y)


class CountsItsParameters(Flat):
    says = "other numbers"

    def forward(self, x: Tensor) -> Any:
        return self.head(F.relu(self.c2(self.stem(x)))) / len(list(self.parameters()))


class WritesWhereACallSays(Flat):
    says = "cannot be edited"

    def __init__(self) -> None:
        super().__init__()
        self.ticks = 0

    def tick(self) -> int:
        self.ticks += 1
        return self.ticks % 2

    def forward(self, x: Tensor) -> Any:
        y = self.c2(self.stem(x))
        maps = [y, y * 2]
        maps[self.tick()] += y
        return self.head(maps[1])


class Named(dict[str, Tensor]):
    scale = 1.0


class ReturnsADictOfItsOwn(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.c = nn.Conv2d(8, 16, 3, 2, 1)

    def forward(self, x: Tensor) -> Named:
        found = Named(map=F.relu(self.c(x)))
        found.scale = 3.0
        return found


class ReadsAnAttributeOfADict(Flat):
    at = {"module": "b"}  # noqa: RUF012

    def __init__(self) -> None:
        super().__init__()
        self.b = ReturnsADictOfItsOwn()

    def forward(self, x: Tensor) -> Any:
        found = self.b(self.stem(x))
        return self.head(found["map"]) * found.scale

    def expected(self, x: Tensor, block: nn.Module) -> Any:
        return self.head(block(F.relu(self.b.c(self.stem(x))))) * 3.0


class ReturnsAReadOnlyMapping(ReturnsADictOfItsOwn):
    def forward(self, x: Tensor) -> Mapping[str, Any]:  # type: ignore[override]
        return MappingProxyType({"map": F.relu(self.c(x)), "scale": 3.0})


class ReadsAReadOnlyMapping(ReadsAnAttributeOfADict):
    def __init__(self) -> None:
        super().__init__()
        self.b = ReturnsAReadOnlyMapping()

    def forward(self, x: Tensor) -> Any:
        found = self.b(self.stem(x))
        return self.head(found["map"]) * found["scale"]


class ForwardIsALambda(Flat):
    def __init__(self) -> None:
        super().__init__()
        self.scales, self.part = [1.5], nn.Module()
        self.part.gain = 0.5

    def quietly(self, y: Tensor) -> Tensor:
        with torch.no_grad():
            return y.mean((2, 3)).softmax(1)

    forward = lambda self, x: self.fc((y := F.relu(self.c2(self.stem(x)))).mean((2, 3)) * self.quietly(y) * self.scales[0] * self.part.gain)  # noqa: E501, E731  # fmt: skip

    def expected(self, x: Tensor, block: nn.Module) -> Any:
        y = block(F.relu(self.c2(self.stem(x))))
        return self.fc(y.mean((2, 3)) * self.quietly(y) * self.scales[0] * self.part.gain)


class AnswersToEveryName(Flat):
    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return None

    def forward(self, x: Tensor) -> Any:
        return self.head(F.relu(self.c2(self.stem(x))))

    def expected(self, x: Tensor, block: nn.Module) -> Any:
        return self.head(block(F.relu(self.c2(self.stem(x)))))


REGISTERED: dict[str, type] = {}
TABLES: dict[int, Tensor] = {}


@functools.lru_cache(maxsize=8)
def grid(side: int) -> Tensor:
    return torch.linspace(0, 1, side)[:, None] * torch.linspace(0, 1, side)[None]


class Registering(Flat):
    calls = 0

    def __init_subclass__(cls, name: str, **options: Any) -> None:
        super().__init_subclass__(**options)
        REGISTERED[name] = cls


class KeepsTables(Registering, name="tables"):
    """Fills a cache, a global and a class attribute in its forward, and registers its subclasses."""

    def forward(self, x: Tensor) -> Any:
        Registering.calls += 1
        y = F.relu(self.c2(self.stem(x)))
        side = y.shape[-1]
        if side not in TABLES:
            TABLES[side] = torch.arange(side) / side
        return self.head(y + grid(side) + TABLES[side])

    def expected(self, x: Tensor, block: nn.Module) -> Any:
        y = F.relu(self.c2(self.stem(x)))
        return self.head(block(y + grid(y.shape[-1]) + TABLES[y.shape[-1]]))


NETS: tuple[type[Flat], ...] = (
    AuxiliaryReadsInPlace,
    AuxiliaryReadsKept,
    AuxiliaryReadsAlias,
    ExitReadsKept,
    OtherExpressionForOneImage,
    OtherReaderForOneImage,
    OtherExpressionCompiled,
    OtherExpressionWithGradients,
    LayersSkippedInTraining,
    ViewTakenBefore,
    CountsItsParameters,
    WritesWhereACallSays,
    ReadsAnAttributeOfADict,
    ReadsAReadOnlyMapping,
    ForwardIsALambda,
    AnswersToEveryName,
    KeepsTables,
)
