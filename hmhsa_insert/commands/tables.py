"""Tables that several commands print, readable at 80 columns."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from hmhsa_insert.files.numbers import big
from hmhsa_insert.quantities import QUANTITIES
from hmhsa_insert.quantity import Quantity
from hmhsa_insert.tables import Table, left, right

if TYPE_CHECKING:
    from hmhsa_insert.costs.count import Counts
    from hmhsa_insert.surgery.base.inputs import Inputs
    from hmhsa_insert.surgery.base.load import LoadedModel


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


def cost_table(before: Counts, after: Counts) -> Table:
    """Return parameters and MACs before and after, with the change."""
    title = "Cost for one image (MACs: multiply–accumulates, attention products included)"
    headers = [left(), right("before"), right("after"), right("change"), right()]
    rows = []
    for each in _counted(before):
        old, new = getattr(before, each.field), getattr(after, each.field)
        share = f"{100 * (new - old) / old:+.1f} %" if old else ""
        change = f"{'+' if new >= old else '-'}{big(abs(new - old))}"
        rows.append((each.name, big(old), big(new), change, share))
    return Table.of(title, headers, rows)


def costs_as_data(counts: Counts) -> dict[str, int]:
    """Return what :func:`cost_table` shows of one network."""
    return {each.field: getattr(counts, each.field) for each in _counted(counts)}


def _counted(counts: Counts) -> list[Quantity]:
    return [each for each in QUANTITIES.values() if each.name and hasattr(counts, each.field)]
