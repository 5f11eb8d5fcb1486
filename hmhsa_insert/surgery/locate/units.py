"""Block boundaries of the trunk: the repeated modules of a network, found by what they compute.

Going down the module tree from the root, a module that passes its map from child to child is a container; one
whose children share a skip connection, or that mixes space only once, is a block. No name of a class or
module is used.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

from torch import nn
from torch.fx import Node

from hmhsa_insert.surgery.locate.maps import FeatureMap
from hmhsa_insert.surgery.locate.recorder import ModuleCall
from hmhsa_insert.surgery.locate.trace import Trace

# Functions that join paths, if two or more of their inputs are maps.
_ADDS = {"add", "add_", "__add__", "__iadd__", "__radd__", "sub", "cat", "concat", "concatenate", "stack"}
# Parts of the names of functions in which one position of a map sees another.
_MIXES = (
    "pool",
    "interpolate",
    "roll",
    "fold",
    "shuffle",
    "fft",
    "grid_sample",
    "softmax",
    "opaque",
    "cumsum",
)
_MIXES_ALONE = {"scaled_dot_product_attention", "multi_head_attention_forward", "pad"}
_RESIZES = {"interpolate", "upsample"}
# Products of two computed tensors mix space, as in attention; those with a weight are pointwise projections.
_PRODUCTS = {"matmul", "__matmul__", "bmm", "baddbmm", "einsum"}


@dataclass(frozen=True)
class Unit:
    """One block, or one strided step between blocks.

    Attributes:
        call: its module call; None for an operation in a container's own forward.
        end: the cut point after it, its norm and activation included.
        start: position in the graph at which it begins.
        kind: the module's class or the function's name, to compare it with its neighbors.
    """

    call: ModuleCall | None
    end: Node
    start: int
    kind: object


def find_units(traced: Trace, maps: Mapping[Node, FeatureMap], cuts: list[Node]) -> list[Unit]:
    """Return the blocks and strided steps of the trunk in order.

    Args:
        traced: the recorded forward.
        maps: its feature maps.
        cuts: its cut points in order, from :func:`~hmhsa_insert.surgery.locate.trunk.find_trunk`.
    """
    if not cuts:
        return []
    return _Finder(traced, maps, cuts).find()


class _Finder:
    def __init__(self, traced: Trace, maps: Mapping[Node, FeatureMap], cuts: list[Node]) -> None:
        self.traced, self.maps, self.cuts = traced, maps, cuts
        self.cut_set = set(cuts)
        self._cut_positions = [node.meta["position"] for node in cuts]
        # Number of nodes that mix space, and that apply a kernel, before each position: looked up for every
        # call.
        self._mixing = list(accumulate(map(self.mixes, traced.nodes), initial=0))
        self._kernels_before = list(accumulate(map(has_kernel, traced.nodes), initial=0))
        self.children: dict[int, list[ModuleCall]] = {}
        for call in traced.calls:
            if call.parent is not None:
                self.children.setdefault(call.parent, []).append(call)

    def find(self) -> list[Unit]:
        units = self._descend(self.traced.calls[0])
        if not units:  # cut points that no block makes, such as the map that a head flattens
            return []
        units = [unit for unit in units if not self._only_pads(unit)]
        # Each unit takes the norm and activation up to where the next one begins.
        starts = [unit.start for unit in units[1:]] + [len(self.traced.nodes)]
        units = [self._absorb(unit, before) for unit, before in zip(units, starts, strict=True)]
        return units[:-1] if len(units) > 1 and self._is_output_layer(units[-1], units[-2]) else units

    def _only_pads(self, unit: Unit) -> bool:
        """Return True for explicit padding before a convolution or a pool, which is not a block."""
        nodes = self.traced.nodes[unit.start : unit.end.meta["position"] + 1]
        mixing = [node for node in nodes if self.mixes(node)]
        return not any(map(has_kernel, nodes)) and {node.meta["function"] for node in mixing} == {"pad"}

    def _is_output_layer(self, unit: Unit, before: Unit) -> bool:
        """Return True for the layer that makes a dense prediction, which is not a block.

        Nothing but resizing comes between its weights and the output of the network.
        """
        last = max(node.meta["position"] for node in self.traced.nodes if has_kernel(node))
        rest = self.traced.nodes[last + 1 : -1]
        resized = all(str(node.meta.get("function")) in _RESIZES or node.op == "get_attr" for node in rest)
        inside = unit.start <= last <= unit.end.meta["position"]
        return inside and resized and self.maps[unit.end].stride == self.maps[before.end].stride

    def _descend(self, call: ModuleCall) -> list[Unit]:
        items = self._items(call)
        inner = [item for item in items if isinstance(item, ModuleCall)]
        if not self._ends_in_cut(call) and not items:
            return []  # a head: the maps it makes are not on the trunk
        if not items or (self._ends_in_cut(call) and not self._is_container(call, items, inner)):
            return [Unit(call, self._cuts_in(call)[-1], call.first, call.kind)]
        units: list[Unit] = []
        for item in items:
            if isinstance(item, ModuleCall):
                units += self._descend(item)
            else:
                units.append(Unit(None, item, item.meta["position"], item.meta["function"]))
        return units

    def _is_container(
        self, call: ModuleCall, items: list[ModuleCall | Node], inner: list[ModuleCall]
    ) -> bool:
        """Return True if the parts of `call` are blocks themselves, rather than parts of one block."""
        if call.parent is None or len(self._new_strides(call)) >= 2:  # it holds whole stages
            return True
        if call.kind in self._atomic:  # one block elsewhere, so one block here
            return False
        if len(items) == 1 and inner:
            return not self._has_kernels_outside(call, inner[0])  # a plain wrapper
        # Blocks are of one class, or kept in a list; the parts of one block are neither.
        alike = len({child.kind for child in inner}) == 1
        return len(inner) >= 2 and (alike or any(_is_listed(call, child) for child in inner))

    def _items(self, call: ModuleCall) -> list[ModuleCall | Node]:
        """Return the child calls and own operations of `call` that mix space and make cut points."""
        own = [n for n in self._cuts_in(call) if n.meta["call"] == call.index and self.mixes(n)]
        inner = [
            child
            for child in self.children.get(call.index, [])
            if self._makes_cut(child) or (self._cuts_in(child) and not self._ends_in_cut(child))
        ]
        return sorted(
            [*own, *inner], key=lambda i: i.first if isinstance(i, ModuleCall) else i.meta["position"]
        )

    def _makes_cut(self, call: ModuleCall) -> bool:
        return self._ends_in_cut(call) and self._mixes_inside(call)

    def _ends_in_cut(self, call: ModuleCall) -> bool:
        """Return True if `call` returns a cut point made inside it (an embedding may return tokens)."""
        made = (node for _, node in call.outputs if call.first <= node.meta["position"] < call.last)
        return any(node in self.cut_set for node in made)

    def _mixes_inside(self, call: ModuleCall) -> bool:
        return self._mixing[call.last] > self._mixing[call.first]

    def _cuts_in(self, call: ModuleCall) -> list[Node]:
        first, last = (bisect_left(self._cut_positions, position) for position in (call.first, call.last))
        return self.cuts[first:last]

    def _new_strides(self, call: ModuleCall) -> set[int]:
        before = bisect_left(self._cut_positions, call.first)
        entry = self.maps[self.cuts[before - 1]].stride if before else 1
        return {self.maps[n].stride for n in self._cuts_in(call)} - {entry}

    def _has_kernels_outside(self, call: ModuleCall, item: ModuleCall) -> bool:
        weights = self._kernels_before
        inside = weights[item.last] - weights[item.first]
        return weights[call.last] - weights[call.first] > inside

    @cached_property
    def _atomic(self) -> set[type[nn.Module]]:
        """Classes that are one block somewhere: they mix space, and no child makes a cut point."""
        return {
            call.kind
            for call in self.traced.calls
            if call.parent is not None
            and not call.kind.__module__.startswith("torch.nn")
            and self.children.get(call.index)
            and not any(self._makes_cut(child) for child in self.children[call.index])
            and self._mixes_inside(call)
        }

    def mixes(self, node: Node) -> bool:
        """Return True if a node mixes space, joins paths, or changes the stride."""
        name = str(node.meta.get("function", "")).lower()
        sources = [s for s in node.all_input_nodes if s.op != "get_attr"]
        if node in self.maps and any(
            s in self.maps and self.maps[s].stride != self.maps[node].stride for s in sources
        ):
            return True
        if name in _ADDS:
            return sum(s in self.maps for s in sources) >= 2
        if name in _PRODUCTS:
            return len(sources) >= 2
        if name.startswith("conv"):
            return any(side > 1 for side in _kernel(node))
        return name in _MIXES_ALONE or any(word in name for word in _MIXES)

    def _absorb(self, unit: Unit, before: int) -> Unit:
        """Move the end of a single operation past the norm and activation that follow it."""
        if unit.call is not None and self.children.get(unit.call.index):
            return unit
        end = unit.end
        for node in self.traced.nodes[end.meta["position"] + 1 : before]:
            if has_kernel(node) or (node in self.maps and self.maps[node] != self.maps[end]):
                break
            if node in self.cut_set:
                end = node
        return Unit(unit.call, end, unit.start, unit.kind)


def _is_listed(call: ModuleCall, child: ModuleCall) -> bool:
    """Return True if `child` is a list of modules, or in a list inside `call`, as blocks often are."""
    lists = (nn.Sequential, nn.ModuleList, nn.ModuleDict)
    below = child.qualname[len(call.qualname) + 1 :] if call.qualname else child.qualname
    return issubclass(call.kind, lists) or issubclass(child.kind, lists) or "." in below


def has_kernel(node: Node) -> bool:
    """Return True if a node applies a weight matrix or kernel (norms have vectors only)."""
    if node.op != "call_function":
        return False
    return any(s.op == "get_attr" and len(s.meta["shape"]) >= 2 for s in node.all_input_nodes)


def _kernel(node: Node) -> tuple[int, ...]:
    # A weight that the forward computes (weight normalization) is not an attribute; it is the second argument.
    values = node.meta.get("values", ())
    weight = values[1] if len(values) > 1 and isinstance(values[1], tuple) else ()
    for source in node.all_input_nodes:
        if source.op == "get_attr" and len(source.meta["shape"]) >= 3:
            weight = source.meta["shape"]
    return tuple(side for side in weight[2:] if isinstance(side, int))
