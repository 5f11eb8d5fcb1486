"""A plan and its sites as plain data: one site for every place where an edit applies."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from hmhsa_insert.blocks import MapSize, Options, block_type, cost_doubt
from hmhsa_insert.files.numbers import big
from hmhsa_insert.printed import Printed
from hmhsa_insert.surgery.base.input import DTYPES
from hmhsa_insert.surgery.base.inputs import Inputs, LeafPath
from hmhsa_insert.surgery.locate.maps import FeatureMap, Layout
from hmhsa_insert.surgery.sites.expression import Expression
from hmhsa_insert.tables import Cell, Table, left, right

Action = Literal["hook_output", "hook_input", "expression", "graph", "rewrite", "swap", "drop", "unstride"]

ACTIONS: Mapping[Action, str] = {
    "hook_output": "a child of the module, run on its output",
    "hook_input": "a child of the module, run on its input",
    "expression": "a child of the module, run on an expression of its forward",
    "graph": "a node in the module's graph",
    "rewrite": "inside the module's forward, rewritten by torch.fx for want of its source",
    "swap": "in place of the module",
    "drop": "the module is taken away",
    "unstride": "the module's stride becomes 1",
}

INSIDE = ("expression", "graph", "rewrite")
_VERBS: Mapping[Action, str] = {
    "hook_output": "{} after",
    "hook_input": "{} before",
    "expression": "{} inside",
    "graph": "{} inside",
    "rewrite": "{} inside",
    "swap": "{} instead",
    "drop": "removed",
    "unstride": "stride 1",
}
_MOST_ROWS = 30
_MOST_KEYS = 4


@dataclass(frozen=True)
class Site:
    """The place where an edit applies, and what is done there.

    Attributes:
        edit: id of the edit.
        action: what is done; :data:`ACTIONS` describes each.
        qualname: the module where it is done; ``""`` is the root.
        key: prefix of the new state_dict keys; empty if there are none.
        inp: the input map of the block; None if the block takes any tensor, or there is no block.
        out_channels: channels of the output of the block.
        block: the block's spec; None without one.
        options: the same, parsed; None in a plan that was read from a file.
        identity: True if the block starts as the identity, with gamma = 0.
        residual: True if the output of the block is added to its input (inserted blocks that keep the shape).
        path: where in the module's output (or ``(index or name,)`` in its inputs) the map is.
        node: name of the map's node in the trace, as ``stages`` shows it with all cut points; empty in older plans.
        expression: for ``expression``: the one that makes the map.
        operation: for ``rewrite``: the function that makes the map, and its occurrence in the module's own forward;
            for ``graph``: the name of the graph's node, and 0.
        lengths: for ``rewrite``: how many items each list or tuple among the forward's arguments has, by name.
        num_params, macs: of the new module, from closed formulas; `macs` for one sample.
        removed_params: number of parameters of the module that is removed.
        dtype, device: those of the map, if they differ from the host's weights; the block then computes in
            them. Under autocast, which casts for each operation, a block has the dtype of the weights.
    """

    edit: str
    action: Action
    qualname: str
    key: str = ""
    inp: FeatureMap | None = None
    out_channels: int = 0
    block: Mapping[str, Any] | None = None
    options: Options | None = field(default=None, compare=False, repr=False)
    identity: bool = False
    residual: bool = False
    path: LeafPath = ()
    node: str = ""
    expression: Expression | None = None
    operation: tuple[str, int] | None = None
    lengths: Mapping[str, int] = field(default_factory=dict)
    num_params: int = 0
    macs: int = 0
    removed_params: int = 0
    dtype: str | None = None
    device: str | None = None

    def __getstate__(self) -> dict[str, Any]:
        # A control's options are of a class made at run time, which pickle cannot find.
        return {**vars(self), "options": None}

    @property
    def layout(self) -> Layout:
        """Layout of the map; NCHW if none was measured."""
        return self.inp.layout if self.inp else "NCHW"

    @property
    def child(self) -> str:
        """Name of the new child in its host: the id of the edit, numbered if one host has several."""
        return self.key.rpartition(".")[2]

    @property
    def in_tree(self) -> bool:
        """True if the edit is made in the module tree, without changing a forward."""
        return self.action not in INSIDE

    @property
    def inserts(self) -> bool:
        """True if a block is put between a map and its readers; otherwise a module is replaced or changed."""
        return self.action in (*INSIDE, "hook_output", "hook_input")

    @property
    def cost_doubt(self) -> str:
        """How the cost formula of a plugin's block differs from what is counted; empty if it does not."""
        if self.options is None or self.inp is None:
            return ""
        return cost_doubt(
            self.options, MapSize(self.inp.channels, self.inp.height, self.inp.width), self.out_channels
        )

    @property
    def one_size(self) -> bool:
        """True if its block runs at no other size of its map than this one."""
        return self.options is not None and block_type(self.options.type).one_size(self.options)

    @property
    def row(self) -> list[Cell]:
        """The cells of the table of a plan."""
        block = str(self.block["type"]) if self.block else ""
        size = f"{self.inp.channels}×{self.inp.height}×{self.inp.width}" if self.inp else ""
        macs = big(self.macs) if self.macs else ""
        verb = _VERBS[self.action].format(block)
        return [self.edit, self.qualname or "(root)", verb, size, self.num_params or None, macs]


@dataclass(frozen=True, repr=False)
class Plan(Printed):
    """A recipe resolved against one network: what will be done where.

    Attributes:
        recipe: the recipe, as a dict that can be written to a file.
        model: the class name of the network.
        inputs: the inputs at which it was resolved.
        sites: in the order in which they are applied.
    """

    recipe: Mapping[str, Any]
    model: str
    inputs: Inputs
    sites: tuple[Site, ...]

    @property
    def new_keys(self) -> tuple[str, ...]:
        """Prefixes of the new state_dict keys, in order."""
        return tuple(site.key for site in self.sites if site.key)

    @property
    def keeps_outputs(self) -> bool:
        """True if the edited network has the outputs of the base network until it is trained."""
        return all(site.identity for site in self.sites)

    @property
    def doubts(self) -> tuple[str, ...]:
        """Where the cost formula of a plugin's block says something else than what is counted, with both numbers."""
        found = (site.cost_doubt for site in self.sites)
        return tuple(dict.fromkeys(filter(None, found)))

    def tables(self) -> Sequence[Table]:
        """Return one row per site: where, what, the map, parameters and MACs of what is put in; then the new keys."""
        count = f"{len(self.sites)} site{'s' if len(self.sites) != 1 else ''}"
        title = f"{self.recipe['name']} on {self.model} at {self.inputs}: {count}"
        headers = [left("edit"), left("where"), left("what"), right("map"), right("params"), right("MACs")]
        rows = [site.row for site in self.sites[:_MOST_ROWS]]
        if len(self.sites) > _MOST_ROWS:
            rows.append(["…", f"and {len(self.sites) - _MOST_ROWS} more", "", "", "", ""])
        doubts = (f"warning: {doubt}" for doubt in self.doubts)
        return [
            Table.of(
                title, headers, rows, [*self.head_sizes, *self.one_sizes, _new_keys(self.new_keys), *doubts]
            )
        ]

    @property
    def one_sizes(self) -> tuple[str, ...]:
        """Which edits bind the network to one input size: a line for each."""
        edits = dict.fromkeys(site.edit for site in self.sites if site.one_size)
        return tuple(f"{edit}: made for one size of its map: no input but {self.inputs}" for edit in edits)

    @property
    def head_sizes(self) -> tuple[str, ...]:
        """What ``head_dim: auto`` comes to: a line for every edit that leaves it open."""
        lines = []
        for edit in self.recipe["edits"]:
            asked = _head_dim(edit.get("block"))
            sizes = Counter(_head_dim(site.block) for site in self.sites if site.edit == edit["id"])
            if isinstance(asked, str) and sizes:
                found = ", ".join(f"{size} ({count}×)" for size, count in sorted(sizes.items()))
                lines.append(
                    f"{edit['id']}: head_dim {asked} is {found if len(sizes) > 1 else next(iter(sizes))}"
                )
        return tuple(lines)

    def to_dict(self) -> dict[str, Any]:
        """Return the plan as JSON-able data."""
        return {
            "recipe": deepcopy(dict(self.recipe)),
            "model": self.model,
            "input_size": self.inputs.to_data(),
            "sites": [_data(site) for site in self.sites],
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Plan:
        """Read a plan written by :meth:`to_dict`.

        Raises:
            TypeError, KeyError, ValueError: `data` is not a plan.
        """
        sites = []
        for written in data["sites"]:
            values = dict(written)
            if values["action"] not in ACTIONS:
                raise TypeError(f"unknown action {values['action']!r}")
            values["inp"] = FeatureMap(**values["inp"]) if values["inp"] else None
            if values.get("dtype") not in (None, *DTYPES):
                raise ValueError(f"there is no dtype {values['dtype']!r}")
            values["path"] = tuple(values["path"])
            values["expression"] = (
                Expression.from_dict(values["expression"]) if values.get("expression") else None
            )
            values["operation"] = tuple(values["operation"]) if values["operation"] else None
            sites.append(Site(**values))
        return cls(data["recipe"], data["model"], Inputs.from_data(data["input_size"]), tuple(sites))


def _new_keys(new_keys: Sequence[str]) -> str:
    keys = [f"{key}.*" for key in new_keys]
    if not keys:
        return "new weights: none"
    more = f", and {len(keys) - _MOST_KEYS} more" if len(keys) > _MOST_KEYS else ""
    return f"new weights: {', '.join(keys[:_MOST_KEYS])}{more}"


def _head_dim(block: Mapping[str, Any] | None) -> Any:
    """Return the head size that a block's mapping says; of a control, that of the block it stands for."""
    of = (block or {}).get("of")
    return (of if isinstance(of, Mapping) else block or {}).get("head_dim")


def _data(site: Site) -> dict[str, Any]:
    """Return a site as a lock file holds it: the block as it was written, not as it was parsed."""
    return {key: value for key, value in asdict(replace(site, options=None)).items() if key != "options"}
