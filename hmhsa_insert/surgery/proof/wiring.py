"""Wiring: prove that an edited forward is that of the base network with the edits, and nothing else.

Both forwards were recorded. They must be the same node by node; where the base network reads a map that gets
a block, the edited network must read the output of the block, and so must its own output. A block whose
result is discarded, read by some readers only, or computed twice is found here; comparing numbers would not
find it, because the block is the identity.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from torch.fx import Node

from hmhsa_insert.surgery.edit.rewrite import same_name
from hmhsa_insert.surgery.locate.recorder import ModuleCall
from hmhsa_insert.surgery.locate.trace import Trace
from hmhsa_insert.surgery.sites.site import Site


@dataclass
class Wiring:
    """The differences that were found.

    Attributes:
        by_site: reasons by the index of the site.
        general: a difference that belongs to no site; empty if there is none.
    """

    by_site: dict[int, str] = field(default_factory=dict)
    general: str = ""

    @property
    def problems(self) -> list[str]:
        """All reasons in one list."""
        return [*self.by_site.values(), *([self.general] if self.general else [])]

    def under(self, condition: str) -> Wiring:
        """Return the same reasons with a condition in front of each."""
        by_site = {index: f"{condition}, {reason}" for index, reason in self.by_site.items()}
        return Wiring(by_site, f"{condition}, {self.general}" if self.general else "")


def compare(
    base: Trace,
    edited: Trace,
    sites: Sequence[Site],
    by_module: bool = True,
    maps: Mapping[int, Sequence[Node]] | None = None,
) -> Wiring:
    """Compare two recorded forwards.

    Args:
        base: trace of the network before the edits.
        edited: trace of the network after the edits.
        sites: the edits; the map of an insertion is the node it names, if `base` has that.
        by_module: whether operations must be in modules of the same name; not so for a single graph of the
            network.
        maps: for each insertion (by its index) the nodes of `base` that may be its map; none if the map is
            not made on this path. By default the node that the site names.

    Returns:
        What differs; its ``problems`` are empty if nothing does.
    """
    return _Comparison(base, edited, sites, by_module, maps).run()


class _Comparison:
    def __init__(
        self,
        base: Trace,
        edited: Trace,
        sites: Sequence[Site],
        by_module: bool,
        maps: Mapping[int, Sequence[Node]] | None,
    ) -> None:
        self._by_module, self._maps = by_module, maps
        self._base, self._edited, self._sites = base, edited, sites
        self._found = Wiring()
        # For each node of the base network: its counterpart in the edited forward, before insertions; the
        # node that its readers must read; the indices of the sites at it.
        self._image: dict[Node, Node] = {}
        self._through: dict[Node, Node] = {}
        self._inserted: dict[Node, list[int]] = {}

    def run(self) -> Wiring:
        # What lies inside replaced modules and new blocks has no counterpart; everything else has one, in
        # order.
        holes = self._holes()
        blocks = [call for site in self._inserts() for call in self._edited.calls_of(site.key)]
        left = list(_outside(self._base, [one for one, _ in holes]))
        right = list(_outside(self._edited, [*(other for _, other in holes), *blocks]))
        self._align(left, right)
        if self._found.general:
            return self._found
        for one, other in holes:
            self._image_of_hole(one, other)
        for index, site in enumerate(self._sites):
            if site.inserts and index not in self._found.by_site:
                self._follow(index, site)
        if not self._found.by_site:
            self._compare_readers(left, holes)
        return self._found

    def _inserts(self) -> Iterator[Site]:
        return (site for site in self._sites if site.inserts)

    def _holes(self) -> list[tuple[ModuleCall, ModuleCall]]:
        """Pair the calls of replaced modules with the calls of their replacements."""
        holes: list[tuple[ModuleCall, ModuleCall]] = []
        for index, site in enumerate(self._sites):
            if site.inserts:
                continue
            one, other = self._base.calls_of(site.qualname), self._edited.calls_of(site.qualname)
            if len(one) != len(other):
                self._found.by_site[index] = (
                    f"the base network calls it {len(one)} times in one forward, the edited one {len(other)} times: "
                    "the forward reaches the module past the module tree, by a list, a dict or a closure"
                )
            holes += zip(one, other, strict=False)
        return holes

    def _align(self, left: list[Node], right: list[Node]) -> None:
        for one, other in zip(left, right, strict=False):
            if self._key(self._base, one) != self._key(self._edited, other):
                got, wanted = _text(self._edited, other), _text(self._base, one)
                self._found.general = f"the edited forward has {got} where the base has {wanted}"
                return
            if self._constants(one) != self._constants(other):
                self._found.general = (
                    f"{_text(self._base, one)} is given other numbers than in the base network"
                )
                return
            self._image[one] = other
        if len(left) != len(right):
            self._found.general = f"the edited forward has {len(right)} operations, the base {len(left)}"

    def _key(self, traced: Trace, node: Node) -> tuple[object, ...]:
        function = str(node.meta.get("function"))
        if not self._by_module:  # torch.fx writes x += y as x + y
            return node.op, same_name(function)
        call = node.meta["call"]
        return node.op, function, traced.calls[call].qualname if call is not None else None

    def _constants(self, node: Node) -> str:
        """Return the numbers and strings given to an operation; edits that change shapes may change them."""
        if not self._by_module or not all(site.residual for site in self._sites):
            return ""
        given = [*node.meta.get("values", ()), *node.meta.get("named", {}).items()]
        return repr([value for value in given if _is_constant(value)])

    def _image_of_hole(self, one: ModuleCall, other: ModuleCall) -> None:
        made = dict(other.outputs)
        for path, node in one.outputs:
            if one.first <= node.meta["position"] < one.last and path in made:
                self._image[node] = made[path]

    def _follow(self, index: int, site: Site) -> None:
        """Check that the block of a site runs once, on its map; store what readers of the map must read."""
        calls = self._edited.calls_of(site.key)
        if not calls and self._maps is not None and not self._maps[index]:
            return
        if len(calls) != 1:
            self._found.by_site[index] = f"'{site.key}' runs {len(calls)} times in one forward"
            return
        node = self._map_of(site, calls[0]) if self._maps is None else self._made(calls[0])
        if self._maps is not None and node not in self._maps[index]:
            self._found.by_site[index] = f"'{site.key}' runs on another map"
        elif node is None or node not in self._image:
            self._found.by_site[index] = f"'{site.key}' runs on a value that the base network does not have"
        elif calls[0].inputs != (self._through.get(node, self._image[node]),):
            self._found.by_site[index] = f"'{site.key}' runs on another value than the map"
        else:
            self._through[node] = calls[0].outputs[0][1]
            self._inserted.setdefault(node, []).append(index)

    def _map_of(self, site: Site, call: ModuleCall) -> Node | None:
        named = next((node for node in self._base.nodes if node.name == site.node), None)
        if named is not None or not call.inputs:
            return named
        return self._made(call)  # at another size nodes may have other names, and older plans name none

    def _made(self, call: ModuleCall) -> Node | None:
        """Return the node of the base network that the block of `call` runs on."""
        if not call.inputs:
            return None
        made = {image: node for node, image in self._image.items()}
        through = {after: node for node, after in self._through.items()}
        return through.get(call.inputs[0]) or made.get(call.inputs[0])

    def _compare_readers(self, left: list[Node], holes: Iterable[tuple[ModuleCall, ModuleCall]]) -> None:
        hooked = {site.qualname for site in self._sites if site.action == "hook_input"}
        for one in left:
            call = one.meta["call"]
            inside = self._base.calls[call].qualname if call is not None else None
            if one.meta.get("function") == "opaque" and inside in hooked:
                continue  # it was recorded with the inputs of its module, which are those before the hook
            self._compare_sources(_sources(one), _sources(self._image[one]), _text(self._base, one))
        for before, after in holes:
            if before.qualname in hooked:
                continue
            self._compare_sources(before.inputs, after.inputs, f"'{before.qualname}'")

    def _compare_sources(self, wanted: Sequence[Node], got: Sequence[Node], reader: str) -> None:
        if len(wanted) != len(got):
            self._found.general = f"{reader} reads {len(got)} values and {len(wanted)} in the base"
            return
        for node, actual in zip(wanted, got, strict=True):
            if node.op == "get_attr":
                same = actual.op == "get_attr" and actual.target == node.target
            else:
                same = actual is self._through.get(node, self._image.get(node))
            if same:
                continue
            sites = self._inserted.get(node, [])
            for index in sites:
                self._found.by_site[index] = f"{reader} reads the map past the edit"
            if not sites:
                self._found.general = f"{reader} reads another value than in the base network"


def _is_constant(value: object) -> bool:
    if isinstance(value, tuple | list):
        return all(map(_is_constant, value))
    return isinstance(value, bool | int | float | str)


def _outside(traced: Trace, calls: Iterable[ModuleCall]) -> Iterator[Node]:
    """Yield the nodes outside of all `calls`, without parameters, which are recorded at their first use."""
    spans = sorted((call.first, call.last) for call in calls)
    skip = iter(spans)
    span = next(skip, None)
    for node in traced.nodes:
        position = node.meta["position"]
        while span is not None and position >= span[1]:
            span = next(skip, None)
        if node.op != "get_attr" and not (span is not None and span[0] <= position < span[1]):
            yield node


def _sources(node: Node) -> tuple[Node, ...]:
    args: tuple[Node, ...] = node.args[0] if node.op == "output" else node.args  # type: ignore[assignment]
    return args


def _text(traced: Trace, node: Node) -> str:
    if node.op == "output":
        return "the output"
    call = node.meta["call"]
    inside = traced.calls[call].qualname if call is not None else ""
    return f"{node.meta['function']} in '{inside or traced.calls[0].kind.__name__}'"
