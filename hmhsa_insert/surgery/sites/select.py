"""Select: what the selector of an edit asks of a located network, and the places or refusals it comes to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from torch import nn
from torch.fx import Node

from hmhsa_insert.errors import Problem, listed, near
from hmhsa_insert.recipe import Edit, Recipe
from hmhsa_insert.recipe.marks import KeyPath
from hmhsa_insert.surgery.locate.branches import Branch, residual_branches
from hmhsa_insert.surgery.locate.maps import FeatureMap
from hmhsa_insert.surgery.locate.recorder import ModuleCall, can_host
from hmhsa_insert.surgery.locate.stages import CutPoint, Located, Stage, cut_point, hosts_of
from hmhsa_insert.surgery.sites.inside import branches_of_block
from hmhsa_insert.surgery.sites.reasons import what_there_is, why_no_stage
from hmhsa_insert.surgery.sites.region import Downsampling, find_region, reader

STAGES_TIP = "`hmhsa-insert stages MODEL` lists the stages and their blocks"


@dataclass
class Refusals:
    """Collects what is wrong with a recipe on one network, with its place in the recipe."""

    recipe: Recipe
    problems: list[Problem]

    def add(self, edit: Edit, path: KeyPath, message: str, tip: str = "") -> None:
        """Note one refusal at `path` inside `edit`."""
        self.problems.append(Problem(self.recipe.where((*edit.path, *path)), message, tip))


@dataclass(frozen=True)
class Place:
    """A map that an insert changes.

    Attributes:
        point: the map.
        before: the call whose first input it is, for ``position: before``; None to act on a module's output.
    """

    point: CutPoint
    before: ModuleCall | None = None


@dataclass(frozen=True)
class EditView:
    """A located network as the selector of one edit sees it: what is not found is refused, and None is returned."""

    located: Located
    model: nn.Module
    edit: Edit
    refusals: Refusals

    @property
    def stages(self) -> Sequence[Stage]:
        """The stages, in the order of the forward."""
        return self.located.stages

    @cached_property
    def modules(self) -> dict[str, nn.Module]:
        """The modules by qualified name, without the root."""
        return {name: module for name, module in self.model.named_modules() if name}

    def refuse(self, key: str, message: str, tip: str | None = None) -> None:
        """Note why the selector's `key` cannot be followed; the tip is how to list the stages, unless given."""
        self.refusals.add(self.edit, ("at", key), message, STAGES_TIP if tip is None else tip)

    def numbered_stages(self, key: str) -> list[Stage]:
        """Return the stages from 1 on; refuse where there is none."""
        numbered = [stage for stage in self.stages if stage.index is not None and stage.index >= 1]
        if not numbered:
            self.refuse(key, f"there is no stage: {what_there_is(self.located)}")
        return numbered

    def stage(self, key: str, number: int, by: str = "stage") -> Stage | None:
        """Return the stage of a number or ``stride``; refuse a number that no stage has."""
        found = {(stage.index if by == "stage" else stage.stride): stage for stage in self.stages}.get(number)
        if found is None:
            stride = 2 ** (number + 1) if by == "stage" else number
            self.refuse(key, why_no_stage(self.located, by, number, stride))
        return found

    def neck_stages(self, key: str, numbers: Sequence[int]) -> list[Stage]:
        """Return the stages of the neck by their numbers from 1, all without any; refuse a number that none has."""
        neck = self.located.neck
        there = f"its stages are 1 to {len(neck)}" if neck else "its resolution nowhere grows again"
        missing = [number for number in numbers if number > len(neck)]
        for number in missing:
            self.refuse(key, f"the network has no stage {number} in a neck: {there}")
        if not neck and not numbers:
            self.refuse(key, f"the network has no neck: {there}")
        return [neck[number - 1] for number in numbers if number <= len(neck)] if numbers else list(neck)

    def inside(self, key: str, numbers: Iterable[int]) -> set[str]:
        """Return names of the modules that run between the start of a stage's first block and the stage's end."""
        inside: set[str] = set()
        for stage in filter(None, [self.stage(key, number) for number in numbers]):
            first, last = stage_span(self.located, stage)
            inside |= {c.qualname for c in self.located.trace.calls if c.first >= first and c.last <= last}
        return inside

    def map_of_block(self, stage: Stage, index: int) -> Place | None:
        """Return the map after a block; before it, its input where that can be edited, else what comes before."""
        if self.edit.position == "after":
            return Place(stage.cut_points[index])
        calls = self.located.trace.calls_of(stage.cut_points[index].qualname)
        if len(calls) == 1 and calls[0].inputs and stage.cut_points[index].host:
            place = _input_place(self.located, calls[0])
            if place:
                return place
        if stage.part == "neck" and not index and not stage.entry:
            message = f"what '{stage.cut_points[0].qualname}' begins with is not one feature map that it alone reads"
            self.refuse(self.edit.at.kind, message, "use position: after at what comes before it")
            return None
        return Place(_previous(self.located, stage, index))

    def branches_in(self, stage: Stage, index: int) -> list[Branch]:
        """Return the residual branches of a block, in the order of their additions."""
        return branches_of_block(self.located, self._branches, stage, index)

    @cached_property
    def _branches(self) -> list[Branch]:
        learned = {name for name, _ in self.model.named_parameters(remove_duplicate=False)}
        return list(residual_branches(self.located.trace, self.located.maps, learned))

    def map_in_branch(self, stage: Stage, branch: Branch, after: int | str) -> Place | None:
        """Return the map after a convolution of a branch, by its number, after the ``branch``, or the ``addition``."""
        count = len(branch.ends)
        if isinstance(after, str):
            node = branch.addition if after == "addition" else branch.end
        elif -count <= after <= count:
            node = branch.ends[after - 1 if after > 0 else after]
        else:
            where = cut_point(self.located.trace, self.located.maps, branch.addition).qualname
            numbers = f"{count} convolution{'s' if count != 1 else ''}"
            self.refuse(
                "after", f"a branch of {stage.name} has {numbers} ('{where}')", "-1 is the last of each"
            )
            return None
        return Place(cut_point(self.located.trace, self.located.maps, node))

    def map_of_node(self, name: str) -> Place | None:
        """Return the map of an fx node."""
        node = next((node for node in self.located.trace.nodes if node.name == name), None)
        if node is None or node not in self.located.maps:
            what = "is not a feature map" if node else "does not exist"
            tip = (
                near(name, (n.name for n in self.located.maps))
                or "see `hmhsa-insert stages MODEL --all-cut-points`"
            )
            self.refuse("node", f"node '{name}' {what}", tip)
            return None
        return Place(cut_point(self.located.trace, self.located.maps, node))

    def map_of_module(self, name: str) -> Place | None:
        """Return the one map after a module, or before it."""
        kind, maps = self.edit.at.kind, self.located.maps
        calls = self.located.trace.calls_of(name)
        if len(calls) != 1:
            times = (
                f"is called {len(calls)} times in one forward" if calls else "is not called in the forward"
            )
            self.refuse(kind, f"'{name}' {times}: a site is one call")
            return None
        if self.edit.position == "before":
            place = _input_place(self.located, calls[0])
            if place is None:
                message = f"the input of '{name}' is not one feature map that it alone reads"
                self.refuse(kind, message, "use position: after at the module before it")
            return place
        outputs = [node for _, node in calls[0].outputs if node in maps]
        if len(outputs) != 1 or len(calls[0].outputs) != 1:
            self.refuse(kind, f"the output of '{name}' is not one feature map: {_shapes(calls[0])}")
            return None
        return Place(cut_point(self.located.trace, maps, outputs[0], calls[0]))

    def module_of_node(self, name: str) -> str | None:
        """Return the module whose output an fx node is."""
        nodes = {node.name: node for node in self.located.trace.nodes}
        if name not in nodes:
            self.refuse(
                "node",
                f"node '{name}' does not exist",
                near(name, nodes) or "see `hmhsa-insert stages MODEL --all-cut-points`",
            )
            return None
        hosts = list(hosts_of(self.located.trace, nodes[name]))
        if not hosts:
            self.refuse("node", f"node '{name}' is not the output of a module")
            return None
        return hosts[-1][0].qualname

    def way_into(self, number: int) -> Downsampling | None:
        """Return the downsampling into a stage, if one block that halves the map can replace it."""
        key = self.edit.at.kind
        stage = next((stage for stage in self.stages if stage.index == number), None)
        region = find_region(self.located, stage) if stage else None
        if stage is None or region is None:
            why = "nothing lies before it" if stage else ""
            why = why or why_no_stage(self.located, "stage", number, 2 ** (number + 1))
            self.refuse(key, f"no downsampling into stage {number}: {why}")
        elif region.end.stride != 2 * region.start.stride:
            strides = f"from stride {region.start.stride} to {region.end.stride}"
            self.refuse(key, f"the downsampling into stage {number} goes {strides}; one block halves once")
            return None
        return region


def select_maps(network: EditView) -> list[Place]:
    """Return the maps an ``insert`` means, in the order of the forward."""
    at = network.edit.at
    found: list[Place] = [place for place in at.maps(network) if place is not None]
    places = [place for place in found if not at.excludes(place.point.qualname)]
    if found and not places:
        network.refuse("exclude", f"it leaves none of the {len(found)} places that were found", "")
    _check_count(network, len(places))
    return places


def select_modules(network: EditView) -> Sequence[str]:
    """Return the qualified names of the modules that a ``replace`` or ``remove`` means."""
    names = [name for name in network.edit.at.modules(network) if name is not None]
    _check_count(network, len(names))
    return names


def why_nothing(located: Located, edit: Edit) -> tuple[str, str]:
    """Return why an edit comes to no site at all, and what to do."""
    numbers = [stage.index for stage in located.stages if stage.index is not None and stage.index >= 1]
    if edit.at.exclude and numbers:
        return f"'exclude' leaves no place: {listed(edit.at.exclude)}", "narrow it"
    reason = "it names no place" if numbers else f"there is no stage 1 or later: {what_there_is(located)}"
    return f"{reason}; the edit would change nothing", STAGES_TIP


def _check_count(network: EditView, found: int) -> None:
    """Refuse when ``expect`` says another number of sites than were found."""
    expected = network.edit.at.expect
    if expected is not None and found and expected != found:
        network.refuse("expect", f"expected {expected} sites, found {found}", "")


def _previous(located: Located, stage: Stage, index: int) -> CutPoint:
    if index:
        return stage.cut_points[index - 1]
    if stage.entry:
        return stage.entry
    position = located.stages.index(stage)
    return located.stages[position - 1].cut_points[-1] if position else stage.cut_points[0]


def _input_place(located: Located, call: ModuleCall) -> Place | None:
    """Return the input of `call` as a place, if it is one map that nothing outside the call reads."""
    source = call.inputs[0]
    if source not in located.maps or call.arguments[:1] != ((0,),) or len(call.inputs) != 1:
        return None
    if any(not call.first <= user.meta["position"] < call.last for user in source.users):
        return None
    host = call if can_host(call.kind) else reader(located, source)
    return Place(cut_point(located.trace, located.maps, source), host) if host else None


def _shapes(call: ModuleCall) -> str:
    shapes = ["×".join(map(str, node.meta["shape"][1:])) or "one number" for _, node in call.outputs]
    return "it returns " + (", ".join(shapes) if shapes else "no tensor")


def stage_span(located: Located, stage: Stage) -> tuple[int, int]:
    """Return the graph positions between which a stage's blocks run: after what enters it, to its end included."""
    nodes = {node.name: node.meta["position"] for node in located.trace.nodes}
    index = located.stages.index(stage)
    before = stage.entry or (located.stages[index - 1].cut_points[-1] if index else None)
    return (nodes[before.node] + 1 if before else 0), nodes[stage.cut_points[-1].node] + 1


def map_of(point: CutPoint) -> FeatureMap:
    """Return the measured map of a cut point."""
    return FeatureMap(point.stride, point.channels, point.height, point.width, point.layout, point.frames)


def node_of(located: Located, point: CutPoint) -> Node:
    """Return the node of a cut point."""
    return next(node for node in located.trace.nodes if node.name == point.node)


def num_params_of(model: nn.Module, name: str) -> int:
    """Return how many parameters the module `name` owns."""
    return sum(parameter.numel() for parameter in model.get_submodule(name).parameters())
