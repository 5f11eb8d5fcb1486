"""Tables that several commands print, readable at 80 columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich import box
from rich.table import Table
from rich.text import Text

from hmhsa_insert.files.numbers import big
from hmhsa_insert.quantities import QUANTITIES

if TYPE_CHECKING:
    from hmhsa_insert.costs.count import Counts
    from hmhsa_insert.surgery.base.inputs import Inputs
    from hmhsa_insert.surgery.base.load import LoadedModel
    from hmhsa_insert.surgery.proof.acting import Check
    from hmhsa_insert.surgery.sites.site import Plan, Site

_MOST_ROWS = 30
_MOST_KEYS = 4


def headline(loaded: LoadedModel, inputs: Inputs) -> Text:
    """Return which network was found and where, its class, and what goes in."""
    from hmhsa_insert.commands.console import bold
    from hmhsa_insert.surgery.base.fake import notes
    from hmhsa_insert.surgery.base.load import SOURCE

    name = loaded.source.spec
    origin = notes(loaded.model).get(SOURCE)
    made_from = f" (an artifact, from {origin.spec})" if origin and origin.spec != name else ""
    rest = f"{made_from}  {type(loaded.model).__name__}  input {inputs}"
    return bold(name, rest)


def plan_table(made: Plan) -> Table:
    """Return one row per site: where, what, the map, parameters and MACs of what is put in; then the new keys."""
    count = f"{len(made.sites)} site{'s' if len(made.sites) != 1 else ''}"
    title = f"{made.recipe['name']} on {made.model} at {made.inputs}: {count}"
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("edit")
    table.add_column("where", overflow="fold")
    table.add_column("what")
    table.add_column("map", justify="right")
    table.add_column("params", justify="right")
    table.add_column("MACs", justify="right")
    for site in made.sites[:_MOST_ROWS]:
        table.add_row(*_site_row(site))
    if len(made.sites) > _MOST_ROWS:
        table.add_row("…", f"and {len(made.sites) - _MOST_ROWS} more", "", "", "", "")
    table.caption, table.caption_justify, table.caption_style = _new_keys(made), "left", ""
    return table


def _new_keys(made: Plan) -> str:
    keys = [f"{key}.*" for key in made.new_keys]
    if not keys:
        return "new weights: none"
    more = f", and {len(keys) - _MOST_KEYS} more" if len(keys) > _MOST_KEYS else ""
    return f"new weights: {', '.join(keys[:_MOST_KEYS])}{more}"


def _site_row(site: Site) -> tuple[str, ...]:
    block = str(site.block["type"]) if site.block else ""
    verb = {
        "hook_output": f"{block} after",
        "hook_input": f"{block} before",
        "expression": f"{block} inside",
        "graph": f"{block} inside",
        "rewrite": f"{block} inside",
        "swap": f"{block} instead",
        "drop": "removed",
        "unstride": "stride 1",
    }[site.action]
    size = f"{site.inp.channels}×{site.inp.height}×{site.inp.width}" if site.inp else ""
    params = f"{site.num_params:,}" if site.num_params else ""
    return (site.edit, site.qualname or "(root)", verb, size, params, big(site.macs) if site.macs else "")


def cost_table(before: Counts, after: Counts) -> Table:
    """Return parameters and MACs before and after, with the change."""
    title = "Cost for one image (MACs: multiply–accumulates, attention products included)"
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("", "before", "after", "change", ""):
        table.add_column(name, justify="right" if name else "left")
    named = [each for each in QUANTITIES.values() if each.name and hasattr(before, each.field)]
    for each in named:
        old, new = getattr(before, each.field), getattr(after, each.field)
        share = f"{100 * (new - old) / old:+.1f} %" if old else ""
        table.add_row(
            each.name, big(old), big(new), f"{'+' if new >= old else '-'}{big(abs(new - old))}", share
        )
    return table


def checks_table(checks: Sequence[Check]) -> Table:
    """Return one row per check of a verification."""
    table = Table(title="Verification", title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("")
    table.add_column("check")
    table.add_column("max |Δ|", justify="right")
    table.add_column("what was found", overflow="fold")
    for check in checks:
        mark = Text("ok", style="green") if check.passed else Text("FAILED", style="bold red")
        shown = "outputs" in check.name and check.value is not None
        table.add_row(mark, check.name, f"{check.value:g}" if shown else "", check.detail)
    return table
