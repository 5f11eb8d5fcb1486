"""The downsampling into a stage: what lies between the end of one stage and the first map of the next."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn
from torch.fx import Node

from hmhsa_insert.surgery.locate.recorder import ModuleCall, can_host
from hmhsa_insert.surgery.locate.stages import CutPoint, Located, Stage

_POOLS = (nn.MaxPool2d, nn.AvgPool2d)


@dataclass(frozen=True)
class Downsampling:
    """The downsampling into one stage.

    Attributes:
        start, end: the maps it leads from and to.
        call: the outermost module that reads `start` alone.
        modules: names of the modules that together make `end` from `start`, in order; empty when the region is not
            made of whole modules.
    """

    start: CutPoint
    end: CutPoint
    call: ModuleCall | None
    modules: tuple[str, ...]


def find_region(located: Located, stage: Stage) -> Downsampling | None:
    """Return the downsampling into `stage`; None where no stage lies before it."""
    index = located.stages.index(stage)
    if index == 0:
        return None
    start = located.stages[index - 1].cut_points[-1]
    end = stage.entry or stage.cut_points[0]
    nodes = {node.name: node for node in located.trace.nodes}
    first, last = nodes[start.node], nodes[end.node]
    return Downsampling(start, end, reader(located, first), tuple(_chain(located, first, last)))


def strided_modules(located: Located, region: Downsampling) -> tuple[list[str], list[str]]:
    """Return the modules in a region whose stride can become 1, and descriptions of what strides otherwise."""
    nodes = {node.name: node for node in located.trace.nodes}
    first, last = nodes[region.start.node].meta["position"], nodes[region.end.node].meta["position"]
    found: list[str] = []
    others: list[str] = []
    for node in located.trace.nodes[first + 1 : last + 1]:
        if not _strides(located, node):
            continue
        call = located.trace.calls[node.meta["call"]] if node.meta["call"] is not None else None
        if call and issubclass(call.kind, (nn.Conv2d, *_POOLS)) and call.qualname not in found:
            found.append(call.qualname)
        elif not call or call.qualname not in found:
            others.append(f"{node.meta['function']} in '{call.qualname if call else ''}'")
    return found, others


def unstride(module: nn.Module) -> nn.Module:
    """Return a module that does what `module` does at stride 1, its weights and names kept.

    A pool of an even kernel becomes the identity (at stride 1 it would shrink the map); a convolution of an even
    kernel is padded to keep the size.
    """
    if isinstance(module, nn.Conv2d):
        module.stride = (1, 1)
        if any(side % 2 == 0 for side in module.kernel_size) and module.padding != (0, 0, 0, 0):
            module.padding = "same"
            module._reversed_padding_repeated_twice = [0, 0, 0, 0]
        return module
    sides = module.kernel_size if isinstance(module.kernel_size, tuple) else (module.kernel_size,)
    if any(int(side) % 2 == 0 for side in sides):  # type: ignore[arg-type]
        return nn.Identity()
    module.stride = 1  # type: ignore[assignment]
    return module


def _strides(located: Located, node: Node) -> bool:
    if node not in located.maps:
        return False
    return any(
        source in located.maps and located.maps[source].stride < located.maps[node].stride
        for source in node.all_input_nodes
    )


def reader(located: Located, start: Node) -> ModuleCall | None:
    """Return the outermost module that alone reads `start`, as its only input, and can carry a child."""
    for call in located.trace.calls:
        if call.parent is None or call.inputs != (start,) or call.arguments != ((0,),):
            continue
        if not can_host(call.kind):
            continue
        if len(located.trace.calls_of(call.qualname)) != 1:
            continue
        if all(call.first <= user.meta["position"] < call.last for user in start.users):
            return call
    return None


def _chain(located: Located, start: Node, end: Node) -> list[str]:
    """Return the modules that lead from `start` to `end` one after another, each reading the one before alone."""
    names: list[str] = []
    here = start
    while here is not end:
        step = _step(located, here, end)
        if step is None:
            return []
        names.append(step.qualname)
        here = step.outputs[0][1]
    return names


def _step(located: Located, here: Node, end: Node) -> ModuleCall | None:
    for call in located.trace.calls:
        single = len(call.outputs) == 1 and call.outputs[0][0] == () and call.inputs == (here,)
        if not single or call.parent is None or len(located.trace.calls_of(call.qualname)) != 1:
            continue
        made = call.outputs[0][1].meta["position"]
        inside = all(call.first <= user.meta["position"] < call.last for user in here.users)
        if inside and call.first <= made <= end.meta["position"]:
            return call
    return None
