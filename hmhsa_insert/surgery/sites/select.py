"""Select: turn the selector of one edit into places of one located network, or into refusals."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn
from torch.fx import Node

from hmhsa_insert.errors import Problem, listed, near
from hmhsa_insert.recipe import Edit, Recipe, Selector, any_matches, select_indices
from hmhsa_insert.recipe.marks import KeyPath
from hmhsa_insert.surgery.locate.maps import FeatureMap
from hmhsa_insert.surgery.locate.no_maps import has_tokens, why_no_maps
from hmhsa_insert.surgery.locate.recorder import ModuleCall, can_host
from hmhsa_insert.surgery.locate.stages import CutPoint, Located, Stage, cut_point, hosts_of
from hmhsa_insert.surgery.sites.region import reader

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
        before: the call whose input it is, for ``position: before``; None to act on a module's output.
        argument: index or name of that input.
    """

    point: CutPoint
    before: ModuleCall | None = None
    argument: int | str = 0


def select_maps(located: Located, model: nn.Module, edit: Edit, refusals: Refusals) -> list[Place]:
    """Return the maps an ``insert`` means, in the order of the forward."""
    at = edit.at
    if at.kind in ("stage", "stride"):
        places = list(_block_places(located, edit, refusals))
    elif at.kind == "node":
        places = list(_node_places(located, edit, refusals))
    else:
        names = select_modules(located, model, edit, refusals)
        places = [place for name in names for place in _module_places(located, edit, name, refusals)]
    found, places = places, [place for place in places if not at.excludes(place.point.qualname)]
    if found and not places:
        refusals.add(edit, ("at", "exclude"), f"it leaves none of the {len(found)} places that were found")
    check_count(edit, len(places), refusals)
    return places


def select_modules(located: Located, model: nn.Module, edit: Edit, refusals: Refusals) -> list[str]:
    """Return the qualified names of the modules a ``module``, ``class`` or ``node`` selector means."""
    at = edit.at
    named = dict(model.named_modules())
    if at.kind == "node":
        return [name for name in (_module_of_node(located, edit, n, refusals) for n in at.names) if name]
    inside = _modules_in_stages(located, at, edit, refusals) if at.in_stage else None
    chosen = [
        name
        for name, module in named.items()
        if name and at.picks_module(name, module) and (inside is None or name in inside)
    ]
    if not chosen:
        _no_module(located, named, edit, refusals)
    return chosen


def check_count(edit: Edit, found: int, refusals: Refusals) -> None:
    """Refuse when ``expect`` says another number of sites than were found."""
    if edit.at.expect is not None and found and edit.at.expect != found:
        refusals.add(edit, ("at", "expect"), f"expected {edit.at.expect} sites, found {found}")


def _block_places(located: Located, edit: Edit, refusals: Refusals) -> Iterator[Place]:
    for stage in _stages(located, edit, refusals):
        try:
            chosen = select_indices(edit.at.block, len(stage.cut_points))
        except IndexError as error:
            message = f"stage {stage.index} (stride {stage.stride}): {error}"
            refusals.add(edit, ("at", "block"), message, STAGES_TIP)
            continue
        for index in chosen:
            if edit.position == "before":
                yield _before(located, stage, index)
            else:
                yield Place(stage.cut_points[index])


def _stages(located: Located, edit: Edit, refusals: Refusals) -> Iterator[Stage]:
    """Yield the selected stages; refuse numbers that no stage has."""
    at = edit.at
    by_number = {(s.index if at.kind == "stage" else s.stride): s for s in located.stages}
    if not at.numbers:
        numbered = [stage for stage in located.stages if stage.index is not None and stage.index >= 1]
        if not numbered:
            refusals.add(edit, ("at", at.kind), f"there is no stage: {_what_there_is(located)}", STAGES_TIP)
        yield from numbered
        return
    for number in at.numbers:
        if number in by_number:
            yield by_number[number]
        else:
            stride = 2 ** (number + 1) if at.kind == "stage" else number
            refusals.add(edit, ("at", at.kind), why_no_stage(located, at.kind, number, stride), STAGES_TIP)


def why_no_stage(located: Located, kind: str, number: int, stride: int) -> str:
    """Return why there is no stage at a stride, and what there is."""
    reason = ""
    if has_tokens(located, stride):
        reason = f"; at stride {stride} it works on token sequences, which have no height and width"
    elif any(feature.stride == stride for feature in located.maps.values()):
        reason = f"; maps of stride {stride} exist, but not every path passes through one of them"
    return f"no {kind} {number}: {_what_there_is(located)}{reason}"


def why_nothing(located: Located, edit: Edit) -> tuple[str, str]:
    """Return why an edit comes to no site at all, and what to do."""
    numbers = [stage.index for stage in located.stages if stage.index is not None and stage.index >= 1]
    if edit.at.exclude and numbers:
        return f"'exclude' leaves no place: {listed(edit.at.exclude)}", "narrow it"
    reason = "it names no place" if numbers else f"there is no stage 1 or later: {_what_there_is(located)}"
    return f"{reason}; the edit would change nothing", STAGES_TIP


def _what_there_is(located: Located) -> str:
    strides = ", ".join(str(stage.stride) for stage in located.stages)
    numbers = ", ".join(str(stage.index) for stage in located.stages if stage.index is not None)
    if numbers:
        return f"the network's stages are {numbers} (strides {strides})"
    return f"the network has maps at strides {strides}" if strides else why_no_maps(located)


def _before(located: Located, stage: Stage, index: int) -> Place:
    """Return the map that enters a block: as the block's input where it can be, else after what comes before it."""
    calls = located.trace.calls_of(stage.cut_points[index].qualname)
    if len(calls) == 1 and calls[0].inputs and stage.cut_points[index].host:
        place = input_place(located, calls[0])
        if place:
            return place
    return Place(_previous(located, stage, index))


def _previous(located: Located, stage: Stage, index: int) -> CutPoint:
    if index:
        return stage.cut_points[index - 1]
    if stage.entry:
        return stage.entry
    position = located.stages.index(stage)
    return located.stages[position - 1].cut_points[-1] if position else stage.cut_points[0]


def input_place(located: Located, call: ModuleCall) -> Place | None:
    """Return the input of `call` as a place, if it is one map that nothing outside the call reads."""
    source = call.inputs[0]
    if source not in located.maps or call.arguments[:1] != ((0,),) or len(call.inputs) != 1:
        return None
    if any(not call.first <= user.meta["position"] < call.last for user in source.users):
        return None
    host = call if can_host(call.kind) else reader(located, source)
    return Place(cut_point(located.trace, located.maps, source), host, 0) if host else None


def _node_places(located: Located, edit: Edit, refusals: Refusals) -> Iterator[Place]:
    nodes = {node.name: node for node in located.trace.nodes}
    for name in edit.at.names:
        node = nodes.get(name)
        if node is None or node not in located.maps:
            what = "is no feature map" if node else "does not exist"
            tip = near(name, (n.name for n in located.maps)) or "see --all-cut-points"
            refusals.add(edit, ("at", "node"), f"node '{name}' {what}", tip)
        else:
            yield Place(cut_point(located.trace, located.maps, node))


def _module_places(located: Located, edit: Edit, name: str, refusals: Refusals) -> Iterator[Place]:
    calls = located.trace.calls_of(name)
    if len(calls) != 1:
        times = f"is called {len(calls)} times in one forward" if calls else "is not called in the forward"
        refusals.add(edit, ("at", edit.at.kind), f"'{name}' {times}: a site is one call", STAGES_TIP)
        return
    if edit.position == "before":
        place = input_place(located, calls[0])
        if place is None:
            message = f"the input of '{name}' is not one feature map that it alone reads"
            refusals.add(edit, ("at", edit.at.kind), message, "use position: after at the module before it")
        else:
            yield place
        return
    outputs = [(path, node) for path, node in calls[0].outputs if node in located.maps]
    if len(outputs) != 1 or len(calls[0].outputs) != 1:
        message = f"the output of '{name}' is not one feature map: {_shapes(calls[0])}"
        refusals.add(edit, ("at", edit.at.kind), message, STAGES_TIP)
        return
    yield Place(cut_point(located.trace, located.maps, outputs[0][1], calls[0]))


def _shapes(call: ModuleCall) -> str:
    shapes = ["×".join(map(str, node.meta["shape"][1:])) or "one number" for _, node in call.outputs]
    return "it returns " + (", ".join(shapes) if shapes else "no tensor")


def _module_of_node(located: Located, edit: Edit, name: str, refusals: Refusals) -> str | None:
    node = next((node for node in located.trace.nodes if node.name == name), None)
    if node is None:
        tip = near(name, (n.name for n in located.trace.nodes)) or "see --all-cut-points"
        refusals.add(edit, ("at", "node"), f"node '{name}' does not exist", tip)
        return None
    hosts = list(hosts_of(located.trace, node))
    if not hosts:
        refusals.add(edit, ("at", "node"), f"node '{name}' is not the output of a module", STAGES_TIP)
        return None
    return hosts[-1][0].qualname


def _modules_in_stages(located: Located, at: Selector, edit: Edit, refusals: Refusals) -> set[str]:
    """Return names of the modules that run between the start of a stage's first block and the stage's end."""
    inside: set[str] = set()
    for number in at.in_stage:
        stage = next((s for s in located.stages if s.index == number), None)
        if stage is None:
            message = why_no_stage(located, "stage", number, 2 ** (number + 1))
            refusals.add(edit, ("at", "in_stage"), message, STAGES_TIP)
            continue
        first, last = stage_span(located, stage)
        inside |= {c.qualname for c in located.trace.calls if c.first >= first and c.last <= last}
    return inside


def stage_span(located: Located, stage: Stage) -> tuple[int, int]:
    """Return the graph positions between which a stage's blocks run: after what enters it, to its end included."""
    nodes = {node.name: node.meta["position"] for node in located.trace.nodes}
    index = located.stages.index(stage)
    before = stage.entry or (located.stages[index - 1].cut_points[-1] if index else None)
    return (nodes[before.node] + 1 if before else 0), nodes[stage.cut_points[-1].node] + 1


def _no_module(located: Located, named: dict[str, nn.Module], edit: Edit, refusals: Refusals) -> None:
    at = edit.at
    wanted = listed(at.names)
    if at.kind == "class":
        classes = sorted({type(module).__name__ for module in named.values()})
        exists = any(name in classes for name in at.names)
        tip = "" if exists else near(at.names[0], classes) or f"its classes are {', '.join(classes[:12])}"
        message = f"no module of class {wanted}"
    else:
        exists = any(any_matches((name,), candidate) for name in at.names for candidate in named)
        tip = STAGES_TIP if exists else near(at.names[0], named) or STAGES_TIP
        message = f"no module is named {wanted}"
    narrowed = [
        key for key, on in (("with", at.with_), ("in_stage", at.in_stage), ("exclude", at.exclude)) if on
    ]
    if narrowed:
        message += f" with {listed(narrowed)} as given"
    refusals.add(edit, ("at", at.kind), message, tip)


def map_of(point: CutPoint) -> FeatureMap:
    """Return the measured map of a cut point."""
    return FeatureMap(point.stride, point.channels, point.height, point.width, point.layout, point.frames)


def node_of(located: Located, point: CutPoint) -> Node:
    """Return the node of a cut point."""
    return next(node for node in located.trace.nodes if node.name == point.node)


def num_params_of(model: nn.Module, name: str) -> int:
    """Return how many parameters the module `name` owns."""
    return sum(parameter.numel() for parameter in model.get_submodule(name).parameters())
