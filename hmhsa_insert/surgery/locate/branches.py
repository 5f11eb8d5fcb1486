"""Residual branches: additions of a value and of what convolutions made of it, found in the recorded forward.

An addition joins a residual branch if its two operands come from one value, one of them through more convolutions than
the other, which is the shortcut. No name of a class or module is used.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from torch.fx import Node

from hmhsa_insert.surgery.locate.maps import FeatureMap
from hmhsa_insert.surgery.locate.paths import descendants, dominators
from hmhsa_insert.surgery.locate.trace import Trace

_ADDS = {"add", "add_", "__add__", "__iadd__", "__radd__"}


@dataclass(frozen=True)
class Branch:
    """One residual branch.

    Attributes:
        start: the value from which branch and shortcut part.
        convolutions: those that every path of the branch passes, in order; a linear layer on a map is one of 1×1.
        ends: for each of them the map behind its norm and activation, before another kernel is applied.
        end: what is added to the shortcut.
        addition: the sum.
    """

    start: Node
    convolutions: tuple[Node, ...]
    ends: tuple[Node, ...]
    end: Node
    addition: Node


def residual_branches(
    traced: Trace, maps: Mapping[Node, FeatureMap], learned: Collection[str]
) -> Iterator[Branch]:
    """Yield the residual branches of a forward in the order of their additions.

    Args:
        traced: the recorded forward.
        maps: its feature maps.
        learned: names of the parameters: a convolution with a fixed kernel, such as a blur, is none.
    """
    live = descendants(node for node in traced.nodes if node.op == "placeholder")
    for node in traced.nodes:
        operands = [source for source in node.all_input_nodes if source in live]
        if node.meta.get("function") in _ADDS and node in maps and _are_alike(operands, maps):
            branch = _branch_into(traced, maps, learned, live, node, operands)
            if branch is not None:
                yield branch


def _are_alike(operands: list[Node], maps: Mapping[Node, FeatureMap]) -> bool:
    return (
        len(operands) == 2
        and all(each in maps for each in operands)
        and _same_size(operands[0], operands[1], maps)
    )


def _branch_into(
    traced: Trace,
    maps: Mapping[Node, FeatureMap],
    learned: Collection[str],
    live: set[Node],
    addition: Node,
    operands: list[Node],
) -> Branch | None:
    """Return the branch that an addition joins; None if neither operand has more convolutions than the other."""
    passed = dominators(traced, live, addition)
    if len(passed) < 2:
        return None
    start = passed[-2]
    behind = descendants([start])
    ways = [dominators(traced, behind, operand) for operand in operands]
    found = [
        [node for node in way if node is not start and _is_convolution(node, maps, learned)] for way in ways
    ]
    if len(found[0]) == len(found[1]):
        return None
    (convolutions, way, end), _ = sorted(
        zip(found, ways, operands, strict=True), key=lambda each: -len(each[0])
    )
    ends = tuple(_end_of(traced, node, way, maps, convolutions) for node in convolutions)
    return Branch(start, tuple(convolutions), ends, end, addition)


def _is_convolution(node: Node, maps: Mapping[Node, FeatureMap], learned: Collection[str]) -> bool:
    name = str(node.meta.get("function", ""))
    if node not in maps or not (name.startswith(("conv", "_conv")) or name == "linear"):
        return False
    kernels = [s for s in node.all_input_nodes if s.op == "get_attr" and len(s.meta["shape"]) >= 2]
    return not kernels or any(kernel.target in learned for kernel in kernels)


def _end_of(
    traced: Trace,
    convolution: Node,
    way: list[Node],
    maps: Mapping[Node, FeatureMap],
    others: Collection[Node],
) -> Node:
    """Return the last map of the same size up to which no other kernel is applied to a convolution's output.

    A norm or an activation may be any functions; a gate with weights, such as squeeze and excitation, has kernels.
    """
    end = convolution
    for node in way[way.index(convolution) + 1 :]:
        if node in others or node not in maps or not _same_size(node, end, maps):
            break
        behind = descendants([end])
        between = traced.nodes[end.meta["position"] + 1 : node.meta["position"] + 1]
        if any(each in behind and _applies_kernel(each) for each in between):
            break
        end = node
    return end


def _applies_kernel(node: Node) -> bool:
    """Return True for a convolution or a product with a matrix; what scales channels has one axis longer than 1."""
    shapes = [source.meta["shape"] for source in node.all_input_nodes if source.op == "get_attr"]
    is_convolution = str(node.meta.get("function", "")).startswith(("conv", "_conv"))
    return is_convolution or any(sum(side > 1 for side in shape) >= 2 for shape in shapes)


def _same_size(one: Node, other: Node, maps: Mapping[Node, FeatureMap]) -> bool:
    a, b = maps[one], maps[other]
    return (a.channels, a.height, a.width, a.frames) == (b.channels, b.height, b.width, b.frames)
