"""Selectors of stages: ``stage``, ``stride`` and ``neck`` mean their blocks, ``downsample`` what lies before them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Annotated, Any, ClassVar

from pydantic import Field

from hmhsa_insert.recipe.fields import STAGES_TIP, Blocks, Read, stage_numbers, whole_numbers
from hmhsa_insert.recipe.match import select_indices
from hmhsa_insert.recipe.schema import OpName
from hmhsa_insert.recipe.selectors.base import NetworkView, Selector


def _or_all(numbers: Read) -> Read:
    """Return the annotation of numbers, or ``all``, which is read as none."""
    return Read(
        lambda value: () if value == "all" else numbers.read(value),
        {"anyOf": [numbers.json, {"const": "all"}]},
        lambda value: numbers.write(value) if value else "all",
    )


_NUMBERS_OR_ALL = _or_all(stage_numbers(also=", or 'all'"))
_NECK_NUMBERS_OR_ALL = _or_all(whole_numbers(1, tip=lambda _: STAGES_TIP, also=", or 'all'"))


class StageSelector(Selector):
    """Blocks of stages by number; of every stage from 1 on if `numbers` is empty, which is ``all``."""

    kind: ClassVar[str] = "stage"
    ops: ClassVar[tuple[OpName, ...]] = ("insert",)

    numbers: Annotated[tuple[int, ...], _NUMBERS_OR_ALL] = Field(alias="stage")
    """Stage number, a list of them, or all (every stage from 1 on). Stage k is the run of feature
    maps at stride 2^(k+1), measured; 0 is a stem at stride 2."""
    block: Blocks = "last"
    """Which blocks of each stage: last (default), first, each, {every: k} (the k-th, 2k-th, …), or
    indices from 0, negative ones from the end."""

    def stages(self, network: NetworkView) -> Iterable[Any]:
        """Return the stages that are meant; None for what was refused."""
        numbered = (network.stage(self.kind, number, by=self.kind) for number in self.numbers)
        return numbered if self.numbers else iter(network.numbered_stages(self.kind))

    def maps(self, network: NetworkView) -> Iterator[Any]:
        """Yield the map of each chosen block."""
        for stage in filter(None, self.stages(network)):
            try:
                chosen = select_indices(self.block, len(stage.cut_points))
            except IndexError as error:
                network.refuse("block", f"stage {stage.index} (stride {stage.stride}): {error}")
                continue
            yield from (network.map_of_block(stage, index) for index in chosen)


class StrideSelector(StageSelector):
    """Blocks of stages by their cumulative stride."""

    kind: ClassVar[str] = "stride"

    numbers: Annotated[tuple[int, ...], whole_numbers(1, tip=lambda _: STAGES_TIP)] = Field(alias="stride")
    """The same by cumulative stride, such as 16: a number or a list of them."""


class NeckSelector(StageSelector):
    """Blocks of stages of the neck, by their number in the order of the forward."""

    kind: ClassVar[str] = "neck"

    numbers: Annotated[tuple[int, ...], _NECK_NUMBERS_OR_ALL] = Field(alias="neck")
    """Number of a stage of the neck or decoder (what comes after the resolution has grown again), a list
    of them, or all. They are counted from 1 in the order of the forward, because a stride may come twice."""

    def stages(self, network: NetworkView) -> Iterable[Any]:
        """Return the stages of the neck that are meant; None for what was refused."""
        stages: Iterable[Any] = network.neck_stages(self.kind, self.numbers)
        return stages


class DownsampleSelector(Selector):
    """The ways into stages."""

    kind: ClassVar[str] = "downsample"
    ops: ClassVar[tuple[OpName, ...]] = ("replace",)
    is_region: ClassVar[bool] = True

    numbers: Annotated[tuple[int, ...], stage_numbers(1)] = Field(alias="downsample")
    """The downsampling into stage k, 1 or more: a number or a list of them."""

    def regions(self, network: NetworkView) -> Iterable[Any]:
        """Return the downsampling into each stage."""
        return map(network.way_into, self.numbers)
