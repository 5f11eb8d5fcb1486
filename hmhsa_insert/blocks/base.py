"""What every block file is written in: sizes, costs, options, and its row in the table."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from hmhsa_insert.recipe.explain import explain

if TYPE_CHECKING:
    from torch import nn

Shape = Literal["same", "half", "any"]


@dataclass(frozen=True)
class MapSize:
    """The size of a feature map, without its batch axis.

    Attributes:
        channels: C.
        height: H, in pixels of the map.
        width: W, in pixels of the map.
    """

    channels: int
    height: int
    width: int


@dataclass(frozen=True)
class BlockCost:
    """What one block costs.

    Attributes:
        num_params: number of learned scalars.
        macs: multiply–accumulates for one image: convolutions and linear layers without their bias, and the
            two attention products. Norms, pools, activations, upsampling and sums are not counted.
    """

    num_params: int
    macs: int

    def __add__(self, other: BlockCost) -> BlockCost:
        return BlockCost(self.num_params + other.num_params, self.macs + other.macs)


@dataclass(frozen=True)
class OptionProblem:
    """One thing that is wrong with a block's options.

    Attributes:
        key: the path to the option, such as ``("grids", 1)``.
        message: what was found there, in one sentence.
        tip: what to do about it; may be empty.
    """

    key: tuple[str | int, ...]
    message: str
    tip: str = ""


class Options(BaseModel):
    """Base class of every block's options: immutable, without unknown keys or silent type conversions."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    type: str


@dataclass(frozen=True)
class BlockType:
    """One kind of block.

    Attributes:
        name: what a recipe writes as ``type``.
        summary: one line for the list of blocks.
        options: the pydantic model of its options.
        build: ``(options, inp, out_channels) -> module``; to be called only if `refuse` found nothing.
        cost: ``(options, inp, out_channels) -> BlockCost``, without building the module.
        shape: "same" keeps C×H×W; "half" is a stride-2 downsampler, which may change C and gives
            ⌈H/2⌉×⌈W/2⌉; "any" is an elementwise function.
        refuse: ``(options, inp, out_channels) -> problems`` that only show at a given map.
        needs_size: returns True if `build` or `refuse` depends on height and width with these options.
        one_size: returns True if the module runs at no other height and width than those it was built for.
        about: what else there is to tell of it, such as its paper, its licence and its class, each with its name.
    """

    name: str
    summary: str
    options: type[Options]
    build: Callable[[Any, MapSize, int], nn.Module]
    cost: Callable[[Any, MapSize, int], BlockCost]
    shape: Shape
    refuse: Callable[[Any, MapSize, int], list[OptionProblem]] = field(default=lambda options, inp, out: [])
    needs_size: Callable[[Any], bool] = field(default=lambda options: False)
    one_size: Callable[[Any], bool] = field(default=lambda options: False)
    about: tuple[tuple[str, str], ...] = ()

    def read(self, spec: Mapping[str, Any]) -> tuple[Options | None, list[OptionProblem]]:
        """Return the options of a block's mapping, ``type`` included, or None and all problems."""
        try:
            return self.options.model_validate(dict(spec)), []
        except ValidationError as error:
            found = explain(error, self.options, f"the options of {self.name}")
            return None, [OptionProblem(each.path, each.message, each.tip) for each in found]


def built_by(file: str) -> Callable[[Any, MapSize, int], nn.Module]:
    """Return the ``build`` of a block type: the function of that name in a file of blocks, imported when called."""
    return partial(_build, f"hmhsa_insert.blocks.{file}")


def _build(module: str, options: Any, inp: MapSize, out_channels: int) -> nn.Module:
    made: nn.Module = importlib.import_module(module).build(options, inp, out_channels)
    return made
