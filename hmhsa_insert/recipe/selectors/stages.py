"""Selectors of stages: ``stage``, ``stride`` and ``neck`` mean their blocks, ``downsample`` what lies before them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from hmhsa_insert.recipe.fields import STAGES_TIP, Blocks, Read, must, stage_numbers, whole_numbers
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


_PLACES = "the number of a convolution (1, 2, …, or -1 for the last), 'branch' or 'addition'"
_PLACES_JSON = {"anyOf": [{"type": "integer", "not": {"const": 0}}, {"enum": ["branch", "addition"]}]}


def _is_place(value: Any) -> bool:
    return value in ("branch", "addition") or (type(value) is int and value != 0)


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

    inside: Literal["branch"] | None = None
    """branch: not behind the chosen blocks but inside their residual branches, which are found by structure: additions
    of a value and of what convolutions made of it. Blocks without a branch are left out, and with all their stages."""
    after: Annotated[int | str | None, must("be " + _PLACES, _is_place, _PLACES_JSON)] = None
    """With inside: branch. After which convolution of the branch: 1, 2, … or -1 for the last, with its norm and
    activation; branch (default): after all of the branch, before the addition; addition: after the sum, before what
    follows it."""

    def stages(self, network: NetworkView) -> Iterable[Any]:
        """Return the stages that are meant; None for what was refused."""
        numbered = (network.stage(self.kind, number, by=self.kind) for number in self.numbers)
        return numbered if self.numbers else iter(network.numbered_stages(self.kind))

    def maps(self, network: NetworkView) -> Iterator[Any]:
        """Yield the map of each chosen block, or those inside of it."""
        without = []
        for stage in filter(None, self.stages(network)):
            try:
                chosen = select_indices(self.block, len(stage.cut_points))
            except IndexError as error:
                network.refuse("block", f"stage {stage.index} (stride {stage.stride}): {error}")
                continue
            if self.inside is None:
                yield from (network.map_of_block(stage, index) for index in chosen)
                continue
            branches = [branch for index in chosen for branch in network.branches_in(stage, index)]
            yield from (network.map_in_branch(stage, branch, self.after or "branch") for branch in branches)
            without += [] if branches else [stage]
        if without and (self.numbers or len(without) == len(list(self.stages(network)))):
            names = ", ".join(stage.name for stage in without)
            what = "no addition of a value and of what convolutions made of it"
            network.refuse("inside", f"the chosen blocks of {names} have no residual branch: {what}")


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
